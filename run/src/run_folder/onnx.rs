//! `model/model.onnx` of a finished run: its model for other programs. The manifest has its hash; nothing here reads it otherwise.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Manifest;
use super::manifest::hash;
use crate::error::{Error, Result};
use crate::export::{self, ExportedModel, GraphInputs};
use crate::read_file;
use crate::whole_file::write_whole;

/// The file, in a run folder.
const ONNX: &str = "model/model.onnx";

/// Writes a model as a graph; its hash, unless the model is too large for one.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(run: &Path, model: &ExportedModel<'_>) -> Result<Option<String>> {
    let Some(bytes) = export::to_onnx(model, GraphInputs::Columns)? else { return Ok(None) };
    write_whole(&run.join(ONNX), &bytes)?;
    Ok(Some(hash(&bytes)))
}

/// Removes the graph, which is of other weights.
///
/// # Errors
/// If there is one, and it cannot be removed.
pub(super) fn remove(run: &Path) -> Result<()> {
    let path = run.join(ONNX);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::file(&path, "remove it", &error))
        }
        _ => Ok(()),
    }
}

/// That the graph in a run folder, if there is one, is the one that the manifest names, if it names one: earlier versions wrote
/// none.
///
/// # Errors
/// If it is not, or cannot be read.
pub(crate) fn check(run: &Path, manifest: &Manifest) -> Result<()> {
    let path = run.join(ONNX);
    let Some(wanted) = manifest.onnx_blake3.as_ref().filter(|_| path.exists()) else {
        return Ok(());
    };
    let bytes = read_file::bytes(&path, export::ONNX_BYTES_MAX as u64)
        .map_err(|error| Error::file(&path, "read it", &error))?;
    if hash(&bytes) == *wanted {
        return Ok(());
    }
    let problem = "altered, or of another run: its hash is not the one that manifest.json names; put it back, or write it \
                   anew with `lockstep export`";
    Err(Error::File { path, problem: problem.to_string() })
}
