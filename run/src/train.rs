//! Leading a run: the coordinator with a job's tables, its records and its run folder.

mod admission;
mod ending;
mod led;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_coordinator::{Coordinator, Stop};
use lockstep_model::Threshold;
use lockstep_status::address::PageAddress;

use self::led::{Led, history};
use crate::checkpoint::{self, Checkpoint, RecordState};
use crate::epoch_end::EpochEnd;
use crate::error::{Error, Result};
use crate::job::Every;
use crate::new_run_id;
use crate::plan::Plan;
use crate::record::History;
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::{Model, RunFolder};
use crate::watch;
use crate::weights_file::weights_hash;
pub use admission::{Admission, Advertised, Invitation};

/// A coordinator that workers may come to.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// What to join with, if that takes more than an address.
    pub invitation: Option<Invitation>,
    /// Where its page is, if there is one.
    pub page: Option<PageAddress>,
}

/// Where a coordinator listens.
#[derive(Clone, Debug)]
pub enum Listen {
    /// At `host:port`; port 0 takes a free one.
    At(String),
    /// On a socket that is open already, and stays so for other runs.
    On(Arc<TcpListener>),
}

impl Listen {
    async fn coordinator(&self) -> Result<Coordinator> {
        match self {
            Listen::At(address) => Ok(Coordinator::bind(address).await?),
            Listen::On(listener) => {
                let listener = listener.try_clone();
                let listener = listener.map_err(|error| Error::Internal(error.to_string()))?;
                Ok(Coordinator::on(listener)?)
            }
        }
    }
}

/// How to lead a run.
#[derive(Clone, Debug)]
pub struct Lead {
    /// Where it listens.
    pub listen: Listen,
    /// Whom it lets in.
    pub admission: Admission,
    /// The run folder, if there is to be one.
    pub out: Option<PathBuf>,
    /// Go on with the run in the run folder, if there is one.
    pub resume: bool,
    /// The first step waits for this many workers.
    pub workers_start: usize,
    /// Seconds between checkpoints in this execution, whatever the job says.
    pub checkpoint_seconds: Option<f64>,
    /// Threads that add and update.
    pub threads: usize,
    /// `host:port` of the status page, if there is to be one; port 0 takes a free one.
    pub http: Option<String>,
    /// Who is asked at the end of every epoch whether the run goes on. A run with a folder that ends so is stopped, and can go on.
    pub epoch_end: Option<EpochEnd>,
}

/// What a run made.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The weights that the run ended with: the last, or those of the best epoch.
    pub weights: Vec<f32>,
    /// Loss and metrics by epoch.
    pub history: History,
    /// Hash of these weights.
    pub weights_blake3: String,
    /// The threshold that was chosen for them on the validation table, if one was.
    pub threshold: Option<Threshold>,
}

/// Runs a plan to its end, or until `stop` is ready and the run has ended as that says. `listening` is told where and
/// how workers may come.
///
/// # Errors
/// If the address or the run folder cannot be used, the training diverges, or it is stopped.
pub async fn lead(
    plan: Arc<Plan>,
    lead: Lead,
    reporter: SharedReporter,
    stop: impl Future<Output = Stop> + Send + 'static,
    listening: impl FnOnce(Listening),
) -> Result<Trained> {
    let coordinator = lead.listen.coordinator().await?;
    let warn = |message: String| report(&reporter, &Report::Warning { message });
    let page = match &lead.http {
        Some(address) => watch::bind(address, warn).await?,
        None => None,
    };
    plan.warnings.iter().cloned().for_each(warn);
    let (folder, start) = open(&plan, &lead, &reporter)?;
    if let Some(folder) = folder.as_ref().filter(|folder| folder.is_finished()) {
        return finished_already(&plan, folder, &reporter);
    }
    let Checkpoint { snapshot, records: state } = start;
    let (address, beginning) = (coordinator.address(), (folder, snapshot.step.0));
    let (mut led, access, invitation) =
        Led::open(plan.clone(), beginning, address, lead.admission, page, reporter)?;
    listening(led.announce(invitation));
    let every = lead.checkpoint_seconds.map_or(plan.job.checkpoint.every, Every::Seconds);
    let (recorder, records) = led.recorder(state, every, lead.epoch_end.clone())?;
    let spec = plan.run_spec(&led.run_id, snapshot, lead.workers_start, lead.threads)?;
    let stop = EpochEnd::or_stop(lead.epoch_end.clone(), stop);
    let result = coordinator.run(spec, plan.tables.clone(), Box::new(recorder), access, stop).await;
    // What was made after the epoch that was to be the last does not count, nor how that ended.
    let ended = lead.epoch_end.and_then(|end| end.outcome(&plan));
    let is_ended = ended.is_some();
    match ended.map_or(result, Ok) {
        Ok(outcome) if is_ended && led.has_folder() => Ok(led.stop(outcome, &records).await),
        Ok(outcome) => led.finish(outcome, records).await,
        Err(error) => Err(led.end_early(error, &records).await),
    }
}

/// What there is of a run that needs nothing more.
fn finished_already(plan: &Plan, folder: &RunFolder, reporter: &SharedReporter) -> Result<Trained> {
    let (path, why) = (folder.path().display(), folder.why_over());
    let message = format!("{path}: the run is already finished{why}");
    report(reporter, &Report::Note { message });
    let Model { weights, threshold, .. } = Model::load(folder.path())?;
    let weights_blake3 = weights_hash(&weights);
    let threshold = plan.chooses_threshold().then_some(threshold);
    Ok(Trained { weights, history: history(folder), weights_blake3, threshold })
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
        let folder = RunFolder::create(out, plan, &new_run_id(&plan.job.name), lead.resume)?;
        return Ok((Some(folder), beginning()));
    }
    let mut warn = |message| report(reporter, &Report::Warning { message });
    let mut folder = RunFolder::resume(out, plan, &mut warn)?;
    if folder.is_finished() {
        return Ok((Some(folder), beginning()));
    }
    let expected = plan.checkpoints(folder.run_id());
    let start = checkpoint::newest(out, &expected, &mut warn)?.unwrap_or_else(beginning);
    folder.go_on(plan, start.snapshot.step.0)?;
    let message = format!("continuing after step {}", start.snapshot.step.0);
    report(reporter, &Report::Note { message });
    Ok((Some(folder), start))
}
