//! What the records make of a run that has ended: the last line, the report, and what there is to warn of.

use std::sync::PoisonError;

use lockstep_coordinator::Outcome;
use lockstep_model::{Network, Threshold};

use super::line::Line;
use super::{History, Records};
use crate::constant_guess::Guess;
use crate::inference::{add_values, classes_of_sums};
use crate::plan::Plan;
use crate::report::classes::TargetClasses;
use crate::report::{EarlyStop, Report, Values};
use crate::validated::{self, Validated};

/// What the records make of a run that has ended.
pub struct FinishedRun {
    /// Loss and metrics by epoch.
    pub history: History,
    /// The run's report.
    pub report: Report,
    /// What there is to warn of: that a guess would be as good.
    pub warning: Option<String>,
    /// The threshold that was chosen for the model, if one was.
    pub threshold: Option<Threshold>,
}

impl Records {
    /// What the validation table says of the model that the run ended with, if there is such a table.
    pub fn validated(&self, plan: &Plan, outcome: &Outcome) -> Option<Validated> {
        let rule = plan.job.train.early_stopping.as_ref();
        let found = rule.and_then(|rule| EarlyStop::of(rule, outcome));
        let state = &self.shared.lock().unwrap_or_else(PoisonError::into_inner).state;
        match found {
            Some(EarlyStop { restored: true, .. }) => state.best_validated,
            _ => state.validated,
        }
    }

    /// Loss and metrics by epoch of a run that has ended before its last one, and the threshold that was chosen for what it ended with.
    pub fn so_far(&self, plan: &Plan, outcome: &Outcome) -> (History, Option<Threshold>) {
        let validated = self.validated(plan, outcome).unwrap_or_default();
        let rule = plan.job.train.early_stopping.as_ref();
        let found = rule.and_then(|rule| EarlyStop::of(rule, outcome));
        let best_epoch = found.and_then(|found| found.best_epoch);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let history = History { best_epoch, ..std::mem::take(&mut shared.history) };
        (
            history,
            validated.threshold.filter(|_| plan.chooses_threshold()).map(|chosen| chosen.value),
        )
    }

    /// Writes the last line and returns the history with the run's report.
    pub fn finish(
        self,
        plan: &Plan,
        outcome: &Outcome,
        weights_blake3: &str,
        run_folder: Option<String>,
    ) -> FinishedRun {
        let validated = self.validated(plan, outcome).unwrap_or_default();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Tested { values, classes, guess } = Tested::of(plan, outcome, validated.value());
        let chosen = validated.threshold.filter(|_| plan.chooses_threshold());
        let tables = [("validation table", validated.guess), ("test table", guess)];
        let warning = validated::warning(tables, &plan.schema);
        let rule = plan.job.train.early_stopping.as_ref();
        let early_stopping = rule.and_then(|rule| EarlyStop::of(rule, outcome));
        let best_epoch = early_stopping.as_ref().and_then(|found| found.best_epoch);
        let last = match &early_stopping {
            Some(EarlyStop { restored: true, .. }) => shared.state.best_values.clone(),
            _ => shared.history.epochs.last().cloned().unwrap_or_default(),
        };
        let (training, validation) =
            last.into_iter().partition(|(name, _)| !name.starts_with("validation_"));
        let measured = |values: &Values, prefix| measured(values, prefix, &plan.network);
        let test = measured(&values, "test_");
        let (epochs, steps, seconds) = (shared.state.epoch, shared.step, shared.state.seconds);
        let threshold = chosen.map(|chosen| chosen.value);
        let values = &values;
        shared.write(&Line::Final {
            values,
            steps,
            seconds,
            best_epoch,
            threshold,
            weights_blake3,
        });
        shared.close();
        let report = Report::Finished {
            name: plan.job.name.clone(),
            epochs,
            steps,
            seconds,
            rows_per_second: shared.state.rows as f64 / seconds.max(1e-9),
            training,
            validation: measured(&validation, "validation_"),
            test,
            loss_is_scaled: plan.network.has_units(),
            early_stopping,
            threshold: chosen,
            classes,
            weights_blake3: weights_blake3.to_string(),
            run_folder,
        };
        let history = History { best_epoch, ..std::mem::take(&mut shared.history) };
        FinishedRun { history, report, warning, threshold }
    }

    /// Writes out what waits, after a run that ended early. The last step, and that of the last checkpoint that this
    /// execution wrote.
    pub fn flush(&self) -> (u64, Option<u64>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let written = shared.close();
        (shared.step, written)
    }
}

/// What the test table says of a model.
#[derive(Default)]
struct Tested {
    /// Loss and metrics, as `test_loss`.
    values: Values,
    classes: Vec<TargetClasses>,
    guess: Option<Guess>,
}

impl Tested {
    /// Of a run that has ended; nothing, if there is no such table, or it could not be measured.
    fn of(plan: &Plan, outcome: &Outcome, threshold: Threshold) -> Tested {
        let mut tested = Tested::default();
        let (Some(sums), Some(rows)) = (&outcome.test_sums, plan.test_rows()) else {
            return tested;
        };
        let (network, schema, mut sums) = (&plan.network, &plan.schema, sums.clone());
        tested.classes = classes_of_sums(network, schema, &sums, threshold);
        tested.guess = Guess::found(network, &sums, rows, threshold);
        // As `evaluate` counts.
        network.count_at(threshold, &mut sums);
        add_values(&mut tested.values, network, &schema.target_names(), &sums, rows, "test_");
        tested
    }
}

/// Loss and metrics without their prefix, each by one name.
fn measured(values: &Values, prefix: &str, network: &Network) -> Values {
    let spec = network.spec();
    let loss = spec.loss.to_string();
    let is_metric = spec.metrics.iter().any(|metric| metric.to_string() == loss);
    values
        .iter()
        .filter_map(|(name, &value)| Some((name.strip_prefix(prefix)?.to_string(), value)))
        .filter(|(name, _)| is_metric || *name != loss)
        .collect()
}
