//! The sections of a job file: each key once, with its place, its range and how it is written. Its default is what
//! [`Job::blank`] has there.

use std::path::{Path, PathBuf};

use lockstep_coordinator::{Coding, Homes};
use lockstep_data::{TableFile, TableSpec};
use lockstep_model::Loss;
use lockstep_parameters::{Choice, Range, Slot, choices};
use lockstep_proto::tree::SHARDS_MAX;
use lockstep_proto::values::Precision;

use super::data::{DataSection, absolute};
use super::error::JobError;
use super::keys::{Bound, Key, Keys, read as read_keys};
use super::optimizer::Descent;
use super::reader::{Document, Section, Value, quoted};
use super::settings::Setting;
use super::{
    BATCH_SIZE_DEFAULT, Checkpointing, ClusterSection, Every, Job, Journaling, ModelSection,
    SHARDS_DEFAULT, TrainSection, class_weights,
};

const WORKERS_MAX: u64 = SHARDS_MAX as u64;

/// Most layers that a job may ask for.
const LAYERS_MAX: usize = 1024;

/// Most metrics: more than there are.
const METRICS_MAX: usize = 1024;

/// Most that TOML holds.
const WHOLE_MAX: u64 = i64::MAX as u64;

pub(super) fn read(path: &Path, text: String, settings: &[Setting]) -> Result<Job, JobError> {
    let mut job = Job { path: path.to_path_buf(), name: default_name(path), ..Job::blank() };
    let document = Document::new(path, text, settings);
    let table = document.parse()?;
    let root = |known: &[&str]| Section::new(&document, "", table.get_ref(), 0, known);
    read_keys(&mut job, &root)?;
    drop(table);
    job.document = document;
    Ok(job)
}

impl Job {
    /// Every default, and nothing where there is none.
    pub(super) fn blank() -> Job {
        let data = TableSpec::new(TableFile::at(PathBuf::new()), Vec::new());
        let model = ModelSection {
            loss: Loss::Mse,
            metrics: Vec::new(),
            layers: Vec::new(),
            initial_weights: None,
            skip_mismatch: None,
        };
        let train = TrainSection {
            descent: Descent::named("sgd").expect("the first of the list"),
            epochs: 0,
            early_stopping: None,
            class_weights: None,
            batch_size: BATCH_SIZE_DEFAULT,
            shuffle: true,
            shards: SHARDS_DEFAULT,
            gradient_clip_norm: None,
            precision: Precision::default(),
        };
        Job::in_memory(0, data, model, train)
    }
}

impl Keys for Job {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::own("name", &mut self.name, name, |name| Some(quoted(name))),
            Key::slot("seed", Slot::Whole(&mut self.seed, 0, WHOLE_MAX)),
            Key::section("data", DataSection::of(&mut self.data)).required(),
            Key::section("model", &mut self.model).required(),
            Key::section("train", &mut self.train).required(),
            Key::section("cluster", &mut self.cluster),
            Key::section("checkpoint", &mut self.checkpoint),
            Key::section("journal", &mut self.journal),
        ]
    }
}

impl Keys for &mut ModelSection {
    fn keys(&mut self) -> Vec<Key<'_>> {
        let initial_weights = |value: &Value<'_>| value.path().map(Some);
        let write_weights = |path: &Option<PathBuf>| path.as_deref().map(absolute);
        let layers = Slot::Choices(&mut self.layers, LAYERS_MAX);
        vec![
            Key::slot("loss", Slot::Choice(&mut self.loss)).required(),
            Key::slot("metrics", Slot::Choices(&mut self.metrics, METRICS_MAX)),
            Key::own("initial_weights", &mut self.initial_weights, initial_weights, write_weights),
            Key::slot("skip_mismatch", Slot::Flag(&mut self.skip_mismatch)),
            Key::new("layers", Bound::Lines(layers)).required(),
        ]
    }
}

impl Keys for &mut TrainSection {
    fn keys(&mut self) -> Vec<Key<'_>> {
        let clip = Slot::Number32(&mut self.gradient_clip_norm, Range::ABOVE_0_F32);
        vec![
            Key::slot("optimizer", Slot::Choice(&mut self.descent)).required(),
            Key::slot("epochs", Slot::Whole(&mut self.epochs, 1, u32::MAX.into())).required(),
            Key::slot("early_stopping", Slot::Table(&mut self.early_stopping)),
            Key::own(
                "class_weights",
                &mut self.class_weights,
                |value| class_weights::read(value).map(Some),
                |weights| weights.as_ref().map(class_weights::to_toml),
            ),
            Key::slot("batch_size", Slot::Whole(&mut self.batch_size, 1, u32::MAX.into())),
            Key::slot("shuffle", Slot::Flag(&mut self.shuffle)),
            Key::slot("shards", Slot::Whole(&mut self.shards, 1, SHARDS_MAX.into())),
            Key::slot("gradient_clip_norm", clip),
            Key::own("precision", &mut self.precision, precision, |own| Some(quoted(own.name()))),
        ]
    }
}

impl Keys for &mut ClusterSection {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::slot("workers_min", Slot::Whole(&mut self.workers_min, 1, WORKERS_MAX)),
            Key::slot("audit_fraction", Slot::Number(&mut self.audit_fraction, Range::SHARE)),
            Key::own("coding", &mut self.coding, coding, |own| Some(quoted(own.name()))),
            Key::own("homes", &mut self.homes, homes, |own| Some(quoted(own.name()))),
        ]
    }
}

choices!(Every {
    "every_epochs" => Epochs(epochs = 1 => Whole(1, u32::MAX.into())),
    "every_steps" => Steps(steps = 1 => Whole(1, WHOLE_MAX)),
    "every_seconds" => Seconds(seconds = 60.0 => Number(Range::ABOVE_0)),
});

impl Keys for &mut Checkpointing {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![
            Key::new("", Bound::OneOf(&mut self.every)),
            Key::slot("keep", Slot::Whole(&mut self.keep, 1, 10_000)),
        ]
    }
}

impl Keys for &mut Journaling {
    fn keys(&mut self) -> Vec<Key<'_>> {
        vec![Key::slot("every_steps", Slot::Whole(&mut self.every_steps, 1, WHOLE_MAX))]
    }
}

/// What may stand in the name of a run folder.
fn plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The job file's stem, where that can be a name.
fn default_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.unwrap_or_default().replace(|c| !plain(c), "-");
    let name: String = stem.trim_start_matches('.').chars().take(100).collect();
    if name.is_empty() { "job".to_string() } else { name }
}

fn name(value: &Value<'_>) -> Result<String, JobError> {
    let name = value.string()?;
    match name_problem(name) {
        Some(problem) => Err(value.fail(problem)),
        None => Ok(name.to_string()),
    }
}

/// What is wrong with a name of a job, if anything is.
pub fn name_problem(name: &str) -> Option<String> {
    let is_wrong =
        name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain);
    is_wrong.then(|| {
        format!(
            "found \"{name}\", wanted 1 to 100 letters, digits, `-`, `_` or `.` (it names the run folder)"
        )
    })
}

fn coding(value: &Value<'_>) -> Result<Coding, JobError> {
    let name = value.one_of(Coding::NAMES)?;
    Ok(Coding::from_name(name).unwrap_or_default())
}

fn homes(value: &Value<'_>) -> Result<Homes, JobError> {
    let name = value.one_of(Homes::NAMES)?;
    Ok(Homes::from_name(name).unwrap_or_default())
}

fn precision(value: &Value<'_>) -> Result<Precision, JobError> {
    let name = value.one_of(Precision::NAMES)?;
    Ok(Precision::from_name(name).unwrap_or_default())
}
