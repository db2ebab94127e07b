//! The coordinator's shell without its sockets and threads: what `driver::Driver` and `reducer::Reducer` do with
//! the engine's verdicts and actions, on real chunk states.

mod results;

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use lockstep_proto::fold::Fold;
use lockstep_proto::frame::{Deal, FromWorker, Slice, ToWorker};
use lockstep_proto::ids::{Chunk, Pass, Span, Step, Task, WorkerId};

use super::super::{Action, Engine, Event, Planned, Track, WAIT_REPORT_INTERVAL, Wait};
use super::case::Case;
use super::checkpoint::Checkpoint;
use super::ledger::{Ledger, Seen};
use crate::audit::AuditBook;
use lockstep_proto::shared::weights::ChunkVersions;

use crate::optimizer::sum_of_squares;
use crate::reduction::{ChunkState, Folded, Update, clip_scale};

/// What a run leaves behind, in bits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) weights: Vec<u32>,
    pub(super) sums: Vec<(Pass, Vec<u64>)>,
}

/// A node's values on their way to a chunk.
#[derive(Debug)]
pub(super) struct Job {
    step: Step,
    slice: Slice,
}

#[derive(Debug)]
pub(super) struct Driver<'a> {
    case: &'a Case,
    pub(super) engine: Engine,
    ledger: Ledger<'a>,
    chunks: Vec<ChunkState>,
    step: Step,
    newest: Vec<(Step, Bytes)>,
    before: Vec<Option<(Step, Bytes)>>,
    audit_book: AuditBook,
    sums: Option<Fold<Vec<f64>>>,
    root_sums: Vec<f64>,
    history: Vec<(Pass, Vec<u64>)>,
    checkpoint: Checkpoint,
    members: BTreeSet<WorkerId>,
    prepared: BTreeSet<WorkerId>,
    /// Whether the first deals of the open pass are out.
    dealt_in_full: bool,
    /// What was dealt in the open pass, to those who are still there.
    dealt: Vec<(WorkerId, Span)>,
    reported_at: Option<Instant>,
    /// To be said to workers, in order.
    pub(super) outbound: Vec<(WorkerId, ToWorker)>,
    /// Handed over to threads.
    pub(super) jobs: Vec<Job>,
    pub(super) finished: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(case: &'a Case, now: Instant, start: Checkpoint) -> Driver<'a> {
        let chunks = start.weights.len();
        let (step, pass) = (start.step, start.pass);
        let encode = |weights: &Vec<f32>| case.rule.precision.encode(weights);
        let state = |weights: Vec<f32>, moments| {
            let precision = case.rule.precision;
            let published = ChunkVersions::own(weights.len() * precision.width());
            ChunkState::new(step, weights, moments, published, precision)
        };
        let states = start.weights.iter().cloned().zip(start.moments.iter().cloned());
        Driver {
            case,
            engine: Engine::new(now, case.schedule, chunks, case.workers_min)
                .starting_with(case.workers_start)
                .starting_at(pass)
                .auditing(case.audit_fraction, case.seed),
            ledger: Ledger::new(case, pass),
            newest: start.weights.iter().map(|weights| (step, encode(weights))).collect(),
            before: vec![None; chunks],
            chunks: states.map(|(weights, moments)| state(weights, moments)).collect(),
            step,
            audit_book: AuditBook::default(),
            sums: None,
            root_sums: Vec::new(),
            history: start.history.clone(),
            checkpoint: start,
            members: BTreeSet::new(),
            prepared: BTreeSet::new(),
            dealt_in_full: false,
            dealt: Vec::new(),
            reported_at: None,
            outbound: Vec::new(),
            jobs: Vec::new(),
            finished: false,
        }
    }

    /// The coordinator dies and begins anew from its newest checkpoint; nobody is there yet.
    pub(super) fn restart(&mut self, now: Instant) {
        let seen = self.ledger.seen;
        *self = Driver::new(self.case, now, self.checkpoint.clone());
        self.ledger.seen = Seen { restarts: seen.restarts + 1, ..seen };
    }

    /// The pass after the open one.
    pub(super) fn next_pass(&self) -> Pass {
        Pass(self.ledger.open_pass().map_or(self.ledger.ended, |open| open.pass.0 + 1))
    }

    pub(super) fn has_prepared(&self, worker: WorkerId) -> bool {
        self.prepared.contains(&worker)
    }

    /// By shard: what the engine takes a member to have; `None` if it is none.
    pub(super) fn believed(&self, worker: WorkerId) -> Option<&[bool]> {
        self.engine.members.get(worker).map(|member| member.holdings().has())
    }

    pub(super) fn admit(&mut self, now: Instant, worker: WorkerId) {
        let before = self.before.iter().enumerate();
        let before = before.filter_map(|(chunk, version)| Some((chunk, version.as_ref()?)));
        let mut published: Vec<_> = before.chain(self.newest.iter().enumerate()).collect();
        published.sort_by_key(|&(chunk, (step, _))| (*step, chunk));
        for (chunk, (step, values)) in published {
            let (step, chunk, values) = (*step, Chunk(chunk as u32), values.clone());
            self.outbound.push((worker, ToWorker::Weights { step, chunk, values }));
        }
        self.members.insert(worker);
        self.engine.handle(now, Event::Joined { worker, threads: 1 });
        self.act(now);
    }

    pub(super) fn leave(&mut self, now: Instant, worker: WorkerId) {
        if self.members.remove(&worker) {
            self.prepared.remove(&worker);
            self.dealt.retain(|&(dealt_to, _)| dealt_to != worker);
            self.ledger.seen.left += u64::from(self.ledger.open_pass().is_some());
            self.engine.handle(now, Event::Left(worker));
        }
        self.act(now);
    }

    pub(super) fn frame(&mut self, now: Instant, worker: WorkerId, frame: FromWorker) {
        if !self.members.contains(&worker) {
            return;
        }
        match frame {
            FromWorker::Prepared(span) => {
                self.prepared.insert(worker);
                assert!(
                    self.engine.prepared(now, worker, span),
                    "{worker} was not asked to prepare"
                );
            }
            FromWorker::Part(part) => self.part(now, worker, part),
            FromWorker::Goodbye => self.leave(now, worker),
            FromWorker::Fault(fault) => {
                if !self.engine.faulted(now, worker, fault) {
                    self.expel(now, worker);
                }
            }
        }
        self.act(now);
    }

    /// A thread gets to a job.
    pub(super) fn folded(&mut self, now: Instant, job: Job) {
        self.fold(now, job);
        self.act(now);
    }

    fn fold(&mut self, now: Instant, job: Job) {
        let Job { step, slice: Slice { node, chunk, values } } = job;
        if step == self.step && self.ledger.trains() {
            self.ledger.fold(Track::Chunk(chunk), node);
            let folded =
                self.chunks[chunk.0 as usize].insert(&self.case.rule, step.0, node, values);
            self.note(now, chunk, folded);
        } else {
            self.ledger.seen.stale_folds += 1;
        }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
        self.act(now);
    }

    pub(super) fn outcome(self) -> (Outcome, Seen) {
        self.ledger.finish();
        let weights = self.chunks.iter().flat_map(|chunk| chunk.weights());
        let weights = weights.map(|weight| weight.to_bits()).collect();
        (Outcome { weights, sums: self.history }, self.ledger.seen)
    }

    fn note(&mut self, now: Instant, chunk: Chunk, folded: Folded) {
        let place = chunk.0 as usize;
        match folded {
            Folded::Pending => {}
            Folded::Held => self.engine.handle(now, Event::Held),
            Folded::Updated => {
                let step = self.step;
                let values = self.chunks[place].frame(step).expect("it was published");
                let old = std::mem::replace(&mut self.newest[place], (step, values.clone()));
                self.before[place] = Some(old);
                for &worker in &self.members {
                    let values = values.clone();
                    self.outbound.push((worker, ToWorker::Weights { step, chunk, values }));
                }
                self.engine.handle(now, Event::Committed(Track::Chunk(chunk)));
            }
            Folded::NonFinite(what) => panic!("{what} of {chunk} is not finite"),
            Folded::Panicked(said) => panic!("{said}"),
        }
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                // Said before it was found wrong.
                Action::Prepare(worker, _)
                | Action::Deal(worker, _)
                | Action::Forget(worker, _)
                    if !self.members.contains(&worker) && self.case.lies(worker) => {}
                Action::Forget(worker, spans) => {
                    assert!(self.members.contains(&worker), "{worker} was told to let go");
                    self.ledger.seen.let_go += 1;
                    self.outbound.push((worker, ToWorker::Forget(spans)));
                }
                Action::Prepare(worker, span) => {
                    assert!(self.members.contains(&worker), "{worker} was told to prepare");
                    self.outbound.push((worker, ToWorker::Prepare(span)));
                }
                Action::Deal(worker, deal) => self.deal(worker, deal),
                Action::BeginPass(planned) => self.begin(&planned),
                Action::Diverged(fault) => panic!("finite values made {fault:?}"),
                Action::Refute(worker, _) => {
                    self.ledger.seen.refuted += 1;
                    self.expel(now, worker);
                }
                Action::GiveUp(worker, _) => assert!(self.members.contains(&worker)),
                Action::Waive { pass, span, .. } => {
                    self.ledger.seen.waived += 1;
                    for (track, node, value) in self.audit_book.waive(self.case.tree(), span) {
                        self.settle(now, pass, track, node, value);
                    }
                }
                Action::Update => self.update(now),
                Action::EndPass(planned) => self.end(&planned),
                Action::Report(wait) => self.report(now, &wait),
                Action::Finish => self.finished = true,
            }
        }
        self.dealt_in_full = true;
    }

    fn deal(&mut self, worker: WorkerId, deal: Deal) {
        assert!(self.prepared.contains(&worker), "{worker} was dealt before it was prepared");
        let planned = self.ledger.open_pass().expect("deals belong to an open pass");
        self.ledger.seen.dealt_again += u64::from(self.dealt_in_full);
        let overlaps = |(_, known): &(WorkerId, Span)| known.overlaps(deal.span);
        let audits = self.case.audit_fraction > 0.0;
        self.ledger.seen.hedged += u64::from(!audits && self.dealt.iter().any(overlaps));
        assert!(!self.dealt.contains(&(worker, deal.span)), "{worker} was dealt {deal:?} twice");
        self.dealt.push((worker, deal.span));
        assert_eq!((deal.pass, deal.step, deal.task), (planned.pass, planned.step, planned.task));
        self.outbound.push((worker, ToWorker::Deal(deal)));
    }

    fn begin(&mut self, planned: &Planned) {
        self.dealt_in_full = false;
        self.dealt.clear();
        self.audit_book.clear();
        self.ledger.begin(*planned);
        let leaves = self.case.schedule.leaves(planned);
        if let Task::Train { .. } = planned.task {
            self.step = Step(planned.step.0 + 1);
            let learning_rate = self.case.learning_rate.after(planned.step.0);
            let update = Update { step: self.step.0, rows: planned.rows, learning_rate };
            for chunk in &mut self.chunks {
                chunk.begin(self.case.tree(), leaves.clone(), update);
            }
        }
        self.sums = Some(Fold::new(self.case.tree(), leaves));
    }

    fn update(&mut self, now: Instant) {
        // Each chunk is a block of the norm here.
        let squares = self.chunks.iter().map(|chunk| sum_of_squares([chunk.held()].into_iter()));
        let scale = self.case.rule.clip_norm.map(|most| clip_scale(most, squares));
        for place in 0..self.chunks.len() {
            let folded = self.chunks[place].update(&self.case.rule, scale);
            assert!(matches!(folded, Folded::Updated), "a chunk was updated before it was held");
            self.note(now, Chunk(place as u32), folded);
        }
    }

    fn end(&mut self, planned: &Planned) {
        self.ledger.end(*planned);
        if let Task::Train { .. } = planned.task {
            self.before.fill(None);
            let next = Step(planned.step.0 + 1);
            assert!(self.newest.iter().all(|&(step, _)| step == next), "a chunk was not updated");
        }
        let sums = std::mem::take(&mut self.root_sums);
        assert_eq!(sums[1], planned.rows as f64, "rows were lost, or counted twice");
        self.history.push((planned.pass, sums.into_iter().map(f64::to_bits).collect()));
        if (self.history.len() as u64).is_multiple_of(self.case.checkpoint_passes) {
            self.checkpoint = Checkpoint {
                pass: Pass(planned.pass.0 + 1),
                step: self.step,
                weights: self.chunks.iter().map(|chunk| chunk.weights()).collect(),
                moments: self.chunks.iter().map(|chunk| chunk.moments().to_vec()).collect(),
                history: self.history.clone(),
            };
        }
    }

    fn report(&mut self, now: Instant, wait: &Wait) {
        self.ledger.seen.reports += 1;
        assert!(wait.waited >= WAIT_REPORT_INTERVAL, "reported too early: {wait}");
        if let Some(last) = self.reported_at.replace(now) {
            assert!(now - last >= WAIT_REPORT_INTERVAL, "reported too often: {wait}");
        }
    }
}
