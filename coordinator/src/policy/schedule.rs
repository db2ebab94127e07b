//! What a learning-rate schedule is: named parameters with ranges, and a formula.

use std::fmt;

use lockstep_parameters::{Parameter, ParameterError};

use super::plateau::ReduceOnPlateau;

/// A learning rate as a function of the updates made so far.
pub trait RateSchedule: fmt::Debug + Send + Sync + 'static {
    /// Its name in a job, as in [`SCHEDULES`](super::SCHEDULES).
    fn name(&self) -> &'static str;

    /// Its parameters, in the order in which they are written.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;

    /// Checks what the ranges of single parameters do not say.
    ///
    /// # Errors
    /// If the parameters do not go together.
    fn check(&self) -> Result<(), ParameterError> {
        Ok(())
    }

    /// The rate of the update that follows on `step` others: 0 for the first, as Keras counts its `iterations`. Computed
    /// with `+ - * /` and the functions of `math`, never the system's.
    fn rate(&self, step: u64) -> f64;

    /// Steps at which the rate may turn or jump, in any order. Between two neighbours of them it only rises or only falls,
    /// so that it is largest at one of them or at an end.
    fn turns(&self) -> Vec<u64>;

    /// The rate, if it is the same at every step.
    fn constant(&self) -> Option<f64> {
        None
    }

    /// Itself, if it depends on a measure of the validation table.
    fn watches(&self) -> Option<&ReduceOnPlateau> {
        None
    }

    /// A copy.
    fn boxed(&self) -> Box<dyn RateSchedule>;
}

/// Most steps that a parameter may name.
pub const STEPS_MAX: u64 = i64::MAX as u64;

/// A straight line through `from` at step 0 and `to` at step `steps`.
pub(super) fn line(step: u64, steps: u64, from: f64, to: f64) -> f64 {
    (to - from) * (step as f64 / steps as f64) + from
}

/// The warm-up of a schedule that has none in Keras: a straight line from 0 to its first rate, after which its own steps
/// begin, from 0.
pub(super) fn after_warmup(step: u64, warmup_steps: u64, rate: impl Fn(u64) -> f64) -> f64 {
    match step.checked_sub(warmup_steps) {
        Some(step) => rate(step),
        None => line(step, warmup_steps, 0.0, rate(0)),
    }
}
