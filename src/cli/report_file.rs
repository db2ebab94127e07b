//! The page of a run as one file.

use std::path::PathBuf;

use lockstep_run::error::Result;
use lockstep_run::report::{Report, report};
use lockstep_status::report::html;

use super::args::ReportFile;
use super::{output as file, process, status};
use crate::report::SharedConsole;

/// Writes the report of a run, which may still go on.
///
/// # Errors
/// If the folder is that of no run, or the output is one that must not or cannot be written.
pub(super) fn write(options: ReportFile, reporter: &SharedConsole) -> Result<()> {
    let ReportFile { run, output, force } = options;
    let output = output.unwrap_or_else(|| PathBuf::from("report.html"));
    file::check(&run, None, &output, force)?;
    let status = process::runtime()?.block_on(status::of_folder(&run))?;
    let html = html(&status);
    file::write(&output, html.as_bytes(), force)?;
    let (output, bytes) = (output.display().to_string(), html.len() as u64);
    report(reporter, &Report::Reported { output, bytes });
    Ok(())
}
