//! A trained model for other programs: ONNX, safetensors, JSON. Reads and writes no file: whoever asks gets bytes.
//!
//! Everything about a model is in the file: its metadata have the network, the columns with all that was fitted to them, and the
//! labels. The same model gives the same bytes.

mod described;
mod json;
mod onnx;
mod tensors;

use lockstep_data::Schema;
use lockstep_model::{Network, Threshold};
use lockstep_parameters::choices;

use crate::error::{Error, Result};

/// All that is written of a model.
#[derive(Clone, Copy)]
pub struct ExportedModel<'a> {
    /// The network.
    pub network: &'a Network,
    /// How raw rows become rows of the network.
    pub schema: &'a Schema,
    /// The weights.
    pub weights: &'a [f32],
    /// Above which score a row is of class 1, where there is one target with two classes.
    pub threshold: Threshold,
}

/// What a model is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// An ONNX graph.
    #[default]
    Onnx,
    /// Weights by name, and what belongs to them as metadata.
    Safetensors,
    /// One text with everything.
    Json,
}

choices!(ExportFormat {
    "onnx" => Onnx,
    "safetensors" => Safetensors,
    "json" => Json,
});

/// What goes into an ONNX graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphInputs {
    /// The columns of a table, as they are in it.
    Columns,
    /// What the network gets of them: its numbers, and the place of each embedded category.
    Encoded,
}

/// Most bytes of an ONNX file: a protobuf message cannot be longer.
pub(crate) const ONNX_BYTES_MAX: usize = (1 << 31) - 1;

/// A model as the bytes of a file.
///
/// # Errors
/// If it is too large for the format.
pub fn to_bytes(
    model: &ExportedModel<'_>,
    format: ExportFormat,
    inputs: GraphInputs,
) -> Result<Vec<u8>> {
    match format {
        ExportFormat::Onnx => to_onnx(model, inputs)?.ok_or_else(|| {
            Error::Arguments(
                "the model is too large for ONNX, whose files have less than 2 GiB: export it as safetensors"
                    .to_string(),
            )
        }),
        ExportFormat::Safetensors => tensors::to_bytes(model),
        ExportFormat::Json => json::to_bytes(model),
    }
}

/// A model as the bytes of an ONNX file; `None` if it is too large for one.
///
/// # Errors
/// If its description cannot be written as JSON, which its type rules out.
pub(crate) fn to_onnx(model: &ExportedModel<'_>, inputs: GraphInputs) -> Result<Option<Vec<u8>>> {
    if model.weights.len() > ONNX_BYTES_MAX / 4 {
        return Ok(None);
    }
    let graph = described::graph(model, inputs);
    let bytes = onnx::to_bytes(&graph, &json::metadata(model)?);
    Ok(Some(bytes).filter(|bytes| bytes.len() <= ONNX_BYTES_MAX))
}
