//! The page of a run as one file, with how well its model does; or several runs side by side.

use std::path::{Path, PathBuf};

use lockstep_run::comparison::differences;
use lockstep_run::error::{Error, Result};
use lockstep_run::examination::examine;
use lockstep_run::report::{Report, SharedReporter, report};
use lockstep_status::Status;
use lockstep_status::report::{comparison_html, html};
use lockstep_status::value::Comparison;
use serde::Serialize;

use super::args::ReportFile;
use super::{output as file, process, status};
use crate::report::SharedConsole;

/// Writes the report of one run or several, which may still go on.
///
/// # Errors
/// If a folder is that of no run, or the output is one that must not or cannot be written.
pub(super) fn write(options: ReportFile, reporter: &SharedConsole) -> Result<()> {
    let output = options.output.clone().unwrap_or_else(|| PathBuf::from("report.html"));
    for run in &options.runs {
        file::check(run, None, &output, options.force)?;
    }
    let is_json = output.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let bytes = match &options.runs[..] {
        [run] => {
            let status = of_one(run, &options, reporter)?;
            if is_json { json(&status) } else { html(&status).into_bytes() }
        }
        runs => {
            let comparison = of_several(runs, &options)?;
            if is_json { json(&comparison) } else { comparison_html(&comparison).into_bytes() }
        }
    };
    file::write(&output, &bytes, options.force)?;
    let (output, bytes) = (output.display().to_string(), bytes.len() as u64);
    report(reporter, &Report::Reported { output, bytes });
    Ok(())
}

/// A run with how well its model does, if that can be found out.
fn of_one(run: &Path, options: &ReportFile, reporter: &SharedConsole) -> Result<Status> {
    let mut status = process::runtime()?.block_on(status::of_folder(run))?;
    if options.no_evaluation {
        return Ok(status);
    }
    let shared: SharedReporter = reporter.clone();
    match examine(run, options.importance, &shared) {
        Ok(found) => status.evaluation = Some(found),
        Err(error) => {
            let message = format!("the report does without an evaluation of the model: {error}");
            report(reporter, &Report::Warning { message });
            status.evaluation_missing = Some(error.to_string());
        }
    }
    Ok(status)
}

fn of_several(runs: &[PathBuf], options: &ReportFile) -> Result<Comparison> {
    if options.importance {
        let problem = "--importance is for the report of one run, and there are several";
        return Err(Error::Arguments(problem.to_string()));
    }
    status::check_together(runs)?;
    let folders = runs.iter().map(|run| run.display().to_string());
    let found: Vec<_> = folders.zip(status::of_folders(runs)?).collect();
    Ok(Comparison::new(&found, differences(runs)?))
}

/// Numbers, names and lists of them can always be written.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
