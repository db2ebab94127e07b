//! Handing out work: at the start of a pass, when a worker is lost, when spans are audited.

use std::cmp::Reverse;
use std::time::Instant;

use lockstep_proto::frame::Deal;
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::random::{Purpose, Random};

use super::open_pass::OpenPass;
use super::{Action, Engine, plan, spans};

/// Which spans are audited.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuditRule {
    pub(super) fraction: f64,
    pub(super) seed: u64,
}

impl AuditRule {
    fn draws(self, pass: Pass, span: Span) -> bool {
        let mut random = Random::new(self.seed, Purpose::Audit, pass.0, u64::from(span.start));
        random.unit_f64() < self.fraction
    }
}

impl Engine {
    /// Tells members that have no shards yet which ones to fetch, once enough members are there that the cut
    /// is worth something.
    pub(super) fn prepare_members(&mut self, now: Instant) {
        if self.members.len() < self.workers_wanted() {
            return;
        }
        let seated: Vec<WorkerId> = self.members.seated().collect();
        let spans = plan::cut(&self.members, &self.schedule, &seated);
        for &worker in &seated {
            if self.members.get(worker).is_some_and(|member| member.prepared) {
                continue;
            }
            // A member beyond the last shard is a spare: it keeps the first span's rows.
            let own = spans.iter().find(|(owner, _)| *owner == worker);
            let span = own.unwrap_or(&spans[0]).1;
            self.members.fetch(now, worker, span, self.next);
            self.actions.push_back(Action::Prepare(worker, span));
        }
    }

    pub(super) fn begin_pass(&mut self, now: Instant) {
        if self.open.is_some() || self.awaits_judgement || self.finished {
            return;
        }
        let Some(planned) = self.schedule.planned(self.next) else {
            self.finished = true;
            self.actions.push_back(Action::Finish);
            return;
        };
        let prepared = self.members.prepared();
        if prepared.is_empty() || self.crews.is_stale() && prepared.len() < self.workers_wanted() {
            return;
        }
        let late = |worker: &WorkerId| {
            self.members.get(*worker).is_none_or(|member| member.is_late_for(planned.pass))
        };
        let (late, mut on_time): (Vec<_>, Vec<_>) = prepared.into_iter().partition(late);
        if on_time.is_empty() {
            return;
        }
        self.crews.begin(now, &mut self.members, &self.schedule, &planned);
        self.note_progress(now);
        self.next = Pass(planned.pass.0 + 1);
        let leaves = self.schedule.leaves(&planned);
        let tree = self.schedule.tree;
        let mut open = OpenPass::new(now, planned, leaves, tree, (self.chunks, &self.frozen));
        let spans = self.crews.spans(planned.task);
        let (theirs, mut dealt): (Vec<_>, Vec<_>) =
            spans.iter().partition(|(worker, _)| late.contains(worker));
        let orphans: Vec<u32> = theirs.iter().flat_map(|(_, span)| open.with_rows(*span)).collect();
        open.is_disturbed = !orphans.is_empty();
        let in_crew = |worker: &WorkerId| self.crews.has(planned.task, *worker);
        if on_time.iter().any(in_crew) {
            on_time.retain(in_crew);
        }
        dealt.extend(self.give(&open, &orphans, on_time));
        self.actions.push_back(Action::BeginPass(planned));
        self.open = Some(open);
        for (worker, span) in merged(dealt) {
            if self.open.as_ref().is_some_and(|open| open.has_rows(span)) {
                let audited = self.audits.is_some_and(|rule| rule.draws(planned.pass, span));
                self.deal(now, worker, span);
                if let Some(open) = self.open.as_mut().filter(|_| audited) {
                    open.audits.begin(span, true, [worker].into());
                }
            }
        }
        self.tend_audits(now);
        if self.crews.let_go() {
            for (worker, spans) in self.members.trim(|worker| self.crews.own(worker)) {
                self.actions.push_back(Action::Forget(worker, spans));
            }
        }
    }

    /// Deals what nobody has in hand, and sees that every audited span is in enough hands.
    pub(super) fn deal_again(&mut self, now: Instant) {
        self.tend_audits(now);
        let Some(open) = &self.open else { return };
        let undealt = open.undealt();
        if undealt.is_empty() {
            return;
        }
        // Whoever says that there is nothing finite would only say so again.
        let mut takers = self.on_time(open);
        if takers.iter().any(|&worker| !open.is_claimant(worker)) {
            takers.retain(|&worker| !open.is_claimant(worker));
        }
        for (worker, span) in self.give(open, &undealt, takers) {
            self.deal(now, worker, span);
        }
        self.hedge(now);
    }

    /// Gives shards (in order) to some of the takers: those with nothing to do first, and those that have the rows.
    pub(super) fn give(
        &self,
        open: &OpenPass,
        shards: &[u32],
        takers: Vec<WorkerId>,
    ) -> Vec<(WorkerId, Span)> {
        // Every pass comes here, and few have anything to give.
        if shards.is_empty() {
            return Vec::new();
        }
        let owing = open.owing();
        let shares = spans::share(shards, takers.len());
        let mut left = takers;
        let mut given = Vec::with_capacity(shares.len());
        for share in shares.chunk_by(|a, b| a.0 == b.0) {
            let lacks = |worker: &WorkerId| -> u32 {
                let member = self.members.get(*worker);
                share.iter().map(|(_, span)| member.map_or(0, |member| member.lacks(*span))).sum()
            };
            let best = (0..left.len())
                .min_by_key(|&place| (owing.contains(&left[place]), lacks(&left[place])));
            let Some(best) = best else { break };
            let worker = left.remove(best);
            given.extend(share.iter().map(|&(_, span)| (worker, span)));
        }
        given
    }

    pub(super) fn deal(&mut self, now: Instant, worker: WorkerId, span: Span) {
        let Some(open) = &mut self.open else { return };
        open.deal(now, worker, span);
        let planned = open.planned;
        self.members.owe(worker, planned.pass, span);
        let deal = Deal { pass: planned.pass, step: planned.step, task: planned.task, span };
        self.actions.push_back(Action::Deal(worker, deal));
    }

    /// Members that can be given work: those that keep up, or everybody if nobody does. The idle ones first.
    pub(super) fn on_time(&self, open: &OpenPass) -> Vec<WorkerId> {
        let prepared = self.members.prepared();
        let keeps_up = |worker: &WorkerId| {
            let member = self.members.get(*worker);
            member.is_some_and(|member| !member.is_late_for(open.planned.pass))
                && !open
                    .deals
                    .iter()
                    .any(|deal| deal.worker == *worker && deal.hedged && deal.answered.is_none())
        };
        let mut workers: Vec<WorkerId> = prepared.iter().copied().filter(keeps_up).collect();
        if workers.is_empty() {
            workers = prepared;
        }
        let busy = |worker: &WorkerId| self.members.get(*worker).map(|member| !member.is_idle());
        workers.sort_by_key(|worker| Reverse(busy(worker) == Some(false)));
        workers
    }
}

/// Neighbouring spans of the same worker as one.
fn merged(mut dealt: Vec<(WorkerId, Span)>) -> Vec<(WorkerId, Span)> {
    dealt.sort_by_key(|(_, span)| span.start);
    let mut merged: Vec<(WorkerId, Span)> = Vec::with_capacity(dealt.len());
    for (worker, span) in dealt {
        match merged.last_mut() {
            Some((before, last)) if *before == worker && last.end == span.start => {
                last.end = span.end;
            }
            _ => merged.push((worker, span)),
        }
    }
    merged
}
