//! Gradients of every layer, activation and loss against finite differences of a plain `f64` network.

use crate::common::{
    Identity, data, dense, embedding, gradient, microbatches, network, of_layers, parameters,
};
use lockstep_model::{
    Activation, Dense, Dropout, LayerNorm, LayerSpec, Loss, Microbatch, Network, Residual,
    Workspace,
};
use lockstep_proto::tree::{Node, ShardTree};
use ndarray::Array2;

pub(crate) const ACTIVATIONS: &[Activation] = &[
    Activation::Linear,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.2 },
    Activation::LeakyRelu { slope: 0.0 },
    Activation::Elu { alpha: 1.5 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Gelu,
    Activation::Silu,
    Activation::Softplus,
    Activation::Softmax,
];

#[test]
fn every_activation_in_every_place() {
    for &activation in ACTIVATIONS {
        for place in 0..3 {
            let mut layers =
                [(5, Activation::Tanh), (4, Activation::Tanh), (2, Activation::Linear)];
            layers[place].1 = activation;
            check(&network(3, &layers, Loss::Mse, &[]), 7, &format!("{activation} in {place}"));
        }
    }
}

#[test]
fn every_loss() {
    let rows: &[(Loss, Activation)] = &[
        (Loss::Mse, Activation::Linear),
        (Loss::Mse, Activation::Softmax),
        (Loss::Mae, Activation::Linear),
        (Loss::Mae, Activation::Sigmoid),
        (Loss::Huber { delta: 1.0 }, Activation::Linear),
        (Loss::Huber { delta: 0.3 }, Activation::Tanh),
        (Loss::Huber { delta: 5.0 }, Activation::Softplus),
        (Loss::CROSS_ENTROPY, Activation::Softmax),
        (Loss::CrossEntropy { label_smoothing: Some(0.2) }, Activation::Softmax),
        (Loss::BINARY_CROSS_ENTROPY, Activation::Sigmoid),
        (Loss::BinaryCrossEntropy { label_smoothing: Some(0.3) }, Activation::Sigmoid),
        (Loss::Poisson, Activation::Softplus),
        (Loss::Poisson, Activation::Sigmoid),
        (Loss::Poisson, Activation::Softmax),
        (Loss::Quantile { quantile: 0.9 }, Activation::Linear),
        (Loss::Quantile { quantile: 0.25 }, Activation::Tanh),
        (Loss::Quantile { quantile: 0.5 }, Activation::Softmax),
    ];
    for &(loss, output) in rows {
        for units in [1, 2, 3, 19] {
            if units == 1 && output == Activation::Softmax {
                continue;
            }
            for batch in [1, 2, 9] {
                let what = format!("{loss} after {output}, {units} units, {batch} rows");
                let layers = [(4, Activation::Tanh), (units, output)];
                check(&network(3, &layers, loss, &[]), batch, &what);
                check(&network(2, &[(units, output)], loss, &[]), batch, &what);
            }
        }
    }
}

#[test]
fn layers_without_bias() {
    let layers = [Dense::new(4).activation(Activation::Tanh), Dense::new(2)];
    for without in [[true, false], [false, true], [true, true]] {
        let layers = layers.iter().zip(without).map(|(layer, without)| {
            let layer = layer.clone();
            if without { layer.without_bias().into() } else { layer.into() }
        });
        let network = of_layers(3, layers.collect(), Loss::Mse, &[]);
        check(&network, 5, &format!("without bias: {without:?}"));
    }
}

/// The masks are held: those that seed, step and the identities of the rows give.
#[test]
fn dropout_in_every_place() {
    for &activation in ACTIVATIONS {
        for place in 0..3 {
            for rate in [0.0, 0.3, 0.75] {
                let mut layers = vec![dense(8, Activation::Tanh), dense(6, activation)];
                layers.push(dense(2, Activation::Linear));
                layers.insert(place, Dropout::new(rate).into());
                let network = of_layers(3, layers, Loss::Mse, &[]);
                check(&network, 7, &format!("dropout of {rate} in {place}, {activation}"));
            }
        }
    }
    let softmax = dense(3, Activation::Softmax);
    let layers = vec![
        Dropout::new(0.2).into(),
        Dropout::new(0.4).into(),
        dense(9, Activation::Relu),
        Dropout::new(0.5).into(),
        softmax,
    ];
    check(&of_layers(5, layers, Loss::CROSS_ENTROPY, &[]), 9, "several dropouts");
}

/// With each set of its tensors, epsilons that matter and that do not, rows of few and of many values, and below and above
/// every activation.
#[test]
fn layer_norm_in_every_place() {
    let norm = |epsilon| LayerNorm::new().epsilon(epsilon);
    for place in 0..4 {
        for (which, norm) in [
            norm(0.001),
            norm(0.5).without_scale(),
            norm(0.01).without_center(),
            norm(0.1).without_scale().without_center(),
        ]
        .into_iter()
        .enumerate()
        {
            let mut layers = vec![dense(21, Activation::Tanh), dense(6, Activation::Gelu)];
            layers.push(dense(3, Activation::Linear));
            layers.insert(place, norm.into());
            let network = of_layers(4, layers, Loss::Mse, &[]);
            check(&network, 7, &format!("layer norm {which} in {place}"));
        }
    }
    for &activation in ACTIVATIONS {
        let layers = [dense(17, activation), LayerNorm::new().into(), dense(2, activation)];
        check(&of_layers(3, layers.to_vec(), Loss::Mse, &[]), 5, &format!("norm of {activation}"));
    }
    let layers: Vec<LayerSpec> = vec![
        LayerNorm::new().into(),
        Dropout::new(0.3).into(),
        LayerNorm::new().epsilon(0.1).into(),
        dense(3, Activation::Softmax),
    ];
    let network = embedding(3, vec![(4, 2)], layers, Loss::CROSS_ENTROPY, &[]);
    check(&network, 9, "layer norms alone");
}

/// Of one layer and of several, one inside the other, first and last, around what drops and what normalizes.
#[test]
fn residual_blocks() {
    let one = |units, activation| Residual::new().layer(dense(units, activation));
    let linear = || dense(2, Activation::Linear);
    let several = Residual::new()
        .layer(LayerNorm::new().epsilon(0.1))
        .layer(dense(7, Activation::Gelu))
        .layer(Dropout::new(0.3))
        .layer(dense(5, Activation::Linear));
    let nested = Residual::new()
        .layer(one(5, Activation::Tanh).layer(LayerNorm::new().epsilon(0.1)))
        .layer(Dropout::new(0.2))
        .layer(one(5, Activation::Silu));
    let wide = || dense(5, Activation::Tanh);
    let rows: Vec<(&str, Vec<LayerSpec>)> = vec![
        ("first", vec![one(3, Activation::Tanh).into(), linear()]),
        ("last", vec![linear(), one(2, Activation::Tanh).into()]),
        ("alone", vec![one(3, Activation::Gelu).into()]),
        (
            "one after another",
            vec![one(3, Activation::Tanh).into(), one(3, Activation::Silu).into()],
        ),
        ("several layers", vec![wide(), several.clone().into(), linear()]),
        ("nested", vec![wide(), nested.clone().into(), linear()]),
        (
            "nested at the beginning",
            vec![
                Residual::new().layer(one(3, Activation::Tanh)).layer(Dropout::new(0.5)).into(),
                linear(),
            ],
        ),
        (
            "no tensors before",
            vec![
                Residual::new().layer(Dropout::new(0.5)).layer(dense(3, Activation::Tanh)).into(),
                linear(),
            ],
        ),
        (
            "no tensors inside",
            vec![
                dense(3, Activation::Tanh),
                Residual::new().layer(Dropout::new(0.5)).into(),
                linear(),
            ],
        ),
    ];
    for (what, layers) in rows {
        check(&of_layers(3, layers.clone(), Loss::Mse, &[]), 7, what);
        let network = embedding(1, vec![(4, 2)], layers, Loss::Mse, &[]);
        check(&network, 7, &format!("{what}, embedded"));
    }
}

/// Below dense layers and below dropout, with numbers beside them and alone, with every row of a table touched and few.
#[test]
fn embeddings_before_the_layers() {
    for (numbers, tables) in [
        (3, vec![(4, 2)]),
        (0, vec![(4, 2)]),
        (2, vec![(1, 1), (50, 3), (5, 4)]),
        (0, vec![(2, 5), (9, 1)]),
    ] {
        for layers in [
            vec![dense(2, Activation::Linear)],
            vec![dense(5, Activation::Tanh), dense(2, Activation::Gelu)],
            vec![Dropout::new(0.3).into(), dense(4, Activation::Silu), dense(2, Activation::Tanh)],
        ] {
            let what = format!("{numbers} numbers, {tables:?}, {} layers", layers.len());
            let network = embedding(numbers, tables.clone(), layers, Loss::Mse, &[]);
            check(&network, 11, &what);
        }
    }
    let softmax = vec![dense(3, Activation::Softmax)];
    let network = embedding(1, vec![(6, 3)], softmax, Loss::CROSS_ENTROPY, &[]);
    check(&network, 9, "cross entropy");
}

/// Gradients of one leaf and of a tree of leaves, losses and outputs: all against the reference.
pub(crate) fn check(network: &Network, rows: usize, what: &str) {
    let params = parameters(network);
    let (x, y) = data(network, rows);
    let root = ShardTree::new(rows as u32).root();
    let one_each: Vec<_> = (0..rows as u32).map(|shard| (shard, 1)).collect();
    for (leaves, node) in
        [(microbatches(&[(0, rows)]), Node::leaf(0)), (microbatches(&one_each), root)]
    {
        let rows = identities(&leaves);
        let want = differences(network, &params, (&x, &y), &rows);
        let scale = want.iter().fold(0.1, |scale: f64, want| scale.max(want.abs()));
        let got = gradient(network, &params, (&x, &y), &leaves, &[node]);
        for (i, (&got, &want)) in got.gradients[0].iter().zip(&want).enumerate() {
            let error = (f64::from(got) - want).abs();
            assert!(error <= 3e-6 * scale, "{what}: parameter {i}: {got} is not {want}");
        }
        let loss = losses(network, &wide(&params), (&x, &y), &rows);
        let error = (got.sums[0][0] - loss).abs();
        assert!(error <= 1e-5 * loss.abs(), "{what}: loss {} is not {loss}", got.sums[0][0]);
    }
    let mut ws = Workspace::new(network);
    let outputs = network.predict(&params, x.view(), &mut ws);
    for (outputs, x) in outputs.rows().into_iter().zip(x.rows()) {
        let x = wide(&x.to_vec());
        for (&got, want) in
            outputs.iter().zip(crate::common::reference_outputs(network, &wide(&params), &x, None))
        {
            assert!(
                (f64::from(got) - want).abs() <= 2e-6 * want.abs().max(1.0),
                "{what}: {got} {want}"
            );
        }
    }
}

/// Who each row is.
fn identities(leaves: &[Microbatch]) -> Vec<Identity> {
    let of = |leaf: &Microbatch| {
        let shard = leaf.shard;
        (0..leaf.rows.len()).map(move |place| Some((shard, place)))
    };
    leaves.iter().flat_map(of).collect()
}

/// Features and targets.
type Data<'a> = (&'a Array2<f32>, &'a Array2<f32>);

/// Slopes of the summed loss by every parameter, by central differences.
fn differences(network: &Network, params: &[f32], data: Data<'_>, rows: &[Identity]) -> Vec<f64> {
    const STEP: f64 = 1e-6;
    let mut params = wide(params);
    (0..params.len())
        .map(|i| {
            let value = params[i];
            let mut at = |value| {
                params[i] = value;
                losses(network, &params, data, rows)
            };
            let slope = (at(value + STEP) - at(value - STEP)) / (2.0 * STEP);
            params[i] = value;
            slope
        })
        .collect()
}

fn losses(network: &Network, params: &[f64], (x, y): Data<'_>, rows: &[Identity]) -> f64 {
    let pairs = x.rows().into_iter().zip(y.rows()).zip(rows);
    pairs
        .map(|((x, y), &row)| {
            let (x, y) = (wide(&x.to_vec()), wide(&y.to_vec()));
            crate::common::reference_loss(network, params, (&x, &y), row)
        })
        .sum()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
