//! The sections of a job file, key by key.

use std::path::{Path, PathBuf};

use lockstep_model::{Loss, Metric};
use lockstep_proto::tree::SHARDS_MAX;
use lockstep_proto::values::Precision;

use super::reader::{Document, JobError, Section, Value};
use super::settings::Setting;
use super::{
    BATCH_SIZE_DEFAULT, Checkpointing, Cluster, Every, Job, Journaling, Model, Places,
    SHARDS_DEFAULT, Train, class_weights, columns, data, early_stopping, layers, optimizer,
};

const WORKERS_MAX: u64 = SHARDS_MAX as u64;

/// The keys of every section, by its name. Those of a layer and of a learning rate depend on which it is.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("", ROOT),
    ("data", data::KEYS),
    ("data.columns", columns::KEYS),
    ("model", MODEL),
    ("train", TRAIN),
    ("train.optimizer", optimizer::PARAMETERS),
    ("train.early_stopping", early_stopping::KEYS),
    ("cluster", CLUSTER),
    ("checkpoint", CHECKPOINT),
    ("journal", JOURNAL),
];

const ROOT: &[&str] =
    &["name", "seed", "data", "model", "train", "cluster", "checkpoint", "journal"];
const MODEL: &[&str] = &["loss", "metrics", "initial_weights", "layers"];
const TRAIN: &[&str] = &[
    "optimizer",
    "epochs",
    "early_stopping",
    "class_weights",
    "batch_size",
    "shuffle",
    "shards",
    "gradient_clip_norm",
    "precision",
];
const CLUSTER: &[&str] = &["workers_min", "audit_fraction"];
const CHECKPOINT: &[&str] = &["every_epochs", "every_steps", "every_seconds", "keep"];
/// The metric that takes a parameter.
const TOP_K: &str = "top_k_accuracy";
const JOURNAL: &[&str] = &["every_steps"];

pub(super) fn read(path: &Path, text: String, settings: &[Setting]) -> Result<Job, JobError> {
    let document = Document::new(path, text, settings);
    let table = document.parse()?;
    let root = Section::new(&document, "", table.get_ref(), 0, ROOT)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut places = Places::default();
    let name = name(&root, path)?;
    let seed = root.get("seed").map_or(Ok(0), |value| value.integer(0, i64::MAX as u64))?;
    let data = data::read(&root.require("data")?, &folder)?;
    let model = model(&root.require("model")?, &folder, &mut places)?;
    let train = train(&root.require("train")?, &model, data.validation.is_some(), &mut places)?;
    Ok(Job {
        path: path.to_path_buf(),
        name,
        seed,
        data,
        model,
        train,
        cluster: cluster(&root)?,
        checkpoint: checkpoint(&root)?,
        journal: journal(&root)?,
        places,
    })
}

/// What may stand in the name of a run folder.
fn plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn name(root: &Section<'_>, path: &Path) -> Result<String, JobError> {
    let Some(value) = root.get("name") else {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_default().replace(|c| !plain(c), "-");
        let name: String = stem.trim_start_matches('.').chars().take(100).collect();
        return Ok(if name.is_empty() { "job".to_string() } else { name });
    };
    let name = value.string()?;
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(value.fail(format!(
            "found \"{name}\", wanted 1 to 100 letters, digits, `-`, `_` or `.` (it names the run folder)"
        )));
    }
    Ok(name.to_string())
}

pub(super) fn path(value: &Value<'_>, folder: &Path) -> Result<PathBuf, JobError> {
    let text = value.string()?;
    if text.is_empty() {
        return Err(value.fail("found \"\", wanted a path"));
    }
    Ok(folder.join(text))
}

fn model(value: &Value<'_>, folder: &Path, places: &mut Places) -> Result<Model, JobError> {
    let section = value.section(MODEL)?;
    let metrics = match section.get("metrics") {
        Some(metrics) => metrics.list()?.iter().map(metric).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let listed = section.require("layers")?;
    places.layers = Some(listed.place());
    Ok(Model {
        loss: loss(&section.require("loss")?)?,
        metrics,
        layers: layers::read(&listed)?,
        initial_weights: section
            .get("initial_weights")
            .map(|weights| path(&weights, folder))
            .transpose()?,
    })
}

fn metric(value: &Value<'_>) -> Result<Metric, JobError> {
    let keys_of =
        |name: &str| -> &'static [&'static str] { if name == TOP_K { &["k"] } else { &[] } };
    let (mut metric, section) = value.kind(Metric::NAMES, Metric::from_name, keys_of)?;
    if let (Metric::TopKAccuracy { k }, Some(section)) = (&mut metric, section)
        && let Some(value) = section.get("k")
    {
        *k = value.integer(1, u32::MAX.into())? as u32;
    }
    Ok(metric)
}

fn loss(value: &Value<'_>) -> Result<Loss, JobError> {
    let keys_of =
        |name: &str| -> &'static [&'static str] { if name == "huber" { &["delta"] } else { &[] } };
    let (mut loss, section) = value.kind(Loss::NAMES, Loss::from_name, keys_of)?;
    if let (Loss::Huber { delta }, Some(section)) = (&mut loss, section)
        && let Some(value) = section.get("delta")
    {
        *delta = value.number32("a number above 0", |n| n > 0.0)?;
    }
    Ok(loss)
}

fn train(
    value: &Value<'_>,
    model: &Model,
    has_validation: bool,
    places: &mut Places,
) -> Result<Train, JobError> {
    let section = value.section(TRAIN)?;
    places.batch_size = section.get("batch_size").map(|value| value.place());
    places.train = Some(section.place());
    let (optimizer, learning_rate, place) = optimizer::read(&section.require("optimizer")?)?;
    places.learning_rate = Some(place);
    let weights = section.get("class_weights");
    places.class_weights = weights.as_ref().map(Value::place);
    let clip = section.get("gradient_clip_norm");
    let clip = clip.map(|value| value.number32("a number above 0", |n| n > 0.0)).transpose()?;
    Ok(Train {
        optimizer,
        learning_rate,
        epochs: section.require("epochs")?.integer(1, u64::from(u32::MAX))? as u32,
        early_stopping: section
            .get("early_stopping")
            .map(|value| early_stopping::read(&value, model, has_validation))
            .transpose()?,
        class_weights: weights.map(|value| class_weights::read(&value)).transpose()?,
        batch_size: section
            .get("batch_size")
            .map_or(Ok(BATCH_SIZE_DEFAULT), |value| value.integer(1, u64::from(u32::MAX)))?,
        shuffle: section.get("shuffle").map_or(Ok(true), |value| value.boolean())?,
        shards: section
            .get("shards")
            .map_or(Ok(u64::from(SHARDS_DEFAULT)), |value| value.integer(1, SHARDS_MAX.into()))?
            as u32,
        gradient_clip_norm: clip,
        precision: section.get("precision").map_or(Ok(Precision::default()), |value| {
            value.name(Precision::NAMES, Precision::from_name)
        })?,
    })
}

fn cluster(root: &Section<'_>) -> Result<Cluster, JobError> {
    let mut cluster = Cluster::default();
    let Some(value) = root.get("cluster") else { return Ok(cluster) };
    let section = value.section(CLUSTER)?;
    if let Some(value) = section.get("workers_min") {
        cluster.workers_min = value.integer(1, WORKERS_MAX)? as usize;
    }
    if let Some(value) = section.get("audit_fraction") {
        cluster.audit_fraction =
            value.number("a share from 0 to 1", |share| (0.0..=1.0).contains(&share))?;
    }
    Ok(cluster)
}

fn checkpoint(root: &Section<'_>) -> Result<Checkpointing, JobError> {
    let mut checkpoint = Checkpointing::default();
    let Some(value) = root.get("checkpoint") else { return Ok(checkpoint) };
    let section = value.section(CHECKPOINT)?;
    let mut every = Vec::new();
    if let Some(value) = section.get("every_epochs") {
        every.push(Every::Epochs(value.integer(1, u32::MAX.into())? as u32));
    }
    if let Some(value) = section.get("every_steps") {
        every.push(Every::Steps(value.integer(1, i64::MAX as u64)?));
    }
    if let Some(value) = section.get("every_seconds") {
        every.push(Every::Seconds(value.number("a number above 0", |n| n > 0.0)?));
    }
    match every[..] {
        [] => {}
        [one] => checkpoint.every = one,
        _ => {
            return Err(value.fail("wanted one of every_epochs, every_steps and every_seconds"));
        }
    }
    if let Some(value) = section.get("keep") {
        checkpoint.keep = value.integer(1, 10_000)? as usize;
    }
    Ok(checkpoint)
}

fn journal(root: &Section<'_>) -> Result<Journaling, JobError> {
    let mut journal = Journaling::default();
    if let Some(value) = root.get("journal")
        && let Some(steps) = value.section(JOURNAL)?.get("every_steps")
    {
        journal.every_steps = steps.integer(1, i64::MAX as u64)?;
    }
    Ok(journal)
}
