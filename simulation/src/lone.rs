//! A worker alone with a coordinator that lies: any message in any order, rows that are none, a time that jumps. It ends with
//! an error or goes on; it never panics, computes on weights that are not whole, says what no message can be, or takes more
//! memory than the run that it was welcomed to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstep_proto::coding;
use lockstep_proto::ids::{Chunk, Shard, Step, Table, WorkerId};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::values;
use lockstep_proto::wire::{self, coordinator_message::Kind};
use lockstep_worker::core::{
    Core, DEALS_MAX, End, Ended, Finished, Input, Job, Output, Said, Shared,
};
use lockstep_worker::{Lost, WorkerError};

use crate::draw::one_in;
use crate::job;
use crate::memory::Memory;

/// What happens to a worker at most.
const HAPPENINGS_MAX: u32 = 400;

/// How often workers came to what, over many seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Deals that were computed.
    pub computed: u64,
    /// Batches that were run ahead.
    pub ahead: u64,
    /// Workers that found out the coordinator.
    pub found_out: u64,
    /// Of these: that were dealt more than can wait.
    pub overdealt: u64,
    /// That lost it, or were told of an end.
    pub lost: u64,
    /// That left.
    pub left: u64,
    /// That went on to the end.
    pub went_on: u64,
}

impl Fate {
    /// Both.
    pub fn and(self, other: Fate) -> Fate {
        Fate {
            computed: self.computed + other.computed,
            ahead: self.ahead + other.ahead,
            found_out: self.found_out + other.found_out,
            overdealt: self.overdealt + other.overdealt,
            lost: self.lost + other.lost,
            left: self.left + other.left,
            went_on: self.went_on + other.went_on,
        }
    }

    /// Whether a thousand seeds went where they should.
    pub fn is_enough(self) -> bool {
        let Fate { computed, ahead, found_out, overdealt, lost, left, went_on } = self;
        [computed, ahead, found_out, overdealt, lost, left, went_on].iter().all(|&count| count >= 5)
    }
}

struct Lone {
    job: job::Job,
    random: Random,
    core: Core,
    memory: Option<Memory>,
    now: Instant,
    /// The step around which the coordinator's words are.
    step: u64,
    asked: Option<(Table, Shard)>,
    /// All of its rows were sent.
    came_rows: bool,
    at_work: Option<Job>,
    finished: Option<Finished>,
    came: BTreeMap<Step, BTreeSet<Chunk>>,
    fate: Fate,
}

/// What becomes of the worker of a seed.
pub fn serve_a_liar(seed: u64) -> Fate {
    let mut random = Random::new(seed, Purpose::Split, 2, 0);
    let job = job::Job::drawn(seed, &mut random);
    let small_flops_max = [0, 500, u64::MAX][random.below(3) as usize];
    let welcome = job.welcome(WorkerId(1), false, 0);
    let core = Core::new(&welcome, job.network.clone(), None, small_flops_max);
    let memory = one_in(&mut random, 2).then(|| Memory::new(job.precision));
    let (now, came, fate) = (Instant::now(), BTreeMap::new(), Fate::default());
    let (asked, at_work, finished, came_rows) = (None, None, None, false);
    let mut lone = Lone {
        job,
        random,
        core,
        memory,
        now,
        step: 0,
        asked,
        came_rows,
        at_work,
        finished,
        came,
        fate,
    };
    let end = lone.live();
    let fate = &mut lone.fate;
    match end {
        None => fate.went_on += 1,
        Some(Ok(Ended::Finished)) => fate.lost += 1,
        Some(Ok(_)) => fate.left += 1,
        Some(Err(WorkerError::Protocol(reason))) => {
            fate.found_out += 1;
            fate.overdealt += u64::from(reason.contains("deals at once"));
        }
        Some(Err(WorkerError::Lost(_) | WorkerError::RunFailed(_))) => fate.lost += 1,
        Some(end) => panic!("a lie led to {end:?}"),
    }
    *fate
}

impl Lone {
    fn live(&mut self) -> Option<End> {
        if let Some(memory) = self.memory.clone() {
            let shared = Shared { lane: None, weights: Box::new(memory) };
            assert!(self.core.handle(self.now, Input::Shares(shared)).is_continue());
        }
        let happenings = 20 + self.random.below(HAPPENINGS_MAX);
        for _ in 0..happenings {
            self.now += Duration::from_millis(self.random.below(20).into());
            let inputs = self.inputs();
            for input in inputs {
                if let ControlFlow::Break(end) = self.core.handle(self.now, input) {
                    return Some(end);
                }
                if let ControlFlow::Break(end) = self.carry() {
                    return Some(end);
                }
            }
            let (values, most) = (self.core.values(), self.job.values_max());
            assert!(values <= most, "{values} values of {most}");
        }
        None
    }

    /// Does what the core wants.
    fn carry(&mut self) -> ControlFlow<End> {
        while let Some(output) = self.core.poll(self.now)? {
            match output {
                Output::Say(message) => self.check(message.into_wire()),
                Output::Fetch(table, shard) => {
                    assert!(self.asked.replace((table, shard)).is_none(), "it fetches two at once");
                }
                Output::Start(job) => {
                    let busy = self.at_work.is_some() || self.finished.is_some();
                    assert!(!busy, "two jobs at once");
                    if let Some(deal) = job.dealt() {
                        let version = self.job.schedule.version(deal.step);
                        let is_whole = self.job.is_whole(&self.came, version);
                        assert!(is_whole, "weights of {version} that are not whole");
                    }
                    if job.is_small() {
                        let finished = self.compute(job);
                        self.core.handle(self.now, Input::Finished(finished))?;
                    } else {
                        self.fate.ahead += u64::from(job.dealt().is_none());
                        self.at_work = Some(job);
                    }
                }
                Output::Tell(_, message) => self.check_peer(message.into_wire()),
                Output::Roster(_) | Output::Answered(_) | Output::Unpaced | Output::Code(_) => {}
                Output::Prepared(..) | Output::Forgot(..) => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn compute(&mut self, job: Job) -> Finished {
        let (now, mut results) = (self.now, Vec::new());
        let finished = job.run(&|| now, &mut |said| results.push(said));
        self.fate.computed += u64::from(!results.is_empty());
        for said in results {
            match said {
                Said::Coordinator(said) => self.check(said.into_wire()),
                Said::Peer(_, message) => self.check_peer(message.into_wire()),
            }
        }
        finished
    }

    /// That an honest coordinator could take it.
    fn check(&self, said: wire::WorkerMessage) {
        let checked = self.core.limits().from_worker(said);
        assert!(checked.is_ok(), "{checked:?}");
    }

    /// That an honest worker could take it.
    fn check_peer(&self, said: wire::PeerMessage) {
        let checked = self.core.limits().from_peer(said);
        assert!(checked.is_ok(), "{checked:?}");
    }

    /// What happens next.
    fn inputs(&mut self) -> Vec<Input> {
        if let Some(finished) = self.finished.take_if(|_| one_in(&mut self.random, 2)) {
            return vec![Input::Finished(finished)];
        }
        if let Some(job) = self.at_work.take_if(|_| one_in(&mut self.random, 2)) {
            self.finished = Some(self.compute(job));
            return Vec::new();
        }
        if self.asked.is_some() {
            return vec![self.rows()];
        }
        if self.core.is_leaving() && one_in(&mut self.random, 8) {
            return vec![Input::Ended(WorkerError::Lost(Lost::Dismissed))];
        }
        match self.random.below(4000) {
            0 => vec![Input::Ended(WorkerError::Lost(Lost::Vanished))],
            1 => vec![Input::Unsaid],
            10..16 if !self.core.is_leaving() => vec![Input::Stop],
            3 => {
                self.now += Duration::from_secs(25);
                vec![Input::Timeout]
            }
            4 => vec![Input::Rows(Some(Bytes::from_static(&[1, 2, 3, 4])))],
            5 => self.many_deals(),
            _ if !self.core.reads() => Vec::new(),
            6 => vec![self.checked(self.nonsense())],
            _ => {
                let message = self.message();
                vec![self.checked(Some(message))]
            }
        }
    }

    /// More deals than can wait, for weights that do not come.
    fn many_deals(&mut self) -> Vec<Input> {
        let deal = |lone: &mut Lone| match lone.deal() {
            Kind::Deal(deal) => Kind::Deal(wire::Deal { step: u64::from(u32::MAX), ..deal }),
            kind => kind,
        };
        let deals = (0..=DEALS_MAX).map(|_| {
            let deal = deal(self);
            self.checked(Some(deal))
        });
        deals.collect()
    }

    fn checked(&self, kind: Option<Kind>) -> Input {
        match self.core.limits().to_worker(wire::CoordinatorMessage { kind }) {
            Ok(message) => Input::Message(message),
            Err(error) => Input::Broken(error.to_string()),
        }
    }

    /// Something for the shard that was asked for: mostly its rows.
    fn rows(&mut self) -> Input {
        let (table, shard) = self.asked.expect("it was asked for");
        let rows = self.job.rows(table, shard);
        let part = match self.random.below(2000) {
            0 => rows.slice(..rows.len() - 1),
            1 => Bytes::from([&rows[..], &rows[..]].concat()),
            // Values that are no rows of anything.
            2 => {
                let odd = [f32::NAN, f32::INFINITY, -1.0, 1e30, 0.5];
                let odd = |_| odd[self.random.below(5) as usize];
                values::encode(&(0..rows.len() / 4).map(odd).collect::<Vec<_>>())
            }
            3 => {
                self.now += Duration::from_secs(31);
                return Input::Timeout;
            }
            4 => {
                self.asked = None;
                return Input::NoRows(WorkerError::Lost(Lost::Broken("cut".to_string())));
            }
            5..20 => Bytes::new(),
            20..25 => rows.slice(..4),
            25..30 => {
                self.asked = None;
                return Input::Rows(None);
            }
            _ if self.came_rows => {
                (self.asked, self.came_rows) = (None, false);
                return Input::Rows(None);
            }
            _ => {
                self.came_rows = true;
                rows
            }
        };
        Input::Rows(Some(part))
    }

    fn nonsense(&self) -> Option<Kind> {
        match self.step % 3 {
            0 => None,
            1 => Some(Kind::Welcome(wire::Welcome::default())),
            _ => Some(Kind::Weights(wire::Weights { chunk: u32::MAX, ..Default::default() })),
        }
    }

    /// Any message that might be one of the run, mostly.
    fn message(&mut self) -> Kind {
        match self.random.below(2000) {
            0 => {
                let (error, stopped) = (String::new(), one_in(&mut self.random, 2));
                Kind::Finish(wire::Finish { error, stopped })
            }
            1..100 => Kind::Prepare(self.span()),
            100..160 => Kind::Forget(wire::Spans { spans: vec![self.span(), self.span()] }),
            160..600 => self.deal(),
            600..610 => {
                self.step += u64::from(self.random.below(3));
                self.deal()
            }
            610..900 => self.weights(),
            900..910 => Kind::Coding(wire::Coding { is_on: one_in(&mut self.random, 2) }),
            _ => self.whole_weights(),
        }
    }

    fn span(&mut self) -> wire::Span {
        let shards = self.job.tree().shards();
        let (one, other) = (self.random.below(shards), self.random.below(shards));
        wire::Span { start: one.min(other), end: one.max(other) + 1 }
    }

    fn deal(&mut self) -> Kind {
        let schedule = &self.job.schedule;
        let mut tables = vec![wire::Table::Train; 4];
        tables.extend(schedule.validation_rows.map(|_| wire::Table::Validation));
        tables.extend(schedule.test_rows.map(|_| wire::Table::Test));
        if one_in(&mut self.random, 2000) {
            tables = vec![wire::Table::Validation];
        }
        let table = tables[self.random.below(tables.len() as u32) as usize].into();
        let batch = u64::from(self.random.below(schedule.train.count() as u32));
        let step = (self.step + u64::from(self.random.below(3))).saturating_sub(1);
        let (span, epoch) = (Some(self.span()), 1 + self.random.below(2));
        let (pass, step) = (step, step * self.job.schedule.steps_per_update);
        Kind::Deal(wire::Deal { pass, step, epoch, batch, table, span, ..Default::default() })
    }

    /// The first chunk of some weights that did not come.
    fn whole_weights(&mut self) -> Kind {
        let chunks = self.job.network.layout().chunks().len() as u32;
        let step = self.step + u64::from(self.random.below(2));
        let came = self.came.entry(Step(step)).or_default();
        let missing = (0..chunks).find(|&chunk| !came.contains(&Chunk(chunk)));
        self.step += u64::from(missing.is_none());
        let chunk = missing.unwrap_or(0);
        self.chunk(step, chunk)
    }

    fn weights(&mut self) -> Kind {
        let chunks = self.job.network.layout().chunks().len() as u32;
        let step = (self.step + u64::from(self.random.below(4))).saturating_sub(1);
        let chunk = self.random.below(chunks);
        self.chunk(step, chunk)
    }

    fn chunk(&mut self, step: u64, chunk: u32) -> Kind {
        let len = self.job.network.layout().chunks()[chunk as usize].range.len();
        let odd = one_in(&mut self.random, 50);
        let scale = if odd { f32::MAX } else { 1.0 };
        let values: Vec<f32> = (0..len).map(|_| scale * (self.random.unit_f32() - 0.5)).collect();
        let values = self.job.precision.encode(&values);
        let shared = self.memory.is_some() && one_in(&mut self.random, 2);
        let mut is_there = true;
        if let Some(memory) = self.memory.as_ref().filter(|_| shared) {
            is_there = !one_in(&mut self.random, 8);
            if is_there {
                memory.write(Step(step), Chunk(chunk), values.clone());
            }
            is_there |= memory.holds(Step(step), Chunk(chunk));
        }
        if is_there {
            self.came.entry(Step(step)).or_default().insert(Chunk(chunk));
        }
        let values = if shared { Bytes::new() } else { values };
        let mut weights = wire::Weights { step, chunk, values, shared, ..Default::default() };
        if !shared && step > 0 && one_in(&mut self.random, 8) {
            // Anything may come of it, but values.
            let before = vec![0x3f; weights.values.len()];
            let coded = coding::code(self.job.precision, &weights.values, Some(&before));
            weights.coded = coded.unwrap_or_default();
        }
        Kind::Weights(weights)
    }
}
