//! Activations, forward and backward side by side, over whole blocks of rows.
//!
//! Every element (for softmax: every row) is computed on its own, so a block may be any part of a call's rows.

use lockstep_graph::{Graph, Value};
use pulp::{Arch, Simd, WithSimd};

use crate::kinds::Activation;
use crate::lanes;
use crate::math;

/// Values that are activated at a time, so that they are still in the nearest cache after the bias was added.
const CACHED_VALUES: usize = 4096;

/// Whether the backward pass needs what went into the activation, and not only what came out.
pub(crate) fn keeps_input(activation: Activation) -> bool {
    matches!(activation, Activation::Gelu | Activation::Silu | Activation::Softplus)
}

/// Adds the bias to every row, then activates in place.
pub(crate) fn forward(activation: Activation, bias: &[f32], units: usize, values: &mut [f32]) {
    for rows in values.chunks_mut(chunk_len(units)) {
        add_bias(bias, units, rows);
        apply(activation, units, rows);
    }
}

/// Adds the bias to every row of `sums` and writes their activations to `outputs`.
pub(crate) fn forward_keeping(
    activation: Activation,
    bias: &[f32],
    units: usize,
    sums: &mut [f32],
    outputs: &mut [f32],
) {
    let len = chunk_len(units);
    for (sums, outputs) in sums.chunks_mut(len).zip(outputs.chunks_mut(len)) {
        add_bias(bias, units, sums);
        outputs.copy_from_slice(sums);
        apply(activation, units, outputs);
    }
}

fn chunk_len(units: usize) -> usize {
    units * (CACHED_VALUES / units).max(1)
}

fn add_bias(bias: &[f32], units: usize, rows: &mut [f32]) {
    if bias.is_empty() {
        return;
    }
    for row in rows.chunks_exact_mut(units) {
        for (value, &bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

fn apply(activation: Activation, units: usize, values: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        // NaN stays NaN: comparisons with it are false.
        Activation::Relu => math::map(
            values,
            #[inline(always)]
            |z| if z < 0.0 { 0.0 } else { z },
        ),
        Activation::LeakyRelu { slope } => {
            math::map(
                values,
                #[inline(always)]
                |z| if z < 0.0 { slope * z } else { z },
            );
        }
        Activation::Elu { alpha } => math::map(
            values,
            #[inline(always)]
            |z| {
                let below = alpha * math::exp_minus_1_negative(z);
                if z < 0.0 { below } else { z }
            },
        ),
        Activation::Sigmoid => math::map(values, math::sigmoid),
        Activation::Tanh => math::map(values, math::tanh),
        Activation::Gelu => math::map(values, math::gelu),
        Activation::Silu => math::map(values, math::silu),
        Activation::Softplus => math::map(values, math::softplus),
        Activation::Softmax => {
            Arch::new().dispatch(SoftmaxRows { values, units });
        }
    }
}

struct SoftmaxRows<'a> {
    values: &'a mut [f32],
    units: usize,
}

impl WithSimd for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.values.chunks_exact_mut(self.units) {
            softmax(row);
        }
    }
}

/// Softmax of one row in place. Gives the largest value that went in and the sum of exponentials above it.
#[inline(always)]
pub(crate) fn softmax(row: &mut [f32]) -> (f32, f32) {
    let largest = lanes::largest(row);
    for value in row.iter_mut() {
        *value = math::exp(*value - largest);
    }
    let sum = lanes::sum(row);
    for value in row.iter_mut() {
        *value /= sum;
    }
    (largest, sum)
}

/// The operations of [`forward`] and [`forward_keeping`] after the bias.
pub(crate) fn describe(activation: Activation, graph: &mut Graph, sums: Value) -> Value {
    match activation {
        Activation::Linear => sums,
        Activation::Relu => graph.relu(sums),
        Activation::LeakyRelu { slope } => graph.leaky_relu(slope, sums),
        Activation::Elu { alpha } => graph.elu(alpha, sums),
        Activation::Sigmoid => graph.sigmoid(sums),
        Activation::Tanh => graph.tanh(sums),
        Activation::Gelu => {
            let [root, half, one] =
                [std::f32::consts::FRAC_1_SQRT_2, 0.5, 1.0].map(|number| graph.row(number));
            let scaled = graph.multiply(sums, root);
            let erf = graph.erf(scaled);
            let twice = graph.add(erf, one);
            let share = graph.multiply(twice, half);
            graph.multiply(sums, share)
        }
        Activation::Silu => {
            let share = graph.sigmoid(sums);
            graph.multiply(sums, share)
        }
        Activation::Softplus => graph.softplus(sums),
        Activation::Softmax => graph.softmax(sums),
    }
}

/// Turns slopes of the loss by the outputs into slopes by the sums that went in, in place.
///
/// `kept` is what went in where [`keeps_input`] says so, else what came out.
pub(crate) fn backward(activation: Activation, units: usize, kept: &[f32], slopes: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, a| if a > 0.0 { d } else { 0.0 },
        ),
        Activation::LeakyRelu { slope } => {
            math::zip(
                slopes,
                kept,
                #[inline(always)]
                |d, a| if a > 0.0 { d } else { slope * d },
            );
        }
        Activation::Elu { alpha } => {
            math::zip(
                slopes,
                kept,
                #[inline(always)]
                |d, a| if a > 0.0 { d } else { d * (a + alpha) },
            );
        }
        Activation::Sigmoid => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, a| d * (a * (1.0 - a)),
        ),
        Activation::Tanh => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, a| d * a.mul_add(-a, 1.0),
        ),
        Activation::Gelu => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, z| d * math::gelu_slope(z),
        ),
        Activation::Silu => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, z| d * math::silu_slope(z),
        ),
        Activation::Softplus => math::zip(
            slopes,
            kept,
            #[inline(always)]
            |d, z| d * math::sigmoid(z),
        ),
        Activation::Softmax => {
            Arch::new().dispatch(SoftmaxSlopes { outputs: kept, slopes, units });
        }
    }
}

struct SoftmaxSlopes<'a> {
    outputs: &'a [f32],
    slopes: &'a mut [f32],
    units: usize,
}

impl WithSimd for SoftmaxSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.outputs.chunks_exact(self.units);
        for (outputs, slopes) in rows.zip(self.slopes.chunks_exact_mut(self.units)) {
            let mean = lanes::sum_pairs(
                outputs,
                slopes,
                #[inline(always)]
                |a, d| a * d,
            );
            for (slope, &output) in slopes.iter_mut().zip(outputs) {
                *slope = output * (*slope - mean);
            }
        }
    }
}
