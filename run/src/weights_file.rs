//! Weights as safetensors: `layers.{i}.kernel` `[in, out]` and `layers.{i}.bias` `[out]`, `f32`, as Keras lays them out.
//!
//! A run's own file has exactly that. What a run may start from (`import`) may be of another floating-point type, or PyTorch's:
//! it is converted, and that is told. Files of other programs are told apart by what is in them.

mod foreign;
pub mod import;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use lockstep_proto::layout::{Layout, Tensor};
use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::tensor_file::{TensorFile, Unusable};

/// A weights file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct WeightsError {
    /// The file.
    pub path: PathBuf,
    /// What was found, what was wanted.
    pub problem: String,
}

/// The hash that a run is known by: BLAKE3 of the flat vector as little-endian `f32`.
pub fn weights_hash(weights: &[f32]) -> String {
    blake3::hash(&lockstep_proto::values::encode(weights)).to_hex().to_string()
}

/// What a file of a run's weights says of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Of the run folder.
    pub format: u32,
    /// The step after which they were so.
    pub step: u64,
    /// Their hash.
    pub weights_blake3: String,
    /// Hash of all that makes a run's weights, so that runs of the same job write the same file; files of earlier versions
    /// do not have it.
    #[serde(default)]
    pub origin_blake3: Option<String>,
}

/// Where the stamp is in a file's metadata: at one key, so that equal files have equal bytes.
const STAMP: &str = "lockstep";

/// The file's bytes for these weights.
///
/// # Errors
/// If the library refuses a tensor, which the layout rules out.
pub fn to_bytes(
    layout: &Layout,
    weights: &[f32],
    stamp: &Stamp,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let metadata = HashMap::from([(STAMP.to_string(), serde_json::to_string(stamp)?)]);
    tensors_to_bytes(layout, weights, metadata)
}

/// The bytes of a file with these weights and these texts.
pub(crate) fn tensors_to_bytes(
    layout: &Layout,
    weights: &[f32],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes = lockstep_proto::values::encode(weights);
    let view = |tensor: &Tensor| {
        let range = tensor.range.start * 4..tensor.range.end * 4;
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[range])?;
        Ok::<_, safetensors::SafeTensorError>((tensor.name.clone(), view))
    };
    let views: Vec<_> =
        layout.tensors().iter().map(view).collect::<Result<_, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, Some(metadata))
}

/// Reads weights of exactly this layout, with what the file says of them if a run wrote it. Files of earlier versions say
/// nothing.
///
/// # Errors
/// If the file cannot be read, is damaged, holds other tensors than the network has, or weights other than it says.
pub fn read_stamped(
    path: &Path,
    layout: &Layout,
) -> Result<(Vec<f32>, Option<Stamp>), WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    let file = open(path, layout)?;
    check(file.tensors(), layout).map_err(fail)?;
    let stamp = file.metadata(STAMP).map(serde_json::from_str::<Stamp>).transpose();
    let stamp = stamp.map_err(|error| fail(format!("damaged: its metadata {STAMP:?}: {error}")))?;
    let bytes = file.bytes().map_err(|why| unusable(path, layout, why))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| fail(error.to_string()))?;
    let mut weights = vec![0.0; layout.len()];
    for tensor in layout.tensors() {
        let view = file.tensor(&tensor.name).map_err(|error| fail(error.to_string()))?;
        lockstep_proto::values::copy(view.data(), &mut weights[tensor.range.clone()]);
    }
    check_finite(&weights).map_err(fail)?;
    if let Some(Stamp { weights_blake3: wanted, .. }) = &stamp {
        let found = weights_hash(&weights);
        if found != *wanted {
            let problem = format!("damaged: the hash of its weights is {found}, it says {wanted}");
            return Err(fail(problem));
        }
    }
    Ok((weights, stamp))
}

/// Opens a file, or says what it is instead.
fn open(path: &Path, layout: &Layout) -> Result<TensorFile, WeightsError> {
    TensorFile::open(path).map_err(|why| unusable(path, layout, why))
}

fn unusable(path: &Path, layout: &Layout, why: Unusable) -> WeightsError {
    let problem = match why {
        Unusable::Unreadable(problem) => problem,
        Unusable::Damaged(why) => foreign::advice(path, layout)
            .unwrap_or_else(|| format!("not a whole safetensors file ({why}): copy it again")),
    };
    WeightsError { path: path.to_path_buf(), problem }
}

fn check_finite(weights: &[f32]) -> Result<(), String> {
    match weights.iter().position(|weight| !weight.is_finite()) {
        Some(at) => Err(format!("weight {at} is {}, wanted finite numbers", weights[at])),
        None => Ok(()),
    }
}

fn no_tensor(name: &str, found: &BTreeMap<String, TensorInfo>) -> String {
    let names: Vec<_> = found.keys().take(8).map(String::as_str).collect();
    format!("no tensor {name}, found {}", names.join(", "))
}

/// That the tensors of a file are those of a layout.
fn check(found: &BTreeMap<String, TensorInfo>, layout: &Layout) -> Result<(), String> {
    for tensor in layout.tensors() {
        let Some(info) = found.get(&tensor.name) else {
            return Err(no_tensor(&tensor.name, found));
        };
        let (dtype, shape) = (info.dtype, &info.shape);
        if dtype != Dtype::F32 || *shape != tensor.shape {
            let convert = match dtype {
                Dtype::F32 => String::new(),
                _ => format!(": convert the file, in Python: {}", foreign::CONVERT),
            };
            let (name, wanted) = (&tensor.name, &tensor.shape);
            return Err(format!(
                "tensor {name} is {dtype:?} {shape:?}, wanted F32 {wanted:?}{convert}"
            ));
        }
    }
    let known: BTreeSet<_> = layout.tensors().iter().map(|tensor| &tensor.name).collect();
    match found.keys().find(|name| !known.contains(name)) {
        Some(name) => Err(format!("tensor {name} is not one of the network's")),
        None => Ok(()),
    }
}
