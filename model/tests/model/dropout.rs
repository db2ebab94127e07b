//! Dropout: what is dropped depends on seed, layer, step, shard and place alone; how much is dropped; and where nothing is.

use crate::common::{
    bits, bits_f64, data, dense, gradient, gradient_of, microbatches, of_layers, parameters,
    training,
};
use lockstep_model::{
    Activation, Dense, Dropout, LayerSpec, Loss, Metric, Microbatch, Network, TrainingRows,
    Workspace,
};
use lockstep_proto::ids::Span;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use ndarray::Array2;

const WIDTH: usize = 40;

/// Dropouts of these rates, then a sum of what is left.
fn chain(rates: &[f32]) -> Network {
    let layers = rates.iter().map(|&rate| LayerSpec::from(Dropout::new(rate)));
    let sum = Dense::new(1).without_bias().into();
    of_layers(WIDTH, layers.chain([sum]).collect(), Loss::Mse, &[])
}

/// What each value of each row is multiplied with by a dropout of this rate: with inputs and slopes of 1, the gradient.
/// Every row has to be alone in its microbatch.
fn factors(rate: f32, rows: TrainingRows<'_>) -> Array2<f32> {
    factors_of(&chain(&[rate]), rows)
}

fn factors_of(network: &Network, rows: TrainingRows<'_>) -> Array2<f32> {
    let count = rows.microbatches.len();
    let x = Array2::ones((count, WIDTH));
    // The kernel is 0, and so is every output.
    let y = Array2::from_elem((count, 1), -0.5);
    let nodes: Vec<Node> = rows.microbatches.iter().map(|leaf| Node::leaf(leaf.shard)).collect();
    let got = gradient_of(Precision::F32, network, &[0.0; WIDTH], (&x, &y), rows, &nodes);
    Array2::from_shape_vec((count, WIDTH), got.gradients.concat()).unwrap()
}

fn one_each(shards: impl IntoIterator<Item = u32>) -> Vec<Microbatch> {
    microbatches(&shards.into_iter().map(|shard| (shard, 1)).collect::<Vec<_>>())
}

#[test]
fn about_so_many_are_dropped_and_the_others_scaled() {
    let leaves = one_each(0..2000);
    for rate in [0.05f32, 0.2, 0.5, 0.9] {
        let factors = factors(rate, training(&leaves));
        let scale = 1.0 / (1.0 - rate);
        assert!(factors.iter().all(|&factor| factor == 0.0 || factor == scale), "{rate}");
        let share = |factors: &mut dyn Iterator<Item = &f32>| {
            let (mut dropped, mut all) = (0, 0);
            factors.for_each(|&factor| {
                dropped += usize::from(factor == 0.0);
                all += 1;
            });
            dropped as f32 / all as f32
        };
        let deviation = |count: usize| (rate * (1.0 - rate) / count as f32).sqrt();
        let all = share(&mut factors.iter());
        assert!((all - rate).abs() < 4.0 * deviation(2000 * WIDTH), "{rate}: {all}");
        // No column is dropped more often than others.
        for column in factors.columns() {
            let share = share(&mut column.iter());
            assert!((share - rate).abs() < 5.0 * deviation(2000), "{rate}: {share} of a column");
        }
    }
}

#[test]
fn every_part_of_a_rows_identity_counts() {
    let leaves = one_each([3, 4]);
    let rows = training(&leaves);
    let factors = factors(0.5, rows);
    assert_ne!(factors.row(0), factors.row(1), "shard");
    let differs = |other: TrainingRows<'_>| self::factors(0.5, other) != factors;
    assert!(!differs(rows));
    assert!(differs(TrainingRows { seed: rows.seed + 1, ..rows }));
    assert!(differs(TrainingRows { step: rows.step + 1, ..rows }));
    // The layer: dropped by one or by the other.
    let both = factors_of(&chain(&[0.5, 0.5]), rows);
    let kept = |factors: &Array2<f32>| factors.iter().filter(|&&factor| factor > 0.0).count();
    assert!(kept(&both) < kept(&factors));
    let below = factors_of(&chain(&[0.5, 0.0]), rows);
    assert_eq!(below, factors);
    let above = factors_of(&chain(&[0.0, 0.5]), rows);
    assert_ne!(above, factors);
    let product = &below * &above;
    assert_eq!(both, product);
}

/// Rows of a microbatch differ, and are the same in whatever call the microbatch is computed.
#[test]
fn the_other_rows_of_a_call_do_not_count() {
    let network = chain(&[0.3]);
    let params = parameters(&network);
    let (x, y) = data(&network, 9);
    let tree = ShardTree::new(3);
    let leaves = microbatches(&[(0, 4), (1, 3), (2, 2)]);
    let each = tree.nodes(Span { start: 0, end: 3 });
    let together = gradient(&network, &params, (&x, &y), &leaves, &each);
    let mut folded: Option<Vec<f32>> = None;
    for leaf in [&leaves[..2], &leaves[2..]] {
        let (start, end) = (leaf[0].rows.start, leaf[leaf.len() - 1].rows.end);
        let rows = ndarray::s![start..end, ..];
        let moved = |leaf: &Microbatch| Microbatch {
            rows: leaf.rows.start - start..leaf.rows.end - start,
            ..leaf.clone()
        };
        let moved: Vec<_> = leaf.iter().map(moved).collect();
        let node = if moved.len() == 2 { Node::leaf(0).parent() } else { Node::leaf(2) };
        let (x, y) = (x.slice(rows).to_owned(), y.slice(rows).to_owned());
        let got = gradient(&network, &params, (&x, &y), &moved, &[node]).gradients.remove(0);
        folded = Some(match folded {
            None => got,
            Some(left) => left.iter().zip(&got).map(|(left, right)| left + right).collect(),
        });
    }
    assert_eq!(bits(&folded.unwrap()), bits(&together.gradients[0]));
}

/// With rate 0 the network has the bits of one without the layer, everywhere.
#[test]
fn rate_0_is_the_identity() {
    let plain =
        [dense(20, Activation::Gelu), dense(7, Activation::Relu), dense(3, Activation::Softmax)];
    let with = plain.iter().flat_map(|layer| [Dropout::new(0.0).into(), layer.clone()]);
    let of = |layers| of_layers(11, layers, Loss::CROSS_ENTROPY, &[Metric::Accuracy]);
    let (with, plain) = (of(with.collect()), of(plain.to_vec()));
    let params = parameters(&plain);
    assert_eq!(bits(&parameters(&with)), bits(&params));
    let (mut x, y) = data(&plain, 30);
    x[[2, 3]] = -0.0;
    let leaves = microbatches(&[(0, 13), (1, 1), (2, 16)]);
    let nodes = ShardTree::new(3).nodes(Span { start: 0, end: 3 });
    let [a, b] = [&plain, &with].map(|network| {
        let got = gradient(network, &params, (&x, &y), &leaves, &nodes);
        let outputs = network.predict(&params, x.view(), &mut Workspace::new(network)).to_owned();
        (bits(&got.gradients.concat()), bits_f64(&got.sums.concat()), outputs)
    });
    assert_eq!(a, b);
}

/// Where nothing is learned, every rate is 0.
#[test]
fn predictions_and_evaluations_drop_nothing() {
    let of = |rate: f32| {
        let layers = vec![Dropout::new(rate).into(), dense(9, Activation::Tanh)];
        let layers = [layers, vec![Dropout::new(rate).into(), dense(2, Activation::Linear)]];
        of_layers(6, layers.concat(), Loss::Mse, &[Metric::Mae])
    };
    let params = parameters(&of(0.0));
    let (x, y) = data(&of(0.0), 25);
    // Columns together as well.
    let by_column = x.t().as_standard_layout().to_owned();
    let [a, b] = [0.0, 0.8].map(|rate| {
        let network = of(rate);
        let mut ws = Workspace::new(&network);
        // What training left in the workspace does not matter.
        let leaf = microbatches(&[(0, 25)]);
        gradient(&network, &params, (&x, &y), &leaf, &[Node::leaf(0)]);
        let outputs = network.predict(&params, by_column.t(), &mut ws).to_owned();
        let mut sums = vec![0.0; network.sums_len()];
        network.evaluate(&params, x.view(), y.view(), &mut ws, &mut sums).unwrap();
        (outputs, bits_f64(&sums))
    });
    assert_eq!(a, b);
}

/// What is dropped is 0, whatever it was.
#[test]
fn what_is_dropped_need_not_be_finite() {
    let leaves = one_each([0]);
    let factors = factors(0.5, training(&leaves));
    let network = chain(&[0.5]);
    let mut x = Array2::ones((1, WIDTH));
    x.iter_mut()
        .zip(&factors)
        .filter(|(_, factor)| **factor == 0.0)
        .for_each(|(x, _)| *x = f32::NAN);
    let y = Array2::zeros((1, 1));
    let params = [0.1; WIDTH];
    let got = gradient(&network, &params, (&x, &y), &leaves, &[Node::leaf(0)]);
    assert!(
        got.gradients[0]
            .iter()
            .zip(&factors)
            .all(|(got, factor)| (*got == 0.0) == (*factor == 0.0))
    );
}
