//! The shipped core in the place of a coordinator's process: what arrives is checked as the shell checks it, and what the core
//! wants is held against what it may want.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lockstep_coordinator::core::{
    Core, Finished, INLINE_BYTES_MAX, Input, Job, Output, Weights, jobs_max,
};
use lockstep_coordinator::{Departure, Peer, RunError};
use lockstep_proto::frame::{Deal, Limits, ToWorker};
use lockstep_proto::ids::{Chunk, Pass, Span, Step, WorkerId};
use lockstep_proto::wire::{self, worker_message::Kind};
use lockstep_reduce::shared::weights::ChunkVersions;

use crate::book::{Book, Seen, Teller};
use crate::case::Case;
use crate::checkpoint::Checkpoint;

/// What a run leaves behind, in bits.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) weights: Vec<u32>,
    pub(crate) history: Vec<Vec<u64>>,
}

/// Versions of the weights of which it is noted who was told.
const STEPS_NOTED: usize = 4;

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    /// It was told to stop.
    Stopped,
}

/// Something for a worker's stream.
pub(crate) enum Outbound {
    Message(ToWorker),
    Weights(Weights),
    /// Its end, with what is wrong with the worker, if anything is.
    Close(Option<String>),
}

pub(crate) struct Coordinator<'a> {
    case: &'a Case,
    pub(crate) core: Core,
    limits: Limits,
    book: Arc<Mutex<Book>>,
    /// Messages that came and were not read yet: there was no room for what they make to do.
    inbox: VecDeque<(WorkerId, wire::WorkerMessage)>,
    prepared: BTreeSet<WorkerId>,
    /// What was dealt in the newest pass, to those who are still there.
    dealt: Vec<(WorkerId, Span)>,
    newest: Option<Pass>,
    /// By worker and version: the chunks of weights that it was sent or told of.
    told: BTreeMap<WorkerId, BTreeMap<Step, BTreeSet<Chunk>>>,
    /// The last version, likewise, that changed.
    newest_told: BTreeMap<WorkerId, Step>,
    /// Deals of what was handled last.
    deals: Vec<(WorkerId, Deal)>,
    /// Nodes of the newest pass that were given, by chunk, that of the sums being the last.
    given: BTreeMap<u32, BTreeSet<u32>>,
    /// To be said to workers, in order.
    pub(crate) outbound: Vec<(WorkerId, Outbound)>,
    /// Handed over to threads.
    pub(crate) jobs: Vec<Job>,
    in_flight: usize,
    pub(crate) end: Option<End>,
}

impl<'a> Coordinator<'a> {
    pub(crate) fn new(case: &'a Case, now: Instant, start: Checkpoint, seen: Seen) -> Self {
        let spec = case.spec(start.snapshot.clone());
        let published = spec.layout.chunks().iter();
        let width = spec.precision.width();
        let published = published.map(|chunk| ChunkVersions::own(chunk.range.len() * width));
        let limits = Limits {
            batches: spec.batches,
            tree: case.tree(),
            layout: spec.layout.clone(),
            precision: spec.precision,
            sums_len: spec.step_sums,
            table_sums_len: spec.sum_bounds.len(),
        };
        let book = Arc::new(Mutex::new(Book::new(case.clone(), start, seen)));
        let observer = Box::new(Teller(book.clone()));
        let inline_bytes_max = if case.pooled { 0 } else { INLINE_BYTES_MAX };
        let core = Core::new(now, &spec, observer, published.collect(), inline_bytes_max);
        Coordinator {
            case,
            core,
            limits,
            book,
            inbox: VecDeque::new(),
            prepared: BTreeSet::new(),
            dealt: Vec::new(),
            newest: None,
            told: BTreeMap::new(),
            newest_told: BTreeMap::new(),
            deals: Vec::new(),
            given: BTreeMap::new(),
            outbound: Vec::new(),
            jobs: Vec::new(),
            in_flight: 0,
            end: None,
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process ends, by itself or killed, and another begins from the newest checkpoint; nobody is there yet.
    pub(crate) fn restart(&mut self, now: Instant) {
        let (checkpoint, seen) = {
            let mut book = self.book();
            if self.end == Some(End::Stopped) {
                book.disk.sync();
                book.seen.stopped += 1;
            }
            book.seen.restarts += 1;
            (book.disk.newest().clone(), book.seen)
        };
        if self.end == Some(End::Stopped) {
            // What was told of is either in the checkpoint, or could not be saved any more.
            assert!(checkpoint.pass <= self.core.pass(), "{:?}", checkpoint.pass);
        }
        *self = Coordinator::new(self.case, now, checkpoint, seen);
    }

    pub(crate) fn has_prepared(&self, worker: WorkerId) -> bool {
        self.prepared.contains(&worker)
    }

    pub(crate) fn admit(&mut self, now: Instant, worker: WorkerId) {
        self.handle(now, Input::Joined(worker, Peer { threads: 1, ..Peer::default() }));
    }

    pub(crate) fn ended(&mut self, now: Instant, worker: WorkerId) {
        self.handle(now, Input::Ended(worker, Departure::Vanished));
    }

    /// A message comes.
    pub(crate) fn message(&mut self, now: Instant, worker: WorkerId, said: wire::WorkerMessage) {
        self.inbox.push_back((worker, said));
        self.read(now);
    }

    /// Reads what there is room for.
    fn read(&mut self, now: Instant) {
        while self.core.has_room()
            && let Some((worker, said)) = self.inbox.pop_front()
        {
            self.count(&said);
            let input = match said.kind {
                Some(Kind::Share(_)) => Input::Shares(worker),
                Some(Kind::Prepared(_)) => {
                    self.prepared.insert(worker);
                    self.checked(worker, said)
                }
                _ => self.checked(worker, said),
            };
            self.handle(now, input);
        }
        self.book().seen.full += u64::from(!self.inbox.is_empty());
    }

    fn checked(&self, worker: WorkerId, said: wire::WorkerMessage) -> Input {
        match self.limits.from_worker(said) {
            Ok(frame) => Input::Frame(worker, frame),
            Err(error) => Input::Broken(worker, error.to_string()),
        }
    }

    /// A thread is done with a job.
    pub(crate) fn finished(&mut self, now: Instant, finished: Finished) {
        self.in_flight -= 1;
        self.handle(now, Input::Finished(finished));
        self.read(now);
    }

    /// Shows the core what happened, and takes what it wants.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        if self.end.is_some() {
            return;
        }
        self.book().now = Some(now);
        let result = self.core.handle(now, input);
        if self.core.is_finished() || result.is_err() {
            self.end = Some(match &result {
                Ok(()) => End::Finished,
                Err(RunError::Stopped) => End::Stopped,
                Err(error) => panic!("{error}: {:#?}", self.core),
            });
        }
        while let Some(output) = self.core.poll() {
            self.carry(output);
        }
        for (worker, deal) in std::mem::take(&mut self.deals) {
            let version = self.case.job.schedule.version(deal.step);
            let told = self.told.get(&worker);
            let is_told = told.is_some_and(|told| self.case.job.is_whole(told, version));
            assert!(
                is_told || !self.core.is_member(worker),
                "{worker} was dealt {deal:?} without its weights"
            );
        }
        if self.end.is_some() {
            self.core.conclude(&result);
        }
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Say(worker, message) => {
                assert!(self.core.is_member(worker) || self.case.may_be_shut_out(worker));
                match &message {
                    ToWorker::Deal(deal) => self.deal(worker, *deal),
                    ToWorker::Forget(_) => self.book().seen.let_go += 1,
                    ToWorker::Route(route) => {
                        let is_recall = route.homes.iter().any(Option::is_none);
                        self.book().seen.recalled += u64::from(is_recall);
                    }
                    ToWorker::Dealt(dealt) => {
                        let apart = dealt.spans.iter().filter(|dealt| dealt.is_apart).count();
                        self.book().seen.apart += apart as u64;
                    }
                    _ => {}
                }
                self.outbound.push((worker, Outbound::Message(message)));
            }
            Output::Weights(worker, weights) => {
                assert!(self.prepared.contains(&worker), "{worker} got weights too early");
                self.tell(worker, &weights);
                self.outbound.push((worker, Outbound::Weights(weights)));
            }
            Output::Close(worker, fault) => {
                self.prepared.remove(&worker);
                self.told.remove(&worker);
                self.newest_told.remove(&worker);
                self.dealt.retain(|&(dealt_to, _)| dealt_to != worker);
                self.outbound.push((worker, Outbound::Close(fault)));
            }
            Output::Start(job) => {
                self.in_flight += 1;
                assert!(self.in_flight <= jobs_max(self.case.threads));
                self.jobs.push(job);
            }
        }
    }

    /// Notes that a worker gets weights, and whether it was spared some since those before.
    fn tell(&mut self, worker: WorkerId, weights: &Weights) {
        if !weights.is_lasting {
            let last = self.newest_told.insert(worker, weights.step);
            let is_spared = last.is_some_and(|last| weights.step.0 > last.0 + 1);
            self.book().seen.spared += u64::from(is_spared);
        }
        let told = self.told.entry(worker).or_default();
        told.entry(weights.step).or_default().insert(weights.chunk);
        // The first has those that never change.
        while told.len() > STEPS_NOTED
            && let Some(&second) = told.keys().nth(1)
        {
            told.remove(&second);
        }
    }

    fn deal(&mut self, worker: WorkerId, deal: Deal) {
        self.deals.push((worker, deal));
        assert!(self.prepared.contains(&worker), "{worker} was dealt before it was prepared");
        let planned = self.book().planned(deal.pass).expect("passes are the schedule's");
        assert_eq!((deal.step, deal.task), (planned.step, planned.task));
        if self.newest != Some(deal.pass) {
            assert!(self.newest < Some(deal.pass), "{deal:?} after {:?}", self.newest);
            self.newest = Some(deal.pass);
            self.dealt.clear();
            self.given.clear();
        }
        let overlaps = |(_, known): &(WorkerId, Span)| known.overlaps(deal.span);
        let is_again = self.dealt.iter().any(overlaps);
        let audits = self.case.audit_fraction > 0.0;
        self.book().seen.dealt_again += u64::from(!audits && is_again);
        assert!(!self.dealt.contains(&(worker, deal.span)), "{worker} was dealt {deal:?} twice");
        self.dealt.push((worker, deal.span));
    }

    /// Counts how often nodes come that are there already, in whole or in part, or too late.
    fn count(&mut self, said: &wire::WorkerMessage) {
        match &said.kind {
            Some(Kind::Sum(sum)) => {
                let level = sum.slice.as_ref().map_or(0, |slice| slice.level);
                let mut book = self.book();
                book.seen.sums += 1;
                book.seen.parts += u64::from(level < self.case.tree().root().level);
            }
            Some(Kind::Missing(_)) => self.book().seen.asked_for += 1,
            _ => {}
        }
        let Some(Kind::Part(part)) = &said.kind else { return };
        let is_late = self.newest.is_some_and(|newest| part.pass < newest.0);
        let nodes = part.slices.iter().map(|slice| (slice.chunk, slice.level, slice.index));
        let sums = part.sums.iter().map(|sums| (u32::MAX, sums.level, sums.index));
        let (mut late, mut twice, mut in_part) = (0, 0, 0);
        for (track, level, index) in nodes.chain(sums) {
            let node = lockstep_proto::tree::Node { level, index };
            let Some(span) = self.case.tree().span(node) else { continue };
            let given = self.given.entry(track).or_default();
            let known = span.shards().filter(|shard| given.contains(&shard.0)).count() as u32;
            late += u64::from(is_late);
            twice += u64::from(!is_late && known == span.len());
            in_part += u64::from(!is_late && known > 0 && known < span.len());
            if !is_late {
                given.extend(span.start..span.end);
            }
        }
        let mut book = self.book();
        book.seen.late += late;
        book.seen.twice += twice;
        book.seen.in_part += in_part;
    }

    pub(crate) fn outcome(self) -> (Outcome, Seen) {
        let book = Arc::clone(&self.book);
        let weights = self.core.into_outcome().weights.into_iter();
        let weights: Vec<u32> = weights.map(f32::to_bits).collect();
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.finish(&weights);
        (Outcome { weights, history: book.history().to_vec() }, book.seen)
    }
}
