//! Weights as safetensors: `layers.{i}.kernel` `[in, out]` and `layers.{i}.bias` `[out]`, `f32`, as Keras lays them out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockstep_proto::layout::{Layout, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

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

/// The file's bytes for these weights.
///
/// # Errors
/// If the library refuses a tensor, which the layout rules out.
pub fn to_bytes(layout: &Layout, weights: &[f32]) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes = lockstep_proto::values::encode(weights);
    let view = |tensor: &Tensor| {
        let range = tensor.range.start * 4..tensor.range.end * 4;
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[range])?;
        Ok::<_, safetensors::SafeTensorError>((tensor.name.clone(), view))
    };
    let views: Vec<_> =
        layout.tensors().iter().map(view).collect::<Result<_, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

/// Reads weights of exactly this layout.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds other tensors than the network has.
pub fn read(path: &Path, layout: &Layout) -> Result<Vec<f32>, WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    let bytes =
        std::fs::read(path).map_err(|error| fail(format!("cannot read it: {}", plain(&error))))?;
    let file = SafeTensors::deserialize(&bytes)
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
