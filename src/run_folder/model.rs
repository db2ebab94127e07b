//! The model in a run folder: `model/model.json` and `model/weights.safetensors`, for as long as there has been a
//! checkpoint.
//!
//! `model.json` says what is the same through the whole run, and is there before any weights; the weights' file is replaced
//! whole and carries its step and hash. So whoever reads both, at any time, has what belongs together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_data::Schema;
use lockstep_model::{Network, NetworkSpec};
use serde::{Deserialize, Serialize};

use super::{FORMAT, Manifest, Status, json, parse};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::weights_file::{self, Stamp, weights_hash};
use crate::whole_file::write_whole;

/// `model/model.json`: with the weights, all that is needed to use the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelDescription {
    /// [`FORMAT`].
    pub format: u32,
    /// The network.
    pub network: NetworkSpec,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// `S`: tables are measured in the same tree as in the run.
    pub shards: u32,
}

/// Writes the model of a run.
#[derive(Clone)]
pub struct ModelFiles {
    run: PathBuf,
    plan: Arc<Plan>,
}

impl ModelFiles {
    /// In a run folder that this process writes.
    pub fn new(run: &Path, plan: Arc<Plan>) -> ModelFiles {
        ModelFiles { run: run.to_path_buf(), plan }
    }

    /// Writes the model with the weights after `step`.
    ///
    /// # Errors
    /// If a file cannot be written; the model that was there before stays then.
    pub fn write(&self, step: u64, weights: &[f32]) -> Result<()> {
        let plan = &self.plan;
        let description = self.run.join("model/model.json");
        let text = json(
            &description,
            &ModelDescription {
                format: FORMAT,
                network: plan.network.spec().clone(),
                schema: plan.schema.clone(),
                shards: plan.job.train.shards,
            },
        )?;
        if fs::read(&description).ok().as_deref() != Some(text.as_bytes()) {
            write_whole(&description, text.as_bytes())?;
        }
        let stamp = Stamp { format: FORMAT, step, weights_blake3: weights_hash(weights) };
        let bytes = weights_file::to_bytes(plan.network.layout(), weights, &stamp)
            .map_err(|error| Error::Internal(format!("cannot write the weights: {error}")))?;
        write_whole(&self.run.join("model/weights.safetensors"), &bytes)
    }
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
}

impl Model {
    /// Reads the newest model of a run, which may be going on.
    ///
    /// # Errors
    /// If the folder is none, the run has no model yet, or a file is damaged.
    pub fn load(run: &Path) -> Result<Model> {
        let path = run.join("model/model.json");
        let text = fs::read_to_string(&path).map_err(|error| match fs::metadata(run) {
            Ok(_) => Error::File {
                path: run.to_path_buf(),
                problem: format!(
                    "no model in this run folder (model/model.json: {}): a run has one from its first checkpoint on",
                    crate::job::plain(&error)
                ),
            },
            Err(error) => Error::file(run, "read the run folder", &error),
        })?;
        let damaged = |problem: String| Error::File { path: path.clone(), problem };
        let ModelDescription { network, schema, shards, .. } = parse(&path, &text)?;
        let network = Network::new(network).map_err(|error| damaged(error.to_string()))?;
        let file = run.join("model/weights.safetensors");
        let (weights, stamp) = weights_file::read_stamped(&file, network.layout())?;
        Ok(Model { network, schema, shards, weights, step: stamp.map(|stamp| stamp.step) })
    }

    /// From which step it is and what has become of its run, for people.
    pub fn origin(&self, run: &Path) -> String {
        let status = match Manifest::read(run).map(|manifest| manifest.status) {
            Ok(Status::Running) => "the run goes on, or was killed",
            Ok(Status::Finished) => "the run is finished",
            Ok(Status::Failed) => "the run failed",
            Ok(Status::Stopped) => "the run was stopped",
            Err(_) => "nothing is known of the run",
        };
        let step = self.step.map_or("an unknown step".to_string(), |step| format!("step {step}"));
        format!("the model is that of {step}; {status}")
    }
}
