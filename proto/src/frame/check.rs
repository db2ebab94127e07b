//! Wire messages to checked domain messages: the only place that trusts nothing.

use std::time::Duration;

use super::coded::Budget;
use super::{
    Deal, Divergence, Done, Ending, FromWorker, Join, Limits, Listens, NodeSums, ResultPart,
    ShardRequest, Slice, ToWorker, Welcome, peers,
};
use crate::batches::Batches;
use crate::ids::{Chunk, Pass, Shard, Span, Step, Table, Task, WorkerId};
use crate::layout::{ChunkRange, chunk_values_may_be};
use crate::ticket::Ticket;
use crate::tree::{Node, SHARDS_MAX};
use crate::values::Precision;
use crate::wire;

/// Longest host name, run id or version kept from a peer.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Longest text for people kept from a peer.
pub(super) const TEXT_CHARS_MAX: usize = 2000;

/// Most compute threads that a worker is believed to have: they are a first guess at its speed.
const THREADS_MAX: u32 = 4096;

/// Most steps and passes of a run: what is counted on from there still fits.
pub(super) const COUNT_MAX: u64 = 1 << 62;

/// Most workers that a chunk of the weights is to be passed on to.
const PASSED_ON_MAX: usize = 1 << 14;

/// A message that does not keep the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken message: {0}")]
pub struct FrameError(String);

pub(super) type Checked<T> = Result<T, FrameError>;

pub(super) fn broken<T>(what: impl Into<String>) -> Checked<T> {
    Err(FrameError(what.into()))
}

impl Limits {
    /// Checks a worker's message (any but `Join`).
    ///
    /// # Errors
    /// If a length, node, chunk or span is not one of this run's, a gradient or sum is not finite, or a sum of squares is below
    /// 0.
    pub fn from_worker(&self, message: wire::WorkerMessage) -> Checked<FromWorker> {
        use wire::worker_message::Kind;
        match message.kind {
            Some(Kind::Prepared(span)) => Ok(FromWorker::Prepared(self.span(span)?)),
            Some(Kind::Part(part)) => Ok(FromWorker::Part(self.part(part)?)),
            Some(Kind::Divergence(divergence)) if divergence.shard < self.tree.shards() => {
                let layers = self.layout.layers().len();
                Ok(FromWorker::Divergence(Divergence {
                    pass: Pass(divergence.pass),
                    shard: Shard(divergence.shard),
                    layer: divergence.layer.filter(|&layer| (layer as usize) < layers),
                    in_gradient: divergence.in_gradient,
                }))
            }
            Some(Kind::Listens(listens)) => Listens::from_wire(listens),
            Some(Kind::Routed(routed)) => Ok(FromWorker::Routed(routed.number)),
            Some(Kind::Sum(sum)) => Ok(FromWorker::Sum(self.home_sum(sum)?)),
            Some(Kind::Overflow(overflow)) => self.overflow(&overflow),
            Some(Kind::Missing(missing)) => self.missing(&missing),
            Some(Kind::Reach(wire::Reach { worker, is_up })) => {
                Ok(FromWorker::Reach { worker: WorkerId(worker), is_up })
            }
            Some(Kind::Goodbye(_)) => Ok(FromWorker::Goodbye),
            Some(Kind::Divergence(_)) => {
                broken("a divergence in a shard that the run does not have")
            }
            Some(Kind::Join(_)) => broken("a second join"),
            Some(Kind::Share(_)) => broken("shared memory, again"),
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
            Some(Kind::Forget(wire::Spans { spans })) => Ok(ToWorker::Forget(
                spans.into_iter().map(|span| self.span(span)).collect::<Checked<_>>()?,
            )),
            Some(Kind::Deal(deal)) => {
                let Some(span) = deal.span else { return broken("a deal without a span") };
                if deal.step.max(deal.pass) > COUNT_MAX {
                    return broken(format!("step {} in pass {}", deal.step, deal.pass));
                }
                let task = match table_of(deal.table)? {
                    Table::Train if deal.epoch == 0 => return broken("epoch 0"),
                    Table::Train if deal.batch < self.batches.count() => {
                        Task::Train { epoch: deal.epoch, batch: deal.batch }
                    }
                    Table::Train => {
                        return broken(format!("batch {} of {}", deal.batch, self.batches.count()));
                    }
                    table => Task::Evaluate { table },
                };
                let (pass, step) = (Pass(deal.pass), Step(deal.step));
                Ok(ToWorker::Deal(Deal { pass, step, task, span: self.span(span)? }))
            }
            Some(Kind::Weights(weights)) if weights.step > COUNT_MAX => {
                broken(format!("weights of step {}", weights.step))
            }
            Some(Kind::Weights(weights)) if weights.pass_on.len() > PASSED_ON_MAX => {
                broken(format!("weights for {} workers", weights.pass_on.len()))
            }
            Some(Kind::Weights(wire::Weights {
                home: Some(home),
                ref digest,
                step,
                chunk,
                ..
            })) => self.named_weights((Step(step), chunk), WorkerId(home), digest),
            Some(Kind::Weights(weights)) if weights.shared => {
                let (chunk, _) = self.chunk(weights.chunk)?;
                Ok(ToWorker::SharedWeights { step: Step(weights.step), chunk })
            }
            Some(Kind::Weights(weights)) if !weights.coded.is_empty() => {
                let step = Step(weights.step);
                let chunk = self.coded_weights(step, weights.chunk, &weights.coded)?;
                let pass_on = weights.pass_on.into_iter().map(WorkerId).collect();
                Ok(ToWorker::CodedWeights { step, chunk, coded: weights.coded, pass_on })
            }
            Some(Kind::Weights(weights)) => {
                let (chunk, range) = self.chunk(weights.chunk)?;
                self.check_len(chunk, &weights.values, range.range.len())?;
                let pass_on = weights.pass_on.into_iter().map(WorkerId).collect();
                let (step, values) = (Step(weights.step), weights.values);
                Ok(ToWorker::Weights { step, chunk, values, pass_on })
            }
            Some(Kind::Finish(wire::Finish { error, stopped })) => match (error, stopped) {
                (error, false) if error.is_empty() => Ok(ToWorker::Finish(Ending::Finished)),
                (error, false) => Ok(ToWorker::Finish(Ending::Failed(shortened(error)))),
                (error, true) if error.is_empty() => Ok(ToWorker::Finish(Ending::Stopped)),
                (_, true) => broken("an end that is both a stop and a failure"),
            },
            Some(Kind::Coding(coding)) => Ok(ToWorker::Code(coding.is_on)),
            Some(Kind::Roster(roster)) => peers::roster(roster),
            Some(Kind::Route(route)) => Ok(ToWorker::Route(self.route(route)?)),
            Some(Kind::Dealt(dealt)) => Ok(ToWorker::Dealt(self.dealt(dealt)?)),
            Some(Kind::Welcome(_)) => broken("a second welcome"),
            None => broken("no content"),
        }
    }

    fn part(&self, part: wire::ResultPart) -> Checked<ResultPart> {
        let slices = self.slices(part.slices)?;
        let sums = part.sums.into_iter().map(|sums| {
            let node = self.node(sums.level, sums.index)?;
            // Which of the two is told apart where it is known what the pass is.
            let (of_step, of_table) = (self.sums_len, self.table_sums_len);
            if ![of_step, of_table].contains(&sums.values.len()) {
                return broken(format!(
                    "{} sums, wanted {of_step} of a step or {of_table} of a table",
                    sums.values.len()
                ));
            }
            if !sums.values.iter().all(|sum| sum.is_finite()) {
                return broken("sums that are not finite");
            }
            if sums.rows == 0 {
                return broken(format!("sums over no rows in {node}"));
            }
            Ok(NodeSums { node, rows: sums.rows, values: sums.values })
        });
        let sums = sums.collect::<Checked<_>>()?;
        let done = part.done.map(|done| {
            let Some(span) = done.span else { return broken("a deal is done, but not which") };
            let busy = Duration::from_nanos(done.busy_nanoseconds);
            Ok(Done { span: self.span(span)?, busy })
        });
        Ok(ResultPart { pass: Pass(part.pass), slices, sums, done: done.transpose()? })
    }

    pub(super) fn slices(&self, slices: Vec<wire::Slice>) -> Checked<Vec<Slice>> {
        let mut budget = Budget::new();
        slices.into_iter().map(|slice| self.slice(&mut budget, slice)).collect()
    }

    pub(super) fn slice(&self, budget: &mut Budget, slice: wire::Slice) -> Checked<Slice> {
        let node = self.node(slice.level, slice.index)?;
        let (chunk, range) = self.chunk(slice.chunk)?;
        let values = budget.values(self, range, slice.values, &slice.coded)?;
        self.check_len(chunk, &values, range.sums_len())?;
        // A worker whose own gradient overflows says so, and sends none.
        if !self.precision.frame_is_finite(&values) {
            return broken(format!("a gradient that is not finite, for {node} of {chunk}"));
        }
        let squares = &values[range.range.len() * self.precision.width()..];
        if !self.precision.frame_has_no_sign(squares) {
            return broken(format!("a sum of squares below 0, for {node} of {chunk}"));
        }
        Ok(Slice { node, chunk, values })
    }

    pub(super) fn span(&self, span: wire::Span) -> Checked<Span> {
        if span.start < span.end && span.end <= self.tree.shards() {
            return Ok(Span { start: span.start, end: span.end });
        }
        broken(format!("shards {}..{} of {}", span.start, span.end, self.tree.shards()))
    }

    pub(super) fn node(&self, level: u32, index: u32) -> Checked<Node> {
        let node = Node { level, index };
        match self.tree.span(node) {
            Some(_) => Ok(node),
            None => broken(format!("{node} is not in the tree of {} shards", self.tree.shards())),
        }
    }

    pub(super) fn chunk(&self, chunk: u32) -> Checked<(Chunk, &ChunkRange)> {
        match self.layout.chunks().get(chunk as usize) {
            Some(known) => Ok((Chunk(chunk), known)),
            None => broken(format!("chunk {chunk} of {}", self.layout.chunks().len())),
        }
    }

    pub(super) fn check_len(&self, chunk: Chunk, bytes: &[u8], len: usize) -> Checked<()> {
        if self.precision.holds(bytes, len) {
            return Ok(());
        }
        let (found, width) = (bytes.len(), self.precision.width());
        broken(format!("{chunk} with {found} bytes, wanted {len} values of {width} bytes"))
    }
}

/// As much of a peer's text as people are shown.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
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
        // Other versions, which are refused in words, have none.
        let identity = match &join.identity[..] {
            [] => None,
            bytes => match bytes.try_into() {
                Ok(identity) => Some(identity),
                Err(_) => {
                    return broken(format!("an identity of {} bytes, wanted 16", bytes.len()));
                }
            },
        };
        Ok(Join {
            protocol: join.protocol,
            version: join.version,
            numeric_profile: join.numeric_profile,
            run_id: Some(join.run_id).filter(|id| !id.is_empty()),
            host: join.host,
            pid: join.pid,
            threads: join.threads.clamp(1, THREADS_MAX),
            identity,
        })
    }
}

impl Welcome {
    /// Checks the first message of a coordinator.
    ///
    /// # Errors
    /// If it is not a welcome, or its counts or its precision cannot be.
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
        if [welcome.validation_rows, welcome.test_rows].iter().any(|&rows| rows > u32::MAX.into()) {
            return broken("a table of more than 2^32 rows");
        }
        if !(1..=NAME_BYTES_MAX).contains(&welcome.run_id.len()) {
            return broken(format!("a run id of {} bytes", welcome.run_id.len()));
        }
        if welcome.steps_per_update == 0 {
            return broken("updates of 0 steps, wanted at least 1");
        }
        let values_max = welcome.chunk_values_max;
        if !chunk_values_may_be(values_max as usize) {
            return broken(format!(
                "chunks of up to {values_max} values, wanted 2^14, 2^15 or 2^16"
            ));
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
            precision: precision_of(welcome.precision)?,
            clips: welcome.clips,
            is_weighted: welcome.is_weighted,
            has_row_squares: welcome.has_row_squares,
            steps_per_update: welcome.steps_per_update,
            chunk_values_max: values_max,
            weights: welcome.weights.as_ref().and_then(Ticket::from_wire),
            peers: welcome.peers,
            execution: welcome.execution,
        })
    }
}

impl ShardRequest {
    /// Checks a request. Whether the run has such a table and shard is the receiver's business.
    ///
    /// # Errors
    /// If the table is unknown.
    pub fn from_wire(request: wire::ShardRequest) -> Checked<ShardRequest> {
        let table = table_of(request.table)?;
        Ok(ShardRequest { run_id: request.run_id, table, shard: Shard(request.shard) })
    }
}

fn precision_of(precision: i32) -> Checked<Precision> {
    match wire::Precision::try_from(precision) {
        Ok(wire::Precision::F32) => Ok(Precision::F32),
        Ok(wire::Precision::Bf16) => Ok(Precision::Bf16),
        _ => broken(format!("precision {precision} is unknown")),
    }
}

fn table_of(table: i32) -> Checked<Table> {
    match wire::Table::try_from(table) {
        Ok(wire::Table::Train) => Ok(Table::Train),
        Ok(wire::Table::Validation) => Ok(Table::Validation),
        Ok(wire::Table::Test) => Ok(Table::Test),
        _ => broken(format!("table {table} is unknown")),
    }
}
