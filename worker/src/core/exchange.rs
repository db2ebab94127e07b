//! What goes into the core and what comes out of it. Plain values: nothing here can wait.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lockstep_proto::frame::{FromWorker, Member, PeerMessage, ToWorker};
use lockstep_proto::ids::{Chunk, Shard, Span, Step, Table, WorkerId};
use lockstep_proto::values::Precision;
use lockstep_reduce::shared::lane::Lane;

use super::jobs::{Finished, Job};
use crate::WorkerError;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Weights can be read in the coordinator's memory. Comes first, if at all.
    Shares(Shared),
    /// The coordinator said this: a message that was checked.
    Message(ToWorker),
    /// The coordinator said what cannot be said.
    Broken(String),
    /// The coordinator's stream ended, and how.
    Ended(WorkerError),
    /// What was to be said cannot be said any more.
    Unsaid,
    /// The next part of the shard that was asked for; `None` at its end.
    Rows(Option<Bytes>),
    /// The shard that was asked for does not come, and why.
    NoRows(WorkerError),
    /// A job is done.
    Finished(Finished),
    /// Another worker said this, or this one itself: a message that was checked, of a sender who proved to be that.
    Peer(WorkerId, PeerMessage),
    /// Messages can be exchanged with another worker.
    PeerUp(WorkerId),
    /// They cannot any more, or could not be, and why.
    PeerDown(WorkerId, String),
    /// Another worker said what cannot be said.
    PeerBroken(WorkerId, String),
    /// The worker is to leave.
    Stop,
    /// The time has come that [`Core::poll_timeout`](super::Core::poll_timeout) gave.
    Timeout,
}

/// Something to be done, in order.
#[derive(Debug)]
pub enum Output {
    /// Tell the coordinator.
    Say(FromWorker),
    /// Tell another worker; where it is this one itself, it is an [`Input::Peer`].
    Tell(WorkerId, PeerMessage),
    /// These are the workers to exchange messages with, and no others.
    Roster(Vec<Member>),
    /// Ask for the rows of a shard.
    Fetch(Table, Shard),
    /// Do a job, and send what it gives as it gives it: on this thread before anything else if
    /// [it is small](Job::is_small), else on another.
    Start(Job),
    /// Note that a chunk that was sent is [answered](super::Pace::answer).
    Answered(Chunk),
    /// Send [as fast as the link takes it](super::Pace::lift).
    Unpaced,
    /// Code gradients of this precision from now on, where that makes them shorter; `None`: send them as they are.
    Code(Option<Precision>),
    /// For people: the shards of a span are here, and how many rows are kept now.
    Prepared(Span, u64),
    /// For people: the shards of these spans were let go, and how many rows are kept now.
    Forgot(Vec<Span>, u64),
}

/// Memory that is shared with a coordinator on the same machine.
pub struct Shared {
    /// Where gradients are computed; `None`: in memory of the worker's own.
    pub lane: Option<Arc<Lane>>,
    /// Where the weights are.
    pub weights: Box<dyn SharedWeights>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// Weights in memory that the coordinator writes.
pub trait SharedWeights: Send {
    /// Copies a chunk of the weights of a step. False if newer ones are written there by now: what was copied is of no use then.
    fn copy(&self, step: Step, chunk: Chunk, into: &mut [f32]) -> bool;
}
