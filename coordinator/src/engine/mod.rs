//! Who computes what, and when a step is done: a pure state machine.
//!
//! Events in, actions out, time as an argument. Holds no sockets, no tasks and no values: gradients are folded
//! elsewhere, and nothing that happens here can reach the numbers. It owns these invariants:
//! every leaf of every track of a pass is folded at least once before the pass ends; a worker's word is taken
//! only for spans that it was dealt; a pass starts only when the one before it has ended.

mod audits;
mod checking;
mod crew_size;
mod crews;
mod dealing;
mod divergence;
mod holdings;
mod late;
mod look;
mod members;
mod open_pass;
mod plan;
mod said;
mod schedule;
mod spans;
mod sums;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lockstep_proto::frame::Done;
use lockstep_proto::ids::{Chunk, Pass, Span, Table, Task, WorkerId};
use lockstep_proto::tree::Node;

use crews::Crews;
use dealing::AuditRule;
use late::Usual;
pub use look::{MemberState, MemberView};
use members::Members;
use open_pass::OpenPass;
pub use open_pass::Track;
pub use said::{Action, Answered, Event, Verdict};
pub use schedule::{Planned, Schedule};
pub use wait::{Wait, WaitReason};

/// A wait is reported after this long, and again every time as much has passed.
pub const WAIT_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// See the module's text.
#[derive(Debug)]
pub struct Engine {
    schedule: Schedule,
    chunks: usize,
    /// Of these: the ones whose weights never change.
    frozen: Vec<Chunk>,
    workers_min: usize,
    /// Members wanted before the first pass, if more.
    workers_start: usize,
    audits: Option<AuditRule>,
    members: Members,
    crews: Crews,
    usual: Usual,
    /// Seconds from the last answer to the last sum of a home, usually.
    usual_lag: Option<f64>,
    /// The first pass of this execution.
    first: Pass,
    next: Pass,
    open: Option<OpenPass>,
    /// Whether evaluations of the validation table are judged, and one still is to be.
    judges: bool,
    awaits_judgement: bool,
    finished: bool,
    actions: VecDeque<Action>,
    /// What became late since that was asked.
    hedged: Vec<(WorkerId, Span)>,
    progress_at: Instant,
    report_at: Instant,
}

impl Engine {
    /// An engine at the start of a run. `chunks`: how many the layout has; `workers_min`: no pass starts with
    /// fewer prepared members.
    pub fn new(now: Instant, schedule: Schedule, chunks: usize, workers_min: usize) -> Engine {
        Engine {
            members: Members::new(schedule.tree.shards()),
            schedule,
            chunks,
            frozen: Vec::new(),
            workers_min: workers_min.max(1),
            workers_start: 1,
            audits: None,
            crews: Crews::new(now),
            usual: Usual::default(),
            usual_lag: None,
            first: Pass(0),
            next: Pass(0),
            open: None,
            judges: false,
            awaits_judgement: false,
            finished: false,
            actions: VecDeque::new(),
            hedged: Vec::new(),
            progress_at: now,
            report_at: now + WAIT_REPORT_INTERVAL,
        }
    }

    /// Waits for this many prepared members before the first pass; later ones need only the minimum.
    pub fn starting_with(mut self, workers: usize) -> Engine {
        self.workers_start = workers;
        self
    }

    /// Begins with this pass: the ones before it were made by an earlier execution of the run.
    pub fn starting_at(mut self, pass: Pass) -> Engine {
        self.first = pass;
        self.next = pass;
        self
    }

    /// Has this share of all spans computed by a second worker as well, drawn by `seed`.
    pub fn auditing(mut self, fraction: f64, seed: u64) -> Engine {
        self.audits = (fraction > 0.0).then_some(AuditRule { fraction, seed });
        self
    }

    /// Wants no gradients of these chunks: their weights never change.
    pub fn freezing(mut self, frozen: Vec<Chunk>) -> Engine {
        self.frozen = frozen;
        self
    }

    /// Begins no pass after an evaluation of the validation table before it is told what that means for the run, if `judges`.
    pub fn judging(mut self, judges: bool) -> Engine {
        self.judges = judges;
        self
    }

    /// Takes in what happened. Events about workers that already left are ignored.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Joined { worker, threads } => {
                self.members.join(now, worker, threads);
                self.prepare_members(now);
            }
            Event::Left(worker) => self.leave(now, worker),
            Event::Held => {
                if let Some(open) = &mut self.open {
                    open.held += 1;
                    if open.held == self.chunks - self.frozen.len() {
                        self.actions.push_back(Action::Update);
                    }
                }
            }
            Event::Committed(track) => {
                self.note_progress(now);
                if let Some(mut open) = self.open.take() {
                    if open.commit(track) {
                        self.refute(now, &open);
                        let is_judged = Task::Evaluate { table: Table::Validation };
                        self.awaits_judgement = self.judges && open.planned.task == is_judged;
                        let took = now.saturating_duration_since(open.began_at);
                        let took = (!open.is_disturbed).then_some(took);
                        self.crews.passed(now, open.planned.task, took);
                        self.actions.push_back(Action::EndPass(open.planned));
                    } else {
                        self.open = Some(open);
                    }
                }
            }
            Event::Judged { epochs, restores } => {
                self.awaits_judgement = false;
                (self.schedule.epochs, self.schedule.restores) = (epochs, restores);
            }
        }
        self.begin_pass(now);
    }

    /// A worker has the shards it was told to prepare. False if it was not told to: end its membership.
    pub fn prepared(&mut self, now: Instant, worker: WorkerId, span: Span) -> bool {
        let before = self.members.get(worker).is_some_and(|member| member.prepared);
        if !self.members.fetched(now, worker, span) {
            return false;
        }
        if !before {
            self.crews.outdate();
        }
        self.deal_again(now);
        self.begin_pass(now);
        true
    }

    fn leave(&mut self, now: Instant, worker: WorkerId) {
        if self.members.leave(now, worker) {
            self.crews.outdate();
        }
        if let Some(open) = &mut self.open {
            open.forget(worker);
        }
        self.note_answers(now);
        self.deal_again(now);
    }

    /// A worker says that a deal is done with.
    pub fn answered(&mut self, now: Instant, worker: WorkerId, pass: Pass, done: Done) -> Answered {
        if !self.members.answer(worker, pass, done.span) {
            // It may have said so before.
            let open = self.open.as_ref().filter(|open| open.planned.pass == pass);
            let was_dealt = |open: &OpenPass| open.was_dealt(worker, done.span);
            let is_known = pass < self.next && open.is_none_or(was_dealt);
            return if is_known { Answered::Noted } else { Answered::Foreign };
        }
        if let Some(open) = self.open.as_ref().filter(|open| open.planned.pass == pass)
            && open.was_dealt(worker, done.span)
            // Then it is looked at when it has sent all of it again.
            && !open.sums.wait_for(worker)
            && open.lacks_values(worker, done.span)
        {
            return Answered::Lacking;
        }
        if let Some(rows) = self.schedule.training_rows(pass, done.span)
            && !done.busy.is_zero()
        {
            let work = self.schedule.work_rows(rows as f64, done.span);
            self.members.measure(worker, work, done.busy);
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.planned.pass == pass) {
            if let Some(took) = open.answer(now, worker, done.span) {
                self.usual.note(open.planned.task, took);
                self.members.note_answer(worker, took.saturating_sub(done.busy));
            }
            self.tend_audits(now);
        }
        self.note_answers(now);
        self.hedge(now);
        self.begin_pass(now);
        Answered::Noted
    }

    /// Whether a worker may give values for a node: it was dealt them, or the pass is over.
    pub fn was_asked(&self, worker: WorkerId, pass: Pass, track: Track, node: Node) -> bool {
        if pass >= self.next {
            return false;
        }
        let Some(open) = self.open.as_ref().filter(|open| open.planned.pass == pass) else {
            return true;
        };
        let span = self.schedule.tree.span(node);
        span.is_some_and(|span| open.has(track) && open.was_dealt(worker, span))
    }

    /// Decides about one node's values from a worker, and notes them as there if they are to be folded.
    pub fn accept(
        &mut self,
        now: Instant,
        worker: WorkerId,
        pass: Pass,
        track: Track,
        node: Node,
    ) -> Verdict {
        if !self.was_asked(worker, pass, track, node) {
            return Verdict::Foreign;
        }
        let is_audited = self.is_audited(worker, pass, node);
        let open = self.open.as_mut().filter(|open| open.planned.pass == pass);
        let Some((open, span)) = open.zip(self.schedule.tree.span(node)) else {
            return Verdict::Drop;
        };
        let verdict = if is_audited {
            open.deliver(worker, track, span);
            Verdict::Compare
        } else if !open.was_dealt_to_fold(worker, span) {
            return Verdict::Foreign;
        } else if open.cover(track, span) {
            Verdict::Fold
        } else {
            Verdict::Drop
        };
        self.note_progress(now);
        verdict
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Engine::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.finished {
            return None;
        }
        let wakes = [self.hedge_at(), self.audit_at(), self.sums_at()].into_iter().flatten();
        Some(wakes.fold(self.report_at, Instant::min))
    }

    /// Deals what is late to others as well, and reports a wait that has become long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        self.give_up_sums(now);
        if self.audit_at().is_some_and(|at| now >= at) {
            self.deal_again(now);
        }
        // Last: what is not compared any more can be dealt to those who computed it.
        self.hedge(now);
        if now < self.report_at {
            return;
        }
        self.report_at = now + WAIT_REPORT_INTERVAL;
        if let Some(wait) = self.wait(now) {
            self.actions.push_back(Action::Report(wait));
        }
    }

    /// By shard: whether a member has the rows, or was told to get them. `None` if it is none.
    pub(crate) fn holdings(&self, worker: WorkerId) -> Option<&[bool]> {
        self.members.get(worker).map(|member| member.holdings().has())
    }

    /// When a worker last moved the run on.
    pub fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// What the run waits for now, if that can be said.
    fn wait_reason(&self) -> Option<WaitReason> {
        if let Some(open) = &self.open {
            let planned = open.planned;
            if let Some((worker, span)) = open.waits_for() {
                return Some(WaitReason::Results { worker, span, planned });
            }
            if let Some(audit) = open.audits.open().find(|audit| audit.waits_until.is_some()) {
                let workers = audit.believed();
                return Some(WaitReason::Audit { span: audit.span, planned, workers });
            }
            if let Some(audit) = open.audits.open().find(|audit| audit.is_disputed()) {
                let workers = audit.believed();
                return Some(WaitReason::Dispute { span: audit.span, planned, workers });
            }
            if let Some((worker, chunk)) = open.waits_for_sum() {
                return Some(WaitReason::Sum { worker, chunk, planned });
            }
            if open.undealt().is_empty() {
                return Some(WaitReason::Adding);
            }
        }
        // Members are told to prepare only once enough are there, also inside a pass that all others left.
        let wanted = if self.members.prepared().is_empty() || self.open.is_none() {
            self.workers_wanted()
        } else {
            1
        };
        if self.members.len() < wanted {
            return Some(WaitReason::Workers { joined: self.members.len(), wanted });
        }
        if let Some((worker, _)) = self.members.iter().find(|(_, member)| !member.prepared) {
            return Some(WaitReason::Shards { worker });
        }
        let owed = |(worker, member): (WorkerId, &members::Member)| {
            let &(pass, span) = member.owes().first()?;
            Some((worker, span, self.schedule.planned(pass)?))
        };
        let (worker, span, planned) = self.members.iter().find_map(owed)?;
        Some(WaitReason::Results { worker, span, planned })
    }

    fn workers_wanted(&self) -> usize {
        if self.next == self.first {
            self.workers_min.max(self.workers_start)
        } else {
            self.workers_min
        }
    }

    fn note_progress(&mut self, now: Instant) {
        self.progress_at = now;
        self.report_at = now + WAIT_REPORT_INTERVAL;
    }
}
