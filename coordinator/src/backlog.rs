//! What is still to be said to one worker, and in which order.
//!
//! It is bounded: a worker that reads slowly holds back only weights of the newest two steps, since older ones are dropped
//! when newer ones come, and a number of short messages. Deals go ahead of weights, so a worker knows what to do with
//! weights before they are complete. Knows no streams.
//!
//! Weights can be said as what changed since the step before to a worker that was told all of that step, or who passes it on: what is
//! said comes in the order in which it was said, and a worker keeps whole weights until the next are whole. Weights that never change are said once,
//! before others, and never dropped.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use lockstep_proto::coding;
use lockstep_proto::frame::{NamedWeights, ToWorker};
use lockstep_proto::ids::{Chunk, Step, WorkerId};
use lockstep_proto::values::Precision;

/// Most deals and other short messages that wait for a worker. One step needs a handful.
pub const MESSAGES_MAX: usize = 4096;

/// See the module's text.
#[derive(Debug)]
pub struct Backlog<M> {
    messages_max: usize,
    messages: VecDeque<M>,
    weights: VecDeque<Weights>,
    /// Those that never change.
    lasting: VecDeque<Weights>,
    /// Of all weights that change.
    chunks: usize,
    /// Of which step weights were said last, and how many chunks with their values.
    said: (Step, usize),
    /// The newest step of which all was said.
    whole: Option<Step>,
}

/// A chunk of some weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Their version.
    pub step: Step,
    /// The part of the flat vector.
    pub chunk: Chunk,
    /// How the values get there.
    pub way: Way,
    /// Whether they never change.
    pub is_lasting: bool,
}

/// How values get to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// With the message, and on to others.
    Sent(Arc<ChunkValues>, Arc<[WorkerId]>),
    /// In memory.
    Shared,
    /// From another worker, with this digest.
    PassedOn {
        /// Who passes them on.
        home: WorkerId,
        /// See [`digest`](lockstep_proto::frame::digest).
        digest: [u8; 32],
    },
}

impl Weights {
    /// As a message; as what changed since the step before, if whoever is told `has_before` and that is shorter. Takes a
    /// while: this is where weights are coded, once for all who are sent them.
    pub fn into_message(self, has_before: bool) -> ToWorker {
        let Weights { step, chunk, way, .. } = self;
        let (values, pass_on) = match way {
            Way::Sent(values, pass_on) => (values, pass_on.to_vec()),
            Way::Shared => return ToWorker::SharedWeights { step, chunk },
            Way::PassedOn { home, digest } => {
                return ToWorker::NamedWeights(NamedWeights { step, chunk, home, digest });
            }
        };
        match values.coded_if(has_before) {
            Some(coded) => ToWorker::CodedWeights { step, chunk, coded, pass_on },
            None => ToWorker::Weights { step, chunk, values: values.frame.clone(), pass_on },
        }
    }
}

/// The values of a chunk of some weights, as all who are sent them share them.
#[derive(Debug, PartialEq, Eq)]
pub struct ChunkValues {
    /// In this precision.
    pub precision: Precision,
    /// As workers see them.
    pub frame: Bytes,
    /// Those of the step before, if what changed may be sent instead.
    pub before: Option<Bytes>,
    /// What changed, once somebody asked.
    pub coded: OnceLock<Option<Bytes>>,
}

impl ChunkValues {
    /// What changed, for whoever has what was before; for others nothing is coded.
    fn coded_if(&self, has_before: bool) -> Option<Bytes> {
        let before = self.before.as_ref().filter(|_| has_before)?;
        self.coded.get_or_init(|| coding::code(self.precision, &self.frame, Some(before))).clone()
    }
}

/// What is said next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<M> {
    /// A short message.
    Message(M),
    /// A chunk of weights, and whether all of the step before was said.
    Weights(Weights, bool),
}

impl<M> Backlog<M> {
    /// Room for so many short messages; weights that change are so many chunks.
    pub fn new(messages_max: usize, chunks: usize) -> Backlog<M> {
        Backlog {
            messages_max,
            messages: VecDeque::new(),
            weights: VecDeque::new(),
            lasting: VecDeque::new(),
            chunks,
            said: (Step(0), 0),
            whole: None,
        }
    }

    /// Queues a short message. False if there is no room for it.
    #[must_use]
    pub fn say(&mut self, message: M) -> bool {
        let has_room = self.messages.len() < self.messages_max;
        if has_room {
            self.messages.push_back(message);
        }
        has_room
    }

    /// Queues a chunk of weights, and drops what is two steps older.
    pub fn send_weights(&mut self, weights: Weights) {
        if weights.is_lasting {
            return self.lasting.push_back(weights);
        }
        while self.weights.front().is_some_and(|old| old.step.0 + 2 <= weights.step.0) {
            self.weights.pop_front();
        }
        self.weights.push_back(weights);
    }

    /// What is to be said next, if anything is.
    pub fn pop(&mut self) -> Option<Next<M>> {
        if let Some(message) = self.messages.pop_front() {
            return Some(Next::Message(message));
        }
        if let Some(weights) = self.lasting.pop_front() {
            return Some(Next::Weights(weights, false));
        }
        let weights = self.weights.pop_front()?;
        let step = weights.step;
        let has_before = self.whole.is_some_and(|whole| whole.0 + 1 == step.0);
        let before = if self.said.0 == step { self.said.1 } else { 0 };
        // Who reads some in shared memory may come too late there. What others pass on may not come in time either, but
        // whoever lacks what was before asks.
        let count = before + usize::from(!matches!(weights.way, Way::Shared));
        self.said = (step, count);
        if count == self.chunks {
            self.whole = Some(step);
        }
        Some(Next::Weights(weights, has_before))
    }

    /// Whether weights wait.
    pub fn has_weights(&self) -> bool {
        !self.weights.is_empty() || !self.lasting.is_empty()
    }

    /// The short messages that wait.
    pub fn messages(&self) -> impl Iterator<Item = &M> {
        self.messages.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_first_and_old_weights_are_dropped() {
        let mut backlog = Backlog::new(2, 2);
        let weights = |step, chunk| Weights {
            step: Step(step),
            chunk: Chunk(chunk),
            way: Way::Sent(values(&[]), Vec::new().into()),
            is_lasting: chunk == 2,
        };
        backlog.send_weights(weights(0, 2));
        for step in 1..=3 {
            for chunk in 0..2 {
                backlog.send_weights(weights(step, chunk));
            }
        }
        assert!(backlog.say('a') && backlog.say('b') && !backlog.say('c'));
        let said: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        let newest = [weights(0, 2), weights(2, 0), weights(2, 1), weights(3, 0), weights(3, 1)];
        let all: Vec<_> = [Next::Message('a'), Next::Message('b')]
            .into_iter()
            .chain(newest.map(|weights| {
                let has_before = weights.step == Step(3);
                Next::Weights(weights, has_before)
            }))
            .collect();
        assert_eq!(said, all);
    }

    fn values(frame: &[f32]) -> Arc<ChunkValues> {
        let (precision, coded) = (Precision::F32, OnceLock::new());
        let [before, frame] =
            [&vec![0.5; frame.len()], frame].map(|values| precision.encode(values));
        Arc::new(ChunkValues { precision, frame, before: Some(before), coded })
    }

    /// What changed is said only to whoever was told all of the step before.
    #[test]
    fn changes_follow_whole_weights() {
        let values = values(&[0.25; 100]);
        let mut backlog: Backlog<char> = Backlog::new(1, 2);
        let mut said = |step, chunk, values: Option<&Arc<ChunkValues>>| {
            let sent = |values: &Arc<ChunkValues>| Way::Sent(values.clone(), Vec::new().into());
            let way = values.map_or(Way::Shared, sent);
            let (step, chunk) = (Step(step), Chunk(chunk));
            backlog.send_weights(Weights { step, chunk, way, is_lasting: false });
            let Some(Next::Weights(weights, has_before)) = backlog.pop() else { panic!("nothing") };
            matches!(weights.into_message(has_before), ToWorker::CodedWeights { .. })
        };
        let is_coded: Vec<bool> = [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (3, 0), (3, 1), (4, 1)]
            .map(|(step, chunk)| said(step, chunk, Some(&values)))
            .into();
        // Of step 2 a chunk was left out.
        assert_eq!(is_coded, [false, false, true, true, true, false, false, true]);
        // Of step 5 a chunk may not have been read in time.
        assert!(!said(5, 0, None) && !said(5, 1, Some(&values)) && !said(6, 0, Some(&values)));
    }

    /// Who is told who passes the rest on has what changed follow on it.
    #[test]
    fn changes_follow_weights_that_others_pass_on() {
        let mut backlog: Backlog<char> = Backlog::new(1, 2);
        let mut has_before = |step, chunk, way| {
            let (step, chunk) = (Step(step), Chunk(chunk));
            backlog.send_weights(Weights { step, chunk, way, is_lasting: false });
            matches!(backlog.pop(), Some(Next::Weights(_, true)))
        };
        let sent = || Way::Sent(values(&[1.0]), Vec::new().into());
        let passed_on = || Way::PassedOn { home: WorkerId(1), digest: [0; 32] };
        assert!(!has_before(1, 0, sent()) && !has_before(1, 1, passed_on()));
        assert!(has_before(2, 0, sent()) && has_before(2, 1, passed_on()));
        assert!(has_before(3, 1, sent()) && !has_before(4, 0, sent()));
    }
}
