//! What is still to be said to one worker, and in which order.
//!
//! It is bounded: a worker that reads slowly holds back only weights of the newest two steps, since older ones are dropped
//! when newer ones come, and a number of short messages. Deals go ahead of weights, so a worker knows what to do with
//! weights before they are complete. Knows no streams.

use std::collections::VecDeque;

use bytes::Bytes;
use lockstep_proto::ids::{Chunk, Step};

/// Most deals and other short messages that wait for a worker. One step needs a handful.
pub const MESSAGES_MAX: usize = 4096;

/// See the module's text.
#[derive(Debug)]
pub struct Backlog<M> {
    messages_max: usize,
    messages: VecDeque<M>,
    weights: VecDeque<Weights>,
}

/// A chunk of some weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Their version.
    pub step: Step,
    /// The part of the flat vector.
    pub chunk: Chunk,
    /// `None` where it is only named.
    pub values: Option<Bytes>,
}

/// What is said next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<M> {
    /// A short message.
    Message(M),
    /// A chunk of weights.
    Weights(Weights),
}

impl<M> Backlog<M> {
    /// Room for so many short messages.
    pub fn new(messages_max: usize) -> Backlog<M> {
        Backlog { messages_max, messages: VecDeque::new(), weights: VecDeque::new() }
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
        while self.weights.front().is_some_and(|old| old.step.0 + 2 <= weights.step.0) {
            self.weights.pop_front();
        }
        self.weights.push_back(weights);
    }

    /// What is to be said next, if anything is.
    pub fn pop(&mut self) -> Option<Next<M>> {
        let message = self.messages.pop_front().map(Next::Message);
        message.or_else(|| self.weights.pop_front().map(Next::Weights))
    }

    /// Whether weights wait.
    pub fn has_weights(&self) -> bool {
        !self.weights.is_empty()
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
        let mut backlog = Backlog::new(2);
        let weights = |step, chunk| Weights {
            step: Step(step),
            chunk: Chunk(chunk),
            values: Some(Bytes::new()),
        };
        for step in 1..=3 {
            for chunk in 0..2 {
                backlog.send_weights(weights(step, chunk));
            }
        }
        assert!(backlog.say('a') && backlog.say('b') && !backlog.say('c'));
        let said: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        let newest = [weights(2, 0), weights(2, 1), weights(3, 0), weights(3, 1)];
        let all: Vec<_> = [Next::Message('a'), Next::Message('b')]
            .into_iter()
            .chain(newest.map(Next::Weights))
            .collect();
        assert_eq!(said, all);
    }
}
