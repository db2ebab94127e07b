//! Leading a run: the coordinator with a job's tables, its records and its run folder.

mod admission;
mod ending;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_coordinator::{Coordinator, Stop};
use lockstep_model::Threshold;
use lockstep_net::Identity;
use lockstep_status::address::PageAddress;
use lockstep_status::book::Book;
use lockstep_status::value::State;

use crate::checkpoint::{self, Checkpoint, RecordState};
use crate::epoch_end::EpochEnd;
use crate::error::{Error, Result};
use crate::job::Every;
use crate::journal::{self, Due, Journal};
use crate::line_file::LineFile;
use crate::new_run_id;
use crate::plan::Plan;
use crate::record::{Destination, FinishedRun, History, Recorder, Writer};
use crate::report::Report;
use crate::report::{SharedReporter, report};
use crate::run_folder::{Model, ModelFiles, RunFolder, last_status};
use crate::status_of::replay;
use crate::watch::{self, Served, Shortages, Tee, Watch};
use crate::weights_file::weights_hash;
use admission::admit;
pub use admission::{Admission, Advertised, Invitation};
use ending::{ended_early, unsaved};

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
    /// Who is asked at the end of every epoch whether the run goes on. Only without a run folder.
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
    let epoch_end = lead.epoch_end.clone();
    let page = match &lead.http {
        Some(address) => {
            let warn = |message| report(&reporter, &Report::Warning { message });
            watch::bind(address, warn).await?
        }
        None => None,
    };
    let warn = |message: &String| report(&reporter, &Report::Warning { message: message.clone() });
    plan.warnings.iter().for_each(warn);
    let (mut folder, start) = open(&plan, &lead, &reporter)?;
    if let Some(folder) = folder.as_ref().filter(|folder| folder.is_finished()) {
        let message = format!(
            "{}: the run is already finished{}",
            folder.path().display(),
            folder.why_over()
        );
        report(&reporter, &Report::Note { message });
        let Model { weights, threshold, .. } = Model::load(folder.path())?;
        let weights_blake3 = weights_hash(&weights);
        let history = History::default();
        let threshold = plan.chooses_threshold().then_some(threshold);
        return Ok(Trained { weights, history, weights_blake3, threshold });
    }
    let run_id =
        folder.as_ref().map_or_else(|| new_run_id("memory"), |folder| folder.run_id().to_string());
    let run_folder = folder.as_ref().map(|folder| folder.path().display().to_string());
    let address = coordinator.address();
    // The join line is there for whoever is told next that the coordinator is.
    let told = lead.admission.told(address);
    let lets_anybody = matches!(lead.admission, Admission::Anybody);
    let (access, invitation) = admit(lead.admission, address, folder.as_ref(), &reporter)?;
    let Checkpoint { snapshot, records: state } = start;
    let first_step = snapshot.step.0;
    let watch = match (&folder, &page) {
        (None, None) => Watch::default(),
        _ => watched(&plan, &run_id, address, folder.as_ref(), first_step),
    };
    let served = match page {
        None => None,
        Some(page) => {
            let names = watch::names(page.address(), &told);
            let identity = || match &folder {
                Some(folder) => folder.identity(None, &mut |_| {}),
                None => Identity::generate().map_err(|error| Error::Internal(error.to_string())),
            };
            Served::start(page, &watch, &access, lets_anybody, identity, names)?
        }
    };
    let page = served.as_ref().map(|served| served.address().clone());
    let (outer, reporter) = (reporter.clone(), Tee::shared(&reporter, &watch));
    let warn = |error: Error| report(&reporter, &Report::Warning { message: error.to_string() });
    if let Some((folder, page)) = folder.as_ref().zip(page.as_ref()) {
        folder.write_page(page).unwrap_or_else(warn);
    }
    report(
        &reporter,
        &Report::Listening {
            address: address.to_string(),
            run_id: run_id.clone(),
            run_folder: run_folder.clone(),
            page: page.as_ref().map(PageAddress::shown),
        },
    );
    if let Some(page) = &page {
        report(&reporter, &Report::Note { message: page_text(page, folder.as_ref()) });
    }
    listening(Listening { address, invitation, page });
    let files = Tee::of_files(&outer, &watch);
    let model = folder.as_ref().map(|folder| ModelFiles::new(folder, plan.clone()));
    let keep = plan.job.checkpoint.keep;
    let writer = model.clone().map(|model| {
        let (watch, run, bytes) = (watch.clone(), model.run().to_path_buf(), plan.state_bytes());
        let mut shortages = Shortages::default();
        Writer::start(model, keep, first_step, files.clone(), move |step| {
            watch.checkpoint(step, shortages.look(&run, bytes));
        })
    });
    let metrics = match &folder {
        Some(folder) => Some(metrics(folder, &state, &files)?),
        None => None,
    };
    if let Some(folder) = folder.as_ref().filter(|_| first_step > 0) {
        resumed(&watch, folder, first_step);
    }
    let journal = folder
        .as_ref()
        .map(|folder| open_journal(&plan, folder.path(), first_step, &files))
        .transpose()?;
    let every = lead.checkpoint_seconds.map_or(plan.job.checkpoint.every, Every::Seconds);
    let to = Destination {
        metrics,
        journal,
        writer,
        every,
        address,
        reporter: outer.clone(),
        watch: watch.clone(),
        epoch_end: epoch_end.clone(),
    };
    let (recorder, records) = Recorder::new(&plan, to, state, first_step);
    let spec = plan.run_spec(&run_id, snapshot, lead.workers_start, lead.threads)?;
    let stop = EpochEnd::or_stop(epoch_end.clone(), stop);
    let result = coordinator.run(spec, plan.tables.clone(), Box::new(recorder), access, stop).await;
    // What was made after the epoch that was to be the last does not count, nor how that ended.
    let result = epoch_end.and_then(|end| end.outcome(&plan)).map_or(result, Ok);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = ended_early(error, &records, folder, first_step, &reporter, &watch);
            if let Some(served) = served {
                served.end().await;
            }
            return Err(error);
        }
    };
    let weights_blake3 = weights_hash(&outcome.weights);
    let ended = records.finish(&plan, &outcome, &weights_blake3, run_folder);
    let FinishedRun { history, report: finished, warning, threshold } = ended;
    if let Some((folder, model)) = folder.as_mut().zip(model) {
        folder.finish(&model, &plan, &outcome, threshold).map_err(unsaved)?;
    }
    if let Some(message) = warning {
        report(&reporter, &Report::Warning { message });
    }
    report(&reporter, &finished);
    let status = watch.state(State::Finished, None);
    let explanations = status.iter().flat_map(|status| &status.explanations);
    explanations.for_each(|text| report(&outer, &Report::Note { message: text.clone() }));
    if let Some((folder, status)) = folder.as_ref().zip(status) {
        folder.remove_page();
        let warn =
            |error: Error| report(&reporter, &Report::Warning { message: error.to_string() });
        folder.write_status(&status).unwrap_or_else(warn);
    }
    if let Some(served) = served {
        served.end().await;
    }
    Ok(Trained { weights: outcome.weights, history, weights_blake3, threshold })
}

/// Where the page is: its key is in a file, and in no log.
fn page_text(page: &PageAddress, folder: Option<&RunFolder>) -> String {
    let shown = page.shown();
    match folder.filter(|_| page.key.is_some()) {
        Some(folder) => format!(
            "status page: {shown}, whose whole address, with its key, is in {}",
            folder.path().join("http").display()
        ),
        None => format!("status page: {shown}"),
    }
}

/// The status of a run that is about to go on after a step.
fn watched(
    plan: &Plan,
    run_id: &str,
    address: SocketAddr,
    folder: Option<&RunFolder>,
    first_step: u64,
) -> Watch {
    let started = folder.map(|folder| folder.started() as f64);
    let path = folder.map(RunFolder::path);
    let mut run = watch::run_of(&plan.job.name, run_id, path, started);
    run.address = Some(address.to_string());
    let (epochs, steps) = (plan.job.train.epochs, plan.batches().count());
    let mut book = Book::new(run, watch::asked(plan), epochs, steps);
    book.loss_is_scaled(plan.network.has_units());
    if let Some(last) = path.filter(|_| first_step > 0).and_then(last_status) {
        book.remember(&last);
    }
    Watch::of(book)
}

/// Tells a status what the lines of the steps so far say.
fn resumed(watch: &Watch, folder: &RunFolder, step: u64) {
    watch.note(|book, at| {
        replay(folder.path(), book);
        book.state(State::Starting, None);
        book.event(at, "resumed", format!("the run goes on after step {step}"));
    });
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

/// `metrics.jsonl` at the place where `state` says that it goes on.
fn metrics(folder: &RunFolder, state: &RecordState, reporter: &SharedReporter) -> Result<LineFile> {
    let wanted = state.metrics_bytes;
    let (file, written) = folder.metrics(wanted, reporter.clone())?;
    let kept = written.bytes();
    let problem = if kept < wanted {
        let missing = wanted - kept;
        Some(format!(
            "{missing} of the {wanted} bytes that the checkpoint counts on are missing: lines of earlier steps are lost"
        ))
    } else {
        let is_altered = state.metrics_blake3.is_some() && state.metrics_blake3 != written.blake3();
        is_altered.then(|| "lines of earlier steps are not those that the run wrote".to_string())
    };
    if let Some(problem) = problem {
        let path = folder.path().join("metrics.jsonl");
        let message = format!("{}: {problem}; training continues", path.display());
        report(reporter, &Report::Warning { message });
    }
    Ok(file)
}

/// The journal of a run that goes on after `step`.
fn open_journal(plan: &Plan, run: &Path, step: u64, reporter: &SharedReporter) -> Result<Journal> {
    let due =
        Due::Every { steps: plan.job.journal.every_steps, steps_per_epoch: plan.batches().count() };
    let lines = journal::open(run, step, reporter.clone())?;
    Ok(Journal::writing(due, size_of_val(&plan.weights[..]), lines))
}
