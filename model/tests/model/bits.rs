//! The same bits for any number of threads, any cut of rows into calls, and any cut of shards into spans.

use std::collections::HashMap;

use crate::common::{
    bits, bits_f64, data, dense, embedding, gradient, gradient_in, microbatches, network,
    of_images, of_layers, parameters, training,
};
use lockstep_model::{
    Activation, AvgPool, Batch, BatchNorm, Conv2d, Dropout, Flatten, LayerNorm, LayerSpec, Loss,
    MaxPool, Metric, Microbatch, Network, NodeGradient, PARALLEL_FLOPS_MIN, Padding, Residual,
    Sink, Workspace,
};
use lockstep_proto::ids::Span;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use ndarray::s;

const SHARDS: u32 = 11;

/// Leaves of many lengths, some above 256 rows, some of one row, some absent.
const LEAVES: &[(u32, usize)] =
    &[(0, 3), (1, 300), (3, 1), (4, 17), (5, 260), (6, 16), (8, 1), (9, 2), (10, 270)];

fn networks() -> Vec<Network> {
    let gelu = (33, Activation::Gelu);
    vec![
        network(
            37,
            &[(70, Activation::Relu), gelu, (3, Activation::Softmax)],
            Loss::CROSS_ENTROPY,
            &[Metric::Accuracy],
        ),
        network(
            150,
            &[(20, Activation::Softmax), (2, Activation::Linear)],
            Loss::Huber { delta: 0.5 },
            &[Metric::Mae, Metric::R2, Metric::Rmse],
        ),
        of_layers(
            60,
            vec![
                Dropout::new(0.1).into(),
                dense(70, Activation::Relu),
                Dropout::new(0.5).into(),
                dense(4, Activation::Gelu),
            ],
            Loss::Mse,
            &[Metric::Mae],
        ),
        of_layers(
            45,
            vec![
                dense(50, Activation::Relu),
                Residual::new()
                    .layer(LayerNorm::new())
                    .layer(Residual::new().layer(dense(50, Activation::Tanh)))
                    .layer(dense(50, Activation::Linear))
                    .into(),
                dense(3, Activation::Linear),
            ],
            Loss::Mse,
            &[],
        ),
        of_layers(
            45,
            vec![
                LayerNorm::new().into(),
                dense(70, Activation::Tanh),
                LayerNorm::new().without_center().into(),
                dense(3, Activation::Linear),
            ],
            Loss::Mse,
            &[Metric::Mae],
        ),
        of_images(
            [11, 9, 2],
            vec![
                Conv2d::new(7, [3, 3]).padding(Padding::Same).into(),
                MaxPool::default().into(),
                Residual::new().layer(Conv2d::new(7, [3, 2]).padding(Padding::Same)).into(),
                Dropout::new(0.2).into(),
                Conv2d::new(17, [2, 2]).activation(Activation::Gelu).strides([2, 1]).into(),
                AvgPool::new([2, 1]).into(),
                Flatten::new().into(),
                dense(3, Activation::Softmax),
            ],
            Loss::CROSS_ENTROPY,
            &[Metric::Accuracy],
        ),
        of_images(
            [11, 9, 2],
            vec![
                BatchNorm::new().without_scale().into(),
                Conv2d::new(13, [3, 3]).padding(Padding::Same).into(),
                BatchNorm::new().into(),
                Residual::new().layer(BatchNorm::new().without_center()).into(),
                Flatten::new().into(),
                dense(30, Activation::Relu),
                BatchNorm::new().into(),
                dense(3, Activation::Softmax),
            ],
            Loss::CROSS_ENTROPY,
            &[Metric::Accuracy],
        ),
        // A table of which every row is touched, one of which few are, and numbers beside them.
        embedding(
            31,
            vec![(4, 16), (3000, 5)],
            vec![
                dense(60, Activation::Relu),
                Dropout::new(0.2).into(),
                dense(3, Activation::Softmax),
            ],
            Loss::CROSS_ENTROPY,
            &[Metric::Accuracy],
        ),
    ]
}

fn rows() -> usize {
    LEAVES.iter().map(|leaf| leaf.1).sum()
}

fn in_pool<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

#[test]
fn threads_do_not_matter() {
    // Leaves of matrix products each, and leaves that are added in registers.
    let small: Vec<_> = (0..SHARDS).map(|shard| (shard, 15 + shard as usize)).collect();
    for lens in [LEAVES, &small] {
        let leaves = microbatches(lens);
        let rows = leaves[leaves.len() - 1].rows.end;
        for span in [Span { start: 0, end: SHARDS }, Span { start: 0, end: 7 }] {
            let mut nodes = ShardTree::new(SHARDS).nodes(span);
            if span.end < SHARDS {
                nodes.extend(ShardTree::new(SHARDS).nodes(Span { start: 7, end: SHARDS }));
            }
            nodes.retain(|&node| holds(node, &leaves));
            for (network, precision) in networks().iter().flat_map(in_both) {
                check_threads(network, precision, rows, &leaves, &nodes);
            }
        }
    }
}

fn in_both(network: &Network) -> [(&Network, Precision); 2] {
    [(network, Precision::F32), (network, Precision::Bf16)]
}

fn check_threads(
    network: &Network,
    precision: Precision,
    rows: usize,
    leaves: &[Microbatch],
    nodes: &[Node],
) {
    let (params, (x, y)) = (parameters(network), data(network, rows));
    assert!(network.flops_per_row() * rows as u64 > PARALLEL_FLOPS_MIN);
    let run = || {
        let got = gradient_in(precision, network, &params, (&x, &y), leaves, nodes);
        let mut ws = Workspace::new(network);
        let outputs = bits(network.predict(&params, x.view(), &mut ws).as_slice().unwrap());
        (bits(&got.gradients.concat()), bits_f64(&got.sums.concat()), outputs)
    };
    let want = in_pool(1, run);
    for threads in [2, 4] {
        assert!(in_pool(threads, run) == want, "{threads} threads");
    }
}

#[test]
fn spans_do_not_matter() {
    let tree = ShardTree::new(SHARDS);
    for (network, precision) in networks().iter().flat_map(in_both) {
        let want = span_gradient(precision, network, tree, tree.all());
        let want = (&want[&tree.root()].0, &want[&tree.root()].1);
        for cuts in [vec![1], vec![8], vec![3, 4, 9], (1..SHARDS).collect()] {
            let mut nodes = HashMap::new();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            for (start, end) in starts.zip(cuts.iter().copied().chain([SHARDS])) {
                nodes.extend(span_gradient(precision, network, tree, Span { start, end }));
            }
            let (gradient, sums) = up_the_tree(precision, tree, tree.root(), &nodes).unwrap();
            assert_eq!(bits(&gradient), bits(want.0), "cut at {cuts:?}");
            assert_eq!(bits_f64(&sums), bits_f64(want.1), "cut at {cuts:?}");
        }
    }
}

/// Each leaf by itself, rounded, and rounded again wherever two are added.
#[test]
fn every_node_is_rounded() {
    let (tree, precision) = (ShardTree::new(SHARDS), Precision::Bf16);
    for network in networks() {
        let mut leaves = HashMap::new();
        for start in 0..SHARDS {
            let span = Span { start, end: start + 1 };
            leaves.extend(span_gradient(Precision::F32, &network, tree, span));
        }
        leaves.values_mut().for_each(|(gradient, _)| precision.round(gradient));
        let (want, _) = up_the_tree(precision, tree, tree.root(), &leaves).unwrap();
        let got = span_gradient(precision, &network, tree, tree.all());
        assert_eq!(bits(&got[&tree.root()].0), bits(&want));
    }
}

type Sum = (Vec<f32>, Vec<f64>);

/// What a worker of this span would send.
fn span_gradient(
    precision: Precision,
    network: &Network,
    tree: ShardTree,
    span: Span,
) -> HashMap<Node, Sum> {
    let params = parameters(network);
    let (x, y) = data(network, rows());
    let all = microbatches(LEAVES);
    let mine: Vec<_> =
        all.into_iter().filter(|leaf| (span.start..span.end).contains(&leaf.shard)).collect();
    let Some(start) = mine.first().map(|leaf| leaf.rows.start) else { return HashMap::new() };
    let end = mine[mine.len() - 1].rows.end;
    let (x, y) = (x.slice(s![start..end, ..]).to_owned(), y.slice(s![start..end, ..]).to_owned());
    let mine: Vec<_> = mine
        .into_iter()
        .map(|leaf| Microbatch { rows: leaf.rows.start - start..leaf.rows.end - start, ..leaf })
        .collect();
    let mut nodes = tree.nodes(span);
    nodes.retain(|&node| holds(node, &mine));
    let got = gradient_in(precision, network, &params, (&x, &y), &mine, &nodes);
    nodes.into_iter().zip(got.gradients.into_iter().zip(got.sums)).collect()
}

fn holds(node: Node, leaves: &[Microbatch]) -> bool {
    leaves.iter().any(|leaf| node.contains(Node::leaf(leaf.shard)))
}

/// The coordinator's part, written as the definition says.
fn up_the_tree(
    precision: Precision,
    tree: ShardTree,
    node: Node,
    nodes: &HashMap<Node, Sum>,
) -> Option<Sum> {
    if let Some(sum) = nodes.get(&node) {
        return Some(sum.clone());
    }
    tree.span(node)?;
    let (left, right) = node.children()?;
    let child = |node| up_the_tree(precision, tree, node, nodes);
    match (child(left), child(right)) {
        (Some(mut left), Some(right)) => {
            left.0.iter_mut().zip(&right.0).for_each(|(sum, value)| *sum += value);
            precision.round(&mut left.0);
            left.1.iter_mut().zip(&right.1).for_each(|(sum, value)| *sum += value);
            Some(left)
        }
        (left, right) => left.or(right),
    }
}

/// A leaf's gradient as the numerics contract defines it, for a network of one linear layer.
#[test]
fn leaves_are_the_naive_loop() {
    let network = network(5, &[(3, Activation::Linear)], Loss::Mse, &[]);
    let params = parameters(&network);
    for rows in [1, 2, 256, 257, 600] {
        let (x, y) = data(&network, rows);
        let mut ws = Workspace::new(&network);
        let outputs = network.predict(&params, x.view(), &mut ws).to_owned();
        let share = 1.0f32 / 3.0;
        let slope = |r: usize, j: usize| 2.0 * (outputs[[r, j]] - y[[r, j]]) * share;
        let mut want = Vec::new();
        for (i, j) in (0..5).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let mut sum = None;
            for start in (0..rows).step_by(256) {
                let end = rows.min(start + 256);
                let chain = (start..end).fold(0.0f32, |sum, r| x[[r, i]].mul_add(slope(r, j), sum));
                sum = Some(sum.map_or(chain, |sum: f32| sum + chain));
            }
            want.push(sum.unwrap());
        }
        want.extend((0..3).map(|j| (0..rows).fold(0.0f32, |sum, r| sum + slope(r, j))));
        let leaf = microbatches(&[(0, rows)]);
        let got = gradient(&network, &params, (&x, &y), &leaf, &[Node::leaf(0)]);
        assert_eq!(bits(&got.gradients[0]), bits(&want), "{rows} rows");
    }
}

#[test]
fn rows_do_not_see_each_other() {
    for network in networks() {
        let (params, (x, y)) = (parameters(&network), data(&network, 90));
        let mut ws = Workspace::new(&network);
        let want = network.predict(&params, x.view(), &mut ws).to_owned();
        let mut want_sums = vec![0.0; network.sums_len()];
        network.evaluate(&params, x.view(), y.view(), &mut ws, &mut want_sums).unwrap();
        for block in [1, 7, 64] {
            let mut sums = vec![0.0; network.sums_len()];
            for start in (0..x.nrows()).step_by(block) {
                let rows = start..x.nrows().min(start + block);
                let (x, y) = (x.slice(s![rows.clone(), ..]), y.slice(s![rows.clone(), ..]));
                let got = network.predict(&params, x, &mut ws).to_owned();
                assert_eq!(got, want.slice(s![rows, ..]), "blocks of {block}");
                network.evaluate(&params, x, y, &mut ws, &mut sums).unwrap();
            }
            assert_eq!(bits_f64(&sums), bits_f64(&want_sums), "blocks of {block}");
        }
        // A leaf's sums in a gradient are the sums of an evaluation.
        let differs = |layer: &LayerSpec| {
            layer.get::<Dropout>().is_some() || layer.get::<BatchNorm>().is_some()
        };
        if network.spec().layers.iter().any(differs) {
            continue;
        }
        let leaf = microbatches(&[(4, 90)]);
        let got = gradient(&network, &params, (&x, &y), &leaf, &[Node::leaf(4)]);
        assert_eq!(bits_f64(&got.sums[0]), bits_f64(&want_sums));
    }
}

/// Inputs need not lie row by row, and a workspace may be used for calls of any size.
#[test]
fn memory_order_and_workspace_do_not_matter() {
    let network = &networks()[0];
    let (params, (x, y)) = (parameters(network), data(network, 40));
    let x_by_column = x.t().as_standard_layout().to_owned();
    let y_wide = ndarray::concatenate![ndarray::Axis(1), y, y];
    let mut ws = Workspace::new(network);
    let mut want = vec![0.0; network.sums_len()];
    network.evaluate(&params, x.view(), y.view(), &mut ws, &mut want).unwrap();
    network.predict(&params, x.slice(s![..3, ..]), &mut ws);
    let mut got = vec![0.0; network.sums_len()];
    let y_view = y_wide.slice(s![.., ..1]);
    network.evaluate(&params, x_by_column.t(), y_view, &mut ws, &mut got).unwrap();
    assert_eq!(bits_f64(&got), bits_f64(&want));
    let leaves = microbatches(&[(0, 10), (1, 30)]);
    let root = [ShardTree::new(2).root()];
    let want = gradient(network, &params, (&x, &y), &leaves, &root);
    let (x, precision) = (x_by_column.t(), Precision::F32);
    let mut sink = |part: NodeGradient<'_>| {
        let layer = network.layout().layers()[part.layer].clone();
        assert_eq!(bits(part.values), bits(&want.gradients[0][layer]));
    };
    let batch =
        Batch { x, y: y_view, weights: None, rows: training(&leaves), nodes: &root, precision };
    network.gradient(&params, &batch, &mut ws, &mut sink).unwrap();
}

/// A sink that gives memory for every other layer.
struct Rooms {
    room: Vec<f32>,
    filled: Vec<(usize, Vec<f32>)>,
}

impl Sink for Rooms {
    fn room(&mut self, layer: usize, len: usize) -> Option<&mut [f32]> {
        self.room = vec![f32::NAN; len];
        layer.is_multiple_of(2).then_some(&mut self.room)
    }

    fn filled(&mut self, layer: usize) {
        self.filled.push((layer, std::mem::take(&mut self.room)));
    }

    fn take(&mut self, layer: usize, len: usize, values: &[f32]) {
        assert_eq!(layer, 1, "the others were given room");
        assert!(values.len().is_multiple_of(len));
        self.filled.push((1, values.to_vec()));
    }
}

#[test]
fn gradients_can_be_made_in_memory_of_the_sink() {
    let network = network(
        5,
        &[(7, Activation::Tanh), (6, Activation::Relu), (2, Activation::Linear)],
        Loss::Mse,
        &[],
    );
    let params = parameters(&network);
    let (x, y) = data(&network, 12);
    let leaves = microbatches(&[(0, 5), (1, 4), (2, 3)]);
    let nodes = ShardTree::new(3).nodes(Span { start: 0, end: 3 });
    let want = gradient(&network, &params, (&x, &y), &leaves, &nodes);
    let mut rooms = Rooms { room: Vec::new(), filled: Vec::new() };
    let mut ws = Workspace::new(&network);
    let (x, y, precision) = (x.view(), y.view(), Precision::F32);
    let batch = Batch { x, y, weights: None, rows: training(&leaves), nodes: &nodes, precision };
    network.gradient(&params, &batch, &mut ws, &mut rooms).unwrap();
    let layers: Vec<_> = rooms.filled.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(layers, [2, 1, 0]);
    for (layer, values) in rooms.filled {
        let range = network.layout().layers()[layer].clone();
        assert_eq!(bits(&values), bits(&want.gradients[0][range]), "layer {layer}");
    }
}
