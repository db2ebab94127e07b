//! The job file, read and checked as far as it can be without the data.

mod checks;
mod class_weights;
mod data;
mod early_stopping;
mod error;
mod hints;
mod keys;
mod optimizer;
pub(crate) mod reader;
mod resolved;
mod sections;
mod settings;

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lockstep_coordinator::policy::EarlyStopping;
use lockstep_coordinator::{Coding, Homes, may_have_homes};
use lockstep_data::{TableSpec, TargetKind};
use lockstep_model::{Embedding, LayerSpec, Loss, Metric, Network, NetworkSpec, SpecError, Unit};
use lockstep_proto::values::Precision;

pub use class_weights::ClassWeights;
pub(crate) use early_stopping::measure as measure_watched;
pub use early_stopping::mode as mode_watched;
pub use error::{JobError, Place};
pub use optimizer::{Average, Descent, from_name as optimizer_named};
pub(crate) use reader::{quoted, written_key};

use reader::Document;
pub(crate) use resolved::column_to_toml;
pub use resolved::to_toml;
pub use sections::name_problem;
pub use settings::Setting;

/// Default of `train.shards`.
pub const SHARDS_DEFAULT: u32 = 16;

/// Default of `train.batch_size`, as Keras has it.
pub const BATCH_SIZE_DEFAULT: u64 = 32;

/// What to train, on what, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The file it was read from.
    pub path: PathBuf,
    /// Names the run folder.
    pub name: String,
    /// Key of all randomness.
    pub seed: u64,
    /// The tables.
    pub data: TableSpec,
    /// The network, but for its number of inputs, which the table has.
    pub model: ModelSection,
    /// The training.
    pub train: TrainSection,
    /// The cluster.
    pub cluster: ClusterSection,
    /// The checkpoints.
    pub checkpoint: Checkpointing,
    /// The journal.
    pub journal: Journaling,
    /// For complaints that need the data.
    document: Document,
}

/// Section `model`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSection {
    /// What training makes small.
    pub loss: Loss,
    /// What is reported beside it.
    pub metrics: Vec<Metric>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// Where the weights start, if not at the initializers' draw.
    pub initial_weights: Option<PathBuf>,
    /// Whether tensors that are not there, or have another shape, start at the initializers' draw.
    pub skip_mismatch: Option<bool>,
}

/// Section `train`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSection {
    /// How gradients become weights; in the file `optimizer`.
    pub descent: Descent,
    /// Times through the training table.
    pub epochs: u32,
    /// What may end the run before that.
    pub early_stopping: Option<EarlyStopping>,
    /// How much the rows of each class count.
    pub class_weights: Option<ClassWeights>,
    /// Rows of one step.
    pub batch_size: u64,
    /// Whether rows are permuted.
    pub shuffle: bool,
    /// `S`.
    pub shards: u32,
    /// Largest global norm of a gradient.
    pub gradient_clip_norm: Option<f32>,
    /// Of gradient sums and of the weights that workers see.
    pub precision: Precision,
}

/// Section `checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpointing {
    /// When one is due.
    pub every: Every,
    /// How many are kept.
    pub keep: usize,
}

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Every {
    /// After this many epochs.
    Epochs(u32),
    /// After this many steps.
    Steps(u64),
    /// When this much time has passed.
    Seconds(f64),
}

impl Default for Checkpointing {
    /// Every minute, the newest three.
    fn default() -> Checkpointing {
        Checkpointing { every: Every::Seconds(60.0), keep: 3 }
    }
}

/// Section `journal`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Journaling {
    /// Steps from one line to the next.
    pub every_steps: u64,
}

impl Default for Journaling {
    fn default() -> Journaling {
        Journaling { every_steps: 10 }
    }
}

/// Section `cluster`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterSection {
    /// The run waits while it has fewer workers.
    pub workers_min: usize,
    /// Share of all spans that a second worker computes as well, to compare.
    pub audit_fraction: f64,
    /// Whether gradients and weights are coded on their way.
    pub coding: Coding,
    /// Whether workers add up gradients.
    pub homes: Homes,
}

impl Default for ClusterSection {
    fn default() -> ClusterSection {
        ClusterSection {
            workers_min: 1,
            audit_fraction: 0.0,
            coding: Coding::Auto,
            homes: Homes::Off,
        }
    }
}

impl Job {
    /// Reads a job file. Paths in it are taken relative to its folder.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or says something that cannot be.
    pub fn load(path: &Path) -> Result<Job, JobError> {
        Job::load_with(path, &[])
    }

    /// The same, with keys that take the place of the file's, the last of equal ones.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn load_with(path: &Path, settings: &[Setting]) -> Result<Job, JobError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let problem = format!("cannot read the job file: {}", plain(&error));
            JobError { path: path.to_path_buf(), place: None, problem }
        })?;
        Job::parse(path, text, settings)
    }

    /// Reads the text of a job file that would stand at `path`, with these keys set.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn parse(path: &Path, text: String, settings: &[Setting]) -> Result<Job, JobError> {
        let job = sections::read(path, text, settings)?;
        // All that does not depend on the table is found before the table is read.
        job.check_messages(&job.network_unread()?)?;
        job.check_microbatches()?;
        job.check_class_weights()?;
        job.check_watched()?;
        job.check_skip_mismatch()?;
        Ok(job)
    }

    /// A job that stands in no file, for tables that are already in memory.
    pub fn in_memory(seed: u64, data: TableSpec, model: ModelSection, train: TrainSection) -> Job {
        Job {
            path: PathBuf::from("job"),
            name: "job".to_string(),
            seed,
            data,
            model,
            train,
            cluster: ClusterSection::default(),
            checkpoint: Checkpointing::default(),
            journal: Journaling::default(),
            document: Document::default(),
        }
    }

    /// The network for rows of `inputs` numbers, with targets as they are.
    ///
    /// # Errors
    /// If layers, loss and metrics do not go together.
    pub fn network(&self, inputs: usize) -> Result<Network, JobError> {
        self.network_of(inputs, self.data.image, Vec::new(), Vec::new())
    }

    /// A network of the job's layers where the table is not read yet: its outputs, loss and metrics are those that it will have.
    ///
    /// # Errors
    /// If layers, loss and metrics do not go together, whatever the table.
    pub fn network_unread(&self) -> Result<Network, JobError> {
        let layers = &self.model.layers;
        let image = self.data.image.or_else(|| Network::image_for(layers));
        let inputs = match image {
            Some(sides) => sides.iter().product(),
            None => LayerSpec::inputs_for(layers),
        };
        let network = self.network_of(inputs, image, Vec::new(), Vec::new());
        network.map_err(|mut error| {
            if let (None, Some([height, width, channels])) = (self.data.image, image) {
                let taken = format!(
                    " (the table is not read yet: rows are taken as images of {height} x {width} x {channels})"
                );
                error.problem.push_str(&taken);
            }
            error
        })
    }

    /// The network for rows of `inputs` numbers, which are an image of these sides if there are any, and a place in each of these
    /// embeddings, with targets of these units; none where no target is scaled.
    ///
    /// # Errors
    /// If layers, loss, metrics, image, embeddings and units do not go together.
    pub fn network_of(
        &self,
        inputs: usize,
        image: Option<[usize; 3]>,
        embeddings: Vec<Embedding>,
        units: Vec<Unit>,
    ) -> Result<Network, JobError> {
        let spec = NetworkSpec {
            inputs,
            image,
            embeddings,
            layers: self.model.layers.clone(),
            loss: self.model.loss,
            metrics: self.model.metrics.clone(),
            units,
        };
        Network::new(spec).map_err(|error| match error {
            SpecError::Image { sides, problem } => {
                self.wrong("data.image", format!("found {sides:?}, {problem}"))
            }
            error => self.complain("model.layers", error.to_string()),
        })
    }

    /// The network with what this job's training adds up for it, in the chunks in which that is done. What penalties add to the loss is
    /// added up chunk by chunk: with them, chunks are as ever.
    pub(crate) fn laid_out(&self, network: Network) -> Network {
        let clips = self.train.gradient_clip_norm.is_some();
        let network = network.with_row_squares(self.train.descent.wants_row_squares(clips));
        let ClusterSection { homes, audit_fraction, .. } = self.cluster;
        let precision = self.train.precision;
        let is_spread = network.penalties().is_empty()
            && may_have_homes(homes, audit_fraction, network.layout(), precision);
        if is_spread { network.to_spread() } else { network }
    }

    /// Height, width and channels of rows that are images for the network: what the job says, or, if a layer takes images, what the
    /// table does, where those of two sides have one channel.
    ///
    /// # Errors
    /// If the table has images of other sides, or others than the network gets.
    pub fn image_of(
        &self,
        inputs: usize,
        of_table: Option<&[usize]>,
    ) -> Result<Option<[usize; 3]>, JobError> {
        let takes_images = Network::image_for(&self.model.layers).is_some();
        let (None, true, Some(sides)) = (self.data.image, takes_images, of_table) else {
            return Ok(self.data.image);
        };
        let image = match *sides {
            [height, width] => [height, width, 1],
            [height, width, channels] => [height, width, channels],
            _ => {
                let problem = format!(
                    "the table has rows of shape {sides:?}, wanted images of two sides or three: say with `data.image` which \
                     these are"
                );
                return Err(self.complain("model.layers", problem));
            }
        };
        if image.iter().product::<usize>() != inputs {
            let problem = format!(
                "the table has images of {sides:?}, but the network gets {inputs} numbers of each: leave out `data.features` and \
                 what `data.columns` says of single pixels, or layers of images"
            );
            return Err(self.complain("model.layers", problem));
        }
        Ok(Some(image))
    }

    /// How target cells become numbers.
    pub fn target_kind(&self) -> TargetKind {
        target_kind(self.model.loss, self.outputs())
    }

    /// Labels and weights of the classes, of which these are the rows in the training table; `None` where none are weighted.
    ///
    /// # Errors
    /// If a label is not there.
    pub fn weights_of_classes(
        &self,
        labels: Vec<String>,
        counts: &[u64],
    ) -> Result<Option<Vec<(String, f32)>>, JobError> {
        let Some(weights) = &self.train.class_weights else { return Ok(None) };
        match weights.by_class(&labels, counts) {
            Ok(weights) => Ok(Some(labels.into_iter().zip(weights).collect())),
            Err(problem) => Err(self.wrong("train.class_weights", problem)),
        }
    }

    /// The places of the weights that the optimizer does not decay, though it decays others.
    ///
    /// # Errors
    /// If a text is in no name of the network's tensors.
    pub fn undecayed(&self, network: &Network) -> Result<Vec<Range<usize>>, JobError> {
        let found = self.train.descent.undecayed(network.layout());
        found.map_err(|problem| self.wrong("train.optimizer.exclude_from_weight_decay", problem))
    }

    fn outputs(&self) -> usize {
        // Before the table is read, its columns are not known; the last layer's units do not depend on them.
        self.network_unread().map_or(0, |network| network.outputs())
    }

    /// A complaint about a key, by its full name.
    fn wrong(&self, key: &str, problem: impl Display) -> JobError {
        self.complain(key, format!("`{key}`: {problem}"))
    }

    /// A complaint in the place of a key.
    fn complain(&self, key: &str, problem: String) -> JobError {
        JobError { path: self.path.clone(), place: self.document.place_of(key), problem }
    }
}

/// How target cells become numbers for a loss over so many outputs.
pub(crate) fn target_kind(loss: Loss, outputs: usize) -> TargetKind {
    match loss {
        Loss::CrossEntropy { .. } => TargetKind::Classes { outputs },
        Loss::BinaryCrossEntropy { .. } => TargetKind::Binary { outputs },
        Loss::Mse | Loss::Mae | Loss::Huber { .. } | Loss::Poisson | Loss::Quantile { .. } => {
            TargetKind::Numbers
        }
    }
}

/// What the system said, without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}
