//! Numbers that are not finite stop a pass, and the error names the shard and the layer that made them.

use crate::common::{microbatches, network, training};
use lockstep_model::{
    Activation, Batch, Loss, Network, NodeGradient, NonFinite, NonFiniteKind, Workspace,
};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use ndarray::Array2;

/// `x w0 w1`, no hidden nonlinearity, one column.
fn chain(loss: Loss) -> Network {
    network(1, &[(1, Activation::Linear), (1, Activation::Linear)], loss, &[])
}

/// The error of rows of one shard each, and the layers that were handed over before it.
fn run(
    network: &Network,
    params: &[f32],
    x: &[f32],
    lens: &[(u32, usize)],
) -> (NonFinite, Vec<usize>) {
    run_in(Precision::F32, network, params, x, lens)
}

fn run_in(
    precision: Precision,
    network: &Network,
    params: &[f32],
    x: &[f32],
    lens: &[(u32, usize)],
) -> (NonFinite, Vec<usize>) {
    let x = Array2::from_shape_vec((x.len(), 1), x.to_vec()).unwrap();
    let y = Array2::zeros((x.nrows(), network.target_width()));
    let mut ws = Workspace::new(network);
    let mut layers = Vec::new();
    let nodes = [ShardTree::new(8).root()];
    let (x, y, leaves) = (x.view(), y.view(), microbatches(lens));
    let mut sink = |part: NodeGradient<'_>| layers.push(part.layer);
    let batch = Batch { x, y, weights: None, rows: training(&leaves), nodes: &nodes, precision };
    let error = network.gradient(&params, &batch, &mut ws, &mut sink).unwrap_err();
    (error, layers)
}

#[test]
fn loss() {
    let network = chain(Loss::Mse);
    let one_each = &[(0, 1), (3, 1), (5, 1)];
    let rows = [
        // An overflow in the first layer, in the second, and in the square alone.
        ([10.0, 0.0, 0.0, 0.0], [1.0, 1e38, f32::NAN], 3, Some(0)),
        ([1.0, 0.0, 10.0, 0.0], [1.0, 1.0, 1e38], 5, Some(1)),
        ([1.0, 0.0, 1.0, 0.0], [1e30, 1.0, 1e38], 0, None),
        ([f32::NAN, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0], 0, Some(0)),
    ];
    for (params, x, shard, layer) in rows {
        let (error, handed_over) = run(&network, &params, &x, one_each);
        assert_eq!(error, NonFinite { shard, layer, what: NonFiniteKind::Loss });
        assert!(handed_over.is_empty());
    }
}

#[test]
fn gradient() {
    let network = chain(Loss::Mae);
    let what = NonFiniteKind::Gradient;
    // Two rows of 3e38 in one shard: their own sum overflows in layer 0, the output is 0 throughout.
    let params = [0.0, 1.0, 1.0, 0.0];
    let (error, layers) =
        run(&network, &params, &[1.0, 3e38, 3e38, 3e38], &[(1, 1), (2, 1), (6, 2)]);
    assert_eq!(error, NonFinite { shard: 6, layer: Some(0), what });
    assert_eq!(layers, [1]);
    // One row each: no shard overflows by itself, so the node's first one is named.
    let (error, _) = run(&network, &params, &[1.0, 3e38, 3e38], &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(error, NonFinite { shard: 1, layer: Some(0), what });
    // A bias alone: three slopes of 3e38 in one shard.
    let network = network_with_steep_output();
    let (error, layers) = run(&network, &[0.0, 0.0, 3e38, 0.1], &[0.0; 4], &[(0, 1), (7, 3)]);
    assert_eq!(error, NonFinite { shard: 7, layer: Some(0), what });
    assert_eq!(layers, [1]);
}

/// Sums that `f32` could hold, and rounded ones could not.
#[test]
fn a_gradient_that_rounding_makes_infinite() {
    let (network, params) = (chain(Loss::Mae), [0.0, 1.0, 1.0, 0.0]);
    let (nearly, what) = (f32::MAX * 0.999, NonFiniteKind::Gradient);
    let run = |x: &[f32], lens| run_in(Precision::Bf16, &network, &params, x, lens);
    let (error, layers) = run(&[1.0, 2.0, nearly], &[(1, 1), (2, 1), (6, 1)]);
    assert_eq!((error, layers), (NonFinite { shard: 6, layer: Some(0), what }, vec![1]));
    // No leaf by itself, but two together.
    let (error, _) = run(&[1.0, f32::MAX * 0.5, f32::MAX * 0.498], &[(1, 1), (2, 1), (3, 1)]);
    assert_eq!(error, NonFinite { shard: 1, layer: Some(0), what });
}

/// Finite loss, but slopes by the first layer as large as the second kernel.
fn network_with_steep_output() -> Network {
    network(1, &[(1, Activation::Linear), (1, Activation::Tanh)], Loss::Mae, &[])
}

#[test]
fn evaluation() {
    let network = chain(Loss::Mse);
    let mut ws = Workspace::new(&network);
    let x = Array2::from_elem((2, 1), 1e38);
    let y = Array2::zeros((2, 1));
    let mut sums = vec![0.0];
    let error = network
        .evaluate(&vec![10.0, 0.0, 1.0, 0.0], x.view(), y.view(), &mut ws, &mut sums)
        .unwrap_err();
    assert_eq!(error, NonFinite { shard: 0, layer: Some(0), what: NonFiniteKind::Loss });
}

#[test]
fn a_label_that_is_no_class() {
    let network = network(1, &[(3, Activation::Softmax)], Loss::CROSS_ENTROPY, &[]);
    let params = network.initial_parameters(1);
    let x = Array2::ones((1, 1));
    for label in [3.0, -1.0, 0.5, f32::NAN] {
        let y = Array2::from_elem((1, 1), label);
        let mut ws = Workspace::new(&network);
        let mut sums = vec![0.0];
        let error = network.evaluate(&params, x.view(), y.view(), &mut ws, &mut sums).unwrap_err();
        assert_eq!((error.layer, error.what), (None, NonFiniteKind::Loss), "label {label}");
        let leaves = microbatches(&[(0, 1)]);
        let batch = Batch {
            x: x.view(),
            y: y.view(),
            weights: None,
            rows: training(&leaves),
            nodes: &[Node::leaf(0)],
            precision: Precision::F32,
        };
        let mut sink = |_: NodeGradient<'_>| panic!("nothing is handed over");
        let got = network.gradient(&params, &batch, &mut ws, &mut sink);
        assert_eq!(got.unwrap_err(), error);
    }
}
