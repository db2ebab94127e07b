//! What the tests share: networks, data, and a plain `f64` network written from the formulas alone.

use lockstep_model::{
    Activation, Batch, Dense, Dropout, Embedding, LayerNorm, LayerSpec, Loss, Metric, Microbatch,
    Network, NetworkSpec, NodeGradient, Residual, TrainingRows,
};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use ndarray::Array2;

use crate::images::reference_image;

pub(crate) fn network(
    inputs: usize,
    layers: &[(usize, Activation)],
    loss: Loss,
    metrics: &[Metric],
) -> Network {
    let layers = layers.iter().map(|&(units, activation)| dense(units, activation)).collect();
    of_layers(inputs, layers, loss, metrics)
}

pub(crate) fn dense(units: usize, activation: Activation) -> LayerSpec {
    Dense::new(units).activation(activation).into()
}

pub(crate) fn of_layers(
    inputs: usize,
    layers: Vec<LayerSpec>,
    loss: Loss,
    metrics: &[Metric],
) -> Network {
    embedding(inputs, Vec::new(), layers, loss, metrics)
}

/// Rows of images of these sides.
pub(crate) fn of_images(
    sides: [usize; 3],
    layers: Vec<LayerSpec>,
    loss: Loss,
    metrics: &[Metric],
) -> Network {
    let (inputs, image) = (sides.iter().product(), Some(sides));
    let (embeddings, metrics, units) = (Vec::new(), metrics.to_vec(), Vec::new());
    Network::new(NetworkSpec { inputs, image, embeddings, layers, loss, metrics, units }).unwrap()
}

/// Numbers, then columns that are embedded: rows and dimension of each table.
pub(crate) fn embedding(
    inputs: usize,
    tables: Vec<(usize, usize)>,
    layers: Vec<LayerSpec>,
    loss: Loss,
    metrics: &[Metric],
) -> Network {
    let column = |(at, (rows, dimension))| Embedding {
        column: format!("c{at}"),
        rows,
        dimension,
        trainable: None,
    };
    let embeddings = tables.into_iter().enumerate().map(column).collect();
    let (metrics, units) = (metrics.to_vec(), Vec::new());
    Network::new(NetworkSpec { inputs, image: None, embeddings, layers, loss, metrics, units })
        .unwrap()
}

/// Seed and step of the passes.
pub(crate) const SEED: u64 = 77;
pub(crate) const STEP: u64 = 1234;

/// These microbatches, in the step of the tests.
pub(crate) fn training(microbatches: &[Microbatch]) -> TrainingRows<'_> {
    TrainingRows { seed: SEED, step: STEP, microbatches }
}

/// A number in -1..1 that looks random and is the same everywhere.
pub(crate) fn noise(seed: u64, i: usize) -> f32 {
    let mut bits = (seed << 32 ^ i as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ bits >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

pub(crate) fn matrix(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| noise(seed, i * columns + j))
}

/// Initial parameters with biases that are not 0.
pub(crate) fn parameters(network: &Network) -> Vec<f32> {
    let mut params = network.initial_parameters(7);
    for (i, value) in params.iter_mut().enumerate() {
        *value += 0.1 * noise(11, i);
    }
    params
}

/// Inputs and targets that fit the embeddings and the loss.
pub(crate) fn data(network: &Network, rows: usize) -> (Array2<f32>, Array2<f32>) {
    let mut x = matrix(rows, network.inputs(), 1) * 1.5;
    let spec = network.spec();
    for (at, embedding) in spec.embeddings.iter().enumerate() {
        let rows = embedding.rows as f32;
        let place = |v: f32| ((v / 1.5 + 1.0) * 0.5 * rows).floor().min(rows - 1.0);
        x.column_mut(spec.inputs + at).mapv_inplace(place);
    }
    let y = matrix(rows, network.target_width(), 2);
    let y = match network.spec().loss {
        Loss::CrossEntropy { .. } => {
            let classes = network.outputs() as f32;
            y.mapv(|v| ((v + 1.0) * 0.5 * classes).floor().min(classes - 1.0))
        }
        Loss::BinaryCrossEntropy { .. } => y.mapv(|v| f32::from(u8::from(v > 0.0))),
        Loss::Poisson => y.mapv(|v| ((v + 1.0) * 2.0).floor()),
        _ => y * 2.0,
    };
    (x, y)
}

/// Microbatches of these lengths, each of its shard.
pub(crate) fn microbatches(lens: &[(u32, usize)]) -> Vec<Microbatch> {
    let mut at = 0;
    lens.iter()
        .map(|&(shard, len)| {
            at += len;
            Microbatch { shard, rows: at - len..at }
        })
        .collect()
}

/// Gradient sums, row squares and metric sums of each node, gathered into flat vectors.
pub(crate) struct Gathered {
    pub(crate) gradients: Vec<Vec<f32>>,
    pub(crate) squares: Vec<Vec<f32>>,
    pub(crate) sums: Vec<Vec<f64>>,
}

pub(crate) fn gradient(
    network: &Network,
    params: &[f32],
    (x, y): (&Array2<f32>, &Array2<f32>),
    microbatches: &[Microbatch],
    nodes: &[Node],
) -> Gathered {
    gradient_in(Precision::F32, network, params, (x, y), microbatches, nodes)
}

pub(crate) fn gradient_in(
    precision: Precision,
    network: &Network,
    params: &[f32],
    (x, y): (&Array2<f32>, &Array2<f32>),
    microbatches: &[Microbatch],
    nodes: &[Node],
) -> Gathered {
    gradient_of(precision, network, params, (x, y), training(microbatches), nodes)
}

/// The gradient of rows in any step.
pub(crate) fn gradient_of(
    precision: Precision,
    network: &Network,
    params: &[f32],
    (x, y): (&Array2<f32>, &Array2<f32>),
    rows: TrainingRows<'_>,
    nodes: &[Node],
) -> Gathered {
    let mut ws = lockstep_model::Workspace::new(network);
    let mut gradients = vec![vec![f32::NAN; network.layout().len()]; nodes.len()];
    let mut squares = vec![Vec::new(); nodes.len()];
    let ranges = network.layout().layers();
    let learns = |layer: usize| !ranges[layer].is_empty() && !network.layout().is_frozen(layer);
    let mut layers = (0..ranges.len()).rev().filter(|&layer| learns(layer));
    let mut next = (layers.next().unwrap(), 0);
    let (x, y) = (x.view(), y.view());
    let mut sink = |part: NodeGradient<'_>| {
        assert_eq!((part.layer, part.node), next, "last layer first, nodes in order");
        next = match part.node + 1 {
            node if node == nodes.len() => (layers.next().unwrap_or(usize::MAX), 0),
            node => (part.layer, node),
        };
        let layer = network.layout().layers()[part.layer].clone();
        let (gradient, row_squares) = part.values.split_at(layer.len());
        assert_eq!(row_squares.len(), network.layout().squared_of(part.layer));
        gradients[part.node][layer].copy_from_slice(gradient);
        squares[part.node].extend_from_slice(row_squares);
    };
    let batch = Batch { x, y, weights: None, rows, nodes, precision };
    let sums = network.gradient(&params, &batch, &mut ws, &mut sink).unwrap();
    Gathered { gradients, squares, sums }
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub(crate) fn bits_f64(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Shard of a row and its place in the microbatch, in training; none elsewhere.
pub(crate) type Identity = Option<(u32, usize)>;

/// The outputs of one row, in `f64`.
pub(crate) fn reference_outputs(
    network: &Network,
    params: &[f64],
    x: &[f64],
    row: Identity,
) -> Vec<f64> {
    let spec = network.spec();
    let (numbers, places) = x.split_at(spec.inputs);
    let mut values = numbers.to_vec();
    let mut at = 0;
    for (embedding, &place) in spec.embeddings.iter().zip(places) {
        let vectors = params[at..].chunks_exact(embedding.dimension);
        values.extend(vectors.take(embedding.rows).nth(place as usize).unwrap());
        at += embedding.rows * embedding.dimension;
    }
    let sides = spec.image.map_or(vec![values.len()], |sides| sides.to_vec());
    let mut reference = Reference { params: &params[at..], number: 0, row, sides };
    reference.layers(&spec.layers, &mut values);
    values
}

/// Where a pass of the reference is.
struct Reference<'a> {
    /// Those of the layers to come.
    params: &'a [f64],
    /// Of the next layer.
    number: u32,
    row: Identity,
    /// Of the values.
    sides: Vec<usize>,
}

impl Reference<'_> {
    fn layers(&mut self, layers: &[LayerSpec], values: &mut Vec<f64>) {
        for layer in layers {
            if let Some(block) = layer.get::<Residual>() {
                let input = values.clone();
                self.layers(&block.layers, values);
                values.iter_mut().zip(input).for_each(|(value, input)| *value += input);
            } else if let Some(dropout) = layer.get::<Dropout>() {
                reference_dropout(self.number, dropout.rate, self.row, values);
            } else if let Some(norm) = layer.get::<LayerNorm>() {
                let len = reference_layer_norm(norm, self.params, values);
                self.params = &self.params[len..];
            } else if let Some(dense) = layer.get::<Dense>() {
                self.dense(dense, values);
                self.sides = vec![values.len()];
            } else if let Some(made) =
                reference_image(layer, (self.number, self.row), &self.sides, self.params, values)
            {
                (*values, self.sides) = (made.values, made.sides);
                self.params = &self.params[made.params..];
            } else {
                panic!("no reference for {layer:?}");
            }
            self.number += 1;
        }
    }

    fn dense(&mut self, dense: &Dense, values: &mut Vec<f64>) {
        let units = dense.units;
        let (kernel, rest) = self.params.split_at(values.len() * units);
        let sum = |j| values.iter().enumerate().map(move |(i, v)| v * kernel[i * units + j]);
        let mut sums: Vec<f64> = (0..units).map(|j| sum(j).sum()).collect();
        let (bias, rest) = rest.split_at(if dense.use_bias { units } else { 0 });
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
        *values = reference_activation(dense.activation, &sums);
        self.params = rest;
    }
}

/// As the numerics contract has it.
fn reference_dropout(layer: u32, rate: f32, row: Identity, values: &mut [f64]) {
    let Some((shard, place)) = row else { return };
    let counter = (u64::from(shard) << 32) + place as u64;
    let mut random = Random::new(SEED, Purpose::Dropout { layer }, STEP, counter);
    for value in values {
        let is_dropped = random.unit_f32() < rate;
        *value = if is_dropped { 0.0 } else { *value / (1.0 - f64::from(rate)) };
    }
}

/// Gives the number of its parameters.
fn reference_layer_norm(norm: &LayerNorm, params: &[f64], values: &mut [f64]) -> usize {
    let width = values.len();
    let mean = values.iter().sum::<f64>() / width as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
    let (gamma, beta) = params.split_at(if norm.scale { width } else { 0 });
    let beta = &beta[..if norm.center { width } else { 0 }];
    for (i, value) in values.iter_mut().enumerate() {
        let normalized = (*value - mean) / (variance + f64::from(norm.epsilon)).sqrt();
        let scaled = normalized * gamma.get(i).unwrap_or(&1.0);
        *value = scaled + beta.get(i).unwrap_or(&0.0);
    }
    gamma.len() + beta.len()
}

pub(crate) fn reference_activation(activation: Activation, z: &[f64]) -> Vec<f64> {
    if activation == Activation::Softmax {
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        return z.iter().map(|z| z.exp() / total).collect();
    }
    let f = |z: f64| match activation {
        Activation::Linear | Activation::Softmax => z,
        Activation::Relu => z.max(0.0),
        Activation::LeakyRelu { slope } => z.max(z * f64::from(slope)),
        Activation::Elu { alpha } => {
            if z > 0.0 {
                z
            } else {
                f64::from(alpha) * (z.exp() - 1.0)
            }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Tanh => z.tanh(),
        Activation::Gelu => z * normal_distribution(z),
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Softplus => (1.0 + z.exp()).ln(),
    };
    z.iter().copied().map(f).collect()
}

/// By its Taylor series around 0.
fn normal_distribution(z: f64) -> f64 {
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / (2.0 * f64::from(n));
        sum += term / f64::from(2 * n + 1);
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

/// The loss of one row, in `f64`.
pub(crate) fn reference_loss(
    network: &Network,
    params: &[f64],
    (x, y): (&[f64], &[f64]),
    row: Identity,
) -> f64 {
    let outputs = reference_outputs(network, params, x, row);
    let mean = |f: &dyn Fn(f64, f64) -> f64| {
        outputs.iter().zip(y).map(|(&p, &y)| f(p, y)).sum::<f64>() / outputs.len() as f64
    };
    match network.spec().loss {
        Loss::Mse => mean(&|p, y| (p - y).powi(2)),
        Loss::Mae => mean(&|p, y| (p - y).abs()),
        Loss::Huber { delta } => {
            let delta = f64::from(delta);
            mean(&|p, y| match (p - y).abs() {
                size if size <= delta => 0.5 * size * size,
                size => delta * size - 0.5 * delta * delta,
            })
        }
        Loss::CrossEntropy { label_smoothing } => {
            let smoothing = f64::from(label_smoothing.unwrap_or(0.0));
            let of = |(class, p): (usize, &f64)| {
                let label = f64::from(u8::from(class == y[0] as usize));
                -(label * (1.0 - smoothing) + smoothing / outputs.len() as f64) * p.ln()
            };
            outputs.iter().enumerate().map(of).sum()
        }
        Loss::BinaryCrossEntropy { label_smoothing } => mean(&|p, y| {
            let smoothing = f64::from(label_smoothing.unwrap_or(0.0));
            let y = y * (1.0 - smoothing) + 0.5 * smoothing;
            -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
        }),
        Loss::Poisson => mean(&|p, y| p - y * (p + 1e-7).ln()),
        Loss::Quantile { quantile } => {
            let quantile = f64::from(quantile);
            mean(&|p, y| (quantile * (y - p)).max((quantile - 1.0) * (y - p)))
        }
    }
}
