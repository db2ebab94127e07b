//! One command on several machines: each task of an allocation runs it, and the first coordinates; or it runs here, and starts
//! workers over ssh. Nobody guesses a host: workers read the join line in the run folder, or are told it.

mod task;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_net::Target;
use lockstep_run::error::{Error, Result};
use lockstep_run::job::Job;
use lockstep_run::run_folder;
use lockstep_worker::{Guide, GuideError, PeerOptions, WorkerConfig};

use self::task::Task;
use super::args::Launch;
use super::joining::JoinFile;
use super::local::{self, Open, Seat, Ssh, words};
use super::{cores, default_out, process, worker};
use crate::report::SharedConsole;

/// How long a task looks at a finished run before it believes that nobody goes on with it.
const FINISHED_FOR: Duration = Duration::from_secs(30);

/// Does this process's part of a run on several machines.
///
/// # Errors
/// As `local` and `worker`, and if there is nothing to launch on.
pub(super) fn run(launch: Launch, reporter: &SharedConsole) -> Result<()> {
    let job = launch.job.load()?;
    let out = launch.out.clone().unwrap_or_else(|| default_out(&job));
    if !launch.hosts.is_empty() {
        return over_ssh(launch, &job, out, reporter);
    }
    match Task::of_environment(|name| std::env::var(name).ok()).map_err(Error::Arguments)? {
        Some(Task { rank: 0, tasks, .. }) => lead(launch, &job, out, tasks, reporter),
        Some(_) => follow(&launch, out, reporter),
        None => Err(Error::Arguments(
            "found no allocation: wanted to be one of several tasks that srun or mpirun starts; or --hosts a,b,c for machines \
             that ssh reaches; on this machine alone, `lockstep local`"
                .to_string(),
        )),
    }
}

/// The first task: coordinates and works.
fn lead(
    launch: Launch,
    job: &Job,
    out: PathBuf,
    tasks: usize,
    reporter: &SharedConsole,
) -> Result<()> {
    check_enough(job, tasks, "tasks")?;
    coordinate(launch, job, out, vec![Seat::Here], tasks, reporter)
}

/// Any other task: works.
fn follow(launch: &Launch, out: PathBuf, reporter: &SharedConsole) -> Result<()> {
    process::refuse_core_dumps();
    let join = JoinFile::of_run(&out);
    let config = WorkerConfig {
        coordinator: Arc::new(RunFolder { run: out, join, since: Instant::now() }),
        threads: launch.threads.map_or_else(cores, usize::from),
        run_id: None,
        connect_wait: Duration::from_secs_f64(launch.wait),
        host: lockstep_run::host_name(),
        share: true,
        peers: PeerOptions::default(),
    };
    worker::work(config, reporter)
}

/// Coordinates here; the workers are elsewhere.
fn over_ssh(mut launch: Launch, job: &Job, out: PathBuf, reporter: &SharedConsole) -> Result<()> {
    check_enough(job, launch.hosts.len(), "hosts")?;
    let command = words(&launch.ssh)?;
    let seat = |host| {
        let (command, program) = (command.clone(), launch.program.clone());
        Seat::There(Ssh { host, command, program, wait: launch.wait })
    };
    let seats: Vec<Seat> = std::mem::take(&mut launch.hosts).into_iter().map(seat).collect();
    let workers = seats.len();
    coordinate(launch, job, out, seats, workers, reporter)
}

/// Coordinates a run of so many workers, of which those of `seats` are this process's to start.
fn coordinate(
    launch: Launch,
    job: &Job,
    out: PathBuf,
    seats: Vec<Seat>,
    workers: usize,
    reporter: &SharedConsole,
) -> Result<()> {
    let options = local::Options {
        workers_start: launch.workers_start.map_or(workers, usize::from),
        workers_min: job.cluster.workers_min,
        job: launch.job,
        threads: launch.threads.map(usize::from),
        out,
        resume: launch.resume,
        open: Some(Open {
            listen: launch.listen,
            advertise: launch.advertise,
            expects_others: workers > seats.len(),
        }),
        seats,
        chaos: None,
        http: launch.http,
        trace: launch.trace,
    };
    process::runtime_of(1)?.block_on(local::run(options, reporter))
}

fn check_enough(job: &Job, found: usize, of: &str) -> Result<()> {
    let wanted = job.cluster.workers_min;
    if found < wanted {
        return Err(Error::Arguments(format!(
            "found {found} {of}, wanted at least the job's cluster.workers_min, {wanted}"
        )));
    }
    Ok(())
}

/// Knows the coordinator by the run folder that all tasks see.
#[derive(Debug)]
struct RunFolder {
    run: PathBuf,
    join: JoinFile,
    since: Instant,
}

impl Guide for RunFolder {
    fn target(&self) -> std::result::Result<Target, GuideError> {
        // A finished run may be gone on with, with more epochs, as soon as the first task has read the tables.
        if self.since.elapsed() >= FINISHED_FOR && run_folder::is_finished(&self.run) {
            return Err(GuideError::Over);
        }
        self.join.target()
    }

    fn shown(&self) -> String {
        self.join.shown()
    }
}
