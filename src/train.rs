//! Leading a run: the coordinator with a job's tables, its records and its run folder.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_coordinator::{Coordinator, Outcome, RunError};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::record::{History, Recorder, SharedReporter, report};
use crate::report::Report;
use crate::run_folder::RunFolder;
use crate::weights_file::weights_hash;

/// How to lead a run.
#[derive(Clone, Debug)]
pub struct Lead {
    /// `host:port` to listen on; port 0 takes a free one.
    pub listen: String,
    /// The run folder, if there is to be one.
    pub out: Option<PathBuf>,
    /// The first step waits for this many workers.
    pub workers_start: usize,
    /// Threads that add and update.
    pub threads: usize,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The final weights.
    pub weights: Vec<f32>,
    /// Loss and metrics by epoch.
    pub history: History,
    /// Hash of the final weights.
    pub weights_blake3: String,
}

/// Runs a plan to its end, or until `stop` is ready. `listening` is told the address once workers may come.
///
/// # Errors
/// If the address or the run folder cannot be used, the training diverges, or it is stopped.
pub async fn lead(
    plan: Arc<Plan>,
    lead: Lead,
    reporter: SharedReporter,
    stop: impl Future<Output = ()> + Send + 'static,
    listening: impl FnOnce(std::net::SocketAddr),
) -> Result<Trained> {
    let run_id = new_run_id(&plan.job.name);
    let coordinator = Coordinator::bind(&lead.listen).await?;
    let mut folder =
        lead.out.as_ref().map(|out| RunFolder::create(out, &plan, &run_id)).transpose()?;
    for message in &plan.warnings {
        report(&reporter, &Report::Warning { message: message.clone() });
    }
    let run_folder = folder.as_ref().map(|folder| folder.path().display().to_string());
    let address = coordinator.address();
    report(
        &reporter,
        &Report::Listening {
            address: address.to_string(),
            run_id: run_id.clone(),
            run_folder: run_folder.clone(),
        },
    );
    listening(address);
    let metrics = folder.as_ref().map(RunFolder::metrics).transpose()?;
    let (recorder, records) = Recorder::new(&plan, address, reporter.clone(), metrics);
    let spec = plan.run_spec(&run_id, lead.workers_start, lead.threads)?;
    let result = coordinator.run(spec, plan.tables.clone(), Box::new(recorder), stop).await;
    let Outcome { weights, test_sums } = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            records.flush();
            if let Some(folder) = &mut folder {
                folder.fail()?;
            }
            return Err(match error {
                RunError::Stopped => Error::Stopped,
                error => error.into(),
            });
        }
    };
    let weights_blake3 = weights_hash(&weights);
    if let Some(folder) = &mut folder {
        folder.finish(&plan, &weights)?;
    }
    let (history, finished) =
        records.finish(&plan, test_sums.as_deref(), &weights_blake3, run_folder);
    report(&reporter, &finished);
    Ok(Trained { weights, history, weights_blake3 })
}

/// A name that no other execution has: the job's, the time and the process.
fn new_run_id(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{:x}-{:x}", now.as_millis(), std::process::id())
}
