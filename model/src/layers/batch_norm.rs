//! Batch normalization, `keras.layers.BatchNormalization` over the rows of a microbatch, not of the batch: `(x - mean) /
//! sqrt(variance + epsilon) * gamma + beta`, for each column, or for each channel of images.
//!
//! In training mean and variance (the population's) are those of a microbatch, whose rows come whole; so they depend on the job alone,
//! never on who computes which shards. Elsewhere, and always where the layer is frozen, they are moving averages, which the layer
//! declares as such and which it gives, as their gradient, the sums over rows of what they average.

use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range as Numbers, Slot};
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use ndarray::{ArrayView2, s};

use self::moments::{Channels, Moments, slope_sums};
use super::layer::{
    Backward, Described, Forward, Gradient, Layer, Shape, Slopes, Stage, Tensor, TensorPart,
    Tensors,
};
use super::spec::LayerSpec;
use crate::blocks::{copy_rows, each_block};
use crate::kinds::Initializer;
use crate::leaves::Microbatch;

mod moments;

/// Floating point operations of matrix products that take about as long as a value of this layer in a training step: an estimate
/// of 2 ns, where a thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 160;

/// Fewest rows of a microbatch with which a mean and a variance say something of the table.
const ROWS_MIN: u64 = 8;

/// Shifts and scales each column to mean 0 and variance 1 over the rows of a microbatch, and then as is learned.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// The share of the old moving averages in the new ones.
    pub momentum: f32,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether `beta` is added.
    pub center: bool,
    /// Whether values are multiplied with `gamma`.
    pub scale: bool,
    /// Whether its weights and moving averages change in training: they do, where nothing is said.
    pub trainable: Option<bool>,
}

impl BatchNorm {
    /// Keras' defaults: a momentum of 0.99 and an epsilon of 0.001, with `gamma` and `beta`, which start as ones and zeros.
    pub fn new() -> BatchNorm {
        BatchNorm { momentum: 0.99, epsilon: 0.001, center: true, scale: true, trainable: None }
    }

    /// Sets the share of the old moving averages in the new ones.
    pub fn momentum(mut self, momentum: f32) -> BatchNorm {
        self.momentum = momentum;
        self
    }

    /// Sets what is added to the variance.
    pub fn epsilon(mut self, epsilon: f32) -> BatchNorm {
        self.epsilon = epsilon;
        self
    }

    /// Leaves out `beta`.
    pub fn without_center(mut self) -> BatchNorm {
        self.center = false;
        self
    }

    /// Leaves out `gamma`.
    pub fn without_scale(mut self) -> BatchNorm {
        self.scale = false;
        self
    }

    /// Keeps weights and moving averages as they are, and uses the averages in training as well.
    pub fn frozen(mut self) -> BatchNorm {
        self.trainable = Some(false);
        self
    }

    /// What is declared, in the order of the places.
    fn tensors(&self) -> impl Iterator<Item = Which> + use<> {
        let gamma = self.scale.then_some(Which::Gamma);
        let beta = self.center.then_some(Which::Beta);
        [gamma, beta, Some(Which::MovingMean), Some(Which::MovingVariance)].into_iter().flatten()
    }

    /// The values of a tensor; none if it is left out.
    fn get<'a>(&self, tensors: Tensors<'a>, which: Which) -> &'a [f32] {
        let place = self.tensors().position(|declared| declared == which);
        place.map_or(&[], |place| tensors.get(place))
    }

    /// What values are made of, by these moments of each channel.
    fn channels<'a>(&self, tensors: Tensors<'a>, moments: Moments<'a>) -> Channels<'a> {
        let [gamma, beta] = [Which::Gamma, Which::Beta].map(|which| self.get(tensors, which));
        Channels::new(moments, self.epsilon, gamma, beta)
    }

    /// By the moving averages.
    fn averaged<'a>(&self, tensors: Tensors<'a>) -> Channels<'a> {
        let [mean, variance] =
            [Which::MovingMean, Which::MovingVariance].map(|which| self.get(tensors, which));
        self.channels(tensors, Moments { mean, variance })
    }
}

/// A tensor of the layer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Gamma,
    Beta,
    MovingMean,
    MovingVariance,
}

impl Which {
    /// Its name in a job, and what it starts as.
    fn declared(self) -> (&'static str, Initializer) {
        match self {
            Which::Gamma => ("gamma", Initializer::Ones),
            Which::Beta => ("beta", Initializer::Zeros),
            Which::MovingMean => ("moving_mean", Initializer::Zeros),
            Which::MovingVariance => ("moving_variance", Initializer::Ones),
        }
    }
}

impl Default for BatchNorm {
    fn default() -> BatchNorm {
        BatchNorm::new()
    }
}

impl From<BatchNorm> for LayerSpec {
    fn from(layer: BatchNorm) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let momentum = Slot::Number32(&mut self.momentum, Numbers::BELOW_1_F32);
        let epsilon = Slot::Number32(&mut self.epsilon, Numbers::ABOVE_0_F32);
        vec![
            Parameter::optional("momentum", momentum),
            Parameter::optional("epsilon", epsilon),
            Parameter::optional("center", Slot::Flag(&mut self.center)),
            Parameter::optional("scale", Slot::Flag(&mut self.scale)),
            Parameter::optional("trainable", Slot::Flag(&mut self.trainable)),
        ]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        format!("momentum {}, epsilon {}{frozen}", self.momentum, self.epsilon)
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let channels = input.last().copied().unwrap_or(1);
        let tensor = |which: Which| {
            let (name, initializer) = which.declared();
            let shape = TensorShape::new(name, [channels]);
            let shape = match which {
                Which::Gamma | Which::Beta => shape,
                Which::MovingMean | Which::MovingVariance => shape.moving(self.momentum),
            };
            let fans = (channels, channels);
            Tensor { shape, initializer, fans, penalty: Penalty::default() }
        };
        let values = input.iter().fold(1u64, |len, &side| len.saturating_mul(side as u64));
        Ok(Shape {
            output: input.to_vec(),
            tensors: self.tensors().map(tensor).collect(),
            // Mean and variance of the microbatch, in its first row.
            kept: if self.is_frozen() { 0 } else { channels.saturating_mul(2) },
            flops: VALUE_FLOPS.saturating_mul(values),
        })
    }

    fn is_frozen(&self) -> bool {
        self.trainable == Some(false)
    }

    fn rows_min(&self) -> u64 {
        if self.is_frozen() { 1 } else { ROWS_MIN }
    }

    /// Each tensor over all positions of an image, since rows of a graph have one side.
    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let Described { input, tensors, .. } = pass;
        let weights = |graph: &mut Graph, which: Which| {
            let values = self.get(tensors, which);
            let spread = values.repeat(input.width() / values.len().max(1));
            graph.weights(which.declared().0, &[input.width()], &spread)
        };
        let mean = weights(graph, Which::MovingMean);
        let variance = weights(graph, Which::MovingVariance);
        let deviation = graph.subtract(input, mean);
        let epsilon = graph.row(self.epsilon);
        let sum = graph.add(variance, epsilon);
        let root = graph.square_root(sum);
        let mut rows = graph.divide(deviation, root);
        if self.scale {
            let gamma = weights(graph, Which::Gamma);
            rows = graph.multiply(rows, gamma);
        }
        if self.center {
            let beta = weights(graph, Which::Beta);
            rows = graph.add(rows, beta);
        }
        rows
    }
}

impl Stage for BatchNorm {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]) {
        let (width, tensors) = (pass.input.ncols(), pass.tensors);
        copy_rows(pass.input, outputs);
        match pass.training.filter(|_| !self.is_frozen()) {
            None => {
                let channels = self.averaged(tensors);
                each_block(outputs, width, pass.pieces, |rows| channels.normalize(rows));
            }
            Some(training) => {
                let channels = pass.sides.last().copied().unwrap_or(1);
                let widths = [width, 2 * channels];
                let batches = training.microbatches;
                each_batch(batches, [outputs, kept], widths, pass.pieces, |_, rows, kept| {
                    let (mean, rest) = kept.split_at_mut(channels);
                    let variance = &mut rest[..channels];
                    moments::measure(rows, mean, variance);
                    self.channels(tensors, Moments { mean, variance }).normalize(rows);
                });
            }
        }
    }

    fn leaf_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let (pass, channels) = (gradient.pass, out.len());
        let moments = Moments::kept(pass.kept, rows.start, channels);
        let count = rows.len() as f32;
        let fill = |out: &mut [f32], values: &[f32]| {
            out.iter_mut().zip(values).for_each(|(out, &value)| *out = value * count);
        };
        match self.tensors().nth(part.tensor) {
            Some(Which::MovingMean) => fill(out, moments.mean),
            Some(Which::MovingVariance) => fill(out, moments.variance),
            which => {
                let slopes = gradient.slopes.slice(s![rows.clone(), ..]);
                let slopes = slopes.to_slice().expect("row by row");
                let sums = if which == Some(Which::Gamma) {
                    let channels = self.channels(pass.tensors, moments);
                    with_rows(pass.input, rows, |x| channels.product_sums(x, slopes))
                } else {
                    slope_sums(slopes, channels)
                };
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
            }
        }
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        let (rows, width) = pass.input.dim();
        let slopes = slopes.at_hand_mut(rows * width);
        if self.is_frozen() {
            let channels = self.averaged(pass.tensors);
            return each_block(slopes, width, pass.pieces, |slopes| channels.scale(slopes));
        }
        let channels = pass.sides.last().copied().unwrap_or(1);
        let batches = pass.training.microbatches;
        each_batch(batches, [slopes, &mut []], [width, 0], pass.pieces, |rows, slopes, _| {
            let moments = Moments::kept(pass.kept, rows.start, channels);
            let channels = self.channels(pass.tensors, moments);
            with_rows(pass.input, rows, |x| channels.input_slopes(x, slopes));
        });
    }
}

/// Calls `f` with the values of some rows, one after another.
fn with_rows<T>(all: ArrayView2<'_, f32>, rows: Range<usize>, f: impl FnOnce(&[f32]) -> T) -> T {
    let rows = all.slice(s![rows, ..]);
    match rows.to_slice() {
        Some(values) => f(values),
        None => {
            let mut values = vec![0.0; rows.len()];
            copy_rows(rows, &mut values);
            f(&values)
        }
    }
}

/// Calls `f` for each microbatch with its rows, and the values that both have of these, each of its width.
fn each_batch(
    microbatches: &[Microbatch],
    [first, second]: [&mut [f32]; 2],
    widths: [usize; 2],
    pieces: usize,
    f: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
) {
    use rayon::prelude::*;
    let (mut first, mut second) = (first, second);
    let batches = microbatches.iter().map(|batch| {
        let [a, b] = widths.map(|width| batch.rows.len() * width);
        let (own, rest) = std::mem::take(&mut first).split_at_mut(a);
        let (beside, after) = std::mem::take(&mut second).split_at_mut(b);
        (first, second) = (rest, after);
        (batch.rows.clone(), own, beside)
    });
    if pieces == 1 {
        return batches.for_each(|(rows, own, beside)| f(rows, own, beside));
    }
    let batches: Vec<_> = batches.collect();
    batches.into_par_iter().for_each(|(rows, own, beside)| f(rows, own, beside));
}
