//! Lockstep trains neural networks data-parallel on ordinary CPU machines: the same model, bit for bit, on any number
//! of workers and threads, whatever fails.
//!
//! This is its Rust API: a `Sequential` model as in Keras, trained on a cluster inside this process through the same code as
//! any other run. Needs no arguments, terminal or files.

mod early_stopping;
mod optimizer;
mod progress;
mod tables;
mod targets;

use std::path::PathBuf;
use std::sync::Arc;

use lockstep_coordinator::policy::EarlyStopping;
use lockstep_data::{
    Cells, Column, Dataset, Dialect, Missing, Rows, Scale, Schema, Summary, TableFile, TableSpec,
    TargetKind,
};
use lockstep_model::{LayerSpec, Loss, Metric, NetworkSpec, Threshold};
use lockstep_proto::values::Precision;
use lockstep_proto::words::count;
use ndarray::{Array2, ArrayView2};

use lockstep_run::cluster;
use lockstep_run::export::{self, ExportFormat, GraphInputs};
use lockstep_run::inference;
use lockstep_run::job::{self, ClassWeights, Job, SHARDS_DEFAULT, TrainSection};
use lockstep_run::plan::{self, Plan};
use lockstep_run::record::History;
use lockstep_run::report::{self, Silent};
use lockstep_run::run_folder::Model;
use lockstep_run::train::{self, Admission, Lead, Trained};

use progress::Progress;

pub use lockstep_run::{Error, Result};
pub use optimizer::{Optimizer, adagrad, adam, adamw, rmsprop, sgd};
pub use tables::{load_csv, mean_squared_error, train_test_split};

/// All that a program in the style of Keras needs.
pub mod prelude {
    pub use super::{
        Fit, Optimizer, Sequential, adagrad, adam, adamw, load_csv, mean_squared_error, rmsprop,
        sgd, train_test_split,
    };
    pub use lockstep_coordinator::Optimizer as Rule;
    pub use lockstep_coordinator::policy::{
        ConstantRate, CosineDecay, EarlyStopping, ExponentialDecay, LearningRate,
        PiecewiseConstantDecay, ReduceOnPlateau,
    };
    pub use lockstep_data::Scale;
    pub use lockstep_model::{
        Activation, AvgPool, Conv2d, Dense, Dropout, FillMode, Flatten, FlipMode, GlobalAvgPool,
        GlobalMaxPool, Initializer, LayerNorm, Loss, MaxPool, Metric, Padding, RandomCrop,
        RandomFlip, RandomTranslation, Residual,
    };
    pub use lockstep_proto::values::Precision;
    pub use lockstep_run::job::ClassWeights;
    pub use lockstep_run::record::History;
}

/// How to fit.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Times through the table.
    pub epochs: u32,
    /// Rows `x` and targets `y` that are measured after every epoch, and learned from never.
    pub validation_data: Option<(Array2<f32>, Array2<f32>)>,
    /// What may end the fit before its last epoch. Needs `validation_data`.
    pub early_stopping: Option<EarlyStopping>,
    /// How much the rows of each class count in the loss, the classes being labels `"0"`, `"1"` and so on.
    pub class_weights: Option<ClassWeights>,
    /// Rows of a step.
    pub batch_size: usize,
    /// Whether rows are permuted, anew each epoch.
    pub shuffle: bool,
    /// Key of all randomness of the fit and of the initial weights.
    pub seed: u64,
    /// Shards; the most workers that can help. Part of what determines the numbers.
    pub shards: u32,
    /// Workers; never part of what determines the numbers.
    pub workers: usize,
    /// Compute threads of each worker; neither.
    pub threads: usize,
    /// Largest global norm of a gradient.
    pub gradient_clip_norm: Option<f32>,
    /// Of gradient sums and of the weights that workers see. Part of what determines the numbers.
    pub precision: Precision,
    /// Show progress on standard error.
    pub verbose: bool,
}

impl Default for Fit {
    fn default() -> Fit {
        Fit {
            epochs: 1,
            validation_data: None,
            early_stopping: None,
            class_weights: None,
            batch_size: job::BATCH_SIZE_DEFAULT as usize,
            shuffle: true,
            seed: 0,
            shards: SHARDS_DEFAULT,
            workers: 1,
            threads: 1,
            gradient_clip_norm: None,
            precision: Precision::default(),
            verbose: false,
        }
    }
}

/// Layers one after another, as in `keras.Sequential`.
#[derive(Clone, Debug, Default)]
pub struct Sequential {
    layers: Vec<LayerSpec>,
    image: Option<[usize; 3]>,
    compiled: Option<(Optimizer, Loss, Vec<Metric>)>,
    target_scale: Scale,
    fitted: Option<Fitted>,
}

/// What a fit leaves.
#[derive(Clone, Debug)]
struct Fitted {
    /// The network's input columns.
    inputs: usize,
    weights: Vec<f32>,
    /// How targets are scaled; a later fit goes on with it.
    targets: Vec<Column>,
    /// What was chosen on the rows of `validation_data`.
    threshold: Option<Threshold>,
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

    /// Says how to train.
    pub fn compile(&mut self, optimizer: Optimizer, loss: Loss, metrics: &[Metric]) {
        self.compiled = Some((optimizer, loss, metrics.to_vec()));
    }

    /// Scales the targets, each column by itself, from what the first fit's rows hold. The loss is then that of scaled targets;
    /// metrics and predictions stay in the unit that the targets have in `y`. What was fitted before is let go.
    pub fn scale_targets(&mut self, scale: Scale) {
        self.target_scale = scale;
        self.fitted = None;
    }

    /// Trains on rows `x` `[rows, features]` with targets `y` `[rows, outputs]` (one column of class numbers for
    /// cross entropy). A second fit goes on from the weights of the first, and with its scale of targets; the optimizer
    /// starts afresh.
    ///
    /// # Errors
    /// If the arrays, the layers and the loss do not go together, or the training diverges.
    pub fn fit(
        &mut self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        fit: &Fit,
    ) -> Result<History> {
        let mut plan = self.plan(x, y, fit)?;
        if let Some(Fitted { inputs, weights, .. }) = &self.fitted {
            if *inputs != x.ncols() {
                let found = count(x.ncols() as u64, "column");
                return Err(wrong(format!("x has {found}, the model was fitted on {inputs}")));
            }
            plan = plan.starting_from(weights.clone())?;
        }
        let targets = plan.schema.targets.clone();
        let Trained { weights, threshold, history, .. } = train_here(Arc::new(plan), fit)?;
        self.fitted = Some(Fitted { inputs: x.ncols(), weights, targets, threshold });
        Ok(history)
    }

    /// Outputs `[rows, outputs]` for rows `x`, in the unit of the targets.
    ///
    /// # Errors
    /// If the model is not fitted, or `x` has other columns than it was fitted on.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let model = self.model("predict")?;
        let inputs = model.network.inputs();
        if inputs != x.ncols() {
            return Err(wrong(format!(
                "x has {}, the model was fitted on {inputs}",
                count(x.ncols() as u64, "column")
            )));
        }
        let rows = Rows::new(inputs, 0, x.iter().copied().collect());
        let mut outputs = inference::outputs(&model, &rows);
        for ((_, target), value) in outputs.indexed_iter_mut() {
            *value = model.network.in_own_unit(target, *value) as f32;
        }
        Ok(outputs)
    }

    /// Above which output a row is of class 1, in a model with one sigmoid output that was fitted with `binary_cross_entropy` and
    /// `validation_data`: the threshold with the largest F1 on those rows. `None` for every other model, where 0.5 is as good as any.
    pub fn threshold(&self) -> Option<f64> {
        self.fitted.as_ref()?.threshold.map(f64::from)
    }

    /// The fitted model as the bytes of an ONNX file. Its one input is `numbers` `[batch, features]`, `f32`; its outputs are the
    /// targets in their own unit, `y0` and so on, `[batch, 1]`, or the probabilities of classes, `y0_probabilities`
    /// `[batch, classes]`, or of ones, `y0_probability` and so on.
    ///
    /// # Errors
    /// If the model is not fitted, or too large for ONNX.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        let model = self.model("to_onnx")?;
        export::to_bytes(&model.exported(), ExportFormat::Onnx, GraphInputs::Encoded)
    }

    /// The fitted model, for a method of this name.
    fn model(&self, wanted_for: &str) -> Result<Model> {
        let before_fit = || wrong(format!("{wanted_for} before fit"));
        let fitted = self.fitted.as_ref().ok_or_else(before_fit)?;
        let Fitted { inputs, weights, targets, threshold } = fitted;
        let job = self.job(&Fit::default())?;
        let schema = schema(&job, *inputs, targets.clone());
        let network = job.network_of(*inputs, job.data.image, Vec::new(), plan::units(&schema))?;
        let weights = weights.clone();
        let (shards, step, threshold) = (1, None, threshold.unwrap_or_default());
        Ok(Model { network, schema, shards, weights, step, threshold })
    }

    /// The weights as one vector: layer by layer, kernel `[in, out]` row by row, then bias.
    pub fn weights(&self) -> Option<&[f32]> {
        self.fitted.as_ref().map(|fitted| fitted.weights.as_slice())
    }

    /// The description of the network, once it is known how many columns go in.
    pub fn spec(&self) -> Option<NetworkSpec> {
        let (_, loss, metrics) = self.compiled.clone()?;
        let Fitted { inputs, targets, .. } = self.fitted.as_ref()?;
        let job = self.job(&Fit::default()).ok()?;
        let units = plan::units(&schema(&job, *inputs, targets.clone()));
        let (image, embeddings, layers) = (self.image, Vec::new(), self.layers.clone());
        Some(NetworkSpec { inputs: *inputs, image, embeddings, layers, loss, metrics, units })
    }

    fn job(&self, fit: &Fit) -> Result<Job> {
        let (optimizer, loss, metrics) =
            self.compiled.clone().ok_or_else(|| wrong("fit before compile"))?;
        let mut data = TableSpec::new(TableFile::at(PathBuf::new()), Vec::new());
        data.image = self.image;
        let model = job::ModelSection {
            loss,
            metrics,
            layers: self.layers.clone(),
            initial_weights: None,
            skip_mismatch: None,
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
        Ok(Job::in_memory(fit.seed, data, model, train))
    }

    fn plan(&self, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, fit: &Fit) -> Result<Plan> {
        if x.nrows() != y.nrows() || x.is_empty() || y.is_empty() {
            return Err(wrong(format!("x is {:?} and y is {:?}", x.shape(), y.shape())));
        }
        let shards_max = lockstep_proto::tree::SHARDS_MAX;
        if fit.epochs == 0 || fit.batch_size == 0 || !(1..=shards_max).contains(&fit.shards) {
            return Err(wrong(format!(
                "epochs, batch_size and shards (to {shards_max}) are at least 1"
            )));
        }
        let clips = fit.gradient_clip_norm.is_none_or(|norm| norm.is_finite() && norm > 0.0);
        if !clips {
            return Err(wrong("gradient_clip_norm is finite and above 0"));
        }
        let job = self.job(fit)?;
        let steps = u64::from(fit.epochs) * x.nrows().div_ceil(fit.batch_size) as u64;
        if let Some(problem) =
            self.compiled.as_ref().and_then(|(optimizer, ..)| optimizer.problem(steps))
        {
            return Err(wrong(problem));
        }
        tables::check_finite(x, y)?;
        if fit.batch_size > x.nrows() {
            let found = count(x.nrows() as u64, "row");
            return Err(wrong(format!("batch_size is {}, but x has {found}", fit.batch_size)));
        }
        if let Some(rule) = &fit.early_stopping {
            early_stopping::check(rule, fit, &job)?;
        }
        if let Some(rule) = job.train.descent.learning_rate.watches() {
            early_stopping::check_plateau(rule, fit, &job)?;
        }
        job.check_class_weights().map_err(|error| wrong(error.problem))?;
        tables::check_targets(&job, x, y)?;
        let schema = schema(&job, x.ncols(), self.targets(job.target_kind(), y)?);
        let validation = match &fit.validation_data {
            Some((of_x, of_y)) => Some(
                tables::validation(&job, &schema, of_x.view(), of_y.view())
                    .map_err(|error| wrong(format!("validation_data: {error}")))?,
            ),
            None => None,
        };
        let dataset = Dataset {
            train: tables::rows(&schema, x, y)?,
            validation,
            test: None,
            schema,
            summary: Summary::default(),
            warnings: Vec::new(),
        };
        Plan::with_dataset(job, dataset)
    }
}

impl Sequential {
    /// How the columns of `y` are scaled: as in the fit before, or as these rows say.
    fn targets(&self, kind: TargetKind, y: ArrayView2<'_, f32>) -> Result<Vec<Column>> {
        if let Some(fitted) = &self.fitted {
            return Ok(fitted.targets.clone());
        }
        let scale = self.target_scale;
        if scale == Scale::NONE {
            return Ok((0..y.ncols()).map(targets::as_it_is).collect());
        }
        if kind != TargetKind::Numbers {
            return Err(wrong("targets that are labels are not scaled: leave out scale_targets"));
        }
        if !scale.has_way_back() {
            return Err(wrong(format!("targets are not scaled by {scale}: there is no way back")));
        }
        let column = |(place, column): (usize, ndarray::ArrayView1<'_, f32>)| {
            let numbers: Vec<f64> = column.iter().map(|&number| number.into()).collect();
            Column::of_numbers(targets::name(place), scale, &numbers)
        };
        Ok(y.columns().into_iter().enumerate().map(column).collect())
    }
}

/// Trains on a cluster inside this process.
fn train_here(plan: Arc<Plan>, fit: &Fit) -> Result<Trained> {
    let reporter = match fit.verbose {
        true => report::shared(Progress::default()),
        false => report::shared(Silent),
    };
    let (workers, threads) = (fit.workers.max(1), fit.threads.max(1));
    cluster::run(workers, threads, |token, start, failed| {
        let lead = Lead {
            listen: "127.0.0.1:0".to_string(),
            admission: Admission::Token(token),
            out: None,
            resume: false,
            workers_start: workers,
            checkpoint_seconds: None,
            threads,
            http: None,
        };
        train::lead(plan, lead, reporter, failed, |listening| start(listening.address))
    })
}

fn schema(job: &Job, features: usize, targets: Vec<Column>) -> Schema {
    let feature = |place| Column::as_it_is(format!("x{place}"), Missing::Error);
    Schema {
        features: (0..features).map(feature).collect(),
        image: None,
        targets,
        kind: job.target_kind(),
        labels: None,
        cells: Cells::F64,
        dialect: Dialect::default(),
    }
}

fn wrong(problem: impl Into<String>) -> Error {
    Error::Arguments(problem.into())
}
