//! All that a run decides: input in, output out, time as an argument.
//!
//! A [`Core`] owns the engine, the account, the audits and the reduction, and who is a member; nobody else asks these, so
//! that the order in which they are asked is decided here. It refuses to know sockets, tasks, threads and clocks: the
//! shell carries what it says, puts threads to its jobs and tells it the time. The simulation (a crate of its own) does the same
//! with a network of its own; nothing else is to use this.

mod coding;
mod early_stopping;
mod exchange;
mod homes;
mod jobs;
mod members;
mod passes;
mod plateau;
mod reducer;
mod results;
mod route;
mod stopping;
mod tally;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use lockstep_proto::frame::{Deal, Ending, ToWorker};
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::layout::{ChunkRange, Layout};
use lockstep_proto::tree::ShardTree;
use lockstep_reduce::shared::weights::ChunkVersions;

use crate::account::Account;
use crate::audit::AuditBook;
pub use crate::backlog::{Backlog, ChunkValues, MESSAGES_MAX, Next, Way, Weights};
use crate::engine::{Action, Engine, Event, Schedule, Track};
use crate::error::RunError;
use crate::observer::{Observer, RunEvent};
use crate::policy::LearningRate;
use crate::roster::Roster;
use crate::spec::{Homes, Outcome, RunSpec, SumBounds, ends_with_averages};
use coding::Coder;
use early_stopping::EarlyStopper;
pub use exchange::{Input, Output};
pub use jobs::{Finished, Job};
use members::Member;
use plateau::RateWatcher;
pub use reducer::{INLINE_BYTES_MAX, jobs_max};
use reducer::{Reduced, Reducer};
use route::{Router, Star};
pub use route::{may_have_homes, who_may_add};
use stopping::Stopwatch;
use tally::{Tally, WAIT_SHOWN_AFTER};
use turns::Turns;

/// See the module's text.
pub struct Core {
    schedule: Schedule,
    layout: Arc<Layout>,
    learning_rate: LearningRate,
    sum_bounds: Vec<SumBounds>,
    step_sums: usize,
    engine: Engine,
    reducer: Reducer,
    audit_book: AuditBook,
    account: Account,
    members: BTreeMap<WorkerId, Member>,
    homes: Homes,
    is_audited: bool,
    router: Router,
    /// The coordinator adding up everything, and homes.
    home_turns: Turns,
    /// Why the coordinator adds up everything, if it does.
    star: Option<Star>,
    roster: Roster,
    /// What was dealt and homes were not told of.
    dealt: Vec<(WorkerId, Span)>,
    observer: Box<dyn Observer>,
    outputs: VecDeque<Output>,
    /// Of the input in hand.
    now: Instant,
    /// Of the update in hand.
    rate: f32,
    /// What the weights of the pass in hand add to the loss.
    penalty: f64,
    first_step_at: Option<Instant>,
    /// Steps before this execution.
    steps_before: u64,
    /// The pass in hand, or the one that comes next.
    pass: Pass,
    is_open: bool,
    test_sums: Option<Vec<f64>>,
    early_stopper: Option<EarlyStopper>,
    rate_watcher: Option<RateWatcher>,
    ends_with_averages: bool,
    coder: Coder,
    stopwatch: Stopwatch,
    tally: Tally,
    /// When the observer is told who does what.
    look_at: Option<Instant>,
    finished: bool,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("pass", &self.pass)
            .field("engine", &self.engine)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// A run from its start, or from where an earlier execution was. `published`: where the weights of each chunk are kept for
    /// workers to see. Values longer than `inline_bytes_max` are added by jobs.
    pub fn new(
        now: Instant,
        spec: &RunSpec,
        observer: Box<dyn Observer>,
        published: Vec<ChunkVersions>,
        inline_bytes_max: usize,
    ) -> Core {
        let tree = ShardTree::new(spec.batches.shards);
        let rule = spec.early_stopping.as_ref().map(|watched| &watched.rule);
        let ends_with_averages = ends_with_averages(spec.averaging, rule);
        let mut schedule = Schedule {
            tree,
            train: spec.batches,
            validation_rows: spec.validation_rows,
            test_rows: spec.test_rows,
            epochs: spec.epochs,
            restores: ends_with_averages,
            steps_per_update: spec.steps_per_update,
        };
        let mut reducer = Reducer::new(spec, tree, published, inline_bytes_max);
        let early_stopper = EarlyStopper::new(spec, &mut schedule);
        if schedule.restores && schedule.epochs_before(spec.start.pass) == schedule.epochs {
            let best = early_stopper.as_ref().and_then(EarlyStopper::best_weights);
            reducer.restore(&spec.layout, best);
        }
        let engine = Engine::new(now, schedule, spec.layout.chunks().len(), spec.workers_min)
            .starting_with(spec.workers_start)
            .starting_at(spec.start.pass)
            .auditing(spec.audit_fraction, spec.seed)
            .choosing_crews(spec.crews)
            .freezing(reducer.frozen())
            .judging(early_stopper.is_some());
        let look_at = observer.look_interval().map(|_| now);
        let is_audited = spec.audit_fraction > 0.0;
        let star = Star::at_first(spec.homes, reducer.is_small(), is_audited);
        Core {
            schedule,
            layout: spec.layout.clone(),
            learning_rate: spec.learning_rate.clone(),
            sum_bounds: spec.sum_bounds.clone(),
            step_sums: spec.step_sums,
            engine,
            reducer,
            audit_book: AuditBook::default(),
            account: Account::default(),
            members: BTreeMap::new(),
            homes: spec.homes,
            is_audited,
            router: Router::new(spec.layout.chunks().iter().map(ChunkRange::sums_len).collect()),
            home_turns: Turns::default(),
            star: Some(star),
            roster: Roster::default(),
            dealt: Vec::new(),
            observer,
            outputs: VecDeque::new(),
            now,
            rate: 0.0,
            penalty: 0.0,
            first_step_at: None,
            steps_before: spec.start.step.0,
            pass: spec.start.pass,
            is_open: false,
            test_sums: None,
            early_stopper,
            rate_watcher: RateWatcher::new(spec),
            ends_with_averages,
            coder: Coder::new(spec.coding),
            stopwatch: Stopwatch::default(),
            tally: Tally::default(),
            look_at,
            finished: false,
        }
    }

    /// Takes in what happened. Afterwards all output is to be polled before the next input.
    ///
    /// # Errors
    /// Why the run ends early: no other input is wanted then.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), RunError> {
        self.now = now;
        match input {
            Input::Joined(worker, peer) => self.join(worker, peer),
            Input::Trouble(what) => self.observer.observe(RunEvent::Warning(&what)),
            Input::Refused(peer, reason) => {
                self.observer.observe(RunEvent::Refused { peer: &peer, reason: &reason });
            }
            Input::Shares(worker) => {
                if let Some(member) = self.members.get_mut(&worker) {
                    member.shares = true;
                }
            }
            Input::Frame(worker, frame) => self.frame(worker, frame)?,
            Input::Broken(worker, reason) => self.expel(worker, &reason),
            Input::Unread(worker) => self.expel(worker, "it does not read its messages"),
            Input::Ended(worker, reason) => self.leave(worker, &reason),
            Input::Finished(finished) => {
                let reduced = self.reducer.finished(finished);
                self.reduced(reduced)?;
            }
            Input::Stop(how) => self.stop(how)?,
            Input::Timeout => self.engine.handle_timeout(now),
        }
        self.act()?;
        self.look();
        self.tend_stop()
    }

    /// The next thing to do, if any.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.reducer.next_job().map(Output::Start))
    }

    /// When [`Input::Timeout`] is wanted; now, if the run is over.
    pub fn poll_timeout(&self) -> Instant {
        let timeout = self.engine.poll_timeout().unwrap_or(self.now);
        [self.stop_timeout(), self.look_at].into_iter().flatten().fold(timeout, Instant::min)
    }

    /// Whether there is room for what another message makes to do. While there is none, what workers say has to wait.
    pub fn has_room(&self) -> bool {
        self.reducer.has_room()
    }

    /// Whether the run was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopwatch.is_stopping()
    }

    /// Whether there is nothing more to do.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The pass in hand, or, between two, the one that comes next.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// The pass after the one in hand, or, between two, the one that comes next.
    pub fn next_pass(&self) -> Pass {
        Pass(self.pass.0 + u64::from(self.is_open))
    }

    /// Whether a worker was let in and is not gone.
    pub fn is_member(&self, worker: WorkerId) -> bool {
        self.members.contains_key(&worker)
    }

    /// By shard: whether a member has the rows, or was told to get them. `None` if it is none.
    pub fn holdings(&self, worker: WorkerId) -> Option<&[bool]> {
        self.engine.holdings(worker)
    }

    /// Ends the run, well or early: what is still to be saved is, and workers are to be told what is returned.
    pub fn conclude(&mut self, result: &Result<(), RunError>) -> Ending {
        if let Err(error) = result {
            self.save_before(error);
        }
        self.observer.observe(RunEvent::Ending);
        self.stopwatch.ending(result)
    }

    /// What is left of a run that finished.
    pub fn into_outcome(self) -> Outcome {
        Outcome {
            weights: self.reducer.weights(),
            epochs: self.schedule.epochs,
            watch: self.early_stopper.map(|stopper| stopper.watch()),
            test_sums: self.test_sums,
        }
    }

    fn reduced(&mut self, reduced: Reduced) -> Result<(), RunError> {
        match reduced {
            Reduced::Pending => {}
            Reduced::Panicked(said) => return Err(RunError::Panicked(said)),
            Reduced::Held => self.engine.handle(self.now, Event::Held),
            Reduced::Published { step, chunk } => {
                self.send_weights(step, chunk, None);
                self.engine.handle(self.now, Event::Committed(Track::Chunk(chunk)));
            }
            Reduced::Accumulated(chunk) => {
                self.engine.handle(self.now, Event::Committed(Track::Chunk(chunk)));
            }
            Reduced::NonFinite { chunk, what } => {
                let layer = self.layout.chunks()[chunk.0 as usize].layers.start;
                return Err(RunError::NonFinite {
                    step: self.schedule.steps_before(self.pass).0 + 1,
                    shard: None,
                    layer: Some(self.layout.layer_name(layer)),
                    what,
                    learning_rate: self.rate,
                });
            }
        }
        Ok(())
    }

    /// Tells the observer who does what, when it is time.
    fn look(&mut self) {
        for (worker, span) in self.engine.take_hedged() {
            self.observer.observe(RunEvent::Hedged { worker, span });
        }
        let Some(interval) = self.observer.look_interval() else { return };
        if self.finished || self.look_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.look_at = self.now.checked_add(interval);
        let wait = self.engine.wait(self.now).filter(|wait| wait.waited >= WAIT_SHOWN_AFTER);
        self.observer.observe(RunEvent::Members {
            members: &self.engine.look(self.now),
            planned: self.engine.planned(),
            wait: wait.as_ref(),
            adds: &self.who_adds(),
        });
    }

    /// Notes a deal that is about to be told, and says so if some of it is computed again.
    fn note_deal(&mut self, worker: WorkerId, deal: &Deal) {
        let before = self.account.recomputed();
        self.account.deal(worker, deal.span);
        let planned = self.schedule.planned(deal.pass);
        let rows = planned.map_or(0, |planned| self.schedule.span_rows(&planned, deal.span));
        self.tally.deal(worker, rows);
        let microbatches = self.account.recomputed() - before;
        if microbatches > 0 {
            let span = deal.span;
            self.observer.observe(RunEvent::DealtAgain { worker, span, microbatches });
        }
    }

    fn say(&mut self, worker: WorkerId, message: ToWorker) {
        // It may have been shut out since the engine decided this.
        if self.members.contains_key(&worker) {
            self.outputs.push_back(Output::Say(worker, message));
        }
    }

    /// Does what the engine wants.
    fn act(&mut self) -> Result<(), RunError> {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Prepare(worker, span) => self.say(worker, ToWorker::Prepare(span)),
                Action::Forget(worker, spans) => self.say(worker, ToWorker::Forget(spans)),
                Action::Deal(worker, deal) => {
                    self.note_deal(worker, &deal);
                    self.dealt.push((worker, deal.span));
                    self.wake(worker);
                    self.say(worker, ToWorker::Deal(deal));
                }
                Action::BeginPass(planned) => self.begin(&planned),
                Action::Waive { pass, span, waited } => self.waive(pass, span, waited)?,
                Action::GiveUp(worker, span) => self.give_up(worker, span),
                Action::Diverged(divergence) => self.diverged(divergence)?,
                Action::LateSums(chunks) => self.late_sums(&chunks),
                Action::Refute(worker, divergence) => self.refute(worker, divergence),
                Action::Update => {
                    for reduced in self.reducer.update() {
                        self.reduced(reduced)?;
                    }
                }
                Action::EndPass(planned) => {
                    self.end(&planned)?;
                    // A run that has nothing left to do is finished.
                    if self.is_stopping() && self.schedule.planned(self.pass).is_some() {
                        return Err(RunError::Stopped);
                    }
                }
                Action::Report(wait) => {
                    let member = wait.worker().and_then(|worker| self.members.get(&worker));
                    let peer = member.map(|member| &member.peer);
                    self.observer.observe(RunEvent::Waiting { wait: &wait, peer });
                }
                Action::Finish => self.finished = true,
            }
        }
        let dealt = std::mem::take(&mut self.dealt);
        self.tell_dealt(&dealt, None);
        Ok(())
    }
}
