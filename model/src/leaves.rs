//! Whose rows a training pass computes, and from what a gradient over them is made. Computes nothing.

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

/// Who the rows of a training pass are. With these each row has an identity that does not depend on the call it is in: the
/// step, the shard, and the place in the microbatch. Random numbers of a pass are keyed by them and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRows<'a> {
    /// Seed of the job.
    pub seed: u64,
    /// Updates made before.
    pub step: u64,
    /// They tile the rows of the call in order of their shards; none is empty, and each is whole.
    pub microbatches: &'a [Microbatch],
}

impl<'a> TrainingRows<'a> {
    /// Shard and place in the microbatch of the rows from this one on.
    pub(crate) fn identities(self, first: usize) -> impl Iterator<Item = (u32, usize)> + use<'a> {
        let passed = self.microbatches.partition_point(|batch| batch.rows.end <= first);
        self.microbatches[passed..].iter().flat_map(move |batch| {
            (batch.rows.start.max(first)..batch.rows.end)
                .map(|row| (batch.shard, row - batch.rows.start))
        })
    }
}

/// Gradients of a kernel's microbatches: products of what went in and the slopes.
#[derive(Clone, Copy)]
pub(crate) struct KernelLeaves<'a> {
    pub(crate) input: ArrayView2<'a, f32>,
    pub(crate) slopes: ArrayView2<'a, f32>,
    pub(crate) microbatches: &'a [Microbatch],
    /// Of every node's sum.
    pub(crate) precision: Precision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_who_they_are() {
        let batch = |shard, rows| Microbatch { shard, rows };
        let microbatches = [batch(2, 0..3), batch(3, 3..4), batch(7, 4..6)];
        let rows = TrainingRows { seed: 0, step: 0, microbatches: &microbatches };
        let all = [(2, 0), (2, 1), (2, 2), (3, 0), (7, 0), (7, 1)];
        for first in 0..=6 {
            assert!(rows.identities(first).eq(all[first..].iter().copied()), "from {first}");
        }
    }
}
