//! Leading a run: the coordinator with a job's tables, its records and its run folder.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_coordinator::{Coordinator, RunError, Stop};
use lockstep_model::Threshold;
use lockstep_net::{Access, Authorities, Identity, JoinLine, OwnCertificate, Pin, Secret, Workers};
use lockstep_status::address::PageAddress;
use lockstep_status::book::Book;
use lockstep_status::value::State;
use zeroize::Zeroizing;

use crate::checkpoint::{self, Checkpoint, RecordState};
use crate::epoch_end::EpochEnd;
use crate::error::{Error, Result, STOPPED};
use crate::job::Every;
use crate::journal::{self, Due, Journal};
use crate::line_file::LineFile;
use crate::new_run_id;
use crate::plan::Plan;
use crate::record::{Destination, FinishedRun, History, Recorder, Records, Writer};
use crate::report::Report;
use crate::report::{SharedReporter, report};
use crate::run_folder::{Model, ModelFiles, RunFolder, Status, last_status};
use crate::status_of::replay;
use crate::watch::{self, Served, Tee, Watch};
use crate::weights_file::weights_hash;

/// Whom a coordinator lets in.
#[derive(Clone, Debug)]
pub enum Admission {
    /// On loopback anybody, unless an identity was made for the run. Elsewhere, encrypted, whoever has the join line.
    ByAddress {
        /// The file with the run's identity, made ahead of it; `None` for one that is made and kept in the run folder.
        identity: Option<PathBuf>,
        /// Where workers are told that it is.
        advertised: Advertised,
    },
    /// Wherever it listens, encrypted, with this certificate: whoever has one that these authorities have signed, or, where none
    /// are named, the join line.
    ByCertificate(OwnCertificate, Option<Authorities>, Advertised),
    /// Anybody, unencrypted, wherever they come from.
    Anybody,
    /// Whoever says this, unencrypted.
    Token(Secret),
    /// Wherever it listens, encrypted, whoever has the join line of this identity, which is told elsewhere.
    ByIdentity(Identity),
}

impl Admission {
    /// Where workers are told that the coordinator is, if they are told more than where it listens.
    fn told(&self, address: SocketAddr) -> Vec<String> {
        match self {
            Admission::ByAddress { advertised, .. }
            | Admission::ByCertificate(_, _, advertised) => advertised.of(address),
            Admission::Anybody | Admission::Token(_) | Admission::ByIdentity(_) => Vec::new(),
        }
    }
}

/// What workers are told of where a coordinator is.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// From the address that is listened on to those that workers are told.
    pub found: fn(SocketAddr, &[String]) -> Vec<String>,
    /// Those that the user has given, in place of what can be found out.
    pub given: Vec<String>,
}

impl Advertised {
    fn of(&self, address: SocketAddr) -> Vec<String> {
        (self.found)(address, &self.given)
    }
}

/// What workers join with.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The join line; addresses alone, where a certificate of the worker's takes the place of the secret.
    pub line: Zeroizing<String>,
    /// The file where it is.
    pub file: PathBuf,
    /// What else a worker has to be given.
    pub needs: &'static str,
}

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
        let watch = watch.clone();
        Writer::start(model, keep, first_step, files.clone(), move |step| watch.checkpoint(step))
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
        reporter: outer,
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

/// Whom to let in, and what to join with if that takes more than an address.
fn admit(
    admission: Admission,
    address: SocketAddr,
    folder: Option<&RunFolder>,
    reporter: &SharedReporter,
) -> Result<(Access, Option<Invitation>)> {
    let folder = || {
        let missing = "a run without a folder has nothing to be known by";
        folder.ok_or_else(|| Error::Internal(missing.to_string()))
    };
    let mut warn = |message| report(reporter, &Report::Warning { message });
    let mut identity = |made: Option<PathBuf>| folder()?.identity(made.as_deref(), &mut warn);
    let line = |pin: Pin, secret: &Secret, advertised: &Advertised| {
        JoinLine { addresses: advertised.of(address), pin, secret: secret.clone() }.to_line()
    };
    let (access, line, needs) = match admission {
        Admission::Anybody => return Ok((Access::Open, None)),
        Admission::Token(secret) => return Ok((Access::Token(secret), None)),
        Admission::ByIdentity(identity) => return Ok((Access::Tls(identity), None)),
        Admission::ByAddress { identity: None, .. } if address.ip().is_loopback() => {
            return Ok((Access::Open, None));
        }
        Admission::ByAddress { identity: made, advertised } => {
            let identity = identity(made)?;
            let line = line(identity.pin(), identity.secret(), &advertised);
            (Access::Tls(identity), line, "")
        }
        Admission::ByCertificate(own, None, advertised) => {
            let secret = identity(None)?.secret().clone();
            let line = line(own.pin(), &secret, &advertised);
            (Access::Certificate(own, Workers::Secret(secret)), line, " --tls-ca FILE")
        }
        Admission::ByCertificate(own, Some(authorities), advertised) => {
            let line = Zeroizing::new(advertised.of(address).join(","));
            let workers = Workers::Certificates(authorities);
            let needs = " --tls-ca FILE --tls-cert FILE --tls-key FILE";
            (Access::Certificate(own, workers), line, needs)
        }
    };
    let file = folder()?.write_join_line(&line)?;
    Ok((access, Some(Invitation { line, file, needs })))
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

/// Writes down what there is of a run that ended early, and says why it did.
fn ended_early(
    error: RunError,
    records: &Records,
    mut folder: Option<RunFolder>,
    first_step: u64,
    reporter: &SharedReporter,
    watch: &Watch,
) -> Error {
    let (step, written) = records.flush();
    let (state, reason) = match &error {
        RunError::Stopped => (State::Stopped, None),
        error => (State::Failed, Some(error.to_string())),
    };
    let seen = watch.state(state, reason);
    if let Some(folder) = &folder {
        folder.remove_page();
    }
    if matches!(error, RunError::Stopped)
        && step == 0
        && let Some(folder) = folder.take_if(|folder| folder.is_new())
    {
        return match folder.discard() {
            Ok(()) => Error::Stopped("stopped before the first step: nothing was kept".to_string()),
            Err(error) => error,
        };
    }
    let has_folder = folder.is_some();
    let status = if matches!(error, RunError::Stopped) { Status::Stopped } else { Status::Failed };
    // What made the run fail is worth more than this.
    let written_down = folder.as_ref().zip(seen).map(|(folder, seen)| folder.write_status(&seen));
    if let Some(Err(error)) = written_down {
        report(reporter, &Report::Warning { message: error.to_string() });
    }
    if let Some(Err(error)) = folder.map(|mut folder| folder.end_early(status)) {
        report(reporter, &Report::Warning { message: error.to_string() });
    }
    match error {
        RunError::Stopped => {
            Error::Stopped(stopped_text(step, has_folder.then(|| written.unwrap_or(first_step))))
        }
        error => error.into(),
    }
}

/// What to say of a run that was stopped after this step and can go on after another, if it has a run folder.
fn stopped_text(step: u64, resumable: Option<u64>) -> String {
    match resumable {
        _ if step == 0 => STOPPED.to_string(),
        None => format!("{STOPPED}, after step {step}"),
        Some(saved) if saved == step => {
            format!("stopped after step {step}; continue with --resume")
        }
        Some(saved) => format!(
            "stopped after step {step}, but the newest state that is saved is of step {saved}: --resume continues there"
        ),
    }
}

/// That the run is over and only its result is missing.
fn unsaved(error: Error) -> Error {
    match error {
        Error::File { path, problem } => {
            let problem = format!(
                "{problem}: the training is done, but its result is not saved; fix that and continue with --resume"
            );
            Error::File { path, problem }
        }
        error => error,
    }
}

/// The journal of a run that goes on after `step`.
fn open_journal(plan: &Plan, run: &Path, step: u64, reporter: &SharedReporter) -> Result<Journal> {
    let due =
        Due::Every { steps: plan.job.journal.every_steps, steps_per_epoch: plan.batches().count() };
    let lines = journal::open(run, step, reporter.clone())?;
    Ok(Journal::writing(due, size_of_val(&plan.weights[..]), lines))
}
