//! The gradient of a worker's rows: one sum for each node of its span, layer by layer from the last.
//!
//! Forward and the slopes between layers run over all rows at once; a layer's gradient is made tile by tile, each
//! tile's microbatches in tree order. Takes no means, and never waits for the sink.

use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use ndarray::ArrayView2;
use rayon::prelude::*;
use tracing::trace_span;

use crate::blocks::view;
use crate::finite::{NonFinite, NonFiniteKind, all_finite};
use crate::fold::{self, Leaves, Order};
use crate::layers::{Backward, Gradient, Stage, TensorPart};
use crate::leaves::{Microbatch, TrainingRows};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::product;
use crate::stages::Built;
use crate::workspace::Workspace;

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

/// The gradients of one layer, of all nodes of a call.
struct LayerGradient<'a, 'p> {
    place: usize,
    layer: &'a Built,
    /// Values of its row squares: of all its tensors or of none.
    squared: usize,
    compute: &'a dyn Stage,
    gradient: Gradient<'a, 'p>,
    orders: &'a [Order],
}

impl LayerGradient<'_, '_> {
    /// Computes them in the sink's memory or in this, and has the sink take them.
    fn hand_over(&self, memory: &mut Vec<f32>, sink: &mut dyn Sink) -> Result<(), NonFinite> {
        let len = self.sums_len() * self.orders.len();
        if let Some(values) = sink.room(self.place, len) {
            self.fill(values)?;
            sink.filled(self.place);
            return Ok(());
        }
        if memory.len() < len {
            memory.resize(len, 0.0);
        }
        self.fill(&mut memory[..len])?;
        sink.take(self.place, self.sums_len(), &memory[..len]);
        Ok(())
    }

    /// Values of a node: the gradient, then the row squares.
    fn sums_len(&self) -> usize {
        self.layer.len() + self.squared
    }

    /// Fills the values, node after node.
    fn fill(&self, values: &mut [f32]) -> Result<(), NonFinite> {
        let finite = AtomicBool::new(true);
        let run = |tile: Tile<'_>| {
            let (order, Tile { part, values, summed, .. }) = (&self.orders[tile.node], tile);
            if !self.sum(summed, &part, order, values) {
                finite.store(false, Ordering::Relaxed);
            }
        };
        let nodes = values.chunks_exact_mut(self.sums_len()).enumerate();
        let tiles = nodes.flat_map(|(node, values)| {
            let (gradient, squares) = values.split_at_mut(self.layer.len());
            let squared = (!squares.is_empty()).then_some((Summed::Squares, squares));
            let parts = [Some((Summed::Slopes, gradient)), squared].into_iter().flatten();
            parts.flat_map(move |(summed, values)| self.tiles(node, summed, values))
        });
        if self.gradient.pass.pieces == 1 {
            tiles.for_each(run);
        } else {
            let tiles: Vec<_> = tiles.collect();
            tiles.into_par_iter().for_each(run);
        }
        if finite.into_inner() {
            return Ok(());
        }
        let bad = values.chunks_exact(self.sums_len()).position(|values| !all_finite(values));
        let leaf = self.first_bad_leaf(&self.orders[bad.unwrap_or(0)]);
        let shard = self.gradient.pass.training.microbatches[leaf].shard;
        Err(NonFinite { shard, layer: Some(self.place), what: NonFiniteKind::Gradient })
    }

    /// Writes a node's sums of a part of a tensor, and says whether they are finite.
    fn sum(&self, summed: Summed, part: &TensorPart, order: &Order, out: &mut [f32]) -> bool {
        match summed {
            Summed::Slopes => self.compute.node_gradient(&self.gradient, part, order, out),
            Summed::Squares => self.compute.node_squares(&self.gradient, part, order, out),
        }
    }

    /// One node's gradient, or its row squares, cut into tasks: tensors of several sides along all but the last, others whole.
    fn tiles<'v>(
        &self,
        node: usize,
        summed: Summed,
        mut values: &'v mut [f32],
    ) -> impl Iterator<Item = Tile<'v>> {
        let pieces = self.gradient.pass.pieces;
        self.layer.shape.tensors.iter().enumerate().flat_map(move |(tensor, declared)| {
            let sides = &declared.shape.shape;
            let (count, place_len) = cut(sides);
            let places = if sides.len() > 1 { count.div_ceil(pieces) } else { count };
            let (own, after) = std::mem::take(&mut values).split_at_mut(count * place_len);
            values = after;
            own.chunks_mut(places * place_len).enumerate().map(move |(i, values)| {
                let start = i * places;
                let places = start..start + values.len() / place_len;
                Tile { node, part: TensorPart { tensor, places }, summed, values }
            })
        })
    }

    /// The first microbatch whose own gradient is not finite. If there is none, the sum overflowed: then the first.
    fn first_bad_leaf(&self, order: &Order) -> usize {
        let mut leaves = order.steps.iter().map(|step| step.leaf);
        leaves.find(|&leaf| self.is_bad(leaf)).unwrap_or(order.steps[0].leaf)
    }

    fn is_bad(&self, leaf: usize) -> bool {
        let rows = &self.gradient.pass.training.microbatches[leaf].rows;
        let tensors = self.layer.shape.tensors.iter().enumerate();
        // As little as can be at a time, since a whole tensor may be large.
        let mut parts = tensors.flat_map(|(tensor, declared)| {
            let sides = &declared.shape.shape;
            let (places, rest) = cut(sides);
            let (count, step) = if sides.len() > 1 { (places, 1) } else { (1, places) };
            (0..count).map(move |i| {
                (TensorPart { tensor, places: i * step..(i + 1) * step }, step * rest)
            })
        });
        let mut values = Vec::new();
        parts.any(|(part, len)| {
            values.resize(len, 0.0);
            self.compute.leaf_gradient(&self.gradient, &part, rows.clone(), &mut values);
            let is_finite = self.gradient.precision.can_hold(&values);
            let has_squares = is_finite && self.squared > 0;
            let order = Order::of_leaf(leaf);
            !is_finite || has_squares && !self.sum(Summed::Squares, &part, &order, &mut values)
        })
    }
}

/// Places at which a tensor may be cut, and values of each.
fn cut(sides: &[usize]) -> (usize, usize) {
    match sides {
        [places] => (*places, 1),
        [places @ .., len] => (places.iter().product(), *len),
        [] => (0, 0),
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

/// One task: a part of one node's gradient, or of its row squares.
struct Tile<'a> {
    node: usize,
    part: TensorPart,
    summed: Summed,
    values: &'a mut [f32],
}

/// What of the rows' slopes by a tensor is added.
#[derive(Clone, Copy)]
enum Summed {
    /// They themselves: the gradient.
    Slopes,
    /// The square of each: the row squares.
    Squares,
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
