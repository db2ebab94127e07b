//! What a process notes of itself besides its reports: its log, and the timeline of its steps.

use std::sync::PoisonError;

use lockstep_run::error::Result;

use super::args::{Arguments, Command};
use crate::report::{SharedConsole, subscribe};
use crate::timeline::{Timeline, TraceFile};

/// Runs the command of this process; then, whatever came of it, its timeline is written, if one is wanted.
pub(super) fn run(arguments: Arguments, reporter: &SharedConsole) -> Result<()> {
    let level = arguments.level();
    let Some((path, steps)) = arguments.trace() else {
        subscribe(reporter, level, None);
        return super::run(arguments, reporter);
    };
    let (file, timeline) = (TraceFile::create(path)?, Timeline::of_steps(steps));
    let is_coordinator = matches!(arguments.command, Command::Coordinator(_));
    subscribe(reporter, level, Some(timeline.clone()));
    let result = super::run(arguments, reporter);
    let origin = reporter.lock().unwrap_or_else(PoisonError::into_inner).origin().clone();
    let host = origin.host.unwrap_or_default();
    let process = match origin.worker {
        _ if is_coordinator => format!("coordinator ({host})"),
        Some(worker) => format!("worker {worker} ({host})"),
        None => format!("worker ({host})"),
    };
    // What went wrong before is told first.
    result.and(file.write(&process, &timeline))
}
