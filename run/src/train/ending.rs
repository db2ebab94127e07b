//! What is left of a run that ends before its result is there, and what is said of it.

use lockstep_coordinator::RunError;
use lockstep_status::value::State;

use crate::error::{Error, STOPPED};
use crate::record::Records;
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::{RunFolder, Status};
use crate::watch::Watch;

/// Writes down what there is of a run that ended early, and says why it did.
pub(super) fn ended_early(
    error: RunError,
    records: &Records,
    mut folder: Option<RunFolder>,
    first_step: u64,
    reporter: &SharedReporter,
    watch: &Watch,
) -> Error {
    let (step, written) = records.flush();
    let (state, reason) = match &error {
        RunError::Stopped => (State::Stopped, None),
        error => (State::Failed, Some(error.to_string())),
    };
    let seen = watch.state(state, reason);
    if let Some(folder) = &folder {
        folder.remove_page();
    }
    if matches!(error, RunError::Stopped)
        && step == 0
        && let Some(folder) = folder.take_if(|folder| folder.is_new())
    {
        return match folder.discard() {
            Ok(()) => Error::Stopped("stopped before the first step: nothing was kept".to_string()),
            Err(error) => error,
        };
    }
    let has_folder = folder.is_some();
    let status = if matches!(error, RunError::Stopped) { Status::Stopped } else { Status::Failed };
    // What made the run fail is worth more than this.
    let written_down = folder.as_ref().zip(seen).map(|(folder, seen)| folder.write_status(&seen));
    if let Some(Err(error)) = written_down {
        report(reporter, &Report::Warning { message: error.to_string() });
    }
    if let Some(Err(error)) = folder.map(|mut folder| folder.end_early(status)) {
        report(reporter, &Report::Warning { message: error.to_string() });
    }
    match error {
        RunError::Stopped => {
            Error::Stopped(stopped_text(step, has_folder.then(|| written.unwrap_or(first_step))))
        }
        error => error.into(),
    }
}

/// What to say of a run that was stopped after this step and can go on after another, if it has a run folder.
fn stopped_text(step: u64, resumable: Option<u64>) -> String {
    match resumable {
        _ if step == 0 => STOPPED.to_string(),
        None => format!("{STOPPED}, after step {step}"),
        Some(saved) if saved == step => {
            format!("stopped after step {step}; continue with --resume")
        }
        Some(saved) => format!(
            "stopped after step {step}, but the newest state that is saved is of step {saved}: --resume continues there"
        ),
    }
}

/// That the run is over and only its result is missing.
pub(super) fn unsaved(error: Error) -> Error {
    match error {
        Error::File { path, problem } => {
            let problem = format!(
                "{problem}: the training is done, but its result is not saved; fix that and continue with --resume"
            );
            Error::File { path, problem }
        }
        error => error,
    }
}
