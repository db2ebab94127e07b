//! What a worker says, as a stream that tonic pulls from as the link and the [`Pace`] allow. Gradients are coded here, if they
//! are to be: by then whoever computed them is at the next, and would otherwise wait for the link. Decides nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lockstep_proto::frame::code_gradients;
use lockstep_proto::ids::Chunk;
use lockstep_proto::values::Precision;
use lockstep_proto::wire;
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;

use crate::pace::Pace;

/// A pace, as the session and the stream share it.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    // A std mutex: held for a few additions, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    /// What gradients are coded in.
    codes: Option<Precision>,
    waker: Option<Waker>,
}

impl Paces {
    /// See [`Pace::lift`].
    pub(crate) fn lift(&self) {
        let mut state = self.lock();
        state.pace.lift();
        state.wake();
    }

    /// See [`Pace::of_chunks`].
    pub(crate) fn of_chunks(&self, values_max: usize) {
        self.lock().pace.of_chunks(values_max);
    }

    /// Gradients are coded from now on, or not any more.
    pub(crate) fn code(&self, precision: Option<Precision>) {
        self.lock().codes = precision;
    }

    /// See [`Pace::answer`].
    pub(crate) fn answer(&self, now: std::time::Instant, chunk: Chunk) {
        let mut state = self.lock();
        if state.pace.answer(now, chunk) {
            state.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A stream of messages that keeps to a pace.
pub(crate) struct Paced<S> {
    messages: S,
    paces: Arc<Paces>,
    pause: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    /// Messages as they come, but for the pauses.
    pub(crate) fn new(messages: S, paces: Arc<Paces>) -> Paced<S> {
        Paced { messages, paces, pause: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl<S: Stream<Item = wire::WorkerMessage> + Unpin> Stream for Paced<S> {
    type Item = wire::WorkerMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Paced { messages, paces, pause } = self.get_mut();
        let mut state = paces.lock();
        if let Some(until) = state.pace.hold_until(Instant::now().into_std()) {
            pause.as_mut().reset(until.into());
            if pause.as_mut().poll(context).is_pending() {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let mut next = Pin::new(messages).poll_next(context);
        if let Poll::Ready(Some(message)) = &mut next {
            state.pace.note(message);
            let codes = state.codes;
            drop(state);
            if let Some(precision) = codes {
                code_gradients(message, precision);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::{PAUSE_MAX, UNANSWERED_MAX};
    use lockstep_proto::wire::worker_message::Kind;
    use tokio_stream::StreamExt;

    fn part(chunk: u32) -> wire::WorkerMessage {
        let slices = vec![wire::Slice { chunk, ..Default::default() }; 3];
        wire::WorkerMessage {
            kind: Some(Kind::Part(wire::ResultPart { slices, ..Default::default() })),
        }
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
    async fn the_stream_pauses_until_there_is_an_answer_or_none_is_waited_for() {
        let paces = Arc::new(Paces::default());
        let messages = tokio_stream::iter((0..100).map(part).collect::<Vec<_>>());
        let mut stream = Paced::new(messages, paces.clone());
        let answer = |chunk| paces.answer(Instant::now().into_std(), Chunk(chunk));
        stream.next().await.unwrap();
        answer(0);
        assert_eq!(count(&mut stream).await, UNANSWERED_MAX);
        answer(1);
        assert_eq!(count(&mut stream).await, 1);
        tokio::time::advance(PAUSE_MAX).await;
        assert_eq!(count(&mut stream).await, 100 - 1 - UNANSWERED_MAX - 1);
    }
}
