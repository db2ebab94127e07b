//! Models: layers one after another, as in `keras.Sequential`.
//!
//! A model is made ([`Sequential::add`]), compiled, fitted, and then used. What it is fitted on is arrays or a table; each has methods of
//! its own (`fit` and `fit_table`, `predict` and `predict_table` and so on). A second fit goes on from the weights of the first.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::array;
//!
//! let (x, y) = (array![[0.0], [1.0], [2.0], [3.0]], array![[1.0], [3.0], [5.0], [7.0]]);
//! let mut model = Sequential::new();
//! model.add(Dense::new(1));
//! model.compile(sgd(0.1), Loss::Mse, &[]);
//! let fit = Fit::new().epochs(5).batch_size(4);
//! let first = model.fit(x.view(), y.view(), &fit)?;
//! let second = model.fit(x.view(), y.view(), &fit)?;
//! assert!(second.epochs[0]["loss"] < first.epochs[4]["loss"]);
//! # Ok::<(), lockstep::Error>(())
//! ```

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_data::{Scale, TableFile, TableSpec};
use lockstep_model::{LayerSpec, Loss, Metric, NetworkSpec, Threshold};
use lockstep_run::job::{Job, ModelSection, TrainSection};
use lockstep_run::run_folder::Model;

use crate::error::{Error, Result};
use crate::training::{Fit, Optimizer};

/// Layers one after another, as in `keras.Sequential`.
#[derive(Clone, Debug, Default)]
pub struct Sequential {
    pub(crate) layers: Vec<LayerSpec>,
    pub(crate) image: Option<[usize; 3]>,
    pub(crate) compiled: Option<Compiled>,
    pub(crate) target_scale: Scale,
    pub(crate) initial: Option<Initial>,
    pub(crate) fitted: Option<Fitted>,
}

/// How to train; a model that was loaded does not say with which optimizer.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) optimizer: Option<Optimizer>,
    pub(crate) loss: Loss,
    pub(crate) metrics: Vec<Metric>,
}

/// Weights that the first fit starts from.
#[derive(Clone, Debug)]
pub(crate) struct Initial {
    pub(crate) path: PathBuf,
    pub(crate) skips_mismatch: bool,
}

/// What a fit leaves.
#[derive(Clone)]
pub(crate) struct Fitted {
    pub(crate) model: Arc<Model>,
    /// What was chosen on the rows that were measured after every epoch.
    pub(crate) threshold: Option<Threshold>,
}

impl fmt::Debug for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fitted({} weights)", self.model.weights.len())
    }
}

impl Sequential {
    /// A network without layers.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// Adds a layer behind the others, such as a `Dense`, a `Dropout` or a `LayerNorm`.
    pub fn add(&mut self, layer: impl Into<LayerSpec>) {
        self.layers.push(layer.into());
        self.fitted = None;
    }

    /// Takes each row of `x` as an image of this height, width and channels, pixel by pixel, as layers of images need it. What was
    /// fitted before is let go.
    pub fn take_images(&mut self, sides: [usize; 3]) {
        self.image = Some(sides);
        self.fitted = None;
    }

    /// Says how to train. What is fitted already is measured as it was until the next fit.
    pub fn compile(&mut self, optimizer: Optimizer, loss: Loss, metrics: &[Metric]) {
        self.compiled =
            Some(Compiled { optimizer: Some(optimizer), loss, metrics: metrics.to_vec() });
    }

    /// Scales the targets of arrays, each column by itself, from what the first fit's rows hold. The loss is then that of scaled
    /// targets; metrics and predictions stay in the unit that the targets have in `y`. What was fitted before is let go. A table says
    /// it of its column.
    pub fn scale_targets(&mut self, scale: Scale) {
        self.target_scale = scale;
        self.fitted = None;
    }

    /// The weights as one vector: layer by layer, kernel `[in, out]` row by row, then bias; those of embeddings first.
    pub fn weights(&self) -> Option<&[f32]> {
        self.fitted.as_ref().map(|fitted| fitted.model.weights.as_slice())
    }

    /// The BLAKE3 hash of the weights, which the command line prints as `weights_blake3`: equal for equal bits.
    pub fn weights_hash(&self) -> Option<String> {
        self.weights().map(lockstep_run::weights_file::weights_hash)
    }

    /// The description of the network, once it is known how many columns go in.
    pub fn spec(&self) -> Option<&NetworkSpec> {
        self.fitted.as_ref().map(|fitted| fitted.model.network.spec())
    }

    /// Above which output a row is of class 1, in a model with one sigmoid output that was fitted with `binary_cross_entropy` and
    /// something to measure after every epoch: the threshold with the largest F1 on those rows. `None` for every other model, where
    /// 0.5 is as good as any.
    pub fn threshold(&self) -> Option<f64> {
        self.fitted.as_ref()?.threshold.map(f64::from)
    }

    /// The fitted model, for a method of this name.
    pub(crate) fn model(&self, wanted_for: &str) -> Result<&Model> {
        let fitted = self.fitted.as_ref();
        fitted
            .map(|fitted| &*fitted.model)
            .ok_or_else(|| Error::arguments(format!("{wanted_for} before fit")))
    }

    /// The fit before, if there was one with which this one goes on. One with a run folder is a whole run.
    pub(crate) fn before(&self, fit: &Fit<'_>) -> Option<&Fitted> {
        self.fitted.as_ref().filter(|_| fit.run_folder.is_none())
    }

    /// The job of a fit on tables that are in memory.
    pub(crate) fn job_of_arrays(&self, fit: &Fit<'_>) -> Result<Job> {
        let data = TableSpec::new(TableFile::at(PathBuf::new()), Vec::new());
        self.job(fit, data)
    }

    /// The job of a fit on these tables.
    pub(crate) fn job(&self, fit: &Fit<'_>, mut data: TableSpec) -> Result<Job> {
        let early = || Error::arguments("fit before compile");
        let Compiled { optimizer, loss, metrics } = self.compiled.clone().ok_or_else(early)?;
        let optimizer = optimizer.ok_or_else(early)?;
        data.image = self.image;
        let initial = self.initial.as_ref().filter(|_| self.before(fit).is_none());
        let model = ModelSection {
            loss,
            metrics,
            layers: self.layers.clone(),
            initial_weights: initial.map(|initial| initial.path.clone()),
            skip_mismatch: initial.map(|initial| initial.skips_mismatch),
        };
        let train = TrainSection {
            descent: optimizer.into(),
            epochs: fit.epochs,
            early_stopping: fit.early_stopping.clone(),
            class_weights: fit.class_weights.clone(),
            batch_size: fit.batch_size as u64,
            shuffle: fit.shuffle,
            shards: fit.shards,
            gradient_clip_norm: fit.gradient_clip_norm,
            precision: fit.precision,
        };
        let mut job = Job::in_memory(fit.seed, data, model, train);
        (job.name, job.checkpoint) = (fit.name.clone(), fit.checkpoint);
        if let Some(cluster) = &fit.cluster {
            job.cluster.workers_min = cluster.workers()?.0;
        }
        Ok(job)
    }
}
