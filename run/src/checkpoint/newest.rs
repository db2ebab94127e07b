//! Which checkpoints there are in a run folder, and the newest of them that can be used.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep_proto::ids::Step;

use super::{Checkpoint, Expected, Unusable};
use crate::error::{Error, Result};
use crate::format::{FORMAT, newer};

/// The newest whole checkpoint of a run folder, if there is one; others are named to `warn` and passed over.
///
/// # Errors
/// If the folder cannot be read, or the newest is of a later format.
pub fn newest(
    run: &Path,
    expected: &Expected,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Checkpoint>> {
    newest_until(run, Step(u64::MAX), expected, warn)
}

/// The same among those at or before a step.
///
/// # Errors
/// As [`newest`].
pub fn newest_until(
    run: &Path,
    step: Step,
    expected: &Expected,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Checkpoint>> {
    // Later ones are not read only to be passed over.
    for (_, path) in files(run)?.into_iter().rev().filter(|(named, _)| *named <= step) {
        match Checkpoint::read(&path, expected) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(Unusable::Damaged(problem)) => {
                warn(format!("checkpoint {} is skipped: {problem}", path.display()))
            }
            Err(Unusable::Later(format)) => {
                return Err(Error::File { path, problem: newer(format, FORMAT) });
            }
        }
    }
    Ok(None)
}

/// The step in a checkpoint's name.
pub(super) fn step_named(path: &Path) -> Option<Step> {
    path.file_stem()?.to_str()?.strip_prefix("step-")?.parse().ok().map(Step)
}

/// The checkpoints of a run folder and the steps in their names, oldest first.
pub(crate) fn files(run: &Path) -> Result<Vec<(Step, PathBuf)>> {
    files_of(run, "safetensors")
}

pub(super) fn files_of(run: &Path, extension: &str) -> Result<Vec<(Step, PathBuf)>> {
    let folder = run.join("checkpoints");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(folder, "read the checkpoints", &error)),
    };
    let named = |path: PathBuf| {
        let is_ours = path.extension().is_some_and(|found| found == extension);
        is_ours.then(|| step_named(&path)).flatten().map(|step| (step, path))
    };
    let mut files: Vec<_> = entries.filter_map(|entry| named(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}
