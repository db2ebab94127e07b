//! The learning rate of a run: a schedule, asked once for each update and rounded once to `f32`.

use std::sync::Arc;

use super::constant::ConstantRate;
use super::schedule::{ParameterError, ParameterValue, RateSchedule};

/// The learning rate as a function of the step.
#[derive(Clone, Debug)]
pub struct LearningRate(Arc<dyn RateSchedule>);

/// The learning rate over a whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSummary {
    /// Of the first update.
    pub first: f32,
    /// The largest of all.
    pub largest: f32,
    /// The first update that has it, from 1, or one of the first if rounding to `f32` makes several equal.
    pub largest_at: u64,
    /// Of the last update.
    pub last: f32,
}

impl LearningRate {
    /// The schedule's name in a job.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The rate of the update that follows on `step` others.
    pub fn after(&self, step: u64) -> f32 {
        self.0.rate(step) as f32
    }

    /// The rate, if it is the same at every step.
    pub fn constant(&self) -> Option<f32> {
        self.0.constant().map(|rate| rate as f32)
    }

    /// Names and values of the schedule's parameters, but for those that are left out.
    pub fn values(&self) -> Vec<(&'static str, ParameterValue)> {
        let mut copy = self.0.boxed();
        let parameters = copy.parameters().into_iter();
        parameters.filter_map(|found| Some((found.name, found.slot.value()?))).collect()
    }

    /// Checks the parameters, one by one and together.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ParameterError> {
        let mut copy = self.0.boxed();
        for parameter in copy.parameters() {
            if let Some(problem) = parameter.slot.problem() {
                return Err(ParameterError::new(parameter.name, problem));
            }
        }
        self.0.check()
    }

    /// The rate over the first `updates` updates, of which there is at least one.
    pub fn over(&self, updates: u64) -> RateSummary {
        let last = updates.saturating_sub(1);
        let mut turns = self.0.turns();
        turns.retain(|&step| step < last);
        turns.extend([0, last]);
        turns.sort_unstable();
        let mut largest = (self.after(0), 0);
        for step in turns {
            let rate = self.after(step);
            if rate > largest.0 {
                largest = (rate, step);
            }
        }
        RateSummary {
            first: self.after(0),
            largest: largest.0,
            largest_at: largest.1 + 1,
            last: self.after(last),
        }
    }

    /// Checks the rate over a run.
    ///
    /// # Errors
    /// What was found and wanted, if it is 0 at all of the run's updates, or infinite at one.
    pub fn check_over(&self, updates: u64) -> Result<(), String> {
        let RateSummary { largest, largest_at, .. } = self.over(updates);
        if !largest.is_finite() {
            return Err(format!(
                "it grows beyond all 32-bit floats by step {largest_at}: wanted one that stays finite"
            ));
        }
        if largest > 0.0 {
            return Ok(());
        }
        let steps = if updates == 1 { "the only step" } else { "every step" };
        Err(format!(
            "it is 0 at {steps} of the run, which would learn nothing: wanted a rate above 0"
        ))
    }
}

impl PartialEq for LearningRate {
    fn eq(&self, other: &LearningRate) -> bool {
        self.name() == other.name() && self.values() == other.values()
    }
}

impl From<f32> for LearningRate {
    /// The same rate at every step.
    fn from(rate: f32) -> LearningRate {
        ConstantRate::new(rate.into()).into()
    }
}

impl From<f64> for LearningRate {
    /// The same rate at every step, rounded to `f32`.
    fn from(rate: f64) -> LearningRate {
        LearningRate::from(rate as f32)
    }
}

impl<S: RateSchedule> From<S> for LearningRate {
    fn from(schedule: S) -> LearningRate {
        LearningRate(Arc::new(schedule))
    }
}

impl From<Box<dyn RateSchedule>> for LearningRate {
    fn from(schedule: Box<dyn RateSchedule>) -> LearningRate {
        LearningRate(schedule.into())
    }
}
