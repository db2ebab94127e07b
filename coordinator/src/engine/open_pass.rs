//! The pass in hand: which leaves of which track are there, and who was dealt the rest.

use std::collections::BTreeSet;

use lockstep_proto::fold::Leaves;
use lockstep_proto::ids::{Chunk, Span, Task, WorkerId};
use lockstep_proto::tree::ShardTree;

use super::schedule::Planned;

/// One tree that is added in a pass: a chunk of the gradient, or the loss and metric sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// The loss and metric sums.
    Sums,
    /// The gradient over one chunk.
    Chunk(Chunk),
}

#[derive(Debug)]
pub(super) struct OpenPass {
    pub(super) planned: Planned,
    /// The shards that have rows.
    leaves: Leaves,
    /// By track: the leaves whose values are there.
    covered: Vec<Leaves>,
    /// Spans dealt to workers that are still members.
    deals: Vec<(WorkerId, Span)>,
    /// Tracks that are added and stored.
    committed: Vec<bool>,
    /// Chunks that are added and wait for the global norm.
    pub(super) held: usize,
}

impl OpenPass {
    pub(super) fn new(
        planned: Planned,
        leaves: Leaves,
        tree: ShardTree,
        chunks: usize,
    ) -> OpenPass {
        let tracks = match planned.task {
            Task::Train { .. } => 1 + chunks,
            Task::Evaluate { .. } => 1,
        };
        OpenPass {
            planned,
            leaves,
            covered: vec![Leaves::none(tree); tracks],
            deals: Vec::new(),
            committed: vec![false; tracks],
            held: 0,
        }
    }

    /// Whether the span has rows in this pass.
    pub(super) fn has_rows(&self, span: Span) -> bool {
        self.leaves.any_in(span)
    }

    pub(super) fn deal(&mut self, worker: WorkerId, span: Span) {
        self.deals.push((worker, span));
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.deals.retain(|&(dealt, _)| dealt != worker);
    }

    pub(super) fn was_dealt(&self, worker: WorkerId, span: Span) -> bool {
        let inside = |dealt: Span| dealt.start <= span.start && span.end <= dealt.end;
        self.deals.iter().any(|&(dealt_to, dealt)| dealt_to == worker && inside(dealt))
    }

    /// Whether this pass adds such a track.
    pub(super) fn has(&self, track: Track) -> bool {
        index(track) < self.covered.len()
    }

    /// Notes a node's leaves as there; false if all of them already were, or none has rows.
    pub(super) fn cover(&mut self, track: Track, span: Span) -> bool {
        self.covered[index(track)].cover(span, &self.leaves)
    }

    /// Notes a track as stored; true if that ends the pass.
    pub(super) fn commit(&mut self, track: Track) -> bool {
        self.committed[index(track)] = true;
        self.committed.iter().all(|&done| done)
    }

    /// Shards with values still missing that nobody was dealt.
    pub(super) fn undealt(&self) -> Vec<u32> {
        let mut dealt = self.leaves.without(&self.leaves);
        for &(_, span) in &self.deals {
            dealt.cover(span, &self.leaves);
        }
        self.missing().without(&dealt).iter().collect()
    }

    /// The workers whose values are missing.
    pub(super) fn owing(&self) -> BTreeSet<WorkerId> {
        let missing = self.missing();
        let owed = self.deals.iter().filter(|&&(_, span)| missing.any_in(span));
        owed.map(|&(worker, _)| worker).collect()
    }

    /// A worker whose values are missing, with its span.
    pub(super) fn waits_for(&self) -> Option<(WorkerId, Span)> {
        let missing = self.missing();
        self.deals.iter().copied().find(|&(_, span)| missing.any_in(span))
    }

    fn missing(&self) -> Leaves {
        let missing_in = |covered: &Leaves| self.leaves.without(covered);
        let mut tracks = self.covered.iter().map(missing_in);
        let first = tracks.next().expect("every pass has the sums track");
        tracks.fold(first, |all, missing| all.union(&missing))
    }
}

fn index(track: Track) -> usize {
    match track {
        Track::Sums => 0,
        Track::Chunk(chunk) => 1 + chunk.0 as usize,
    }
}
