//! What waits to be sent to one other worker: first in, first out, but that weights which have waited for long overtake gradients. A
//! link carries gradients and weights at the same time then, and neither way waits for the whole of the other; what nobody needs any
//! more is dropped. Never makes whoever puts something in wait.
//!
//! Gradients here take no memory of their own: a worker keeps what it sent until the chunk's new weights are there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use lockstep_proto::frame::{PeerContent, PeerMessage};

/// Most messages of a kind that wait; two passes of any network make fewer.
const MESSAGES_MAX: usize = 1 << 17;

/// Weights that waited for so long overtake the gradients before them.
const WEIGHTS_WAIT_MAX: Duration = Duration::from_millis(100);

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
    /// Messages so far.
    count: u64,
    waker: Option<Waker>,
}

/// Messages of the newest two steps or passes.
#[derive(Debug, Default)]
struct Queue {
    newest: u64,
    waiting: VecDeque<Waiting>,
}

/// A message, when it was put in and as which.
#[derive(Debug)]
struct Waiting {
    message: PeerMessage,
    number: u64,
    since: Instant,
}

/// Which step or pass a message is of.
fn time(message: &PeerMessage) -> u64 {
    match &message.content {
        PeerContent::Weights { step, .. } | PeerContent::CodedWeights { step, .. } => step.0,
        PeerContent::Slices(slices) => slices.pass.0,
    }
}

impl Queue {
    fn put(&mut self, new: Waiting) -> bool {
        let time = time(&new.message);
        if time > self.newest {
            self.newest = time;
            self.waiting.retain(|old| self::time(&old.message) + 1 >= time);
        }
        let has_room = self.waiting.len() < MESSAGES_MAX;
        if has_room && time + 1 >= self.newest {
            self.waiting.push_back(new);
        }
        has_room
    }

    fn pop(&mut self) -> Option<PeerMessage> {
        Some(self.waiting.pop_front()?.message)
    }
}

impl Outbox {
    /// Puts a message in its place. False if there is no room.
    #[must_use]
    pub(super) fn put(&self, message: PeerMessage) -> bool {
        let mut state = self.lock();
        let has_room = state.put(Instant::now(), message);
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
        self.lock().pop(Instant::now())
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<PeerMessage> {
        let mut state = self.lock();
        match state.pop(Instant::now()) {
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
    fn put(&mut self, now: Instant, message: PeerMessage) -> bool {
        let queue = match &message.content {
            PeerContent::Weights { .. } | PeerContent::CodedWeights { .. } => &mut self.weights,
            PeerContent::Slices(_) => &mut self.slices,
        };
        self.count += 1;
        queue.put(Waiting { message, number: self.count, since: now })
    }

    fn pop(&mut self, now: Instant) -> Option<PeerMessage> {
        let (weights, slices) = (self.weights.waiting.front(), self.slices.waiting.front());
        let goes_first = |weights: &Waiting, slices: &Waiting| {
            let waited = now.saturating_duration_since(weights.since);
            weights.number < slices.number || waited > WEIGHTS_WAIT_MAX
        };
        match (weights, slices) {
            (Some(weights), Some(slices)) if goes_first(weights, slices) => self.weights.pop(),
            (_, Some(_)) => self.slices.pop(),
            (_, None) => self.weights.pop(),
        }
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
    fn what_came_first_goes_first_but_weights_overtake_when_they_have_waited() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut put = |milliseconds, message| {
            assert!(state.put(start + Duration::from_millis(milliseconds), message));
        };
        put(0, weights(2));
        put(0, slices(3));
        put(10, weights(3));
        put(20, slices(4));
        put(60, weights(3));
        let mut pop = |milliseconds| state.pop(start + Duration::from_millis(milliseconds));
        assert_eq!(pop(60), Some(weights(2)));
        assert_eq!(pop(60), Some(slices(3)));
        assert_eq!(pop(60), Some(weights(3)));
        assert_eq!(pop(161), Some(weights(3)), "it waited for more than 100 ms");
        assert_eq!(pop(161), Some(slices(4)));
        assert_eq!(pop(161), None);
    }

    #[test]
    fn what_is_two_passes_or_steps_old_is_dropped() {
        let outbox = Outbox::default();
        for message in [slices(3), slices(5), slices(3), slices(4), weights(1), weights(9)] {
            assert!(outbox.put(message));
        }
        assert_eq!(taken(&outbox), [slices(5), slices(4), weights(9)]);
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
