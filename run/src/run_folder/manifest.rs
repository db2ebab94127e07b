//! `manifest.json`: which run a folder is of, how far it has come, and what its other files must be.
//!
//! A seal over it, and hashes of what it goes with, tell when a file was cut, altered or put there from another run. They
//! are no proof against somebody who makes new ones.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_model::{NUMERIC_PROFILE, Threshold};
use lockstep_proto::VERSION;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{json, resolved};
use crate::error::{Error, Result};
use crate::format::{FORMAT, newer};
use crate::job::plain;
use crate::plan::Plan;
use crate::read_file;
use crate::report::EarlyStop;
use crate::weights_file::weights_hash;
use crate::whole_file::write_whole;

/// Longest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

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
    /// Hash of every row of every table.
    pub data_blake3: String,
    /// Hash of the weights at step 0.
    pub initial_weights_blake3: String,
    /// When the run began, in seconds since 1970.
    pub started_unix: u64,
    /// How far the run has come.
    pub status: Status,
    /// Hash of the weights that the run ended with, once there are any.
    pub weights_blake3: Option<String>,
    /// Hash of `model/model.onnx`, if the run has ended and its model is not too large for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnx_blake3: Option<String>,
    /// Whether the model's weights are those of step 0, trained elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// What early stopping made of the run, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStop>,
    /// The threshold that was chosen for the model, once the run is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// What the folder's other files must be; runs of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Hash of all of this without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_blake3: Option<String>,
}

/// What the files beside the manifest must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// Hash of the lines of `job.toml` that change the result, but for the epochs.
    pub job_blake3: String,
    /// Hash of all that makes the weights: those lines but for the name, the tables, the weights at step 0.
    pub origin_blake3: String,
    /// Times through the training table, as `job.toml` has them.
    pub epochs: u32,
    /// Hash of `model/model.json`.
    pub model_blake3: String,
    /// How often a line of `journal.jsonl` was to be written, in order.
    pub journal: Vec<Cadence>,
}

/// How often a line of the journal was to be written, from some step on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    /// The step after which that begins.
    pub after_step: u64,
    /// Steps from one line to the next.
    pub every_steps: u64,
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
    /// It was told to stop, and can go on.
    Stopped,
}

/// What is known of a run when it begins.
pub(super) struct Begun<'a> {
    pub(super) run_id: &'a str,
    pub(super) name: &'a str,
    pub(super) shards: u32,
    pub(super) train_rows: u64,
    pub(super) parameters: usize,
    pub(super) data_blake3: String,
    pub(super) initial_weights_blake3: String,
}

impl Manifest {
    /// Of a run that begins now, without what its files must be.
    pub(super) fn new(plan: &Plan, run_id: &str) -> Manifest {
        Manifest::of(Begun {
            run_id,
            name: &plan.job.name,
            shards: plan.job.train.shards,
            train_rows: plan.batches().rows,
            parameters: plan.weights.len(),
            data_blake3: plan.data_hash(),
            initial_weights_blake3: weights_hash(&plan.weights),
        })
    }

    /// Of what begins now.
    pub(super) fn of(begun: Begun<'_>) -> Manifest {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Manifest {
            format: FORMAT,
            lockstep: VERSION.to_string(),
            run_id: begun.run_id.to_string(),
            name: begun.name.to_string(),
            numeric_profile: NUMERIC_PROFILE.to_string(),
            shards: begun.shards,
            train_rows: begun.train_rows,
            parameters: begun.parameters as u64,
            data_blake3: begun.data_blake3,
            initial_weights_blake3: begun.initial_weights_blake3,
            started_unix: started.as_secs(),
            status: Status::Running,
            weights_blake3: None,
            onnx_blake3: None,
            imported: false,
            early_stopping: None,
            threshold: None,
            files: None,
            manifest_blake3: None,
        }
    }

    /// Reads the manifest of a run folder. Takes no lock: the run may be going on.
    ///
    /// # Errors
    /// If there is none, or it is damaged, altered or of a later format.
    pub fn read(run: &Path) -> Result<Manifest> {
        let manifest = Manifest::read_unsealed(run)?;
        manifest.check_seal(run)?;
        Ok(manifest)
    }

    /// The same, for whoever finds out what was altered: whether its seal is right is not looked at.
    ///
    /// # Errors
    /// If there is none, or it is damaged or of a later format.
    pub(crate) fn read_unsealed(run: &Path) -> Result<Manifest> {
        let path = run.join("manifest.json");
        let text = read_file::text(&path, MANIFEST_BYTES_MAX)
            .map_err(|error| Error::file(&path, "read it (is this a run folder?)", &error))?;
        parse(&path, &text, FORMAT)
    }

    /// That it is as this program wrote it.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn check_seal(&self, run: &Path) -> Result<()> {
        let path = run.join("manifest.json");
        match &self.manifest_blake3 {
            Some(wanted) if *wanted != self.hash(&path)? => {
                let problem = "altered since this program wrote it: its hash is not the one that it names; put it back";
                Err(Error::File { path, problem: problem.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Writes it, sealed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, run: &Path) -> Result<()> {
        let path = run.join("manifest.json");
        self.manifest_blake3 = Some(self.hash(&path)?);
        write_whole(&path, json(&path, self)?.as_bytes())
    }

    fn hash(&self, path: &Path) -> Result<String> {
        let unsealed = Manifest { manifest_blake3: None, ..self.clone() };
        Ok(hash(json(path, &unsealed)?.as_bytes()))
    }

    /// That the job of the folder is the one that the run has.
    ///
    /// # Errors
    /// If it was altered, or is of another run.
    pub fn check_job(&self, run: &Path, text: &str) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        if files.job_blake3 == resolved::hash(text) && Some(files.epochs) == resolved::epochs(text)
        {
            return Ok(());
        }
        let problem = "altered since the run began, or of another run: its lines that change the result do not have the \
                       hash that manifest.json names; put it back"
            .to_string();
        Err(Error::File { path: run.join("job.toml"), problem })
    }
}

/// The hash of a file's content, as text.
pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Reads a file of ours that names its format, of a kind of which this program reads formats up to `known`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str, known: u32) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let fail = |problem: String| Error::File { path: path.to_path_buf(), problem };
    let damaged = |error: serde_json::Error| fail(format!("damaged: {error}"));
    // Before the rest: a later format may have anything there.
    let Versioned { format } = serde_json::from_str(text).map_err(damaged)?;
    if format > known {
        return Err(fail(newer(format, known)));
    }
    serde_json::from_str(text).map_err(damaged)
}

/// The text of a file of a run folder.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<String> {
    read_file::text(path, bytes_max).map_err(|error| Error::File {
        path: path.to_path_buf(),
        problem: format!("cannot read it: {}", plain(&error)),
    })
}
