//! The gradient of a worker's rows: one sum for each node of its span, layer by layer from the last.
//!
//! Forward and the slopes between layers run over all rows at once; a layer's gradient is made tile by tile, each
//! tile's microbatches in tree order. Takes no means, and never waits for the sink.

mod layer_gradient;

use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use ndarray::ArrayView2;
use tracing::trace_span;

use crate::blocks::view;
use crate::finite::{NonFinite, NonFiniteKind};
use crate::fold::{self, Leaves, Order};
use crate::layers::{Backward, Gradient};
use crate::leaves::{Microbatch, TrainingRows};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::product;
use crate::stages::Built;
use crate::workspace::Workspace;
use layer_gradient::LayerGradient;

/// Rows, and how their gradient is summed.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Features, `[rows, inputs]`: numbers, then a place for each embedding.
    pub x: ArrayView2<'a, f32>,
    /// Targets, `[rows, target width]`.
    pub y: ArrayView2<'a, f32>,
    /// What each row's loss is multiplied with; `None` where rows count alike.
    pub weights: Option<&'a [f32]>,
    /// Who the rows are.
    pub rows: TrainingRows<'a>,
    /// What is summed: they cover the microbatches in order; none is empty.
    pub nodes: &'a [Node],
    /// Of every node's sum.
    pub precision: Precision,
}

/// One layer's gradient sum over the rows of one node.
#[derive(Clone, Copy, Debug)]
pub struct NodeGradient<'a> {
    /// Of the layout's, so that where a network has embeddings these are the first.
    pub layer: usize,
    /// Position among the nodes of the call.
    pub node: usize,
    /// Of its tensors, in the order in which it declares them: the layer's part of the flat vector. Then the row squares, in the
    /// same order, if the layout has some of this layer.
    pub values: &'a [f32],
}

/// Takes a call's gradients, layer by layer from the last one. Layers without tensors, and frozen ones, have none.
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
        for layer in 0..self.layers().len() {
            let values = params.layer(self.layout(), layer);
            self.forward_layer(layer, values, batch.x, batch.rows, ws);
        }
        self.backward(params, batch, ws, sink)
    }

    /// The first half of [`Network::gradient`], one layer at a time, from the first: its outputs for the rows of `x`, by the
    /// `values` of its tensors, into the workspace.
    ///
    /// # Panics
    /// If the arguments do not fit the network or each other.
    pub fn forward_layer(
        &self,
        layer: usize,
        values: &[f32],
        x: ArrayView2<'_, f32>,
        rows: TrainingRows<'_>,
        ws: &mut Workspace,
    ) {
        let count = x.nrows();
        if count == 0 {
            return;
        }
        let pieces = product::pieces(self.flops(count));
        self.outputs_of((layer, values), x, Some(rows), ws, pieces, !self.fused());
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
        let Batch { x, y, weights, rows: training, nodes, precision } = *batch;
        let (rows, microbatches) = (x.nrows(), training.microbatches);
        let orders = orders(microbatches, nodes, rows);
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let targets = self.targets(&y, rows);
        let targets = targets.as_slice().expect("standard layout");
        let pieces = product::pieces(self.flops(rows));
        ws.reserve_backward(rows);
        self.losses(targets, ws, pieces, true);
        if let Some(weights) = weights {
            self.weigh(weights, rows, ws);
        }
        let sums = self.node_sums(targets, ws, microbatches, &orders)?;
        let output = self.layers().len() - 1;
        // Nothing below it learns.
        let first = self.layers().iter().position(Built::learns).unwrap_or(0);
        for place in (first..=output).rev() {
            let _span = trace_span!(target: TARGET, "backward", layer = place).entered();
            let layer = &self.layers()[place];
            let compute = &*layer.stage;
            let tensors = layer.tensors(params.layer(self.layout(), place));
            let before = place.checked_sub(1).map(|before| &ws.outputs[before]);
            let pass = Backward {
                layer: layer.number,
                input: before.map_or(x, |before| view(before, rows, layer.inputs)),
                sides: &layer.sides,
                tensors,
                outputs: &ws.outputs[place][..rows * layer.outputs],
                kept: &ws.kept[place][..rows * layer.shape.kept],
                slopes_from: layer.slopes_from,
                training,
                pieces,
            };
            if place < output || !self.fused() {
                compute.slopes_inside(&pass, ws.slopes.at_hand_mut(rows * layer.outputs));
            }
            if layer.learns() {
                let slopes = view(ws.slopes.at_hand(rows * layer.outputs), rows, layer.outputs);
                let gradient = Gradient { pass: &pass, slopes, precision };
                let squared = self.layout().squared_of(place);
                let orders = &orders[..];
                let call = LayerGradient { place, layer, squared, compute, gradient, orders };
                call.hand_over(&mut ws.gradients, sink)?;
            }
            if place > first {
                compute.input_slopes(&pass, &mut ws.slopes);
                if layer.block.is_some() {
                    // They go around the block as well, and are added where it begins.
                    let len = rows * layer.outputs;
                    ws.kept[place][..len].copy_from_slice(ws.slopes.at_hand(len));
                }
                self.add_slopes_around(place, rows, ws);
            }
        }
        Ok(sums)
    }

    /// Adds to the slopes by a stage's inputs those that come around the blocks which begin with it, the inner ones first.
    fn add_slopes_around(&self, place: usize, rows: usize, ws: &mut Workspace) {
        let layers = self.layers().iter().zip(&ws.kept).skip(place + 1);
        for (layer, kept) in layers.filter(|(layer, _)| layer.block == Some(place)) {
            let len = rows * layer.outputs;
            for (slope, &around) in ws.slopes.at_hand_mut(len).iter_mut().zip(&kept[..len]) {
                *slope += around;
            }
        }
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
