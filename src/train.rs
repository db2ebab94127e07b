//! Leading a run: the coordinator with a job's tables, its records and its run folder.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_coordinator::{Coordinator, Outcome, RunError};

use crate::checkpoint::{self, Checkpoint, RecordState, Writer};
use crate::error::{Error, Result};
use crate::journal::{self, Due, Journal};
use crate::plan::Plan;
use crate::record::{Destination, History, Recorder, SharedReporter, report};
use crate::report::Report;
use crate::run_folder::{Model, RunFolder};
use crate::weights_file::weights_hash;

/// How to lead a run.
#[derive(Clone, Debug)]
pub struct Lead {
    /// `host:port` to listen on; port 0 takes a free one.
    pub listen: String,
    /// The run folder, if there is to be one.
    pub out: Option<PathBuf>,
    /// Go on with the run in the run folder, if there is one.
    pub resume: bool,
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
    let coordinator = Coordinator::bind(&lead.listen).await?;
    let warn = |message: &String| report(&reporter, &Report::Warning { message: message.clone() });
    plan.warnings.iter().for_each(warn);
    let (mut folder, start) = open(&plan, &lead, &reporter)?;
    if let Some(folder) = folder.as_ref().filter(|folder| folder.is_finished()) {
        let message = format!("{}: the run is already finished", folder.path().display());
        report(&reporter, &Report::Note { message });
        let weights = Model::load(folder.path())?.weights;
        let weights_blake3 = weights_hash(&weights);
        return Ok(Trained { weights, history: History::default(), weights_blake3 });
    }
    let run_id =
        folder.as_ref().map_or_else(|| new_run_id("memory"), |folder| folder.run_id().to_string());
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
    let Checkpoint { snapshot, records: state } = start;
    let writer = folder
        .as_ref()
        .map(|folder| Writer::start(folder.path(), plan.job.checkpoint.keep, reporter.clone()));
    let metrics = folder.as_ref().map(|folder| folder.metrics(state.metrics_bytes)).transpose()?;
    let journal = folder
        .as_ref()
        .map(|folder| open_journal(&plan, folder.path(), snapshot.step.0, &reporter))
        .transpose()?;
    let to = Destination { metrics, journal, writer, address, reporter: reporter.clone() };
    let (recorder, records) = Recorder::new(&plan, to, state, snapshot.step.0);
    let spec = plan.run_spec(&run_id, snapshot, lead.workers_start, lead.threads)?;
    let result = coordinator.run(spec, plan.tables.clone(), Box::new(recorder), stop).await;
    let Outcome { weights, test_sums } = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            records.flush();
            if let Some(folder) = &mut folder {
                // What made the run fail is worth more than this.
                if let Err(error) = folder.fail() {
                    report(&reporter, &Report::Warning { message: error.to_string() });
                }
            }
            return Err(match error {
                RunError::Stopped => Error::Stopped,
                error => error.into(),
            });
        }
    };
    let weights_blake3 = weights_hash(&weights);
    let (history, finished) =
        records.finish(&plan, test_sums.as_deref(), &weights_blake3, run_folder);
    if let Some(folder) = &mut folder {
        folder.finish(&plan, &weights)?;
    }
    report(&reporter, &finished);
    Ok(Trained { weights, history, weights_blake3 })
}

/// The run folder, if there is to be one, and where the run starts.
fn open(
    plan: &Plan,
    lead: &Lead,
    reporter: &SharedReporter,
) -> Result<(Option<RunFolder>, Checkpoint)> {
    let beginning = || Checkpoint { snapshot: plan.beginning(), records: RecordState::default() };
    let Some(out) = &lead.out else { return Ok((None, beginning())) };
    if !lead.resume || !out.join("manifest.json").exists() {
        let folder = RunFolder::create(out, plan, &new_run_id(&plan.job.name))?;
        return Ok((Some(folder), beginning()));
    }
    let folder = RunFolder::resume(out, plan)?;
    if folder.is_finished() {
        return Ok((Some(folder), beginning()));
    }
    let mut warn = |message| report(reporter, &Report::Warning { message });
    let newest = checkpoint::newest(out, &mut warn)?;
    let start = match newest {
        Some(checkpoint) if plan.fits(&checkpoint.snapshot) => checkpoint,
        Some(_) => {
            let problem = "cannot resume: the newest checkpoint is of another network or optimizer";
            return Err(Error::File { path: out.clone(), problem: problem.to_string() });
        }
        None => beginning(),
    };
    let message = format!("going on after step {}", start.snapshot.step.0);
    report(reporter, &Report::Note { message });
    Ok((Some(folder), start))
}

/// The journal of a run that goes on after `step`.
fn open_journal(plan: &Plan, run: &Path, step: u64, reporter: &SharedReporter) -> Result<Journal> {
    let due =
        Due::Every { steps: plan.job.journal.every_steps, steps_per_epoch: plan.batches().count() };
    let take = journal::writing(journal::open(run, step)?, reporter.clone());
    Ok(Journal::start(due, size_of_val(&plan.weights[..]), take))
}

/// A name that no other execution has: the job's, the time and the process.
fn new_run_id(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{:x}-{:x}", now.as_millis(), std::process::id())
}
