//! Weights as safetensors: `layers.{i}.kernel` `[in, out]` and `layers.{i}.bias` `[out]`, `f32`, as Keras lays them out.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use lockstep_proto::layout::{Layout, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::job::plain;

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
    let bytes = lockstep_proto::values::encode(weights);
    let view = |tensor: &Tensor| {
        let range = tensor.range.start * 4..tensor.range.end * 4;
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[range])?;
        Ok::<_, safetensors::SafeTensorError>((tensor.name.clone(), view))
    };
    let views: Vec<_> =
        layout.tensors().iter().map(view).collect::<Result<_, safetensors::SafeTensorError>>()?;
    let metadata = HashMap::from([(STAMP.to_string(), serde_json::to_string(stamp)?)]);
    safetensors::serialize(views, Some(metadata))
}

/// Reads weights of exactly this layout that a run wrote, with what the file says of them. Files of earlier versions say
/// nothing.
///
/// # Errors
/// As [`read`], and if the weights are not those that the file says.
pub fn read_stamped(
    path: &Path,
    layout: &Layout,
) -> Result<(Vec<f32>, Option<Stamp>), WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    // Read once: the file may be replaced meanwhile.
    let bytes = read_bytes(path)?;
    let weights = from_bytes(path, &bytes, layout)?;
    let header = SafeTensors::read_metadata(&bytes).map_err(|error| fail(error.to_string()))?.1;
    let Some(text) = header.metadata().as_ref().and_then(|metadata| metadata.get(STAMP)) else {
        return Ok((weights, None));
    };
    let stamp: Stamp = serde_json::from_str(text)
        .map_err(|error| fail(format!("damaged: its metadata {STAMP:?}: {error}")))?;
    let found = weights_hash(&weights);
    if found != stamp.weights_blake3 {
        return Err(fail(format!(
            "damaged: the hash of its weights is {found}, it says {}",
            stamp.weights_blake3
        )));
    }
    Ok((weights, Some(stamp)))
}

/// Reads weights of exactly this layout.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds other tensors than the network has.
pub fn read(path: &Path, layout: &Layout) -> Result<Vec<f32>, WeightsError> {
    from_bytes(path, &read_bytes(path)?, layout)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, WeightsError> {
    std::fs::read(path).map_err(|error| {
        let problem = format!("cannot read it: {}", plain(&error));
        WeightsError { path: path.to_path_buf(), problem }
    })
}

fn from_bytes(path: &Path, bytes: &[u8], layout: &Layout) -> Result<Vec<f32>, WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| fail(format!("not a whole safetensors file ({error}): copy it again")))?;
    let mut found: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let mut weights = vec![0.0; layout.len()];
    for tensor in layout.tensors() {
        let Some(view) = found.remove(&tensor.name) else {
            let names: Vec<_> = file.names().into_iter().take(8).collect();
            let names = names.join(", ");
            return Err(fail(format!("no tensor {}, found {names}", tensor.name)));
        };
        if view.dtype() != Dtype::F32 || view.shape() != tensor.shape {
            return Err(fail(format!(
                "tensor {} is {:?} {:?}, wanted F32 {:?}",
                tensor.name,
                view.dtype(),
                view.shape(),
                tensor.shape
            )));
        }
        lockstep_proto::values::copy(view.data(), &mut weights[tensor.range.clone()]);
    }
    if let Some(name) = found.keys().next() {
        return Err(fail(format!("tensor {name} is none of the network's")));
    }
    match weights.iter().position(|weight| !weight.is_finite()) {
        Some(at) => Err(fail(format!("weight {at} is {}, wanted finite numbers", weights[at]))),
        None => Ok(weights),
    }
}
