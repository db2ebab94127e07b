//! What a job is drawn from: schedules, networks, policies and rows, from seeds.

use lockstep_coordinator::Averaging;
use lockstep_coordinator::engine::Schedule;
use lockstep_coordinator::policy::{EarlyStopping, Measure, Mode, Watched};
use lockstep_data::Rows;
use lockstep_model::{
    Activation, AvgPool, BatchNorm, Conv2d, Dense, Dropout, Embedding, Flatten, LayerNorm,
    LayerSpec, Loss, MaxPool, Metric, Network, NetworkSpec, Padding, RandomFlip, RandomTranslation,
    Residual,
};
use lockstep_proto::batches::Batches;
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::ShardTree;

use super::WEIGHT_MAX;
use crate::draw::one_in;

pub(super) fn draw_schedule(random: &mut Random) -> Schedule {
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
pub(super) fn draw_early_stopping(seed: u64, schedule: &mut Schedule) -> Option<Watched> {
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
pub(super) fn draw_averaging(seed: u64) -> Option<Averaging> {
    let random = &mut Random::new(seed, Purpose::Split, 4, 0);
    if one_in(random, 2) {
        return None;
    }
    let overwrite_frequency = one_in(random, 2).then(|| 1 + u64::from(random.below(4)));
    Some(Averaging { momentum: random.unit_f32(), overwrite_frequency })
}

/// Steps of one update: more than one where weights do not become their averages.
pub(super) fn draw_steps_per_update(seed: u64, averaging: Option<Averaging>) -> u64 {
    let random = &mut Random::new(seed, Purpose::Split, 5, 0);
    let overwrites = averaging.is_some_and(|averaging| averaging.overwrite_frequency.is_some());
    if overwrites || one_in(random, 2) { 1 } else { u64::from(1 + random.below(5)) }
}

/// The rows of every third job with weights, some of them 0.
pub(super) fn draw_weights(seed: u64, rows: Rows) -> Rows {
    if seed % 3 != 1 {
        return rows;
    }
    let random = &mut Random::new(seed, Purpose::Split, 2, 0);
    let weight = |_| if one_in(random, 5) { 0.0 } else { WEIGHT_MAX * random.unit_f32() };
    let weights: Vec<f32> = (0..rows.len()).map(weight).collect();
    rows.weighted(&weights)
}

pub(super) fn draw_network(random: &mut Random) -> NetworkSpec {
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
pub(super) fn enrich(seed: u64, spec: &mut NetworkSpec) {
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
pub(super) fn draw_image(seed: u64, spec: &mut NetworkSpec) {
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

/// Batch normalization in any place but the last of every third network.
pub(super) fn draw_batch_norm(seed: u64, spec: &mut NetworkSpec) {
    let random = &mut Random::new(seed, Purpose::Split, 7, 0);
    if !one_in(random, 3) {
        return;
    }
    // Of one or two rows the variance may be next to nothing.
    let norm = BatchNorm::new().momentum(0.5).epsilon(0.5);
    let norm = if one_in(random, 3) { norm.without_center().without_scale() } else { norm };
    let place = random.below(spec.layers.len() as u32) as usize;
    spec.layers.insert(place, norm.into());
}

/// Freezes some layers of every third network, but not the last.
pub(super) fn freeze(seed: u64, spec: &mut NetworkSpec) {
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
        } else if let Some(norm) = layer.get::<BatchNorm>().filter(|_| is_chosen) {
            *layer = norm.clone().frozen().into();
        }
    }
}

/// Values of a row that goes into the first layer.
pub(super) fn input_width(spec: &NetworkSpec) -> usize {
    spec.inputs + spec.embeddings.iter().map(|table| table.dimension).sum::<usize>()
}

pub(super) fn draw_embeddings(random: &mut Random) -> Vec<Embedding> {
    let columns = 1 + random.below(2);
    let column = |column: u32| Embedding {
        column: format!("c{column}"),
        rows: 1 + random.below(9) as usize,
        dimension: 1 + random.below(3) as usize,
        trainable: None,
    };
    (0..columns).map(column).collect()
}

pub(super) fn draw_rows(random: &mut Random, network: &Network, loss: Loss, rows: u64) -> Rows {
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
