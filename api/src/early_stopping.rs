//! What early stopping, and a learning rate that is reduced on a plateau, must be like in a fit, in the words of the Rust API.

use lockstep_coordinator::policy::{EarlyStopping, ReduceOnPlateau};
use lockstep_run::job::{Job, mode_watched};

use crate::error::{Error, Result};
use crate::training::Fit;

/// That there is something to watch, and that the numbers make sense.
pub(crate) fn check(rule: &EarlyStopping, fit: &Fit<'_>, job: &Job) -> Result<()> {
    if !fit.validation.is_there() {
        return Err(Error::arguments(
            "early_stopping watches what is measured after every epoch: set validation_split, validation_data or validation_table, too",
        ));
    }
    mode_watched(&rule.metric, &job.model)
        .map_err(|problem| Error::arguments(format!("metric of early_stopping: {problem}")))?;
    rule.check().map_err(|found| {
        Error::arguments(format!("{} of early_stopping: {}", found.parameter, found.problem))
    })
}

/// That there is something to watch for a learning rate that is reduced on a plateau.
pub(crate) fn check_plateau(rule: &ReduceOnPlateau, fit: &Fit<'_>, job: &Job) -> Result<()> {
    if !fit.validation.is_there() {
        return Err(Error::arguments(
            "ReduceOnPlateau watches what is measured after every epoch: set validation_split, validation_data or validation_table, too",
        ));
    }
    mode_watched(&rule.metric, &job.model)
        .map_err(|problem| Error::arguments(format!("metric of ReduceOnPlateau: {problem}")))?;
    Ok(())
}
