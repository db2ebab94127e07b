//! A worker that computes what it is dealt, in pieces, on weights that it keeps in two buffers.

use std::collections::VecDeque;

use bytes::Bytes;
use lockstep_proto::frame::{Deal, FromWorker, NodeSums, Part, Slice, ToWorker};
use lockstep_proto::ids::{Chunk, Span, Step, Task};
use lockstep_proto::random::Random;
use lockstep_proto::tree::Node;
use lockstep_proto::values;

use super::case::{Case, one_in};

#[derive(Debug)]
pub(super) struct Worker {
    weights: Weights,
    deals: VecDeque<Deal>,
    outgoing: VecDeque<FromWorker>,
    leaving: bool,
}

impl Worker {
    pub(super) fn new(chunks: usize) -> Worker {
        Worker {
            weights: Weights::new(chunks),
            deals: VecDeque::new(),
            outgoing: VecDeque::new(),
            leaving: false,
        }
    }

    /// Takes in a message; a span that is to be prepared is the caller's to answer.
    pub(super) fn receive(&mut self, message: ToWorker) -> Option<Span> {
        match message {
            ToWorker::Prepare(span) => return Some(span),
            ToWorker::Deal(deal) => self.deals.push_back(deal),
            ToWorker::Weights { step, chunk, values } => self.weights.receive(step, chunk, &values),
            ToWorker::Finish { .. } => unreachable!("the simulation ends with the run"),
        }
        None
    }

    /// Finishes what is begun, then says goodbye.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// The next message of the worker, if it has anything to do.
    pub(super) fn work(&mut self, case: &Case, random: &mut Random) -> Option<FromWorker> {
        while self.outgoing.is_empty() {
            if self.leaving {
                return Some(FromWorker::Goodbye);
            }
            let deal = *self.deals.front()?;
            match self.weights.at(deal.step) {
                Version::Here(weights) => {
                    self.outgoing.extend(results(case, weights, deal, random))
                }
                Version::Coming => return None,
                Version::Gone => {}
            }
            self.deals.pop_front();
        }
        self.outgoing.pop_front()
    }
}

/// The results of a deal, in any order and cut into any parts.
fn results(case: &Case, weights: &[Vec<f32>], deal: Deal, random: &mut Random) -> Vec<FromWorker> {
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
                        Piece::Slice(Slice { node, chunk, values: values::encode(&gradient) })
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
    let mut part = Part { pass: deal.pass, slices: Vec::new(), sums: Vec::new() };
    for piece in pieces {
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
    parts.push(FromWorker::Part(part));
    parts
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
    fn new(chunks: usize) -> Weights {
        Weights { versions: [None, None], chunks }
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
        version.slices[chunk.0 as usize] = values::decode(frame).expect("whole values");
    }
}
