//! Writing a run's model for other programs, where the user said.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use lockstep_run::error::{Error, Result};
use lockstep_run::export::{ExportFormat, GraphInputs, to_bytes};
use lockstep_run::report::{Report, report};

use super::args::Export;
use super::{load_model, output as file};
use crate::report::{SharedConsole, data_output};

/// Writes the newest model of a run to a file, or to standard output (`-`).
///
/// # Errors
/// If the model cannot be used or is too large for the format, or the output is one that must not or cannot be written.
pub(super) fn export(export: Export, reporter: &SharedConsole) -> Result<()> {
    let Export { run, format, output, encoded, force } = export;
    let format = ExportFormat::from(format);
    let inputs = match (encoded, format) {
        (false, _) => GraphInputs::Columns,
        (true, ExportFormat::Onnx) => GraphInputs::Encoded,
        (true, other) => {
            let problem = format!("--encoded is for --format onnx, found --format {other}");
            return Err(Error::Arguments(problem));
        }
    };
    let output = output.unwrap_or_else(|| PathBuf::from(format!("model.{format}")));
    let is_standard = output == Path::new("-");
    if !is_standard {
        file::check(&run, None, &output, force)?;
    }
    let model = load_model(&run, reporter)?;
    let bytes = to_bytes(&model.exported(), format, inputs)?;
    if is_standard {
        let written = data_output().write_all(&bytes);
        return written.map_err(|error| Error::file("standard output", "write", &error));
    }
    file::write(&output, &bytes, force)?;
    let (output, bytes) = (output.display().to_string(), bytes.len() as u64);
    report(reporter, &Report::Exported { output, bytes });
    Ok(())
}
