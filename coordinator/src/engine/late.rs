//! Hedging: a span that is late is dealt to idle workers as well, and the first answer wins. Both are the same bits.

use std::time::{Duration, Instant};

use lockstep_proto::ids::{Span, Table, Task, WorkerId};

use super::Engine;
use super::checking::COMPANY_WAIT_MAX;
use super::open_pass::{Dealt, OpenPass};

/// A span is late when its answer takes so much longer than the others' in the pass, or if there are none yet, than
/// usual: by this factor and this time.
pub(super) const LATE_FACTOR: f64 = 1.5;
pub(super) const LATE_DELAY: Duration = Duration::from_millis(25);

/// How long an answer is taken to need while there was none like it.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// An answer to an audited span is given up once it takes so many times as long as answers usually do.
const GIVEN_UP_FACTOR: u32 = 10;

/// Weight of the newest answer in what is usual.
const SMOOTHING: f64 = 0.1;

/// How long answers usually take, by what is asked.
#[derive(Debug, Default)]
pub(super) struct Usual {
    seconds: [Option<f64>; 3],
}

impl Usual {
    pub(super) fn note(&mut self, task: Task, took: Duration) {
        let seconds = &mut self.seconds[index(task)];
        let took = took.as_secs_f64();
        *seconds = Some(seconds.map_or(took, |usual| usual + SMOOTHING * (took - usual)));
    }

    pub(super) fn of(&self, task: Task) -> Option<Duration> {
        self.seconds[index(task)].and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }
}

fn index(task: Task) -> usize {
    match task {
        Task::Train { .. } | Task::Evaluate { table: Table::Train } => 0,
        Task::Evaluate { table: Table::Validation } => 1,
        Task::Evaluate { table: Table::Test } => 2,
    }
}

impl Engine {
    /// When the next span is late, if somebody is idle who could take it.
    pub(super) fn hedge_at(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        let idle = self.idle();
        if idle.is_empty() {
            return None;
        }
        let patience = self.patience(open);
        let takeable = |deal: &&Dealt| is_open(deal) && takers(open, deal, &idle).next().is_some();
        let due = |deal: &Dealt| deal.at + patience + deal.grace.unwrap_or_default();
        open.deals.iter().filter(takeable).map(due).min()
    }

    /// Deals what is late to those who are idle.
    pub(super) fn hedge(&mut self, now: Instant) {
        while let Some((place, takers)) = self.late(now) {
            let Some(open) = &mut self.open else { return };
            let (span, grace) = (open.deals[place].span, open.deals[place].grace);
            if grace.is_none() {
                // Moving the rows may take longer than waiting: wait as long first, and lose at most twice the best.
                let moves = takers.iter().map(|&taker| self.members.fetch_time(taker, span));
                open.deals[place].grace = Some(moves.min().unwrap_or_default());
                continue;
            }
            open.deals[place].hedged = true;
            open.is_disturbed = true;
            self.hedged.push((open.deals[place].worker, span));
            let missing = open.missing();
            let elsewhere = |shard: &u32| {
                let mut audits = open.audits.open().filter(|audit| audit.span != span);
                audits.any(|audit| (audit.span.start..audit.span.end).contains(shard))
            };
            let here = (span.start..span.end).filter(|&shard| missing.contains(shard));
            let shards: Vec<u32> = here.filter(|shard| !elsewhere(shard)).collect();
            // An audited span goes to one worker, whole: only the same nodes can be compared.
            let audited = open.audits.at(span).map(|audit| audit.dealt.insert(takers[0])).is_some();
            if audited && !shards.is_empty() {
                self.deal(now, takers[0], span);
            } else if let Some(open) = self.open.as_ref().filter(|_| !audited) {
                let mut given = self.give(open, &shards, takers);
                // What somebody has in hand already, or sent to a home, is not dealt to it again.
                let is_new = |(taker, span): &(WorkerId, Span)| {
                    !open.deals.iter().any(|deal| (deal.worker, deal.span) == (*taker, *span))
                };
                given.retain(is_new);
                for (taker, span) in given {
                    self.deal(now, taker, span);
                }
            }
        }
    }

    /// A deal that is late, and those who could take it.
    fn late(&self, now: Instant) -> Option<(usize, Vec<WorkerId>)> {
        let open = self.open.as_ref()?;
        let idle = self.idle();
        if idle.is_empty() {
            return None;
        }
        let patience = self.patience(open);
        open.deals.iter().enumerate().find_map(|(place, deal)| {
            let waited = now.saturating_duration_since(deal.at);
            if !is_open(deal) || waited < patience + deal.grace.unwrap_or_default() {
                return None;
            }
            let takers: Vec<WorkerId> = takers(open, deal, &idle).collect();
            (!takers.is_empty()).then_some((place, takers))
        })
    }

    fn idle(&self) -> Vec<WorkerId> {
        let idle = self.members.iter().filter(|(_, member)| member.is_idle());
        idle.map(|(worker, _)| worker).collect()
    }

    /// How long an answer to an audited span may take before it is given up: long enough for a worker that is merely slow.
    pub(super) fn audit_patience(&self, open: &OpenPass) -> Duration {
        let usual = self.usual.of(open.planned.task).max(open.longest_answer());
        usual.unwrap_or(FIRST_ANSWER) * GIVEN_UP_FACTOR + COMPANY_WAIT_MAX
    }

    /// How long an answer may take before it is late.
    fn patience(&self, open: &OpenPass) -> Duration {
        let usual = open.longest_answer().or_else(|| self.usual.of(open.planned.task));
        usual.unwrap_or(FIRST_ANSWER).mul_f64(LATE_FACTOR) + LATE_DELAY
    }
}

fn is_open(deal: &Dealt) -> bool {
    deal.answered.is_none() && !deal.hedged
}

/// Those of the idle who could take a deal: whoever was dealt just that before has no more to say about it.
fn takers<'a>(
    open: &'a OpenPass,
    deal: &Dealt,
    idle: &'a [WorkerId],
) -> impl Iterator<Item = WorkerId> + 'a {
    let span = deal.span;
    let audit = open.audits.open().find(move |audit| audit.span == span);
    let is_new = move |worker: &WorkerId| {
        let was_dealt = |deal: &Dealt| deal.worker == *worker && deal.span == span;
        audit.is_none_or(|audit| !audit.dealt.contains(worker)) && !open.deals.iter().any(was_dealt)
    };
    idle.iter().copied().filter(is_new)
}
