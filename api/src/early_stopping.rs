//! What early stopping, and a learning rate that is reduced on a plateau, must be like in a fit, in the words of the Rust API.

use lockstep_coordinator::policy::{EarlyStopping, ReduceOnPlateau};
use lockstep_run::error::Result;
use lockstep_run::job::{Job, mode_watched};

use super::{Fit, wrong};

/// That there is something to watch, and that the numbers make sense.
pub(super) fn check(rule: &EarlyStopping, fit: &Fit, job: &Job) -> Result<()> {
    if fit.validation_data.is_none() {
        return Err(wrong("early_stopping watches the validation table: set validation_data, too"));
    }
    mode_watched(&rule.metric, &job.model)
        .map_err(|problem| wrong(format!("metric of early_stopping: {problem}")))?;
    rule.check()
        .map_err(|found| wrong(format!("{} of early_stopping: {}", found.parameter, found.problem)))
}

/// That there is something to watch for a learning rate that is reduced on a plateau.
pub(super) fn check_plateau(rule: &ReduceOnPlateau, fit: &Fit, job: &Job) -> Result<()> {
    if fit.validation_data.is_none() {
        return Err(wrong(
            "ReduceOnPlateau watches the validation table: set validation_data, too",
        ));
    }
    mode_watched(&rule.metric, &job.model)
        .map_err(|problem| wrong(format!("metric of ReduceOnPlateau: {problem}")))?;
    Ok(())
}
