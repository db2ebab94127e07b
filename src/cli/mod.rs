//! The command line: arguments in, exit code out. Each command's work is done elsewhere.

mod advice;
mod args;
mod check;
mod completions;
mod coordinator;
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
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use lockstep_data::Unseen;
use lockstep_proto::panics;

use crate::report::{Console, SharedConsole};
use args::{Arguments, Command, Verify};
use lockstep_run::error::{Error, Result};
use lockstep_run::job::Job;
use lockstep_run::report::{Report, SharedReporter, report};
use lockstep_run::run_folder::Model;
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
        Command::Local(options) => local::start(options, reporter),
        Command::Launch(launch) => launch::run(launch, reporter),
        Command::Slurm(slurm) => slurm::run(&slurm),
        Command::Coordinator(options) => coordinator::run(options, reporter),
        Command::Worker(options) => worker::run(options, reporter),
        Command::Check(check) => check::run(&check.job, usize::from(check.workers), reporter),
        Command::Evaluate(evaluate) => evaluate::evaluate(evaluate, reporter),
        Command::Predict(predict) => predict::predict(predict, reporter),
        Command::Import(options) => import::import(options, reporter),
        Command::Export(options) => export::export(options, reporter),
        Command::Verify(options) => verify(&options, reporter),
        Command::Status(options) => status::run(&options, reporter),
        Command::Runs(options) => runs::list(&options, reporter),
        Command::Report(options) => report_file::write(options, reporter),
        Command::Plot(options) => plot::write(options, reporter),
        Command::TensorBoard(options) => tensorboard::write(&options, reporter),
        Command::Token(token) => joining::token(token, reporter),
        Command::Health(health) => health::run(&health),
        Command::Manual(options) => manual::write(&options.folder),
        Command::Completions(options) => completions::write(options.shell),
    }
}

fn verify(options: &Verify, reporter: &SharedConsole) -> Result<()> {
    let threads = options.threads.map_or_else(cores, usize::from);
    let reporter: SharedReporter = reporter.clone();
    verify::verify(&options.run, options.steps, threads, &reporter, process::stop_signal())
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

fn default_out(job: &Job) -> PathBuf {
    Path::new("runs").join(&job.name)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
