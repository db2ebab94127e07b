//! The gradient of a worker's rows: one sum for each node of its span, layer by layer from the last.
//!
//! Forward and the slopes between layers run over all rows at once; a layer's gradient is made tile by tile, each
//! tile's microbatches in tree order. Takes no means, and never waits for the sink.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::activation;
use crate::finite::{NonFinite, NonFiniteKind, all_finite};
use crate::fold::{self, Leaves, Order};
use crate::leaves::{LayerLeaves, Microbatch};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::pass::{each_pair, view, view_mut};
use crate::product;
use crate::workspace::Workspace;

/// Rows, and how their gradient is summed.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Features, `[rows, inputs]`.
    pub x: ArrayView2<'a, f32>,
    /// Targets, `[rows, target width]`.
    pub y: ArrayView2<'a, f32>,
    /// They tile the rows in order of their shards; none is empty.
    pub microbatches: &'a [Microbatch],
    /// What is summed: they cover the microbatches in order; none is empty.
    pub nodes: &'a [Node],
    /// Of every node's sum.
    pub precision: Precision,
}

/// One layer's gradient sum over the rows of one node.
#[derive(Clone, Copy, Debug)]
pub struct NodeGradient<'a> {
    /// Counted from 0.
    pub layer: usize,
    /// Position among the nodes of the call.
    pub node: usize,
    /// Kernel (row-major `[in, out]`), then bias: the layer's part of the flat vector.
    pub values: &'a [f32],
}

/// Takes a call's gradients, layer by layer from the last one.
pub trait Sink {
    /// Memory for one layer's gradient sums, `len` values, node after node; what it holds does not matter. Where there is
    /// none, the workspace's is used.
    fn room(&mut self, _layer: usize, _len: usize) -> Option<&mut [f32]> {
        None
    }

    /// The room that was given for this layer is filled.
    fn filled(&mut self, _layer: usize) {}

    /// Takes one layer's sums that were made in the workspace: `len` values for each node, node after node.
    fn take(&mut self, layer: usize, len: usize, values: &[f32]);
}

impl<F: FnMut(NodeGradient<'_>)> Sink for F {
    fn take(&mut self, layer: usize, len: usize, values: &[f32]) {
        let nodes = values.chunks_exact(len).enumerate();
        nodes.for_each(|(node, values)| self(NodeGradient { layer, node, values }));
    }
}

impl Network {
    /// Gradient sums (not means) of the rows' losses, handed to `sink` layer by layer from the last one, nodes in
    /// order; and the loss and metric sums of each node.
    ///
    /// In another precision than `f32`, the gradient sum of every node is rounded, those of leaves and of nodes under
    /// the batch's as well. A gradient is handed over only if it, so rounded, and the loss are finite.
    ///
    /// # Errors
    /// If a loss or a gradient is not finite; layers after the one named may have been handed over by then.
    ///
    /// # Panics
    /// If the arguments do not fit the network or each other.
    pub fn gradient(
        &self,
        params: &dyn Parameters,
        batch: &Batch<'_>,
        ws: &mut Workspace,
        sink: &mut dyn Sink,
    ) -> Result<Vec<Vec<f64>>, NonFinite> {
        for layer in 0..self.shapes().len() {
            self.forward_layer(layer, params.layer(self.layout(), layer), batch.x, ws);
        }
        self.backward(params, batch, ws, sink)
    }

    /// The first half of [`Network::gradient`], one layer at a time, from the first: its outputs for the rows of `x`, by its
    /// `values` (kernel, then bias), into the workspace.
    ///
    /// # Panics
    /// If the arguments do not fit the network or each other.
    pub fn forward_layer(
        &self,
        layer: usize,
        values: &[f32],
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
    ) {
        let rows = x.nrows();
        if rows == 0 {
            return;
        }
        let pieces = product::pieces(self.flops(rows));
        self.outputs_of(layer, values, x, ws, pieces, self.fused());
    }

    /// The second half of [`Network::gradient`]: what is left when all layers have run [forward](Network::forward_layer)
    /// for these rows and parameters, and nothing else used the workspace since.
    ///
    /// # Errors
    /// As [`Network::gradient`].
    ///
    /// # Panics
    /// As [`Network::gradient`].
    pub fn backward(
        &self,
        params: &dyn Parameters,
        batch: &Batch<'_>,
        ws: &mut Workspace,
        sink: &mut dyn Sink,
    ) -> Result<Vec<Vec<f64>>, NonFinite> {
        let Batch { x, y, microbatches, nodes, precision } = *batch;
        let rows = x.nrows();
        let orders = orders(microbatches, nodes, rows);
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let targets = self.targets(&y, rows);
        let targets = targets.as_slice().expect("standard layout");
        let pieces = product::pieces(self.flops(rows));
        ws.reserve_backward(rows);
        self.losses(targets, ws, pieces, true);
        let sums = self.node_sums(targets, ws, microbatches, &orders)?;
        let output = self.shapes().len() - 1;
        if !self.fused() {
            self.activate_back(output, ws, rows, pieces);
        }
        for layer in (0..=output).rev() {
            let call = (microbatches, &orders[..], precision);
            let len = self.layout().layers()[layer].len() * nodes.len();
            if let Some(values) = sink.room(layer, len) {
                self.layer_gradient(layer, x, ws, call, values, pieces)?;
                sink.filled(layer);
            } else {
                let mut values = ws.take_gradients(len);
                let result = self.layer_gradient(layer, x, ws, call, &mut values[..len], pieces);
                ws.gradients = values;
                result?;
                sink.take(layer, len / nodes.len(), &ws.gradients[..len]);
            }
            if layer > 0 {
                self.slopes_back(layer, params.layer(self.layout(), layer), ws, rows, pieces);
            }
        }
        Ok(sums)
    }

    /// From slopes by a layer's sums to slopes by the sums of the one before it.
    fn slopes_back(
        &self,
        layer: usize,
        values: &[f32],
        ws: &mut Workspace,
        rows: usize,
        pieces: usize,
    ) {
        let shape = self.shapes()[layer];
        let [slopes, before] = &mut ws.slopes;
        let kernel = self.tensors(layer, values).kernel;
        let (slopes, before) =
            (view(slopes, rows, shape.units), view_mut(before, rows, shape.inputs));
        product::multiply_in_pieces(slopes, kernel.t(), before, pieces);
        ws.slopes.swap(0, 1);
        self.activate_back(layer - 1, ws, rows, pieces);
    }

    /// Turns slopes by a layer's outputs into slopes by its sums.
    fn activate_back(&self, layer: usize, ws: &mut Workspace, rows: usize, pieces: usize) {
        let dense = &self.spec().layers[layer];
        let (activation, units) = (dense.activation, dense.units);
        let keeps = activation::keeps_input(activation);
        let kept = if keeps { &mut ws.sums[layer] } else { &mut ws.outputs[layer] };
        let slopes = &mut ws.slopes[0][..rows * units];
        each_pair(&mut kept[..rows * units], slopes, units, pieces, |kept, slopes| {
            activation::backward(activation, units, kept, slopes);
        });
    }

    /// Loss and metric sums of each node: a leaf's rows in order from 0, then up the tree.
    fn node_sums(
        &self,
        targets: &[f32],
        ws: &Workspace,
        microbatches: &[Microbatch],
        orders: &[Order],
    ) -> Result<Vec<Vec<f64>>, NonFinite> {
        let len = self.sums_len();
        let mut leaves = vec![0.0; len * microbatches.len()];
        for (microbatch, sums) in microbatches.iter().zip(leaves.chunks_exact_mut(len)) {
            self.add_rows(targets, ws, microbatch.rows.clone(), sums);
            if !sums[0].is_finite() {
                let layer = self.first_bad_layer(ws, microbatch.rows.clone());
                let shard = microbatch.shard;
                return Err(NonFinite { shard, layer, what: NonFiniteKind::Loss });
            }
        }
        let source = Sums { leaves: &leaves, len };
        let sums = orders.iter().map(|order| {
            let mut sums = vec![0.0; len];
            let mut scratch = vec![0.0; order.scratch_len(len)];
            fold::fold(&source, order, &mut sums, &mut scratch);
            sums
        });
        Ok(sums.collect())
    }

    /// Fills the values with one layer's gradients, node after node.
    fn layer_gradient(
        &self,
        layer: usize,
        x: ArrayView2<'_, f32>,
        ws: &Workspace,
        (microbatches, orders, precision): (&[Microbatch], &[Order], Precision),
        values: &mut [f32],
        pieces: usize,
    ) -> Result<(), NonFinite> {
        let shape = self.shapes()[layer];
        let rows = x.nrows();
        let input = match layer.checked_sub(1) {
            Some(before) => view(&ws.outputs[before], rows, shape.inputs),
            None => x,
        };
        let slopes = view(&ws.slopes[0], rows, shape.units);
        let source = LayerLeaves { input, slopes, microbatches, precision };
        let finite = AtomicBool::new(true);
        let run = |tile: Tile<'_>| {
            if !source.fold(&orders[tile.node], tile.inputs, tile.values) {
                finite.store(false, Ordering::Relaxed);
            }
        };
        let kernel_len = shape.inputs * shape.units;
        let tile_rows = shape.inputs.div_ceil(pieces);
        let tiles = values.chunks_exact_mut(shape.len()).enumerate().flat_map(|(node, values)| {
            let (kernel, bias) = values.split_at_mut(kernel_len);
            let kernel = kernel.chunks_mut(tile_rows * shape.units).enumerate();
            let kernel = kernel.map(move |(i, values)| {
                let start = i * tile_rows;
                let inputs = Some(start..start + values.len() / shape.units);
                Tile { node, inputs, values }
            });
            let bias = shape.bias.then_some(Tile { node, inputs: None, values: bias });
            kernel.chain(bias)
        });
        if pieces == 1 {
            tiles.for_each(run);
        } else {
            let tiles: Vec<_> = tiles.collect();
            tiles.into_par_iter().for_each(run);
        }
        if finite.into_inner() {
            return Ok(());
        }
        let bad = values.chunks_exact(shape.len()).position(|values| !all_finite(values));
        let leaf = source.first_bad_leaf(&orders[bad.unwrap_or(0)], shape.bias);
        let shard = microbatches[leaf].shard;
        Err(NonFinite { shard, layer: Some(layer), what: NonFiniteKind::Gradient })
    }
}

/// The additions of each node; checks the nodes and the microbatches.
fn orders(microbatches: &[Microbatch], nodes: &[Node], rows: usize) -> Vec<Order> {
    let mut at = 0;
    let mut next_shard = 0;
    for microbatch in microbatches {
        assert!(microbatch.shard >= next_shard, "microbatches are not in order of their shards");
        assert!(
            microbatch.rows.start == at && microbatch.rows.end > at,
            "microbatches do not tile the rows"
        );
        at = microbatch.rows.end;
        next_shard = microbatch.shard + 1;
    }
    assert_eq!(at, rows, "microbatches do not cover the rows");
    let mut first = 0;
    let mut orders = Vec::with_capacity(nodes.len());
    for &node in nodes {
        let rest = &microbatches[first..];
        let len = rest.iter().take_while(|leaf| node.contains(Node::leaf(leaf.shard))).count();
        assert!(len > 0, "{node} has no microbatch, or nodes are not in order");
        orders.push(Order::new(node, &rest[..len], first));
        first += len;
    }
    assert_eq!(first, microbatches.len(), "nodes do not cover the microbatches");
    orders
}

/// One task: a part of one node's kernel gradient (these inputs), or its bias gradient.
struct Tile<'a> {
    node: usize,
    inputs: Option<Range<usize>>,
    values: &'a mut [f32],
}

/// Loss and metric sums of the microbatches.
struct Sums<'a> {
    leaves: &'a [f64],
    len: usize,
}

impl Leaves for Sums<'_> {
    type Value = f64;

    fn write(&self, leaf: usize, out: &mut [f64]) {
        out.copy_from_slice(&self.leaves[leaf * self.len..][..self.len]);
    }
}
