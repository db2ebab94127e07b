//! Making a run folder of weights that were trained elsewhere.

use lockstep_run::error::{Error, Result};
use lockstep_run::import;
use lockstep_run::report::SharedReporter;

use super::args::Import;
use super::default_out;
use crate::report::SharedConsole;

/// Makes a model of a job and weights.
///
/// # Errors
/// If one of them cannot be used, or the run folder is there already.
pub(super) fn import(options: Import, reporter: &SharedConsole) -> Result<()> {
    let Import { job, weights, out } = options;
    let mut job = job.load()?;
    if let Some(weights) = weights {
        // The job of the run folder has absolute paths.
        let path = std::path::absolute(&weights);
        let path = path.map_err(|error| Error::file(&weights, "find it", &error))?;
        job.model.initial_weights = Some(path);
    }
    let out = out.unwrap_or_else(|| default_out(&job));
    let reporter: SharedReporter = reporter.clone();
    import::import(job, &out, &reporter)
}
