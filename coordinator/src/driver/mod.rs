//! One run at work: the shell around the engine.
//!
//! A single task owns the engine, the outboxes and the record of what is published; nothing here is shared but
//! the chunks themselves, which the reduction's threads lock one at a time.

mod results;
mod stopping;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lockstep_proto::arithmetic::deviation;
use lockstep_proto::fold::Counted;
use lockstep_proto::frame::{Deal, Ending, FromWorker, Limits, ToWorker};
use lockstep_proto::ids::{Chunk, Pass, Step, Table, Task, WorkerId};
use lockstep_proto::shared::lane;
use lockstep_proto::shared::weights::ChunkVersions;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::wire;
use tokio::sync::mpsc;

use crate::account::Account;
use crate::audit::AuditBook;
use crate::departure::Departure;
use crate::engine::{Action, Engine, Event, Planned, Schedule, Track};
use crate::error::RunError;
use crate::inbound::{INBOX_MESSAGES_MAX, Inbound, Readers, read};
use crate::observer::{Observer, RunEvent, WeightFrames};
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::policy::LearningRate;
use crate::reducer::{Reduced, Reducer};
use crate::server::{Admitted, Arrival};
use crate::sharing::Sharing;
use crate::spec::{Outcome, RunSpec, Stop, SumBounds};
use stopping::Stopwatch;

/// Workers that were told of the end get this long to close their streams.
pub(crate) const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(5);

struct Member {
    outbox: Arc<Outbox>,
    peer: Peer,
    sharing: Arc<Sharing>,
    /// Only members that have their first shards are sent weights: by then they have said whether they share memory.
    gets_weights: bool,
}

pub(crate) struct Driver {
    tree: ShardTree,
    limits: Limits,
    learning_rate: LearningRate,
    /// Of the update in hand.
    rate: f32,
    engine: Engine,
    reducer: Reducer,
    audit_book: AuditBook,
    account: Account,
    sum_bounds: Vec<SumBounds>,
    test_sums: Option<Vec<f64>>,
    schedule: Schedule,
    members: BTreeMap<WorkerId, Member>,
    readers: Readers,
    arrivals: mpsc::Receiver<Arrival>,
    inbox: mpsc::Receiver<Inbound>,
    inbox_tx: mpsc::Sender<Inbound>,
    observer: Box<dyn Observer>,
    first_step_at: Option<Instant>,
    /// The pass in hand, or the one that comes next.
    pass: Pass,
    is_open: bool,
    stopwatch: Stopwatch,
    /// How it ended, for workers that come too late.
    ending: Arc<OnceLock<Ending>>,
    finished: bool,
}

impl Driver {
    pub(crate) fn new(
        spec: RunSpec,
        observer: Box<dyn Observer>,
        arrivals: mpsc::Receiver<Arrival>,
        published: Vec<ChunkVersions>,
        ending: Arc<OnceLock<Ending>>,
    ) -> Result<Driver, RunError> {
        let tree = ShardTree::new(spec.batches.shards);
        let schedule = Schedule {
            tree,
            train: spec.batches,
            validation_rows: spec.validation_rows,
            test_rows: spec.test_rows,
            epochs: spec.epochs,
        };
        let chunks = spec.layout.chunks().len();
        let (inbox_tx, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
        Ok(Driver {
            tree,
            limits: Limits {
                batches: spec.batches,
                tree,
                layout: spec.layout.clone(),
                precision: spec.precision,
                sums_len: spec.sum_bounds.len(),
            },
            learning_rate: spec.learning_rate.clone(),
            rate: 0.0,
            engine: Engine::new(Instant::now(), schedule, chunks, spec.workers_min)
                .starting_with(spec.workers_start)
                .starting_at(spec.start.pass)
                .auditing(spec.audit_fraction, spec.seed),
            reducer: Reducer::new(&spec, tree, published)?,
            audit_book: AuditBook::default(),
            account: Account::default(),
            sum_bounds: spec.sum_bounds.clone(),
            test_sums: None,
            schedule,
            members: BTreeMap::new(),
            readers: Readers::default(),
            arrivals,
            inbox,
            inbox_tx,
            observer,
            first_step_at: None,
            pass: spec.start.pass,
            is_open: false,
            stopwatch: Stopwatch::default(),
            ending,
            finished: false,
        })
    }

    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = Stop> + Send,
    ) -> Result<Outcome, RunError> {
        let result = self.drive(stop).await;
        if let Err(error) = &result {
            self.save_before(error);
        }
        self.observer.observe(RunEvent::Ending);
        let ending = self.ending.get_or_init(|| self.stopwatch.ending(&result)).clone();
        let farewell = ToWorker::Finish(ending).into_wire();
        for member in self.members.values() {
            // Whoever does not read its messages does not read this one.
            let _ = member.outbox.say(farewell.clone());
            member.outbox.close(None);
        }
        self.arrivals.close();
        while let Ok(arrival) = self.arrivals.try_recv() {
            if let Arrival::Admitted(admitted) = arrival {
                let _ = admitted.outbox.say(farewell.clone());
                admitted.outbox.close(None);
            }
        }
        let farewell = async {
            while !self.readers.is_empty() {
                tokio::select! {
                    _ = self.readers.next() => {}
                    _ = self.inbox.recv() => {}
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL_WAIT_MAX, farewell).await;
        result.map(|()| Outcome { weights: self.reducer.weights(), test_sums: self.test_sums })
    }

    async fn drive(&mut self, stop: impl Future<Output = Stop> + Send) -> Result<(), RunError> {
        tokio::pin!(stop);
        // Small frames are added on this thread.
        deviation().map_or(Ok(()), |deviation| Err(RunError::Arithmetic(deviation)))?;
        while !self.finished {
            let timeout = self.engine.poll_timeout().unwrap_or_else(Instant::now);
            let timeout = self.stop_timeout().map_or(timeout, |at| at.min(timeout));
            tokio::select! {
                biased;
                how = &mut stop, if !self.stopwatch.is_stopping() => self.stop(how)?,
                reduced = self.reducer.next(), if self.reducer.is_busy() => self.reduced(reduced)?,
                Some(arrival) = self.arrivals.recv() => match arrival {
                    Arrival::Admitted(admitted) => self.admit(*admitted),
                    Arrival::Refused { peer, reason } => {
                        self.observer.observe(RunEvent::Refused { peer: &peer, reason: &reason });
                    }
                },
                Some(inbound) = self.inbox.recv(), if self.reducer.has_room() => match inbound {
                    Inbound::Frame(worker, frame) => self.frame(worker, frame)?,
                    Inbound::Broken(worker, reason) => self.expel(worker, &reason),
                    Inbound::Ended(worker, reason) => self.leave(worker, &reason),
                },
                () = tokio::time::sleep_until(timeout.into()) => {
                    self.engine.handle_timeout(Instant::now());
                }
                Some((worker, panicked)) = self.readers.next() => if let Some(said) = panicked {
                    self.expel(worker, &format!("reading its messages failed: {said}"));
                },
            }
            self.act()?;
            self.tend_stop()?;
        }
        Ok(())
    }

    fn admit(&mut self, admitted: Admitted) {
        let Admitted { worker, peer, outbox, stream, watch } = admitted;
        self.observer.observe(RunEvent::Joined { worker, peer: &peer });
        let threads = peer.threads;
        let sharing = Arc::new(Sharing::new(outbox.clone()));
        self.members
            .insert(worker, Member { outbox, peer, sharing: sharing.clone(), gets_weights: false });
        let (limits, inbox) = (self.limits.clone(), self.inbox_tx.clone());
        self.readers.start(worker, read(worker, stream, watch, limits, sharing, inbox));
        self.engine.handle(Instant::now(), Event::Joined { worker, threads });
    }

    fn leave(&mut self, worker: WorkerId, reason: &Departure) {
        if let Some(member) = self.members.remove(&worker) {
            member.outbox.close(None);
            let workers = self.members.len();
            self.observer.observe(RunEvent::Left { worker, peer: &member.peer, reason, workers });
            self.engine.handle(Instant::now(), Event::Left(worker));
        }
    }

    /// Ends a membership because of what the worker said. Nothing of it that is to be compared counts any more, even if it is
    /// gone.
    fn expel(&mut self, worker: WorkerId, reason: &str) {
        let disputes = self.audit_book.strike(worker);
        if let Some(member) = self.members.remove(&worker) {
            member.outbox.close(Some(tonic::Status::invalid_argument(reason)));
            let workers = self.members.len();
            let reason = &Departure::Expelled(reason.to_string());
            self.observer.observe(RunEvent::Left { worker, peer: &member.peer, reason, workers });
        }
        self.engine.expelled(Instant::now(), worker, &disputes);
    }

    fn frame(&mut self, worker: WorkerId, frame: FromWorker) -> Result<(), RunError> {
        if !self.members.contains_key(&worker) {
            return Ok(());
        }
        match frame {
            FromWorker::Prepared(span) => {
                if !self.engine.prepared(Instant::now(), worker, span) {
                    self.expel(worker, "it said that it has shards that it was not asked to fetch");
                } else if let Some(member) = self.members.get_mut(&worker)
                    && !member.gets_weights
                {
                    member.gets_weights = true;
                    for (step, chunk) in self.reducer.published() {
                        self.send_weights(step, chunk, std::iter::once(&self.members[&worker]));
                    }
                }
            }
            FromWorker::Part(part) => self.part(worker, part)?,
            FromWorker::Fault(fault) => self.fault(worker, fault),
            FromWorker::Goodbye => self.leave(worker, &Departure::Goodbye),
        }
        Ok(())
    }

    fn reduced(&mut self, reduced: Reduced) -> Result<(), RunError> {
        match reduced {
            Reduced::Pending => {}
            Reduced::Panicked(said) => return Err(RunError::Panicked(said)),
            Reduced::Held => self.engine.handle(Instant::now(), Event::Held),
            Reduced::Published { step, chunk } => {
                let members = self.members.values().filter(|member| member.gets_weights);
                self.send_weights(step, chunk, members);
                self.engine.handle(Instant::now(), Event::Committed(Track::Chunk(chunk)));
            }
            Reduced::NonFinite { step, chunk, what } => {
                let layer = self.limits.layout.chunks()[chunk.0 as usize].layers.start;
                return Err(RunError::NonFinite {
                    step: step.0,
                    shard: None,
                    layer: Some(layer),
                    what,
                });
            }
        }
        Ok(())
    }

    /// Tells members of a chunk of weights; its values go to those who cannot read them where they are.
    fn send_weights<'a>(
        &self,
        step: Step,
        chunk: Chunk,
        members: impl Iterator<Item = &'a Member>,
    ) {
        let is_shared = self.reducer.is_shared(chunk);
        let mut frame = None;
        for Member { outbox, .. } in members {
            let is_named = is_shared && outbox.shares();
            let values = (!is_named)
                .then(|| frame.get_or_insert_with(|| self.reducer.frame(step, chunk)).clone());
            outbox.send_weights(step, chunk, values);
        }
    }

    fn act(&mut self) -> Result<(), RunError> {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Prepare(worker, span) => {
                    self.say(worker, ToWorker::Prepare(span).into_wire());
                }
                Action::Forget(worker, spans) => {
                    self.say(worker, ToWorker::Forget(spans).into_wire());
                }
                Action::Deal(worker, deal) => {
                    self.account.deal(worker, deal.span);
                    self.say_deal(worker, deal);
                }
                Action::BeginPass(planned) => self.begin(&planned),
                Action::Waive { pass, span, waited } => self.waive(pass, span, waited)?,
                Action::GiveUp(worker, span) => self.give_up(worker, span),
                Action::Diverged(fault) => self.diverged(fault)?,
                Action::Refute(worker, fault) => self.refute(worker, fault),
                Action::Update => {
                    for reduced in self.reducer.update() {
                        self.reduced(reduced)?;
                    }
                }
                Action::EndPass(planned) => {
                    self.end(&planned)?;
                    // A run that has nothing left to do is finished.
                    if self.stopwatch.is_stopping() && self.schedule.planned(self.pass).is_some() {
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
        Ok(())
    }

    fn say(&mut self, worker: WorkerId, message: wire::CoordinatorMessage) {
        if self.members.get(&worker).is_some_and(|member| !member.outbox.say(message)) {
            self.expel(worker, "it does not read its messages");
        }
    }

    fn say_deal(&mut self, worker: WorkerId, deal: Deal) {
        let Some(member) = self.members.get(&worker) else { return };
        let mut message = ToWorker::Deal(deal).into_wire();
        lane::tell_read(&mut message, member.sharing.slices_read());
        self.say(worker, message);
    }

    fn begin(&mut self, planned: &Planned) {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("pass");
        self.pass = planned.pass;
        self.is_open = true;
        self.stopwatch.begin(Instant::now());
        let leaves = self.schedule.leaves(planned);
        self.audit_book.clear();
        if let Task::Train { .. } = planned.task {
            self.first_step_at.get_or_insert_with(Instant::now);
            self.rate = self.learning_rate.after(planned.step.0);
            self.reducer.begin(&leaves, Step(planned.step.0 + 1), planned.rows, self.rate);
        }
        self.account.begin(self.tree, leaves);
    }

    fn end(&mut self, planned: &Planned) -> Result<(), RunError> {
        self.pass = Pass(planned.pass.0 + 1);
        self.is_open = false;
        self.stopwatch.end(Instant::now());
        let Counted { rows, values: sums } = self.account.end(planned)?;
        match planned.task {
            Task::Train { epoch, .. } => {
                self.reducer.end();
                let started = self.first_step_at.unwrap_or_else(Instant::now);
                self.observer.observe(RunEvent::Step {
                    epoch,
                    step: planned.step.0 + 1,
                    rows,
                    sums: &sums,
                    learning_rate: self.rate,
                    seconds: started.elapsed().as_secs_f64(),
                    deals: self.account.deals(),
                    recomputed: self.account.recomputed(),
                    weights: WeightFrames(&|| self.reducer.frames()),
                });
            }
            Task::Evaluate { table } => {
                self.observer.observe(RunEvent::Evaluated { table, rows, sums: &sums });
                if table == Table::Test {
                    self.test_sums = Some(sums);
                    // No snapshot: a run that goes on from it would have to measure the table again.
                    return Ok(());
                }
            }
        }
        self.offer_snapshot(self.stopwatch.is_stopping());
        Ok(())
    }
}
