//! What is still to be said to one worker: a stream that tonic pulls from as the link allows.
//!
//! Pulling keeps it bounded: a worker that reads slowly holds back only weights of the newest two steps, since
//! older ones are dropped when newer ones come. Deals go ahead of weights, so a worker knows what to do with
//! weights before they are complete.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lockstep_proto::frame::ToWorker;
use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::wire;
use tokio_stream::Stream;
use tonic::Status;

/// Most deals and other short messages that wait for a worker. One step needs a handful.
const MESSAGES_MAX: usize = 4096;

/// The sending end.
#[derive(Debug)]
pub(crate) struct Outbox {
    // A std mutex: every section is a few pushes or pops and none waits.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<wire::CoordinatorMessage>,
    weights: VecDeque<Version>,
    /// The worker reads weights where they were published, if they can be.
    shares: bool,
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

/// A chunk of some weights.
#[derive(Debug)]
struct Version {
    step: Step,
    chunk: Chunk,
    /// `None` where it is only named.
    values: Option<Bytes>,
}

impl Outbox {
    pub(crate) fn new() -> Arc<Outbox> {
        Arc::new(Outbox { state: Mutex::default() })
    }

    /// The receiving end; one for each outbox.
    pub(crate) fn stream(self: &Arc<Self>) -> OutboxStream {
        OutboxStream(self.clone())
    }

    /// Queues a short message. False if the worker left thousands unread: the message is lost, and its stream with it.
    #[must_use]
    pub(crate) fn say(&self, message: wire::CoordinatorMessage) -> bool {
        let mut state = self.lock();
        let has_room = state.messages.len() < MESSAGES_MAX;
        if has_room {
            state.messages.push_back(message);
        } else {
            state.end =
                Some(Some(Status::resource_exhausted("the worker does not read its messages")));
        }
        state.wake();
        has_room
    }

    /// Queues a chunk of the weights of `step`, and drops what is two steps older. Without values it is only named.
    pub(crate) fn send_weights(&self, step: Step, chunk: Chunk, values: Option<Bytes>) {
        let mut state = self.lock();
        while state.weights.front().is_some_and(|old| old.step.0 + 2 <= step.0) {
            state.weights.pop_front();
        }
        state.weights.push_back(Version { step, chunk, values });
        state.wake();
    }

    /// From now on weights need only be named where they can be read in shared memory.
    pub(crate) fn share(&self) {
        self.lock().shares = true;
    }

    /// Whether the worker shares memory.
    pub(crate) fn shares(&self) -> bool {
        self.lock().shares
    }

    /// Ends the stream after what is queued, with a status or in peace. Later calls change nothing.
    pub(crate) fn close(&self, status: Option<Status>) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        state.wake();
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

/// The receiving end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct OutboxStream(Arc<Outbox>);

impl Stream for OutboxStream {
    type Item = Result<wire::CoordinatorMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.lock();
        if let Some(message) = state.messages.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        if let Some(Version { step, chunk, values }) = state.weights.pop_front() {
            let message = match values {
                Some(values) => ToWorker::Weights { step, chunk, values },
                None => ToWorker::SharedWeights { step, chunk },
            };
            return Poll::Ready(Some(Ok(message.into_wire())));
        }
        match &mut state.end {
            Some(status) => Poll::Ready(status.take().map(Err)),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::frame::Ending;
    use lockstep_proto::ids::Span;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn messages_go_first_and_old_weights_are_dropped() {
        let outbox = Outbox::new();
        for step in 1..=3 {
            for chunk in 0..2 {
                outbox.send_weights(Step(step), Chunk(chunk), Some(Bytes::new()));
            }
        }
        let prepare = ToWorker::Prepare(Span { start: 0, end: 1 }).into_wire();
        assert!(outbox.say(prepare.clone()));
        outbox.close(None);
        let sent: Vec<_> = outbox.stream().map(Result::unwrap).collect().await;
        let weights = |step, chunk| {
            ToWorker::Weights { step: Step(step), chunk: Chunk(chunk), values: Bytes::new() }
                .into_wire()
        };
        assert_eq!(sent, [prepare, weights(2, 0), weights(2, 1), weights(3, 0), weights(3, 1)]);
    }

    #[tokio::test]
    async fn a_reader_that_never_reads_loses_its_stream() {
        let outbox = Outbox::new();
        let say = || outbox.say(ToWorker::Finish(Ending::Finished).into_wire());
        assert!((0..MESSAGES_MAX).all(|_| say()) && !say());
        let last = outbox.stream().skip(MESSAGES_MAX).next().await;
        assert_eq!(last.unwrap().unwrap_err().code(), tonic::Code::ResourceExhausted);
    }
}
