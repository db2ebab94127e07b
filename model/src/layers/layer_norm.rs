//! Layer normalization, `keras.layers.LayerNormalization` over a row: `(x - mean) / sqrt(variance + epsilon) * gamma + beta`.
//!
//! Mean and variance (the population's) are those of the row alone, added in the lanes of [`lanes`](crate::lanes). So a row's
//! results depend on nothing but the row, in training and elsewhere.

use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range as Numbers, Slot};
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use ndarray::s;
use pulp::{Arch, Simd, WithSimd};

use super::layer::{
    Backward, Described, Forward, Gradient, Layer, Shape, Slopes, Stage, Tensor, TensorPart,
};
use super::spec::LayerSpec;
use crate::blocks::{copy_rows, each_beside, each_pair};
use crate::kinds::Initializer;
use crate::lanes;

/// Floating point operations of matrix products that take about as long as a value of this layer in a training step, which is
/// read or written some ten times: an estimate of 1.5 ns, where a thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 120;

/// Shifts and scales each row to mean 0 and variance 1, and then each column as is learned.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether `beta` is added.
    pub center: bool,
    /// Whether values are multiplied with `gamma`.
    pub scale: bool,
    /// Whether its weights change in training: they do, where nothing is said.
    pub trainable: Option<bool>,
}

impl LayerNorm {
    /// Keras' defaults: an epsilon of 0.001, with `gamma` and `beta`, which start as ones and zeros.
    pub fn new() -> LayerNorm {
        LayerNorm { epsilon: 0.001, center: true, scale: true, trainable: None }
    }

    /// Sets what is added to the variance.
    pub fn epsilon(mut self, epsilon: f32) -> LayerNorm {
        self.epsilon = epsilon;
        self
    }

    /// Leaves out `beta`.
    pub fn without_center(mut self) -> LayerNorm {
        self.center = false;
        self
    }

    /// Leaves out `gamma`.
    pub fn without_scale(mut self) -> LayerNorm {
        self.scale = false;
        self
    }

    /// Keeps the weights as they are: training changes none of them.
    pub fn frozen(mut self) -> LayerNorm {
        self.trainable = Some(false);
        self
    }

    /// The tensors, in their places: a name in a job, and what it starts as.
    fn tensors(&self) -> impl Iterator<Item = (&'static str, Initializer)> {
        let gamma = self.scale.then_some(("gamma", Initializer::Ones));
        gamma.into_iter().chain(self.center.then_some(("beta", Initializer::Zeros)))
    }

    /// Place of `gamma`, which comes first if it is there.
    fn gamma(&self) -> Option<usize> {
        self.scale.then_some(0)
    }

    /// Place of `beta`.
    fn beta(&self) -> Option<usize> {
        self.center.then_some(usize::from(self.scale))
    }
}

impl Default for LayerNorm {
    fn default() -> LayerNorm {
        LayerNorm::new()
    }
}

impl From<LayerNorm> for LayerSpec {
    fn from(layer: LayerNorm) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let epsilon = Slot::Number32(&mut self.epsilon, Numbers::ABOVE_0_F32);
        vec![
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
        format!("epsilon {}{frozen}", self.epsilon)
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let [width] = *input else {
            return Err(format!(
                "found rows of shape {input:?}, wanted one side: put a `flatten` layer before it"
            ));
        };
        let tensor = |(name, initializer)| {
            let shape = TensorShape::new(name, [width]);
            Tensor { shape, initializer, fans: (width, width), penalty: Penalty::default() }
        };
        Ok(Shape {
            output: vec![width],
            tensors: self.tensors().map(tensor).collect(),
            // The normalized values, and what they were multiplied with.
            kept: width + 1,
            flops: VALUE_FLOPS.saturating_mul(width as u64),
        })
    }

    fn is_frozen(&self) -> bool {
        self.trainable == Some(false)
    }

    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let Described { input, tensors, .. } = pass;
        let mean = graph.row_mean(input);
        let deviation = graph.subtract(input, mean);
        let squares = graph.multiply(deviation, deviation);
        let variance = graph.row_mean(squares);
        let epsilon = graph.row(self.epsilon);
        let sum = graph.add(variance, epsilon);
        let root = graph.square_root(sum);
        let mut rows = graph.divide(deviation, root);
        for (place, (name, _)) in self.tensors().enumerate() {
            let tensor = graph.weights(name, &[input.width()], tensors.get(place));
            rows = match self.gamma() == Some(place) {
                true => graph.multiply(rows, tensor),
                false => graph.add(rows, tensor),
            };
        }
        rows
    }
}

impl Stage for LayerNorm {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]) {
        let (width, tensors) = (pass.input.ncols(), pass.tensors);
        copy_rows(pass.input, outputs);
        let tensor = |place: Option<usize>| place.map_or(&[][..], |place| tensors.get(place));
        let (gamma, beta) = (tensor(self.gamma()), tensor(self.beta()));
        each_pair(outputs, kept, [width, width + 1], pass.pieces, |_, rows, kept| {
            Arch::new().dispatch(Normalize { rows, kept, gamma, beta, epsilon: self.epsilon });
        });
    }

    fn leaf_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let width = gradient.slopes.ncols();
        let kept = gradient.pass.kept[rows.start * (width + 1)..].chunks_exact(width + 1);
        out.fill(0.0);
        for (slopes, kept) in gradient.slopes.slice(s![rows, ..]).rows().into_iter().zip(kept) {
            if self.gamma() == Some(part.tensor) {
                for ((sum, &slope), &value) in out.iter_mut().zip(slopes).zip(kept) {
                    *sum += slope * value;
                }
            } else {
                for (sum, &slope) in out.iter_mut().zip(slopes) {
                    *sum += slope;
                }
            }
        }
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        let (rows, width) = pass.input.dim();
        let gamma = self.gamma().map_or(&[][..], |place| pass.tensors.get(place));
        let slopes = slopes.at_hand_mut(rows * width);
        each_beside(slopes, pass.kept, [width, width + 1], pass.pieces, |slopes, kept| {
            Arch::new().dispatch(InputSlopes { slopes, kept, width, gamma });
        });
    }
}

/// Rows that are normalized in place.
struct Normalize<'a> {
    rows: &'a mut [f32],
    /// Out: of each row the normalized values, then what the deviations were multiplied with.
    kept: &'a mut [f32],
    /// Empty where it is left out.
    gamma: &'a [f32],
    /// Empty where it is left out.
    beta: &'a [f32],
    epsilon: f32,
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.kept.len() - self.rows.len();
        let width = self.rows.len() / rows;
        let kept = self.kept.chunks_exact_mut(width + 1);
        for (row, kept) in self.rows.chunks_exact_mut(width).zip(kept) {
            let (normalized, factor) = kept.split_at_mut(width);
            let mean = lanes::sum(row) / width as f32;
            for value in row.iter_mut() {
                *value -= mean;
            }
            let squares = lanes::sum_pairs(
                row,
                row,
                #[inline(always)]
                |a, b| a * b,
            );
            factor[0] = 1.0 / (squares / width as f32 + self.epsilon).sqrt();
            for (value, normalized) in row.iter_mut().zip(normalized) {
                *value *= factor[0];
                *normalized = *value;
            }
            for (value, &gamma) in row.iter_mut().zip(self.gamma) {
                *value *= gamma;
            }
            for (value, &beta) in row.iter_mut().zip(self.beta) {
                *value += beta;
            }
        }
    }
}

/// Slopes by the outputs, turned in place into slopes by the inputs.
struct InputSlopes<'a> {
    slopes: &'a mut [f32],
    kept: &'a [f32],
    width: usize,
    gamma: &'a [f32],
}

impl WithSimd for InputSlopes<'_> {
    type Output = ();

    /// With slopes `d` by the normalized values `n`: `factor * (d - mean(d) - n * mean(d * n))`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.width;
        let kept = self.kept.chunks_exact(width + 1);
        for (slopes, kept) in self.slopes.chunks_exact_mut(width).zip(kept) {
            let (normalized, factor) = kept.split_at(width);
            for (slope, &gamma) in slopes.iter_mut().zip(self.gamma) {
                *slope *= gamma;
            }
            let mean = lanes::sum(slopes) / width as f32;
            let product = lanes::sum_pairs(
                slopes,
                normalized,
                #[inline(always)]
                |d, n| d * n,
            ) / width as f32;
            for (slope, &normalized) in slopes.iter_mut().zip(normalized) {
                *slope = (*slope - mean - normalized * product) * factor[0];
            }
        }
    }
}
