//! A small job: a network of a few layers, tables of random rows, and how it is learned.

mod drawn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lockstep_coordinator::engine::Schedule;
use lockstep_coordinator::policy::{
    CosineDecay, LearningRate, Measure, Mode, ReduceOnPlateau, Watched,
};
use lockstep_coordinator::{
    Averaging, Coding, Homes, Optimizer, RunSpec, Snapshot, SumBounds, ends_with_averages,
};
use lockstep_data::{RowOrder, Sharded};
use lockstep_model::Network;
use lockstep_proto::frame::Welcome;
use lockstep_proto::ids::{Chunk, Shard, Step, Table, WorkerId};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::random::Random;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::{self, Precision};

use crate::draw::one_in;

use drawn::{
    draw_averaging, draw_batch_norm, draw_early_stopping, draw_image, draw_network, draw_rows,
    draw_schedule, draw_steps_per_update, draw_weights, enrich, freeze,
};

/// The largest weight of a row.
const WEIGHT_MAX: f32 = 3.0;

/// See the module's text.
pub(crate) struct Job {
    pub(crate) seed: u64,
    pub(crate) schedule: Schedule,
    pub(crate) network: Network,
    pub(crate) precision: Precision,
    pub(crate) clip_norm: Option<f32>,
    pub(crate) learning_rate: LearningRate,
    pub(crate) optimizer: Optimizer,
    pub(crate) averaging: Option<Averaging>,
    pub(crate) early_stopping: Option<Watched>,
    shuffle: bool,
    description: String,
    tables: Vec<(Table, Sharded)>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("schedule", &self.schedule)
            .field("network", &self.description)
            .field("chunks", &self.network.layout().chunks().len())
            .field("precision", &self.precision)
            .field("clip_norm", &self.clip_norm)
            .field("shuffle", &self.shuffle)
            .finish_non_exhaustive()
    }
}

impl Job {
    pub(crate) fn drawn(seed: u64, random: &mut Random) -> Job {
        let mut schedule = draw_schedule(random);
        let early_stopping = draw_early_stopping(seed, &mut schedule);
        let mut spec = draw_network(random);
        enrich(seed, &mut spec);
        draw_image(seed, &mut spec);
        draw_batch_norm(seed, &mut spec);
        freeze(seed, &mut spec);
        let description = serde_json::to_string(&spec).expect("a network is JSON");
        let loss = spec.loss;
        let network = Network::new(spec).expect("it was drawn by the rules");
        // As it is shipped, so small a network is one chunk.
        let network = match random.below(4) {
            0 => network,
            _ => network.in_chunks_of(1 + random.below(12) as usize),
        };
        let optimizer = if one_in(random, 2) {
            Optimizer::Sgd { momentum: 0.9, nesterov: true }
        } else {
            let weight_decay = seed.is_multiple_of(3).then_some(0.01);
            Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, weight_decay }
        };
        // One that changes at every step, or not: a coordinator that begins anew has to go on with the same.
        let learning_rate = match seed.is_multiple_of(2) {
            _ if schedule.validation_rows.is_some() && seed % 5 == 1 => {
                let rule = ReduceOnPlateau::new(0.02).factor(0.5).patience(1).min_delta(0.02);
                rule.cooldown((seed / 5 % 2) as u32).into()
            }
            true => CosineDecay::new(0.001, 20).alpha(0.1).warmup(5, 0.02).into(),
            false => LearningRate::from(0.02),
        };
        let (shuffle, shards) = (one_in(random, 2), schedule.tree.shards());
        let order = RowOrder { batches: schedule.train, shuffle, seed };
        let rows = [
            (Table::Train, Some(order)),
            (Table::Validation, schedule.validation_rows.map(|rows| RowOrder::whole(rows, shards))),
            (Table::Test, schedule.test_rows.map(|rows| RowOrder::whole(rows, shards))),
        ];
        let tables = rows.into_iter().filter_map(|(table, order)| Some((table, order?)));
        let tables = tables.map(|(table, order)| {
            let rows = draw_rows(random, &network, loss, order.batches.rows);
            let rows = if table == Table::Train { draw_weights(seed, rows) } else { rows };
            (table, Sharded::new(rows, order))
        });
        let tables = tables.collect();
        let clip_norm = one_in(random, 2).then(|| 0.05 + random.unit_f32());
        let averaging = draw_averaging(seed);
        let steps_per_update = draw_steps_per_update(seed, averaging);
        schedule.steps_per_update = steps_per_update;
        let wants_row_squares =
            steps_per_update == 1 && optimizer.wants_row_squares(clip_norm.is_some());
        let network = network.with_row_squares(wants_row_squares);
        Job {
            seed,
            tables,
            schedule,
            network,
            precision: if seed.is_multiple_of(3) { Precision::Bf16 } else { Precision::F32 },
            clip_norm,
            learning_rate,
            optimizer,
            averaging,
            early_stopping,
            shuffle,
            description,
        }
    }

    pub(crate) fn tree(&self) -> ShardTree {
        self.schedule.tree
    }

    /// The state of a run of it that did not begin.
    pub(crate) fn beginning(&self) -> Snapshot {
        let weights = self.network.initial_parameters(self.seed);
        let layout = self.network.layout();
        Snapshot::fresh(weights, layout, &self.optimizer, self.averaging.is_some())
    }

    /// What a coordinator of one thread that wants one worker is asked, from where an earlier execution was.
    pub(crate) fn spec(&self, start: Snapshot) -> RunSpec {
        let Schedule { train, validation_rows, test_rows, epochs, .. } = self.schedule;
        let bounds = self.network.sum_bounds().into_iter();
        let bounds = bounds.enumerate().map(|(place, (low, high, is_whole))| {
            let factor = if place == 0 { f64::from(WEIGHT_MAX) } else { 1.0 };
            SumBounds { low: low * factor, high: high * factor, is_whole }
        });
        RunSpec {
            run_id: String::new(),
            network: self.description.clone(),
            numeric_profile: String::new(),
            layout: Arc::new(self.network.layout().clone()),
            penalties: self.network.penalties(),
            undecayed: self.undecayed(),
            rectified: self.network.rectified(),
            sum_bounds: bounds.collect(),
            step_sums: self.network.sums_len(),
            start,
            batches: train,
            is_weighted: self.is_weighted(),
            validation_rows,
            test_rows,
            epochs,
            early_stopping: self.early_stopping.clone(),
            shuffle: self.shuffle,
            seed: self.seed,
            optimizer: self.optimizer,
            steps_per_update: self.schedule.steps_per_update,
            averaging: self.averaging,
            learning_rate: self.learning_rate.clone(),
            plateau: self.plateau(),
            clip_norm: self.clip_norm,
            precision: self.precision,
            workers_min: 1,
            audit_fraction: 0.0,
            coding: Coding::Off,
            homes: Homes::Off,
            crews: None,
            workers_start: 1,
            threads: 1,
        }
    }

    /// What reduces the learning rate, if a measure does: often, since most measures are no improvement by so much.
    pub(crate) fn plateau(&self) -> Option<Watched<ReduceOnPlateau>> {
        let rule = self.learning_rate.watches()?.clone();
        let measure = Measure::new(|sums, rows| sums[0] / rows as f64);
        Some(Watched { rule, mode: Mode::Min, measure })
    }

    /// Whether a run ends with the averages of its weights.
    pub(crate) fn ends_with_averages(&self) -> bool {
        let rule = self.early_stopping.as_ref().map(|watched| &watched.rule);
        ends_with_averages(self.averaging, rule)
    }

    /// Whether all chunks of a version came, by what came of each version.
    pub(crate) fn is_whole(&self, came: &BTreeMap<Step, BTreeSet<Chunk>>, version: Step) -> bool {
        let is_here = |(chunk, range): (u32, &ChunkRange)| match range.is_frozen {
            true => came.values().any(|came| came.contains(&Chunk(chunk))),
            false => came.get(&version).is_some_and(|came| came.contains(&Chunk(chunk))),
        };
        (0..).zip(self.network.layout().chunks()).all(is_here)
    }

    /// What AdamW leaves out: every other tensor.
    fn undecayed(&self) -> Vec<Range<usize>> {
        let tensors = self.network.layout().tensors().iter().step_by(2);
        tensors.map(|tensor| tensor.range.clone()).collect()
    }

    fn is_weighted(&self) -> bool {
        self.tables.iter().any(|(_, sharded)| sharded.rows().is_weighted)
    }

    /// What a worker is told when it is let in.
    pub(crate) fn welcome(&self, worker: WorkerId, peers: bool, execution: u64) -> Welcome {
        Welcome {
            run_id: "simulated".to_string(),
            worker,
            network: self.description.clone(),
            batches: self.schedule.train,
            shuffle: self.shuffle,
            seed: self.seed,
            validation_rows: self.schedule.validation_rows.unwrap_or(0),
            test_rows: self.schedule.test_rows.unwrap_or(0),
            precision: self.precision,
            clips: self.clip_norm.is_some(),
            is_weighted: self.is_weighted(),
            has_row_squares: self.network.layout().has_row_squares(),
            steps_per_update: self.schedule.steps_per_update,
            chunk_values_max: self.network.layout().chunk_values_max() as u32,
            weights: None,
            peers,
            execution,
        }
    }

    /// The rows of a shard, as a coordinator sends them.
    pub(crate) fn rows(&self, table: Table, shard: Shard) -> Bytes {
        let known = self.tables.iter().find(|(known, _)| *known == table);
        let sharded = &known.expect("only tables of the job are asked for").1;
        let mut rows = Vec::new();
        sharded.copy(shard.0, 0..sharded.rows_in(shard.0), &mut rows);
        values::encode(&rows)
    }

    /// Most values that a worker may ever hold: all rows, three versions of the weights, a chunk of several layers, and what of
    /// two more versions waits for others.
    pub(crate) fn values_max(&self) -> usize {
        let rows = self.tables.iter().map(|(_, sharded)| sharded.rows().values.len());
        rows.sum::<usize>() + 9 * self.network.layout().len()
    }
}
