//! The status of a run as a value: what there is to see, in JSON as it is here. Fields are added, never renamed; numbers that
//! are not finite are `null`. Every list has a limit, which does not grow with the run.

mod comparison;
mod evaluation;
mod members;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use comparison::{ComparedRun, Comparison, KeyDifference, RUNS_MAX};
pub use evaluation::{
    CalibrationBin, ClassCounts, ClassCurves, Classes, ColumnImportance, Evaluation, HistogramBin,
    Importance, Line, Residuals, TargetEvaluation,
};
pub use members::{Gone, Member, SPARE, Strip, StripRow, Wait};

/// Names and values; `None` for one that is not finite.
pub type Values = BTreeMap<String, Option<f64>>;

/// A finite number, or none.
pub fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// All there is to see of a run. Times are seconds; `at` is seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// 1: of this description.
    pub format: u32,
    /// Version of the program that makes it.
    pub lockstep: String,
    /// When it was made.
    pub at: f64,
    /// Which run it is of.
    pub run: Run,
    /// What it was asked to do.
    pub job: Job,
    /// How far it is.
    pub position: Position,
    /// Where the loss and the pace are now.
    pub now: Now,
    /// Loss and metrics by epoch, those of the validation table with `validation_` before them; of many epochs, every so many,
    /// and the last.
    pub epochs: Vec<Epoch>,
    /// Loss, learning rate and pace over all steps.
    pub curve: Curve,
    /// How large the gradient of each layer was.
    pub gradients: Gradients,
    /// Who takes part, in order of numbers.
    pub members: Vec<Member>,
    /// Who took part, the last 64 that left.
    pub gone: Vec<Gone>,
    /// Who adds up gradients, and why.
    pub adds: Option<String>,
    /// What is waited for, and why nothing moves; usually nothing.
    pub waits: Vec<Wait>,
    /// Who did what in the last passes.
    pub strip: Strip,
    /// What happened, the last 200.
    pub events: Vec<Event>,
    /// How often what happened.
    pub counts: Counts,
    /// Where the time of all workers went.
    pub spent: Spent,
    /// Why the run takes as long as it does, in words; empty where nothing stands out.
    pub explanations: Vec<String>,
    /// What the run has made, when it is over.
    pub result: Option<Outcome>,
    /// How well its model does row by row, in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Why a report has no such evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_missing: Option<String>,
}

/// Which run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The job's name.
    pub name: String,
    /// Names the run; the same for every execution of it.
    pub id: String,
    /// Its folder, if it has one.
    pub folder: Option<String>,
    /// The machine of its coordinator.
    pub host: String,
    /// Where workers find the coordinator.
    pub address: Option<String>,
    /// When it began.
    pub started: Option<f64>,
    /// How it is.
    pub state: State,
    /// Why, where that is not how things go.
    pub reason: Option<String>,
    /// The line that verifies it.
    pub verify: Option<String>,
}

/// How a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No step is made yet.
    #[default]
    Starting,
    /// It trains.
    Training,
    /// Nothing has moved for a moment: see the waits.
    Waiting,
    /// It was told to stop.
    Stopping,
    /// The training is over; the rest is written.
    Ending,
    /// The model is there.
    Finished,
    /// It was stopped, and can go on.
    Stopped,
    /// It ended with an error.
    Failed,
    /// Its records say that it goes on, and no coordinator is there.
    Lost,
}

impl State {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, State::Finished | State::Stopped | State::Failed | State::Lost)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Training => "training",
            State::Waiting => "waiting",
            State::Stopping => "stopping",
            State::Ending => "ending",
            State::Finished => "finished",
            State::Stopped => "stopped",
            State::Failed => "failed",
            State::Lost => "lost",
        }
    }
}

/// What a run was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// What there is to know in a word or two each: names and values.
    pub facts: Vec<(String, String)>,
    /// The network, from its inputs on.
    pub layers: Vec<Layer>,
    /// The columns that it learns from and predicts.
    pub columns: Vec<Column>,
    /// How many columns more than are listed.
    pub columns_left_out: usize,
    /// The job file, as resolved.
    pub toml: String,
}

/// A layer of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// What it is, in words.
    pub name: String,
    /// The shape of a row that it makes.
    pub output: String,
    /// How many weights it has.
    pub parameters: u64,
}

/// A column of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `feature` or `target`.
    pub role: String,
    /// What is made of it.
    pub encoder: String,
    /// How many network inputs that is.
    pub inputs: u64,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// The epoch in hand, from 1; 0 before the first.
    pub epoch: u32,
    /// Of how many.
    pub epochs: u32,
    /// Steps made.
    pub step: u64,
    /// Of how many.
    pub steps: u64,
    /// The table that is measured now, if one is.
    pub measures: Option<String>,
}

/// Where things are now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Now {
    /// Mean loss over the epoch in hand.
    pub loss: Option<f64>,
    /// Whether the loss is in units of scaled targets.
    pub loss_is_scaled: bool,
    /// Of the last step.
    pub learning_rate: Option<f64>,
    /// Rows trained on, in all.
    pub rows: u64,
    /// Rows a second over the last seconds.
    pub rows_per_second: Option<f64>,
    /// Since the first step began, without pauses between executions.
    pub seconds: f64,
    /// At the pace of the last seconds.
    pub seconds_left: Option<f64>,
}

/// An epoch that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Its last step.
    pub step: u64,
    /// Since the first step began.
    pub seconds: f64,
    /// Loss and metrics.
    pub values: Values,
}

/// Values over all steps, at most 1,024 of each: neighbours are put together as the run grows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve {
    /// How many steps a place stands for; the last may stand for fewer.
    pub steps_a_place: u64,
    /// The last step of each place.
    pub step: Vec<u64>,
    /// Mean loss of its steps, and the least and the largest.
    pub loss: Vec<Option<f64>>,
    /// The least.
    pub loss_min: Vec<Option<f64>>,
    /// The largest.
    pub loss_max: Vec<Option<f64>>,
    /// Of its last step.
    pub learning_rate: Vec<Option<f64>>,
    /// Rows a second.
    pub rows_per_second: Vec<Option<f64>>,
}

/// How large the gradient of each layer was, in the steps in which it was measured; of many every so many, and the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gradients {
    /// The steps.
    pub step: Vec<u64>,
    /// The layers that learn, from the inputs on; at most 64.
    pub layers: Vec<LayerGradient>,
}

/// A layer's gradient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerGradient {
    /// What the layer is called.
    pub name: String,
    /// By step: the norm of the mean gradient over the batch, before penalties and clipping.
    pub norm: Vec<Option<f64>>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// When, the last time.
    pub at: f64,
    /// After this step.
    pub step: u64,
    /// `joined`, `left`, `refused`, `hedged`, `dealt_again`, `waiting`, `checkpoint`,
    /// `resumed`, `policy`, `warning`, `note`.
    pub kind: String,
    /// In words.
    pub text: String,
    /// How often, in a row.
    pub times: u64,
}

/// How often what happened, in all executions that wrote down how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Workers let in.
    pub joined: u64,
    /// Workers that left, for whatever reason.
    pub lost: u64,
    /// Workers not let in.
    pub refused: u64,
    /// Spans that were late, and dealt to others as well.
    pub hedged: u64,
    /// Microbatches that were computed again.
    pub dealt_again: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Warnings.
    pub warnings: u64,
}

/// Where the time of all workers went, in seconds of one worker, in all executions that wrote down how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Steps and evaluations.
    pub passes: u64,
    /// Computing.
    pub computing: f64,
    /// Results were on their way, or weights were waited for.
    pub sending: f64,
    /// Nothing to do: others were not ready.
    pub waiting: f64,
}

/// What a run has made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Loss and metrics, with `validation_` and `test_` before those of these tables.
    pub values: Values,
    /// The epoch whose weights it ended with, where early stopping watched.
    pub best_epoch: Option<u32>,
    /// The threshold that was chosen.
    pub threshold: Option<f64>,
    /// Hash of the weights.
    pub weights_blake3: Option<String>,
    /// Of each target whose values are classes: rows by label, and by what they are predicted to be.
    pub confusion: Vec<Confusion>,
}

/// Rows of the test table by label, and by what they are predicted to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confusion {
    /// The target.
    pub target: String,
    /// Its classes.
    pub labels: Vec<String>,
    /// For each label, how many rows were predicted as each.
    pub rows: Vec<Vec<u64>>,
}
