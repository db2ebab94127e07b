//! A worker that computes what it is dealt, in pieces, on weights that it keeps in two buffers.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lockstep_proto::frame::{Deal, Done, FromWorker, NodeSums, Part, Slice, ToWorker};
use lockstep_proto::ids::{Chunk, Pass, Span, Step, Task};
use lockstep_proto::random::Random;
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use lockstep_proto::wire;

use super::case::{Case, Lie, Visit, one_in};
use super::lies;
use crate::backlog::{Next, Weights as NewWeights};

#[derive(Debug)]
pub(super) struct Worker {
    weights: Weights,
    deals: VecDeque<Deal>,
    /// The shards that it keeps.
    rows: BTreeSet<u32>,
    outgoing: VecDeque<wire::WorkerMessage>,
    leaving: bool,
    visit: Visit,
    /// It is honest before: a pass that began without it may have nobody to compare it with.
    lies_from: Pass,
}

impl Worker {
    pub(super) fn new(case: &Case, visit: Visit) -> Worker {
        Worker {
            weights: Weights::new(case.chunk_lens.len(), case.rule.precision),
            deals: VecDeque::new(),
            rows: BTreeSet::new(),
            outgoing: VecDeque::new(),
            leaving: false,
            visit,
            lies_from: Pass(0),
        }
    }

    pub(super) fn lie_from(&mut self, pass: Pass) {
        self.lies_from = pass;
    }

    /// Takes in a message; a span that is to be prepared is the caller's to answer.
    pub(super) fn receive(&mut self, next: Next<ToWorker>) -> Option<Span> {
        let message = match next {
            Next::Message(message) => message,
            Next::Weights(NewWeights { step, chunk, values }) => {
                self.weights.receive(step, chunk, &values.expect("nothing is shared"));
                return None;
            }
        };
        match message {
            ToWorker::Prepare(span) => {
                self.rows.extend(span.start..span.end);
                return Some(span);
            }
            ToWorker::Forget(spans) => spans.into_iter().for_each(|span| self.forget(span)),
            ToWorker::Deal(deal) => self.deals.push_back(deal),
            ToWorker::Weights { .. } | ToWorker::SharedWeights { .. } | ToWorker::Finish { .. } => {
                unreachable!("weights come on their own, and the simulation ends with the run")
            }
        }
        None
    }

    fn forget(&mut self, span: Span) {
        let is_wanted = |deal: &&Deal| deal.span.overlaps(span);
        let wanted = self.deals.iter().find(is_wanted);
        assert!(wanted.is_none(), "it is to let go of {span} and has {wanted:?} to do");
        self.rows.retain(|shard| !(span.start..span.end).contains(shard));
    }

    /// The shards that it keeps.
    pub(super) fn rows(&self) -> &BTreeSet<u32> {
        &self.rows
    }

    /// Finishes what is begun, then says goodbye.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// The next message of the worker, if it has anything to do.
    pub(super) fn work(&mut self, case: &Case, random: &mut Random) -> Option<wire::WorkerMessage> {
        while self.outgoing.is_empty() {
            if self.leaving {
                return Some(FromWorker::Goodbye.into_wire());
            }
            let deal = *self.deals.front()?;
            let lie = self.visit.lie.filter(|_| deal.pass >= self.lies_from);
            match self.weights.at(deal.step) {
                Version::Here(weights) => {
                    let visit = Visit { lie, ..self.visit };
                    self.rows.extend(deal.span.start..deal.span.end);
                    let results = results(case, weights, deal, &visit, random);
                    self.outgoing.extend(results.into_iter().map(FromWorker::into_wire));
                }
                Version::Coming => return None,
                Version::Gone => {
                    let done = Some(Done { span: deal.span, busy: Duration::ZERO });
                    let part = Part { done, ..part(deal) };
                    self.outgoing.push_back(FromWorker::Part(part).into_wire());
                }
            }
            if lie == Some(Lie::Anything) && one_in(random, 2) {
                let said = lies::anything(case, deal.pass, random);
                let place = random.below(self.outgoing.len() as u32 + 1);
                self.outgoing.insert(place as usize, said);
            }
            self.deals.pop_front();
        }
        self.outgoing.pop_front()
    }

    /// Whether the last word of the worker was said.
    pub(super) fn is_goodbye(said: &wire::WorkerMessage) -> bool {
        matches!(said.kind, Some(wire::worker_message::Kind::Goodbye(_)))
    }
}

/// The results of a deal, in any order and cut into any parts.
fn results(
    case: &Case,
    weights: &[Vec<f32>],
    deal: Deal,
    visit: &Visit,
    random: &mut Random,
) -> Vec<FromWorker> {
    if visit.lie == Some(Lie::Faults) && one_in(random, 3) {
        return vec![lies::fault(case, deal, random)];
    }
    let at = (deal.step, deal.task);
    let mut pieces = Vec::new();
    let push = |pieces: &mut Vec<Piece>, node, values: Option<Vec<f64>>| {
        pieces.extend(values.map(|values| {
            // The second of the case's sums is its rows.
            Piece::Sums(NodeSums { node, rows: values[1] as u64, values })
        }));
    };
    match deal.task {
        Task::Train { .. } => {
            for node in case.tree().nodes(deal.span) {
                push(&mut pieces, node, case.sums(weights, at, node));
                for chunk in (0..weights.len() as u32).map(Chunk) {
                    let gradient = case.gradient(weights, at, node, chunk);
                    pieces.extend(gradient.map(|gradient| {
                        let values = case.rule.precision.encode(&gradient);
                        Piece::Slice(Slice { node, chunk, values })
                    }));
                }
            }
        }
        Task::Evaluate { .. } => {
            for node in deal.span.shards().map(|shard| Node::leaf(shard.0)) {
                push(&mut pieces, node, case.sums(weights, at, node));
            }
        }
    }
    random.shuffle(&mut pieces);
    let mut parts = Vec::new();
    let mut part = part(deal);
    for mut piece in pieces {
        match visit.lie {
            Some(Lie::Values) if one_in(random, 3) => piece.spoil(),
            Some(Lie::HollowDone | Lie::Withholds) if one_in(random, 3) => continue,
            _ => {}
        }
        match piece {
            Piece::Slice(slice) => part.slices.push(slice),
            Piece::Sums(sums) => part.sums.push(sums),
        }
        if one_in(random, 2) {
            parts.push(FromWorker::Part(part.clone()));
            part.slices.clear();
            part.sums.clear();
        }
    }
    let busy = Duration::from_millis(u64::from(visit.pause_ms_max * deal.span.len()));
    let is_withheld = visit.lie == Some(Lie::Withholds) && one_in(random, 3);
    part.done = (!is_withheld).then_some(Done { span: deal.span, busy });
    parts.push(FromWorker::Part(part));
    parts
}

fn part(deal: Deal) -> Part {
    Part { pass: deal.pass, slices: Vec::new(), sums: Vec::new(), done: None }
}

impl Piece {
    /// Flips a bit somewhere.
    fn spoil(&mut self) {
        match self {
            Piece::Slice(slice) => {
                let mut bytes = slice.values.to_vec();
                bytes[0] ^= 1;
                slice.values = bytes.into();
            }
            Piece::Sums(sums) => {
                sums.values[0] = f64::from_bits(sums.values[0].to_bits() ^ 1);
            }
        }
    }
}

enum Piece {
    Slice(Slice),
    Sums(NodeSums),
}

enum Version<'a> {
    Here(&'a [Vec<f32>]),
    Coming,
    Gone,
}

/// Two versions of the weights. A whole one stays until a chunk of the version after the next comes: by then no
/// pass can ask for it.
#[derive(Debug)]
struct Weights {
    versions: [Option<Partial>; 2],
    chunks: usize,
    precision: Precision,
}

#[derive(Debug)]
struct Partial {
    step: Step,
    slices: Vec<Vec<f32>>,
}

impl Partial {
    fn is_whole(&self) -> bool {
        self.slices.iter().all(|slice| !slice.is_empty())
    }
}

impl Weights {
    fn new(chunks: usize, precision: Precision) -> Weights {
        Weights { versions: [None, None], chunks, precision }
    }

    fn at(&self, step: Step) -> Version<'_> {
        let whole = || self.versions.iter().flatten().filter(|version| version.is_whole());
        match whole().find(|version| version.step == step) {
            Some(version) => Version::Here(&version.slices),
            None if whole().any(|version| version.step > step) => Version::Gone,
            None => Version::Coming,
        }
    }

    fn receive(&mut self, step: Step, chunk: Chunk, frame: &Bytes) {
        let same = |version: &Option<Partial>| version.as_ref().is_some_and(|v| v.step == step);
        let place = self.versions.iter().position(same).unwrap_or_else(|| {
            let age = |version: &Option<Partial>| version.as_ref().map(|v| v.step);
            let older = usize::from(age(&self.versions[1]) < age(&self.versions[0]));
            let slices = vec![Vec::new(); self.chunks];
            self.versions[older] = Some(Partial { step, slices });
            older
        });
        let version = self.versions[place].as_mut().expect("it was there or was just made");
        let slice = &mut version.slices[chunk.0 as usize];
        slice.resize(frame.len() / self.precision.width(), 0.0);
        self.precision.copy(frame, slice);
    }
}
