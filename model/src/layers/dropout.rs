//! Dropout, `keras.layers.Dropout`: in training each value is 0 with probability `rate`, and otherwise divided by the share that
//! is kept. Elsewhere, in evaluations and predictions, the layer is the identity, and with rate 0 it is that everywhere.
//!
//! Which values of a row are dropped is drawn from a stream of the row's own, keyed by seed, layer, step, shard and place in
//! the microbatch. So it depends neither on who computes the row, nor with which others, nor how often.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range, Slot};
use lockstep_proto::random::{Purpose, Random};

use super::layer::{Backward, Described, Forward, Layer, Shape, Stage};
use super::spec::LayerSpec;
use crate::blocks::{copy_rows, each_beside, each_pair};
use crate::leaves::TrainingRows;

/// Floating point operations of matrix products that take about as long as a value of this layer in a training step, most of
/// which is drawing whether it is kept: 2.5 ns, where a thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 200;

/// Drops values at random, in training only.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of each value to be dropped, from 0 to below 1.
    pub rate: f32,
}

impl Dropout {
    /// Drops each value with this probability, from 0 to below 1.
    pub fn new(rate: f32) -> Dropout {
        Dropout { rate }
    }

    /// What a kept value is multiplied with: `1 / (1 - rate)`, each operation rounded to `f32`.
    fn scale(&self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    /// Overwrites `factors`, rows of `width` values from row `first` on, with what each value is multiplied with.
    fn draw(
        &self,
        layer: usize,
        rows: TrainingRows<'_>,
        first: usize,
        width: usize,
        factors: &mut [f32],
    ) {
        let purpose = Purpose::Dropout { layer: layer as u32 };
        let scale = self.scale();
        for ((shard, place), factors) in rows.identities(first).zip(factors.chunks_exact_mut(width))
        {
            let counter = u64::from(shard) << 32 | place as u64;
            let mut random = Random::new(rows.seed, purpose, rows.step, counter);
            random.fill_unit_f32(factors);
            for factor in factors {
                *factor = if *factor < self.rate { 0.0 } else { scale };
            }
        }
    }
}

/// The product, but +0 for whatever is dropped, also if it is not finite.
fn drop_or_scale(value: f32, factor: f32) -> f32 {
    if factor == 0.0 { 0.0 } else { value * factor }
}

impl From<Dropout> for LayerSpec {
    fn from(layer: Dropout) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![Parameter::required("rate", Slot::Number32(&mut self.rate, Range::BELOW_1_F32))]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        format!("rate {}", self.rate)
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let width: usize = input.iter().product();
        let kept = if self.rate > 0.0 { width } else { 0 };
        let flops = VALUE_FLOPS.saturating_mul(kept as u64);
        Ok(Shape { output: input.to_vec(), tensors: Vec::new(), kept, flops })
    }

    /// Nothing is dropped where nothing is learned.
    fn describe(&self, _: &mut Graph, pass: Described<'_>) -> Value {
        pass.input
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        Some(
            "the network's outputs would be dropped, and the loss measured on what is left: put it before a dense layer",
        )
    }
}

impl Stage for Dropout {
    /// Keeps the factors: to read them back takes less than half as long as to draw them again.
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]) {
        let width = pass.input.ncols();
        copy_rows(pass.input, outputs);
        let Some(rows) = pass.training.filter(|_| self.rate > 0.0) else { return };
        each_pair(outputs, kept, [width; 2], pass.pieces, |first, outputs, factors| {
            self.draw(pass.layer, rows, first, width, factors);
            for (output, &factor) in outputs.iter_mut().zip(&*factors) {
                *output = drop_or_scale(*output, factor);
            }
        });
    }

    /// Slopes by the inputs already.
    fn slopes_inside(&self, pass: &Backward<'_>, slopes: &mut [f32]) {
        if self.rate > 0.0 {
            let widths = [pass.input.ncols(); 2];
            each_beside(slopes, pass.kept, widths, pass.pieces, |slopes, factors| {
                for (slope, &factor) in slopes.iter_mut().zip(factors) {
                    *slope = drop_or_scale(*slope, factor);
                }
            });
        }
    }
}
