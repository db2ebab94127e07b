//! The run folder: what a run was asked, what it measured, and the model it made.
//!
//! `job.toml` (as resolved), `manifest.json`, `metrics.jsonl`, `model/model.json` and `model/weights.safetensors`.
//! Files that say that something is done are written whole (`whole_file`). What a run leaves that was killed before it
//! had a manifest is told apart from what others may have put there, and written anew when the run is to go on.

mod leftovers;
mod model;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_model::NUMERIC_PROFILE;
use lockstep_proto::VERSION;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::failpoints::reach;
use crate::job::to_toml;
use crate::line_file::{self, LineFile};
use crate::plan::Plan;
use crate::record::SharedReporter;
use crate::weights_file;
use crate::whole_file::write_whole;

pub use model::{Model, ModelDescription, ModelFiles};

/// How the line of a resolved job with its epochs begins.
const EPOCHS: &str = "epochs = ";

/// Version of the folder's format. Later versions read every earlier one.
pub const FORMAT: u32 = 1;

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
    /// Held as long as this process may write; the system lets go of it when the process ends, however it ends.
    _lock: File,
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
    /// Hash of every row of every table.
    pub data_blake3: String,
    /// Hash of the weights at step 0.
    pub initial_weights_blake3: String,
    /// When the run began, in seconds since 1970.
    pub started_unix: u64,
    /// How far the run has come.
    pub status: Status,
    /// Hash of the final weights, once there are any.
    pub weights_blake3: Option<String>,
}

impl Manifest {
    /// Reads the manifest of a run folder. Takes no lock: the run may be going on.
    ///
    /// # Errors
    /// If there is none, or it is damaged or of a later format.
    pub fn read(run: &Path) -> Result<Manifest> {
        let path = run.join("manifest.json");
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::file(&path, "read it (is this a run folder?)", &error))?;
        let wrong = |problem: String| Error::File { path: path.clone(), problem };
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| wrong(format!("damaged: {error}")))?;
        if manifest.format > FORMAT {
            return Err(wrong(newer(manifest.format)));
        }
        Ok(manifest)
    }
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
        let lock = lock(path)?;
        reach("folder:locked").map_err(|error| Error::file(path, "lock it", &error))?;
        if resume {
            // Another may have been at it until the lock was free.
            leftovers::check_free(path, resume)?;
        }
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
            data_blake3: plan.data_hash(),
            initial_weights_blake3: weights_file::weights_hash(&plan.weights),
            started_unix: started.as_secs(),
            status: Status::Running,
            weights_blake3: None,
        };
        let path = path.to_path_buf();
        let (is_new, has_grown) = (true, false);
        let folder = RunFolder { path, manifest, has_grown, is_new, is_new_folder, _lock: lock };
        write_whole(&folder.path.join("job.toml"), to_toml(&plan.job).as_bytes())?;
        folder.write_manifest()?;
        Ok(folder)
    }

    /// Opens the folder of an earlier execution of the same run, to go on with it.
    ///
    /// # Errors
    /// If another process is at it, or job or data are not those of the run; the message says what differs.
    pub fn resume(path: &Path, plan: &Plan) -> Result<RunFolder> {
        let lock = lock(path)?;
        let at = path.join("manifest.json");
        let text = fs::read_to_string(&at)
            .map_err(|error| Error::file(&at, "read it (nothing to resume here?)", &error))?;
        let wrong = |problem: String| Error::File { path: path.to_path_buf(), problem };
        let manifest: Manifest = parse(&at, &text)?;
        if manifest.lockstep != VERSION {
            return Err(wrong(format!(
                "the run was begun by lockstep {}, this is {VERSION}: the same bits need the same version",
                manifest.lockstep
            )));
        }
        let job = path.join("job.toml");
        let begun =
            fs::read_to_string(&job).map_err(|error| Error::file(&job, "read it", &error))?;
        if let Some(difference) = first_difference(&begun, &to_toml(&plan.job)) {
            return Err(wrong(format!("cannot resume: the job has changed: {difference}")));
        }
        let (before, now) = (epochs(&begun).unwrap_or(0), plan.job.train.epochs);
        if now < before {
            return Err(wrong(format!(
                "cannot resume: the run was begun with train.epochs = {before}, the job has {now}: wanted {before} or \
                 more"
            )));
        }
        if manifest.data_blake3 != plan.data_hash()
            || manifest.initial_weights_blake3 != weights_file::weights_hash(&plan.weights)
        {
            let problem =
                "cannot resume: the tables or the initial weights have changed since the run began";
            return Err(wrong(problem.to_string()));
        }
        let (path, has_grown) = (path.to_path_buf(), now > before);
        let (is_new, is_new_folder) = (false, false);
        Ok(RunFolder { path, manifest, has_grown, is_new, is_new_folder, _lock: lock })
    }

    /// Writes down that the run goes on, to the end of the plan.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn go_on(&mut self, plan: &Plan) -> Result<()> {
        if self.manifest.status != Status::Running {
            self.manifest.status = Status::Running;
            self.manifest.weights_blake3 = None;
            self.write_manifest()?;
        }
        if self.has_grown {
            // After the manifest: a finished run has the steps of its job.
            write_whole(&self.path.join("job.toml"), to_toml(&plan.job).as_bytes())?;
        }
        Ok(())
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

    /// Whether the model is there already that the plan makes.
    pub fn is_finished(&self) -> bool {
        self.manifest.status == Status::Finished && !self.has_grown
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
    pub(crate) fn metrics(&self, bytes: u64, reporter: SharedReporter) -> Result<(LineFile, u64)> {
        let path = self.path.join("metrics.jsonl");
        let mut file = line_file::open(&path)?;
        let kept = line_file::cut(&mut file, bytes)
            .map_err(|error| Error::file(&path, "write it", &error))?;
        Ok((LineFile::start(&path, file, kept, reporter), kept))
    }

    /// Writes the model, then that the run is finished.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn finish(&mut self, model: &ModelFiles, step: u64, weights: &[f32]) -> Result<()> {
        model.write(step, weights)?;
        self.manifest.status = Status::Finished;
        self.manifest.weights_blake3 = Some(weights_file::weights_hash(weights));
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

    fn write_manifest(&self) -> Result<()> {
        write_json(&self.path.join("manifest.json"), &self.manifest)
    }
}

/// Reads a file of ours that names its format.
fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let fail = |problem: String| Error::File { path: path.to_path_buf(), problem };
    let damaged = |error: serde_json::Error| fail(format!("damaged: {error}"));
    // Before the rest: a later format may have anything there.
    let Versioned { format } = serde_json::from_str(text).map_err(damaged)?;
    if format > FORMAT {
        return Err(fail(newer(format)));
    }
    serde_json::from_str(text).map_err(damaged)
}

/// What to say of a file of a later format.
pub(crate) fn newer(format: u32) -> String {
    format!("written in format {format}, this program reads up to {FORMAT}: use a newer lockstep")
}

/// Takes the folder for this process.
fn lock(run: &Path) -> Result<File> {
    let path = run.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|error| Error::file(&path, "open the lock", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // What the holder wrote is for people only.
            let _ = file.read_to_string(&mut holder);
            let problem = format!("the run folder is in use by {}: stop that first", holder.trim());
            return Err(Error::File { path: run.to_path_buf(), problem });
        }
        Err(TryLockError::Error(error)) => return Err(Error::file(&path, "lock it", &error)),
    }
    let holder = format!("process {} on host {}\n", std::process::id(), crate::host_name());
    let write = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
    write.map_err(|error| Error::file(&path, "write the lock", &error))?;
    Ok(file)
}

/// The lines of a resolved job that determine the numbers. How the cluster runs and what is kept of it does not, and
/// where the tables are does not either: what is in them is compared by its hash. How many epochs are made does not change
/// those that were.
fn essentials(job: &str) -> impl Iterator<Item = &str> {
    const FREE: [&str; 3] = ["[cluster]", "[checkpoint]", "[journal]"];
    const FILES: [&str; 4] = ["train = ", "test = ", "validation = ", "initial_weights = "];
    let mut section = "";
    job.lines().filter(move |line| {
        if line.starts_with('[') {
            section = line;
        }
        let is_file = FILES.iter().any(|key| line.starts_with(key)) && !line.contains("fraction");
        let is_epochs = section == "[train]" && line.starts_with(EPOCHS);
        !FREE.contains(&section) && !is_file && !is_epochs
    })
}

/// The epochs of a resolved job.
fn epochs(job: &str) -> Option<u32> {
    job.lines().find_map(|line| line.strip_prefix(EPOCHS)?.trim().parse().ok())
}

/// The first line in which two resolved jobs differ, in words.
fn first_difference(before: &str, now: &str) -> Option<String> {
    let mut lines = (essentials(before), essentials(now));
    loop {
        match (lines.0.next(), lines.1.next()) {
            (None, None) => return None,
            (before, now) if before == now => {}
            (before, now) => {
                let line = |line: Option<&str>| line.unwrap_or("(nothing)").trim().to_string();
                return Some(format!("it was `{}`, it is `{}`", line(before), line(now)));
            }
        }
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_whole(path, json(path, value)?.as_bytes())
}

fn json(path: &Path, value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Internal(format!("cannot write {}: {error}", path.display())))?;
    Ok(text + "\n")
}
