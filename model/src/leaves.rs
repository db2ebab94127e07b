//! The leaves of a gradient's tree: whose rows, and from what a layer's gradient over them is made. Computes nothing.

use std::ops::Range;

use lockstep_proto::values::Precision;
use ndarray::ArrayView2;

/// The rows of one shard in one batch: a leaf of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Microbatch {
    /// Whose rows.
    pub shard: u32,
    /// Which rows of the call.
    pub rows: Range<usize>,
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
