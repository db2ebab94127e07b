//! The run folder: what a run was asked, what it measured, and the model it made.
//!
//! `job.toml` (as resolved), `manifest.json`, `metrics.jsonl`, `model/model.json`, `model/weights.safetensors`, and of a finished
//! run `model/model.onnx`.
//! Files that say that something is done are written whole (`whole_file`), and the manifest says what the others must be.
//! What a run leaves that was killed before it had a manifest is told apart from what others may have put there, and
//! written anew when the run is to go on.

mod description;
mod identity;
mod leftovers;
mod lock;
mod manifest;
mod model;
mod onnx;
mod resolved;
mod saved;
mod shown;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_coordinator::Outcome;
use lockstep_model::Threshold;
use lockstep_net::Identity;
use lockstep_proto::VERSION;
use lockstep_status::Status as Shown;
use lockstep_status::address::PageAddress;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::failpoints::reach;
use crate::job::to_toml;
use crate::line_file::{self, LineFile, Written};
use crate::plan::Plan;
use crate::report::{EarlyStop, SharedReporter};
use crate::weights_file;
use crate::whole_file::write_whole;
use lock::Lock;

pub use description::ModelDescription;
pub use identity::{JOIN, make_identity, pin, renew_secret};
pub use lock::led_by;
pub use manifest::{Cadence, Files, Manifest, Status};
pub use model::{Model, ModelFiles, model_stamp};
pub(crate) use onnx::check as check_onnx;
pub use shown::{last_status, page};

/// Longest `job.toml` of a run folder that is read.
const JOB_BYTES_MAX: u64 = 64 << 20;

/// A run folder that this process writes.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    manifest: Manifest,
    /// Whether the plan has more epochs than the run was to have.
    has_grown: bool,
    /// Whether this execution made the run, and whether it made the folder.
    is_new: bool,
    is_new_folder: bool,
    /// Held as long as this process may write.
    lock: Arc<Lock>,
}

impl RunFolder {
    /// Makes the folder and writes down what the run is about to do. With `resume`, what an execution left that was
    /// killed before it had done so is written anew.
    ///
    /// # Errors
    /// If there is something else in it, or it cannot be written.
    pub fn create(path: &Path, plan: &Plan, run_id: &str, resume: bool) -> Result<RunFolder> {
        leftovers::check_free(path, resume)?;
        let is_new_folder = !path.exists();
        let make = |folder: &Path| match fs::create_dir(folder) {
            Err(error) if resume && error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        fs::create_dir_all(path)
            .and_then(|()| reach("folder:made"))
            .map_err(|error| Error::file(path, "make the run folder", &error))?;
        // Of two that come at once, one makes this; of two that resume, one has the lock.
        make(&path.join("model"))
            .and_then(|()| reach("folder:model"))
            .map_err(|error| Error::file(path, "make the run folder's model/", &error))?;
        let lock = Arc::new(Lock::take(path)?);
        reach("folder:locked").map_err(|error| Error::file(path, "lock it", &error))?;
        if resume {
            // Another may have been at it until the lock was free.
            leftovers::check_free(path, resume)?;
        }
        let mut manifest = Manifest::new(plan, run_id);
        manifest.files = Some(files(path, plan, &manifest)?);
        let path = path.to_path_buf();
        let (is_new, has_grown) = (true, false);
        let mut folder = RunFolder { path, manifest, has_grown, is_new, is_new_folder, lock };
        folder.write_job(&to_toml(&plan.job))?;
        folder.write_manifest()?;
        Ok(folder)
    }

    /// By which workers of other machines know the coordinator of this run: `given`, which was made ahead of it, or the
    /// folder's own, made if there is none. What is unsafe about one that is there is told to `warn`.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn identity(&self, given: Option<&Path>, warn: &mut dyn FnMut(String)) -> Result<Identity> {
        match given {
            Some(path) => identity::load(path, warn),
            None => identity::load_or_make(&self.path, warn),
        }
    }

    /// Writes the line to join with; where it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_join_line(&self, line: &str) -> Result<PathBuf> {
        identity::write_line(&self.path, line)?;
        Ok(self.path.join(identity::JOIN))
    }

    /// Writes where the page of the run is, for as long as it is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_page(&self, address: &PageAddress) -> Result<()> {
        shown::write_page(&self.path, address)
    }

    /// Takes that away again.
    pub fn remove_page(&self) {
        shown::remove_page(&self.path);
    }

    /// Writes what there was to see of the run when it ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_status(&self, status: &Shown) -> Result<()> {
        self.lock.check()?;
        shown::write_status(&self.path, status)
    }

    /// Opens the folder of an earlier execution of the same run, to go on with it. A `job.toml` there that was altered is
    /// told to `warn` and written anew.
    ///
    /// # Errors
    /// If another process is at it, or job or data are not those of the run; the message says what differs.
    pub fn resume(path: &Path, plan: &Plan, warn: &mut dyn FnMut(String)) -> Result<RunFolder> {
        let lock = Arc::new(Lock::take(path)?);
        let wrong = |problem: String| Error::File { path: path.to_path_buf(), problem };
        let manifest = Manifest::read(path)?;
        if manifest.lockstep != VERSION {
            return Err(wrong(format!(
                "the run was begun by lockstep {}, this is {VERSION}: the same bits need the same version",
                manifest.lockstep
            )));
        }
        let text = to_toml(&plan.job);
        let begun = read_job(path).and_then(|begun| {
            manifest.check_job(path, &begun)?;
            Ok(begun)
        });
        let before = epochs_before(&manifest, &begun, &text, plan).map_err(wrong)?;
        if manifest.data_blake3 != plan.data_hash()
            || manifest.initial_weights_blake3 != weights_file::weights_hash(&plan.weights)
        {
            let problem =
                "cannot resume: the tables or the initial weights have changed since the run began";
            return Err(wrong(problem.to_string()));
        }
        let has_grown = plan.job.train.epochs > before;
        let path = path.to_path_buf();
        let (is_new, is_new_folder) = (false, false);
        let folder = RunFolder { path, manifest, has_grown, is_new, is_new_folder, lock };
        if let Err(error) = begun {
            warn(format!("{error}; it is rewritten from the given job"));
            if !folder.has_grown {
                folder.write_job(&text)?;
            }
        }
        Ok(folder)
    }

    /// Writes down that the run goes on after a step, to the end of the plan.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn go_on(&mut self, plan: &Plan, step: u64) -> Result<()> {
        let mut files = files(&self.path, plan, &self.manifest)?;
        // What is before the step stays as it was written.
        let before = self.manifest.files.take().map_or(Vec::new(), |files| files.journal);
        let every_steps = plan.job.journal.every_steps;
        let mut journal: Vec<_> =
            before.into_iter().filter(|cadence| cadence.after_step < step).collect();
        if journal.last().is_none_or(|last| last.every_steps != every_steps) {
            let after_step = if journal.is_empty() { 0 } else { step };
            journal.push(Cadence { after_step, every_steps });
        }
        files.journal = journal;
        self.manifest.files = Some(files);
        self.manifest.status = Status::Running;
        self.manifest.weights_blake3 = None;
        self.manifest.onnx_blake3 = None;
        self.manifest.imported = false;
        self.manifest.early_stopping = None;
        self.manifest.threshold = None;
        self.write_manifest()?;
        // After the manifest: a finished run has the steps of its job.
        let text = to_toml(&plan.job);
        match read_job(&self.path) {
            Ok(found) if found == text => Ok(()),
            _ => self.write_job(&text),
        }
    }

    /// Whether this execution made the run.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Takes everything away again that was made for a run that has not made a step, and the folder if it was made for it.
    ///
    /// # Errors
    /// If something cannot be removed, or there is something else.
    pub fn discard(self) -> Result<()> {
        leftovers::remove(&self.path, self.is_new_folder)
    }

    /// Names this run; the same for every execution of it.
    pub fn run_id(&self) -> &str {
        &self.manifest.run_id
    }

    /// When it began, in seconds since 1970.
    pub fn started(&self) -> u64 {
        self.manifest.started_unix
    }

    /// Whether the model is there already that the plan makes.
    pub fn is_finished(&self) -> bool {
        self.manifest.status == Status::Finished && (!self.has_grown || self.stopped_early())
    }

    /// What to add where more epochs change nothing.
    pub(crate) fn why_over(&self) -> String {
        match &self.manifest.early_stopping {
            Some(found) if found.stopped && self.has_grown => format!(
                ": it stopped early after epoch {}, whatever train.epochs is from there on",
                found.epochs
            ),
            _ => String::new(),
        }
    }

    fn stopped_early(&self) -> bool {
        self.manifest.early_stopping.as_ref().is_some_and(|found| found.stopped)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `metrics.jsonl`, cut to its first `bytes`: what came later is written again. Where it is shorter, it is cut to
    /// whole lines. Also how long it is then.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn metrics(
        &self,
        bytes: u64,
        reporter: SharedReporter,
    ) -> Result<(LineFile, Written)> {
        let path = self.path.join("metrics.jsonl");
        let mut file = line_file::open(&path)?;
        let kept = line_file::cut(&mut file, bytes, Written::hashed())
            .map_err(|error| Error::file(&path, "write it", &error))?;
        Ok((LineFile::start(&path, file, kept.clone(), reporter), kept))
    }

    /// The best epoch of a run that is finished, if one was looked for.
    pub(crate) fn best_epoch(&self) -> Option<u32> {
        self.manifest.early_stopping.as_ref().and_then(|found| found.best_epoch)
    }

    /// Writes the model and its threshold, if one was chosen, then that the run is finished.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(
        &mut self,
        model: &ModelFiles,
        plan: &Plan,
        outcome: &Outcome,
        threshold: Option<Threshold>,
    ) -> Result<()> {
        let rule = plan.job.train.early_stopping.as_ref();
        let early_stopping = rule.and_then(|rule| EarlyStop::of(rule, outcome));
        let epochs = early_stopping.as_ref().map_or(outcome.epochs, EarlyStop::kept_epoch);
        let weights = &outcome.weights;
        let steps = u64::from(epochs) * plan.batches().count();
        self.manifest.onnx_blake3 = model.write_last(steps, weights, threshold)?;
        self.manifest.status = Status::Finished;
        self.manifest.weights_blake3 = Some(weights_file::weights_hash(weights));
        self.manifest.early_stopping = early_stopping;
        self.manifest.threshold = threshold;
        self.write_manifest()
    }

    /// Writes the weights at step 0 as the model, and that the run is finished.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn finish_imported(&mut self, model: &ModelFiles, plan: &Plan) -> Result<()> {
        self.manifest.onnx_blake3 = model.write_last(0, &plan.weights, None)?;
        self.manifest.status = Status::Finished;
        self.manifest.weights_blake3 = Some(weights_file::weights_hash(&plan.weights));
        self.manifest.imported = true;
        self.write_manifest()
    }

    /// Writes down how the run ended early.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub fn end_early(&mut self, status: Status) -> Result<()> {
        self.manifest.status = status;
        self.write_manifest()
    }

    fn write_manifest(&mut self) -> Result<()> {
        self.lock.check()?;
        self.manifest.write(&self.path)
    }

    fn write_job(&self, text: &str) -> Result<()> {
        self.lock.check()?;
        write_whole(&self.path.join("job.toml"), text.as_bytes())
    }
}

/// Whether a folder is that of a run that is finished.
pub fn is_finished(run: &Path) -> bool {
    Manifest::read(run).is_ok_and(|manifest| manifest.status == Status::Finished)
}

/// The `job.toml` of a run folder.
///
/// # Errors
/// If it cannot be read.
pub fn read_job(run: &Path) -> Result<String> {
    manifest::read(&run.join("job.toml"), JOB_BYTES_MAX)
}

/// The epochs that a run was to have, if the job with this `text` is the one that it began with.
fn epochs_before(
    manifest: &Manifest,
    begun: &Result<String>,
    text: &str,
    plan: &Plan,
) -> std::result::Result<u32, String> {
    let changed = match (&manifest.files, begun) {
        (Some(files), _) if files.job_blake3 == resolved::hash(text) => None,
        (_, Ok(begun)) => resolved::first_difference(begun, text),
        (_, Err(error)) => Some(format!("its state before is unknown ({error})")),
    };
    if let Some(difference) = changed {
        return Err(format!("cannot resume: the job has changed: {difference}"));
    }
    let before = match (&manifest.files, begun) {
        (Some(files), _) => files.epochs,
        // What earlier versions wrote down of the job is in that file alone.
        (None, begun) => begun.as_deref().ok().and_then(resolved::epochs).unwrap_or(0),
    };
    let now = plan.job.train.epochs;
    if now < before {
        return Err(format!(
            "cannot resume: the run was begun with train.epochs = {before}, the job has {now}: wanted {before} or more"
        ));
    }
    Ok(before)
}

/// What the files beside the manifest of a run that begins must be.
fn files(path: &Path, plan: &Plan, manifest: &Manifest) -> Result<Files> {
    let (job, every_steps) = (to_toml(&plan.job), plan.job.journal.every_steps);
    let Manifest { data_blake3, initial_weights_blake3, .. } = manifest;
    Ok(Files {
        job_blake3: resolved::hash(&job),
        origin_blake3: resolved::origin(&job, data_blake3, initial_weights_blake3),
        epochs: plan.job.train.epochs,
        model_blake3: description::description_hash(path, plan)?,
        journal: vec![Cadence { after_step: 0, every_steps }],
    })
}

fn json(path: &Path, value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Internal(format!("cannot write {}: {error}", path.display())))?;
    Ok(text + "\n")
}
