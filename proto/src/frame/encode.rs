//! Domain messages to wire messages.

use bytes::Bytes;

use super::{
    Done, Ending, FromWorker, Join, Member, NodeSums, ShardRequest, Slice, ToWorker, Welcome,
};
use crate::ids::{Span, Table, Task, WorkerId};
use crate::ticket::Ticket;
use crate::tree::Node;
use crate::values::Precision;
use crate::wire;

impl Join {
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
            identity: self.identity.map_or_else(Bytes::new, |bytes| bytes.to_vec().into()),
        }))
    }
}

impl Welcome {
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
            weights: self.weights.map(Ticket::into_wire),
            precision: precision_wire(self.precision),
            clips: self.clips,
            is_weighted: self.is_weighted,
            has_row_squares: self.has_row_squares,
            peers: self.peers,
            execution: self.execution,
            steps_per_update: self.steps_per_update,
            chunk_values_max: self.chunk_values_max,
        }))
    }
}

impl FromWorker {
    /// As a message.
    pub fn into_wire(self) -> wire::WorkerMessage {
        use wire::worker_message::Kind;
        worker_message(match self {
            FromWorker::Prepared(span) => Kind::Prepared(span_wire(span)),
            FromWorker::Part(part) => Kind::Part(wire::ResultPart {
                pass: part.pass.0,
                slices: part.slices.into_iter().map(slice_wire).collect(),
                sums: part.sums.into_iter().map(sums_wire).collect(),
                done: part.done.map(done_wire),
            }),
            FromWorker::Divergence(divergence) => Kind::Divergence(wire::Divergence {
                pass: divergence.pass.0,
                shard: divergence.shard.0,
                layer: divergence.layer,
                in_gradient: divergence.in_gradient,
            }),
            FromWorker::Listens(listens) => listens.into_kind(),
            FromWorker::Routed(number) => Kind::Routed(wire::Routed { number }),
            FromWorker::Sum(sum) => sum.into_kind(),
            FromWorker::Overflow(pass, chunk) => {
                Kind::Overflow(wire::Overflow { pass: pass.0, chunk: chunk.0 })
            }
            FromWorker::Missing(step, chunk) => {
                Kind::Missing(wire::Missing { step: step.0, chunk: chunk.0 })
            }
            FromWorker::Reach { worker, is_up } => {
                Kind::Reach(wire::Reach { worker: worker.0, is_up })
            }
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
            ToWorker::Forget(spans) => {
                let spans = spans.into_iter().map(span_wire).collect();
                Kind::Forget(wire::Spans { spans })
            }
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
                    slices_read: 0,
                })
            }
            ToWorker::Weights { step, chunk, values, pass_on } => {
                let (step, chunk, pass_on) = (step.0, chunk.0, names(pass_on));
                Kind::Weights(wire::Weights { step, chunk, values, pass_on, ..Default::default() })
            }
            ToWorker::NamedWeights(named) => named.into_kind(),
            ToWorker::SharedWeights { step, chunk } => {
                let (step, chunk) = (step.0, chunk.0);
                Kind::Weights(wire::Weights { step, chunk, shared: true, ..Default::default() })
            }
            ToWorker::CodedWeights { step, chunk, coded, pass_on } => {
                let (step, chunk, pass_on) = (step.0, chunk.0, names(pass_on));
                Kind::Weights(wire::Weights { step, chunk, coded, pass_on, ..Default::default() })
            }
            ToWorker::Code(is_on) => Kind::Coding(wire::Coding { is_on }),
            ToWorker::Roster(members) => {
                let members = members.into_iter().map(Member::into_wire).collect();
                Kind::Roster(wire::Roster { members })
            }
            ToWorker::Route(route) => route.into_kind(),
            ToWorker::Dealt(dealt) => dealt.into_kind(),
            ToWorker::Finish(ending) => Kind::Finish(match ending {
                Ending::Finished => wire::Finish::default(),
                Ending::Failed(error) => wire::Finish { error, stopped: false },
                Ending::Stopped => wire::Finish { error: String::new(), stopped: true },
            }),
        })
    }
}

impl ShardRequest {
    /// As a message.
    pub fn into_wire(self) -> wire::ShardRequest {
        let (table, shard) = (table_wire(self.table), self.shard.0);
        wire::ShardRequest { run_id: self.run_id, table, shard }
    }
}

pub(super) fn worker_message(kind: wire::worker_message::Kind) -> wire::WorkerMessage {
    wire::WorkerMessage { kind: Some(kind) }
}

pub(super) fn coordinator_message(
    kind: wire::coordinator_message::Kind,
) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { kind: Some(kind) }
}

fn names(workers: Vec<WorkerId>) -> Vec<u64> {
    workers.into_iter().map(|worker| worker.0).collect()
}

fn span_wire(span: Span) -> wire::Span {
    wire::Span { start: span.start, end: span.end }
}

pub(super) fn slice_wire(slice: Slice) -> wire::Slice {
    let Node { level, index } = slice.node;
    wire::Slice { level, index, chunk: slice.chunk.0, values: slice.values, ..Default::default() }
}

fn sums_wire(sums: NodeSums) -> wire::NodeSums {
    let Node { level, index } = sums.node;
    wire::NodeSums { level, index, values: sums.values, rows: sums.rows }
}

fn done_wire(done: Done) -> wire::Done {
    // Half a millennium fits.
    let busy_nanoseconds = u64::try_from(done.busy.as_nanos()).unwrap_or(u64::MAX);
    wire::Done { span: Some(span_wire(done.span)), busy_nanoseconds }
}

fn precision_wire(precision: Precision) -> i32 {
    match precision {
        Precision::F32 => wire::Precision::F32 as i32,
        Precision::Bf16 => wire::Precision::Bf16 as i32,
    }
}

fn table_wire(table: Table) -> i32 {
    match table {
        Table::Train => wire::Table::Train as i32,
        Table::Validation => wire::Table::Validation as i32,
        Table::Test => wire::Table::Test as i32,
    }
}
