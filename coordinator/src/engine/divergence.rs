//! Words that a loss or gradient is not finite. Nobody's alone ends a run where others can be asked: a second worker computes
//! the span as well, and whoever is alone with its word is shut out.

use std::collections::BTreeSet;
use std::time::Instant;

use lockstep_proto::frame::Divergence;
use lockstep_proto::ids::{Span, WorkerId};

use super::open_pass::{Dealt, OpenPass};
use super::{Action, Engine};

/// A member's word that something in a span of the open pass is not finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) worker: WorkerId,
    pub(super) span: Span,
    pub(super) divergence: Divergence,
}

/// What a divergence of the open pass is.
enum Heard {
    /// About nothing that the worker has in hand.
    Foreign,
    /// Said before.
    Known,
    /// The answer to a deal.
    Answer(Span),
}

impl Engine {
    /// A worker says that a loss or gradient is not finite. False if it was never dealt that: end its membership.
    pub fn diverged(&mut self, now: Instant, worker: WorkerId, divergence: Divergence) -> bool {
        if divergence.pass >= self.next {
            return false;
        }
        match self.open.as_mut().filter(|open| open.planned.pass == divergence.pass) {
            // What it was dealt is known only while it has not answered. Nobody asks any more.
            None => self.members.diverged(worker, divergence.pass, divergence.shard),
            Some(open) => match open.hear(now, worker, divergence) {
                Heard::Foreign => return false,
                Heard::Known => return true,
                Heard::Answer(span) => {
                    self.members.answer(worker, divergence.pass, span);
                    if open.is_confirmed(worker, divergence) {
                        self.diverge(divergence);
                        return true;
                    }
                }
            },
        }
        self.deal_again(now);
        self.begin_pass(now);
        true
    }

    /// A word is taken: the run is over.
    pub(super) fn diverge(&mut self, divergence: Divergence) {
        self.finished = true;
        self.actions.push_back(Action::Diverged(divergence));
    }

    /// The pass has ended on finite values: whoever said that there are none is shut out.
    pub(super) fn refute(&mut self, now: Instant, open: &OpenPass) {
        for claim in &open.claims {
            if self.members.leave(now, claim.worker) {
                self.crews.outdate();
                self.actions.push_back(Action::Refute(claim.worker, claim.divergence));
            }
        }
    }
}

impl OpenPass {
    /// Takes in a divergence. Unless it is about something that is there already, its span is audited from now on.
    fn hear(&mut self, now: Instant, worker: WorkerId, divergence: Divergence) -> Heard {
        let shard = Span { start: divergence.shard.0, end: divergence.shard.0 + 1 };
        let is_open = |deal: &&mut Dealt| {
            deal.worker == worker && deal.answered.is_none() && deal.span.contains(shard)
        };
        let has_rows = self.has_rows(shard);
        let Some(deal) = self.deals.iter_mut().find(is_open).filter(|_| has_rows) else {
            let known = |claim: &Claim| {
                claim.worker == worker && claim.divergence.shard == divergence.shard
            };
            let is_known = self.claims.iter().any(known);
            return if is_known { Heard::Known } else { Heard::Foreign };
        };
        deal.answered = Some(now.saturating_duration_since(deal.at));
        deal.diverged = true;
        let span = deal.span;
        self.claims.push(Claim { worker, span, divergence });
        let is_audited = self.audits.open().any(|audit| audit.span.overlaps(span));
        if self.missing().any_in(span) && !is_audited {
            let with_it = self.deals.iter().filter(|deal| deal.span == span);
            let dealt: BTreeSet<WorkerId> = with_it.map(|deal| deal.worker).collect();
            self.audits.begin(span, false, dealt);
        }
        Heard::Answer(span)
    }

    /// Whether another worker said the same.
    fn is_confirmed(&self, worker: WorkerId, divergence: Divergence) -> bool {
        let same =
            |claim: &Claim| claim.worker != worker && claim.divergence.shard == divergence.shard;
        self.claims.iter().any(same)
    }

    /// How many workers say that a span is not finite.
    pub(super) fn claims_on(&self, span: Span) -> usize {
        self.claims.iter().filter(|claim| claim.span == span).count()
    }

    pub(super) fn is_claimant(&self, worker: WorkerId) -> bool {
        self.claims.iter().any(|claim| claim.worker == worker)
    }
}
