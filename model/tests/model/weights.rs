//! Weights of rows: losses and gradients are multiplied with them, metrics are not, and a weight of 1 changes no bit.

use lockstep_model::{Activation, Batch, Loss, Metric, Network, NodeGradient, Workspace};
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::Precision;

use crate::common::{bits, bits_f64, data, microbatches, network, parameters, training};

const ROWS: usize = 11;

/// A network for each loss.
fn networks() -> Vec<Network> {
    let of = |units, activation, loss, metrics: &[Metric]| {
        network(4, &[(6, Activation::Tanh), (units, activation)], loss, metrics)
    };
    let numbers = [Metric::Mae, Metric::R2];
    vec![
        of(2, Activation::Linear, Loss::Mse, &numbers),
        of(2, Activation::Linear, Loss::Mae, &numbers),
        of(2, Activation::Linear, Loss::Huber { delta: 0.5 }, &numbers),
        of(3, Activation::Softmax, Loss::CROSS_ENTROPY, &[Metric::Accuracy]),
        of(1, Activation::Sigmoid, Loss::BINARY_CROSS_ENTROPY, &[Metric::Accuracy]),
    ]
}

/// Gradient and sums of rows in four shards, at the root.
fn sums(network: &Network, weights: Option<&[f32]>) -> (Vec<f32>, Vec<f64>) {
    let (x, y) = data(network, ROWS);
    let leaves = microbatches(&[(0, 3), (1, 3), (2, 3), (3, 2)]);
    let nodes = [ShardTree::new(4).root()];
    let mut gradient = vec![0.0; network.layout().len()];
    let mut sink = |part: NodeGradient<'_>| {
        gradient[network.layout().layers()[part.layer].clone()].copy_from_slice(part.values);
    };
    let batch = Batch {
        x: x.view(),
        y: y.view(),
        weights,
        rows: training(&leaves),
        nodes: &nodes,
        precision: Precision::F32,
    };
    let params = parameters(network);
    let mut ws = Workspace::new(network);
    let sums = network.gradient(&params, &batch, &mut ws, &mut sink).unwrap().remove(0);
    (gradient, sums)
}

#[test]
fn a_weight_of_1_changes_nothing() {
    for network in networks() {
        let (without, with) = (sums(&network, None), sums(&network, Some(&[1.0; ROWS])));
        assert_eq!(bits(&without.0), bits(&with.0), "{:?}", network.spec().loss);
        assert_eq!(bits_f64(&without.1), bits_f64(&with.1));
    }
}

/// Powers of two are exact.
#[test]
fn losses_and_gradients_grow_with_the_weights_and_metrics_do_not() {
    for network in networks() {
        let (without, with) = (sums(&network, None), sums(&network, Some(&[4.0; ROWS])));
        let grown: Vec<f32> = without.0.iter().map(|value| 4.0 * value).collect();
        assert_eq!(bits(&grown), bits(&with.0), "{:?}", network.spec().loss);
        assert_eq!((4.0 * without.1[0]).to_bits(), with.1[0].to_bits());
        assert_eq!(bits_f64(&without.1[1..]), bits_f64(&with.1[1..]));
    }
}

#[test]
fn each_row_counts_by_its_own_weight() {
    for network in networks() {
        let weights: Vec<f32> = (0..ROWS).map(|row| (row % 4) as f32 * 0.75).collect();
        let (gradient, all) = sums(&network, Some(&weights));
        let (mut wanted, mut loss) = (vec![0.0; gradient.len()], 0.0);
        for (row, &weight) in weights.iter().enumerate() {
            let mut alone = [0.0; ROWS];
            alone[row] = 1.0;
            let (gradient, sums) = sums(&network, Some(&alone));
            loss += f64::from(weight) * sums[0];
            for (wanted, value) in wanted.iter_mut().zip(gradient) {
                *wanted += f64::from(weight) * f64::from(value);
            }
        }
        assert!((all[0] - loss).abs() <= 1e-6 * loss, "{} is not {loss}", all[0]);
        for (found, wanted) in gradient.iter().zip(wanted) {
            assert!((f64::from(*found) - wanted).abs() <= 1e-5, "{found} is not {wanted}");
        }
    }
}
