//! A worker's stream, read message by message: what goes on to the run is checked, and why it ended is told.
//!
//! Decides nothing about the worker.

use std::sync::Arc;

use lockstep_proto::frame::{FromWorker, Limits};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::wire;
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use crate::sharing::Sharing;

/// What reaches the run's task from a worker's stream.
pub(crate) enum Inbound {
    /// It said this.
    Frame(WorkerId, FromWorker),
    /// It said what cannot be said.
    Broken(WorkerId, String),
    /// Its stream ended, and why.
    Ended(WorkerId, String),
}

/// Hands a worker's messages to the run until the stream ends, and why it ended.
pub(crate) async fn read(
    worker: WorkerId,
    mut stream: Streaming<wire::WorkerMessage>,
    limits: Limits,
    sharing: Arc<Sharing>,
    inbox: mpsc::Sender<Inbound>,
) {
    let last = loop {
        match stream.message().await {
            Ok(Some(mut message)) => {
                #[cfg(feature = "failpoints")]
                fail::fail_point!("read");
                match sharing.take(&mut message, &limits).await {
                    Ok(false) => {}
                    Ok(true) => continue,
                    Err(problem) => break Inbound::Broken(worker, problem),
                }
                match limits.from_worker(message) {
                    Ok(frame) => {
                        if inbox.send(Inbound::Frame(worker, frame)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break Inbound::Broken(worker, error.to_string()),
                }
            }
            Ok(None) => break Inbound::Ended(worker, "it closed its stream".to_string()),
            // What is no message of the contract: too long, or not even one.
            Err(status) if is_broken(&status) => {
                break Inbound::Broken(worker, format!("broken message: {}", status.message()));
            }
            Err(status) => {
                let reason = format!("the connection was lost ({})", status.message());
                break Inbound::Ended(worker, reason);
            }
        }
    };
    let _ = inbox.send(last).await;
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
