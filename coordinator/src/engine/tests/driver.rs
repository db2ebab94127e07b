//! The coordinator's shell without its sockets and threads: what `driver::Driver` and `reducer::Reducer` do with
//! the engine's verdicts and actions, on real chunk states.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use lockstep_proto::fold::Fold;
use lockstep_proto::frame::{Deal, FromWorker, Part, Slice, ToWorker};
use lockstep_proto::ids::{Chunk, Pass, Step, Task, WorkerId};
use lockstep_proto::values;

use super::super::{Action, Engine, Event, Planned, Track, Verdict, WAIT_REPORT_INTERVAL, Wait};
use super::case::Case;
use super::ledger::{Ledger, Seen};
use crate::reduction::{ChunkState, Folded, clip_scale};

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
    sums_of_squares: Vec<f64>,
    sums: Option<Fold<Vec<f64>>>,
    root_sums: Vec<f64>,
    history: Vec<(Pass, Vec<u64>)>,
    members: BTreeSet<WorkerId>,
    prepared: BTreeSet<WorkerId>,
    /// Whether the first deals of the open pass are out.
    dealt_in_full: bool,
    reported_at: Option<Instant>,
    /// To be said to workers, in order.
    pub(super) outbound: Vec<(WorkerId, ToWorker)>,
    /// Handed over to threads.
    pub(super) jobs: Vec<Job>,
    pub(super) finished: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(case: &'a Case, now: Instant) -> Driver<'a> {
        let weights: Vec<_> =
            (0..case.chunk_lens.len()).map(|chunk| case.initial_weights(chunk)).collect();
        let chunks = weights.len();
        Driver {
            case,
            engine: Engine::new(now, case.schedule, chunks, case.workers_min)
                .starting_with(case.workers_start),
            ledger: Ledger::new(case),
            newest: weights.iter().map(|weights| (Step(0), values::encode(weights))).collect(),
            before: vec![None; chunks],
            sums_of_squares: vec![0.0; chunks],
            chunks: weights
                .into_iter()
                .map(|weights| {
                    let moments = case.rule.optimizer.moments(weights.len());
                    ChunkState::new(weights, moments)
                })
                .collect(),
            step: Step(0),
            sums: None,
            root_sums: Vec::new(),
            history: Vec::new(),
            members: BTreeSet::new(),
            prepared: BTreeSet::new(),
            dealt_in_full: false,
            reported_at: None,
            outbound: Vec::new(),
            jobs: Vec::new(),
            finished: false,
        }
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
        self.engine.handle(now, Event::Joined(worker));
        self.act(now);
    }

    pub(super) fn leave(&mut self, now: Instant, worker: WorkerId) {
        if self.members.remove(&worker) {
            self.prepared.remove(&worker);
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
            FromWorker::Prepared(_) => {
                self.prepared.insert(worker);
                self.engine.handle(now, Event::Prepared(worker));
            }
            FromWorker::Part(part) => self.part(now, worker, part),
            FromWorker::Goodbye => self.leave(now, worker),
            FromWorker::Fault(fault) => panic!("finite values made {fault:?}"),
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
        if step == self.step && self.ledger.open_pass().is_some() {
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

    fn part(&mut self, now: Instant, worker: WorkerId, part: Part) {
        for sums in part.sums {
            if self.takes(now, worker, part.pass, Track::Sums, sums.node) {
                self.ledger.fold(Track::Sums, sums.node);
                let fold = self.sums.as_mut().expect("a pass is open");
                if let Some(root) = fold.insert(sums.node, sums.values) {
                    self.root_sums = root;
                    self.engine.handle(now, Event::Committed(Track::Sums));
                }
            }
        }
        for slice in part.slices {
            if self.takes(now, worker, part.pass, Track::Chunk(slice.chunk), slice.node) {
                let job = Job { step: self.step, slice };
                if self.case.pooled {
                    self.jobs.push(job);
                } else {
                    self.fold(now, job);
                }
            }
        }
    }

    fn takes(
        &mut self,
        now: Instant,
        worker: WorkerId,
        pass: Pass,
        track: Track,
        node: lockstep_proto::tree::Node,
    ) -> bool {
        let verdict = self.engine.accept(now, worker, pass, track, node);
        self.ledger.judge(pass, track, node, verdict);
        verdict == Verdict::Fold
    }

    fn note(&mut self, now: Instant, chunk: Chunk, folded: Folded) {
        let place = chunk.0 as usize;
        match folded {
            Folded::Pending => {}
            Folded::Held(square) => {
                self.sums_of_squares[place] = square;
                self.engine.handle(now, Event::Held);
            }
            Folded::Updated(values) => {
                let step = self.step;
                let old = std::mem::replace(&mut self.newest[place], (step, values.clone()));
                self.before[place] = Some(old);
                for &worker in &self.members {
                    let values = values.clone();
                    self.outbound.push((worker, ToWorker::Weights { step, chunk, values }));
                }
                self.engine.handle(now, Event::Committed(Track::Chunk(chunk)));
            }
            Folded::NonFinite(what) => panic!("{what} of {chunk} is not finite"),
        }
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Prepare(worker, span) => {
                    assert!(self.members.contains(&worker), "{worker} was told to prepare");
                    self.outbound.push((worker, ToWorker::Prepare(span)));
                }
                Action::Deal(worker, deal) => self.deal(worker, deal),
                Action::BeginPass(planned) => self.begin(&planned),
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
        assert_eq!((deal.pass, deal.step, deal.task), (planned.pass, planned.step, planned.task));
        self.outbound.push((worker, ToWorker::Deal(deal)));
    }

    fn begin(&mut self, planned: &Planned) {
        self.dealt_in_full = false;
        self.ledger.begin(*planned);
        let leaves = self.case.schedule.leaves(planned);
        if let Task::Train { .. } = planned.task {
            self.step = Step(planned.step.0 + 1);
            for chunk in &mut self.chunks {
                chunk.begin(self.case.tree(), leaves.clone(), self.step.0, planned.rows);
            }
        }
        self.sums = Some(Fold::new(self.case.tree(), leaves));
    }

    fn update(&mut self, now: Instant) {
        let squares = self.sums_of_squares.iter().copied();
        let scale = self.case.rule.clip_norm.map(|most| clip_scale(most, squares));
        for place in 0..self.chunks.len() {
            let folded = self.chunks[place].update(&self.case.rule, scale);
            assert!(matches!(folded, Folded::Updated(_)), "a chunk was updated before it was held");
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
    }

    fn report(&mut self, now: Instant, wait: &Wait) {
        self.ledger.seen.reports += 1;
        assert!(wait.waited >= WAIT_REPORT_INTERVAL, "reported too early: {wait}");
        if let Some(last) = self.reported_at.replace(now) {
            assert!(now - last >= WAIT_REPORT_INTERVAL, "reported too often: {wait}");
        }
    }
}
