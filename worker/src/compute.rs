//! From a deal to its results: gathers rows, runs the network. Plain blocking code: no
//! network, no clock, no decision.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lockstep_data::RowOrder;
use lockstep_model::{
    Batch, Microbatch, Network, NonFinite, NonFiniteKind, TrainingRows, Workspace,
};
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{Deal, Divergence, Done, FromWorker, NodeSums};
use lockstep_proto::ids::{Shard, Span, Step, Task};
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_reduce::shared::lane::Lane;
use ndarray::ArrayView2;
use tracing::trace_span;

use crate::parts::{Frames, Parts, SumParts};
use crate::shards::Rows;
use crate::weights::Version;

/// A deal with all that it needs.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) deal: Deal,
    pub(crate) weights: Arc<Version>,
    pub(crate) shards: Vec<(Shard, Rows)>,
}

/// A span's rows of a batch, on the weights of a step: what a forward pass depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanBatch {
    pub(crate) step: Step,
    pub(crate) epoch: u32,
    pub(crate) batch: u64,
    pub(crate) span: Span,
}

impl SpanBatch {
    /// What a deal is about, if it is one of training.
    pub(crate) fn of(deal: &Deal) -> Option<SpanBatch> {
        let Task::Train { epoch, batch } = deal.task else { return None };
        Some(SpanBatch { step: deal.step, epoch, batch, span: deal.span })
    }

    /// What this worker is likely to be dealt after it; `None` if something else comes between two epochs.
    pub(crate) fn next(self, batches: Batches, epochs_are_measured: bool) -> Option<SpanBatch> {
        let (step, batch) = (Step(self.step.0.checked_add(1)?), self.batch.checked_add(1)?);
        if batch < batches.count() {
            return Some(SpanBatch { step, batch, ..self });
        }
        let next = SpanBatch { step, epoch: self.epoch.checked_add(1)?, batch: 0, ..self };
        (!epochs_are_measured).then_some(next)
    }
}

pub(crate) struct Compute {
    network: Arc<Network>,
    tree: ShardTree,
    order: RowOrder,
    frames: Frames,
    workspace: Workspace,
    features: Vec<f32>,
    targets: Vec<f32>,
    /// Of each row, where the run is weighted; otherwise empty.
    weights: Vec<f32>,
    is_weighted: bool,
    /// Which of them are the rows of which shard.
    microbatches: Vec<Microbatch>,
    /// The step in which they are learned from.
    step: Step,
    /// What ran forward in the workspace and how long that took, until the workspace is used again.
    ran_forward: Option<(SpanBatch, Duration)>,
    /// Each shard's order of rows in the epoch it was last asked for.
    orders: HashMap<Shard, (u32, Vec<u32>)>,
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compute").field("ran_forward", &self.ran_forward).finish_non_exhaustive()
    }
}

impl Compute {
    pub(crate) fn new(
        network: Arc<Network>,
        tree: ShardTree,
        order: RowOrder,
        frames: Frames,
        is_weighted: bool,
    ) -> Compute {
        Compute {
            workspace: Workspace::new(&network),
            network,
            tree,
            order,
            frames,
            features: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
            is_weighted,
            microbatches: Vec::new(),
            step: Step(0),
            ran_forward: None,
            orders: HashMap::new(),
        }
    }

    /// From now on gradients are computed in memory that the coordinator reads.
    pub(crate) fn share(&mut self, lane: Arc<Lane>) {
        self.frames.lane = Some(lane);
    }

    /// Lets go of the orders of shards whose rows are not kept any more.
    pub(crate) fn forget_orders(&mut self, is_kept: impl Fn(Shard) -> bool) {
        self.orders.retain(|&shard, _| is_kept(shard));
    }

    /// Floating-point operations of a deal, for choosing where to compute it.
    pub(crate) fn flops(&self, deal: &Deal, shards: &[(Shard, Rows)]) -> u64 {
        let rows: u64 = match deal.task {
            Task::Train { batch, .. } => self.order.batches.span_rows(batch, deal.span),
            Task::Evaluate { .. } => {
                let width = self.width();
                shards.iter().map(|(_, rows)| (rows.len() / width) as u64).sum()
            }
        };
        rows.saturating_mul(self.network.flops_per_row())
    }

    /// Does the work and hands out the results as they are made. How long it took is for whoever has a clock to add to the
    /// last one; what ran forward before is in there.
    pub(crate) fn run(&mut self, work: &Work, send: &mut dyn FnMut(FromWorker)) {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("compute");
        let step = work.deal.step.0 + 1;
        let _span =
            trace_span!(target: TARGET, "deal", step, shard = work.deal.span.start).entered();
        let result = match SpanBatch::of(&work.deal) {
            Some(batch) => self.train(work, batch, send),
            None => self.evaluate(work, send),
        };
        if let Err(found) = result {
            send(FromWorker::Divergence(Divergence {
                pass: work.deal.pass,
                shard: Shard(found.shard),
                layer: found.layer.map(|layer| layer as u32),
                in_gradient: matches!(found.what, NonFiniteKind::Gradient),
            }));
        }
    }

    /// Values in a row to be measured; in one to be learned from there may be its weight behind them.
    fn width(&self) -> usize {
        self.network.inputs() + self.network.target_width()
    }

    fn train(
        &mut self,
        work: &Work,
        batch: SpanBatch,
        send: &mut dyn FnMut(FromWorker),
    ) -> Result<(), NonFinite> {
        let busy = match self.ran_forward.take() {
            Some((ran, busy)) if ran == batch => busy,
            _ => {
                self.gather(batch, &work.shards);
                for layer in 0..work.weights.layers() {
                    let values = work.weights.layer(layer).expect("whole weights are dealt on");
                    self.forward(layer, values);
                }
                Duration::ZERO
            }
        };
        let has_rows = |node: &Node| rows_in(self.tree, *node, &self.microbatches) > 0;
        let nodes: Vec<Node> = self.tree.nodes(batch.span).into_iter().filter(has_rows).collect();
        let mut parts = Parts::new(&self.network, &self.frames, work.deal.pass, &nodes, send);
        let (x, y) = views(&self.network, &self.features, &self.targets);
        let rows = identities(&self.order, self.step, &self.microbatches);
        let weights = self.is_weighted.then_some(&self.weights[..]);
        let precision = self.frames.precision;
        let rows = Batch { x, y, weights, rows, nodes: &nodes, precision };
        let sums = self.network.backward(&*work.weights, &rows, &mut self.workspace, &mut parts)?;
        let sums = nodes.iter().zip(sums).map(|(&node, values)| {
            let rows = rows_in(self.tree, node, &self.microbatches);
            NodeSums { node, rows, values }
        });
        parts.finish(sums.collect(), Done { span: batch.span, busy });
        Ok(())
    }

    /// Copies the rows of the span's microbatches, shard by shard, each in its order of the epoch.
    pub(crate) fn gather(&mut self, batch: SpanBatch, shards: &[(Shard, Rows)]) {
        let _span = trace_span!(target: TARGET, "gather", step = batch.step.0 + 1).entered();
        let (inputs, behind) = (self.network.inputs(), self.width());
        let width = behind + usize::from(self.is_weighted);
        self.ran_forward = None;
        self.step = batch.step;
        self.features.clear();
        self.targets.clear();
        self.weights.clear();
        self.microbatches.clear();
        let mut row_count = 0;
        for (shard, rows) in shards {
            let places = self.order.batches.microbatch(batch.batch, shard.0);
            if places.is_empty() {
                continue;
            }
            let order = self.orders.entry(*shard).or_default();
            if order.0 != batch.epoch {
                *order = (batch.epoch, self.order.shard_order(batch.epoch, shard.0));
            }
            let places = places.start as usize..places.end as usize;
            for &place in &order.1[places.clone()] {
                let row = &rows[place as usize * width..][..width];
                self.features.extend_from_slice(&row[..inputs]);
                self.targets.extend_from_slice(&row[inputs..behind]);
                self.weights.extend_from_slice(&row[behind..]);
            }
            let start = row_count;
            row_count += places.len();
            self.microbatches.push(Microbatch { shard: shard.0, rows: start..row_count });
        }
    }

    /// Runs the gathered rows through a layer, after those before it.
    pub(crate) fn forward(&mut self, layer: usize, values: &[f32]) {
        let _span = trace_span!(target: TARGET, "forward", step = self.step.0 + 1, layer).entered();
        let (x, _) = views(&self.network, &self.features, &self.targets);
        let rows = identities(&self.order, self.step, &self.microbatches);
        self.network.forward_layer(layer, values, x, rows, &mut self.workspace);
    }

    /// Notes that the rows that were gathered for this have run through all layers, and how long that took.
    pub(crate) fn note_forward(&mut self, batch: SpanBatch, busy: Duration) {
        self.ran_forward = Some((batch, busy));
    }

    fn evaluate(&mut self, work: &Work, send: &mut dyn FnMut(FromWorker)) -> Result<(), NonFinite> {
        self.ran_forward = None;
        let mut parts = SumParts::new(work.deal.pass);
        for (shard, rows) in &work.shards {
            let mut values = vec![0.0; self.network.table_sums_len()];
            self.network
                .evaluate_rows(&*work.weights, rows, &mut self.workspace, &mut values)
                .map_err(|found| NonFinite { shard: shard.0, ..found })?;
            let rows = (rows.len() / self.width()) as u64;
            parts.push(NodeSums { node: Node::leaf(shard.0), rows, values }, send);
        }
        parts.finish(Done { span: work.deal.span, busy: Duration::ZERO }, send);
        Ok(())
    }
}

/// The rows that were gathered for a node.
fn rows_in(tree: ShardTree, node: Node, microbatches: &[Microbatch]) -> u64 {
    let span = tree.span(node).expect("canonical nodes lie in the tree");
    let inside = microbatches.iter().filter(|part| (span.start..span.end).contains(&part.shard));
    inside.map(|part| part.rows.len() as u64).sum()
}

/// Who the gathered rows are.
fn identities<'a>(
    order: &RowOrder,
    step: Step,
    microbatches: &'a [Microbatch],
) -> TrainingRows<'a> {
    TrainingRows { seed: order.seed, step: step.0, microbatches }
}

/// The gathered rows as matrices.
fn views<'a>(
    network: &Network,
    features: &'a [f32],
    targets: &'a [f32],
) -> (ArrayView2<'a, f32>, ArrayView2<'a, f32>) {
    let rows = features.len() / network.inputs();
    let view = |width, values| {
        ArrayView2::from_shape((rows, width), values).expect("whole rows were gathered")
    };
    (view(network.inputs(), features), view(network.target_width(), targets))
}
