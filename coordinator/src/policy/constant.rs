//! The same rate at every step, after a warm-up if there is one.

use lockstep_parameters::{Parameter, Range, Slot};

use super::schedule::{RateSchedule, STEPS_MAX, after_warmup};

/// A constant learning rate.
#[derive(Clone, Debug)]
pub struct ConstantRate {
    /// The rate.
    pub learning_rate: f64,
    /// Steps of a straight line from 0 to it.
    pub warmup_steps: u64,
}

impl ConstantRate {
    /// The same rate at every step.
    pub fn new(learning_rate: f64) -> ConstantRate {
        ConstantRate { learning_rate, warmup_steps: 0 }
    }

    /// Begins with a straight line from 0.
    pub fn warmup(mut self, steps: u64) -> ConstantRate {
        self.warmup_steps = steps;
        self
    }
}

impl RateSchedule for ConstantRate {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::required(
                "learning_rate",
                Slot::Number(&mut self.learning_rate, Range::ABOVE_0_F32),
            ),
            Parameter::optional("warmup_steps", Slot::Whole(&mut self.warmup_steps, 0, STEPS_MAX)),
        ]
    }

    fn rate(&self, step: u64) -> f64 {
        after_warmup(step, self.warmup_steps, |_| self.learning_rate)
    }

    fn turns(&self) -> Vec<u64> {
        vec![self.warmup_steps]
    }

    fn constant(&self) -> Option<f64> {
        (self.warmup_steps == 0).then_some(self.learning_rate)
    }

    fn boxed(&self) -> Box<dyn RateSchedule> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LearningRate;

    #[test]
    fn a_constant_and_its_warm_up() {
        let plain = LearningRate::from(0.1);
        assert_eq!([0, 1, u64::MAX].map(|step| plain.after(step)), [0.1f32; 3]);
        assert_eq!(plain.constant(), Some(0.1f32));
        let warm = LearningRate::from(ConstantRate::new(0.01).warmup(4));
        let rates = [0, 1, 2, 3, 4, 5].map(|step| warm.after(step));
        assert_eq!(rates, [0.0, 0.0025, 0.005, 0.0075, 0.01, 0.01]);
        assert_eq!(warm.constant(), None);
        let course = warm.over(10);
        assert_eq!((course.first, course.largest, course.largest_at), (0.0, 0.01, 5));
        assert_ne!(warm, plain);
        assert_eq!(plain, LearningRate::from(0.1f32));
    }
}
