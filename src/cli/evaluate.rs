//! Evaluating a model on a table: the result to standard output and, where the user said so, as JSON to a file.

use lockstep_data::TableFile;
use lockstep_run::error::Result;
use lockstep_run::inference::{self, Evaluation};
use lockstep_run::report::{Report, report};

use super::args::Evaluate;
use super::{load_model, output as file, report_unseen};
use crate::report::SharedConsole;

/// Evaluates a run's model.
///
/// # Errors
/// If the model or the table cannot be used, or the output is one that must not or cannot be written.
pub(super) fn evaluate(evaluate: Evaluate, reporter: &SharedConsole) -> Result<()> {
    let Evaluate { run, data, labels, output, force } = evaluate;
    let data = TableFile::guess(data, labels);
    if let Some(output) = &output {
        file::check(&run, Some(&data), output, force)?;
    }
    let model = load_model(&run, reporter)?;
    let Evaluation { rows, left_out, unseen, values, loss_is_scaled, classes, warning } =
        inference::evaluate(&model, &data)?;
    report_unseen(reporter, &unseen);
    if let Some(message) = warning {
        report(reporter, &Report::Warning { message });
    }
    let result = Report::Evaluated { rows, left_out, values, loss_is_scaled, classes };
    if let Some(output) = &output {
        // Numbers, names and lists of them can always be written.
        let mut json = serde_json::to_vec(&result).unwrap_or_default();
        json.push(b'\n');
        file::write(output, &json, force)?;
    }
    report(reporter, &result);
    Ok(())
}
