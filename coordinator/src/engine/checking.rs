//! Seeing that audited spans are compared: in whose hands each is, who else is asked, and how long somebody is waited for.

use std::time::{Duration, Instant};

use lockstep_proto::ids::{Pass, Span, Task, WorkerId};
use lockstep_proto::tree::Node;

use super::audits::Audit;
use super::open_pass::{Dealt, OpenPass};
use super::{Action, Engine, Event, Track};

/// An audited span that nobody is there to compare waits so long for somebody: longer than a lost worker is silent before it
/// is given up (4.5 s) and one that joins again usually takes. Not where nobody else came or left in that time.
pub(super) const COMPANY_WAIT_MAX: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether a worker's values for a node of a pass have to be compared with another's.
    pub fn is_audited(&self, worker: WorkerId, pass: Pass, node: Node) -> bool {
        let open = self.open.as_ref().filter(|open| open.planned.pass == pass);
        let Some((open, span)) = open.zip(self.schedule.tree.span(node)) else { return false };
        let Some(audit) = open.audits.of(worker, span) else { return false };
        // Only the same nodes can be compared. Others are of another deal.
        match open.planned.task {
            Task::Train { .. } => self.schedule.tree.nodes(audit.span).contains(&node),
            Task::Evaluate { .. } => node.level == 0,
        }
    }

    /// Two workers gave the same values for a node of an audited span, or the audit was waived. Whether to fold them:
    /// not if they are there already, or the pass is over.
    pub fn agreed(&mut self, pass: Pass, track: Track, node: Node) -> bool {
        let open = self.open.as_mut().filter(|open| open.planned.pass == pass);
        let span = self.schedule.tree.span(node);
        open.zip(span).is_some_and(|(open, span)| open.cover(track, span))
    }

    /// Workers gave different values for a node of an audited span, none of them twice: asks one more.
    pub fn disputed(&mut self, now: Instant, node: Node, answers: usize) {
        self.note_dispute(node, answers);
        self.tend_audits(now);
    }

    fn note_dispute(&mut self, node: Node, answers: usize) {
        if let Some((open, span)) = self.open.as_mut().zip(self.schedule.tree.span(node)) {
            let audits = open.audits.open_mut();
            audits.filter(|a| a.span.contains(span)).for_each(|audit| audit.dispute(answers));
        }
    }

    /// A worker is not believed any more: it leaves, and nothing of what it gave to be compared counts. `disputes`: nodes that
    /// others still differ about, and how many answers each has.
    pub fn expelled(&mut self, now: Instant, worker: WorkerId, disputes: &[(Node, usize)]) {
        if let Some(open) = &mut self.open {
            open.audits.strike(worker);
        }
        disputes.iter().for_each(|&(node, answers)| self.note_dispute(node, answers));
        self.handle(now, Event::Left(worker));
    }

    /// Sees that every audited span that is not settled is in as many hands as it needs.
    pub(super) fn tend_audits(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        if open.audits.open().next().is_none() {
            return;
        }
        open.audits.open_mut().for_each(|audit| audit.waits_until = None);
        let missing = open.missing();
        let open_spans = open.audits.open().map(|audit| audit.span);
        let spans: Vec<Span> = open_spans.filter(|&span| missing.any_in(span)).collect();
        self.give_up_on_silent(now);
        for span in spans {
            let is_moot = self
                .audit_of(span)
                .is_some_and(|(open, audit)| !audit.is_drawn && open.claims_on(span) == 0);
            if is_moot {
                // Nobody says any more that it is not finite.
                self.waive(span, false);
            }
            while self.wants(span) > 0 && self.ask_another(now, span) {}
        }
    }

    /// Does not wait any longer for those who are there and yet do not answer, where another's values for the span are.
    /// They are not asked again before they answer what they were dealt.
    fn give_up_on_silent(&mut self, now: Instant) {
        while let Some((_, worker, span)) = self.next_silent().filter(|&(at, ..)| at <= now) {
            self.members.silence(worker);
            if let Some(open) = &mut self.open {
                open.audits.give_up(worker, span);
            }
            self.actions.push_back(Action::GiveUp(worker, span));
        }
    }

    /// Whose answer about which audited span is given up next, and when.
    fn next_silent(&self) -> Option<(Instant, WorkerId, Span)> {
        // Asked after every message, and most passes have none.
        let open = self.open.as_ref().filter(|open| open.audits.open().next().is_some())?;
        let patience = self.audit_patience(open);
        let is_waited_for = |deal: &&Dealt| {
            let mut audits = open.audits.open().filter(|audit| audit.span == deal.span);
            deal.answered.is_none()
                && audits.any(|audit| audit.has_values() && audit.waits_for(deal.worker))
        };
        let due = |deal: &Dealt| (deal.at + patience, deal.worker, deal.span);
        open.deals.iter().filter(is_waited_for).map(due).min()
    }

    fn audit_of(&self, span: Span) -> Option<(&OpenPass, &Audit)> {
        let open = self.open.as_ref()?;
        Some((open, open.audits.open().find(|audit| audit.span == span)?))
    }

    /// Answers to an audited span that nobody has been asked for.
    fn wants(&self, span: Span) -> usize {
        self.audit_of(span).map_or(0, |(open, audit)| audit.wants(open.claims_on(span)))
    }

    /// Asks one more worker for an audited span. False if nobody could be found: then somebody is waited for, or the words
    /// that are there are taken.
    fn ask_another(&mut self, now: Instant, span: Span) -> bool {
        let Some((open, audit)) = self.audit_of(span) else { return false };
        let answers = |worker| self.members.get(worker).is_some_and(|member| !member.is_silent());
        let new = |worker: &WorkerId| !audit.dealt.contains(worker) && answers(*worker);
        // One that is late is better than none: an audit that is waived finds nothing.
        let on_time = self.on_time(open);
        let preference = |worker: &WorkerId| {
            let member = self.members.get(*worker);
            let load = member.map_or((0, 0), |member| (member.owes().len(), member.lacks(span)));
            (!on_time.contains(worker), load)
        };
        let other = self.members.prepared().into_iter().filter(new).min_by_key(preference);
        let Some(other) = other else {
            self.go_without(now, span);
            return false;
        };
        if let Some(audit) = self.open.as_mut().and_then(|open| open.audits.at(span)) {
            audit.dealt.insert(other);
        }
        self.deal(now, other, span);
        true
    }

    /// Nobody is there to compare a span: waits a while where somebody may come, then takes the words that are there. Two
    /// workers that gave different values wait for a third.
    fn go_without(&mut self, now: Instant, span: Span) {
        let Some((open, audit)) = self.audit_of(span) else { return };
        let company = self.members.company_at(&audit.dealt);
        let since = audit.wants_since.unwrap_or(now);
        let until = company.map(|at| at.min(since) + COMPANY_WAIT_MAX).filter(|&until| until > now);
        let waited = audit.wants_since.is_some();
        let claim =
            open.claims.iter().find(|claim| claim.span == span).map(|claim| claim.divergence);
        let (has_values, is_disputed) = (audit.has_values(), audit.is_disputed());
        if let Some(audit) = self.open.as_mut().and_then(|open| open.audits.at(span)) {
            audit.wants_since = Some(since);
            audit.waits_until = until;
        }
        match claim {
            _ if until.is_some() || is_disputed => {}
            Some(divergence) if !has_values => self.diverge(divergence),
            // Finite values go before a word that there are none: they cannot end the run.
            _ => self.waive(span, waited),
        }
    }

    fn waive(&mut self, span: Span, waited: bool) {
        let Some(open) = &mut self.open else { return };
        let pass = open.planned.pass;
        if let Some(audit) = open.audits.at(span) {
            audit.waived = true;
            self.actions.push_back(Action::Waive { pass, span, waited });
        }
    }

    /// Until when somebody is waited for who could check an audited span.
    pub(super) fn company_until(&self, span: Span) -> Option<Instant> {
        self.audit_of(span)?.1.waits_until
    }

    /// When a worker's answer about an audited span is not waited for any more, if that is next.
    pub(super) fn given_up_at(&self, worker: WorkerId, span: Span) -> Option<Instant> {
        let (at, ..) =
            self.next_silent().filter(|&(_, who, what)| (who, what) == (worker, span))?;
        Some(at)
    }

    /// When an audited span has waited long enough for somebody.
    pub(super) fn audit_at(&self) -> Option<Instant> {
        let company = self.open.as_ref()?.audits.open().filter_map(|audit| audit.waits_until);
        company.chain(self.next_silent().map(|(at, ..)| at)).min()
    }
}
