//! What a run tells people and programs: one type for all of it, and whoever shows it behind one trait. Shows nothing
//! itself.

pub mod classes;
mod epochs;
pub mod escape;
mod fault;
pub mod figures;
mod level;
pub mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_coordinator::Outcome;
use lockstep_coordinator::policy::{EarlyStopping, Watch};
use lockstep_model::Threshold;
use serde::{Deserialize, Serialize};

use classes::TargetClasses;
pub use epochs::EpochsShown;
pub use fault::FaultKind;
pub use level::Level;

/// Shows reports, in whatever way.
pub trait Reporter: Send {
    /// Shows a report.
    fn report(&mut self, report: &Report);
}

/// A reporter that shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&mut self, _report: &Report) {}
}

/// A reporter that several owners write to, one report at a time.
pub type SharedReporter = Arc<Mutex<dyn Reporter>>;

/// A reporter to be shared.
pub fn shared(reporter: impl Reporter + 'static) -> SharedReporter {
    Arc::new(Mutex::new(reporter))
}

/// Shows a report, whoever else is writing.
pub fn report<R: Reporter + ?Sized>(reporter: &Mutex<R>, report: &Report) {
    // A panic elsewhere must not take the last words away.
    reporter.lock().unwrap_or_else(PoisonError::into_inner).report(report);
}

/// Names and values in order of their names.
pub type Values = BTreeMap<String, f64>;

/// JSON has no NaN (an r2 can be one): it is written as null, and read back from it.
pub(crate) fn null_as_nan<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Values, D::Error> {
    let values: BTreeMap<String, Option<f64>> = Deserialize::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

/// What early stopping made of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    /// Epochs that were made.
    pub epochs: u32,
    /// Whether it ended the run.
    pub stopped: bool,
    /// What was watched.
    pub metric: String,
    /// The best epoch, from 1; `None` if there was no value.
    pub best_epoch: Option<u32>,
    /// The value after it.
    pub best_value: Option<f64>,
    /// Whether the run ended with the weights of the best epoch.
    pub restored: bool,
}

impl EarlyStop {
    /// Of a run that was asked for it and has ended.
    pub fn of(rule: &EarlyStopping, outcome: &Outcome) -> Option<EarlyStop> {
        let Watch { best, stopped, .. } = outcome.watch?;
        Some(EarlyStop {
            epochs: outcome.epochs,
            stopped,
            metric: rule.metric.clone(),
            best_epoch: best.map(|best| best.epoch),
            best_value: best.map(|best| best.value),
            restored: rule.restore_best_weights && best.is_some(),
        })
    }

    /// The epoch whose weights the run ended with.
    pub fn kept_epoch(&self) -> u32 {
        self.best_epoch.filter(|_| self.restored).unwrap_or(self.epochs)
    }
}

/// A threshold that was chosen for a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Rows whose probability is above it are predicted to be of class 1.
    pub value: Threshold,
    /// The F1 of class 1 that it gives on the validation table: the largest.
    pub validation_f1: f64,
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// The coordinator is ready.
    Listening {
        /// Where workers find it.
        address: String,
        /// The run.
        run_id: String,
        /// Where its folder is.
        run_folder: Option<String>,
        /// Where its status page is, without the page's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    },
    /// A worker was let in.
    WorkerJoined {
        /// Its number.
        worker: u64,
        /// Its host.
        host: String,
        /// The address of its machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The number that the same process had before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<u64>,
        /// Its process.
        pid: u32,
        /// Its threads.
        threads: u32,
    },
    /// A worker is gone.
    WorkerLeft {
        /// Its number.
        worker: u64,
        /// Its host.
        host: String,
        /// The address of its machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The number that the same process had before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<u64>,
        /// Why, in one word.
        cause: String,
        /// Why.
        reason: String,
        /// How many are left.
        workers: usize,
    },
    /// Something normal.
    Note {
        /// In words.
        message: String,
    },
    /// Something odd, though things go on.
    Warning {
        /// In words.
        message: String,
    },
    /// Nothing has moved for a while; told every five seconds until something does.
    Waiting {
        /// For what, and for how long by now, in words.
        what: String,
        /// The stage, in one word: as in a status.
        stage: String,
        /// Who is waited for and where that is, where it is a worker.
        peer: Option<String>,
        /// For how long by now.
        seconds: f64,
        /// How long it may last before the run goes on by itself, where there is such a limit.
        limit_seconds: Option<f64>,
        /// What helps.
        remedy: String,
    },
    /// How far the training is.
    Progress {
        /// Epoch, from 1.
        epoch: u32,
        /// Of how many.
        epochs: u32,
        /// Step, from 1.
        step: u64,
        /// Of how many.
        steps: u64,
        /// Mean loss over the epoch so far.
        loss: f64,
        /// Rows a second, since the run began.
        rows_per_second: f64,
        /// Seconds left, at that pace.
        seconds_left: f64,
        /// Whether the loss is in units of scaled targets, and not in those of the metrics.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        loss_is_scaled: bool,
    },
    /// How far something else is that takes its time.
    Working {
        /// What is done, in a word.
        what: String,
        /// Parts of it that are done.
        place: u64,
        /// Of how many.
        of: u64,
    },
    /// An epoch is over.
    Epoch {
        /// Epoch, from 1.
        epoch: u32,
        /// Of how many.
        epochs: u32,
        /// Since the first step began.
        seconds: f64,
        /// Loss and metrics.
        #[serde(deserialize_with = "null_as_nan")]
        values: Values,
        /// Whether the loss is in units of scaled targets, and not in those of the metrics.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        loss_is_scaled: bool,
    },
    /// A fault was injected.
    Chaos {
        /// Of which kind.
        fault: FaultKind,
        /// The processes that it hit.
        processes: Vec<u32>,
        /// How long it lasts, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// No more faults are injected.
    ChaosOver {
        /// What they were drawn from.
        seed: u64,
        /// How many of each kind.
        faults: BTreeMap<FaultKind, u64>,
    },
    /// The training is over, well or not: workers end, and what there is to keep is written.
    Ending,
    /// The result.
    Finished {
        /// The job.
        name: String,
        /// Epochs.
        epochs: u32,
        /// Steps.
        steps: u64,
        /// From the first step to the end.
        seconds: f64,
        /// Rows a second.
        rows_per_second: f64,
        /// Loss and metrics over the last epoch, if it ended in this execution; over the best one, if its weights were
        /// restored.
        #[serde(deserialize_with = "null_as_nan")]
        training: Values,
        /// Of the validation table after it, if there is one.
        #[serde(deserialize_with = "null_as_nan")]
        validation: Values,
        /// Of the test table, if there is one.
        #[serde(deserialize_with = "null_as_nan")]
        test: Values,
        /// Whether the loss is in units of scaled targets, and not in those of the metrics.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        loss_is_scaled: bool,
        /// What early stopping made of it, if it was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        early_stopping: Option<EarlyStop>,
        /// The threshold that was chosen for the model, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threshold: Option<Chosen>,
        /// Of each target of the test table whose values are classes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        classes: Vec<TargetClasses>,
        /// Hash of the weights in the run folder: the last, or those of the best epoch.
        weights_blake3: String,
        /// Where everything is.
        run_folder: Option<String>,
    },
    /// A table was measured.
    Evaluated {
        /// Its rows, without those left out.
        rows: u64,
        /// Rows left out for a missing cell.
        left_out: u64,
        /// Loss and metrics.
        #[serde(deserialize_with = "null_as_nan")]
        values: Values,
        /// Whether the loss is in units of scaled targets, and not in those of the metrics.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        loss_is_scaled: bool,
        /// Of each target whose values are classes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        classes: Vec<TargetClasses>,
    },
    /// Predictions were written.
    Predicted {
        /// How many.
        rows: u64,
        /// In which file; `None` for standard output.
        output: Option<String>,
    },
    /// A model was made of weights that were trained elsewhere.
    Imported {
        /// Where its folder is.
        run_folder: String,
        /// Hash of the weights.
        weights_blake3: String,
    },
    /// A model was written for other programs.
    Exported {
        /// In which file.
        output: String,
        /// How long it is.
        bytes: u64,
    },
    /// The report of a run was written.
    Reported {
        /// In which file.
        output: String,
        /// How long it is.
        bytes: u64,
    },
    /// A picture of runs was written.
    Plotted {
        /// In which file.
        output: String,
        /// How long it is.
        bytes: u64,
    },
    /// A run was verified: what it wrote down is what this machine makes.
    Verified {
        /// The first step that was asked for.
        first: u64,
        /// The last step that was compared.
        last: u64,
        /// Steps whose hashes were compared.
        hashes: usize,
        /// The step of the checkpoint that it was started from; 0 for the beginning.
        from: u64,
    },
    /// A line of the log: what the program does in itself, said nowhere else.
    Log {
        /// How much somebody has to want to hear to be told this.
        level: Level,
        /// The module that says it.
        target: String,
        /// In words.
        message: String,
        /// Names and values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        fields: BTreeMap<String, serde_json::Value>,
    },
    /// The command failed.
    Error {
        /// In words.
        message: String,
        /// Its exit code.
        exit_code: u8,
    },
}

impl Report {
    /// Whether it is what a command was started for.
    pub fn is_result(&self) -> bool {
        use Report::{Evaluated, Finished, Verified};
        matches!(self, Finished { .. } | Evaluated { .. } | Verified { .. })
    }

    /// Whether it says that the result is in a file, so that standard output is free for programs to be told.
    pub fn is_receipt(&self) -> bool {
        matches!(
            self,
            Report::Predicted { output: Some(_), .. }
                | Report::Exported { .. }
                | Report::Reported { .. }
                | Report::Plotted { .. }
                | Report::Imported { .. }
        )
    }
}
