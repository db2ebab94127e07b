//! Early stopping: when a run has learned what it will, by a measure of the validation table after every epoch. Names and
//! formulas are those of Keras' `EarlyStopping`.
//!
//! Knows values and epochs: how sums become a value is for whoever knows the network. Keeps no weights.

use std::fmt;
use std::sync::Arc;

use lockstep_parameters::{AnyTable, Parameter, ParameterError, Range, Slot, Table};

/// What is watched, where a job does not say.
pub const METRIC_DEFAULT: &str = "validation_loss";

/// How many epochs without an improvement a run goes on, where a job does not say.
pub const PATIENCE_DEFAULT: u32 = 10;

/// What is watched, and how long a run goes on that gets no better.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    /// What is watched: `validation_loss`, or `validation_` and the name of a metric.
    pub metric: String,
    /// Epochs without an improvement after which the run ends; 0 means 1, as in Keras.
    pub patience: u32,
    /// An improvement is more than this; at least 0.
    pub min_delta: f64,
    /// Whether the run ends with the weights of the best epoch, rather than with those of the last.
    pub restore_best_weights: bool,
    /// So many epochs pass before anything is watched.
    pub start_from_epoch: u32,
    /// What has to be improved on for the patience to begin anew.
    pub baseline: Option<f64>,
}

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Smaller ones.
    Min,
    /// Larger ones.
    Max,
}

impl Mode {
    /// Whether a value is better than another by more than `min_delta`, or the first that is a number. A NaN never is.
    pub(super) fn improves(self, value: f64, on: Option<f64>, min_delta: f64) -> bool {
        !value.is_nan()
            && on.is_none_or(|on| match self {
                Mode::Min => value + min_delta < on,
                Mode::Max => value - min_delta > on,
            })
    }
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// From 1.
    pub epoch: u32,
    /// What was measured after it.
    pub value: f64,
}

/// What a run has seen of the measure so far. Part of every snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watch {
    /// `None` until there is a value.
    pub best: Option<Best>,
    /// Epochs since an improvement.
    pub wait: u32,
    /// Whether the run is over.
    pub stopped: bool,
}

/// Makes the value that is watched of the sums over the validation table and its number of rows.
type Value = dyn Fn(&[f64], u64) -> f64 + Send + Sync;

/// How the sums over the validation table become the value that is watched.
#[derive(Clone)]
pub struct Measure(Arc<Value>);

impl Measure {
    /// By this function of the sums and the rows that they are over.
    pub fn new(value: impl Fn(&[f64], u64) -> f64 + Send + Sync + 'static) -> Measure {
        Measure(Arc::new(value))
    }

    /// The value after an epoch.
    pub fn value(&self, sums: &[f64], rows: u64) -> f64 {
        (self.0)(sums, rows)
    }
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Measure")
    }
}

/// What watches a measure, as a run needs it.
#[derive(Clone, Debug)]
pub struct Watched<Rule = EarlyStopping> {
    /// The job's wish.
    pub rule: Rule,
    /// Which values of its metric are better.
    pub mode: Mode,
    /// How to get at them.
    pub measure: Measure,
}

impl Default for EarlyStopping {
    fn default() -> EarlyStopping {
        EarlyStopping::new(METRIC_DEFAULT)
    }
}

impl Table for EarlyStopping {
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::optional("metric", Slot::Text(&mut self.metric)),
            Parameter::optional("patience", Slot::Whole(&mut self.patience, 0, u32::MAX.into())),
            Parameter::optional("min_delta", Slot::Number(&mut self.min_delta, Range::AT_LEAST_0)),
            Parameter::optional("restore_best_weights", Slot::Flag(&mut self.restore_best_weights)),
            Parameter::optional(
                "start_from_epoch",
                Slot::Whole(&mut self.start_from_epoch, 0, u32::MAX.into()),
            ),
            Parameter::optional("baseline", Slot::Number(&mut self.baseline, Range::ANY)),
        ]
    }
}

impl EarlyStopping {
    /// Watches a measure of the validation table: `validation_loss`, or `validation_` and the name of a metric.
    pub fn new(metric: impl Into<String>) -> EarlyStopping {
        EarlyStopping {
            metric: metric.into(),
            patience: PATIENCE_DEFAULT,
            min_delta: 0.0,
            restore_best_weights: true,
            start_from_epoch: 0,
            baseline: None,
        }
    }

    /// Sets how many epochs without an improvement the run goes on.
    pub fn patience(mut self, patience: u32) -> EarlyStopping {
        self.patience = patience;
        self
    }

    /// Sets how much better a value must be to count as an improvement.
    pub fn min_delta(mut self, min_delta: f64) -> EarlyStopping {
        self.min_delta = min_delta;
        self
    }

    /// Sets whether the run ends with the weights of the best epoch.
    pub fn restore_best_weights(mut self, restore: bool) -> EarlyStopping {
        self.restore_best_weights = restore;
        self
    }

    /// Sets how many epochs pass before anything is watched.
    pub fn start_from_epoch(mut self, epochs: u32) -> EarlyStopping {
        self.start_from_epoch = epochs;
        self
    }

    /// Sets what has to be improved on.
    pub fn baseline(mut self, baseline: f64) -> EarlyStopping {
        self.baseline = Some(baseline);
        self
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ParameterError> {
        AnyTable::check(&mut self.clone())
    }

    /// Takes in the value after an epoch (from 1); whether it is the best so far. A NaN never is.
    pub fn judge(&self, mode: Mode, watch: &mut Watch, epoch: u32, value: f64) -> bool {
        if epoch <= self.start_from_epoch {
            return false;
        }
        watch.wait = watch.wait.saturating_add(1);
        let improves = |on: Option<f64>| mode.improves(value, on, self.min_delta);
        if improves(watch.best.map(|best| best.value)) {
            watch.best = Some(Best { epoch, value });
            if improves(self.baseline) {
                watch.wait = 0;
            }
            return true;
        }
        watch.stopped = watch.wait >= self.patience && epoch > 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best epoch, and that after which the run ends, where these values come after the epochs. By Keras' code.
    #[track_caller]
    fn ends(rule: EarlyStopping, mode: Mode, values: &[f64], best: Option<u32>, end: Option<u32>) {
        let mut watch = Watch::default();
        let mut epochs = (1..).zip(values);
        let stopped = epochs.find_map(|(epoch, &value)| {
            let is_best = rule.judge(mode, &mut watch, epoch, value);
            assert_eq!(is_best, watch.best == Some(Best { epoch, value }));
            watch.stopped.then_some(epoch)
        });
        assert_eq!((watch.best.map(|best| best.epoch), stopped), (best, end));
    }

    fn rule() -> EarlyStopping {
        EarlyStopping::new("validation_loss").patience(2)
    }

    #[test]
    fn patience_is_counted_from_the_last_improvement() {
        let values = [3.0, 2.0, 2.5, 1.0, 1.0, 1.5, 0.5];
        ends(rule(), Mode::Min, &values, Some(4), Some(6));
        ends(rule().patience(3), Mode::Min, &values, Some(7), None);
        // 0 is 1, as in Keras.
        for patience in [0, 1] {
            ends(rule().patience(patience), Mode::Min, &values, Some(2), Some(3));
        }
        ends(rule(), Mode::Max, &values, Some(1), Some(3));
        ends(rule(), Mode::Max, &[0.1, 0.2, 0.2, 0.3], Some(4), None);
    }

    #[test]
    fn an_improvement_is_more_than_min_delta() {
        let values = [1.0, 0.75, 0.5, 0.5, 0.25];
        ends(rule().min_delta(0.25), Mode::Min, &values, Some(3), Some(5));
        ends(rule().min_delta(0.24), Mode::Min, &values, Some(5), None);
        ends(rule().min_delta(0.25), Mode::Max, &[0.25, 0.5, 0.75], Some(3), None);
        ends(rule().min_delta(0.5), Mode::Max, &[0.25, 0.5, 0.75], Some(1), Some(3));
    }

    #[test]
    fn nothing_is_watched_before_the_first_epoch_that_counts() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        ends(rule().start_from_epoch(2), Mode::Min, &values, Some(3), Some(5));
        ends(rule().start_from_epoch(9), Mode::Min, &values, None, None);
    }

    #[test]
    fn a_baseline_has_to_be_beaten_too() {
        // The best epoch moves on, but the patience is not renewed.
        ends(rule().baseline(1.0), Mode::Min, &[4.0, 3.0, 2.0, 2.5], Some(3), Some(4));
        ends(rule().baseline(1.0), Mode::Min, &[4.0, 0.5, 0.7, 0.4, 0.4, 0.4], Some(4), Some(6));
    }

    #[test]
    fn what_is_no_number_is_no_improvement() {
        ends(rule(), Mode::Max, &[f64::NAN, f64::NAN], None, Some(2));
        ends(rule(), Mode::Max, &[f64::NAN, 0.5, f64::NAN, f64::NAN], Some(2), Some(4));
        ends(rule().patience(1), Mode::Max, &[f64::NAN, 0.5], Some(2), None);
    }

    #[test]
    fn numbers_that_say_nothing_are_refused() {
        assert_eq!(rule().check(), Ok(()));
        for (rule, parameter) in [
            (rule().min_delta(-0.1), "min_delta"),
            (rule().min_delta(f64::NAN), "min_delta"),
            (rule().baseline(f64::INFINITY), "baseline"),
        ] {
            assert_eq!(rule.check().unwrap_err().parameter, parameter);
        }
    }
}
