//! The shipped core in the place of a worker's process: what comes is checked as the session checks it, and what the core wants is
//! held against what it may want.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;
use lockstep_coordinator::Homes;
use lockstep_proto::frame::{
    Deal, FromWorker, Listens, PeerContent, PeerMessage, ResultPart, ToWorker, code_gradients,
};
use lockstep_proto::ids::{Chunk, Pass, Shard, Span, Step, Table, WorkerId};
use lockstep_proto::random::Random;
use lockstep_proto::values::Precision;
use lockstep_proto::wire;
use lockstep_worker::core::{Core, End, Finished, Input, Job, Output, Pace, Said, Shared};

use crate::book::Seen;
use crate::case::{Case, Lie, Visit};
use crate::draw::one_in;
use crate::memory::Memory;
use crate::{lies, results};

/// Versions of the weights of which it is noted what came.
const STEPS_NOTED: usize = 8;

/// Something that its core wants of the outside.
#[derive(Debug)]
pub(crate) enum Wish {
    Fetch(Table, Shard),
    Compute(Job),
    /// It is to be connected to these, and to no others.
    Connect(BTreeSet<WorkerId>),
}

#[derive(Debug)]
pub(crate) struct Worker {
    core: Core,
    visit: Visit,
    /// The only time that it is told, if its clock stands.
    stands_at: Option<Instant>,
    /// What waits for its link.
    pub(crate) outbox: VecDeque<wire::WorkerMessage>,
    /// What it said to other workers, or to itself, just now.
    pub(crate) told: Vec<(WorkerId, PeerMessage)>,
    pub(crate) pace: Pace,
    /// What it codes gradients in.
    pub(crate) codes: Option<Precision>,
    /// What is in the coordinator's memory, if that is shared.
    pub(crate) memory: Option<Memory>,
    /// It computed something in a pass in which it may lie.
    has_worked: bool,
    /// It is honest before: a pass that began without it may have nobody to compare it with.
    lies_from: Pass,
    /// Shards that it asked for and was not told to let go.
    fetched: BTreeSet<(Table, Shard)>,
    /// By step: the chunks that came.
    came: BTreeMap<Step, BTreeSet<Chunk>>,
    values_max: usize,
}

impl Worker {
    pub(crate) fn new(
        case: &Case,
        visit: Visit,
        now: Instant,
        lies_from: Pass,
        (name, execution): (WorkerId, u64),
    ) -> Worker {
        let job = &case.job;
        let welcome = job.welcome(name, case.homes != Homes::Off, execution);
        let core = Core::new(&welcome, job.network.clone(), None, visit.small_flops_max);
        let memory = visit.shares.then(|| Memory::new(job.precision));
        let mut worker = Worker {
            core,
            visit,
            stands_at: visit.clock_stands.then_some(now),
            outbox: VecDeque::new(),
            told: Vec::new(),
            pace: Pace::default(),
            codes: None,
            memory: memory.clone(),
            has_worked: false,
            lies_from,
            fetched: BTreeSet::new(),
            came: BTreeMap::new(),
            values_max: job.values_max(),
        };
        if case.homes != Homes::Off {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&name.0.to_le_bytes());
            let listens = Listens { key, port: 1, addresses: Vec::new() };
            worker.outbox.push_back(FromWorker::Listens(listens).into_wire());
        }
        if let Some(memory) = memory {
            let shared = Shared { lane: None, weights: Box::new(memory) };
            let shared = worker.core.handle(now, Input::Shares(shared));
            assert!(shared.is_continue());
        }
        worker
    }

    /// Whether it reads its next message.
    pub(crate) fn reads(&self) -> bool {
        self.core.reads() && self.outbox.len() < self.visit.outbox_max
    }

    /// When it wants to be told the time.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.core.is_leaving()
    }

    /// The shards of which it keeps rows.
    pub(crate) fn kept(&self) -> BTreeSet<Shard> {
        self.core.kept().collect()
    }

    /// Takes in a message, as it comes over the wire.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        message: ToWorker,
        seen: &mut Seen,
    ) -> ControlFlow<End> {
        if let ToWorker::Weights { step, chunk, .. }
        | ToWorker::CodedWeights { step, chunk, .. }
        | ToWorker::SharedWeights { step, chunk } = &message
        {
            seen.coded += u64::from(matches!(message, ToWorker::CodedWeights { .. }));
            seen.shared += u64::from(matches!(message, ToWorker::SharedWeights { .. }));
            self.came.entry(*step).or_default().insert(*chunk);
            // The first that came has those that never change, and never come again.
            while self.came.len() > STEPS_NOTED
                && let Some(&second) = self.came.keys().nth(1)
            {
                self.came.remove(&second);
            }
        }
        if let ToWorker::Forget(spans) = &message {
            let is_told = |shard: &Shard| spans.iter().any(|span| holds(*span, *shard));
            self.fetched.retain(|(_, shard)| !is_told(shard));
        }
        let checked = self.core.limits().to_worker(message.into_wire());
        let message = checked.expect("the coordinator keeps the contract");
        self.handle(now, Input::Message(message))
    }

    /// Another worker says something, or this one to itself.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        sender: WorkerId,
        message: wire::PeerMessage,
        seen: &mut Seen,
    ) -> ControlFlow<End> {
        let checked = self.core.limits().from_peer(message);
        let message = checked.expect("nobody is taken to the rest of it for a lie");
        if let PeerContent::Weights { step, chunk, .. }
        | PeerContent::CodedWeights { step, chunk, .. } = &message.content
        {
            let is_coded = matches!(message.content, PeerContent::CodedWeights { .. });
            seen.passed_on += 1;
            seen.passed_on_coded += u64::from(is_coded);
            self.came.entry(*step).or_default().insert(*chunk);
        }
        self.handle(now, Input::Peer(sender, message))
    }

    /// Shows the core what happened.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> ControlFlow<End> {
        let handled = self.core.handle(self.stands_at.unwrap_or(now), input);
        let values = self.core.values();
        assert!(values <= self.values_max, "{values} values of {}", self.values_max);
        handled
    }

    /// Takes the next thing that the core wants and that others have to do, if the link takes what it says before that.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        case: &Case,
        random: &mut Random,
        seen: &mut Seen,
    ) -> ControlFlow<End, Option<Wish>> {
        while self.outbox.len() < self.visit.outbox_max {
            let Some(output) = self.core.poll(self.stands_at.unwrap_or(now))? else {
                return ControlFlow::Continue(None);
            };
            match output {
                Output::Say(message) => {
                    let is_empty = |part: &ResultPart| part.slices.is_empty();
                    let is_drop = matches!(&message, FromWorker::Part(part) if is_empty(part));
                    seen.dropped += u64::from(is_drop);
                    let is_lie = self.visit.lie == Some(Lie::Exchange) && self.has_worked;
                    let message = if is_lie { lies::sum(message, random) } else { Some(message) };
                    self.outbox.extend(message.map(FromWorker::into_wire));
                }
                Output::Tell(other, message) => self.told.push((other, message)),
                Output::Roster(members) => {
                    let names = members.iter().map(|member| member.worker).collect();
                    return ControlFlow::Continue(Some(Wish::Connect(names)));
                }
                Output::Fetch(table, shard) => {
                    let is_new = self.fetched.insert((table, shard));
                    assert!(is_new, "it let go of {table} {shard} and was not told to");
                    return ControlFlow::Continue(Some(Wish::Fetch(table, shard)));
                }
                Output::Start(job) => {
                    self.check(&job, case);
                    if !job.is_small() {
                        seen.pooled += u64::from(job.dealt().is_some());
                        seen.ahead += u64::from(job.dealt().is_none());
                        return ControlFlow::Continue(Some(Wish::Compute(job)));
                    }
                    seen.small += 1;
                    let finished = self.compute(now, job, case, random, seen);
                    if let ControlFlow::Break(end) = self.handle(now, Input::Finished(finished)) {
                        return ControlFlow::Break(end);
                    }
                }
                Output::Answered(chunk) => _ = self.pace.answer(now, chunk),
                Output::Unpaced => self.pace.lift(),
                Output::Code(precision) => self.codes = precision,
                Output::Prepared(..) | Output::Forgot(..) => {}
            }
        }
        seen.blocked += 1;
        ControlFlow::Continue(None)
    }

    /// Nothing is computed on weights that are not whole.
    fn check(&self, job: &Job, case: &Case) {
        let Some(Deal { step, .. }) = job.dealt() else { return };
        let version = case.job.schedule.version(*step);
        let is_whole = case.job.is_whole(&self.came, version);
        assert!(is_whole, "it computes on weights of {version} that are not whole");
    }

    /// Does a job; what it gives waits for the link.
    pub(crate) fn compute(
        &mut self,
        now: Instant,
        job: Job,
        case: &Case,
        random: &mut Random,
        seen: &mut Seen,
    ) -> Finished {
        let is_guess = job.dealt().is_none();
        let mut results = Vec::new();
        let finished = job.run(&|| now, &mut |result| results.push(result));
        let pass = match results.last() {
            Some(Said::Coordinator(FromWorker::Part(last))) => last.pass,
            None => return finished,
            Some(other) => panic!("an honest worker's numbers are finite: {other:?}"),
        };
        seen.guessed += u64::from(is_guess);
        let lie = self.visit.lie.filter(|_| pass >= self.lies_from);
        self.has_worked |= pass >= self.lies_from;
        let (said, told) = results::said(results, case, &self.visit, lie, random);
        self.told.extend(told);
        let place = self.outbox.len();
        self.outbox.extend(said.into_iter().map(FromWorker::into_wire));
        if lie == Some(Lie::Anything) && one_in(random, 2) {
            let said = lies::anything(case, pass, random);
            let place = place + random.below((self.outbox.len() - place) as u32 + 1) as usize;
            self.outbox.insert(place, said);
        }
        finished
    }

    /// The next message for the link.
    pub(crate) fn send(&mut self) -> Option<wire::WorkerMessage> {
        let mut message = self.outbox.pop_front()?;
        self.pace.note(&message);
        if let Some(precision) = self.codes {
            code_gradients(&mut message, precision);
        }
        Some(message)
    }

    /// Part of the rows that it asked for; `None`: their end.
    pub(crate) fn rows(&mut self, now: Instant, part: Option<Bytes>) -> ControlFlow<End> {
        self.handle(now, Input::Rows(part))
    }
}

fn holds(span: Span, shard: Shard) -> bool {
    (span.start..span.end).contains(&shard.0)
}
