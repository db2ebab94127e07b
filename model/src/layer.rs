//! The gradient of one layer: its kernel's tiles and its bias, up the tree of microbatches.
//!
//! Knows tiles of a gradient, and neither threads nor other layers.

use std::cell::RefCell;
use std::ops::Range;

use ndarray::s;

use crate::finite::all_finite;
use crate::fold::{self, Leaves, Order};
use crate::leaves::LayerLeaves;
use crate::pass::view_mut;
use crate::product;
use crate::tile::KernelTile;

thread_local! {
    /// Tiles that wait to be added. Never borrowed across a call into rayon.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl LayerLeaves<'_> {
    /// Writes one tile of a node's gradient and says whether it is finite.
    pub(crate) fn fold(
        &self,
        order: &Order,
        inputs: Option<Range<usize>>,
        values: &mut [f32],
    ) -> bool {
        SCRATCH.with_borrow_mut(|scratch| match inputs {
            Some(inputs) => KernelTile { layer: *self, inputs, order, values, scratch }.compute(),
            None => {
                let scratch = product::lines(scratch, order.scratch_len(values.len()));
                fold::fold(&BiasLeaves { layer: *self }, order, values, scratch);
                all_finite(values)
            }
        })
    }

    /// The first microbatch whose own gradient is not finite. If there is none, the sum overflowed: then the first.
    pub(crate) fn first_bad_leaf(&self, order: &Order, bias: bool) -> usize {
        let mut row = vec![0.0; self.slopes.ncols()];
        let mut is_bad = |leaf: usize| {
            let rows = self.microbatches[leaf].rows.clone();
            let slopes = self.slopes.slice(s![rows.clone(), ..]);
            let bad_kernel = (0..self.input.ncols()).any(|input| {
                let input = self.input.slice(s![rows.clone(), input..input + 1]);
                product::multiply(input.t(), slopes, view_mut(&mut row, 1, slopes.ncols()));
                !self.precision.can_hold(&row)
            });
            bad_kernel
                || bias && {
                    BiasLeaves { layer: *self }.write(leaf, &mut row);
                    !self.precision.can_hold(&row)
                }
        };
        let leaves = order.steps.iter().map(|step| step.leaf);
        leaves.clone().find(|&leaf| is_bad(leaf)).unwrap_or(order.steps[0].leaf)
    }
}

/// The bias' gradient: a leaf's rows of slopes in order, from +0.
struct BiasLeaves<'a> {
    layer: LayerLeaves<'a>,
}

impl Leaves for BiasLeaves<'_> {
    type Value = f32;

    fn write(&self, leaf: usize, out: &mut [f32]) {
        out.fill(0.0);
        let rows = self.layer.microbatches[leaf].rows.clone();
        for row in self.layer.slopes.slice(s![rows, ..]).rows() {
            for (sum, &slope) in out.iter_mut().zip(row) {
                *sum += slope;
            }
        }
    }

    fn round(&self, sum: &mut [f32]) {
        self.layer.precision.round(sum);
    }
}
