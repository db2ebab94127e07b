//! The model in a run folder: `model/model.json` and `model/weights.safetensors`, for as long as there has been a
//! checkpoint, and `model/model.onnx` once the run is over.
//!
//! `model.json` says what is the same through the whole run, and is there before any weights; the weights' file is replaced
//! whole and carries its step and hash. So whoever reads both, at any time, has what belongs together. When the run is over, and its
//! last weights are there, `model.json` gets one more line, the threshold that was chosen for these; it goes again before others
//! are written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_data::Schema;
use lockstep_model::{Network, Threshold};
use lockstep_proto::layout::Layout;

use super::description::{
    DESCRIPTION, DESCRIPTION_BYTES_MAX, ModelDescription, check_description, description,
};
use super::lock::Lock;
use super::manifest::parse;
use super::{Manifest, RunFolder, Status, onnx};
use crate::checkpoint::Origin;
use crate::error::{Error, Result};
use crate::export::ExportedModel;
use crate::format::{FORMAT, FORMAT_OF_THRESHOLDS};
use crate::plan::Plan;
use crate::read_file;
use crate::weights_file::{self, Stamp, WeightsError, weights_hash};
use crate::whole_file::write_whole;

/// The weights, in a run folder.
const WEIGHTS: &str = "model/weights.safetensors";

/// Writes the model of a run.
#[derive(Clone)]
pub struct ModelFiles {
    run: PathBuf,
    run_id: String,
    origin_blake3: Option<String>,
    plan: Arc<Plan>,
    lock: Arc<Lock>,
}

impl ModelFiles {
    /// In a run folder that this process writes.
    pub fn new(folder: &RunFolder, plan: Arc<Plan>) -> ModelFiles {
        let (run, run_id) = (folder.path.clone(), folder.manifest.run_id.clone());
        let files = folder.manifest.files.as_ref();
        let origin_blake3 = files.map(|files| files.origin_blake3.clone());
        ModelFiles { run, run_id, origin_blake3, plan, lock: folder.lock.clone() }
    }

    /// The run folder.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Whose checkpoints go with it.
    pub fn origin(&self) -> Origin {
        Origin::new(&self.run_id, self.plan.network.layout())
    }

    /// That the run folder is still this process's.
    ///
    /// # Errors
    /// If another may have come to write it.
    pub fn check_held(&self) -> Result<()> {
        self.lock.check()
    }

    /// Writes the model with the weights after `step`, of a run that goes on.
    ///
    /// # Errors
    /// If a file cannot be written; the model that was there before stays then.
    pub fn write(&self, step: u64, weights: &[f32]) -> Result<()> {
        self.check_held()?;
        // First: a threshold that is there is not one of these weights, and neither is a graph.
        self.write_description(None)?;
        onnx::remove(&self.run)?;
        self.write_weights(step, weights)
    }

    /// Writes the model that a run ends with, and the threshold that was chosen for it; then the same for other programs, as an
    /// ONNX graph. The hash of that, unless the model is too large for one.
    ///
    /// # Errors
    /// As [`ModelFiles::write`].
    pub fn write_last(
        &self,
        step: u64,
        weights: &[f32],
        threshold: Option<Threshold>,
    ) -> Result<Option<String>> {
        self.write(step, weights)?;
        if threshold.is_some() {
            self.write_description(threshold)?;
        }
        let model = ExportedModel {
            network: &self.plan.network,
            schema: &self.plan.schema,
            weights,
            threshold: threshold.unwrap_or_default(),
        };
        onnx::write(&self.run, &model)
    }

    fn write_description(&self, threshold: Option<Threshold>) -> Result<()> {
        let path = self.run.join(DESCRIPTION);
        let text = description(&path, &self.plan, threshold)?;
        match read_file::text(&path, DESCRIPTION_BYTES_MAX) {
            Ok(there) if there == text => Ok(()),
            _ => write_whole(&path, text.as_bytes()),
        }
    }

    fn write_weights(&self, step: u64, weights: &[f32]) -> Result<()> {
        let origin_blake3 = self.origin_blake3.clone();
        let weights_blake3 = weights_hash(weights);
        let stamp = Stamp { format: FORMAT, step, weights_blake3, origin_blake3 };
        write_weights(&self.run, self.plan.network.layout(), weights, &stamp)
    }
}

/// Writes a model's weights, which this is said of, into a run folder.
pub(super) fn write_weights(
    run: &Path,
    layout: &Layout,
    weights: &[f32],
    stamp: &Stamp,
) -> Result<()> {
    let bytes = weights_file::to_bytes(layout, weights, stamp)
        .map_err(|error| Error::Internal(format!("cannot write the weights: {error}")))?;
    write_whole(&run.join(WEIGHTS), &bytes)
}

/// A model, read back.
pub struct Model {
    /// The network.
    pub network: Network,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// `S`.
    pub shards: u32,
    /// The weights.
    pub weights: Vec<f32>,
    /// The step after which they were so, if the file says.
    pub step: Option<u64>,
    /// Above which score a row is of class 1, where there is one target with two classes.
    pub threshold: Threshold,
}

impl Model {
    /// Reads the newest model of a run, which may be going on.
    ///
    /// # Errors
    /// If the folder is none, the run has no model yet, or a file is damaged or not of this run.
    pub fn load(run: &Path) -> Result<Model> {
        let path = run.join(DESCRIPTION);
        let text = read_file::text(&path, DESCRIPTION_BYTES_MAX).map_err(|error| {
            match fs::metadata(run) {
                Ok(_) => Error::File {
                    path: run.to_path_buf(),
                    problem: format!(
                        "no model in this run folder ({DESCRIPTION}: {}): a run has one from its first checkpoint on",
                        crate::job::plain(&error)
                    ),
                },
                Err(error) => Error::file(run, "read the run folder", &error),
            }
        })?;
        let damaged = |problem: String| Error::File { path: path.clone(), problem };
        let description: ModelDescription = parse(&path, &text, FORMAT_OF_THRESHOLDS)?;
        let manifest = Manifest::read(run)?;
        let threshold = description.threshold;
        check_description(&path, &text, threshold, &manifest)?;
        let fitting = description.fitting();
        let (network, schema, shards) =
            fitting.map_err(|problem| damaged(format!("damaged: {problem}; copy it again")))?;
        let (weights, stamp) = read_weights(run, &manifest, network.layout())?;
        let step = stamp.map(|stamp| stamp.step);
        let threshold = threshold.unwrap_or_default();
        Ok(Model { network, schema, shards, weights, step, threshold })
    }

    /// What other programs get of it.
    pub fn exported(&self) -> ExportedModel<'_> {
        let Model { network, schema, weights, threshold, .. } = self;
        ExportedModel { network, schema, weights, threshold: *threshold }
    }

    /// The class, 0 or 1, of a row with such an output for a target with two classes.
    pub fn class_of(&self, probability: f32) -> usize {
        self.threshold.class(probability)
    }

    /// From which step it is and what has become of its run, for people.
    pub fn origin(&self, run: &Path) -> String {
        let status = match Manifest::read(run).map(|manifest| manifest.status) {
            Ok(Status::Running) => "the run is still running, or was killed",
            Ok(Status::Finished) => "the run is finished",
            Ok(Status::Failed) => "the run failed",
            Ok(Status::Stopped) => "the run was stopped",
            Err(_) => "nothing is known of the run",
        };
        let step = self.step.map_or("an unknown step".to_string(), |step| format!("step {step}"));
        format!("the model is that of {step}; {status}")
    }
}

/// That weights are of the run of a manifest, where it says what its files must be.
fn check_stamp(path: &Path, stamp: Option<&Stamp>, manifest: &Manifest) -> Result<()> {
    let Some(files) = &manifest.files else { return Ok(()) };
    let problem = match stamp.and_then(|stamp| stamp.origin_blake3.as_ref()) {
        Some(origin) if *origin == files.origin_blake3 => return Ok(()),
        Some(_) => "of another run than manifest.json there",
        None => "altered: it does not say of which run it is; copy it again",
    };
    Err(WeightsError { path: path.to_path_buf(), problem: problem.to_string() }.into())
}

/// The weights of a run's model with what their file says of them, if they are this run's, and those that it ended with
/// if it is finished.
fn read_weights(
    run: &Path,
    manifest: &Manifest,
    layout: &Layout,
) -> Result<(Vec<f32>, Option<Stamp>)> {
    let path = run.join(WEIGHTS);
    let (weights, stamp) = weights_file::read_stamped(&path, layout)?;
    check_stamp(&path, stamp.as_ref(), manifest)?;
    let fail = |problem: String| Err(WeightsError { path: path.clone(), problem }.into());
    if let Some(wanted) = &manifest.weights_blake3 {
        let found = weights_hash(&weights);
        if found != *wanted {
            return fail(format!(
                "damaged: the hash of its weights is {found}, manifest.json says {wanted}: copy it again"
            ));
        }
    }
    Ok((weights, stamp))
}

/// The step and the hash of a run's newest model, for whoever makes its weights again; `None` where there is none yet, or
/// it does not say.
///
/// # Errors
/// If one of its files is damaged, or missing though the run is finished.
pub fn model_stamp(run: &Path, manifest: &Manifest, layout: &Layout) -> Result<Option<Stamp>> {
    let (path, description) = (run.join(WEIGHTS), run.join(DESCRIPTION));
    if manifest.status != Status::Finished && !path.exists() {
        return Ok(None);
    }
    let (_, stamp) = weights_file::read_stamped(&path, layout)?;
    check_stamp(&path, stamp.as_ref(), manifest)?;
    let text = read_file::text(&description, DESCRIPTION_BYTES_MAX)
        .map_err(|error| Error::file(&description, "read it", &error))?;
    let found: ModelDescription = parse(&description, &text, FORMAT_OF_THRESHOLDS)?;
    check_description(&description, &text, found.threshold, manifest)?;
    Ok(stamp)
}
