//! A model as a safetensors file: its weights by their names, and as metadata one JSON text with what belongs to them.

use std::collections::HashMap;

use super::{ExportedModel, json};
use crate::error::{Error, Result};
use crate::weights_file;

/// The one key of the metadata: of more than one, no order is kept, and equal models would be different files.
const KEY: &str = "lockstep_model";

/// A model as a safetensors file.
pub(super) fn to_bytes(model: &ExportedModel<'_>) -> Result<Vec<u8>> {
    let unwritten = |error: &dyn std::fmt::Display| {
        Error::Internal(format!("cannot write the weights: {error}"))
    };
    // Each is JSON already.
    let parts: Vec<String> =
        json::metadata(model)?.iter().map(|(key, text)| format!("\"{key}\":{text}")).collect();
    let text = format!("{{{}}}", parts.join(","));
    let metadata = HashMap::from([(KEY.to_string(), text)]);
    let layout = model.network.layout();
    weights_file::tensors_to_bytes(layout, model.weights, metadata)
        .map_err(|error| unwritten(&error))
}
