//! The pass in hand: which leaves of which track are there, and who was dealt the rest.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_proto::ids::{Chunk, Span, Task, WorkerId};
use lockstep_proto::tree::ShardTree;
use lockstep_reduce::fold::LeafSet;

use super::audits::Audits;
use super::divergence::Claim;
use super::schedule::Planned;
use super::sums::Sums;

/// One tree that is added in a pass: a chunk of the gradient, or the loss and metric sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// The loss and metric sums.
    Sums,
    /// The gradient over one chunk.
    Chunk(Chunk),
}

#[derive(Debug)]
pub(super) struct OpenPass {
    pub(super) planned: Planned,
    pub(super) began_at: Instant,
    /// Whether somebody left or was late: it says nothing of who it was dealt to.
    pub(super) is_disturbed: bool,
    tree: ShardTree,
    /// The shards that have rows.
    leaves: LeafSet,
    /// By track: the leaves whose values are there.
    covered: Vec<LeafSet>,
    /// What was dealt to workers that are still members.
    pub(super) deals: Vec<Dealt>,
    /// Spans that two workers compute.
    pub(super) audits: Audits,
    /// What members say is not finite.
    pub(super) claims: Vec<Claim>,
    /// Tracks that are added and stored.
    committed: Vec<bool>,
    /// Chunks that are added and wait for the global norm.
    pub(super) held: usize,
    /// Chunks that workers add up.
    pub(super) sums: Sums,
}

/// A span in a worker's hands.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) worker: WorkerId,
    pub(super) span: Span,
    pub(super) at: Instant,
    /// How long the answer took, once it is whole.
    pub(super) answered: Option<Duration>,
    /// Whether the answer was that there is none that is finite.
    pub(super) diverged: bool,
    /// Whether it was late and dealt to others as well.
    pub(super) hedged: bool,
    /// Whether it was answered, and values of it are to be sent again.
    pub(super) is_reopened: bool,
    /// How much longer than usual it may take before it is: what moving its rows would take.
    pub(super) grace: Option<Duration>,
}

impl OpenPass {
    pub(super) fn new(
        now: Instant,
        planned: Planned,
        leaves: LeafSet,
        tree: ShardTree,
        (chunks, frozen): (usize, &[Chunk]),
    ) -> OpenPass {
        let tracks = match planned.task {
            Task::Train { .. } => 1 + chunks,
            Task::Evaluate { .. } => 1,
        };
        let (mut covered, mut committed) = (vec![LeafSet::none(tree); tracks], vec![false; tracks]);
        // Nothing of them is missing.
        let frozen = frozen.iter().map(|&chunk| index(Track::Chunk(chunk)));
        for track in frozen.filter(|&track| track < tracks) {
            covered[track] = leaves.clone();
            committed[track] = true;
        }
        OpenPass {
            planned,
            began_at: now,
            is_disturbed: false,
            tree,
            leaves,
            covered,
            deals: Vec::new(),
            audits: Audits::default(),
            claims: Vec::new(),
            committed,
            held: 0,
            sums: Sums::default(),
        }
    }

    pub(super) fn tree(&self) -> ShardTree {
        self.tree
    }

    /// Whether all values of a track are there.
    pub(super) fn is_covered(&self, track: Track) -> bool {
        self.covered[index(track)].covers(self.tree.all(), &self.leaves)
    }

    /// The shards whose values are missing in a track.
    pub(super) fn missing_in(&self, track: Track) -> LeafSet {
        self.leaves.without(&self.covered[index(track)])
    }

    /// The shards of a span that have rows in this pass.
    pub(super) fn with_rows(&self, span: Span) -> impl Iterator<Item = u32> {
        (span.start..span.end).filter(|&shard| self.leaves.contains(shard))
    }

    pub(super) fn has_rows(&self, span: Span) -> bool {
        self.leaves.any_in(span)
    }

    pub(super) fn deal(&mut self, now: Instant, worker: WorkerId, span: Span) {
        let (answered, grace) = (None, None);
        let (diverged, hedged, is_reopened) = (false, false, false);
        let deal = Dealt { worker, span, at: now, answered, diverged, hedged, is_reopened, grace };
        self.deals.push(deal);
    }

    /// Notes that a deal is answered with all of its values; how long that took.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        worker: WorkerId,
        span: Span,
    ) -> Option<Duration> {
        self.audits.answer(worker, span);
        let mut deals = self.deals.iter_mut();
        let deal = deals.find(|deal| deal.worker == worker && deal.span == span)?;
        let took = now.saturating_duration_since(deal.at);
        deal.answered = Some(took);
        Some(took)
    }

    /// Lets go of what a worker was dealt. What was dealt to it because others were late is open again.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let lost: Vec<Span> =
            self.deals.iter().filter(|deal| deal.worker == worker).map(|deal| deal.span).collect();
        self.is_disturbed = true;
        self.audits.forget(worker);
        self.sums.forget(worker);
        self.claims.retain(|claim| claim.worker != worker);
        self.deals.retain(|deal| deal.worker != worker);
        for deal in &mut self.deals {
            deal.hedged &= !lost.iter().any(|span| span.overlaps(deal.span));
        }
    }

    pub(super) fn was_dealt(&self, worker: WorkerId, span: Span) -> bool {
        self.deals.iter().any(|deal| deal.worker == worker && deal.span.contains(span))
    }

    /// Whether values over this span may be folded on a worker's word alone: it was dealt them not only to be compared.
    pub(super) fn was_dealt_to_fold(&self, worker: WorkerId, span: Span) -> bool {
        let compared = self.audits.of(worker, span).map(|audit| audit.span);
        let of_deal = |deal: &Dealt| {
            deal.worker == worker && deal.span.contains(span) && Some(deal.span) != compared
        };
        self.deals.iter().any(of_deal)
    }

    /// Whether this pass adds such a track.
    pub(super) fn has(&self, track: Track) -> bool {
        index(track) < self.covered.len()
    }

    /// Notes a node's leaves as there; false if all of them already were, or none has rows.
    pub(super) fn cover(&mut self, track: Track, span: Span) -> bool {
        self.covered[index(track)].cover(span, &self.leaves)
    }

    /// Notes a worker's values for a node of an audited span.
    pub(super) fn deliver(&mut self, worker: WorkerId, track: Track, span: Span) {
        let none = || vec![LeafSet::none(self.tree); self.covered.len()];
        let audits = self.audits.open_mut();
        for audit in audits.filter(|a| a.span.contains(span) && a.dealt.contains(&worker)) {
            audit.deliver(worker, none)[index(track)].cover(span, &self.leaves);
        }
    }

    /// Whether values of a span that a worker computed are missing in any track that is added up here: nobody's are there, nor
    /// its own to be compared.
    pub(super) fn lacks_values(&self, worker: WorkerId, span: Span) -> bool {
        self.covered.iter().enumerate().any(|(track, covered)| {
            if covered.covers(span, &self.leaves) || self.is_elsewhere(track) {
                return false;
            }
            let is_there =
                |shard| covered.contains(shard) || self.audits.has_given(worker, track, shard);
            self.with_rows(span).any(|shard| !is_there(shard))
        })
    }

    fn is_elsewhere(&self, track: usize) -> bool {
        let chunk = track.checked_sub(1).map(|chunk| Track::Chunk(Chunk(chunk as u32)));
        chunk.is_some_and(|track| self.sums.are_elsewhere(track))
    }

    /// Notes a track as stored; true if that ends the pass.
    pub(super) fn commit(&mut self, track: Track) -> bool {
        self.committed[index(track)] = true;
        self.committed.iter().all(|&done| done)
    }

    /// Shards with values still missing that nobody was dealt. Audits see to their own.
    pub(super) fn undealt(&self) -> Vec<u32> {
        let mut dealt = self.leaves.without(&self.leaves);
        let audited = self.audits.open().map(|audit| audit.span);
        let in_hand = self.deals.iter().filter(|deal| !deal.diverged).map(|deal| deal.span);
        for span in in_hand.chain(audited) {
            dealt.cover(span, &self.leaves);
        }
        self.missing().without(&dealt).iter().collect()
    }

    /// The workers whose values are missing.
    pub(super) fn owing(&self) -> BTreeSet<WorkerId> {
        let missing = self.missing();
        let owed = self.deals.iter().filter(|deal| missing.any_in(deal.span));
        owed.map(|deal| deal.worker).collect()
    }

    /// A worker whose values are missing, with its span.
    pub(super) fn waits_for(&self) -> Option<(WorkerId, Span)> {
        let missing = self.missing();
        let missed = |deal: &&Dealt| deal.answered.is_none() && missing.any_in(deal.span);
        self.deals.iter().find(missed).map(|deal| (deal.worker, deal.span))
    }

    /// Shards with values that are missing in any track. What goes to a home is taken to be there once its deal is answered.
    pub(super) fn missing(&self) -> LeafSet {
        let answered = self.sums.are_anywhere().then(|| self.answered());
        let missing_in = |(track, covered): (usize, &LeafSet)| {
            let missing = self.leaves.without(covered);
            match &answered {
                Some(answered) if self.is_elsewhere(track) => missing.without(answered),
                _ => missing,
            }
        };
        let mut tracks = self.covered.iter().enumerate().map(missing_in);
        let first = tracks.next().expect("every pass has the sums track");
        tracks.fold(first, |all, missing| all.union(&missing))
    }

    /// The longest that an answer took so far.
    pub(super) fn longest_answer(&self) -> Option<Duration> {
        self.deals.iter().filter_map(|deal| deal.answered).max()
    }
}

fn index(track: Track) -> usize {
    match track {
        Track::Sums => 0,
        Track::Chunk(chunk) => 1 + chunk.0 as usize,
    }
}
