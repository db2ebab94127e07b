//! Every argument and its help. No logic.

mod tls;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(super) use self::tls::{CoordinatorTls, WorkerTls};
use super::local::Chaos;
use crate::report::LogFormat;
use lockstep_run::export::ExportFormat;
use lockstep_run::job::{Job, JobError, Setting};
use lockstep_run::report::escape::visible;
use lockstep_run::verify::Steps;
use lockstep_run::watch::PAGE_DEFAULT;

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
    /// Print only errors and the result.
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
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

    /// Whether a local cluster's launcher started this process.
    pub(super) fn is_child(&self) -> bool {
        match &self.command {
            Command::Coordinator(Coordinator { child, .. })
            | Command::Worker(Worker { child, .. }) => child.child_of.is_some(),
            _ => false,
        }
    }
}

/// Longest address that workers are told.
const ADDRESS_BYTES_MAX: usize = 240;

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
    /// Write the status page of a run as one file that opens anywhere.
    Report(ReportFile),
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
#[command(
    after_help = "Example:\n  lockstep local examples/boston/job.toml --workers 4 --out runs/first"
)]
pub(super) struct Local {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// Worker processes.
    #[arg(long, short, default_value = "2", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
    /// Compute threads of each worker [default: the cores divided among the workers].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(super) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(super) resume: bool,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(super) http: Http,
    /// Inject faults into the cluster's processes while they train; the model stays the same.
    ///
    /// SEED decides what happens when, and to which worker; RATE is faults of that kind per minute (0 to 6000). The same
    /// seed plans the same faults; what they hit depends on how far the training has got by then. kill: a worker is killed,
    /// or sometimes all of them, and started again. stop: a worker is stopped for up to 2 s. slow: a worker gets
    /// about a quarter of its CPU time for up to 3 s. coordinator: the coordinator is killed and restarted; it writes
    /// a checkpoint every 0.2 s for that.
    #[arg(long, value_name = "SEED[,kill=RATE,stop=RATE,slow=RATE,coordinator=RATE]")]
    pub(super) chaos: Option<Chaos>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  srun lockstep launch job.toml --out runs/first --resume     (inside a Slurm allocation)\n  \
                  lockstep launch job.toml --hosts node1,node2,node3          (over ssh)"
)]
pub(super) struct Launch {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// The run folder [default: runs/NAME]. Inside an allocation all tasks have to see it.
    #[arg(long, short)]
    pub(super) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(super) resume: bool,
    /// Compute threads of each worker [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Wait for this many workers before the first step [default: all].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) workers_start: Option<u16>,
    /// Where the coordinator listens: HOST:PORT; port 0 takes a free one.
    #[arg(long, default_value = "0.0.0.0:0", value_parser = address)]
    pub(super) listen: String,
    /// An address that workers are told instead of those that this machine has: HOST:PORT; port 0 stands for that which is
    /// listened on. Can be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(super) advertise: Vec<String>,
    /// Seconds that a worker keeps trying to reach the coordinator, at the start and after a lost connection.
    #[arg(long, default_value = "300", value_parser = seconds)]
    pub(super) wait: f64,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(super) http: Http,
    /// Machines that workers are started on over ssh, as ssh takes them: HOST or USER@HOST.
    #[arg(long, value_name = "HOST,...", value_delimiter = ',', value_parser = host)]
    pub(super) hosts: Vec<String>,
    /// The ssh command and its options.
    #[arg(long, default_value = "ssh", requires = "hosts")]
    pub(super) ssh: String,
    /// The program on those machines.
    #[arg(long, default_value = "lockstep", requires = "hosts")]
    pub(super) program: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep slurm job.toml --nodes 4 --time 02:00:00 > job.sbatch && sbatch job.sbatch"
)]
pub(super) struct Slurm {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// Machines, each with one worker.
    #[arg(long, short = 'N', value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) nodes: u16,
    /// Processors of each worker.
    #[arg(long, short = 'c', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) cpus_per_task: Option<u16>,
    /// The time limit, as Slurm takes it; at its end the run is put back into the queue and goes on.
    #[arg(long, short = 't', default_value = "01:00:00", value_parser = slurm_word)]
    pub(super) time: String,
    /// The partition.
    #[arg(long, short, value_parser = slurm_word)]
    pub(super) partition: Option<String>,
    /// The run folder [default: runs/NAME]. All machines have to see it.
    #[arg(long, short)]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep coordinator job.toml --listen 0.0.0.0:7070 --out /data/runs/first"
)]
pub(super) struct Coordinator {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// Where workers connect: HOST:PORT; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:7070", value_parser = address)]
    pub(super) listen: String,
    /// An address of this machine that workers are told in the join line, instead of those that it has: HOST:PORT; port 0
    /// stands for that which is listened on. Can be given several times; workers try them in turn.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(super) advertise: Vec<String>,
    /// The key and the secret, as `lockstep token --new` made them, instead of those that are made and kept in the run
    /// folder. Encrypts on every address.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["insecure", "tls_cert"])]
    pub(super) identity: Option<PathBuf>,
    /// Encrypt nothing and let in whoever comes, also from other machines. Whoever can reach the port can then read the
    /// training table and spoil the run.
    #[arg(long)]
    pub(super) insecure: bool,
    #[command(flatten)]
    pub(super) tls: CoordinatorTls,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(super) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(super) resume: bool,
    /// Wait for this many workers before the first step; later ones may join at any time.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) workers_start: u16,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(super) http: Http,
    /// Threads that add gradients and update weights [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Seconds between checkpoints in this execution, whatever the job says.
    #[arg(long, hide = true, value_parser = seconds)]
    pub(super) checkpoint_seconds: Option<f64>,
    #[command(flatten)]
    pub(super) child: Child,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep worker '10.0.0.1:7070#lk1-...' --threads 8\n  lockstep worker --coordinator 127.0.0.1:7070"
)]
pub(super) struct Worker {
    /// The join line that the coordinator printed and wrote to `join` in its run folder. In quotes: to a shell, `#` begins a
    /// comment. Also read from LOCKSTEP_JOIN.
    #[arg(value_name = "LINE", conflicts_with = "join_file")]
    pub(super) line: Option<String>,
    /// A file with the join line, so that no list of processes has it; `-` for standard input. A file that is not there yet
    /// is waited for, and it is read anew before every try to connect.
    #[arg(long, value_name = "FILE")]
    pub(super) join_file: Option<PathBuf>,
    /// Where a coordinator without a join line listens, on this machine, with --tls-ca or with --insecure: HOST:PORT.
    #[arg(long, short, env = "LOCKSTEP_COORDINATOR")]
    pub(super) coordinator: Option<String>,
    /// Join a coordinator on another machine without encryption, which was started with --insecure as well.
    #[arg(long, requires = "coordinator")]
    pub(super) insecure: bool,
    #[command(flatten)]
    pub(super) tls: WorkerTls,
    /// Compute threads [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Join this run only.
    #[arg(long)]
    pub(super) run_id: Option<String>,
    /// Seconds to keep trying to reach the coordinator, at the start and after a lost connection.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(super) wait: f64,
    /// End when standard input ends, which whoever started this worker holds open.
    #[arg(long, hide = true)]
    pub(super) end_with_input: bool,
    /// Send everything over the network, even to a coordinator on this machine.
    #[arg(long, env = "LOCKSTEP_NO_SHARED_MEMORY", value_parser = clap::builder::FalseyValueParser::new())]
    pub(super) no_shared_memory: bool,
    /// Where other workers reach this one, in runs in which workers send to each other: HOST:PORT; port 0 takes a free one.
    /// Nothing listens in other runs [default: a free port on all interfaces, or on loopback if the coordinator is there].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(super) listen: Option<String>,
    /// An address of this machine that other workers are told, instead of the one that the coordinator sees: HOST, or
    /// HOST:PORT where a port is forwarded. Can be given several times; they are tried in turn.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_or_address)]
    pub(super) advertise: Vec<String>,
    #[command(flatten)]
    pub(super) child: Child,
}

/// How a local cluster's launcher starts its children.
#[derive(Debug, Args)]
pub(super) struct Child {
    /// End when this process, the parent, ends.
    #[arg(long, hide = true)]
    pub(super) child_of: Option<u32>,
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
#[command(after_help = "Example:\n  lockstep evaluate runs/boston --data examples/boston/test.csv")]
pub(super) struct Evaluate {
    /// The run folder; the run may be unfinished.
    pub(super) run: PathBuf,
    /// A table with the run's feature and target columns, as they were before scaling, in CSV or NPY; or, with --labels, its
    /// features alone in NPY, or images in IDX.
    #[arg(long, short)]
    pub(super) data: PathBuf,
    /// The targets of --data where they are a file of their own: in NPY, or the images' labels in IDX.
    #[arg(long)]
    pub(super) labels: Option<PathBuf>,
    /// Where the result goes as JSON as well.
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// Replace the output file if it exists. Never a table or a file of the run folder.
    #[arg(long, requires = "output")]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep predict runs/boston --data new.csv --output predictions.csv"
)]
pub(super) struct Predict {
    /// The run folder; the run may be unfinished.
    pub(super) run: PathBuf,
    /// A table with the run's feature columns, as they were before scaling, in any format of a job's tables; `-` for a CSV
    /// table on standard input.
    #[arg(long, short)]
    pub(super) data: PathBuf,
    /// Where the predictions go, a row for each row, in the table's order: CSV, or what the name says (.tsv, .parquet, .npy,
    /// .csv.gz, .csv.zst); `-` for standard output, as CSV.
    #[arg(long, short, default_value = "-")]
    pub(super) output: PathBuf,
    /// A column of the table that comes first in the predictions, as it is; any number of times, or several with commas
    /// between them.
    #[arg(long, short, value_name = "COLUMN")]
    pub(super) keep: Vec<String>,
    /// Replace the output file if it exists. Never the table or a file of the run folder.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep import job.toml --weights pytorch.safetensors --out runs/imported"
)]
pub(super) struct Import {
    #[command(flatten)]
    pub(super) job: JobFile,
    /// The weights: a safetensors file of ours, of PyTorch's, or converted from Keras, a run folder or a checkpoint [default:
    /// the job's model.initial_weights].
    #[arg(long, short, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep export runs/boston --output boston.onnx")]
pub(super) struct Export {
    /// The run folder; the run may be unfinished.
    pub(super) run: PathBuf,
    /// What the model is written as.
    #[arg(long, short, value_enum, default_value_t)]
    pub(super) format: ExportedAs,
    /// Where it goes; `-` for standard output [default: model.onnx, model.safetensors or model.json here].
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// An ONNX graph that takes what the network gets of a row instead of a table's columns: scaled numbers as f32, and the
    /// places of embedded categories. For small runtimes.
    #[arg(long)]
    pub(super) encoded: bool,
    /// Replace the output file if it exists. Never a file of the run folder.
    #[arg(long)]
    pub(super) force: bool,
}

/// What a model is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ExportedAs {
    /// An ONNX graph, from the columns of a table to predictions.
    #[default]
    Onnx,
    /// The weights by name, with network and columns as metadata.
    Safetensors,
    /// Network, columns and weights in one text.
    Json,
}

impl From<ExportedAs> for ExportFormat {
    fn from(format: ExportedAs) -> ExportFormat {
        match format {
            ExportedAs::Onnx => ExportFormat::Onnx,
            ExportedAs::Safetensors => ExportFormat::Safetensors,
            ExportedAs::Json => ExportFormat::Json,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep verify runs/boston --steps 3900..")]
pub(super) struct Verify {
    /// The run folder. The tables that its job.toml names are read again; nothing is written.
    pub(super) run: PathBuf,
    /// Which steps to replay: A..B, A.., ..B or N, from the newest checkpoint before A [default: all].
    #[arg(long, short, hide_default_value = true, default_value = "1..")]
    pub(super) steps: Steps,
    /// Compute threads [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
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
#[command(
    after_help = "Examples:\n  lockstep health --join-file runs/boston/join\n  lockstep health --join-file runs/boston/join 127.0.0.1:7070"
)]
pub(super) struct Health {
    /// Where it listens, instead of where its join line says: HOST:PORT. Without a join line, on this machine only.
    pub(super) address: Option<String>,
    /// A file with its join line, by which it is known; its secret is not told. Also read from LOCKSTEP_JOIN.
    #[arg(long, value_name = "FILE")]
    pub(super) join_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep status runs/boston --watch\n  lockstep status 127.0.0.1:8080 --json"
)]
pub(super) struct Status {
    /// A run folder, or the address of a status page as its coordinator printed it [default: the newest run in runs].
    #[arg(value_name = "RUN|ADDRESS")]
    pub(super) run: Option<String>,
    /// Show it again every second until the run is over.
    #[arg(long, short)]
    pub(super) watch: bool,
    /// One JSON object, the one that the page shows; with --watch, one a line.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep runs runs")]
pub(super) struct Runs {
    /// The folder that the run folders are in.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub(super) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lockstep report runs/boston --output boston.html")]
pub(super) struct ReportFile {
    /// The run folder; the run may be unfinished.
    pub(super) run: PathBuf,
    /// Where the report goes [default: report.html here].
    #[arg(long, short)]
    pub(super) output: Option<PathBuf>,
    /// Replace the output file if it exists. Never a file of the run folder.
    #[arg(long)]
    pub(super) force: bool,
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

/// Where the status page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Http {
    /// There.
    At(String),
    /// Nowhere.
    Off,
}

impl Http {
    /// The same at a port that is known by now.
    pub(super) fn at_port(&self, port: Option<u16>) -> Http {
        match (self, port) {
            (Http::At(address), Some(port)) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                Http::At(format!("{host}:{port}"))
            }
            _ => self.clone(),
        }
    }

    /// Where, if there is to be one.
    pub(super) fn address(self) -> Option<String> {
        match self {
            Http::At(address) => Some(address),
            Http::Off => None,
        }
    }
}

impl std::fmt::Display for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Http::At(address) => address,
            Http::Off => "off",
        })
    }
}

fn page(text: &str) -> Result<Http, String> {
    match text {
        "off" => Ok(Http::Off),
        text => address(text).map(Http::At).map_err(|wanted| format!("{wanted}, or off")),
    }
}

/// Whether the host is one, and one of this machine's, is found out by listening.
fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("wanted HOST:PORT, the port from 0 to 65535".into()),
    }
}

fn host_or_address(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@');
    let is_too_long = text.len() > ADDRESS_BYTES_MAX;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match port {
        _ if text.is_empty() || text.contains(is_odd) || is_too_long => {
            Err(format!("found {text:?}, wanted HOST or HOST:PORT"))
        }
        Some((host, port))
            if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Err("wanted HOST or HOST:PORT, the port from 1 to 65535".into())
        }
        _ => Ok(text.into()),
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | '\\');
    match text.is_empty() || text.starts_with('-') || text.contains(is_odd) {
        true => Err(format!("found {text:?}, wanted HOST or USER@HOST")),
        false => Ok(text.into()),
    }
}

/// A value of a line of a batch script.
fn slurm_word(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | ',');
    match !text.is_empty() && text.chars().all(is_fine) {
        true => Ok(text.into()),
        false => Err(format!("found {text:?}, wanted letters, digits, and any of : - _ . ,")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let wanted = || format!("found {text:?}, wanted a number of seconds from 0 to 1e6");
    let seconds: f64 = text.parse().map_err(|_| wanted())?;
    if (0.0..=1e6).contains(&seconds) { Ok(seconds) } else { Err(wanted()) }
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
