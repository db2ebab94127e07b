//! Losses of rows and their slopes, side by side.
//!
//! Row losses are `f32`, sums along a row in the order of [`lanes`](crate::lanes); adding rows is not done here.
//! Cross entropies start from the last layer's sums and make its outputs on the way.

use pulp::{Arch, Simd, WithSimd};

use crate::activation;
use crate::kinds::Loss;
use crate::lanes;
use crate::math;

/// Keras' `epsilon`, which keeps the logarithm of a rate finite.
const EPSILON: f32 = 1e-7;

/// A block of rows at the end of the network.
pub(crate) struct LossRows<'a> {
    pub(crate) loss: Loss,
    /// Columns of `outputs`.
    pub(crate) units: usize,
    /// In: the network's outputs, or the last layer's sums if the loss is fused. Out: the network's outputs.
    pub(crate) outputs: &'a mut [f32],
    /// One row for each row of `outputs`.
    pub(crate) targets: &'a [f32],
    /// Out: one loss a row.
    pub(crate) losses: &'a mut [f32],
    /// Out: slopes of the row's loss by what went in. Empty if nobody asks.
    pub(crate) slopes: &'a mut [f32],
}

impl LossRows<'_> {
    /// Computes losses, outputs and slopes.
    pub(crate) fn compute(self) {
        Arch::new().dispatch(self);
    }

    /// Calls `f(outputs, targets, slopes) -> loss` for each row.
    #[inline(always)]
    fn each(self, f: impl Fn(&mut [f32], &[f32], &mut [f32]) -> f32) {
        let target_width = self.targets.len() / self.losses.len();
        let slope_width = self.slopes.len() / self.losses.len();
        let mut slopes = self.slopes;
        let rows = self.outputs.chunks_exact_mut(self.units);
        let targets = self.targets.chunks_exact(target_width);
        for ((outputs, targets), loss) in rows.zip(targets).zip(self.losses) {
            let (row, rest) = slopes.split_at_mut(slope_width);
            *loss = f(outputs, targets, row);
            slopes = rest;
        }
    }

    /// A loss of each output's error alone: its slope and its value.
    #[inline(always)]
    fn errors(self, slope: impl Fn(f32) -> f32, value: impl Fn(f32) -> f32) {
        let share = 1.0 / self.units as f32;
        self.each(
            #[inline(always)]
            |outputs, targets, slopes| {
                set(
                    slopes,
                    outputs,
                    targets,
                    #[inline(always)]
                    |p, y| slope(p - y) * share,
                );
                lanes::sum_pairs(
                    outputs,
                    targets,
                    #[inline(always)]
                    |p, y| value(p - y),
                ) * share
            },
        );
    }
}

impl WithSimd for LossRows<'_> {
    type Output = ();

    #[allow(
        clippy::redundant_closure,
        reason = "only what is inlined is compiled for the vectors at hand, which a function passed by name is not"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let share = 1.0 / self.units as f32;
        match self.loss {
            Loss::Mse => self.errors(
                #[inline(always)]
                |error| 2.0 * error,
                #[inline(always)]
                |error| error * error,
            ),
            Loss::Mae => self.errors(sign, f32::abs),
            Loss::Huber { delta } => self.errors(
                #[inline(always)]
                |error| if error.abs() <= delta { error } else { delta.copysign(error) },
                #[inline(always)]
                |error| huber(error, delta),
            ),
            Loss::Quantile { quantile } => self.errors(
                #[inline(always)]
                |error| pinball_slope(error, quantile),
                #[inline(always)]
                |error| error * pinball_slope(error, quantile),
            ),
            Loss::Poisson => self.each(
                #[inline(always)]
                |outputs, targets, slopes| {
                    set(
                        slopes,
                        outputs,
                        targets,
                        #[inline(always)]
                        |p, y| (1.0 - y / (p + EPSILON)) * share,
                    );
                    lanes::sum_pairs(
                        outputs,
                        targets,
                        #[inline(always)]
                        |p, y| p - y * math::ln(p + EPSILON),
                    ) * share
                },
            ),
            Loss::CrossEntropy { label_smoothing: None } => self.each(
                #[inline(always)]
                |outputs, targets, slopes| cross_entropy(outputs, targets, slopes),
            ),
            Loss::CrossEntropy { label_smoothing: Some(smoothing) } => self.each(
                #[inline(always)]
                |outputs, targets, slopes| {
                    smooth_cross_entropy(smoothing, outputs, targets, slopes)
                },
            ),
            Loss::BinaryCrossEntropy { label_smoothing } => self.each(
                #[inline(always)]
                |outputs, targets, slopes| {
                    let smoothing = label_smoothing.unwrap_or(0.0);
                    let (kept, moved) = (1.0 - smoothing, 0.5 * smoothing);
                    let loss = lanes::sum_pairs(
                        outputs,
                        targets,
                        #[inline(always)]
                        |z, y| binary_cross_entropy(z, y * kept + moved),
                    );
                    for output in outputs.iter_mut() {
                        *output = math::sigmoid(*output);
                    }
                    set(
                        slopes,
                        outputs,
                        targets,
                        #[inline(always)]
                        |p, y| (p - (y * kept + moved)) * share,
                    );
                    loss * share
                },
            ),
        }
    }
}

#[inline(always)]
fn set(slopes: &mut [f32], outputs: &[f32], targets: &[f32], f: impl Fn(f32, f32) -> f32) {
    for ((slope, &output), &target) in slopes.iter_mut().zip(outputs).zip(targets) {
        *slope = f(output, target);
    }
}

#[inline(always)]
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[inline(always)]
fn huber(error: f32, delta: f32) -> f32 {
    let size = error.abs();
    if size <= delta { 0.5 * (size * size) } else { delta * (size - 0.5 * delta) }
}

/// The slope by an output of the pinball loss, whose value is that times the error.
#[inline(always)]
fn pinball_slope(error: f32, quantile: f32) -> f32 {
    if error > 0.0 {
        1.0 - quantile
    } else if error < 0.0 {
        -quantile
    } else {
        // What is not finite stays so.
        error * 0.0
    }
}

/// From the sum `z`: `max(z, 0) - z y + ln(1 + exp(-|z|))`.
#[inline(always)]
fn binary_cross_entropy(z: f32, y: f32) -> f32 {
    let positive = if z < 0.0 { 0.0 } else { z };
    positive - z * y + math::ln_1_plus(math::exp(-z.abs()))
}

/// The class of a label, if it is one.
#[inline(always)]
fn class_of(label: f32, classes: usize) -> Option<usize> {
    let class = label as usize;
    (class < classes && class as f32 == label).then_some(class)
}

/// A label that is no class gives a NaN loss, which stops the run like any other.
#[inline(always)]
fn cross_entropy(outputs: &mut [f32], targets: &[f32], slopes: &mut [f32]) -> f32 {
    let class = class_of(targets[0], outputs.len());
    let z = class.map_or(f32::NAN, |class| outputs[class]);
    let (largest, sum) = activation::softmax(outputs);
    if !slopes.is_empty() {
        slopes.copy_from_slice(outputs);
        if let Some(class) = class {
            slopes[class] -= 1.0;
        }
    }
    math::ln(sum) - (z - largest)
}

/// Cross entropy where the share `smoothing` of the label is dealt to all classes alike.
#[inline(always)]
fn smooth_cross_entropy(
    smoothing: f32,
    outputs: &mut [f32],
    targets: &[f32],
    slopes: &mut [f32],
) -> f32 {
    let (kept, each) = (1.0 - smoothing, smoothing / outputs.len() as f32);
    let class = class_of(targets[0], outputs.len());
    let z = class.map_or(f32::NAN, |class| outputs[class]);
    let largest = lanes::largest(outputs);
    let all = lanes::sum_pairs(
        outputs,
        outputs,
        #[inline(always)]
        |z, _| z - largest,
    );
    let (_, sum) = activation::softmax(outputs);
    if !slopes.is_empty() {
        for (slope, &output) in slopes.iter_mut().zip(&*outputs) {
            *slope = output - each;
        }
        if let Some(class) = class {
            slopes[class] -= kept;
        }
    }
    math::ln(sum) - (kept * (z - largest) + each * all)
}
