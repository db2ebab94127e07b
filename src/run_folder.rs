//! The run folder: what a run was asked, what it measured, and the model it made.
//!
//! `job.toml` (as resolved), `manifest.json`, `metrics.jsonl`, `model/model.json` and `model/weights.safetensors`.
//! Files that say that something is done are written whole: temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_data::Schema;
use lockstep_model::{NUMERIC_PROFILE, Network, NetworkSpec};
use lockstep_proto::VERSION;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::job::to_toml;
use crate::plan::Plan;
use crate::weights_file;

/// Version of the folder's format. Later versions read every earlier one.
pub const FORMAT: u32 = 1;

/// A run folder that this process writes.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    manifest: Manifest,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that wrote it.
    pub lockstep: String,
    /// Names this execution.
    pub run_id: String,
    /// Names the job.
    pub name: String,
    /// What every worker's CPU computed like.
    pub numeric_profile: String,
    /// `S`.
    pub shards: u32,
    /// Rows of the training table.
    pub train_rows: u64,
    /// Number of weights.
    pub parameters: u64,
    /// Hash of the weights at step 0.
    pub initial_weights_blake3: String,
    /// When the run began, in seconds since 1970.
    pub started_unix: u64,
    /// How far the run has come.
    pub status: Status,
    /// Hash of the final weights, once there are any.
    pub weights_blake3: Option<String>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes on, or its process died.
    Running,
    /// The model is there.
    Finished,
    /// It ended with an error.
    Failed,
}

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

/// A finished model, read back.
pub struct Model {
    /// The network.
    pub network: Network,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// `S`.
    pub shards: u32,
    /// The weights.
    pub weights: Vec<f32>,
}

impl RunFolder {
    /// Makes the folder and writes down what the run is about to do.
    ///
    /// # Errors
    /// If there is already something in it, or it cannot be written.
    pub fn create(path: &Path, plan: &Plan, run_id: &str) -> Result<RunFolder> {
        let taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if taken {
            let problem =
                "the run folder exists and is not empty: remove it, or choose another with --out";
            return Err(Error::File { path: path.to_path_buf(), problem: problem.to_string() });
        }
        fs::create_dir_all(path.join("model"))
            .map_err(|error| Error::file(path, "make the run folder", &error))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let manifest = Manifest {
            format: FORMAT,
            lockstep: VERSION.to_string(),
            run_id: run_id.to_string(),
            name: plan.job.name.clone(),
            numeric_profile: NUMERIC_PROFILE.to_string(),
            shards: plan.job.train.shards,
            train_rows: plan.batches().rows,
            parameters: plan.weights.len() as u64,
            initial_weights_blake3: weights_file::weights_hash(&plan.weights),
            started_unix: started.as_secs(),
            status: Status::Running,
            weights_blake3: None,
        };
        let folder = RunFolder { path: path.to_path_buf(), manifest };
        write_whole(&folder.path.join("job.toml"), to_toml(&plan.job).as_bytes())?;
        folder.write_manifest()?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `metrics.jsonl`, new.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn metrics(&self) -> Result<File> {
        let path = self.path.join("metrics.jsonl");
        File::create(&path).map_err(|error| Error::file(&path, "write it", &error))
    }

    /// Writes the model, then that the run is finished.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(&mut self, plan: &Plan, weights: &[f32]) -> Result<()> {
        let bytes = weights_file::to_bytes(plan.network.layout(), weights)
            .map_err(|error| Error::Internal(format!("cannot write the weights: {error}")))?;
        write_whole(&self.path.join("model/weights.safetensors"), &bytes)?;
        let description = ModelDescription {
            format: FORMAT,
            network: plan.network.spec().clone(),
            schema: plan.schema.clone(),
            shards: plan.job.train.shards,
        };
        write_json(&self.path.join("model/model.json"), &description)?;
        self.manifest.status = Status::Finished;
        self.manifest.weights_blake3 = Some(weights_file::weights_hash(weights));
        self.write_manifest()
    }

    /// Writes down that the run ended with an error.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub fn fail(&mut self) -> Result<()> {
        self.manifest.status = Status::Failed;
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<()> {
        write_json(&self.path.join("manifest.json"), &self.manifest)
    }
}

impl Model {
    /// Reads the model of a finished run.
    ///
    /// # Errors
    /// If the folder is none, the run is not finished, or a file is damaged.
    pub fn load(run: &Path) -> Result<Model> {
        let path = run.join("model/model.json");
        let text = fs::read_to_string(&path).map_err(|error| match fs::metadata(run) {
            Ok(_) => Error::File {
                path: run.to_path_buf(),
                problem: format!(
                    "no finished model in this run folder (model/model.json: {})",
                    crate::job::plain(&error)
                ),
            },
            Err(error) => Error::file(run, "read the run folder", &error),
        })?;
        let damaged = |problem: String| Error::File { path: path.clone(), problem };
        let description: ModelDescription =
            serde_json::from_str(&text).map_err(|error| damaged(format!("damaged: {error}")))?;
        if description.format > FORMAT {
            return Err(damaged(format!(
                "written in format {}, this program reads up to {FORMAT}: use a newer lockstep",
                description.format
            )));
        }
        let network =
            Network::new(description.network).map_err(|error| damaged(error.to_string()))?;
        let weights = weights_file::read(&run.join("model/weights.safetensors"), network.layout())?;
        Ok(Model { network, schema: description.schema, shards: description.shards, weights })
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Internal(format!("cannot write {}: {error}", path.display())))?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let temporary = path.with_extension("partial");
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| Error::file(path, "write it", &error))
}
