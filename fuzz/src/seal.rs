//! Checksums over what the fuzzer has altered: without them nothing but checksums would ever be tested.
//!
//! Does over again what the program does when it writes a file, on files that it would never write.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// The metadata key at which position and stamp are.
pub(crate) const TEXT: &str = "lockstep";

/// A safetensors file with other texts in its metadata; `None` if it is no such file. `checksum` makes the texts from
/// those that are there and the tensors.
fn with_metadata(
    file: &[u8],
    checksum: impl FnOnce(&mut HashMap<String, String>, &SafeTensors<'_>) -> Option<()>,
) -> Option<Vec<u8>> {
    let (_, header) = SafeTensors::read_metadata(file).ok()?;
    let tensors = SafeTensors::deserialize(file).ok()?;
    let mut metadata = header.metadata().clone()?;
    checksum(&mut metadata, &tensors)?;
    let views: Vec<(String, TensorView<'_>)> = tensors.tensors();
    safetensors::serialize(views, Some(metadata)).ok()
}

/// A checkpoint, its checksum made anew: over the position, then each vector's length and bytes.
pub(crate) fn checkpoint(file: &[u8]) -> Option<Vec<u8>> {
    with_metadata(file, |metadata, tensors| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(metadata.get(TEXT)?.as_bytes());
        let names = std::iter::once("weights".to_owned());
        for name in names.chain((0..).map(|moment| format!("moments.{moment}"))) {
            let Ok(vector) = tensors.tensor(&name) else { break };
            hasher.update(&(vector.data().len() as u64).to_le_bytes());
            hasher.update(vector.data());
        }
        metadata.insert("blake3".to_owned(), hasher.finalize().to_hex().to_string());
        Some(())
    })
}

/// A weights file, the hash in its stamp made anew: over its tensors in this order.
pub(crate) fn weights<'a>(
    file: &[u8],
    names: impl IntoIterator<Item = &'a str>,
) -> Option<Vec<u8>> {
    with_metadata(file, |metadata, tensors| {
        let mut hasher = blake3::Hasher::new();
        for name in names {
            hasher.update(tensors.tensor(name).ok()?.data());
        }
        let mut stamp: Value = serde_json::from_str(metadata.get(TEXT)?).ok()?;
        let hash = hasher.finalize().to_hex().to_string();
        stamp.as_object_mut()?.insert("weights_blake3".to_owned(), hash.into());
        metadata.insert(TEXT.to_owned(), stamp.to_string());
        Some(())
    })
}
