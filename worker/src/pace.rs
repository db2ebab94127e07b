//! Keeps a worker from running ahead of the others on a link that they share.
//!
//! A chunk's new weights come back once every worker has sent its part of it: that answers the chunk. Workers whose gradients
//! go faster than others' only make the answers to those wait, and the way back idle, so a worker holds back while too many
//! of its chunks are unanswered. Never for long: where answers stop coming (a worker was lost), nothing is held back. And not
//! at all where none can come yet: with clipping every chunk waits for the norm, which takes all of them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lockstep_proto::wire::{self, worker_message::Kind};
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;

/// Most chunks in a row without an answer: enough for links of 100 ms and 40 MB/s a worker.
const UNANSWERED_MAX: usize = 16;

/// Longest pause since the last answer.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What was sent and answered.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    // A std mutex: held for a few additions, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pass: u64,
    /// Chunks that were sent after the last one that was answered.
    unanswered: VecDeque<u32>,
    answered_at: Option<Instant>,
    /// Nothing is ever held back.
    is_lifted: bool,
    waker: Option<Waker>,
}

impl Pace {
    /// Holds nothing back, however much is unanswered.
    pub(crate) fn lift(&self) {
        let mut state = self.lock();
        (state.is_lifted, state.unanswered) = (true, VecDeque::new());
        state.wake();
    }

    /// New weights of a chunk are here, which answers it and those that were sent before it.
    pub(crate) fn answer(&self, chunk: u32) {
        let mut state = self.lock();
        if let Some(place) = state.unanswered.iter().rposition(|&sent| sent == chunk) {
            state.unanswered.drain(..=place);
            state.answered_at = Some(Instant::now());
            state.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, message: &wire::WorkerMessage) {
        let Some(Kind::Part(part)) = &message.kind else { return };
        if self.is_lifted {
            return;
        }
        if self.pass != part.pass {
            self.pass = part.pass;
            self.unanswered.clear();
        }
        for slice in &part.slices {
            // Nodes of one chunk follow each other.
            if self.unanswered.back() != Some(&slice.chunk) {
                self.unanswered.push_back(slice.chunk);
            }
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Until when to hold back, if at all.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let until = self.answered_at? + PAUSE_MAX;
        (self.unanswered.len() >= UNANSWERED_MAX && now < until).then_some(until)
    }
}

/// A stream of messages that keeps to a pace.
pub(crate) struct Paced<S> {
    messages: S,
    pace: Arc<Pace>,
    pause: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    /// Messages as they come, but for the pauses.
    pub(crate) fn new(messages: S, pace: Arc<Pace>) -> Paced<S> {
        Paced { messages, pace, pause: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl<S: Stream<Item = wire::WorkerMessage> + Unpin> Stream for Paced<S> {
    type Item = wire::WorkerMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Paced { messages, pace, pause } = self.get_mut();
        let mut state = pace.lock();
        if let Some(until) = state.pause(Instant::now()) {
            pause.as_mut().reset(until);
            if pause.as_mut().poll(context).is_pending() {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let next = Pin::new(messages).poll_next(context);
        if let Poll::Ready(Some(message)) = &next {
            state.note(message);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    fn part(pass: u64, chunk: u32) -> wire::WorkerMessage {
        let slices = vec![wire::Slice { chunk, ..Default::default() }; 3];
        wire::WorkerMessage {
            kind: Some(Kind::Part(wire::Part { pass, slices, ..Default::default() })),
        }
    }

    fn paced(messages: Vec<wire::WorkerMessage>) -> (Arc<Pace>, impl Stream + Unpin) {
        let pace = Arc::new(Pace::default());
        (pace.clone(), Paced::new(tokio_stream::iter(messages), pace))
    }

    /// How many come before the stream pauses.
    async fn count(stream: &mut (impl Stream + Unpin)) -> usize {
        let mut count = 0;
        while tokio::time::timeout(PAUSE_MAX / 10, stream.next()).await.is_ok_and(|m| m.is_some()) {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn unanswered_chunks_are_held_back_for_a_while() {
        let chunks = 0..100;
        let (pace, mut stream) = paced(chunks.map(|chunk| part(1, 99 - chunk)).collect());
        stream.next().await.unwrap();
        pace.answer(99);
        assert_eq!(count(&mut stream).await, UNANSWERED_MAX);
        pace.answer(98);
        assert_eq!(count(&mut stream).await, 1);
        // Answers what was sent before it, too.
        pace.answer(90);
        assert_eq!(count(&mut stream).await, 8);
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(count(&mut stream).await, 100 - 1 - UNANSWERED_MAX - 9);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_back_before_there_are_answers() {
        let (pace, mut stream) = paced((0..100).map(|chunk| part(1, chunk)).collect());
        pace.answer(5);
        assert_eq!(count(&mut stream).await, 100);
    }

    /// A clipped run: the answers of one step come, and then all chunks of the next are sent before any other.
    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_back_where_no_answer_can_come() {
        let steps = [1, 2].map(|pass| (0..100).map(move |chunk| part(pass, chunk)));
        let [first, second] = steps;
        let (pace, mut stream) = paced(first.chain(second).collect());
        pace.lift();
        for _ in 0..2 {
            for chunk in 0..100 {
                assert!(comes_at_once(&mut stream).await, "chunk {chunk} is held back");
            }
            (0..100).for_each(|chunk| pace.answer(chunk));
        }
        // Even in mid-pause.
        let (pace, mut stream) = paced((0..100).map(|chunk| part(1, chunk)).collect());
        stream.next().await.unwrap();
        pace.answer(0);
        assert_eq!(count(&mut stream).await, UNANSWERED_MAX);
        pace.lift();
        assert_eq!(count(&mut stream).await, 100 - 1 - UNANSWERED_MAX);
    }

    /// Whether a message is there without any wait.
    async fn comes_at_once(stream: &mut (impl Stream + Unpin)) -> bool {
        let started = Instant::now();
        stream.next().await.is_some() && started == Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn another_pass_begins_anew() {
        let first = (0..UNANSWERED_MAX as u32).map(|chunk| part(1, chunk));
        let (pace, mut stream) = paced(first.chain([part(2, 0), part(2, 1)]).collect());
        stream.next().await.unwrap();
        pace.answer(0);
        assert_eq!(count(&mut stream).await, UNANSWERED_MAX - 1 + 2);
    }
}
