//! A small job: a network of a few layers, tables of random rows, and how it is learned.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use lockstep_coordinator::Optimizer;
use lockstep_coordinator::engine::Schedule;
use lockstep_coordinator::policy::{
    CosineDecay, EarlyStopping, LearningRate, Measure, Mode, ReduceOnPlateau, Watched,
};
use lockstep_coordinator::{
    Averaging, Coding, Homes, RunSpec, Snapshot, SumBounds, ends_with_averages,
};
use lockstep_data::{RowOrder, Rows, Sharded};
use lockstep_model::{
    Activation, AvgPool, Conv2d, Dense, Dropout, Embedding, Flatten, LayerNorm, LayerSpec, Loss,
    MaxPool, Metric, Network, NetworkSpec, Padding, RandomFlip, RandomTranslation, Residual,
};
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::Welcome;
use lockstep_proto::ids::{Chunk, Shard, Step, Table, WorkerId};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::{self, Precision};

use crate::draw::one_in;

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

fn draw_schedule(random: &mut Random) -> Schedule {
    let shards = 1 + random.below(20);
    let rows = 1 + random.below(60);
    let smallest = rows.div_ceil(8);
    let batch_size = u64::from(smallest + random.below(rows - smallest + 1));
    let mut table = || (!one_in(random, 3)).then(|| u64::from(1 + random.below(30)));
    let (validation_rows, test_rows) = (table(), table());
    Schedule {
        tree: ShardTree::new(shards),
        train: Batches { rows: u64::from(rows), shards, batch_size },
        validation_rows,
        test_rows,
        epochs: 1 + random.below(3),
        restores: false,
        steps_per_update: 1,
    }
}

/// Whether the loss of the validation table is watched, and for what. Runs that may end early have more epochs to end before,
/// and some want the loss to grow: they are over soon.
fn draw_early_stopping(seed: u64, schedule: &mut Schedule) -> Option<Watched> {
    let random = &mut Random::new(seed, Purpose::Split, 1, 0);
    if schedule.validation_rows.is_none() || one_in(random, 2) {
        return None;
    }
    schedule.epochs += random.below(4);
    let rule = EarlyStopping::new("validation_loss")
        .patience(1 + random.below(2))
        .restore_best_weights(!one_in(random, 3));
    let mode = if one_in(random, 2) { Mode::Min } else { Mode::Max };
    let measure = Measure::new(|sums, rows| sums[0] / rows as f64);
    Some(Watched { rule, mode, measure })
}

/// Whether weights are averaged, and how often they become their averages.
fn draw_averaging(seed: u64) -> Option<Averaging> {
    let random = &mut Random::new(seed, Purpose::Split, 4, 0);
    if one_in(random, 2) {
        return None;
    }
    let overwrite_frequency = one_in(random, 2).then(|| 1 + u64::from(random.below(4)));
    Some(Averaging { momentum: random.unit_f32(), overwrite_frequency })
}

/// Steps of one update: more than one where weights do not become their averages.
fn draw_steps_per_update(seed: u64, averaging: Option<Averaging>) -> u64 {
    let random = &mut Random::new(seed, Purpose::Split, 5, 0);
    let overwrites = averaging.is_some_and(|averaging| averaging.overwrite_frequency.is_some());
    if overwrites || one_in(random, 2) { 1 } else { u64::from(1 + random.below(5)) }
}

/// The rows of every third job with weights, some of them 0.
fn draw_weights(seed: u64, rows: Rows) -> Rows {
    if seed % 3 != 1 {
        return rows;
    }
    let random = &mut Random::new(seed, Purpose::Split, 2, 0);
    let weight = |_| if one_in(random, 5) { 0.0 } else { WEIGHT_MAX * random.unit_f32() };
    let weights: Vec<f32> = (0..rows.len()).map(weight).collect();
    rows.weighted(&weights)
}

fn draw_network(random: &mut Random) -> NetworkSpec {
    let loss = match random.below(5) {
        0 => Loss::Mse,
        1 => Loss::Mae,
        2 => Loss::Huber { delta: 1.0 },
        3 => Loss::CROSS_ENTROPY,
        _ => Loss::BINARY_CROSS_ENTROPY,
    };
    let drops = one_in(random, 2);
    let mut layers: Vec<LayerSpec> = Vec::new();
    for _ in 0..random.below(4) {
        if drops && one_in(random, 2) {
            layers.push(Dropout::new(0.4).into());
        }
        let activations =
            [Activation::Relu, Activation::Tanh, Activation::Gelu, Activation::Sigmoid];
        let activation = activations[random.below(4) as usize];
        layers.push(Dense::new(1 + random.below(6) as usize).activation(activation).into());
    }
    if drops {
        layers.push(Dropout::new(0.2).into());
    }
    let (activation, units) = match loss {
        Loss::CrossEntropy { .. } => (Activation::Softmax, 2 + random.below(3)),
        Loss::BinaryCrossEntropy { .. } => (Activation::Sigmoid, 1 + random.below(2)),
        _ => (Activation::Linear, 1 + random.below(3)),
    };
    layers.push(Dense::new(units as usize).activation(activation).into());
    let metrics = match loss {
        _ if one_in(random, 3) => Vec::new(),
        loss if loss.is_of_labels() => vec![Metric::Accuracy],
        _ => vec![Metric::Mae, Metric::R2],
    };
    let inputs = 1 + random.below(4) as usize;
    let embeddings = if one_in(random, 2) { draw_embeddings(random) } else { Vec::new() };
    NetworkSpec { inputs, image: None, embeddings, layers, loss, metrics, units: Vec::new() }
}

/// Puts layers of other kinds into every second network, and penalties of weights into some.
fn enrich(seed: u64, spec: &mut NetworkSpec) {
    let random = &mut Random::new(seed, Purpose::Split, 3, 0);
    if one_in(random, 2) {
        return;
    }
    let last = spec.layers.last_mut().expect("the layer of the outputs");
    if let Some(dense) = last.get::<Dense>().filter(|_| one_in(random, 2)) {
        *last = dense.clone().kernel_l1(0.01).kernel_l2(0.02).into();
    }
    let norm = LayerNorm::new();
    let norm = if one_in(random, 3) { norm.without_center() } else { norm };
    let place = random.below(spec.layers.len() as u32) as usize;
    spec.layers.insert(place, norm.into());
    if one_in(random, 2) {
        let inside = Dense::new(1 + random.below(5) as usize).activation(Activation::Tanh);
        let width = spec.layers[..place].iter().rev().find_map(|layer| layer.get::<Dense>());
        let width = width.map_or_else(|| input_width(spec), |layer| layer.units);
        let block = Residual::new().layer(inside).layer(Dense::new(width));
        spec.layers.insert(place, block.into());
    }
}

/// Rows of every third network without embeddings are images: layers of these come first, down to as many values as a row had.
fn draw_image(seed: u64, spec: &mut NetworkSpec) {
    let random = &mut Random::new(seed, Purpose::Split, 4, 0);
    if !spec.embeddings.is_empty() || !one_in(random, 3) {
        return;
    }
    let mut below = |bound: u32| random.below(bound) as usize;
    let (width, sides) = (spec.inputs, [2 + below(4), 2 + below(3), 1 + below(2)]);
    let conv = Conv2d::new(1 + below(3), [1 + below(2), 1 + below(2)]);
    let conv = if below(2) == 0 { conv.padding(Padding::Same) } else { conv };
    let mut layers: Vec<LayerSpec> = match below(4) {
        0 => vec![RandomFlip::default().into()],
        1 => vec![RandomTranslation::new(0.3, 0.5).into()],
        _ => Vec::new(),
    };
    layers.push(conv.activation(Activation::Tanh).into());
    layers.push(match below(3) {
        0 => MaxPool::default().padding(Padding::Same).into(),
        1 => AvgPool::new([1, 1]).strides([2, 1]).into(),
        _ => Dropout::new(0.1).into(),
    });
    layers.extend([Flatten::new().into(), Dense::new(width).into()]);
    layers.append(&mut spec.layers);
    (spec.inputs, spec.image, spec.layers) = (sides.iter().product(), Some(sides), layers);
}

/// Freezes some layers of every third network, but not the last.
fn freeze(seed: u64, spec: &mut NetworkSpec) {
    let random = &mut Random::new(seed, Purpose::Split, 6, 0);
    if !one_in(random, 3) {
        return;
    }
    let last = spec.layers.len() - 1;
    for layer in &mut spec.layers[..last] {
        let is_chosen = one_in(random, 2);
        if let Some(dense) = layer.get::<Dense>().filter(|_| is_chosen) {
            *layer = dense.clone().frozen().into();
        } else if let Some(conv) = layer.get::<Conv2d>().filter(|_| is_chosen) {
            *layer = conv.clone().frozen().into();
        } else if let Some(norm) = layer.get::<LayerNorm>().filter(|_| is_chosen) {
            *layer = norm.clone().frozen().into();
        }
    }
}

/// Values of a row that goes into the first layer.
fn input_width(spec: &NetworkSpec) -> usize {
    spec.inputs + spec.embeddings.iter().map(|table| table.dimension).sum::<usize>()
}

fn draw_embeddings(random: &mut Random) -> Vec<Embedding> {
    let columns = 1 + random.below(2);
    let column = |column: u32| Embedding {
        column: format!("c{column}"),
        rows: 1 + random.below(9) as usize,
        dimension: 1 + random.below(3) as usize,
    };
    (0..columns).map(column).collect()
}

fn draw_rows(random: &mut Random, network: &Network, loss: Loss, rows: u64) -> Rows {
    let (spec, targets) = (network.spec(), network.target_width());
    let mut values = Vec::new();
    for _ in 0..rows {
        values.extend((0..spec.inputs).map(|_| 2.0 * random.unit_f32() - 1.0));
        let places = spec.embeddings.iter().map(|table| random.below(table.rows as u32) as f32);
        values.extend(places);
        values.extend((0..targets).map(|_| match loss {
            Loss::CrossEntropy { .. } => random.below(network.outputs() as u32) as f32,
            Loss::BinaryCrossEntropy { .. } => random.below(2) as f32,
            _ => 2.0 * random.unit_f32() - 1.0,
        }));
    }
    Rows::new(network.inputs(), targets, values)
}
