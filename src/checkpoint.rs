//! Checkpoints: the state of a run between two passes, in files of its run folder.
//!
//! `checkpoints/step-0000001234.safetensors` holds tensors `weights`, `moments.0`, ... (flat vectors) and, as metadata, the
//! position, the records so far and a BLAKE3 checksum over all of it. Files are written whole, off the training's
//! path, after the records that they count on; the newest few are kept. A file that is cut short or altered is told apart
//! by its checksum; one of a later format is never passed over for an older one.

mod writer;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_coordinator::Snapshot;
use lockstep_proto::ids::{Pass, Step};
use lockstep_proto::values;
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::run_folder::{FORMAT, newer};

pub use writer::{Handed, Writer};

/// What the records need to go on: see [`crate::record`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordState {
    /// Sums over the open epoch's steps so far.
    pub epoch_sums: Vec<f64>,
    /// The rows that they are over.
    pub epoch_rows: u64,
    /// Rows of all steps so far.
    pub rows: u64,
    /// The last step's epoch.
    pub epoch: u32,
    /// Seconds from the first step to the last, over all executions.
    pub seconds: f64,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
}

/// A checkpoint, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where the run goes on.
    pub snapshot: Snapshot,
    /// What it had recorded.
    pub records: RecordState,
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Position {
    format: u32,
    pass: u64,
    step: u64,
    records: RecordState,
}

/// Why a file cannot be used.
enum Unusable {
    /// It is not what was written; an older one may do.
    Damaged(String),
    /// A later program wrote it.
    Later(u32),
}

impl<T: Into<String>> From<T> for Unusable {
    fn from(problem: T) -> Unusable {
        Unusable::Damaged(problem.into())
    }
}

/// Metadata keys.
const POSITION: &str = "lockstep";
const CHECKSUM: &str = "blake3";

impl Checkpoint {
    fn to_bytes(&self) -> std::result::Result<Vec<u8>, SafeTensorError> {
        let Snapshot { pass, step, weights, moments } = &self.snapshot;
        let records = self.records.clone();
        let position = Position { format: FORMAT, pass: pass.0, step: step.0, records };
        let position = serde_json::to_string(&position)?;
        let numbered = moments.iter().enumerate();
        let moments = numbered.map(|(i, moment)| (format!("moments.{i}"), values::encode(moment)));
        let weights = ("weights".to_string(), values::encode(weights));
        let frames: Vec<_> = std::iter::once(weights).chain(moments).collect();
        let checksum = checksum(&position, frames.iter().map(|(_, frame)| frame.as_ref()));
        let views: Vec<_> = frames
            .iter()
            .map(|(name, frame)| {
                Ok((name, TensorView::new(Dtype::F32, vec![frame.len() / 4], frame)?))
            })
            .collect::<std::result::Result<_, SafeTensorError>>()?;
        let metadata =
            HashMap::from([(POSITION.to_string(), position), (CHECKSUM.to_string(), checksum)]);
        safetensors::serialize(views, Some(metadata))
    }

    fn read(path: &Path) -> std::result::Result<Checkpoint, Unusable> {
        let bytes = fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
        let damaged = |error: SafeTensorError| format!("cut short or altered ({error})");
        let (_, header): (usize, Metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let metadata = header.metadata().as_ref().ok_or("no checkpoint: it has no metadata")?;
        let text = |key| metadata.get(key).ok_or(format!("no checkpoint: it has no {key:?}"));
        // Before the rest: a later format may have anything there.
        let format = serde_json::from_str(text(POSITION)?).map(|Versioned { format }| format);
        if let Some(format) = format.ok().filter(|&format| format > FORMAT) {
            return Err(Unusable::Later(format));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let vector = |name: &str| file.tensor(name).ok().map(|view| view.data().to_vec());
        let weights = vector("weights").ok_or("no checkpoint: it has no weights")?;
        let moments: Vec<Vec<u8>> = (0..).map_while(|i| vector(&format!("moments.{i}"))).collect();
        let all = std::iter::once(&weights).chain(&moments).map(Vec::as_slice);
        if checksum(text(POSITION)?, all) != *text(CHECKSUM)? {
            return Err("altered: its checksum is wrong".into());
        }
        let position: Position = serde_json::from_str(text(POSITION)?)
            .map_err(|error| format!("no checkpoint of this version: {error}"))?;
        let decode = |bytes: &[u8]| values::decode(bytes).ok_or("its values are not whole");
        let snapshot = Snapshot {
            pass: Pass(position.pass),
            step: Step(position.step),
            weights: decode(&weights)?,
            moments: moments
                .iter()
                .map(|moment| decode(moment))
                .collect::<std::result::Result<_, _>>()?,
        };
        Ok(Checkpoint { snapshot, records: position.records })
    }
}

fn checksum<'a>(position: &str, vectors: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(position.as_bytes());
    for vector in vectors {
        hasher.update(&(vector.len() as u64).to_le_bytes());
        hasher.update(vector);
    }
    hasher.finalize().to_hex().to_string()
}

/// The newest whole checkpoint of a run folder, if there is one; damaged ones are named to `warn` and passed over.
///
/// # Errors
/// If the folder cannot be read, or the newest is of a later format.
pub fn newest(run: &Path, warn: &mut dyn FnMut(String)) -> Result<Option<Checkpoint>> {
    newest_until(run, Step(u64::MAX), warn)
}

/// The same among those at or before a step.
///
/// # Errors
/// As [`newest`].
pub fn newest_until(
    run: &Path,
    step: Step,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Checkpoint>> {
    for path in files(run)?.into_iter().rev() {
        // Not read only to be passed over. A name that says nothing is no reason to.
        if step_named(&path).is_some_and(|named| named > step) {
            continue;
        }
        match Checkpoint::read(&path) {
            Ok(checkpoint) if checkpoint.snapshot.step > step => {}
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(Unusable::Damaged(problem)) => {
                warn(format!("checkpoint {} is passed over: {problem}", path.display()))
            }
            Err(Unusable::Later(format)) => {
                return Err(Error::File { path, problem: newer(format) });
            }
        }
    }
    Ok(None)
}

/// The step in a checkpoint's name.
fn step_named(path: &Path) -> Option<Step> {
    path.file_stem()?.to_str()?.strip_prefix("step-")?.parse().ok().map(Step)
}

/// The checkpoints of a run folder, oldest first.
fn files(run: &Path) -> Result<Vec<PathBuf>> {
    files_of(run, "safetensors")
}

fn files_of(run: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = run.join("checkpoints");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(folder, "read the checkpoints", &error)),
    };
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("step-"))
            && path.extension().is_some_and(|found| found == extension)
    };
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::writer::{prune, write};
    use super::*;
    use crate::whole_file::PARTIAL;

    fn checkpoint(step: u64) -> Checkpoint {
        let records =
            RecordState { epoch_sums: vec![0.1, f64::MIN_POSITIVE], ..Default::default() };
        let snapshot = Snapshot {
            pass: Pass(step + 1),
            step: Step(step),
            weights: vec![1.0, -0.0, 3.5e-42],
            moments: vec![vec![0.5; 3], vec![0.25; 3]],
        };
        Checkpoint { snapshot, records }
    }

    #[test]
    fn the_newest_whole_one_is_read_and_old_ones_go() {
        let run = tempfile::tempdir().unwrap();
        for step in [5, 9, 10, 200] {
            fs::create_dir_all(run.path().join("checkpoints")).unwrap();
            fs::write(run.path().join("checkpoints/step-000000000001.partial"), "half").unwrap();
            write(run.path(), &checkpoint(step)).unwrap();
            prune(run.path(), 3).unwrap();
        }
        let files = files(run.path()).unwrap();
        assert_eq!(files.len(), 3);
        assert_eq!(files_of(run.path(), PARTIAL).unwrap(), [] as [PathBuf; 0]);
        let until = |step| {
            let found = newest_until(run.path(), Step(step), &mut |_| panic!("all are whole"));
            found.unwrap().map(|found| found.snapshot.step.0)
        };
        assert_eq!([8, 9, 199, 200].map(until), [None, Some(9), Some(10), Some(200)]);
        let mut warnings = Vec::new();
        let mut newest = || newest(run.path(), &mut |warning| warnings.push(warning)).unwrap();
        assert_eq!(newest(), Some(checkpoint(200)));
        let bytes = fs::read(&files[2]).unwrap();
        fs::write(&files[2], &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(newest(), Some(checkpoint(10)));
        let mut bytes = fs::read(&files[1]).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&files[1], &bytes).unwrap();
        assert_eq!(newest(), Some(checkpoint(9)));
        fs::write(&files[0], b"").unwrap();
        assert_eq!(newest(), None);
        assert!(warnings[0].contains("cut short") && warnings[1].contains("step-000000000200"));
        assert!(warnings[2].contains("checksum"), "{warnings:?}");
    }

    #[test]
    fn one_of_a_later_format_is_not_passed_over() {
        let run = tempfile::tempdir().unwrap();
        write(run.path(), &checkpoint(5)).unwrap();
        // A later program may lay out everything else as it likes.
        let (position, zero) = (format!("{{\"format\":{}}}", FORMAT + 1), [0; 8]);
        let view = TensorView::new(Dtype::F64, vec![1], &zero).unwrap();
        let metadata = HashMap::from([(POSITION.to_string(), position)]);
        let bytes = safetensors::serialize([("values", view)], Some(metadata)).unwrap();
        let path = run.path().join("checkpoints/step-000000000009.safetensors");
        fs::write(&path, bytes).unwrap();
        let error = newest(run.path(), &mut |warning| panic!("{warning}")).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let error = error.to_string();
        assert!(error.contains("step-000000000009.safetensors: written in format 2"), "{error}");
        assert!(error.contains("reads up to 1: use a newer lockstep"), "{error}");
    }

    #[test]
    fn a_folder_without_checkpoints_has_none() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(newest(run.path(), &mut |_| panic!("nothing to warn of")).unwrap(), None);
    }
}
