//! What a learning-rate schedule is: named parameters with ranges, and a formula. Knows no file format: whoever reads or
//! writes a job goes through the parameters, one by one.

use std::fmt;

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

    /// A copy.
    fn boxed(&self) -> Box<dyn RateSchedule>;
}

/// One parameter of a schedule.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Keras' name of it.
    pub name: &'static str,
    /// Whether it has no default.
    pub is_required: bool,
    /// Where its value is; the default, until it is set.
    pub slot: Slot<'a>,
}

impl<'a> Parameter<'a> {
    pub(super) fn required(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: true, slot }
    }

    pub(super) fn optional(name: &'static str, slot: Slot<'a>) -> Parameter<'a> {
        Parameter { name, is_required: false, slot }
    }
}

/// The place of a parameter's value, and which values it takes.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A number.
    Number(&'a mut f64, NumberRange),
    /// A number that may be left out.
    MaybeNumber(&'a mut Option<f64>, NumberRange),
    /// Numbers.
    Numbers(&'a mut Vec<f64>, NumberRange),
    /// A count of steps, and the least that it may be.
    Steps(&'a mut u64, u64),
    /// Places in a run, as counts of steps.
    StepList(&'a mut Vec<u64>),
    /// Yes or no.
    Flag(&'a mut bool),
}

/// Most steps that a parameter may name.
pub const STEPS_MAX: u64 = i64::MAX as u64;

impl Slot<'_> {
    /// The value, to be looked at; `None` for a number that is left out.
    pub fn value(&self) -> Option<ParameterValue> {
        match self {
            Slot::Number(number, _) => Some(ParameterValue::Number(**number)),
            Slot::MaybeNumber(number, _) => number.map(ParameterValue::Number),
            Slot::Numbers(numbers, _) => Some(ParameterValue::Numbers(numbers.to_vec())),
            Slot::Steps(steps, _) => Some(ParameterValue::Steps(**steps)),
            Slot::StepList(steps) => Some(ParameterValue::StepList(steps.to_vec())),
            Slot::Flag(flag) => Some(ParameterValue::Flag(**flag)),
        }
    }

    /// What is wrong with the value by itself.
    pub(super) fn problem(&self) -> Option<String> {
        let number = |found: f64, range: &NumberRange| {
            (!range.fits(found)).then(|| format!("found {found:?}, wanted {}", range.wanted()))
        };
        match self {
            Slot::Number(found, range) => number(**found, range),
            Slot::MaybeNumber(found, range) => number((**found)?, range),
            Slot::Numbers(found, range) => found.iter().find_map(|&found| number(found, range)),
            Slot::Steps(found, least) => (!(*least..=STEPS_MAX).contains(&**found)).then(|| {
                format!("found {found}, wanted a whole number from {least} to {STEPS_MAX}")
            }),
            Slot::StepList(_) | Slot::Flag(_) => None,
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// A number.
    Number(f64),
    /// Numbers.
    Numbers(Vec<f64>),
    /// A count of steps.
    Steps(u64),
    /// Counts of steps.
    StepList(Vec<u64>),
    /// Yes or no.
    Flag(bool),
}

/// Which numbers a parameter takes; all are finite as `f32`, in which weights are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberRange {
    /// Above 0, also after rounding to `f32`.
    Above0,
    /// At least 0.
    AtLeast0,
}

impl NumberRange {
    /// The range in words.
    pub fn wanted(self) -> &'static str {
        match self {
            NumberRange::Above0 => "a number above 0",
            NumberRange::AtLeast0 => "a number of at least 0",
        }
    }

    /// Whether a number is in it.
    pub fn fits(self, number: f64) -> bool {
        let rounded = number as f32;
        rounded.is_finite()
            && match self {
                NumberRange::Above0 => rounded > 0.0,
                NumberRange::AtLeast0 => number >= 0.0,
            }
    }
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// The parameter to look at.
    pub parameter: &'static str,
    /// What was found, what was wanted.
    pub problem: String,
}

impl ParameterError {
    pub(super) fn new(parameter: &'static str, problem: impl Into<String>) -> ParameterError {
        ParameterError { parameter, problem: problem.into() }
    }
}

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
