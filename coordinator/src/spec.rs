//! What a run is asked: flat vectors, counts and rates. And what it leaves.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lockstep_proto::batches::Batches;
use lockstep_proto::layout::Layout;
use lockstep_proto::penalties::Penalties;
use lockstep_proto::values::Precision;

use crate::policy::{EarlyStopping, LearningRate, ReduceOnPlateau, Watch, Watched};
use crate::snapshot::Snapshot;
use crate::update::{Averaging, Optimizer};

/// An even share of all rows among the workers that short passes are dealt to is no larger.
const CREW_BYTES_MAX: usize = 64 << 20;

/// All that a coordinator has to know of a job: flat vectors and counts.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Names the run to workers.
    pub run_id: String,
    /// The network as JSON, for the workers.
    pub network: String,
    /// What every worker's CPU has to compute like.
    pub numeric_profile: String,
    /// The flat vector.
    pub layout: Arc<Layout>,
    /// Which weights add to the loss.
    pub penalties: Penalties,
    /// Where weights are, in the flat vector, that the optimizer does not decay, in order.
    pub undecayed: Vec<Range<usize>>,
    /// Where values are, in the flat vector, whose gradient is 0 while a unit of the network gives nothing.
    pub rectified: Vec<Range<usize>>,
    /// What each sum of a table that is measured can be.
    pub sum_bounds: Vec<SumBounds>,
    /// How many of them, from the first, a training step has: loss and metrics.
    pub step_sums: usize,
    /// Where to start: the beginning, or where an earlier execution was.
    pub start: Snapshot,
    /// The training table's rows, shards and batches.
    pub batches: Batches,
    /// Whether a row of the training table ends with its weight.
    pub is_weighted: bool,
    /// Rows of the validation table, if there is one.
    pub validation_rows: Option<u64>,
    /// Rows of the test table, if there is one.
    pub test_rows: Option<u64>,
    /// Times through the training table.
    pub epochs: u32,
    /// What may end the run before that. Needs a validation table.
    pub early_stopping: Option<Watched>,
    /// Whether rows are permuted.
    pub shuffle: bool,
    /// Key of all randomness.
    pub seed: u64,
    /// How gradients become weights.
    pub optimizer: Optimizer,
    /// Steps of one update, at least 1: the mean of their gradients is what moves the weights.
    pub steps_per_update: u64,
    /// Whether weights are averaged over the updates. The run then ends with the averages, unless early stopping restores the weights
    /// of the best epoch.
    pub averaging: Option<Averaging>,
    /// How far they move them, step by step.
    pub learning_rate: LearningRate,
    /// What reduces it, if a measure of the validation table does. Needs such a table.
    pub plateau: Option<Watched<ReduceOnPlateau>>,
    /// Largest global norm of a gradient.
    pub clip_norm: Option<f32>,
    /// Of gradient sums and of the weights that workers see.
    pub precision: Precision,
    /// Whether these are coded on their way: fewer bytes, the same values.
    pub coding: Coding,
    /// Whether workers add up gradients.
    pub homes: Homes,
    /// Whether short passes may be dealt to fewer workers than there are, where that is faster; `None`: all are dealt to all.
    pub crews: Option<CrewRule>,
    /// The run waits while it has fewer workers.
    pub workers_min: usize,
    /// Share of all spans that a second worker computes as well, to compare.
    pub audit_fraction: f64,
    /// The first step waits for this many.
    pub workers_start: usize,
    /// Threads that add and update chunks.
    pub threads: usize,
}

/// When a pass is dealt to fewer workers than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrewRule {
    /// Passes that are shorter may be: it is tried with how many they are shortest.
    pub short: Duration,
    /// Passes in a row with the same number, at least 2, before another has its turn.
    pub row_passes: u32,
    /// At least so long it is not tried again.
    pub pause: Duration,
    /// Fewer than so many are not dealt to.
    pub least: usize,
}

impl Default for CrewRule {
    fn default() -> CrewRule {
        let (short, pause) = (Duration::from_millis(4), Duration::from_secs(5));
        CrewRule { short, row_passes: 8, pause, least: 1 }
    }
}

impl CrewRule {
    /// For tables of so many bytes: whoever is dealt more than usual keeps more of their rows.
    pub fn for_rows(bytes: usize) -> CrewRule {
        CrewRule { least: bytes.div_ceil(CREW_BYTES_MAX).max(1), ..CrewRule::default() }
    }
}

/// Whether gradients and weights are coded on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Where steps turn out to take less time with it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Whether a run ends with the averages of its weights: where they are averaged, unless it is to end with the weights of the best
/// epoch, which Keras restores last.
pub fn ends_with_averages(averaging: Option<Averaging>, early: Option<&EarlyStopping>) -> bool {
    averaging.is_some() && !early.is_some_and(|rule| rule.restore_best_weights)
}

impl Coding {
    /// As in a job.
    pub const NAMES: &'static [&'static str] = &["auto", "on", "off"];

    /// By its name in a job.
    pub fn from_name(name: &str) -> Option<Coding> {
        [Coding::Auto, Coding::On, Coding::Off].into_iter().find(|coding| coding.name() == name)
    }

    /// Its name in a job.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Auto => "auto",
            Coding::On => "on",
            Coding::Off => "off",
        }
    }
}

/// Whether chunks may have workers for homes, which add up the nodes of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Homes {
    /// Where that is likely to be faster.
    Auto,
    /// Wherever it can be done.
    On,
    /// Never: the coordinator adds up everything.
    #[default]
    Off,
}

impl Homes {
    /// As in a job.
    pub const NAMES: &'static [&'static str] = &["auto", "on", "off"];

    /// By its name in a job.
    pub fn from_name(name: &str) -> Option<Homes> {
        [Homes::Auto, Homes::On, Homes::Off].into_iter().find(|homes| homes.name() == name)
    }

    /// Its name in a job.
    pub fn name(self) -> &'static str {
        match self {
            Homes::Auto => "auto",
            Homes::On => "on",
            Homes::Off => "off",
        }
    }
}

/// What a loss or metric sum can be, a row. A worker that sends another has computed nonsense, or lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumBounds {
    /// The least that a row can add.
    pub low: f64,
    /// The most that a row can add.
    pub high: f64,
    /// Whether rows add whole numbers.
    pub is_whole: bool,
}

/// What a finished run leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The weights that it ends with: those of the last epoch, or of the best, or the averages.
    pub weights: Vec<f32>,
    /// Times through the training table.
    pub epochs: u32,
    /// What early stopping made of it, if it was asked for.
    pub watch: Option<Watch>,
    /// Loss and metric sums over the test table, if there is one.
    pub test_sums: Option<Vec<f64>>,
}

/// How a run is to end before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After the pass in hand, for as long as workers are at it, to be gone on with later. Workers are told that the
    /// coordinator may come back.
    AfterPass,
    /// Now: nobody wants what it makes. Workers are told that it is over.
    Now,
    /// Now: what it has made is what was wanted. Workers are told that it reached its end.
    Done,
}
