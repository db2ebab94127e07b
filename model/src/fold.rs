//! The one fold over the shard tree: gradient tiles, bias gradients and metric sums all go through it.
//!
//! Knows the order of additions and nothing about where leaves come from.

use std::ops::AddAssign;

use lockstep_proto::tree::Node;

use crate::backward::Microbatch;

/// The values at the leaves of the tree, all of one length.
pub(crate) trait Leaves {
    /// What is added.
    type Value: Copy + AddAssign;

    /// Overwrites `out` with the value of leaf `leaf`, counted among the microbatches.
    fn write(&self, leaf: usize, out: &mut [Self::Value]);

    /// Adds the value of a leaf to `out` and says true, but only if that gives the bits of a write and one
    /// addition for each element. Else leaves `out` alone and says false.
    fn add(&self, _leaf: usize, _out: &mut [Self::Value]) -> bool {
        false
    }
}

/// Values of scratch that [`fold`] needs for results of `len` values.
pub(crate) fn scratch_len(node: Node, leaves: &[Microbatch], len: usize) -> usize {
    len * (node.level as usize).min(leaves.len() - 1)
}

/// Writes the sum of `node` to `out`: `left + right` at every node, an absent child adding nothing.
///
/// `leaves` are the microbatches under the node, at least one; `first` is the place of the first of them among
/// all microbatches.
pub(crate) fn fold<L: Leaves>(
    source: &L,
    node: Node,
    leaves: &[Microbatch],
    first: usize,
    out: &mut [L::Value],
    scratch: &mut [L::Value],
) {
    if leaves.len() == 1 {
        return source.write(first, out);
    }
    let (left, right) = node.children().expect("two microbatches of one shard");
    let middle = u64::from(right.index) << right.level;
    let split = leaves.partition_point(|leaf| u64::from(leaf.shard) < middle);
    let (left_leaves, right_leaves) = leaves.split_at(split);
    if right_leaves.is_empty() {
        return fold(source, left, leaves, first, out, scratch);
    }
    if left_leaves.is_empty() {
        return fold(source, right, leaves, first, out, scratch);
    }
    fold(source, left, left_leaves, first, out, scratch);
    if right_leaves.len() == 1 && source.add(first + split, out) {
        return;
    }
    let (side, scratch) = scratch.split_at_mut(out.len());
    fold(source, right, right_leaves, first + split, side, scratch);
    for (sum, &value) in out.iter_mut().zip(&*side) {
        *sum += value;
    }
}
