//! What a report says of a run's model beyond its records: measured on the run's own tables, by the code that `evaluate` uses.

use std::path::Path;

use lockstep_data::Sharded;
use lockstep_status::value::Evaluation;

use crate::error::{Error, Result};
use crate::inference;
use crate::job::Job;
use crate::plan::Plan;
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::{Manifest, Model, read_job};

/// Measures the newest model of a run on its test table or, where it has none, on its validation table; if `with_importance`, how
/// much it needs each column as well.
///
/// # Errors
/// If the run has no model or no such table, or its tables are not what they were.
pub fn examine(run: &Path, with_importance: bool, reporter: &SharedReporter) -> Result<Evaluation> {
    let wrong = |problem: String| Error::File { path: run.to_path_buf(), problem };
    let manifest = Manifest::read(run)?;
    let model = Model::load(run)?;
    let job = Job::parse(&run.join("job.toml"), read_job(run)?, &[])?;
    let plan = Plan::new(job)?;
    if plan.data_hash() != manifest.data_blake3 {
        return Err(wrong("its tables have changed since it began".to_string()));
    }
    let is_there = |table: &&Sharded| !table.rows().is_empty();
    let test = plan.tables.test.as_ref().filter(is_there).map(|table| ("test", table));
    let validation = plan.tables.validation.as_ref().filter(is_there);
    let table = test.or(validation.map(|table| ("validation", table)));
    let Some((name, table)) = table else {
        return Err(wrong("it has no test table and no validation table".to_string()));
    };
    let mut evaluation = inference::examine(&model, name, table.rows()).map_err(wrong)?;
    if with_importance {
        let progress = |place, of| {
            // At most a hundred times.
            if place * 100 / of > (place - 1) * 100 / of {
                report(&**reporter, &Report::Working { what: "importance".to_string(), place, of });
            }
        };
        match inference::importance(&model, table.rows(), plan.job.seed, progress) {
            Ok(found) => evaluation.importance = Some(found),
            Err(problem) => {
                let message = format!("no importance of columns: {problem}");
                report(&**reporter, &Report::Warning { message });
                evaluation.importance_missing = Some(problem);
            }
        }
    }
    Ok(evaluation)
}
