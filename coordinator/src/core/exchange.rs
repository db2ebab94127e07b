//! What goes into the core and what comes out of it. Plain values: nothing here can wait.

use lockstep_proto::frame::{FromWorker, ToWorker};
use lockstep_proto::ids::WorkerId;

use super::jobs::{Finished, Job};
use crate::backlog::Weights;
use crate::departure::Departure;
use crate::peer::Peer;
use crate::spec::Stop;

/// Something that happened. Whatever is said of a worker that is not a member, or not any more, changes nothing.
#[derive(Debug)]
pub enum Input {
    /// A worker was let in. Its name is new.
    Joined(WorkerId, Peer),
    /// A worker was not let in, and why.
    Refused(Peer, String),
    /// Something outside of the run goes wrong, in words; nothing follows from it here.
    Trouble(String),
    /// A worker can read weights in this machine's memory, where they are published there.
    Shares(WorkerId),
    /// A worker said this: a message that was checked.
    Frame(WorkerId, FromWorker),
    /// A worker said what cannot be said.
    Broken(WorkerId, String),
    /// A worker left so many messages unread that there is no room for another.
    Unread(WorkerId),
    /// A worker's stream ended, and why.
    Ended(WorkerId, Departure),
    /// A job is done.
    Finished(Finished),
    /// The run is to end early.
    Stop(Stop),
    /// The time has come that [`Core::poll_timeout`](super::Core::poll_timeout) gave.
    Timeout,
}

/// Something to be done, in order.
#[derive(Debug)]
pub enum Output {
    /// Tell a worker.
    Say(WorkerId, ToWorker),
    /// Send a worker a chunk of weights, or, without values, tell it that they can be read.
    Weights(WorkerId, Weights),
    /// End a worker's stream after what was said to it, with what is wrong with it, if anything is.
    Close(WorkerId, Option<String>),
    /// Put a thread to a job: any, in any order, no more at a time than [`jobs_max`](super::jobs_max).
    Start(Job),
}
