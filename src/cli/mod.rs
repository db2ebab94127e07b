//! The command line: arguments in, exit code out. Each command's work is done elsewhere.

mod advice;
mod args;
mod check;
mod completions;
mod evaluate;
mod export;
mod health;
mod import;
mod init;
mod joining;
mod launch;
mod local;
mod manual;
mod observing;
mod output;
mod plot;
mod predict;
mod process;
mod report_file;
mod runs;
mod slurm;
mod status;
mod tensorboard;
mod version;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockstep_coordinator::Stop;
use lockstep_data::Unseen;
use lockstep_proto::panics;
use lockstep_proto::words::count;
use lockstep_worker::{ADDRESSES_MAX, Ended, PeerOptions, WorkerConfig, WorkerEvent};

use crate::report::{Console, SharedConsole, data_output};
use args::{Arguments, Command};
use local::Seat;
use lockstep_run::error::{Error, Result, STOPPED};
use lockstep_run::job::Job;
use lockstep_run::plan::Plan;
use lockstep_run::report::escape::peer_name;
use lockstep_run::report::{Report, SharedReporter, report};
use lockstep_run::run_folder::Model;
use lockstep_run::train::{self, Lead, Listen, Listening};
use lockstep_run::verify;

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    crate::allocator::return_large_blocks();
    // Empty but in the tests' build.
    #[allow(clippy::let_unit_value)]
    let _failpoints = lockstep_run::failpoints::set_up();
    let arguments = Arguments::of_this_process();
    let level = arguments.level();
    let mut reporter = Console::new(arguments.log_format, level);
    if arguments.is_child() {
        reporter = reporter.on_one_stream();
    }
    let reporter: SharedConsole = Arc::new(Mutex::new(reporter));
    let ended = panics::guard(|| observing::run(arguments, &reporter));
    match ended.unwrap_or_else(|said| Err(Error::Internal(said))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (message, exit_code) = (advice::message(&error), error.exit_code());
            report(&reporter, &Report::Error { message, exit_code });
            ExitCode::from(exit_code)
        }
    }
}

fn run(arguments: Arguments, reporter: &SharedConsole) -> Result<()> {
    match arguments.command {
        Command::Init(options) => init::run(options, reporter),
        Command::Local(local) => {
            let job = local.job.load()?;
            let (workers, workers_min) = (usize::from(local.workers), job.cluster.workers_min);
            if workers < workers_min {
                return Err(Error::Arguments(format!(
                    "--workers {workers} is less than the job's cluster.workers_min, {workers_min}"
                )));
            }
            let options = local::Options {
                out: local.out.unwrap_or_else(|| default_out(&job)),
                job: local.job,
                resume: local.resume,
                seats: vec![Seat::Here; workers],
                workers_start: workers,
                workers_min,
                threads: local.threads.map(usize::from),
                open: None,
                chaos: local.chaos,
                http: local.http,
                trace: local.trace,
            };
            runtime(1)?.block_on(local::run(options, reporter))
        }
        Command::Launch(launch) => launch::run(launch, reporter),
        Command::Slurm(slurm) => slurm::run(&slurm),
        Command::Coordinator(coordinator) => {
            process::end_with_parent(coordinator.child.child_of);
            let job = coordinator.job.load()?;
            let threads = coordinator.threads.map_or_else(cores, usize::from);
            let admission = joining::admission(&coordinator, reporter)?;
            let lead = Lead {
                admission,
                listen: Listen::At(coordinator.listen),
                out: Some(coordinator.out.unwrap_or_else(|| default_out(&job))),
                resume: coordinator.resume,
                workers_start: usize::from(coordinator.workers_start),
                checkpoint_seconds: coordinator.checkpoint_seconds,
                threads,
                http: coordinator.http.address(),
                epoch_end: None,
            };
            let plan = Arc::new(Plan::new(job)?);
            let reporter = reporter.clone();
            let is_child = coordinator.child.child_of.is_some();
            let teller = reporter.clone();
            let listening = move |listening: Listening| {
                if !is_child {
                    joining::tell(&listening, &teller);
                }
            };
            // The run lives on the runtime's own threads: see `Coordinator::run`.
            runtime(threads.min(4))?.block_on(process::stop_or_end(is_child, async |stop| {
                let stop = async {
                    let _ = stop.await;
                    Stop::AfterPass
                };
                train::lead(plan, lead, reporter, stop, listening).await.map(drop)
            }))
        }
        Command::Worker(worker) => {
            process::end_with_parent(worker.child.child_of);
            let coordinator = joining::guide(&worker, reporter)?;
            if worker.end_with_input {
                process::end_with_input();
            }
            if worker.advertise.len() > ADDRESSES_MAX {
                let found = worker.advertise.len();
                return Err(Error::Arguments(format!(
                    "found {found} addresses after --advertise, wanted {ADDRESSES_MAX} at most"
                )));
            }
            let config = WorkerConfig {
                coordinator,
                threads: worker.threads.map_or_else(cores, usize::from),
                run_id: worker.run_id,
                connect_wait: Duration::from_secs_f64(worker.wait),
                host: lockstep_run::host_name(),
                share: !worker.no_shared_memory,
                peers: PeerOptions { listen: worker.listen, advertise: worker.advertise },
            };
            work(config, reporter)
        }
        Command::Check(check) => check::run(&check.job, usize::from(check.workers), reporter),
        Command::Evaluate(evaluate) => evaluate::evaluate(evaluate, reporter),
        Command::Predict(predict) => predict::predict(predict, reporter),
        Command::Import(options) => import::import(options, reporter),
        Command::Export(options) => export::export(options, reporter),
        Command::Verify(options) => {
            let threads = options.threads.map_or_else(cores, usize::from);
            let reporter: SharedReporter = reporter.clone();
            verify::verify(&options.run, options.steps, threads, &reporter, process::stop_signal())
        }
        Command::Status(options) => status::run(&options, reporter),
        Command::Runs(options) => runs::list(&options, reporter),
        Command::Report(options) => report_file::write(options, reporter),
        Command::Plot(options) => plot::write(options, reporter),
        Command::TensorBoard(options) => tensorboard::write(&options, reporter),
        Command::Token(token) => joining::token(token, reporter),
        Command::Health(health) => health::run(&health),
        Command::Manual(options) => manual::write(&options.folder),
        Command::Completions(completions) => {
            let script = completions::script(completions.shell);
            let written = data_output().write_all(&script);
            written.map_err(|error| Error::file("standard output", "write", &error))
        }
    }
}

/// Says which categories training never saw.
fn report_unseen(reporter: &SharedConsole, unseen: &[Unseen]) {
    for unseen in unseen {
        report(reporter, &Report::Warning { message: unseen.to_string() });
    }
}

/// The model of a run; from which step it is goes to standard error.
fn load_model(run: &Path, reporter: &SharedConsole) -> Result<Model> {
    let model = Model::load(run)?;
    report(reporter, &Report::Note { message: model.origin(run) });
    Ok(model)
}

fn work(config: WorkerConfig, reporter: &SharedConsole) -> Result<()> {
    let guide = config.coordinator.clone();
    let mut retry_told = false;
    let mut tell = |event: WorkerEvent<'_>| {
        let told = match event {
            WorkerEvent::Retrying { error, waited, left, .. } if !retry_told => {
                retry_told = true;
                let what = format!("no coordinator at {} yet ({error})", guide.shown());
                looking(what, &guide.shown(), waited, left)
            }
            WorkerEvent::StillTrying { waited, left } => {
                let seconds = waited.as_secs_f64();
                let what = format!("waiting for an answer for {seconds:.1} s");
                looking(what, &guide.shown(), waited, left)
            }
            WorkerEvent::Retrying { .. } => return,
            WorkerEvent::Joined { run_id, worker } => {
                retry_told = false;
                let mut console = reporter.lock().unwrap_or_else(PoisonError::into_inner);
                console.set_worker(run_id, worker.0);
                drop(console);
                let run = peer_name(run_id);
                Report::Note { message: format!("joined run {run} as {worker}") }
            }
            WorkerEvent::Prepared { span, rows } => {
                let rows = count(rows, "row");
                Report::Note { message: format!("ready with {span}: {rows}") }
            }
            WorkerEvent::Forgot { spans, rows } => {
                let spans: Vec<String> = spans.iter().map(ToString::to_string).collect();
                let message = format!("let go of {}: {rows} rows are kept", spans.join(", "));
                Report::Note { message }
            }
            WorkerEvent::Lost { error } => Report::Warning {
                message: format!("lost the coordinator ({error}): looking for it again"),
            },
        };
        report(reporter, &told);
    };
    let work = lockstep_worker::run(config, process::stop_signal(), &mut tell);
    let ended = process::runtime()?.block_on(work)?;
    match ended {
        Ended::Finished => {
            report(reporter, &Report::Note { message: "the run is finished".to_string() });
            Ok(())
        }
        Ended::SaidGoodbye => {
            Err(Error::Stopped("stopped: said goodbye to the coordinator".to_string()))
        }
        Ended::Stopped => Err(Error::Stopped(STOPPED.to_string())),
    }
}

/// A worker looks for its coordinator.
fn looking(what: String, coordinator: &str, waited: Duration, left: Duration) -> Report {
    Report::Waiting {
        what,
        stage: "joining".to_string(),
        peer: Some(format!("coordinator: {coordinator}")),
        seconds: waited.as_secs_f64(),
        limit_seconds: Some((waited + left).as_secs_f64().ceil()),
        remedy: "start the coordinator, or check where it is and what is between".to_string(),
    }
}

fn default_out(job: &Job) -> PathBuf {
    Path::new("runs").join(&job.name)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(format!("cannot start threads: {error}")))
}
