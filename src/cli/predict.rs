//! Writing predictions where the user said.

use std::path::Path;

use lockstep_data::TableFile;

use super::{load_model, output as file, report_unseen};
use crate::report::{SharedConsole, data_output};
use lockstep_run::error::Result;
use lockstep_run::inference::{self, Predicted};
use lockstep_run::report::{Report, report};

/// Predicts for every row of a table, and writes that to a file, a pipe, or standard output (`-`).
///
/// # Errors
/// If the model or the table cannot be used, or the output is one that must not or cannot be written. An older file stays as
/// it was then.
pub(super) fn predict(
    run: &Path,
    data: &TableFile,
    output: &Path,
    force: bool,
    reporter: &SharedConsole,
) -> Result<()> {
    if output == Path::new("-") {
        let model = load_model(run, reporter)?;
        let Predicted { rows, unseen } = inference::predict(&model, data, &mut data_output())?;
        report_unseen(reporter, &unseen);
        report(reporter, &Report::Predicted { rows, output: None });
        return Ok(());
    }
    file::check(run, data, output, force)?;
    let model = load_model(run, reporter)?;
    let mut predictions = Vec::new();
    let Predicted { rows, unseen } = inference::predict(&model, data, &mut predictions)?;
    report_unseen(reporter, &unseen);
    file::write(output, &predictions, force)?;
    let output = Some(output.display().to_string());
    report(reporter, &Report::Predicted { rows, output });
    Ok(())
}
