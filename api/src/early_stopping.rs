//! What early stopping in a fit must be like, in the words of the Rust API.

use lockstep_coordinator::policy::EarlyStopping;
use lockstep_run::error::Result;
use lockstep_run::job::{Job, mode_watched};

use super::{Fit, wrong};

/// That there is something to watch, and that the numbers make sense.
pub(super) fn check(rule: &EarlyStopping, fit: &Fit, job: &Job) -> Result<()> {
    if fit.validation_data.is_none() {
        return Err(wrong("early_stopping watches the validation table: set validation_data, too"));
    }
    mode_watched(rule, &job.model)
        .map_err(|problem| wrong(format!("metric of early_stopping: {problem}")))?;
    rule.check()
        .map_err(|found| wrong(format!("{} of early_stopping: {}", found.parameter, found.problem)))
}
