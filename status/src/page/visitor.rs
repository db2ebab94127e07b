//! Who is at the other end of a connection: a stranger until a request of it was let in, then one of a few that may stay.

use std::sync::{Arc, OnceLock};

use lockstep_net::Watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections that were let in, at once. Strangers take none of these places.
const VISITORS_MAX: usize = 64;

/// Places for those who were let in.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(VISITORS_MAX)))
    }
}

impl Room {
    /// Whoever has just come.
    pub(super) fn visitor(&self, watch: Arc<Watch>) -> Arc<Visitor> {
        Arc::new(Visitor { room: self.0.clone(), watch, place: OnceLock::new() })
    }
}

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Visitor {
    room: Arc<Semaphore>,
    watch: Arc<Watch>,
    /// Kept as long as the connection is.
    place: OnceLock<OwnedSemaphorePermit>,
}

impl Visitor {
    /// Takes a place for good; false if all are taken.
    pub(super) fn enter(&self) -> bool {
        if self.place.get().is_some() {
            return true;
        }
        let Ok(place) = self.room.clone().try_acquire_owned() else { return false };
        // Requests of a connection come one after the other.
        let _ = self.place.set(place);
        self.watch.know();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_net::Watched;

    #[test]
    fn no_more_stay_than_there_is_room_for() {
        let room = Room::default();
        let visitor = |_| room.visitor(Watched::new(tokio::io::empty()).watch());
        let mut visitors: Vec<_> = (0..=VISITORS_MAX).map(visitor).collect();
        let last = visitors.pop().unwrap();
        assert!(visitors.iter().all(|visitor| visitor.enter()));
        assert!(!last.enter() && visitors[0].enter(), "who is in stays in");
        visitors.truncate(VISITORS_MAX - 1);
        assert!(last.enter());
    }
}
