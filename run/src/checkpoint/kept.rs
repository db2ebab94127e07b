//! The checkpoint files of a run: which are kept, and how room is made for a new one.
//!
//! Counts only what is known to be whole and of this history: the one that the run went on from, those before it, and
//! those that this execution wrote. Anything else there (damaged, or of steps that are made again) goes. The newest whole one
//! stays until a newer is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::newest::{files, files_of};
use super::{Checkpoint, Origin};
use crate::error::{Error, Result};
use crate::failpoints::reach;
use crate::read_file;
use crate::whole_file::{PARTIAL, try_write_whole};

/// The checkpoints of a run folder that this process writes.
pub(crate) struct Kept {
    run: PathBuf,
    origin: Origin,
    keep: usize,
    /// Steps of whole ones.
    whole: BTreeSet<u64>,
}

impl Kept {
    /// Of a run that goes on after step `start`, or begins at 0.
    pub(crate) fn new(run: &Path, origin: Origin, keep: usize, start: u64) -> Kept {
        // What cannot be listed now is named when the first one is written.
        let there = files(run).unwrap_or_default();
        let whole =
            there.into_iter().map(|(step, _)| step.0).filter(|&step| step <= start && start > 0);
        Kept { run: run.to_path_buf(), origin, keep: keep.max(1), whole: whole.collect() }
    }

    /// Writes one. Where there is no room, old ones go first, but never the last whole one; `warn` is told which.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&mut self, checkpoint: &Checkpoint, warn: &dyn Fn(String)) -> Result<()> {
        let step = checkpoint.snapshot.step.0;
        let folder = self.run.join("checkpoints");
        fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, "make it", &error))?;
        let bytes = checkpoint
            .to_bytes(&self.origin)
            .map_err(|error| Error::Internal(format!("cannot lay it out: {error}")))?;
        self.sync_records()?;
        let path = self.path(step);
        // What stood there before is replaced.
        self.whole.remove(&step);
        while let Err(error) = try_write_whole(&path, &bytes) {
            let Some(removed) = no_room(&error).then(|| self.make_room()).flatten() else {
                return Err(Error::file(path, "write it", &error));
            };
            let why = crate::job::plain(&error);
            warn(format!(
                "no room for the checkpoint of step {step} ({why}): removed {}",
                removed.display()
            ));
        }
        self.whole.insert(step);
        Ok(())
    }

    /// The lines that a checkpoint counts on are there before it is.
    fn sync_records(&self) -> Result<()> {
        let metrics = self.run.join("metrics.jsonl");
        match read_file::open(&metrics).and_then(|(file, _)| file.sync_data()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file(metrics, "sync it", &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes all but the newest few, what is no use to this history, and what a killed process left of one.
    ///
    /// # Errors
    /// If one cannot be removed; the others are.
    pub(crate) fn prune(&mut self) -> Result<()> {
        while self.whole.len() > self.keep {
            self.whole.pop_first();
        }
        let old = files(&self.run)?.into_iter().filter(|(step, _)| !self.whole.contains(&step.0));
        let mut result = Ok(());
        for (_, path) in old.chain(files_of(&self.run, PARTIAL)?) {
            if let Err(error) = remove(&path) {
                result = Err(Error::file(path, "remove it", &error));
            }
        }
        result
    }

    /// Removes one that is no use, or else the oldest that is not the last; which.
    fn make_room(&mut self) -> Option<PathBuf> {
        let there = files(&self.run).ok()?;
        let useless = there.into_iter().filter(|(step, _)| !self.whole.contains(&step.0));
        for (_, path) in useless {
            if remove(&path).is_ok() {
                return Some(path);
            }
        }
        if self.whole.len() < 2 {
            return None;
        }
        let oldest = self.whole.pop_first()?;
        let path = self.path(oldest);
        remove(&path).is_ok().then_some(path)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.run.join("checkpoints").join(format!("step-{step:012}.safetensors"))
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    reach("checkpoint:pruned")?;
    // The room is there once the folder says so.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
