//! The learning rate of a run: a schedule, asked once for each update and rounded once to `f32`.

use lockstep_parameters::{AnyChoice, Choice, Form, Parameter, ParameterError, Range, values};

use super::SCHEDULES;
use super::constant::ConstantRate;
use super::plateau::ReduceOnPlateau;
use super::schedule::RateSchedule;

/// The learning rate as a function of the step.
#[derive(Debug)]
pub struct LearningRate(Box<dyn RateSchedule>);

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

    /// What reduces it, if a measure of the validation table does. It is then the first rate as long as that was not measured.
    pub fn watches(&self) -> Option<&ReduceOnPlateau> {
        self.0.watches()
    }

    /// The rate of the update that follows on `step` others.
    pub fn after(&self, step: u64) -> f32 {
        self.0.rate(step) as f32
    }

    /// The rate, if it is the same at every step.
    pub fn constant(&self) -> Option<f32> {
        self.0.constant().map(|rate| rate as f32)
    }

    /// Checks the parameters, one by one and together.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ParameterError> {
        AnyChoice::check(&mut self.clone())
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

/// A number, which is [`constant`](ConstantRate), or one of [`SCHEDULES`].
impl Choice for LearningRate {
    fn names() -> Vec<&'static str> {
        SCHEDULES.iter().map(|(name, _)| *name).collect()
    }

    fn named(name: &str) -> Option<LearningRate> {
        let found = SCHEDULES.iter().find(|(known, _)| *known == name);
        found.map(|(_, make)| LearningRate(make()))
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.0.parameters()
    }

    fn check_together(&self) -> Result<(), ParameterError> {
        self.0.check()
    }

    fn form() -> Form {
        Form::Tag("schedule")
    }

    fn numbers() -> Option<Range> {
        Some(Range::ABOVE_0_F32)
    }

    fn of_number(rate: f32) -> Option<LearningRate> {
        Some(rate.into())
    }

    fn number(&self) -> Option<f32> {
        self.constant()
    }
}

impl Clone for LearningRate {
    fn clone(&self) -> LearningRate {
        LearningRate(self.0.boxed())
    }
}

impl PartialEq for LearningRate {
    fn eq(&self, other: &LearningRate) -> bool {
        let of = |rate: &LearningRate| (rate.name(), values(rate.clone().0.parameters()));
        of(self) == of(other)
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
        LearningRate(Box::new(schedule))
    }
}
