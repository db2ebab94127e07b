//! Several runs side by side: what a report of them shows.

use serde::{Deserialize, Serialize};

use super::{Epoch, State, Status, Values};

/// Most runs that are compared: so many lines can be told apart without colours.
pub const RUNS_MAX: usize = 8;

/// Most keys of jobs that are listed.
const KEYS_MAX: usize = 200;

/// Runs side by side, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// 1: of this description.
    pub format: u32,
    /// Version of the program that makes it.
    pub lockstep: String,
    /// When it was made, in seconds since 1970.
    pub at: f64,
    /// The runs.
    pub runs: Vec<ComparedRun>,
    /// Keys of the jobs that are not the same in all runs; at most 200.
    pub keys: Vec<KeyDifference>,
    /// How many more there are.
    pub keys_left_out: usize,
}

/// A run among others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComparedRun {
    /// Its folder, as it was named.
    pub folder: String,
    /// The job's name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// When it began.
    pub started: Option<f64>,
    /// Steps made.
    pub step: u64,
    /// Seconds that it trained.
    pub seconds: f64,
    /// Rows a second over all of them.
    pub rows_per_second: Option<f64>,
    /// The epoch whose weights it ended with, where early stopping watched.
    pub best_epoch: Option<u32>,
    /// Hash of the weights, when it is over.
    pub weights_blake3: Option<String>,
    /// Loss and metrics: of what the run made or, until then, of the last epoch.
    pub values: Values,
    /// Loss and metrics by epoch.
    pub epochs: Vec<Epoch>,
}

/// A key of jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyDifference {
    /// With points between its parts: `train.batch_size`.
    pub key: String,
    /// Of each run, as it is written; `None` where the job does not have it.
    pub values: Vec<Option<String>>,
}

impl Comparison {
    /// Of runs with these folders, and the keys in which their jobs differ.
    pub fn new(runs: &[(String, Status)], mut keys: Vec<KeyDifference>) -> Comparison {
        let keys_left_out = keys.len().saturating_sub(KEYS_MAX);
        keys.truncate(KEYS_MAX);
        Comparison {
            format: 1,
            lockstep: env!("CARGO_PKG_VERSION").to_string(),
            at: runs.iter().map(|(_, status)| status.at).fold(0.0, f64::max),
            runs: runs.iter().map(|(folder, status)| ComparedRun::of(folder, status)).collect(),
            keys,
            keys_left_out,
        }
    }
}

impl ComparedRun {
    fn of(folder: &str, status: &Status) -> ComparedRun {
        let Status { run, now, position, epochs, result, .. } = status;
        let last = epochs.last().map(|epoch| epoch.values.clone());
        let values = result.as_ref().map(|result| result.values.clone()).or(last);
        ComparedRun {
            folder: folder.to_string(),
            name: run.name.clone(),
            state: run.state,
            started: run.started,
            step: position.step,
            seconds: now.seconds,
            rows_per_second: (now.seconds > 0.0).then(|| now.rows as f64 / now.seconds),
            best_epoch: result.as_ref().and_then(|result| result.best_epoch),
            weights_blake3: result.as_ref().and_then(|result| result.weights_blake3.clone()),
            values: values.unwrap_or_default(),
            epochs: epochs.clone(),
        }
    }
}
