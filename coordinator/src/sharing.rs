//! One worker's part in shared memory, if it is on this machine: reading its gradients there, naming weights instead of
//! sending them.

use std::sync::{Arc, OnceLock};

use lockstep_proto::shared::Ticket;
use lockstep_proto::shared::lane::LaneReader;
use lockstep_proto::wire::{self, worker_message::Kind};

use crate::outbox::Outbox;

#[derive(Debug)]
pub(crate) struct Sharing {
    outbox: Arc<Outbox>,
    /// Set once, when the worker asks for it.
    lane: OnceLock<LaneReader>,
}

impl Sharing {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Sharing {
        Sharing { outbox, lane: OnceLock::new() }
    }

    /// Reads what a message says only where to find. True if the message was about nothing else.
    ///
    /// # Errors
    /// If that is not there; in words.
    pub(crate) fn take(&self, message: &mut wire::WorkerMessage) -> Result<bool, String> {
        if let Some(Kind::Share(ticket)) = &message.kind {
            self.begin(Ticket::from_wire(ticket))?;
            return Ok(true);
        }
        let spoilt = |error| format!("broken message: no gradient in shared memory ({error})");
        if let Some(lane) = self.lane.get() {
            lane.fill(message).map_err(spoilt)?;
        }
        Ok(false)
    }

    /// Gradient slices in shared memory that are done with.
    pub(crate) fn slices_read(&self) -> u64 {
        self.lane.get().map_or(0, LaneReader::slices_read)
    }

    fn begin(&self, ticket: Option<Ticket>) -> Result<(), String> {
        let Some(lane) = ticket.and_then(|ticket| LaneReader::open(&ticket).ok()) else {
            let problem =
                "its shared memory cannot be opened here: start it with --no-shared-memory";
            return Err(problem.to_string());
        };
        self.lane.set(lane).map_err(|_| "broken message: shared memory, again".to_string())?;
        self.outbox.share();
        Ok(())
    }
}
