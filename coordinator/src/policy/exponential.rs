//! A rate that shrinks by the same factor every so many steps: `keras.optimizers.schedules.ExponentialDecay`.

use lockstep_parameters::{Parameter, Range, Slot};

use super::math::power;
use super::schedule::{RateSchedule, STEPS_MAX, after_warmup};

/// `initial_learning_rate * decay_rate^(step / decay_steps)`.
#[derive(Clone, Debug)]
pub struct ExponentialDecay {
    /// The first rate.
    pub initial_learning_rate: f64,
    /// Steps in which the rate is multiplied once by the factor.
    pub decay_steps: u64,
    /// The factor.
    pub decay_rate: f64,
    /// Whether the quotient is rounded down, so that the rate falls in stairs.
    pub staircase: bool,
    /// Steps of a straight line from 0 to the first rate, before the schedule's own steps.
    pub warmup_steps: u64,
}

impl ExponentialDecay {
    /// A rate that is multiplied by `decay_rate` in every `decay_steps` steps, a little at each.
    pub fn new(initial_learning_rate: f64, decay_steps: u64, decay_rate: f64) -> ExponentialDecay {
        ExponentialDecay {
            initial_learning_rate,
            decay_steps,
            decay_rate,
            staircase: false,
            warmup_steps: 0,
        }
    }

    /// Multiplies at once, after every `decay_steps` steps.
    pub fn staircase(mut self) -> ExponentialDecay {
        self.staircase = true;
        self
    }

    /// Begins with a straight line from 0 to the first rate.
    pub fn warmup(mut self, steps: u64) -> ExponentialDecay {
        self.warmup_steps = steps;
        self
    }
}

impl RateSchedule for ExponentialDecay {
    fn name(&self) -> &'static str {
        "exponential"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::required(
                "initial_learning_rate",
                Slot::Number(&mut self.initial_learning_rate, Range::ABOVE_0_F32),
            ),
            Parameter::required("decay_steps", Slot::Whole(&mut self.decay_steps, 1, STEPS_MAX)),
            Parameter::required(
                "decay_rate",
                Slot::Number(&mut self.decay_rate, Range::ABOVE_0_F32),
            ),
            Parameter::optional("staircase", Slot::Flag(&mut self.staircase)),
            Parameter::optional("warmup_steps", Slot::Whole(&mut self.warmup_steps, 0, STEPS_MAX)),
        ]
    }

    fn rate(&self, step: u64) -> f64 {
        after_warmup(step, self.warmup_steps, |step| {
            let (part, whole) = match self.staircase {
                true => (step / self.decay_steps, 1),
                false => (step, self.decay_steps),
            };
            self.initial_learning_rate * power(self.decay_rate, part, whole)
        })
    }

    fn turns(&self) -> Vec<u64> {
        vec![self.warmup_steps]
    }

    fn boxed(&self) -> Box<dyn RateSchedule> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LearningRate, tests::agrees_with_keras};

    #[test]
    fn the_values_of_keras() {
        agrees_with_keras(
            ExponentialDecay::new(0.1, 1000, 0.96),
            &[
                (0, 0.10000000149011612),
                (1, 0.099995918571949),
                (500, 0.0979795902967453),
                (1000, 0.09600000083446503),
                (12345, 0.06041409447789192),
                (100000, 0.0016870280960574746),
            ],
        );
        agrees_with_keras(
            ExponentialDecay::new(0.1, 10, 0.5).staircase(),
            &[
                (0, 0.10000000149011612),
                (9, 0.10000000149011612),
                (10, 0.05000000074505806),
                (19, 0.05000000074505806),
                (20, 0.02500000037252903),
                (35, 0.012500000186264515),
            ],
        );
    }

    #[test]
    fn the_decay_begins_after_the_warm_up() {
        let warm = LearningRate::from(ExponentialDecay::new(0.1, 10, 0.5).warmup(4));
        let rates = [0, 1, 2, 4, 14, 24].map(|step| warm.after(step));
        assert_eq!(rates, [0.0, 0.025, 0.05, 0.1, 0.05, 0.025]);
        let course = warm.over(15);
        assert_eq!((course.largest, course.largest_at, course.last), (0.1, 5, 0.05));
    }

    #[test]
    fn a_rate_that_grows_out_of_bounds_is_found() {
        let grows = LearningRate::from(ExponentialDecay::new(0.1, 1, 2.0));
        assert_eq!(grows.check_over(130), Ok(()));
        let problem = grows.check_over(1_000_000).unwrap_err();
        assert!(
            problem.starts_with("it grows beyond all 32-bit floats by step 1000000"),
            "{problem}"
        );
        let falls = LearningRate::from(ExponentialDecay::new(0.1, 1, 0.5));
        assert_eq!((falls.check_over(1_000_000), falls.after(999_999)), (Ok(()), 0.0));
    }

    #[test]
    fn parameters_out_of_range() {
        for (decay, parameter, problem) in [
            (ExponentialDecay::new(0.0, 1, 0.5), "initial_learning_rate", "found 0.0, wanted"),
            (ExponentialDecay::new(f64::NAN, 1, 0.5), "initial_learning_rate", "found NaN"),
            (ExponentialDecay::new(1e39, 1, 0.5), "initial_learning_rate", "found 1e39"),
            (ExponentialDecay::new(0.1, 0, 0.5), "decay_steps", "found 0, wanted a whole number"),
            (
                ExponentialDecay::new(0.1, 1, -0.5),
                "decay_rate",
                "found -0.5, wanted a number above",
            ),
        ] {
            let wrong = LearningRate::from(decay).check().unwrap_err();
            assert_eq!(wrong.parameter, parameter);
            assert!(wrong.problem.starts_with(problem), "{wrong:?}");
        }
    }
}
