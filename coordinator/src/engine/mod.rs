//! Who computes what, and when a step is done: a pure state machine.
//!
//! Events in, actions out, time as an argument. Holds no sockets, no tasks and no values: gradients are folded
//! elsewhere, and nothing that happens here can reach the numbers. It owns these invariants:
//! every leaf of every track of a pass is folded at least once before the pass ends; a worker's word is taken
//! only for spans that it was dealt; a pass starts only when the one before it has ended.

mod open_pass;
mod schedule;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use lockstep_proto::frame::Deal;
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::tree::Node;

use open_pass::OpenPass;
pub use open_pass::Track;
pub use schedule::{Planned, Schedule};

/// A wait is reported after this long, and again every time as much has passed.
pub const WAIT_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker became a member.
    Joined(WorkerId),
    /// A worker has the shards it was told to prepare.
    Prepared(WorkerId),
    /// A worker's stream ended.
    Left(WorkerId),
    /// A chunk's sum is complete and held back until the global norm is known.
    Held,
    /// A track's sum is complete and stored.
    Committed(Track),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell a worker to fetch the shards of a span.
    Prepare(WorkerId, Span),
    /// Tell a worker to compute.
    Deal(WorkerId, Deal),
    /// Get ready to fold the values of this pass.
    BeginPass(Planned),
    /// All chunks are held: scale by the global norm, update, commit.
    Update,
    /// Every track of the pass is committed.
    EndPass(Planned),
    /// Say what the run waits for.
    Report(Wait),
    /// The schedule is done.
    Finish,
}

/// What to do with one node's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are new: fold them.
    Fold,
    /// They are late or already known: drop them.
    Drop,
    /// The worker was never asked for them: end its membership.
    Foreign,
}

/// What a run waits for, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For how long so far.
    pub waited: Duration,
    /// For what.
    pub reason: WaitReason,
}

/// Why nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Fewer members than the job's minimum.
    Workers {
        /// Members now.
        joined: usize,
        /// Members wanted.
        wanted: usize,
    },
    /// Members are there, but not all that are needed have their shards.
    Shards {
        /// A member that still fetches.
        worker: WorkerId,
    },
    /// Everything is there; it is being added.
    Adding,
    /// A member has not answered for its span.
    Results {
        /// The member.
        worker: WorkerId,
        /// What it was dealt.
        span: Span,
        /// For which pass.
        planned: Planned,
    },
}

#[derive(Debug, Default)]
struct Member {
    prepared: bool,
}

/// See the module's text.
#[derive(Debug)]
pub struct Engine {
    schedule: Schedule,
    chunks: usize,
    workers_min: usize,
    /// Members wanted before the first pass, if more.
    workers_start: usize,
    members: BTreeMap<WorkerId, Member>,
    /// Spans of the members that are prepared; remade at the start of a pass when `plan_stale`.
    plan: Vec<(WorkerId, Span)>,
    plan_stale: bool,
    /// The first pass of this execution.
    first: Pass,
    next: Pass,
    open: Option<OpenPass>,
    finished: bool,
    actions: VecDeque<Action>,
    progress_at: Instant,
    report_at: Instant,
}

impl Engine {
    /// An engine at the start of a run. `chunks`: how many the layout has; `workers_min`: no pass starts with
    /// fewer prepared members.
    pub fn new(now: Instant, schedule: Schedule, chunks: usize, workers_min: usize) -> Engine {
        Engine {
            schedule,
            chunks,
            workers_min: workers_min.max(1),
            workers_start: 1,
            members: BTreeMap::new(),
            plan: Vec::new(),
            plan_stale: true,
            first: Pass(0),
            next: Pass(0),
            open: None,
            finished: false,
            actions: VecDeque::new(),
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

    /// Takes in what happened. Events about workers that already left are ignored.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Joined(worker) => {
                self.members.insert(worker, Member::default());
                self.prepare_members();
            }
            Event::Prepared(worker) => {
                if let Some(member) = self.members.get_mut(&worker) {
                    self.plan_stale |= !member.prepared;
                    member.prepared = true;
                }
                self.deal_undealt();
            }
            Event::Left(worker) => {
                if self.members.remove(&worker).is_some() {
                    self.plan_stale = true;
                }
                if let Some(open) = &mut self.open {
                    open.forget(worker);
                }
                self.deal_undealt();
            }
            Event::Held => {
                if let Some(open) = &mut self.open {
                    open.held += 1;
                    if open.held == self.chunks {
                        self.actions.push_back(Action::Update);
                    }
                }
            }
            Event::Committed(track) => {
                self.note_progress(now);
                if let Some(mut open) = self.open.take() {
                    if open.commit(track) {
                        self.actions.push_back(Action::EndPass(open.planned));
                    } else {
                        self.open = Some(open);
                    }
                }
            }
        }
        self.begin_pass(now);
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
        if pass >= self.next {
            return Verdict::Foreign;
        }
        let Some(open) = self.open.as_mut().filter(|open| open.planned.pass == pass) else {
            return Verdict::Drop;
        };
        let Some(span) = self.schedule.tree.span(node) else { return Verdict::Foreign };
        if !open.has(track) || !open.was_dealt(worker, span) {
            return Verdict::Foreign;
        }
        let new = open.cover(track, span);
        self.note_progress(now);
        if new { Verdict::Fold } else { Verdict::Drop }
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Engine::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.finished).then_some(self.report_at)
    }

    /// Reports a wait that has become long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.finished || now < self.report_at {
            return;
        }
        self.report_at = now + WAIT_REPORT_INTERVAL;
        if let Some(reason) = self.wait_reason() {
            let waited = now.saturating_duration_since(self.progress_at);
            self.actions.push_back(Action::Report(Wait { waited, reason }));
        }
    }

    fn wait_reason(&self) -> Option<WaitReason> {
        if let Some(open) = &self.open {
            if let Some((worker, span)) = open.waits_for() {
                return Some(WaitReason::Results { worker, span, planned: open.planned });
            }
            if open.undealt().is_empty() {
                return Some(WaitReason::Adding);
            }
        }
        // Members are told to prepare only once enough are there, also inside a pass that all others left.
        let wanted = if self.prepared().is_empty() || self.open.is_none() {
            self.workers_wanted()
        } else {
            1
        };
        if self.members.len() < wanted {
            return Some(WaitReason::Workers { joined: self.members.len(), wanted });
        }
        let fetching = self.members.iter().find(|(_, member)| !member.prepared);
        fetching.map(|(&worker, _)| WaitReason::Shards { worker })
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

    /// Tells members that have no shards yet which ones to fetch, once enough members are there that the cut
    /// is worth something.
    fn prepare_members(&mut self) {
        if self.members.len() < self.workers_wanted() {
            return;
        }
        let spans = spans::cut(self.schedule.tree, self.members.len());
        for (place, (&worker, member)) in self.members.iter().enumerate() {
            if !member.prepared {
                // A member beyond the last shard is a spare: it keeps the first span's rows.
                let span = spans.get(place).unwrap_or(&spans[0]);
                self.actions.push_back(Action::Prepare(worker, *span));
            }
        }
    }

    fn prepared(&self) -> Vec<WorkerId> {
        let prepared = self.members.iter().filter(|(_, member)| member.prepared);
        prepared.map(|(&worker, _)| worker).collect()
    }

    fn begin_pass(&mut self, now: Instant) {
        if self.open.is_some() || self.finished {
            return;
        }
        let Some(planned) = self.schedule.planned(self.next) else {
            self.finished = true;
            self.actions.push_back(Action::Finish);
            return;
        };
        if self.plan_stale {
            let prepared = self.prepared();
            if prepared.len() < self.workers_wanted() {
                return;
            }
            let spans = spans::cut(self.schedule.tree, prepared.len());
            self.plan = prepared.into_iter().zip(spans).collect();
            self.plan_stale = false;
        }
        self.note_progress(now);
        self.next = Pass(planned.pass.0 + 1);
        let leaves = self.schedule.leaves(&planned);
        let mut open = OpenPass::new(planned, leaves, self.schedule.tree, self.chunks);
        self.actions.push_back(Action::BeginPass(planned));
        for &(worker, span) in &self.plan {
            if open.has_rows(span) {
                open.deal(worker, span);
                self.actions.push_back(Action::Deal(worker, deal(&planned, span)));
            }
        }
        self.open = Some(open);
    }

    /// Deals what a lost worker left open, to members with nothing to do first.
    fn deal_undealt(&mut self) {
        let mut prepared = self.prepared();
        let Some(open) = self.open.as_mut().filter(|_| !prepared.is_empty()) else { return };
        let undealt = open.undealt();
        if undealt.is_empty() {
            return;
        }
        let owing = open.owing();
        prepared.sort_by_key(|worker| owing.contains(worker));
        for (place, span) in spans::share(&undealt, prepared.len()) {
            open.deal(prepared[place], span);
            self.actions.push_back(Action::Deal(prepared[place], deal(&open.planned, span)));
        }
    }
}

fn deal(planned: &Planned, span: Span) -> Deal {
    Deal { pass: planned.pass, step: planned.step, task: planned.task, span }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = self.waited.as_secs_f64();
        match &self.reason {
            WaitReason::Workers { joined, wanted } => {
                write!(f, "waiting for workers since {waited:.1} s: {joined} of {wanted} joined")
            }
            WaitReason::Shards { worker } => {
                write!(f, "waiting for {worker} since {waited:.1} s: it is fetching its shards")
            }
            WaitReason::Adding => {
                write!(f, "adding since {waited:.1} s: all results of the step are there")
            }
            WaitReason::Results { worker, span, planned } => write!(
                f,
                "waiting for {worker} since {waited:.1} s: no result for {span} on the weights of {}",
                planned.step
            ),
        }
    }
}
