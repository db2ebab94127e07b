//! The gradient of one layer for each microbatch, and the ways to add them: in registers, or product by product.
//!
//! All ways give the same bits. Knows tiles of a gradient, and neither threads nor other layers.

use std::cell::RefCell;
use std::ops::Range;

use lockstep_proto::values::Precision;
use ndarray::{ArrayView2, s};

use crate::backward::Microbatch;
use crate::finite::all_finite;
use crate::fold::{self, Leaves, Order};
use crate::pass::view_mut;
use crate::product::{CHAIN, Product};
use crate::tile::KernelTile;

thread_local! {
    /// Tiles that wait to be added. Never borrowed across a call into rayon.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Gradients of a layer's microbatches.
#[derive(Clone, Copy)]
pub(crate) struct LayerLeaves<'a> {
    pub(crate) input: ArrayView2<'a, f32>,
    pub(crate) slopes: ArrayView2<'a, f32>,
    pub(crate) microbatches: &'a [Microbatch],
    /// Of every node's sum.
    pub(crate) precision: Precision,
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
            Some(inputs) if KernelTile::is_worth_it(order, self.microbatches) => {
                KernelTile { layer: *self, inputs, order, values: &mut *values, scratch }.compute();
            }
            Some(inputs) => {
                fold_growing(&KernelLeaves { layer: *self, inputs }, order, values, scratch);
            }
            None => fold_growing(&BiasLeaves { layer: *self }, order, values, scratch),
        });
        all_finite(values)
    }

    /// The first microbatch whose own gradient is not finite. If there is none, the sum overflowed: then the first.
    pub(crate) fn first_bad_leaf(&self, order: &Order, bias: bool) -> usize {
        let mut row = vec![0.0; self.slopes.ncols()];
        let mut is_bad = |leaf: usize| {
            let bad_kernel = (0..self.input.ncols()).any(|input| {
                KernelLeaves { layer: *self, inputs: input..input + 1 }.write(leaf, &mut row);
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

fn fold_growing(
    source: &impl Leaves<Value = f32>,
    order: &Order,
    out: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let len = order.scratch_len(out.len());
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    fold::fold(source, order, out, &mut scratch[..len]);
}

/// Some rows of the kernel's gradient.
struct KernelLeaves<'a> {
    layer: LayerLeaves<'a>,
    inputs: Range<usize>,
}

impl KernelLeaves<'_> {
    fn product(&self, leaf: usize, adds: bool, out: &mut [f32]) {
        let rows = self.layer.microbatches[leaf].rows.clone();
        let input = self.layer.input.slice(s![rows.clone(), self.inputs.clone()]);
        let slopes = self.layer.slopes.slice(s![rows, ..]);
        let c = view_mut(out, self.inputs.len(), slopes.ncols());
        Product { a: input.t(), b: slopes, c, adds }.compute();
    }
}

impl Leaves for KernelLeaves<'_> {
    type Value = f32;

    fn write(&self, leaf: usize, out: &mut [f32]) {
        self.product(leaf, false, out);
    }

    /// In place only where the whole leaf is one chain: of two, the first would be added to `out` and not to the
    /// second. A leaf that is rounded has to be there by itself.
    fn add(&self, leaf: usize, out: &mut [f32]) -> bool {
        let one_chain = self.layer.microbatches[leaf].rows.len() <= CHAIN;
        let in_place = one_chain && self.layer.precision == Precision::F32;
        if in_place {
            self.product(leaf, true, out);
        }
        in_place
    }

    fn round(&self, sum: &mut [f32]) {
        self.layer.precision.round(sum);
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
