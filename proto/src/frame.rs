//! Wire messages to checked domain messages and back: the only place that trusts nothing.
//!
//! After this, every span lies in the tree, every chunk has its length and every node is one of the tree's.
//! What a peer may say *now* (was this span dealt?) is the engine's business.

use std::sync::Arc;

use bytes::Bytes;

use crate::batches::Batches;
use crate::ids::{Chunk, Pass, Shard, Span, Step, Table, Task, WorkerId};
use crate::layout::Layout;
use crate::tree::{Node, SHARDS_MAX, ShardTree};
use crate::{values, wire};

/// Longest host name, run id or version kept from a peer.
const NAME_BYTES_MAX: usize = 256;

/// A message that does not keep the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken message: {0}")]
pub struct FrameError(String);

type Checked<T> = Result<T, FrameError>;

fn broken<T>(what: impl Into<String>) -> Checked<T> {
    Err(FrameError(what.into()))
}

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

/// One node's gradient sum over one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The subtree.
    pub node: Node,
    /// The part of the flat vector.
    pub chunk: Chunk,
    /// The chunk's values, little-endian.
    pub values: Bytes,
}

/// One node's loss and metric sums.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSums {
    /// The subtree.
    pub node: Node,
    /// As the network defines them.
    pub values: Vec<f64>,
}

/// Some of the results of a deal.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The deal's pass.
    pub pass: Pass,
    /// Gradient sums.
    pub slices: Vec<Slice>,
    /// Loss and metric sums.
    pub sums: Vec<NodeSums>,
}

/// A loss or gradient that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
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
    Part(Part),
    /// The run cannot go on.
    Fault(Fault),
    /// The worker leaves on purpose.
    Goodbye,
}

/// What a coordinator says after [`Welcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Fetch the shards of this span.
    Prepare(Span),
    /// Compute.
    Deal(Deal),
    /// A chunk of the weights.
    Weights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
        /// The chunk's values, little-endian.
        values: Bytes,
    },
    /// The run is over, with an error or without.
    Finish {
        /// Why, if it failed.
        error: Option<String>,
    },
}

/// What frames are checked against.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The tree over the run's shards.
    pub tree: ShardTree,
    /// The flat vector.
    pub layout: Arc<Layout>,
    /// Length of loss and metric sums.
    pub sums_len: usize,
}

impl Limits {
    /// Checks a worker's message (any but `Join`).
    ///
    /// # Errors
    /// If a length, node, chunk or span is not one of this run's.
    pub fn from_worker(&self, message: wire::WorkerMessage) -> Checked<FromWorker> {
        use wire::worker_message::Kind;
        match message.kind {
            Some(Kind::Prepared(span)) => Ok(FromWorker::Prepared(self.span(span)?)),
            Some(Kind::Part(part)) => Ok(FromWorker::Part(self.part(part)?)),
            Some(Kind::Fault(fault)) if fault.shard < self.tree.shards() => {
                let layers = self.layout.layers().len();
                Ok(FromWorker::Fault(Fault {
                    pass: Pass(fault.pass),
                    shard: Shard(fault.shard),
                    layer: fault.layer.filter(|&layer| (layer as usize) < layers),
                    in_gradient: fault.in_gradient,
                }))
            }
            Some(Kind::Goodbye(_)) => Ok(FromWorker::Goodbye),
            Some(Kind::Fault(_)) => broken("a fault in a shard that the run does not have"),
            Some(Kind::Join(_)) => broken("a second join"),
            None => broken("no content"),
        }
    }

    /// Checks a coordinator's message (any but `Welcome`).
    ///
    /// # Errors
    /// If a length, chunk or span is not one of this run's.
    pub fn to_worker(&self, message: wire::CoordinatorMessage) -> Checked<ToWorker> {
        use wire::coordinator_message::Kind;
        match message.kind {
            Some(Kind::Prepare(span)) => Ok(ToWorker::Prepare(self.span(span)?)),
            Some(Kind::Deal(deal)) => {
                let Some(span) = deal.span else { return broken("a deal without a span") };
                let task = match table_of(deal.table)? {
                    Table::Train => Task::Train { epoch: deal.epoch, batch: deal.batch },
                    table => Task::Evaluate { table },
                };
                let (pass, step) = (Pass(deal.pass), Step(deal.step));
                Ok(ToWorker::Deal(Deal { pass, step, task, span: self.span(span)? }))
            }
            Some(Kind::Weights(weights)) => {
                let chunk = self.chunk(weights.chunk, &weights.values)?;
                Ok(ToWorker::Weights { step: Step(weights.step), chunk, values: weights.values })
            }
            Some(Kind::Finish(finish)) => {
                Ok(ToWorker::Finish { error: Some(finish.error).filter(|error| !error.is_empty()) })
            }
            Some(Kind::Welcome(_)) => broken("a second welcome"),
            None => broken("no content"),
        }
    }

    fn part(&self, part: wire::Part) -> Checked<Part> {
        let slices = part.slices.into_iter().map(|slice| {
            let node = self.node(slice.level, slice.index)?;
            let chunk = self.chunk(slice.chunk, &slice.values)?;
            Ok(Slice { node, chunk, values: slice.values })
        });
        let slices = slices.collect::<Checked<_>>()?;
        let sums = part.sums.into_iter().map(|sums| {
            let node = self.node(sums.level, sums.index)?;
            if sums.values.len() != self.sums_len {
                return broken(format!("{} sums, wanted {}", sums.values.len(), self.sums_len));
            }
            Ok(NodeSums { node, values: sums.values })
        });
        let sums = sums.collect::<Checked<_>>()?;
        Ok(Part { pass: Pass(part.pass), slices, sums })
    }

    fn span(&self, span: wire::Span) -> Checked<Span> {
        if span.start < span.end && span.end <= self.tree.shards() {
            return Ok(Span { start: span.start, end: span.end });
        }
        broken(format!("shards {}..{} of {}", span.start, span.end, self.tree.shards()))
    }

    fn node(&self, level: u32, index: u32) -> Checked<Node> {
        let node = Node { level, index };
        match self.tree.span(node) {
            Some(_) => Ok(node),
            None => broken(format!("{node} is not in the tree of {} shards", self.tree.shards())),
        }
    }

    fn chunk(&self, chunk: u32, bytes: &[u8]) -> Checked<Chunk> {
        match self.layout.chunks().get(chunk as usize) {
            Some(known) if values::holds(bytes, known.range.len()) => Ok(Chunk(chunk)),
            Some(known) => broken(format!(
                "chunk {chunk} with {} bytes, wanted {} values of 4 bytes",
                bytes.len(),
                known.range.len()
            )),
            None => broken(format!("chunk {chunk} of {}", self.layout.chunks().len())),
        }
    }
}

impl Join {
    /// Checks the first message of a worker.
    ///
    /// # Errors
    /// If it is not a join, or its texts are too long.
    pub fn from_wire(message: wire::WorkerMessage) -> Checked<Join> {
        let Some(wire::worker_message::Kind::Join(join)) = message.kind else {
            return broken("the first message is not a join");
        };
        let texts = [&join.version, &join.numeric_profile, &join.run_id, &join.host];
        if texts.iter().any(|text| text.len() > NAME_BYTES_MAX) {
            return broken("a text of a join is too long");
        }
        Ok(Join {
            protocol: join.protocol,
            version: join.version,
            numeric_profile: join.numeric_profile,
            run_id: Some(join.run_id).filter(|id| !id.is_empty()),
            host: join.host,
            pid: join.pid,
            threads: join.threads,
        })
    }

    /// As a message.
    pub fn into_wire(self) -> wire::WorkerMessage {
        worker_message(wire::worker_message::Kind::Join(wire::Join {
            protocol: self.protocol,
            version: self.version,
            numeric_profile: self.numeric_profile,
            run_id: self.run_id.unwrap_or_default(),
            host: self.host,
            pid: self.pid,
            threads: self.threads,
        }))
    }
}

impl Welcome {
    /// Checks the first message of a coordinator.
    ///
    /// # Errors
    /// If it is not a welcome, or its counts cannot be.
    pub fn from_wire(message: wire::CoordinatorMessage) -> Checked<Welcome> {
        let Some(wire::coordinator_message::Kind::Welcome(welcome)) = message.kind else {
            return broken("the first message is not a welcome");
        };
        if !(1..=SHARDS_MAX).contains(&welcome.shards) {
            return broken(format!("{} shards, wanted 1 to {SHARDS_MAX}", welcome.shards));
        }
        let rows = welcome.train_rows;
        if rows == 0 || rows > u64::from(u32::MAX) || !(1..=rows).contains(&welcome.batch_size) {
            return broken(format!("batches of {} from {rows} rows", welcome.batch_size));
        }
        let batch_size = welcome.batch_size;
        Ok(Welcome {
            run_id: welcome.run_id,
            worker: WorkerId(welcome.worker),
            network: welcome.network,
            batches: Batches { rows, shards: welcome.shards, batch_size },
            shuffle: welcome.shuffle,
            seed: welcome.seed,
            validation_rows: welcome.validation_rows,
            test_rows: welcome.test_rows,
        })
    }

    /// As a message.
    pub fn into_wire(self) -> wire::CoordinatorMessage {
        coordinator_message(wire::coordinator_message::Kind::Welcome(wire::Welcome {
            run_id: self.run_id,
            worker: self.worker.0,
            network: self.network,
            shards: self.batches.shards,
            batch_size: self.batches.batch_size,
            shuffle: self.shuffle,
            seed: self.seed,
            train_rows: self.batches.rows,
            validation_rows: self.validation_rows,
            test_rows: self.test_rows,
        }))
    }
}

impl FromWorker {
    /// As a message.
    pub fn into_wire(self) -> wire::WorkerMessage {
        use wire::worker_message::Kind;
        worker_message(match self {
            FromWorker::Prepared(span) => Kind::Prepared(span_wire(span)),
            FromWorker::Part(part) => Kind::Part(wire::Part {
                pass: part.pass.0,
                slices: part.slices.into_iter().map(slice_wire).collect(),
                sums: part.sums.into_iter().map(sums_wire).collect(),
            }),
            FromWorker::Fault(fault) => Kind::Fault(wire::Fault {
                pass: fault.pass.0,
                shard: fault.shard.0,
                layer: fault.layer,
                in_gradient: fault.in_gradient,
            }),
            FromWorker::Goodbye => Kind::Goodbye(wire::Goodbye {}),
        })
    }
}

impl ToWorker {
    /// As a message.
    pub fn into_wire(self) -> wire::CoordinatorMessage {
        use wire::coordinator_message::Kind;
        coordinator_message(match self {
            ToWorker::Prepare(span) => Kind::Prepare(span_wire(span)),
            ToWorker::Deal(deal) => {
                let (table, epoch, batch) = match deal.task {
                    Task::Train { epoch, batch } => (Table::Train, epoch, batch),
                    Task::Evaluate { table } => (table, 0, 0),
                };
                let (pass, step, table) = (deal.pass.0, deal.step.0, table_wire(table));
                Kind::Deal(wire::Deal {
                    pass,
                    step,
                    table,
                    epoch,
                    batch,
                    span: Some(span_wire(deal.span)),
                })
            }
            ToWorker::Weights { step, chunk, values } => {
                Kind::Weights(wire::Weights { step: step.0, chunk: chunk.0, values })
            }
            ToWorker::Finish { error } => {
                Kind::Finish(wire::Finish { error: error.unwrap_or_default() })
            }
        })
    }
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

impl ShardRequest {
    /// Checks a request. Whether the run has such a table and shard is the receiver's business.
    ///
    /// # Errors
    /// If the table is none that the contract knows.
    pub fn from_wire(request: wire::ShardRequest) -> Checked<ShardRequest> {
        let table = table_of(request.table)?;
        Ok(ShardRequest { run_id: request.run_id, table, shard: Shard(request.shard) })
    }

    /// As a message.
    pub fn into_wire(self) -> wire::ShardRequest {
        let (table, shard) = (table_wire(self.table), self.shard.0);
        wire::ShardRequest { run_id: self.run_id, table, shard }
    }
}

fn worker_message(kind: wire::worker_message::Kind) -> wire::WorkerMessage {
    wire::WorkerMessage { kind: Some(kind) }
}

fn coordinator_message(kind: wire::coordinator_message::Kind) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { kind: Some(kind) }
}

fn span_wire(span: Span) -> wire::Span {
    wire::Span { start: span.start, end: span.end }
}

fn slice_wire(slice: Slice) -> wire::Slice {
    let Node { level, index } = slice.node;
    wire::Slice { level, index, chunk: slice.chunk.0, values: slice.values }
}

fn sums_wire(sums: NodeSums) -> wire::NodeSums {
    let Node { level, index } = sums.node;
    wire::NodeSums { level, index, values: sums.values }
}

fn table_wire(table: Table) -> i32 {
    match table {
        Table::Train => wire::Table::Train as i32,
        Table::Validation => wire::Table::Validation as i32,
        Table::Test => wire::Table::Test as i32,
    }
}

fn table_of(table: i32) -> Checked<Table> {
    match wire::Table::try_from(table) {
        Ok(wire::Table::Train) => Ok(Table::Train),
        Ok(wire::Table::Validation) => Ok(Table::Validation),
        Ok(wire::Table::Test) => Ok(Table::Test),
        _ => broken(format!("table {table} is none that the contract knows")),
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
