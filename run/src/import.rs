//! A run folder of weights that were trained elsewhere: a job says what network and columns they are for, and nothing is trained.
//!
//! The columns are fitted to the job's tables, as in any run, so that the model evaluates, predicts and is exported like any other.
//! There are no steps, and so nothing to resume or to verify.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::job::Job;
use crate::new_run_id;
use crate::plan::Plan;
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::{ModelFiles, RunFolder};
use crate::weights_file::weights_hash;

/// Makes a run folder of a job whose `model.initial_weights` are to be the model.
///
/// # Errors
/// If there are none, the job, its tables or the weights cannot be used, or the folder is there already.
pub fn import(job: Job, out: &Path, reporter: &SharedReporter) -> Result<()> {
    if job.model.initial_weights.is_none() {
        let problem =
            "found no weights, wanted --weights FILE, or `model.initial_weights` in the job";
        return Err(Error::Arguments(problem.to_string()));
    }
    let plan = Arc::new(Plan::new(job)?);
    for message in plan.warnings.iter().cloned() {
        report(reporter, &Report::Warning { message });
    }
    let mut folder = RunFolder::create(out, &plan, &new_run_id(&plan.job.name), false)?;
    let model = ModelFiles::new(&folder, plan.clone());
    folder.finish_imported(&model, &plan)?;
    let run_folder = out.display().to_string();
    let weights_blake3 = weights_hash(&plan.weights);
    report(reporter, &Report::Imported { run_folder, weights_blake3 });
    Ok(())
}
