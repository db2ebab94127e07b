//! A worker's backlog as a stream that tonic pulls from as the link allows.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use lockstep_proto::wire;
use tokio_stream::Stream;
use tonic::Status;

use crate::backlog::{Backlog, MESSAGES_MAX, Next, Weights};
use crate::credentials::Membership;

/// The sending end.
#[derive(Debug)]
pub(crate) struct Outbox {
    // A std mutex: every section is a few pushes or pops and none waits.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backlog: Backlog<wire::CoordinatorMessage>,
    /// Until there is an end, or nobody listens any more: what was queued before may never be read.
    membership: Option<Membership>,
    end: Option<Option<Status>>,
    waker: Option<Waker>,
}

impl Outbox {
    /// For weights of so many chunks, to whom this is the membership of.
    pub(crate) fn new(chunks: usize, membership: Membership) -> Arc<Outbox> {
        let (backlog, membership) = (Backlog::new(MESSAGES_MAX, chunks), Some(membership));
        let state = State { backlog, membership, end: None, waker: None };
        Arc::new(Outbox { state: Mutex::new(state) })
    }

    /// The receiving end; one for each outbox.
    pub(crate) fn stream(self: &Arc<Self>) -> OutboxStream {
        OutboxStream { outbox: self.clone() }
    }

    /// Queues a short message. False if the worker left thousands unread: the message is lost, and its stream with it.
    #[must_use]
    pub(crate) fn say(&self, message: wire::CoordinatorMessage) -> bool {
        let mut state = self.lock();
        let has_room = state.backlog.say(message);
        if !has_room {
            state.end =
                Some(Some(Status::resource_exhausted("the worker does not read its messages")));
            state.membership = None;
        }
        state.wake();
        has_room
    }

    /// Queues a chunk of weights, and drops what is two steps older.
    pub(crate) fn send_weights(&self, weights: Weights) {
        let mut state = self.lock();
        state.backlog.send_weights(weights);
        state.wake();
    }

    /// Ends the membership, and the stream after what is queued, with a status or in peace. Later calls change nothing.
    pub(crate) fn close(&self, status: Option<Status>) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        state.membership = None;
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
pub(crate) struct OutboxStream {
    outbox: Arc<Outbox>,
}

impl Drop for OutboxStream {
    fn drop(&mut self) {
        self.outbox.lock().membership = None;
    }
}

impl Stream for OutboxStream {
    type Item = Result<wire::CoordinatorMessage, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.outbox.lock();
        if let Some(next) = state.backlog.pop() {
            // Coding takes long enough for others to wait for.
            drop(state);
            let message = match next {
                Next::Message(message) => message,
                Next::Weights(weights, has_before) => weights.into_message(has_before).into_wire(),
            };
            return Poll::Ready(Some(Ok(message)));
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
    use crate::credentials::Credentials;
    use lockstep_net::Watched;
    use lockstep_proto::frame::{Ending, ToWorker};
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn a_reader_that_never_reads_loses_its_stream() {
        let credentials = Credentials::default();
        let credential = credentials.issue().unwrap();
        let bytes = *credential.expose();
        let watch = Watched::new(tokio::io::empty()).watch();
        let outbox = Outbox::new(1, Membership::new(credential, watch));
        let say = || outbox.say(ToWorker::Finish(Ending::Finished).into_wire());
        assert!((0..MESSAGES_MAX).all(|_| say()) && credentials.are(&bytes));
        assert!(
            !say() && !credentials.are(&bytes),
            "it is no member, whether it reads that or not"
        );
        let last = outbox.stream().skip(MESSAGES_MAX).next().await;
        assert_eq!(last.unwrap().unwrap_err().code(), tonic::Code::ResourceExhausted);
    }
}
