//! What to do about an error that its own words only state as a fact, in terms of this program: keys of a job, options.

use lockstep_coordinator::RunError;
use lockstep_run::error::Error;

/// The error's message, with what to do about it.
pub(super) fn message(error: &Error) -> String {
    match advice(error) {
        Some(advice) => format!("{error}: {advice}"),
        None => error.to_string(),
    }
}

fn advice(error: &Error) -> Option<&'static str> {
    let Error::Run(error) = error else { return None };
    match error {
        RunError::Listen { .. } => Some("give a HOST:PORT of this machine that is free"),
        RunError::NonFinite { .. } => Some(
            "lower train.optimizer's learning_rate, set train.gradient_clip_norm, or scale the data",
        ),
        RunError::Unmeasurable { .. } => {
            Some("look for extreme values there, or lower train.optimizer's learning_rate")
        }
        RunError::Miscounted { .. } => {
            Some("this is a bug in lockstep, please report it; the last checkpoint is good")
        }
        RunError::Arithmetic(_) => Some(
            "something in this process has set that, such as a library built with -ffast-math; run without it",
        ),
        RunError::Threads(_) | RunError::Stopped | RunError::Panicked(_) | RunError::Server(_) => {
            None
        }
    }
}
