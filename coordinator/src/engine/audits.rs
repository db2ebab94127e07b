//! Spans of the open pass that two workers compute, so that their answers can be compared: drawn ones, and those that a
//! worker says are not finite. Counts answers; the values are compared elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lockstep_proto::ids::{Span, WorkerId};
use lockstep_reduce::fold::LeafSet;

/// One audited span.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) span: Span,
    /// It was drawn; otherwise it is audited only while a worker says that it is not finite.
    pub(super) is_drawn: bool,
    /// Who was ever dealt it.
    pub(super) dealt: BTreeSet<WorkerId>,
    /// Who of these can no longer answer, or is not believed.
    lost: BTreeSet<WorkerId>,
    /// Who of these gave all of its values.
    answered: BTreeSet<WorkerId>,
    /// By worker and track: the leaves whose values it gave.
    delivered: BTreeMap<WorkerId, Vec<LeafSet>>,
    /// Most answers to one node that all differ, if more than one.
    split: usize,
    /// It is not compared any more: the first answer is taken.
    pub(super) waived: bool,
    /// Since when somebody is wanted whom nobody could be found for.
    pub(super) wants_since: Option<Instant>,
    /// Until when that is waited for.
    pub(super) waits_until: Option<Instant>,
}

impl Audit {
    fn new(span: Span, is_drawn: bool, dealt: BTreeSet<WorkerId>) -> Audit {
        Audit {
            span,
            is_drawn,
            dealt,
            lost: BTreeSet::new(),
            answered: BTreeSet::new(),
            delivered: BTreeMap::new(),
            split: 0,
            waived: false,
            wants_since: None,
            waits_until: None,
        }
    }

    /// Answers that are there or on their way, words that it is not finite among them.
    fn expected(&self) -> usize {
        self.dealt.len() - self.lost.len()
    }

    /// Who was dealt it and counts.
    pub(super) fn believed(&self) -> Vec<WorkerId> {
        self.dealt.difference(&self.lost).copied().collect()
    }

    /// Answers that are wanted more than can be expected: two are, and one more than there are different ones.
    pub(super) fn wants(&self, claims: usize) -> usize {
        let values = self.split.max(usize::from(!self.answered.is_empty()));
        let wanted = match claims {
            0 if self.split > 1 => self.split + 1,
            0 => 2,
            claims => claims + values + 1,
        };
        wanted.saturating_sub(self.expected())
    }

    /// Whether values were given in whole, or two workers gave different ones.
    pub(super) fn has_values(&self) -> bool {
        self.split > 1 || !self.answered.is_empty()
    }

    /// Whether two workers gave different values: only a third can tell which are right.
    pub(super) fn is_disputed(&self) -> bool {
        self.split > 1
    }

    /// Notes that so many answers to one node all differ.
    pub(super) fn dispute(&mut self, answers: usize) {
        self.split = self.split.max(answers);
    }

    /// By track: the leaves whose values a worker gave, to note more.
    pub(super) fn deliver(
        &mut self,
        worker: WorkerId,
        none: impl FnOnce() -> Vec<LeafSet>,
    ) -> &mut [LeafSet] {
        self.delivered.entry(worker).or_insert_with(none)
    }

    /// Whether a worker was dealt it and may still answer.
    pub(super) fn waits_for(&self, worker: WorkerId) -> bool {
        self.dealt.contains(&worker)
            && !self.lost.contains(&worker)
            && !self.answered.contains(&worker)
    }

    /// The leaves whose values a worker gave in a track.
    pub(super) fn delivered(&self, worker: WorkerId, track: usize) -> Option<&LeafSet> {
        self.delivered.get(&worker).map(|tracks| &tracks[track])
    }
}

/// The audited spans of a pass; those that are open do not overlap.
#[derive(Debug, Default)]
pub(super) struct Audits {
    all: Vec<Audit>,
}

impl Audits {
    /// Begins to audit a span that these workers compute.
    pub(super) fn begin(&mut self, span: Span, is_drawn: bool, dealt: BTreeSet<WorkerId>) {
        self.all.push(Audit::new(span, is_drawn, dealt));
    }

    /// Those that are not waived.
    pub(super) fn open(&self) -> impl Iterator<Item = &Audit> {
        self.all.iter().filter(|audit| !audit.waived)
    }

    pub(super) fn open_mut(&mut self) -> impl Iterator<Item = &mut Audit> {
        self.all.iter_mut().filter(|audit| !audit.waived)
    }

    /// The open audit of exactly this span.
    pub(super) fn at(&mut self, span: Span) -> Option<&mut Audit> {
        self.open_mut().find(|audit| audit.span == span)
    }

    /// The open audit that a worker's values over this span may belong to.
    pub(super) fn of(&self, worker: WorkerId, span: Span) -> Option<&Audit> {
        self.open().find(|audit| audit.span.contains(span) && audit.dealt.contains(&worker))
    }

    /// Whether a worker gave the values of a leaf in a track to be compared, in whatever deal. What was given to an audit
    /// that is waived by now counts: it is about to be folded.
    pub(super) fn has_given(&self, worker: WorkerId, track: usize, leaf: u32) -> bool {
        let given =
            |audit: &Audit| audit.delivered(worker, track).is_some_and(|g| g.contains(leaf));
        self.all.iter().any(given)
    }

    /// A worker gave all values of a span.
    pub(super) fn answer(&mut self, worker: WorkerId, span: Span) {
        if let Some(audit) = self.at(span).filter(|audit| audit.dealt.contains(&worker)) {
            audit.answered.insert(worker);
            audit.lost.remove(&worker);
        }
    }

    /// A worker's answer about a span is not waited for any more. If it comes it counts.
    pub(super) fn give_up(&mut self, worker: WorkerId, span: Span) {
        if let Some(audit) = self.at(span) {
            audit.lost.insert(worker);
        }
    }

    /// A worker is gone. What it gave in whole counts.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let gone =
            |audit: &&mut Audit| audit.dealt.contains(&worker) && !audit.answered.contains(&worker);
        for audit in self.open_mut().filter(gone) {
            audit.lost.insert(worker);
        }
    }

    /// Nothing that a worker gave counts any more. Which answers differ without it is told anew.
    pub(super) fn strike(&mut self, worker: WorkerId) {
        for audit in self.open_mut().filter(|audit| audit.dealt.contains(&worker)) {
            audit.answered.remove(&worker);
            audit.delivered.remove(&worker);
            audit.lost.insert(worker);
            audit.split = 0;
        }
    }
}
