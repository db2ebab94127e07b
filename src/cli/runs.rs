//! The runs of a folder: what each is, how it went, and what came of it.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use lockstep_run::error::{Error, Result};
use lockstep_run::report::figures::{figure, side_by_side};
use lockstep_run::status_of::{RunLine, run_line};
use serde::Serialize;

use super::args::Runs;
use crate::report::SharedConsole;

/// Most values that are shown of a run.
const VALUES_SHOWN: usize = 3;

/// What there is, for programs.
#[derive(Serialize)]
#[serde(tag = "event", rename = "runs")]
struct Found {
    runs: Vec<RunLine>,
}

/// Lists the runs of a folder, the oldest first.
///
/// # Errors
/// If there is no such folder.
pub(super) fn list(options: &Runs, reporter: &SharedConsole) -> Result<()> {
    let folder = &options.folder;
    std::fs::read_dir(folder).map_err(|error| Error::file(folder, "read it", &error))?;
    let runs = found(folder);
    let lines = match runs.is_empty() {
        true => vec![format!("no run in {}", folder.display())],
        false => table(&runs),
    };
    let mut console = reporter.lock().unwrap_or_else(PoisonError::into_inner);
    let written = console.result(&lines, &Found { runs });
    written.map_err(|error| Error::file("standard output", "write", &error))
}

/// The run of a folder that was begun last.
pub(super) fn newest(folder: &Path) -> Option<PathBuf> {
    found(folder).pop().map(|run| PathBuf::from(run.folder))
}

fn found(folder: &Path) -> Vec<RunLine> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<RunLine> = entries.filter_map(|entry| run_line(&entry.path()).ok()).collect();
    runs.sort_by(|one, other| (one.started, &one.folder).cmp(&(other.started, &other.folder)));
    runs
}

fn table(runs: &[RunLine]) -> Vec<String> {
    let column = |title: &str, cell: &dyn Fn(&RunLine) -> String| -> Vec<String> {
        std::iter::once(title.to_string()).chain(runs.iter().map(cell)).collect()
    };
    let begun = |run: &RunLine| {
        let at = jiff::Timestamp::from_second(i64::try_from(run.started).unwrap_or(0));
        at.map_or(String::new(), |at| at.to_string())
    };
    let values = |run: &RunLine| {
        // What says most comes first: of the test table, then of the validation table.
        let rank = |name: &str| match name {
            name if name.starts_with("test_") => 0,
            name if name.starts_with("validation_") => 1,
            _ => 2,
        };
        let mut named: Vec<_> =
            run.values.iter().filter_map(|(name, value)| Some((name, (*value)?))).collect();
        named.sort_by_key(|(name, _)| rank(name));
        let shown = named.into_iter().take(VALUES_SHOWN);
        shown
            .map(|(name, value)| format!("{name} {}", figure(value)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let columns = [
        column("run", &|run| run.folder.clone()),
        column("state", &|run| run.state.name().to_string()),
        column("begun", &begun),
        column("step", &|run| run.step.map_or("–".to_string(), |step| step.to_string())),
        column("result", &values),
    ];
    side_by_side(&columns, &[0, 1, 2, 4])
}
