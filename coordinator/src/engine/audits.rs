//! Spans of the open pass that two workers compute, so that their answers can be compared. Counts answers; the values
//! are compared elsewhere.

use std::collections::BTreeSet;

use lockstep_proto::ids::{Span, WorkerId};

/// One audited span.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) span: Span,
    /// Who was ever dealt it.
    pub(super) dealt: BTreeSet<WorkerId>,
    /// Who of these can no longer answer.
    pub(super) lost: usize,
    /// Answers that are wanted: two, and one more for every dispute.
    pub(super) wanted: usize,
    /// There was nobody to compare with: the first answer is taken.
    pub(super) waived: bool,
}

impl Audit {
    /// Answers that are there or on their way.
    pub(super) fn expected(&self) -> usize {
        self.dealt.len() - self.lost
    }

    pub(super) fn is_disputed(&self) -> bool {
        self.wanted > 2
    }
}

/// The audited spans of a pass; they do not overlap.
#[derive(Debug, Default)]
pub(super) struct Audits {
    all: Vec<Audit>,
}

impl Audits {
    pub(super) fn begin(&mut self, span: Span, worker: WorkerId) {
        let dealt = BTreeSet::from([worker]);
        self.all.push(Audit { span, dealt, lost: 0, wanted: 2, waived: false });
    }

    /// Those that are not waived.
    pub(super) fn open(&self) -> impl Iterator<Item = &Audit> {
        self.all.iter().filter(|audit| !audit.waived)
    }

    pub(super) fn open_mut(&mut self) -> impl Iterator<Item = &mut Audit> {
        self.all.iter_mut().filter(|audit| !audit.waived)
    }

    /// The open audit that a worker's values over this span belong to.
    pub(super) fn of(&mut self, worker: WorkerId, span: Span) -> Option<&mut Audit> {
        self.open_mut().find(|audit| audit.span.contains(span) && audit.dealt.contains(&worker))
    }

    /// A worker that was dealt a span is gone, with its answer given in whole or not.
    pub(super) fn forget(&mut self, worker: WorkerId, span: Span, answered: bool) {
        let audit = self.open_mut().find(|audit| audit.span == span);
        if let Some(audit) = audit.filter(|audit| audit.dealt.contains(&worker) && !answered) {
            audit.lost += 1;
        }
    }
}
