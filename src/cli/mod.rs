//! The command line: arguments in, exit code out. Each command's work is done elsewhere.

mod args;
mod check;
mod local;
mod process;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use lockstep_coordinator::Stop;
use lockstep_data::TableFile;
use lockstep_worker::{Ended, WorkerConfig, WorkerEvent};

use crate::error::{Error, Result};
use crate::inference;
use crate::job::Job;
use crate::plan::Plan;
use crate::record::{SharedReporter, report};
use crate::report::{Report, Reporter};
use crate::run_folder::Model;
use crate::train::{self, Lead};
use crate::verify;
use crate::whole_file::write_whole;
use args::{Arguments, Command};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    crate::allocator::return_large_blocks();
    // Empty but in the tests' build.
    #[allow(clippy::let_unit_value)]
    let _failpoints = crate::failpoints::set_up();
    let arguments = Arguments::parse();
    let reporter = Reporter::new(arguments.log_format, arguments.quiet);
    let reporter: SharedReporter = Arc::new(Mutex::new(reporter));
    match run(arguments, &reporter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (message, exit_code) = (error.to_string(), error.exit_code());
            report(&reporter, &Report::Error { message, exit_code });
            ExitCode::from(exit_code)
        }
    }
}

fn run(arguments: Arguments, reporter: &SharedReporter) -> Result<()> {
    match arguments.command {
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
                workers,
                workers_min,
                threads: local.threads.map(usize::from),
                chaos: local.chaos,
            };
            runtime(1)?.block_on(local::run(options, reporter))
        }
        Command::Coordinator(coordinator) => {
            process::end_with_parent(coordinator.child.child_of);
            let job = coordinator.job.load()?;
            let threads = coordinator.threads.map_or_else(cores, usize::from);
            let lead = Lead {
                listen: coordinator.listen,
                out: Some(coordinator.out.unwrap_or_else(|| default_out(&job))),
                resume: coordinator.resume,
                workers_start: usize::from(coordinator.workers_start),
                checkpoint_seconds: coordinator.checkpoint_seconds,
                threads,
            };
            let plan = Arc::new(Plan::new(job)?);
            let reporter = reporter.clone();
            // The run lives on the runtime's own threads: see `Coordinator::run`.
            runtime(threads.min(4))?.block_on(process::stop_or_end(async |stop| {
                let stop = async {
                    let _ = stop.await;
                    Stop::AfterPass
                };
                train::lead(plan, lead, reporter, stop, |_| {}).await.map(drop)
            }))
        }
        Command::Worker(worker) => {
            process::end_with_parent(worker.child.child_of);
            let config = WorkerConfig {
                coordinator: worker.coordinator,
                threads: worker.threads.map_or_else(cores, usize::from),
                run_id: worker.run_id,
                connect_wait: Duration::from_secs_f64(worker.wait),
                host: crate::host_name(),
                share: !worker.no_shared_memory,
            };
            work(config, reporter)
        }
        Command::Check(check) => check::run(&check.job, usize::from(check.workers)),
        Command::Evaluate(evaluate) => {
            let data = TableFile::guess(evaluate.data, evaluate.labels);
            print_measures(&evaluate.run, &data, reporter)
        }
        Command::Predict(predict) => {
            let data = TableFile::guess(predict.data, None);
            write_predictions(&predict.run, &data, &predict.output, reporter)
        }
        Command::Verify(options) => {
            let threads = options.threads.map_or_else(cores, usize::from);
            verify::verify(&options.run, options.steps, threads, reporter, process::stop_signal())
        }
        Command::Completions(completions) => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(completions.shell, &mut command, "lockstep", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// The model of a run; from which step it is goes to standard error.
fn load_model(run: &Path, reporter: &SharedReporter) -> Result<Model> {
    let model = Model::load(run)?;
    report(reporter, &Report::Note { message: model.origin(run) });
    Ok(model)
}

fn print_measures(run: &Path, data: &TableFile, reporter: &SharedReporter) -> Result<()> {
    let model = load_model(run, reporter)?;
    let (rows, values) = inference::evaluate(&model, data)?;
    let mut text = format!("{rows} rows\n");
    for (name, value) in values {
        text += &format!("{name} {value}\n");
    }
    print(&text)
}

fn write_predictions(
    run: &Path,
    data: &TableFile,
    output: &Path,
    reporter: &SharedReporter,
) -> Result<()> {
    let model = load_model(run, reporter)?;
    if output == Path::new("-") {
        inference::predict(&model, data, &mut std::io::stdout().lock())?;
        return Ok(());
    }
    let failed = |error: std::io::Error| Error::file(output, "write it", &error);
    // An older file stays as it was if anything fails.
    let mut predictions = Vec::new();
    let rows = inference::predict(&model, data, &mut predictions)?;
    match std::fs::metadata(output) {
        // A pipe or a device is written to, not replaced.
        Ok(there) if !there.is_file() => std::fs::write(output, &predictions).map_err(failed)?,
        _ => write_whole(output, &predictions)?,
    }
    let message = format!("{rows} predictions in {}", output.display());
    report(reporter, &Report::Note { message });
    Ok(())
}

fn work(config: WorkerConfig, reporter: &SharedReporter) -> Result<()> {
    let address = config.coordinator.clone();
    let mut retry_told = false;
    let mut tell = |event: WorkerEvent<'_>| {
        let told = match event {
            WorkerEvent::Retrying { error, left, .. } if !retry_told => {
                retry_told = true;
                let left = left.as_secs_f64().ceil();
                Report::Warning {
                    message: format!(
                        "no coordinator at {address} yet ({error}): trying for {left} s"
                    ),
                }
            }
            WorkerEvent::Retrying { .. } => return,
            WorkerEvent::Joined { run_id, worker } => {
                retry_told = false;
                Report::Note { message: format!("joined run {run_id} as {worker}") }
            }
            WorkerEvent::Prepared { span, rows } => {
                Report::Note { message: format!("ready with {span}: {rows} rows") }
            }
            WorkerEvent::Lost { error } => Report::Warning {
                message: format!("lost the coordinator ({error}): looking for it again"),
            },
        };
        report(reporter, &told);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Internal(format!("cannot start: {error}")))?;
    let ended =
        runtime.block_on(lockstep_worker::run(config, process::stop_signal(), &mut tell))?;
    let message = match ended {
        Ended::Finished => "the run is finished",
        Ended::SaidGoodbye => "stopped: said goodbye to the coordinator",
        Ended::Stopped => "stopped",
    };
    report(reporter, &Report::Note { message: message.to_string() });
    Ok(())
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

/// Writes a result to standard output.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Error::file("standard output", "write", &error)),
    }
}
