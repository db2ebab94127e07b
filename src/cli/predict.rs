//! Writing predictions where the user said.

use std::path::Path;

use lockstep_data::{OutputFormat, Sink, TableFile};

use super::args::Predict;
use super::output::{self as file, Pending};
use super::{load_model, process, report_unseen};
use crate::report::{SharedConsole, data_output};
use lockstep_run::error::{Error, Result};
use lockstep_run::inference::{self, Predicted, Request};
use lockstep_run::report::{Report, report};

/// Predicts for every row of a table, and writes that to a file, a pipe, or standard output (`-`).
///
/// # Errors
/// If the model or the table cannot be used, or the output is one that must not or cannot be written. An older file stays as
/// it was then.
pub(super) fn predict(predict: Predict, reporter: &SharedConsole) -> Result<()> {
    let Predict { run, data, output, keep, force } = predict;
    let data = TableFile::guess(data, None);
    if output == Path::new("-") {
        file::check_standard_output(&data)?;
        let model = load_model(&run, reporter)?;
        let output = Path::new("standard output");
        let request = Request { data: &data, keep: &keep, format: OutputFormat::CSV, output };
        let to = Sink::Stream(data_output());
        let Predicted { rows, unseen } = inference::predict(&model, &request, to)?;
        report_unseen(reporter, &unseen);
        report(reporter, &Report::Predicted { rows, output: None });
        return Ok(());
    }
    let wrong = |problem| Error::File { path: output.clone(), problem };
    let format = OutputFormat::of_name(&output).map_err(wrong)?;
    file::check(&run, Some(&data), &output, force)?;
    let model = load_model(&run, reporter)?;
    let (pending, to) = Pending::begin(&output)?;
    if pending.path().is_none() && !format.can_stream() {
        let problem = "it is no regular file, wanted one for this format; write CSV or Parquet";
        return Err(wrong(problem.to_owned()));
    }
    process::remove_if_stopped(pending.path(), reporter);
    let request = Request { data: &data, keep: &keep, format, output: &output };
    let Predicted { rows, unseen } = inference::predict(&model, &request, to)?;
    pending.replace(force)?;
    report_unseen(reporter, &unseen);
    let output = Some(output.display().to_string());
    report(reporter, &Report::Predicted { rows, output });
    Ok(())
}
