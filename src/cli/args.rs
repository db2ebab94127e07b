//! Every argument and its help. No logic.

mod models;
mod tls;
mod training;
mod values;
mod watching;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

pub(super) use self::models::{Evaluate, Export, Import, Predict, Verify};
pub(super) use self::tls::{CoordinatorTls, WorkerTls};
pub(super) use self::training::{Coordinator, Launch, Local, Slurm, Trace, Worker};
use self::values::address;
pub(super) use self::watching::{Health, Http, Plot, ReportFile, Runs, Status, TensorBoard};
use crate::report::LogFormat;
use lockstep_run::job::{Job, JobError, Setting};
use lockstep_run::report::Level;
use lockstep_run::report::escape::visible;

/// Trains neural networks data-parallel on ordinary CPU machines: the same model, bit for bit, on any number of
/// workers.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    long_version = super::version::long(),
    propagate_version = true,
    after_help = EXAMPLES
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    /// How to print progress (to standard error) and the result (to standard output).
    #[arg(long, global = true, value_enum, default_value_t, env = "LOCKSTEP_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
    /// How much to print besides the result: what people follow a run by (info), or what the program does in itself as well, by the
    /// step (debug) or the message (trace).
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "LOCKSTEP_LOG",
        value_name = "LEVEL"
    )]
    pub(super) log_level: LogLevel,
    /// Print only errors and the result: --log-level error.
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
}

/// How much is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    /// Errors.
    Error,
    /// What is odd.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// What the program does, by the step.
    Debug,
    /// What the program does, by the message.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Error => Level::Error,
            LogLevel::Warn => Level::Warn,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
            LogLevel::Trace => Level::Trace,
        }
    }
}

impl Arguments {
    /// Those that this process was started with. Ends it if they are wrong, or ask for help only.
    pub(super) fn of_this_process() -> Arguments {
        Arguments::try_parse().unwrap_or_else(|error| {
            // Said again with what a terminal can be shown, such as a name of a file that the shell filled in.
            let shown =
                std::env::args_os().map(|text| visible(&text.to_string_lossy()).into_owned());
            Arguments::try_parse_from(shown).err().unwrap_or(error).exit()
        })
    }

    /// How much is printed, and noted in the log.
    pub(super) fn level(&self) -> Level {
        if self.quiet { Level::Error } else { self.log_level.into() }
    }

    /// Where the timeline of this process goes, and of how many steps it is.
    pub(super) fn trace(&self) -> Option<(&Path, u64)> {
        let (Command::Coordinator(Coordinator { trace, .. })
        | Command::Worker(Worker { trace, .. })) = &self.command
        else {
            return None;
        };
        trace.trace.as_deref().map(|path| (path, trace.trace_steps))
    }

    /// Whether a local cluster's launcher started this process.
    pub(super) fn is_child(&self) -> bool {
        match &self.command {
            Command::Coordinator(Coordinator { child, .. })
            | Command::Worker(Worker { child, .. }) => child.child_of.is_some(),
            _ => false,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  lockstep init table.csv
  lockstep check examples/boston/job.toml
  lockstep local examples/boston/job.toml --workers 4
  lockstep coordinator job.toml --listen 0.0.0.0:7070     (on one machine)
  lockstep worker 'HOST:PORT#lk1-...'                     (on every other: the line that it printed)
  lockstep predict runs/boston --data new.csv --output predictions.csv
  lockstep verify runs/boston --steps 1..200

Exit codes: 0 done, 1 internal error, 2 wrong arguments, 3 fix the job or its data, 4 the training diverged,
5 try again (no coordinator, address in use), 6 refused or expelled by the coordinator, 7 the run failed (see the
coordinator), 8 a verified step differs, 130 stopped by a signal.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at a table and write a job for it.
    Init(Init),
    /// Train on a cluster of processes on this machine.
    Local(Local),
    /// Train on several machines at once: the tasks of a Slurm or MPI allocation, or machines that ssh reaches.
    Launch(Launch),
    /// Write a batch script for Slurm.
    Slurm(Slurm),
    /// Coordinate a run: hand out work to workers and keep the weights.
    Coordinator(Coordinator),
    /// Work for a coordinator.
    Worker(Worker),
    /// Show what a job would do, without training.
    Check(Check),
    /// Evaluate a run's model on a table.
    Evaluate(Evaluate),
    /// Predict with a run's model.
    Predict(Predict),
    /// Make a model of weights that were trained elsewhere.
    Import(Import),
    /// Write a run's model for other programs: ONNX, safetensors or JSON.
    Export(Export),
    /// Replay the steps of a run on this machine, and compare the weights with its journal.
    Verify(Verify),
    /// Show how a run is: while it goes on, or from its records.
    Status(Status),
    /// List the runs of a folder, with how each went and what came of it.
    Runs(Runs),
    /// Write a run as one file that opens anywhere: how it went, and how well its model does. Compares several.
    Report(ReportFile),
    /// Draw a metric of one run or several by epoch, as SVG or PNG.
    #[command(
        after_help = "Example:\n  lockstep plot runs/first runs/second --metric validation_loss --output loss.svg"
    )]
    Plot(Plot),
    /// Write a run's losses, metrics, hyperparameters and job for TensorBoard, while it goes on or afterwards.
    #[command(name = "tensorboard")]
    TensorBoard(TensorBoard),
    /// Make the key and the secret of a run ahead of it, or renew the secret of its join line.
    Token(Token),
    /// Ask a coordinator whether it is there and takes workers in.
    Health(Health),
    /// Print a completion script for a shell.
    #[command(
        after_help = "Example:\n  lockstep completions bash > ~/.local/share/bash-completion/completions/lockstep"
    )]
    Completions(Completions),
    /// Write manual pages into a folder.
    #[command(hide = true)]
    Manual(Manual),
}

/// The job, wherever a command takes one.
#[derive(Debug, Args)]
pub(super) struct JobFile {
    /// The job file.
    pub(super) job: PathBuf,
    /// Set a key of the job, as if the file had it: train.epochs=20, train.optimizer.learning_rate=0.01,
    /// model.layers.0.units=64, data.train=other.csv. Can be given several times; paths are relative to the job file.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<Setting>,
}

impl JobFile {
    pub(super) fn load(&self) -> Result<Job, JobError> {
        Job::load_with(&self.job, &self.settings)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep init houses.csv --target price")]
pub(super) struct Init {
    /// A table: CSV, TSV, Parquet, NPY, NPZ or IDX, a folder of parts, or a pattern of them.
    pub(super) table: PathBuf,
    /// The targets of the table where they are a file of their own: in NPY, or the images' labels in IDX.
    #[arg(long)]
    pub(super) labels: Option<PathBuf>,
    /// The column to predict; can be given several times [default: a column named target, label, class, y, outcome,
    /// response, labels or price, or else the last].
    #[arg(long, short, value_name = "COLUMN")]
    pub(super) target: Vec<String>,
    /// What the target is [default: classes if it has texts, truth values, or the whole numbers 0 to 19 at most; or else
    /// numbers].
    #[arg(long, short, value_enum)]
    pub(super) kind: Option<TargetKind>,
    /// A table with the same columns, measured once at the end [default: a share of the rows is held back for that].
    #[arg(long, value_name = "TABLE")]
    pub(super) test: Option<PathBuf>,
    /// Where the job goes; never over a file that is there [default: job.toml beside the table].
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// The job's name, and that of its run folder [default: the job file's stem].
    #[arg(long)]
    pub(super) name: Option<String>,
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TargetKind {
    /// A label out of a few.
    Classification,
    /// A number.
    Regression,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep check examples/boston/job.toml")]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// Number of workers to estimate traffic and memory for.
    #[arg(long, short, default_value = "4", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) workers: u16,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep token runs/boston --rotate\n  lockstep token secrets --new --address coordinator.example:7070"
)]
pub(super) struct Token {
    /// The run folder, whose coordinator must not be running; with --new, the folder that the two files go to.
    pub(super) folder: PathBuf,
    /// Make a new secret: join lines so far let nobody in any more. The next coordinator writes a new line.
    #[arg(long, required_unless_present = "new", conflicts_with = "new")]
    pub(super) rotate: bool,
    /// Make the key, the secret and the join line of a run that is yet to begin, for whoever has to hand them out before:
    /// `identity` for the coordinator's --identity, and `join` for the workers' --join-file.
    #[arg(long, requires = "address")]
    pub(super) new: bool,
    /// Where workers will find the coordinator: HOST:PORT. Can be given several times; workers try them in turn.
    #[arg(long, value_name = "HOST:PORT", requires = "new", value_parser = address)]
    pub(super) address: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Where the pages go; it is made.
    pub(super) folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
