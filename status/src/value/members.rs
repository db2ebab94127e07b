//! Of a status: who takes part, who did, what is waited for, and who did what in the last passes.

use serde::{Deserialize, Serialize};

/// The state of a worker that steps are too short for.
pub const SPARE: &str = "spare";

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its number.
    pub worker: u64,
    /// Its machine.
    pub host: String,
    /// The address of its machine.
    pub address: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Its threads.
    pub threads: u32,
    /// The number that the same process had before.
    pub was: Option<u64>,
    /// What it is doing: `waiting`, `fetching`, `computing`, `idle`, `spare`, `slow`, `late`, `silent`.
    pub state: String,
    /// Why, in words.
    pub reason: String,
    /// For how long.
    pub state_seconds: Option<f64>,
    /// Since it joined.
    pub joined_seconds: f64,
    /// Its shards: the first, and one past the last.
    pub span: Option<(u32, u32)>,
    /// Rows that it computes a second.
    pub rows_per_second: Option<f64>,
    /// Share of the last passes' time in which it computed, from 0 to 1.
    pub computing: Option<f64>,
    /// The same in which its results were on their way, or it waited for weights.
    pub sending: Option<f64>,
    /// The same in which it had nothing to do.
    pub waiting: Option<f64>,
    /// How long its answers take, against the median of all: 1 is as long.
    pub lag: Option<f64>,
    /// Passes in which it was dealt something.
    pub passes: u64,
    /// How often its span was late, and dealt to others as well.
    pub hedged: u64,
    /// Chunks that are added at it; none today.
    pub homes: u64,
}

/// Who took part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gone {
    /// Its number.
    pub worker: u64,
    /// Its machine.
    pub host: String,
    /// When it left.
    pub at: f64,
    /// After this step.
    pub step: u64,
    /// Why, in one word.
    pub cause: String,
    /// Why, in words.
    pub reason: String,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wait {
    /// In words: for what, and for how long.
    pub what: String,
    /// At which stage of the run: `workers`, `rows`, `results`, `adding`, `audit`, `joining`, `disk`.
    pub stage: String,
    /// The peer, where it is one.
    pub peer: Option<String>,
    /// For how long.
    pub seconds: f64,
    /// After how long it ends by itself, where there is such a limit.
    pub limit_seconds: Option<f64>,
    /// What happens then, or can be done.
    pub remedy: String,
}

/// Who did what in the last passes, 60 at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Strip {
    /// The passes: what each was, as `step 12` or `validation`.
    pub passes: Vec<String>,
    /// How long each took.
    pub seconds: Vec<f64>,
    /// One row for each worker that was dealt something in any of them.
    pub rows: Vec<StripRow>,
}

/// A worker's row of the strip.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StripRow {
    /// Its number.
    pub worker: u64,
    /// Its machine.
    pub host: String,
    /// For each pass: `ok`, `slow` (more than 1.5 times the median and 25 ms longer), `open` (others answered for it), or
    /// `none`.
    pub cells: Vec<String>,
    /// For each pass, when its last answer was there, since the pass's begin.
    pub seconds: Vec<Option<f64>>,
}
