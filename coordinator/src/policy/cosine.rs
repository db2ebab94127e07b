//! A rate that falls along half a cosine: `keras.optimizers.schedules.CosineDecay` (Loshchilov and Hutter 2016), with
//! Keras' own linear warm-up.

use lockstep_parameters::{Parameter, ParameterError, Range, Slot};

use super::math::raised_cosine;
use super::schedule::{RateSchedule, STEPS_MAX, line};

/// `rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)`, after a warm-up if there is one.
#[derive(Clone, Debug)]
pub struct CosineDecay {
    /// The first rate: of the warm-up, if there is one.
    pub initial_learning_rate: f64,
    /// Steps of the fall, after the warm-up; the rate then stays as it is.
    pub decay_steps: u64,
    /// The last rate as a share of the one from which it falls.
    pub alpha: f64,
    /// The rate to which the warm-up rises, and from which the rate falls; without it there is no warm-up.
    pub warmup_target: Option<f64>,
    /// Steps of the warm-up.
    pub warmup_steps: u64,
}

impl CosineDecay {
    /// A fall from a rate to 0.
    pub fn new(initial_learning_rate: f64, decay_steps: u64) -> CosineDecay {
        CosineDecay {
            initial_learning_rate,
            decay_steps,
            alpha: 0.0,
            warmup_target: None,
            warmup_steps: 0,
        }
    }

    /// Ends at this share of the rate from which it falls.
    pub fn alpha(mut self, alpha: f64) -> CosineDecay {
        self.alpha = alpha;
        self
    }

    /// Begins with a straight line from the initial rate to `target`, from which it falls.
    pub fn warmup(mut self, steps: u64, target: f64) -> CosineDecay {
        (self.warmup_steps, self.warmup_target) = (steps, Some(target));
        self
    }
}

impl RateSchedule for CosineDecay {
    fn name(&self) -> &'static str {
        "cosine"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::required(
                "initial_learning_rate",
                Slot::Number(&mut self.initial_learning_rate, Range::AT_LEAST_0_F32),
            ),
            Parameter::required("decay_steps", Slot::Whole(&mut self.decay_steps, 1, STEPS_MAX)),
            Parameter::optional("alpha", Slot::Number(&mut self.alpha, Range::AT_LEAST_0_F32)),
            Parameter::optional(
                "warmup_target",
                Slot::Number(&mut self.warmup_target, Range::AT_LEAST_0_F32),
            ),
            Parameter::optional("warmup_steps", Slot::Whole(&mut self.warmup_steps, 0, STEPS_MAX)),
        ]
    }

    /// Keras passes over `warmup_steps` without a target, in silence.
    fn check(&self) -> Result<(), ParameterError> {
        if self.warmup_steps == 0 || self.warmup_target.is_some() {
            return Ok(());
        }
        let problem = format!(
            "found {} without warmup_target, so that there is nothing to warm up to: set warmup_target to the rate after the \
             warm-up, and initial_learning_rate to the one before it (such as 0.0), or leave out warmup_steps",
            self.warmup_steps
        );
        Err(ParameterError::new("warmup_steps", problem))
    }

    fn rate(&self, step: u64) -> f64 {
        let Some(target) = self.warmup_target else {
            return self.decayed(self.initial_learning_rate, step);
        };
        match step.checked_sub(self.warmup_steps) {
            Some(step) => self.decayed(target, step),
            None => line(step, self.warmup_steps, self.initial_learning_rate, target),
        }
    }

    fn turns(&self) -> Vec<u64> {
        vec![self.warmup_steps, self.warmup_steps.saturating_add(self.decay_steps)]
    }

    fn boxed(&self) -> Box<dyn RateSchedule> {
        Box::new(self.clone())
    }
}

impl CosineDecay {
    fn decayed(&self, from: f64, step: u64) -> f64 {
        let cosine = raised_cosine(step.min(self.decay_steps), self.decay_steps);
        from * ((1.0 - self.alpha) * cosine + self.alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{LearningRate, tests::agrees_with_keras};

    #[test]
    fn the_values_of_keras() {
        agrees_with_keras(
            CosineDecay::new(0.1, 1000),
            &[
                (0, 0.10000000149011612),
                (1, 0.09999974817037582),
                (250, 0.08535534143447876),
                (333, 0.07504532486200333),
                (500, 0.04999999701976776),
                (999, 2.47359281502213e-07),
                (1000, 0.0),
                (5000, 0.0),
            ],
        );
        agrees_with_keras(
            CosineDecay::new(0.1, 1000).alpha(0.05),
            &[
                (1, 0.09999976307153702),
                (250, 0.08608757704496384),
                (333, 0.07629305869340897),
                (500, 0.05249999836087227),
                (999, 0.0050002350471913815),
                (1000, 0.005000000353902578),
                (5000, 0.005000000353902578),
            ],
        );
    }

    #[test]
    fn the_warm_up_of_keras() {
        agrees_with_keras(
            CosineDecay::new(0.0, 4000).warmup(100, 0.002),
            &[
                (0, 0.0),
                (1, 2.0000001313746907e-05),
                (50, 0.0010000000474974513),
                (99, 0.001980000175535679),
                (100, 0.0020000000949949026),
                (101, 0.001999999862164259),
                (2100, 0.0009999999310821295),
                (4099, 2.980232449711906e-10),
                (4100, 0.0),
                (9999, 0.0),
            ],
        );
        agrees_with_keras(
            CosineDecay::new(0.0005, 40).alpha(0.1).warmup(7, 0.01),
            &[
                (0, 0.0005000000237487257),
                (1, 0.0018571428954601288),
                (6, 0.00864285696297884),
                (7, 0.009999999776482582),
                (8, 0.009986127726733685),
                (20, 0.007851243019104004),
                (46, 0.0010138718644157052),
                (47, 0.0010000000474974513),
                (48, 0.0010000000474974513),
            ],
        );
    }

    #[test]
    fn the_largest_is_where_the_warm_up_ends() {
        let rate = LearningRate::from(CosineDecay::new(0.0, 40).warmup(10, 0.01));
        let course = rate.over(1000);
        let found = (course.first, course.largest, course.largest_at, course.last);
        assert_eq!(found, (0.0, 0.01, 11, 0.0));
        assert_eq!((rate.over(6).largest, rate.over(6).largest_at), (0.005, 6));
        // With an alpha above 1 it rises.
        let rises = LearningRate::from(CosineDecay::new(0.1, 40).alpha(2.0)).over(100);
        assert_eq!((rises.largest, rises.largest_at), (0.2, 41));
    }

    #[test]
    fn parameters_that_do_not_go_together() {
        let decay = CosineDecay { warmup_steps: 100, ..CosineDecay::new(0.1, 1000) };
        let wrong = LearningRate::from(decay).check().unwrap_err();
        assert_eq!(wrong.parameter, "warmup_steps");
        assert!(wrong.problem.starts_with("found 100 without warmup_target"), "{wrong:?}");
        let negative = CosineDecay::new(0.1, 1000).warmup(3, -0.1);
        let wrong = LearningRate::from(negative).check().unwrap_err();
        assert_eq!((&wrong.parameter[..], &wrong.problem[..10]), ("warmup_target", "found -0.1"));
        let none = LearningRate::from(CosineDecay::new(0.0, 1000));
        let problem = none.check_over(7).unwrap_err();
        assert!(problem.starts_with("it is 0 at every step of the run"), "{problem}");
        let only_first = LearningRate::from(CosineDecay::new(0.0, 1000).warmup(3, 0.1));
        let problem = only_first.check_over(1).unwrap_err();
        assert!(problem.starts_with("it is 0 at the only step of the run"), "{problem}");
        assert_eq!(only_first.check_over(2), Ok(()));
    }
}
