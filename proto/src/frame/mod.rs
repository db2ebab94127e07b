//! The messages of the two sides, as each takes them: checked when they come in, turned to wire types to go out.
//!
//! After this, every span lies in the tree, every chunk has its length and every node is one of the tree's.
//! What a peer may say *now* (was this span dealt?) is the engine's business.

mod check;
mod coded;
mod encode;
mod peers;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::MESSAGE_BYTES_MAX;
use crate::batches::Batches;
use crate::ids::{Chunk, Pass, Shard, Span, Step, Table, Task, WorkerId};
use crate::layout::Layout;
use crate::ticket::Ticket;
use crate::tree::{Node, ShardTree};
use crate::values::Precision;

pub use check::FrameError;
pub use coded::{code_gradients, code_peer_gradients};
pub use peers::{
    Dealt, DealtSpan, HomeSum, Listens, Member, NamedWeights, PeerContent, PeerMessage, PeerSlices,
    Route, digest,
};

/// Most loss and metric sums that a run can have: those of one node have to fit into one message, beside gradients.
pub const SUMS_LEN_MAX: usize = (MESSAGE_BYTES_MAX / 2) / size_of::<f64>();

/// Longest description of a network that can be sent to a worker.
pub const NETWORK_BYTES_MAX: usize = MESSAGE_BYTES_MAX - FRAMING_BYTES_MAX;

/// What goes around the bulk of a message takes less.
const FRAMING_BYTES_MAX: usize = 4 << 10;

/// First message of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Version of the wire contract.
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// What the CPU's arithmetic was found to be.
    pub numeric_profile: String,
    /// The only run the worker will take part in, if any.
    pub run_id: Option<String>,
    /// Host name, for people.
    pub host: String,
    /// Process id, for people.
    pub pid: u32,
    /// Compute threads.
    pub threads: u32,
    /// The same each time that this process joins, so that people can recognise it.
    pub identity: Option<[u8; 16]>,
}

/// Answer to [`Join`]: all that a worker needs to make the same network, row order and tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The run.
    pub run_id: String,
    /// The worker's name in it.
    pub worker: WorkerId,
    /// The network as JSON.
    pub network: String,
    /// How the training table is dealt and batched.
    pub batches: Batches,
    /// Whether rows are permuted.
    pub shuffle: bool,
    /// Key of all randomness.
    pub seed: u64,
    /// Rows of the validation table; 0 if there is none.
    pub validation_rows: u64,
    /// Rows of the test table; 0 if there is none.
    pub test_rows: u64,
    /// Of gradients and weights on the wire.
    pub precision: Precision,
    /// Whether no new weights come before all gradients are there, since they are clipped by their global norm.
    pub clips: bool,
    /// Whether a row of the training table ends with its weight, behind its targets.
    pub is_weighted: bool,
    /// Whether the layout has row squares, which are sent with the gradients.
    pub has_row_squares: bool,
    /// Steps of one update: weights are of a step divided by this, rounded down.
    pub steps_per_update: u64,
    /// Most values in a chunk of the layout: see [`Layout::in_chunks_of`].
    pub chunk_values_max: u32,
    /// Where a worker on the coordinator's machine can read weights.
    pub weights: Option<Ticket>,
    /// Whether workers may be told to send to each other.
    pub peers: bool,
    /// Of the coordinator: another each time that it starts.
    pub execution: u64,
}

/// Work: compute the nodes of `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deal {
    /// The pass it belongs to.
    pub pass: Pass,
    /// The weights to compute on.
    pub step: Step,
    /// What to compute.
    pub task: Task,
    /// For which shards.
    pub span: Span,
}

/// One node's gradient sum over one chunk, and behind it the chunk's row squares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The subtree.
    pub node: Node,
    /// The part of the flat vector.
    pub chunk: Chunk,
    /// The chunk's sums, in the run's precision.
    pub values: Bytes,
}

/// One node's loss and metric sums.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSums {
    /// The subtree.
    pub node: Node,
    /// The rows that were counted into the values.
    pub rows: u64,
    /// As the network defines them.
    pub values: Vec<f64>,
}

/// Some of the results of a deal.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultPart {
    /// The deal's pass.
    pub pass: Pass,
    /// Gradient sums.
    pub slices: Vec<Slice>,
    /// Loss and metric sums.
    pub sums: Vec<NodeSums>,
    /// In the last part of every deal.
    pub done: Option<Done>,
}

/// A deal is off the worker's hands: computed, or dropped because its weights are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The deal's span.
    pub span: Span,
    /// How long computing it took; zero if it was dropped.
    pub busy: Duration,
}

/// Instead of [`Done`]: a loss or gradient of a deal is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The deal's pass.
    pub pass: Pass,
    /// The shard whose rows made it.
    pub shard: Shard,
    /// The layer, if one could be named.
    pub layer: Option<u32>,
    /// In the gradient, or already in the loss.
    pub in_gradient: bool,
}

/// What a worker says after [`Join`].
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The shards of a span are here.
    Prepared(Span),
    /// Results.
    Part(ResultPart),
    /// A deal has no results that are finite.
    Divergence(Divergence),
    /// Where other workers find this one.
    Listens(Listens),
    /// All nodes that the route of this number gave another home are sent there.
    Routed(u64),
    /// What this home added up of a chunk.
    Sum(HomeSum),
    /// What this home added up of a chunk is not finite.
    Overflow(Pass, Chunk),
    /// A chunk of the weights was not passed on, or not as it was.
    Missing(Step, Chunk),
    /// Whether this worker and another can exchange messages.
    Reach {
        /// The other.
        worker: WorkerId,
        /// Whether they can.
        is_up: bool,
    },
    /// The worker leaves on purpose.
    Goodbye,
}

/// What a coordinator says after [`Welcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Fetch the shards of this span.
    Prepare(Span),
    /// Let go of the shards of these spans: they are fetched again when they are dealt again.
    Forget(Vec<Span>),
    /// Compute.
    Deal(Deal),
    /// A chunk of the weights.
    Weights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
        /// The chunk's values, in the run's precision.
        values: Bytes,
        /// Whom to pass them on to.
        pass_on: Vec<WorkerId>,
    },
    /// A chunk of the weights comes from another worker.
    NamedWeights(NamedWeights),
    /// A chunk of the weights can be read in the coordinator's memory.
    SharedWeights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
    },
    /// What changed in a chunk of the weights since the step before.
    CodedWeights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
        /// See [`coding`](crate::coding).
        coded: Bytes,
        /// Whom to pass the values on to.
        pass_on: Vec<WorkerId>,
    },
    /// Whether gradients are to be coded from now on.
    Code(bool),
    /// All workers that listen.
    Roster(Vec<Member>),
    /// Where the nodes of each chunk go.
    Route(Route),
    /// To homes: what was dealt.
    Dealt(Dealt),
    /// The coordinator ends.
    Finish(Ending),
}

/// Why a coordinator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run reached its end.
    Finished,
    /// The run failed, for this reason.
    Failed(String),
    /// It was stopped on purpose and may come back to go on with the run: look for it again.
    Stopped,
}

/// What frames are checked against.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The training table's rows, shards and batches.
    pub batches: Batches,
    /// The tree over the shards.
    pub tree: ShardTree,
    /// The flat vector.
    pub layout: Arc<Layout>,
    /// Of gradients and weights on the wire.
    pub precision: Precision,
    /// Length of the loss and metric sums of a step.
    pub sums_len: usize,
    /// Length of the sums of a table that is measured, which are as long or longer.
    pub table_sums_len: usize,
}

/// A request for one shard's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRequest {
    /// The run.
    pub run_id: String,
    /// Which table.
    pub table: Table,
    /// Which shard.
    pub shard: Shard,
}
