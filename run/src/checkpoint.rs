//! Checkpoints: the state of a run between two passes, in files of its run folder.
//!
//! `checkpoints/step-0000001234.safetensors` holds tensors `weights`, `moments.0`, ... (flat vectors), `average` where weights are
//! averaged, `accumulated` between the steps of one update, `best_weights` where
//! early stopping is to restore them and they are not the weights, and, as metadata, the
//! position, the records so far and a BLAKE3 checksum over all of it. Files are written whole, off the training's
//! path, after the records that they count on; the newest few are kept. A file that is cut short or altered is told apart
//! by its checksum, one that is not of this run or does not hold together by what is in it; one of a later format is never
//! passed over for an older one.

mod expected;
mod kept;
mod newest;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lockstep_coordinator::Snapshot;
use lockstep_coordinator::policy::{Best, Plateau, Watch};
use lockstep_proto::ids::{Pass, Step};
use lockstep_proto::layout::Layout;
use lockstep_proto::values;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::format::{FORMAT, newer};
use crate::report::{Values, null_as_nan};
use crate::tensor_file::{self, TensorFile};
use crate::validated::Validated;
use crate::weights_file::WeightsError;

pub use expected::{Expected, Origin};
pub(crate) use kept::Kept;
pub(crate) use newest::files;
use newest::step_named;
pub use newest::{newest, newest_until};

/// What the records need to go on: see `record`.
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
    /// BLAKE3 hash of so many of its bytes. Checkpoints of earlier versions do not have it.
    #[serde(default)]
    pub metrics_blake3: Option<String>,
    /// Loss and metrics of the best epoch so far, where early stopping watches them.
    #[serde(default, skip_serializing_if = "Values::is_empty", deserialize_with = "null_as_nan")]
    pub best_values: Values,
    /// What the validation table says of the last epoch that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<Validated>,
    /// The same of the best epoch so far, where early stopping watches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validated: Option<Validated>,
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
    /// Files of earlier versions do not have it.
    #[serde(default)]
    origin: Option<Origin>,
    /// Where a run is asked to stop early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_stopping: Option<Seen>,
    /// Where the learning rate is reduced on a plateau.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plateau: Option<Reduced>,
}

/// What a learning rate that is reduced on a plateau has seen.
#[derive(Serialize, Deserialize)]
struct Reduced {
    learning_rate: f32,
    best_value: Option<f64>,
    wait: u32,
    cooldown: u32,
}

impl From<Plateau> for Reduced {
    fn from(seen: Plateau) -> Reduced {
        let Plateau { learning_rate, best, wait, cooldown } = seen;
        Reduced { learning_rate, best_value: best, wait, cooldown }
    }
}

impl From<Reduced> for Plateau {
    fn from(seen: Reduced) -> Plateau {
        let Reduced { learning_rate, best_value, wait, cooldown } = seen;
        Plateau { learning_rate, best: best_value, wait, cooldown }
    }
}

/// What early stopping has seen.
#[derive(Serialize, Deserialize)]
struct Seen {
    best_epoch: Option<u32>,
    best_value: Option<f64>,
    wait: u32,
    stopped: bool,
}

impl From<Watch> for Seen {
    fn from(watch: Watch) -> Seen {
        let Watch { best, wait, stopped } = watch;
        let best_epoch = best.map(|best| best.epoch);
        Seen { best_epoch, best_value: best.map(|best| best.value), wait, stopped }
    }
}

impl From<Seen> for Watch {
    fn from(seen: Seen) -> Watch {
        let Seen { best_epoch, best_value, wait, stopped } = seen;
        // One without the other is no number, which is found out with the rest.
        let value = best_value.unwrap_or(f64::NAN);
        Watch { best: best_epoch.map(|epoch| Best { epoch, value }), wait, stopped }
    }
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

/// What a file says, before anything of it is believed.
struct Read {
    position: Position,
    weights: Vec<f32>,
    moments: Vec<Vec<f32>>,
    average: Option<Vec<f32>>,
    accumulated: Option<Vec<f32>>,
    best_weights: Option<Arc<Vec<f32>>>,
}

/// The tensors with the weights, with their averages, with the gradients of steps without an update, and with the best weights.
const WEIGHTS: &str = "weights";
const AVERAGE: &str = "average";
const ACCUMULATED: &str = "accumulated";
const BEST_WEIGHTS: &str = "best_weights";

/// Metadata keys.
const POSITION: &str = "lockstep";
const CHECKSUM: &str = "blake3";

impl Checkpoint {
    /// The file's bytes for this checkpoint of a run.
    ///
    /// # Errors
    /// If the library refuses a tensor, which flat vectors rule out.
    pub fn to_bytes(&self, origin: &Origin) -> std::result::Result<Vec<u8>, SafeTensorError> {
        let Snapshot { pass, step, weights, moments, watch, best_weights, .. } = &self.snapshot;
        let Snapshot { average, accumulated, plateau, .. } = &self.snapshot;
        let position = Position {
            format: FORMAT,
            pass: pass.0,
            step: step.0,
            records: self.records.clone(),
            origin: Some(origin.clone()),
            early_stopping: watch.map(Seen::from),
            plateau: plateau.map(Reduced::from),
        };
        let position = serde_json::to_string(&position)?;
        let numbered = moments.iter().enumerate();
        let moments = numbered.map(|(i, moment)| (format!("moments.{i}"), values::encode(moment)));
        let weights = (WEIGHTS.to_string(), values::encode(weights));
        let named = |name: &str, of: &Option<Vec<f32>>| {
            of.as_ref().map(|values| (name.to_string(), values::encode(values)))
        };
        let between = [named(AVERAGE, average), named(ACCUMULATED, accumulated)];
        let best =
            best_weights.as_ref().map(|best| (BEST_WEIGHTS.to_string(), values::encode(best)));
        let frames: Vec<_> = std::iter::once(weights)
            .chain(moments)
            .chain(between.into_iter().flatten())
            .chain(best)
            .collect();
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

    fn read(path: &Path, expected: &Expected) -> std::result::Result<Checkpoint, Unusable> {
        let file = open(path)?;
        check_format(&file)?;
        expected.check_tensors(file.tensors())?;
        let Read { position, weights, moments, average, accumulated, best_weights } =
            read_values(file)?;
        expected.check_origin(position.origin.as_ref())?;
        let Position { pass, step, records, early_stopping, plateau, .. } = position;
        let (pass_next, at) = (Pass(pass), Step(step));
        let watch = early_stopping.map(Watch::from);
        let snapshot = Snapshot {
            pass: pass_next,
            step: at,
            weights,
            moments,
            average,
            accumulated,
            plateau: plateau.map(Plateau::from),
            watch,
            best_weights,
        };
        let checkpoint = Checkpoint { snapshot, records };
        expected.check(&checkpoint)?;
        match step_named(path) {
            Some(named) if named.0 != step => {
                Err(format!("its name says step {}, it holds step {step}", named.0).into())
            }
            _ => Ok(checkpoint),
        }
    }
}

/// The weights of a checkpoint file, wherever it is, for a network of this layout; `None` if it is no checkpoint.
///
/// # Errors
/// If it is one, and is damaged or of another network.
pub fn read_weights(
    path: &Path,
    layout: &Layout,
) -> std::result::Result<Option<Vec<f32>>, WeightsError> {
    // Whoever reads other files says what is wrong with them.
    let Ok(file) = open(path) else { return Ok(None) };
    if !file.tensors().contains_key(WEIGHTS) || file.metadata(POSITION).is_none() {
        return Ok(None);
    }
    let read = || {
        check_format(&file)?;
        // Two moments at most, the averages, the accumulated gradients and the best weights, of as many values.
        let vectors = file.tensors().values().map(|info| info.shape.iter().product::<usize>());
        if file.tensors().len() > 6 || vectors.max() != Some(layout.len()) {
            return Err(format!("wanted a checkpoint of {} weights", layout.len()).into());
        }
        let Read { position, weights, .. } = read_values(file)?;
        let is_same = |origin: &Origin| origin.tensors == expected::tensors(layout);
        match position.origin {
            Some(origin) if is_same(&origin) => Ok(weights),
            Some(_) => Err("it is a checkpoint of another network".into()),
            None => Err("it does not say of which network it is: name its run folder".into()),
        }
    };
    let problem = match read() {
        Ok(weights) => return Ok(Some(weights)),
        Err(Unusable::Damaged(problem)) => problem,
        Err(Unusable::Later(format)) => newer(format, FORMAT),
    };
    Err(WeightsError { path: path.to_path_buf(), problem })
}

fn open(path: &Path) -> std::result::Result<TensorFile, Unusable> {
    Ok(TensorFile::open(path).map_err(unusable)?)
}

fn unusable(why: tensor_file::Unusable) -> String {
    match why {
        tensor_file::Unusable::Unreadable(problem) => problem,
        tensor_file::Unusable::Damaged(why) => format!("cut short or altered ({why})"),
    }
}

/// Before the rest: a later format may have anything there.
fn check_format(file: &TensorFile) -> std::result::Result<(), Unusable> {
    let text = file.metadata(POSITION).ok_or("not a checkpoint: it does not say what it is of")?;
    match serde_json::from_str(text) {
        Ok(Versioned { format }) if format > FORMAT => Err(Unusable::Later(format)),
        _ => Ok(()),
    }
}

/// What it holds, if its checksum is right.
fn read_values(file: TensorFile) -> std::result::Result<Read, Unusable> {
    let text = |key| {
        let found = file.metadata(key).ok_or(format!("not a checkpoint: it has no {key:?}"));
        found.map(str::to_string)
    };
    let (position, wanted) = (text(POSITION)?, text(CHECKSUM)?);
    let bytes = file.bytes().map_err(unusable)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let vector = |name: &str| file.tensor(name).ok().map(|view| view.data());
    let weights = vector(WEIGHTS).ok_or("not a checkpoint: it has no weights")?;
    let moments: Vec<_> = (0..).map_while(|i| vector(&format!("moments.{i}"))).collect();
    let (average, accumulated) = (vector(AVERAGE), vector(ACCUMULATED));
    let best = vector(BEST_WEIGHTS);
    let all = std::iter::once(weights).chain(moments.iter().copied());
    let all = all.chain(average).chain(accumulated).chain(best);
    if checksum(&position, all) != wanted {
        return Err("altered: its checksum is wrong".into());
    }
    let position = serde_json::from_str(&position)
        .map_err(|error| format!("not a checkpoint of this version: {error}"))?;
    let decode = |bytes: &[u8]| values::decode(bytes).ok_or("its values are not whole");
    let moments = moments.into_iter().map(decode).collect::<std::result::Result<_, _>>()?;
    let average = average.map(decode).transpose()?;
    let accumulated = accumulated.map(decode).transpose()?;
    let best_weights = best.map(decode).transpose()?.map(Arc::new);
    Ok(Read { position, weights: decode(weights)?, moments, average, accumulated, best_weights })
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

#[cfg(test)]
mod tests;
