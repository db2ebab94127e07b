//! Training: how to fit, optimizers and schedules of their learning rate, early stopping, weights of classes and rows.
//!
//! A [`Fit`] says how; it is a value that any number of fits may use. What it is not told has Keras' default.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((64, 3), |(row, column)| ((3 * row + column) % 7) as f32);
//! let y = Array2::from_shape_fn((64, 1), |(row, _)| (row % 7) as f32);
//! let mut model = Sequential::new();
//! model.add(Dense::new(8).activation(Activation::Relu));
//! model.add(Dense::new(1));
//! model.compile(
//!     adam().learning_rate(CosineDecay::new(0.0, 200).warmup(20, 0.01)),
//!     Loss::Mse,
//!     &[Metric::Mae],
//! );
//! let fit = Fit::new()
//!     .epochs(30)
//!     .batch_size(16)
//!     .validation_split(0.25)
//!     .early_stopping(EarlyStopping::new("validation_mae").patience(5))
//!     .workers(2);
//! let history = model.fit(x.view(), y.view(), &fit)?;
//! assert!(history.best_epoch.is_some());
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! A fit with a [run folder](Fit::run_folder) keeps checkpoints, metrics and the model in it, as a run of the command line does. One that
//! was ended, by a callback or because its process died, can be [resumed](Fit::resume), on any number of workers, with the weights that
//! it would have had:
//!
//! ```
//! use std::ops::ControlFlow;
//! use lockstep::prelude::*;
//! # use lockstep::ndarray::Array2;
//! # let x = Array2::from_shape_fn((64, 3), |(row, column)| ((3 * row + column) % 7) as f32);
//! # let y = Array2::from_shape_fn((64, 1), |(row, _)| (row % 7) as f32);
//! # let mut model = Sequential::new();
//! # model.add(Dense::new(1));
//! # model.compile(adam(), Loss::Mse, &[]);
//! # let folder = std::env::temp_dir().join(format!("lockstep-doc-training-{}", std::process::id()));
//!
//! let fit = Fit::new().epochs(6).run_folder(&folder).checkpoint_every(Every::Epochs(1));
//! let two = fit.clone().on_epoch_end(|epoch| match epoch.number {
//!     2 => ControlFlow::Break(()),
//!     _ => ControlFlow::Continue(()),
//! });
//! assert_eq!(model.fit(x.view(), y.view(), &two)?.epochs.len(), 2);
//! assert_eq!(model.fit(x.view(), y.view(), &fit.resume(true))?.epochs.len(), 6);
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! Of a fit on a table in a file, `lockstep local FOLDER/job.toml --out FOLDER --resume` does the same, and a run that the command line
//! began is resumed here. The command line knows nothing of arrays, and of tables in memory.
//!
//! What is told about the optimizer is said of the optimizer: averages of the weights ([`Optimizer::average_weights`], Keras' `use_ema`),
//! updates of several steps ([`Optimizer::gradient_accumulation_steps`]).

use std::fmt;
use std::path::PathBuf;

use lockstep_run::job::{BATCH_SIZE_DEFAULT, Checkpointing, SHARDS_DEFAULT};
use ndarray::{Array2, ArrayView2};

use crate::callbacks::{Answer, Callbacks, Epoch};
use crate::clusters::Cluster;
use crate::tables::Table;

pub use crate::optimizer::{Optimizer, adagrad, adam, adamw, rmsprop, sgd};
pub use lockstep_coordinator::Optimizer as Rule;
pub use lockstep_coordinator::policy::{
    ConstantRate, CosineDecay, EarlyStopping, ExponentialDecay, LearningRate,
    PiecewiseConstantDecay, ReduceOnPlateau,
};
pub use lockstep_proto::values::Precision;
pub use lockstep_run::job::{ClassWeights, Every};
pub use lockstep_run::record::History;

/// How to fit.
#[derive(Clone)]
pub struct Fit<'a> {
    pub(crate) epochs: u32,
    pub(crate) validation: Validation,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) class_weights: Option<ClassWeights>,
    pub(crate) sample_weights: Option<Vec<f32>>,
    pub(crate) batch_size: usize,
    pub(crate) shuffle: bool,
    pub(crate) seed: u64,
    pub(crate) shards: u32,
    pub(crate) workers: Option<usize>,
    pub(crate) threads: usize,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) gradient_clip_norm: Option<f32>,
    pub(crate) precision: Precision,
    pub(crate) verbose: bool,
    pub(crate) callbacks: Callbacks<'a>,
    pub(crate) run_folder: Option<PathBuf>,
    pub(crate) resumes: bool,
    pub(crate) name: String,
    pub(crate) checkpoint: Checkpointing,
}

/// What is measured after every epoch.
#[derive(Clone)]
pub(crate) enum Validation {
    Nothing,
    Split(f64),
    Arrays(Array2<f32>, Array2<f32>),
    Table(Box<Table>),
}

impl Validation {
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Validation::Nothing)
    }
}

impl fmt::Debug for Fit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Default for Fit<'_> {
    fn default() -> Self {
        Fit {
            epochs: 1,
            validation: Validation::Nothing,
            early_stopping: None,
            class_weights: None,
            sample_weights: None,
            batch_size: BATCH_SIZE_DEFAULT as usize,
            shuffle: true,
            seed: 0,
            shards: SHARDS_DEFAULT,
            workers: None,
            threads: 1,
            cluster: None,
            gradient_clip_norm: None,
            precision: Precision::default(),
            verbose: false,
            callbacks: Callbacks::default(),
            run_folder: None,
            resumes: false,
            name: "job".to_string(),
            checkpoint: Checkpointing::default(),
        }
    }
}

impl<'a> Fit<'a> {
    /// One epoch in batches of 32, on one worker inside this process.
    pub fn new() -> Fit<'a> {
        Fit::default()
    }

    /// Times through the rows.
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = epochs;
        self
    }

    /// Rows of a step.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// Measures this share of the rows after every epoch, instead of learning from them. They are drawn by the seed, from all of the
    /// rows (Keras takes the last), each class with its share of them.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation = Validation::Split(fraction);
        self
    }

    /// Measures rows `x` with targets `y` after every epoch, for a fit on arrays.
    pub fn validation_data(mut self, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Self {
        self.validation = Validation::Arrays(x.to_owned(), y.to_owned());
        self
    }

    /// Measures the rows of another table after every epoch, for a fit on a table. What is said of columns is said of that one.
    pub fn validation_table(mut self, table: &Table) -> Self {
        self.validation = Validation::Table(Box::new(table.clone()));
        self
    }

    /// Lets the fit end before its last epoch. Needs something to be measured after every epoch.
    pub fn early_stopping(mut self, rule: EarlyStopping) -> Self {
        self.early_stopping = Some(rule);
        self
    }

    /// How much the rows of each class count in the loss. In arrays the labels of classes are `"0"`, `"1"` and so on.
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.class_weights = Some(weights);
        self
    }

    /// How much each row of `x` counts in the loss: one number of at least 0 a row. A table has a column for it
    /// ([`Table::sample_weight`]).
    pub fn sample_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.sample_weights = Some(weights.into());
        self
    }

    /// Whether rows are permuted, anew each epoch; so it is unless told otherwise.
    pub fn shuffle(mut self, shuffles: bool) -> Self {
        self.shuffle = shuffles;
        self
    }

    /// Key of all randomness of the fit and of the initial weights; 0 unless it is told.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Shards: the most workers that can help; 16 unless it is told. Changes the result.
    pub fn shards(mut self, shards: u32) -> Self {
        self.shards = shards;
        self
    }

    /// Trains on so many workers inside this process. Never changes the result.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Compute threads of each worker inside this process, and threads that add up what workers send. Never changes the result.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Trains on the workers that join this cluster, instead of any inside this process. Never changes the result.
    pub fn cluster(mut self, cluster: &Cluster) -> Self {
        self.cluster = Some(cluster.clone());
        self
    }

    /// Scales gradients down whose global norm is larger.
    pub fn gradient_clip_norm(mut self, norm: f32) -> Self {
        self.gradient_clip_norm = Some(norm);
        self
    }

    /// Of gradient sums and of the weights that workers see; `f32` unless it is told. Changes the result.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Shows epochs, and what is odd or waited for, on standard error.
    pub fn verbose(mut self, shows: bool) -> Self {
        self.verbose = shows;
        self
    }

    /// Makes the fit a run that is kept in this folder, as one of the command line is: its checkpoints, metrics and model. The folder
    /// is new or empty, unless the fit is to [`resume`](Fit::resume) what is there. Such a fit begins with the initial weights, whatever
    /// was fitted before.
    pub fn run_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.run_folder = Some(folder.into());
        self
    }

    /// Goes on with the run in the run folder from its newest checkpoint; where there is none yet, it begins. The weights are those of a
    /// fit that nothing interrupted, to the bit. The layers, the data and what else changes the result have to be those that the run began
    /// with; epochs may be added.
    pub fn resume(mut self, resumes: bool) -> Self {
        self.resumes = resumes;
        self
    }

    /// When a checkpoint is due, for a fit with a run folder; after a minute unless it is told.
    pub fn checkpoint_every(mut self, every: Every) -> Self {
        self.checkpoint.every = every;
        self
    }

    /// How many checkpoints are kept, the newest; 3 unless it is told.
    pub fn keep_checkpoints(mut self, count: usize) -> Self {
        self.checkpoint.keep = count;
        self
    }

    /// What the run in the run folder is called, as `name` in a job file; `"job"` unless it is told.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Calls this at the end of every epoch: see [`callbacks`](crate::callbacks).
    pub fn on_epoch_end<A: Answer>(
        mut self,
        callback: impl FnMut(&Epoch<'_>) -> A + Send + 'a,
    ) -> Self {
        self.callbacks.add(callback);
        self
    }
}
