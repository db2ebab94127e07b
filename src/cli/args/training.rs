//! The arguments of commands that train. No logic.

use std::path::PathBuf;

use clap::Args;
use lockstep_run::watch::PAGE_DEFAULT;

use super::values::{address, host, host_or_address, seconds, slurm_word};
use super::watching::{Http, page};
use super::{CoordinatorTls, JobFile, WorkerTls};
use crate::cli::local::Chaos;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep local examples/boston/job.toml --workers 4 --out runs/first"
)]
pub(in crate::cli) struct Local {
    #[command(flatten)]
    pub(in crate::cli) job: JobFile,
    /// Worker processes.
    #[arg(long, short, default_value = "2", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) workers: u16,
    /// Compute threads of each worker [default: the cores divided among the workers].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(in crate::cli) resume: bool,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(in crate::cli) http: Http,
    #[command(flatten)]
    pub(in crate::cli) trace: Trace,
    /// Inject faults into the cluster's processes while they train; the model stays the same.
    ///
    /// SEED decides what happens when, and to which worker; RATE is faults of that kind per minute (0 to 6000). The same
    /// seed plans the same faults; what they hit depends on how far the training has got by then. kill: a worker is killed,
    /// or sometimes all of them, and started again. stop: a worker is stopped for up to 2 s. slow: a worker gets
    /// about a quarter of its CPU time for up to 3 s. coordinator: the coordinator is killed and restarted; it writes
    /// a checkpoint every 0.2 s for that.
    #[arg(long, value_name = "SEED[,kill=RATE,stop=RATE,slow=RATE,coordinator=RATE]")]
    pub(in crate::cli) chaos: Option<Chaos>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  srun lockstep launch job.toml --out runs/first --resume     (inside a Slurm allocation)\n  \
                  lockstep launch job.toml --hosts node1,node2,node3          (over ssh)"
)]
pub(in crate::cli) struct Launch {
    #[command(flatten)]
    pub(in crate::cli) job: JobFile,
    /// The run folder [default: runs/NAME]. Inside an allocation all tasks have to see it.
    #[arg(long, short)]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(in crate::cli) resume: bool,
    /// Compute threads of each worker [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,
    /// Wait for this many workers before the first step [default: all].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(in crate::cli) workers_start: Option<u16>,
    /// Where the coordinator listens: HOST:PORT; port 0 takes a free one.
    #[arg(long, default_value = "0.0.0.0:0", value_parser = address)]
    pub(in crate::cli) listen: String,
    /// An address that workers are told instead of those that this machine has: HOST:PORT; port 0 stands for that which is
    /// listened on. Can be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(in crate::cli) advertise: Vec<String>,
    /// Seconds that a worker keeps trying to reach the coordinator, at the start and after a lost connection.
    #[arg(long, default_value = "300", value_parser = seconds)]
    pub(in crate::cli) wait: f64,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(in crate::cli) http: Http,
    #[command(flatten)]
    pub(in crate::cli) trace: Trace,
    /// Machines that workers are started on over ssh, as ssh takes them: HOST or USER@HOST.
    #[arg(long, value_name = "HOST,...", value_delimiter = ',', value_parser = host)]
    pub(in crate::cli) hosts: Vec<String>,
    /// The ssh command and its options.
    #[arg(long, default_value = "ssh", requires = "hosts")]
    pub(in crate::cli) ssh: String,
    /// The program on those machines.
    #[arg(long, default_value = "lockstep", requires = "hosts")]
    pub(in crate::cli) program: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep slurm job.toml --nodes 4 --time 02:00:00 > job.sbatch && sbatch job.sbatch"
)]
pub(in crate::cli) struct Slurm {
    #[command(flatten)]
    pub(in crate::cli) job: JobFile,
    /// Machines, each with one worker.
    #[arg(long, short = 'N', value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(in crate::cli) nodes: u16,
    /// Processors of each worker.
    #[arg(long, short = 'c', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) cpus_per_task: Option<u16>,
    /// The time limit, as Slurm takes it; at its end the run is put back into the queue and goes on.
    #[arg(long, short = 't', default_value = "01:00:00", value_parser = slurm_word)]
    pub(in crate::cli) time: String,
    /// The partition.
    #[arg(long, short, value_parser = slurm_word)]
    pub(in crate::cli) partition: Option<String>,
    /// The run folder [default: runs/NAME]. All machines have to see it.
    #[arg(long, short)]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lockstep coordinator job.toml --listen 0.0.0.0:7070 --out /data/runs/first"
)]
pub(in crate::cli) struct Coordinator {
    #[command(flatten)]
    pub(in crate::cli) job: JobFile,
    /// Where workers connect: HOST:PORT; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:7070", value_parser = address)]
    pub(in crate::cli) listen: String,
    /// An address of this machine that workers are told in the join line, instead of those that it has: HOST:PORT; port 0
    /// stands for that which is listened on. Can be given several times; workers try them in turn.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(in crate::cli) advertise: Vec<String>,
    /// The key and the secret, as `lockstep token --new` made them, instead of those that are made and kept in the run
    /// folder. Encrypts on every address.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["insecure", "tls_cert"])]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// Encrypt nothing and let in whoever comes, also from other machines. Whoever can reach the port can then read the
    /// training table and spoil the run.
    #[arg(long)]
    pub(in crate::cli) insecure: bool,
    #[command(flatten)]
    pub(in crate::cli) tls: CoordinatorTls,
    /// The run folder [default: runs/NAME].
    #[arg(long, short)]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Continue the run in the run folder from its newest whole checkpoint, or start it if there is none.
    #[arg(long)]
    pub(in crate::cli) resume: bool,
    /// Wait for this many workers before the first step; later ones may join at any time.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(in crate::cli) workers_start: u16,
    /// Where the status page is: HOST:PORT, port 0 taking a free one, or off. On other addresses than this machine's loopback it is
    /// encrypted and wants a key, which is in the file http of the run folder.
    #[arg(long, value_name = "HOST:PORT|off", default_value = PAGE_DEFAULT, value_parser = page)]
    pub(in crate::cli) http: Http,
    /// Threads that add gradients and update weights [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,
    /// Seconds between checkpoints in this execution, whatever the job says.
    #[arg(long, hide = true, value_parser = seconds)]
    pub(in crate::cli) checkpoint_seconds: Option<f64>,
    #[command(flatten)]
    pub(in crate::cli) trace: Trace,
    #[command(flatten)]
    pub(in crate::cli) child: Child,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lockstep worker '10.0.0.1:7070#lk1-...' --threads 8\n  lockstep worker --coordinator 127.0.0.1:7070"
)]
pub(in crate::cli) struct Worker {
    /// The join line that the coordinator printed and wrote to `join` in its run folder. In quotes: to a shell, `#` begins a
    /// comment. Also read from LOCKSTEP_JOIN.
    #[arg(value_name = "LINE", conflicts_with = "join_file")]
    pub(in crate::cli) line: Option<String>,
    /// A file with the join line, so that no list of processes has it; `-` for standard input. A file that is not there yet
    /// is waited for, and it is read anew before every try to connect.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) join_file: Option<PathBuf>,
    /// Where a coordinator without a join line listens, on this machine, with --tls-ca or with --insecure: HOST:PORT.
    #[arg(long, short, env = "LOCKSTEP_COORDINATOR")]
    pub(in crate::cli) coordinator: Option<String>,
    /// Join a coordinator on another machine without encryption, which was started with --insecure as well.
    #[arg(long, requires = "coordinator")]
    pub(in crate::cli) insecure: bool,
    #[command(flatten)]
    pub(in crate::cli) tls: WorkerTls,
    /// Compute threads [default: all cores].
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(in crate::cli) threads: Option<u16>,
    /// Join this run only.
    #[arg(long)]
    pub(in crate::cli) run_id: Option<String>,
    /// Seconds to keep trying to reach the coordinator, at the start and after a lost connection.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(in crate::cli) wait: f64,
    /// End when standard input ends, which whoever started this worker holds open.
    #[arg(long, hide = true)]
    pub(in crate::cli) end_with_input: bool,
    /// Send everything over the network, even to a coordinator on this machine.
    #[arg(long, env = "LOCKSTEP_NO_SHARED_MEMORY", value_parser = clap::builder::FalseyValueParser::new())]
    pub(in crate::cli) no_shared_memory: bool,
    /// Where other workers reach this one, in runs in which workers send to each other: HOST:PORT; port 0 takes a free one.
    /// Nothing listens in other runs [default: a free port on all interfaces, or on loopback if the coordinator is there].
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(in crate::cli) listen: Option<String>,
    /// An address of this machine that other workers are told, instead of the one that the coordinator sees: HOST, or
    /// HOST:PORT where a port is forwarded. Can be given several times; they are tried in turn.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_or_address)]
    pub(in crate::cli) advertise: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) trace: Trace,
    #[command(flatten)]
    pub(in crate::cli) child: Child,
}

/// When which part of a step is done.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Trace {
    /// Write when which part of each step is done, by whom, into a new file for Perfetto (ui.perfetto.dev) or Chrome: this
    /// process's, and with `local` and `launch` those of all processes that it starts on this machine.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) trace: Option<PathBuf>,
    /// Of how many steps, after the first three of a process.
    #[arg(long, value_name = "STEPS", default_value = "100", requires = "trace", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(in crate::cli) trace_steps: u64,
}

/// How a local cluster's launcher starts its children.
#[derive(Debug, Args)]
pub(in crate::cli) struct Child {
    /// End when this process, the parent, ends.
    #[arg(long, hide = true)]
    pub(in crate::cli) child_of: Option<u32>,
}
