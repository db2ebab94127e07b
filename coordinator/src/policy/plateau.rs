//! A rate that is reduced when a measure of the validation table gets no better: Keras' callback `ReduceLROnPlateau`, with its names
//! and formulas.
//!
//! The one schedule that is no function of the step alone: what it has seen, with the rate that this led to, is part of every
//! snapshot. Knows values, as early stopping does, and no sums.

use lockstep_parameters::{Parameter, ParameterError, Range, Slot};

use super::early_stopping::{METRIC_DEFAULT, Mode, PATIENCE_DEFAULT};
use super::schedule::RateSchedule;

const SHARE: Range =
    Range::new("a number above 0 and below 1", |number| number > 0.0 && number < 1.0);

/// Multiplies the rate by `factor` when `metric` has got no better for `patience` epochs.
#[derive(Clone, Debug)]
pub struct ReduceOnPlateau {
    /// The first rate.
    pub initial_learning_rate: f64,
    /// What is watched: `validation_loss`, or `validation_` and the name of a metric.
    pub metric: String,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// Epochs without an improvement after which it is; 0 means 1, as in Keras.
    pub patience: u32,
    /// An improvement is more than this; at least 0.
    pub min_delta: f64,
    /// Epochs after a reduction that do not count.
    pub cooldown: u32,
    /// The least rate.
    pub min_learning_rate: f64,
}

/// What a run has seen of the measure so far, and its rate. Part of every snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// Of the next update.
    pub learning_rate: f32,
    /// The best value; `None` until there is one.
    pub best: Option<f64>,
    /// Epochs since an improvement or a reduction.
    pub wait: u32,
    /// Epochs that still do not count.
    pub cooldown: u32,
}

impl ReduceOnPlateau {
    /// With Keras' defaults: a tenth of the rate after 10 epochs without an improvement of the loss by more than 0.0001.
    pub fn new(initial_learning_rate: f64) -> ReduceOnPlateau {
        ReduceOnPlateau {
            initial_learning_rate,
            metric: METRIC_DEFAULT.to_string(),
            factor: 0.1,
            patience: PATIENCE_DEFAULT,
            min_delta: 1e-4,
            cooldown: 0,
            min_learning_rate: 0.0,
        }
    }

    /// Sets what is watched: `validation_loss`, or `validation_` and the name of a metric.
    pub fn metric(mut self, metric: impl Into<String>) -> ReduceOnPlateau {
        self.metric = metric.into();
        self
    }

    /// Sets what the rate is multiplied by.
    pub fn factor(mut self, factor: f64) -> ReduceOnPlateau {
        self.factor = factor;
        self
    }

    /// Sets after how many epochs without an improvement.
    pub fn patience(mut self, patience: u32) -> ReduceOnPlateau {
        self.patience = patience;
        self
    }

    /// Sets how much better a value must be to count as an improvement.
    pub fn min_delta(mut self, min_delta: f64) -> ReduceOnPlateau {
        self.min_delta = min_delta;
        self
    }

    /// Sets how many epochs after a reduction do not count.
    pub fn cooldown(mut self, epochs: u32) -> ReduceOnPlateau {
        self.cooldown = epochs;
        self
    }

    /// Sets the least rate.
    pub fn min_learning_rate(mut self, rate: f64) -> ReduceOnPlateau {
        self.min_learning_rate = rate;
        self
    }

    /// The state before the first epoch has ended.
    pub fn beginning(&self) -> Plateau {
        let learning_rate = self.initial_learning_rate as f32;
        Plateau { learning_rate, best: None, wait: 0, cooldown: 0 }
    }

    /// Takes in the value after an epoch. A NaN is no improvement.
    pub fn judge(&self, mode: Mode, seen: &mut Plateau, value: f64) {
        if seen.cooldown > 0 {
            seen.cooldown -= 1;
            seen.wait = 0;
        }
        if mode.improves(value, seen.best, self.min_delta) {
            (seen.best, seen.wait) = (Some(value), 0);
        } else if seen.cooldown == 0 {
            seen.wait = seen.wait.saturating_add(1);
            if seen.wait >= self.patience && seen.learning_rate > self.min_learning_rate as f32 {
                let reduced = f64::from(seen.learning_rate) * self.factor;
                seen.learning_rate = reduced.max(self.min_learning_rate) as f32;
                (seen.cooldown, seen.wait) = (self.cooldown, 0);
            }
        }
    }
}

impl RateSchedule for ReduceOnPlateau {
    fn name(&self) -> &'static str {
        "plateau"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let whole = |into| Slot::Whole(into, 0, u32::MAX.into());
        vec![
            Parameter::required(
                "initial_learning_rate",
                Slot::Number(&mut self.initial_learning_rate, Range::ABOVE_0_F32),
            ),
            Parameter::optional("metric", Slot::Text(&mut self.metric)),
            Parameter::optional("factor", Slot::Number(&mut self.factor, SHARE)),
            Parameter::optional("patience", whole(&mut self.patience)),
            Parameter::optional("min_delta", Slot::Number(&mut self.min_delta, Range::AT_LEAST_0)),
            Parameter::optional("cooldown", whole(&mut self.cooldown)),
            Parameter::optional(
                "min_learning_rate",
                Slot::Number(&mut self.min_learning_rate, Range::AT_LEAST_0_F32),
            ),
        ]
    }

    fn check(&self) -> Result<(), ParameterError> {
        let (least, first) = (self.min_learning_rate, self.initial_learning_rate);
        if least <= first {
            return Ok(());
        }
        let problem = format!("found {least:?}, wanted at most the first rate, {first:?}");
        Err(ParameterError::new("min_learning_rate", problem))
    }

    /// As long as it is not reduced.
    fn rate(&self, _step: u64) -> f64 {
        self.initial_learning_rate
    }

    fn turns(&self) -> Vec<u64> {
        Vec::new()
    }

    fn watches(&self) -> Option<&ReduceOnPlateau> {
        Some(self)
    }

    fn boxed(&self) -> Box<dyn RateSchedule> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::LearningRate;

    /// The rates of the epochs after these values. By Keras' code.
    #[track_caller]
    fn rates(rule: &ReduceOnPlateau, mode: Mode, values: &[f64], wanted: &[f32]) {
        let mut seen = rule.beginning();
        let rates = values.iter().map(|&value| {
            rule.judge(mode, &mut seen, value);
            seen.learning_rate
        });
        assert_eq!(rates.collect::<Vec<_>>(), wanted);
    }

    fn halves() -> ReduceOnPlateau {
        ReduceOnPlateau::new(1.0).factor(0.5).patience(2)
    }

    #[test]
    fn it_is_reduced_after_epochs_without_an_improvement() {
        let values = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0, 1.0];
        let wanted = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125];
        rates(&halves(), Mode::Min, &values, &wanted);
        let upside_down = values.map(|value| -value);
        rates(&halves(), Mode::Max, &upside_down, &wanted);
        // 0 is 1, as in Keras.
        for patience in [0, 1] {
            let wanted = [1.0, 1.0, 0.5, 0.25, 0.25];
            rates(&halves().patience(patience), Mode::Min, &values[..5], &wanted);
        }
    }

    #[test]
    fn an_improvement_is_more_than_min_delta() {
        let rule = halves().min_delta(0.25);
        rates(&rule, Mode::Min, &[1.0, 0.75, 0.75, 0.5], &[1.0, 1.0, 0.5, 0.5]);
    }

    #[test]
    fn epochs_of_a_cooldown_do_not_count() {
        let rule = halves().patience(1).cooldown(2);
        let wanted = [1.0, 0.5, 0.5, 0.25, 0.25, 0.125];
        rates(&rule, Mode::Min, &[1.0; 6], &wanted);
    }

    #[test]
    fn there_is_a_least_rate() {
        let rule = halves().patience(1).min_learning_rate(0.3);
        rates(&rule, Mode::Min, &[1.0; 5], &[1.0, 0.5, 0.3, 0.3, 0.3]);
    }

    #[test]
    fn what_is_no_number_is_no_improvement() {
        let values = [f64::NAN, f64::NAN, 5.0, f64::NAN, 4.0];
        rates(&halves(), Mode::Min, &values, &[1.0, 0.5, 0.5, 0.5, 0.5]);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let problem = |rule: ReduceOnPlateau| LearningRate::from(rule).check().err();
        assert_eq!(problem(halves().min_learning_rate(1.0)), None);
        for (rule, parameter) in [
            (halves().factor(1.0), "factor"),
            (halves().factor(0.0), "factor"),
            (halves().min_delta(-1.0), "min_delta"),
            (halves().min_learning_rate(1.5), "min_learning_rate"),
            (ReduceOnPlateau::new(0.0), "initial_learning_rate"),
        ] {
            assert_eq!(problem(rule).unwrap().parameter, parameter);
        }
    }
}
