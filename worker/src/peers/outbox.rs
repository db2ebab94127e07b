//! What waits to be sent to one other worker. New weights overtake gradients; what nobody needs any more is dropped. Never makes
//! whoever puts something in wait.
//!
//! Gradients here take no memory of their own: a worker keeps what it sent until the chunk's new weights are there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use lockstep_proto::frame::{PeerContent, PeerMessage};

/// Most messages of a kind that wait; two passes of any network make fewer.
const MESSAGES_MAX: usize = 1 << 17;

/// A queue that one task takes from.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    // A std mutex: held for a push, a pop, or to drop what is old, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    weights: Queue,
    slices: Queue,
    waker: Option<Waker>,
}

/// Messages of the newest two steps or passes.
#[derive(Debug, Default)]
struct Queue {
    newest: u64,
    messages: VecDeque<PeerMessage>,
}

/// Which step or pass a message is of.
fn time(message: &PeerMessage) -> u64 {
    match &message.content {
        PeerContent::Weights { step, .. } | PeerContent::CodedWeights { step, .. } => step.0,
        PeerContent::Slices(slices) => slices.pass.0,
    }
}

impl Queue {
    fn put(&mut self, message: PeerMessage) -> bool {
        let time = time(&message);
        if time > self.newest {
            self.newest = time;
            self.messages.retain(|old| self::time(old) + 1 >= time);
        }
        let has_room = self.messages.len() < MESSAGES_MAX;
        if has_room && time + 1 >= self.newest {
            self.messages.push_back(message);
        }
        has_room
    }
}

impl Outbox {
    /// Puts a message in its place. False if there is no room.
    #[must_use]
    pub(super) fn put(&self, message: PeerMessage) -> bool {
        let mut state = self.lock();
        let queue = match &message.content {
            PeerContent::Weights { .. } | PeerContent::CodedWeights { .. } => &mut state.weights,
            PeerContent::Slices(_) => &mut state.slices,
        };
        let has_room = queue.put(message);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        has_room
    }

    /// What is to be sent next, as soon as there is something.
    pub(super) async fn next(&self) -> PeerMessage {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// What is to be sent next, if there is anything.
    pub(super) fn try_next(&self) -> Option<PeerMessage> {
        self.lock().pop()
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<PeerMessage> {
        let mut state = self.lock();
        match state.pop() {
            Some(message) => Poll::Ready(message),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<PeerMessage> {
        self.weights.messages.pop_front().or_else(|| self.slices.messages.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lockstep_proto::frame::PeerSlices;
    use lockstep_proto::ids::{Chunk, Pass, Step};

    fn slices(pass: u64) -> PeerMessage {
        let slices = PeerSlices { pass: Pass(pass), route: 1, slices: Vec::new() };
        PeerMessage { execution: 1, content: PeerContent::Slices(slices) }
    }

    fn weights(step: u64) -> PeerMessage {
        let (step, chunk, values) = (Step(step), Chunk(0), Bytes::new());
        PeerMessage { execution: 1, content: PeerContent::Weights { step, chunk, values } }
    }

    fn taken(outbox: &Outbox) -> Vec<PeerMessage> {
        std::iter::from_fn(|| outbox.try_next()).collect()
    }

    #[test]
    fn weights_overtake_gradients_and_each_kind_keeps_its_order() {
        let outbox = Outbox::default();
        for message in [slices(3), slices(4), weights(2), weights(3)] {
            assert!(outbox.put(message));
        }
        assert_eq!(taken(&outbox), [weights(2), weights(3), slices(3), slices(4)]);
    }

    #[test]
    fn what_is_two_passes_or_steps_old_is_dropped() {
        let outbox = Outbox::default();
        for message in [slices(3), slices(5), slices(3), slices(4), weights(1), weights(9)] {
            assert!(outbox.put(message));
        }
        assert_eq!(taken(&outbox), [weights(9), slices(5), slices(4)]);
    }

    #[test]
    fn there_is_an_end_to_what_waits() {
        let outbox = Outbox::default();
        assert!((0..MESSAGES_MAX).all(|_| outbox.put(slices(1))));
        assert!(!outbox.put(slices(1)));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let outbox = Outbox::default();
        let (taken, ()) = tokio::join!(outbox.next(), async { assert!(outbox.put(weights(1))) });
        assert_eq!(taken, weights(1));
    }
}
