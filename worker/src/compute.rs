//! From a deal to its results: gathers rows, runs the network. Plain blocking code: no
//! network, no clock, no decision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_data::RowOrder;
use lockstep_model::{Microbatch, Network, NonFinite, NonFiniteKind, Workspace};
use lockstep_proto::frame::{Deal, Done, Fault, FromWorker, NodeSums, Part};
use lockstep_proto::ids::{Shard, Span, Task};
use lockstep_proto::tree::{Node, ShardTree};
use ndarray::ArrayView2;

use crate::parts::{Frames, Parts};
use crate::shards::Rows;

/// A deal with all that it needs.
pub(crate) struct Work {
    pub(crate) deal: Deal,
    pub(crate) weights: Arc<Vec<f32>>,
    pub(crate) shards: Vec<(Shard, Rows)>,
}

pub(crate) struct Compute {
    network: Arc<Network>,
    tree: ShardTree,
    order: RowOrder,
    frames: Frames,
    workspace: Workspace,
    features: Vec<f32>,
    targets: Vec<f32>,
    /// Each shard's order of rows in the epoch it was last asked for.
    orders: HashMap<Shard, (u32, Vec<u32>)>,
}

impl Compute {
    pub(crate) fn new(
        network: Arc<Network>,
        tree: ShardTree,
        order: RowOrder,
        frames: Frames,
    ) -> Compute {
        Compute {
            workspace: Workspace::new(&network),
            network,
            tree,
            order,
            frames,
            features: Vec::new(),
            targets: Vec::new(),
            orders: HashMap::new(),
        }
    }

    /// Floating-point operations of a deal, for choosing where to compute it.
    pub(crate) fn flops(&self, deal: &Deal, shards: &[(Shard, Rows)]) -> u64 {
        let rows: u64 = match deal.task {
            Task::Train { batch, .. } => {
                let places =
                    deal.span.shards().map(|shard| self.order.batches.microbatch(batch, shard.0));
                places.map(|places| places.end - places.start).sum()
            }
            Task::Evaluate { .. } => {
                let width = self.width();
                shards.iter().map(|(_, rows)| (rows.len() / width) as u64).sum()
            }
        };
        rows * self.network.flops_per_row()
    }

    /// Does the work and hands out the results as they are made.
    pub(crate) fn run(&mut self, work: &Work, send: &mut dyn FnMut(FromWorker)) {
        let result = match work.deal.task {
            Task::Train { epoch, batch } => self.train(work, epoch, batch, send),
            Task::Evaluate { .. } => self.evaluate(work, send),
        };
        if let Err(fault) = result {
            send(FromWorker::Fault(Fault {
                pass: work.deal.pass,
                shard: Shard(fault.shard),
                layer: fault.layer.map(|layer| layer as u32),
                in_gradient: matches!(fault.what, NonFiniteKind::Gradient),
            }));
        }
    }

    fn width(&self) -> usize {
        self.network.inputs() + self.network.target_width()
    }

    fn train(
        &mut self,
        work: &Work,
        epoch: u32,
        batch: u64,
        send: &mut dyn FnMut(FromWorker),
    ) -> Result<(), NonFinite> {
        let microbatches = self.gather(work, epoch, batch);
        let has_rows = |node: &Node| rows_in(self.tree, *node, &microbatches) > 0;
        let nodes: Vec<Node> =
            self.tree.nodes(work.deal.span).into_iter().filter(has_rows).collect();
        let mut parts = Parts::new(&self.network, &self.frames, work.deal.pass, &nodes, send);
        let (x, y) = views(&self.network, &self.features, &self.targets);
        let sums = self.network.gradient(
            &work.weights,
            x,
            y,
            &microbatches,
            &nodes,
            self.frames.precision,
            &mut self.workspace,
            &mut parts,
        )?;
        let sums = nodes.iter().zip(sums).map(|(&node, values)| {
            let rows = rows_in(self.tree, node, &microbatches);
            NodeSums { node, rows, values }
        });
        parts.finish(sums.collect(), work.deal.span);
        Ok(())
    }

    /// Copies the rows of the span's microbatches, shard by shard, each in its order of the epoch.
    fn gather(&mut self, work: &Work, epoch: u32, batch: u64) -> Vec<Microbatch> {
        let (inputs, width) = (self.network.inputs(), self.width());
        self.features.clear();
        self.targets.clear();
        let mut microbatches = Vec::with_capacity(work.shards.len());
        let mut row_count = 0;
        for (shard, rows) in &work.shards {
            let places = self.order.batches.microbatch(batch, shard.0);
            if places.is_empty() {
                continue;
            }
            let order = self.orders.entry(*shard).or_default();
            if order.0 != epoch {
                *order = (epoch, self.order.shard_order(epoch, shard.0));
            }
            let places = places.start as usize..places.end as usize;
            for &place in &order.1[places.clone()] {
                let row = &rows[place as usize * width..][..width];
                self.features.extend_from_slice(&row[..inputs]);
                self.targets.extend_from_slice(&row[inputs..]);
            }
            let start = row_count;
            row_count += places.len();
            microbatches.push(Microbatch { shard: shard.0, rows: start..row_count });
        }
        microbatches
    }

    fn evaluate(&mut self, work: &Work, send: &mut dyn FnMut(FromWorker)) -> Result<(), NonFinite> {
        let mut sums = Vec::with_capacity(work.shards.len());
        for (shard, rows) in &work.shards {
            let mut values = vec![0.0; self.network.sums_len()];
            self.network
                .evaluate_rows(&work.weights, rows, &mut self.workspace, &mut values)
                .map_err(|fault| NonFinite { shard: shard.0, ..fault })?;
            let rows = (rows.len() / self.width()) as u64;
            sums.push(NodeSums { node: Node::leaf(shard.0), rows, values });
        }
        let done = Some(done(work.deal.span));
        send(FromWorker::Part(Part { pass: work.deal.pass, slices: Vec::new(), sums, done }));
        Ok(())
    }
}

/// The rows that were gathered for a node.
fn rows_in(tree: ShardTree, node: Node, microbatches: &[Microbatch]) -> u64 {
    let span = tree.span(node).expect("canonical nodes lie in the tree");
    let inside = microbatches.iter().filter(|part| (span.start..span.end).contains(&part.shard));
    inside.map(|part| part.rows.len() as u64).sum()
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

/// The word that a deal is done; how long it took is for whoever has a clock to fill in.
pub(crate) fn done(span: Span) -> Done {
    Done { span, busy: Duration::ZERO }
}
