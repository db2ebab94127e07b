//! Update rules, with Keras 3's formulas and defaults, on any part of the weights.
//!
//! All of it is inlined, so that it is compiled for the vectors of whoever calls it.
//! Every value is updated by itself, with the operations in the order written here (no fused multiply-add), so
//! neither the chunk nor the thread can reach the numbers. Powers of the decay rates are taken in `f64` by
//! repeated squaring and rounded once. Knows no layers and no schedule: the learning rate of an update comes from outside.

use lockstep_parameters::{Choice, Parameter, ParameterError, Range, Slot};

/// How gradients become new weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Gradient descent with momentum (`keras.optimizers.SGD`).
    Sgd {
        /// Share of the last update that is kept; 0 for plain descent.
        momentum: f32,
        /// Look ahead along the momentum.
        nesterov: bool,
    },
    /// Kingma and Ba 2014 (`keras.optimizers.Adam`); with `weight_decay`, Loshchilov and Hutter 2017 (`AdamW`).
    Adam {
        /// Decay of the first moment.
        beta_1: f32,
        /// Decay of the second moment.
        beta_2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Share of the weights, times the step size, that is taken off before each update.
        weight_decay: Option<f32>,
    },
    /// Tieleman and Hinton 2012 (`keras.optimizers.RMSprop`).
    RmsProp {
        /// Decay of the mean square.
        rho: f32,
        /// Share of the last update that is kept.
        momentum: f32,
        /// Added to the mean square.
        epsilon: f32,
    },
    /// Duchi, Hazan and Singer 2011 (`keras.optimizers.Adagrad`).
    Adagrad {
        /// What the sum of squares starts from.
        initial_accumulator: f32,
        /// Added to the sum of squares.
        epsilon: f32,
    },
}

/// Keras' default of every `epsilon`.
const EPSILON: f32 = 1e-7;

impl Choice for Optimizer {
    fn names() -> Vec<&'static str> {
        vec!["sgd", "adam", "adamw", "rmsprop", "adagrad"]
    }

    fn named(name: &str) -> Option<Optimizer> {
        let epsilon = EPSILON;
        let adam =
            |weight_decay| Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon, weight_decay };
        match name {
            "sgd" => Some(Optimizer::Sgd { momentum: 0.0, nesterov: false }),
            "adam" => Some(adam(None)),
            "adamw" => Some(adam(Some(0.004))),
            "rmsprop" => Some(Optimizer::RmsProp { rho: 0.9, momentum: 0.0, epsilon }),
            "adagrad" => Some(Optimizer::Adagrad { initial_accumulator: 0.1, epsilon }),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::Adam { weight_decay: None, .. } => "adam",
            Optimizer::Adam { .. } => "adamw",
            Optimizer::RmsProp { .. } => "rmsprop",
            Optimizer::Adagrad { .. } => "adagrad",
        }
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let share =
            |name, into| Parameter::optional(name, Slot::Number32(into, Range::BELOW_1_F32));
        let above_0 =
            |name, into| Parameter::optional(name, Slot::Number32(into, Range::ABOVE_0_F32));
        match self {
            Optimizer::Sgd { momentum, nesterov } => vec![
                share("momentum", momentum),
                Parameter::optional("nesterov", Slot::Flag(nesterov)),
            ],
            Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay } => {
                let decay = weight_decay.as_mut().map(|decay| {
                    let slot = Slot::Number32(decay, Range::AT_LEAST_0_F32);
                    Parameter::optional("weight_decay", slot)
                });
                let adam =
                    [share("beta_1", beta_1), share("beta_2", beta_2), above_0("epsilon", epsilon)];
                adam.into_iter().chain(decay).collect()
            }
            Optimizer::RmsProp { rho, momentum, epsilon } => {
                vec![share("rho", rho), share("momentum", momentum), above_0("epsilon", epsilon)]
            }
            Optimizer::Adagrad { initial_accumulator, epsilon } => vec![
                above_0("initial_accumulator", initial_accumulator),
                above_0("epsilon", epsilon),
            ],
        }
    }

    fn check_together(&self) -> Result<(), ParameterError> {
        match self {
            Optimizer::Sgd { momentum: 0.0, nesterov: true } => {
                Err(ParameterError::new("nesterov", "nesterov needs a momentum above 0"))
            }
            _ => Ok(()),
        }
    }
}

impl Optimizer {
    /// How many moments each weight has: two at most.
    #[inline(always)]
    pub fn moment_count(&self) -> usize {
        match *self {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } | Optimizer::RmsProp { momentum: 0.0, .. } => 1,
            Optimizer::Adagrad { .. } => 1,
            Optimizer::Adam { .. } | Optimizer::RmsProp { .. } => 2,
        }
    }

    /// Whether it takes off a share of the weights before each update.
    pub fn decays(&self) -> bool {
        matches!(self, Optimizer::Adam { weight_decay: Some(_), .. })
    }

    /// The same without that.
    pub(crate) fn without_decay(mut self) -> Optimizer {
        if let Optimizer::Adam { weight_decay, .. } = &mut self {
            *weight_decay = None;
        }
        self
    }

    /// Whether sums of the rows' squares are wanted of tensors whose gradient Keras on TensorFlow has as slices of rows: for a
    /// moment of squares, or for the global norm.
    pub fn wants_row_squares(&self, clips: bool) -> bool {
        clips || self.squares().is_some()
    }

    /// Which of its moments is a sum or mean of squares, and so never below 0.
    pub fn squares(&self) -> Option<usize> {
        match *self {
            Optimizer::Sgd { .. } => None,
            Optimizer::Adam { .. } => Some(1),
            Optimizer::RmsProp { .. } | Optimizer::Adagrad { .. } => Some(0),
        }
    }

    /// Fresh moments for `len` weights.
    pub fn moments(&self, len: usize) -> Vec<Vec<f32>> {
        let start = match *self {
            Optimizer::Adagrad { initial_accumulator, .. } => initial_accumulator,
            _ => 0.0,
        };
        vec![vec![start; len]; self.moment_count()]
    }

    /// Update number `step` (from 1) of some weights, with the learning rate of that update. `gradient` is the mean over the
    /// batch's rows, and `squares` are what its moment of squares is fed with, if it has one: the gradient's own, but for
    /// embeddings. Moments that this optimizer does not have are not looked at.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline(always)]
    pub fn update(
        &self,
        step: u64,
        learning_rate: f32,
        [gradient, squares]: [&[f32]; 2],
        weights: &mut [f32],
        [first, second]: [&mut [f32]; 2],
    ) {
        assert_eq!(gradient.len(), weights.len());
        assert_eq!(squares.len(), weights.len());
        for moment in [&first, &second].into_iter().take(self.moment_count()) {
            assert_eq!(moment.len(), weights.len());
        }
        match *self {
            Optimizer::Sgd { momentum: 0.0, .. } => {
                for (weight, &gradient) in weights.iter_mut().zip(gradient) {
                    *weight -= learning_rate * gradient;
                }
            }
            Optimizer::Sgd { momentum, nesterov } => {
                let rule = Momentum { learning_rate, momentum, nesterov };
                rule.update(gradient, weights, first);
            }
            Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay } => {
                if let Some(decay) = weight_decay {
                    let share = decay * learning_rate;
                    for weight in weights.iter_mut() {
                        *weight -= *weight * share;
                    }
                }
                let correction = (1.0 - power(beta_2, step)).sqrt() / (1.0 - power(beta_1, step));
                let alpha = (f64::from(learning_rate) * correction) as f32;
                let rule = Adam { alpha, beta_1, beta_2, epsilon };
                rule.update([gradient, squares], weights, first, second);
            }
            Optimizer::RmsProp { rho, momentum, epsilon } => {
                let rule = RmsProp { learning_rate, rho, momentum, epsilon };
                if momentum == 0.0 {
                    rule.update([gradient, squares], weights, first);
                } else {
                    rule.update_with_momentum([gradient, squares], weights, first, second);
                }
            }
            Optimizer::Adagrad { epsilon, .. } => {
                let values = weights.iter_mut().zip(gradient).zip(squares).zip(first);
                for (((weight, &gradient), &square), accumulator) in values {
                    *accumulator += square;
                    *weight -= learning_rate * gradient / (*accumulator + epsilon).sqrt();
                }
            }
        }
    }
}

struct Momentum {
    learning_rate: f32,
    momentum: f32,
    nesterov: bool,
}

impl Momentum {
    #[inline(always)]
    fn update(&self, gradient: &[f32], weights: &mut [f32], velocity: &mut [f32]) {
        for ((weight, &gradient), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
            let descent = gradient * self.learning_rate;
            *velocity = mean_or_zero(*velocity * self.momentum - descent);
            if self.nesterov {
                *weight += *velocity * self.momentum - descent;
            } else {
                *weight += *velocity;
            }
        }
    }
}

struct Adam {
    alpha: f32,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
}

impl Adam {
    #[inline(always)]
    fn update(
        &self,
        [gradient, squares]: [&[f32]; 2],
        weights: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let (keep_1, keep_2) = (1.0 - self.beta_1, 1.0 - self.beta_2);
        let moments = first.iter_mut().zip(second);
        let values = weights.iter_mut().zip(gradient).zip(squares).zip(moments);
        for (((weight, &gradient), &square), (first, second)) in values {
            *first = mean_or_zero(*first + (gradient - *first) * keep_1);
            *second = square_or_zero(*second + (square - *second) * keep_2);
            *weight -= *first * self.alpha / (second.sqrt() + self.epsilon);
        }
    }
}

struct RmsProp {
    learning_rate: f32,
    rho: f32,
    momentum: f32,
    epsilon: f32,
}

impl RmsProp {
    #[inline(always)]
    fn increment(&self, gradient: f32, square: f32, mean: &mut f32) -> f32 {
        *mean = square_or_zero(self.rho * *mean + (1.0 - self.rho) * square);
        self.learning_rate * gradient / (*mean + self.epsilon).sqrt()
    }

    #[inline(always)]
    fn update(&self, [gradient, squares]: [&[f32]; 2], weights: &mut [f32], means: &mut [f32]) {
        let values = weights.iter_mut().zip(gradient).zip(squares).zip(means);
        for (((weight, &gradient), &square), mean) in values {
            *weight -= self.increment(gradient, square, mean);
        }
    }

    #[inline(always)]
    fn update_with_momentum(
        &self,
        [gradient, squares]: [&[f32]; 2],
        weights: &mut [f32],
        means: &mut [f32],
        velocity: &mut [f32],
    ) {
        let values = weights.iter_mut().zip(gradient).zip(squares).zip(means).zip(velocity);
        for ((((weight, &gradient), &square), mean), velocity) in values {
            let next = self.momentum * *velocity + self.increment(gradient, square, mean);
            *velocity = mean_or_zero(next);
            *weight -= *velocity;
        }
    }
}

/// A mean of gradients, or 0 for a tiny one. That of a weight without a gradient any more (a dead unit's) would become
/// subnormal in a few hundred steps and stay so, and processors are many times slower with such numbers; with what is far
/// above them, no product with a decay rate is one.
#[inline(always)]
fn mean_or_zero(mean: f32) -> f32 {
    const LEAST: f32 = 1.0 / (1u128 << 100) as f32;
    if mean.abs() < LEAST { 0.0 } else { mean }
}

/// A mean of squares, or 0 for a subnormal one: its root may still count beside a small epsilon.
#[inline(always)]
fn square_or_zero(square: f32) -> f32 {
    if square.abs() < f32::MIN_POSITIVE { 0.0 } else { square }
}

/// `base` to the power of `exponent`, by repeated squaring: the standard library leaves the order open.
fn power(base: f32, mut exponent: u64) -> f64 {
    let (mut result, mut square) = (1.0, f64::from(base));
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests;
