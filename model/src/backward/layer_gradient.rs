//! The gradient of one layer: cut into tiles that threads take, each tile's microbatches in tree order.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::Sink;
use crate::finite::{NonFinite, NonFiniteKind, all_finite};
use crate::fold::Order;
use crate::layers::{Gradient, Stage, TensorPart};
use crate::stages::Built;

/// The gradients of one layer, of all nodes of a call.
pub(super) struct LayerGradient<'a, 'p> {
    pub(super) place: usize,
    pub(super) layer: &'a Built,
    /// Values of its row squares: of all its tensors or of none.
    pub(super) squared: usize,
    pub(super) compute: &'a dyn Stage,
    pub(super) gradient: Gradient<'a, 'p>,
    pub(super) orders: &'a [Order],
}

impl LayerGradient<'_, '_> {
    /// Computes them in the sink's memory or in this, and has the sink take them.
    pub(super) fn hand_over(
        &self,
        memory: &mut Vec<f32>,
        sink: &mut dyn Sink,
    ) -> Result<(), NonFinite> {
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
