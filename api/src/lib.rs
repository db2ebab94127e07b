//! Lockstep trains neural networks data-parallel on ordinary CPU machines: the same model, bit for bit, on any number
//! of workers and threads, whatever fails.
//!
//! This is its Rust API, in the style of Keras. It needs no arguments, terminal or files; what the command line can do with a table and a
//! job file, a program can do with this.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::Array2;
//!
//! // 64 rows of two features, and a target for each.
//! let x = Array2::from_shape_fn((64, 2), |(row, column)| ((row * 3 + column) % 8) as f32 / 8.0);
//! let y = Array2::from_shape_fn((64, 1), |(row, _)| x[[row, 0]] - 2.0 * x[[row, 1]]);
//!
//! let mut model = Sequential::new();
//! model.add(Dense::new(8).activation(Activation::Relu));
//! model.add(Dense::new(1));
//! model.compile(adam().learning_rate(0.01), Loss::Mse, &[Metric::Mae]);
//!
//! // On two workers; on any other number the weights would be the same.
//! let history = model.fit(x.view(), y.view(), &Fit::new().epochs(20).workers(2))?;
//! assert!(history.epochs[19]["mae"] < history.epochs[0]["mae"]);
//! let predicted = model.predict(x.view())?;
//! # assert_eq!(predicted.dim(), (64, 1));
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! Which crate: `lockstep = { package = "lockstep-train-api", path = "lockstep/api" }`. Who knows Keras finds its names here, in Rust's
//! spelling: what Keras takes as a keyword is a method ([`Fit::epochs`](training::Fit::epochs),
//! [`Dense::activation`](layers::Dense)), and what goes wrong is an [`Error`] that says what was found and what was wanted.
//!
//! # Chapters
//!
//! - [`sequential`]: models, from the first layer to the last prediction
//! - [`layers`]: what a model is made of, losses and metrics
//! - [`tables`]: files with numbers, categories and dates
//! - [`training`]: how to fit; optimizers, schedules, early stopping, weights of rows and classes
//! - [`callbacks`]: what is called after every epoch, and may end the fit
//! - [`evaluation`]: predictions, and how good they are
//! - [`saving`]: folders that the command line reads, weights of other programs, ONNX
//! - [`clusters`]: several machines
//! - [`reproducibility`]: why the bits are the same, and what changes them
//! - [`helpers`]: a table as arrays, a split, an error measure
//!
//! `lockstep::prelude` has all of it. `ndarray` is re-exported, so that a program has the version that this crate has.

pub mod callbacks;
pub mod clusters;
pub mod evaluation;
pub mod helpers;
pub mod layers;
pub mod reproducibility;
pub mod saving;
pub mod sequential;
pub mod tables;
pub mod training;

mod arrays;
mod early_stopping;
mod error;
mod fitting;
mod optimizer;
mod progress;
mod targets;
mod words;

pub use error::{Error, ErrorKind, Result};
pub use ndarray;

/// All that a program in the style of Keras needs.
pub mod prelude {
    pub use crate::callbacks::Epoch;
    pub use crate::clusters::{Cluster, Worker};
    pub use crate::evaluation::{Evaluation, Predictions};
    pub use crate::helpers::{load_csv, mean_squared_error, train_test_split};
    pub use crate::layers::{
        Activation, AvgPool, BatchNorm, Conv2d, Dense, Dropout, FillMode, Flatten, FlipMode,
        GlobalAvgPool, GlobalMaxPool, Initializer, LayerNorm, Loss, MaxPool, Metric, Padding,
        RandomCrop, RandomFlip, RandomTranslation, Residual,
    };
    pub use crate::saving::ExportFormat;
    pub use crate::sequential::Sequential;
    pub use crate::tables::{Cells, Column, DateOrder, Dialect, Missing, Scale, Table};
    pub use crate::training::{
        ClassWeights, ConstantRate, CosineDecay, EarlyStopping, Every, ExponentialDecay, Fit,
        History, LearningRate, Optimizer, PiecewiseConstantDecay, Precision, ReduceOnPlateau, Rule,
        adagrad, adam, adamw, rmsprop, sgd,
    };
}
