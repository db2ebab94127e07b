//! One worker's part in shared memory, if it is on this machine: reading its gradients there, naming weights instead of
//! sending them.

use std::io::ErrorKind;
use std::sync::OnceLock;

use lockstep_proto::frame::Limits;
use lockstep_proto::ticket::Ticket;
use lockstep_proto::wire::{self, worker_message::Kind};
use lockstep_reduce::shared::lane::LaneReader;

#[derive(Debug)]
pub(crate) struct Sharing {
    /// Set once, when the worker asks for it.
    lane: OnceLock<LaneReader>,
}

impl Sharing {
    pub(crate) fn new() -> Sharing {
        Sharing { lane: OnceLock::new() }
    }

    /// Reads what a message says only where to find. True if the message was about nothing but that the worker shares memory
    /// from now on.
    ///
    /// # Errors
    /// If that is not there; in words.
    pub(crate) async fn take(
        &self,
        message: &mut wire::WorkerMessage,
        limits: &Limits,
    ) -> Result<bool, String> {
        if let Some(Kind::Share(ticket)) = &message.kind {
            self.begin(Ticket::from_wire(ticket), limits.clone()).await?;
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

    async fn begin(&self, ticket: Option<Ticket>, limits: Limits) -> Result<(), String> {
        let broken = |what: &str| Err(format!("broken message: shared memory, {what}"));
        if self.lane.get().is_some() {
            return broken("again");
        }
        let Some(ticket) = ticket else { return broken("but not where") };
        // On another thread: the runtime's answer other workers meanwhile.
        let opened = tokio::task::spawn_blocking(move || {
            LaneReader::open(&ticket, &limits.layout, limits.precision)
        });
        match opened.await {
            Ok(Ok(lane)) => self.lane.set(lane).or_else(|_| broken("again")),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => broken(&error.to_string()),
            _ => {
                let problem =
                    "its shared memory cannot be opened here: start it with --no-shared-memory";
                Err(problem.to_string())
            }
        }
    }
}
