//! A worker's stream, read message by message: what goes on to the run is checked, and why it ended is told.
//!
//! Decides nothing about the worker.

use std::collections::HashMap;
use std::sync::Arc;

use lockstep_net::Watch;
use lockstep_proto::frame::Limits;
use lockstep_proto::ids::WorkerId;
use lockstep_proto::panics;
use lockstep_proto::wire;
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tonic::{Code, Status, Streaming};

use crate::core::Input;
use crate::departure::Departure;
use crate::sharing::Sharing;

/// Most messages of workers that wait for the run's task; each is at most 4 MiB, usually 1.
pub(crate) const INBOX_MESSAGES_MAX: usize = 16;

/// The tasks that read workers' streams.
#[derive(Default)]
pub(crate) struct Readers {
    tasks: JoinSet<()>,
    workers: HashMap<task::Id, WorkerId>,
}

impl Readers {
    /// Starts reading a worker's stream.
    pub(crate) fn start(
        &mut self,
        worker: WorkerId,
        read: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(read);
        self.workers.insert(task.id(), worker);
    }

    /// The next whose stream is read no more. The run was told why, unless reading panicked: then, what that said. `None`
    /// if no stream is read.
    pub(crate) async fn next(&mut self) -> Option<(WorkerId, Option<String>)> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |&(id, ())| id);
        let worker = self.workers.remove(&id)?;
        Some((worker, ended.err().map(panic_text)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// Hands a worker's messages to the run until the stream ends, and why it ended.
pub(crate) async fn read(
    worker: WorkerId,
    mut stream: Streaming<wire::WorkerMessage>,
    watch: Arc<Watch>,
    limits: Limits,
    sharing: Arc<Sharing>,
    inbox: mpsc::Sender<Input>,
) {
    let last = loop {
        let input = match stream.message().await {
            Ok(Some(mut message)) => {
                #[cfg(feature = "failpoints")]
                fail::fail_point!("read");
                match sharing.take(&mut message, &limits).await {
                    Ok(false) => match limits.from_worker(message) {
                        Ok(frame) => Input::Frame(worker, frame),
                        Err(error) => break Input::Broken(worker, error.to_string()),
                    },
                    Ok(true) => Input::Shares(worker),
                    Err(problem) => break Input::Broken(worker, problem),
                }
            }
            Ok(None) => break Input::Ended(worker, Departure::of(&watch, None)),
            // What is no message of the contract: too long, or not even one.
            Err(status) if is_broken(&status) => {
                break Input::Broken(worker, format!("broken message: {}", status.message()));
            }
            Err(status) => break Input::Ended(worker, Departure::of(&watch, Some(&status))),
        };
        if inbox.send(input).await.is_err() {
            return;
        }
    };
    let _ = inbox.send(last).await;
}

/// What made a task end that was not told to.
pub(crate) fn panic_text(error: JoinError) -> String {
    let panic = error.try_into_panic();
    panic.map_or_else(|error| error.to_string(), |panic| panics::text(&*panic))
}

/// Whether it is the message that is wrong, not the connection: longer than any may be, or none that can be read.
fn is_broken(status: &Status) -> bool {
    match status.code() {
        Code::OutOfRange => true,
        // A connection's error is its source.
        Code::Internal => std::error::Error::source(status).is_none(),
        _ => false,
    }
}
