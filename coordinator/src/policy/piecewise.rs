//! A rate that jumps at given steps: `keras.optimizers.schedules.PiecewiseConstantDecay`.

use lockstep_parameters::{Parameter, ParameterError, Range, Slot};

use super::schedule::{RateSchedule, STEPS_MAX, after_warmup};

/// One rate up to each boundary, and one after the last.
#[derive(Clone, Debug)]
pub struct PiecewiseConstantDecay {
    /// The last step of each rate but the last one, increasing.
    pub boundaries: Vec<u64>,
    /// The rates, one more than boundaries.
    pub values: Vec<f64>,
    /// Steps of a straight line from 0 to the first rate, before the schedule's own steps.
    pub warmup_steps: u64,
}

impl PiecewiseConstantDecay {
    /// `values[i]` up to and including step `boundaries[i]`, the last value after the last boundary.
    pub fn new(
        boundaries: impl Into<Vec<u64>>,
        values: impl Into<Vec<f64>>,
    ) -> PiecewiseConstantDecay {
        let (boundaries, values) = (boundaries.into(), values.into());
        PiecewiseConstantDecay { boundaries, values, warmup_steps: 0 }
    }

    /// Begins with a straight line from 0 to the first rate.
    pub fn warmup(mut self, steps: u64) -> PiecewiseConstantDecay {
        self.warmup_steps = steps;
        self
    }
}

impl RateSchedule for PiecewiseConstantDecay {
    fn name(&self) -> &'static str {
        "piecewise"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::required("boundaries", Slot::Wholes(&mut self.boundaries, 0, STEPS_MAX)),
            Parameter::required("values", Slot::Numbers(&mut self.values, Range::AT_LEAST_0_F32)),
            Parameter::optional("warmup_steps", Slot::Whole(&mut self.warmup_steps, 0, STEPS_MAX)),
        ]
    }

    fn check(&self) -> Result<(), ParameterError> {
        let (boundaries, values) = (self.boundaries.len(), self.values.len());
        if boundaries == 0 {
            let problem = "found an empty list, wanted at least one step at which the rate changes";
            return Err(ParameterError::new("boundaries", problem));
        }
        if let Some(pair) = self.boundaries.windows(2).find(|pair| pair[1] <= pair[0]) {
            let problem =
                format!("found {} after {}, wanted each above the one before it", pair[1], pair[0]);
            return Err(ParameterError::new("boundaries", problem));
        }
        if values != boundaries + 1 {
            let problem = format!(
                "found {values} for {boundaries} in boundaries, wanted {}: one for the steps up to each boundary, and one \
                 for those after the last",
                boundaries + 1
            );
            return Err(ParameterError::new("values", problem));
        }
        Ok(())
    }

    fn rate(&self, step: u64) -> f64 {
        after_warmup(step, self.warmup_steps, |step| {
            let passed = self.boundaries.partition_point(|&boundary| boundary < step);
            self.values[passed]
        })
    }

    fn turns(&self) -> Vec<u64> {
        let first_after =
            |boundary: &u64| self.warmup_steps.saturating_add(*boundary).saturating_add(1);
        let mut turns: Vec<u64> = self.boundaries.iter().map(first_after).collect();
        turns.push(self.warmup_steps);
        turns
    }

    fn boxed(&self) -> Box<dyn RateSchedule> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LearningRate;

    /// What Keras 3.15 gives for these: the step at a boundary still has the earlier value.
    #[test]
    fn the_values_of_keras() {
        let decay = PiecewiseConstantDecay::new([100, 200], [0.1, 0.05, 0.01]);
        let rate = LearningRate::from(decay.clone());
        for (step, wanted) in [
            (0, 0.1),
            (99, 0.1),
            (100, 0.1),
            (101, 0.05),
            (200, 0.05),
            (201, 0.01),
            (u64::MAX, 0.01),
        ] {
            assert_eq!(rate.after(step), wanted, "step {step}");
        }
        let warm = LearningRate::from(decay.warmup(10));
        let rates = [0, 5, 10, 110, 111, 211].map(|step| warm.after(step));
        assert_eq!(rates, [0.0, 0.05, 0.1, 0.1, 0.05, 0.01]);
    }

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        let rate = LearningRate::from(PiecewiseConstantDecay::new([3, 5], [0.1, 0.4, 0.2]));
        for (updates, largest, at, last) in
            [(1, 0.1, 1, 0.1), (4, 0.1, 1, 0.1), (5, 0.4, 5, 0.4), (100, 0.4, 5, 0.2)]
        {
            let course = rate.over(updates);
            let found = (course.largest, course.largest_at, course.last);
            assert_eq!(found, (largest, at, last), "{updates} updates");
        }
    }

    #[test]
    fn lists_that_do_not_go_together() {
        for (boundaries, values, parameter, problem) in [
            (vec![], vec![0.1], "boundaries", "found an empty list, wanted at least one step"),
            (vec![5, 5], vec![0.1; 3], "boundaries", "found 5 after 5, wanted each above"),
            (vec![9, 5], vec![0.1; 3], "boundaries", "found 5 after 9, wanted each above"),
            (vec![5], vec![0.1], "values", "found 1 for 1 in boundaries, wanted 2: one for"),
            (vec![5], vec![0.1; 3], "values", "found 3 for 1 in boundaries, wanted 2"),
            (vec![5], vec![0.1, -1.0], "values", "found -1.0, wanted a number of at least 0"),
        ] {
            let rate = LearningRate::from(PiecewiseConstantDecay::new(boundaries, values));
            let wrong = rate.check().unwrap_err();
            assert_eq!(wrong.parameter, parameter);
            assert!(wrong.problem.starts_with(problem), "{wrong:?}");
        }
    }
}
