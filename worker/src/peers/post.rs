//! Where messages to other workers are put, from any thread. Nobody waits here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_proto::frame::PeerMessage;
use lockstep_proto::ids::WorkerId;
use tokio::sync::Notify;

use super::outbox::Outbox;

/// The outboxes of all that there is a connection with.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    me: WorkerId,
    /// What this worker says to itself.
    own: Arc<Outbox>,
    // A std mutex: held to look one up, never across a wait.
    state: Arc<Mutex<State>>,
    overflowed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    outboxes: HashMap<WorkerId, Arc<Outbox>>,
    /// Those that have no room.
    full: BTreeSet<WorkerId>,
}

impl Post {
    pub(super) fn new(me: WorkerId) -> Post {
        Post { me, own: Arc::default(), state: Arc::default(), overflowed: Arc::default() }
    }

    /// Sends a message when the link takes it. It is lost where there is no connection, or none before it is sent.
    pub(crate) fn put(&self, to: WorkerId, message: PeerMessage) {
        let outbox = match to == self.me {
            true => Some(self.own.clone()),
            false => self.lock().outboxes.get(&to).cloned(),
        };
        if outbox.is_some_and(|outbox| !outbox.put(message)) && to != self.me {
            self.lock().full.insert(to);
            self.overflowed.notify_one();
        }
    }

    /// Of a connection that is there now. Nothing of an earlier one is in it.
    pub(super) fn open(&self, to: WorkerId) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::default());
        let mut state = self.lock();
        state.full.remove(&to);
        state.outboxes.insert(to, outbox.clone());
        outbox
    }

    /// There is no connection any more.
    pub(super) fn close(&self, to: WorkerId) {
        let mut state = self.lock();
        state.full.remove(&to);
        state.outboxes.remove(&to);
    }

    /// What this worker said to itself.
    pub(super) async fn own(&self) -> PeerMessage {
        self.own.next().await
    }

    /// Somebody whose outbox has no room.
    pub(super) async fn overflow(&self) -> WorkerId {
        loop {
            let notified = self.overflowed.notified();
            if let Some(full) = self.lock().full.pop_first() {
                return full;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
