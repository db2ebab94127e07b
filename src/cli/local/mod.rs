//! A cluster of processes, on this machine or with workers that ssh starts elsewhere: starts them, shows what they say, and sees
//! them all end.
//!
//! Children are this same program, tied to this process (see [`super::process`]), in process groups of their own so that
//! Ctrl-C reaches only the launcher, which sees to the rest. Faults are injected only where they are asked for.

mod chaos;
mod children;
mod disturb;
mod ending;
mod observing;
mod seat;

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lockstep_net::Secret;
use lockstep_proto::words::count;
use nix::sys::signal::Signal;

pub(super) use self::chaos::Chaos;
use self::children::{Children, From, Heard, Stage, command, until};
use self::disturb::Disturber;
use self::seat::{Backoff, Worker};
pub(super) use self::seat::{Seat, Ssh, words};
use super::args::{Http, JobFile, Local, Trace};
use super::{default_out, process};
use crate::report::{Console, SharedConsole};
use crate::timeline::Joined;
use lockstep_run::error::{Error, Result, STOPPED, exit};
use lockstep_run::report::{Report, report};
use lockstep_status::address::PageAddress;

/// How long children get to end when the coordinator has ended or was asked to, and again when they were asked to
/// themselves, before they are killed.
const END_WAIT_MAX: Duration = Duration::from_secs(4);

/// What to start.
pub(super) struct Options {
    pub(super) job: JobFile,
    /// Where its workers are.
    pub(super) seats: Vec<Seat>,
    /// The first step waits for this many.
    pub(super) workers_start: usize,
    /// The run pauses with fewer.
    pub(super) workers_min: usize,
    /// Compute threads of each.
    pub(super) threads: Option<usize>,
    /// How it is open to other machines; `None` if it is this machine's alone.
    pub(super) open: Option<Open>,
    pub(super) out: PathBuf,
    pub(super) resume: bool,
    pub(super) chaos: Option<Chaos>,
    /// Where the status page is.
    pub(super) http: Http,
    /// The timeline of the processes that are started on this machine.
    pub(super) trace: Trace,
}

/// How a cluster is open to other machines: whoever has the join line in the run folder may come.
pub(super) struct Open {
    /// Where the coordinator listens.
    pub(super) listen: String,
    /// What workers are told instead.
    pub(super) advertise: Vec<String>,
    /// Whether others come that are not this cluster's to start.
    pub(super) expects_others: bool,
}

/// `local`: a cluster of this machine alone.
pub(super) fn start(local: Local, reporter: &SharedConsole) -> Result<()> {
    let job = local.job.load()?;
    let (workers, workers_min) = (usize::from(local.workers), job.cluster.workers_min);
    if workers < workers_min {
        return Err(Error::Arguments(format!(
            "--workers {workers} is less than the job's cluster.workers_min, {workers_min}"
        )));
    }
    let options = Options {
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
    process::runtime_of(1)?.block_on(run(options, reporter))
}

/// Runs the cluster to the end of its job.
pub(super) async fn run(options: Options, reporter: &SharedConsole) -> Result<()> {
    let mut signals = process::StopSignals::new();
    let token = match options.open {
        None => Some(Secret::random().map_err(|error| Error::Internal(error.to_string()))?),
        Some(_) => None,
    };
    let traces = options.trace.trace.as_deref().map(Joined::create).transpose()?;
    let mut cluster = LocalCluster::new(&options, reporter, token);
    cluster.traces = traces;
    cluster.start_coordinator()?;
    let result = tokio::select! {
        result = cluster.watch() => result,
        () = signals.next() => Err(Error::Stopped(STOPPED.to_string())),
    };
    // A coordinator that ended by itself has told the workers.
    let told = result.is_ok() || cluster.error.is_some();
    cluster.is_stopping = matches!(result, Err(Error::Stopped(_)));
    tokio::select! {
        () = cluster.end(told) => {}
        // Children die with the cluster.
        () = signals.next() => {}
    }
    cluster.console().flush();
    let traced = cluster.join_traces();
    let last_words = cluster.error.take();
    if let Some(disturber) = &cluster.disturber {
        report(reporter, &disturber.summary());
        if let (Ok(()), Some(hint)) = (&result, disturber.met_none()) {
            report(reporter, &hint);
        }
    }
    match (result, last_words) {
        // The coordinator knows where the run can go on.
        (Err(Error::Stopped(_)), Some((message, exit::STOPPED))) => Err(Error::Stopped(message)),
        (result, _) => result.and(traced),
    }
}

struct LocalCluster<'a> {
    options: &'a Options,
    reporter: &'a SharedConsole,
    children: Children,
    /// By which its processes know each other, where the cluster is this machine's alone.
    token: Option<Secret>,
    /// Its process; `None` when it has ended.
    coordinator: Option<u32>,
    /// Where the coordinator said that it listens, and at which port its page is.
    address: Option<String>,
    page_port: Option<u16>,
    /// One for each seat.
    workers: Vec<Worker>,
    /// How long each waits before it is started again.
    backoffs: Vec<Backoff>,
    /// A run that ends takes its workers with it: a few moments are left to the coordinator to say so.
    too_few_since: Option<Instant>,
    /// Whether the first step has been made.
    training: bool,
    /// Whether this process was asked to stop, and asks the others to.
    is_stopping: bool,
    /// Whether the coordinator has said that the training is over; it may have much to write.
    ending_by_itself: bool,
    /// Whether the result was told: all is written.
    is_finished: bool,
    /// The coordinator's last words.
    error: Option<(String, u8)>,
    /// What a worker said that failed by a mistake of the program's own.
    mistake: Option<String>,
    /// Who injects faults, if anybody.
    disturber: Option<Disturber>,
    /// What its processes note of when they do what, if that is wanted.
    traces: Option<Joined>,
}

impl<'a> LocalCluster<'a> {
    fn new(
        options: &'a Options,
        reporter: &'a SharedConsole,
        token: Option<Secret>,
    ) -> LocalCluster<'a> {
        let disturber = |chaos| Disturber::new(chaos, options.seats.len());
        LocalCluster {
            options,
            reporter,
            children: Children::new(),
            token,
            coordinator: None,
            address: None,
            page_port: None,
            workers: Vec::new(),
            backoffs: vec![Backoff::default(); options.seats.len()],
            too_few_since: None,
            training: false,
            is_stopping: false,
            ending_by_itself: false,
            is_finished: false,
            error: None,
            mistake: None,
            disturber: options.chaos.as_ref().map(disturber),
            traces: None,
        }
    }

    fn console(&self) -> std::sync::MutexGuard<'_, Console> {
        self.reporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts the coordinator; again where it listened before, to go on with the run.
    fn start_coordinator(&mut self) -> Result<()> {
        let Options { job, workers_start, workers_min, out, resume, open, .. } = self.options;
        let mut command = command("coordinator", self.token.as_ref())?;
        command.arg(&job.job).arg("--out").arg(out);
        for setting in &job.settings {
            command.args(["--set", &setting.to_string()]);
        }
        let listen = open.as_ref().map_or("127.0.0.1:0", |open| &open.listen);
        command.args(["--listen", self.address.as_deref().unwrap_or(listen)]);
        for address in open.iter().flat_map(|open| &open.advertise) {
            command.args(["--advertise", address]);
        }
        command.args(["--http", &self.options.http.at_port(self.page_port).to_string()]);
        if *resume || self.address.is_some() {
            command.arg("--resume");
        }
        let first = if self.training { workers_min } else { workers_start };
        command.args(["--workers-start", &first.to_string()]);
        if let Some(disturber) = &mut self.disturber {
            command.args(disturber.before_start(out));
        }
        self.observe(&mut command);
        self.coordinator = Some(self.children.start(|_| From::Coordinator, command, None)?);
        Ok(())
    }

    /// Shows what is heard until the coordinator has ended, or cannot end for want of workers.
    async fn watch(&mut self) -> Result<()> {
        loop {
            let patience = self.too_few_since.filter(|_| !self.ending_by_itself);
            let patience = patience.map(|since| since + END_WAIT_MAX);
            let disturb_at = self.disturb_at();
            let show_at = self.console().due();
            let heard = tokio::select! {
                heard = self.children.hear() => heard,
                () = until(patience) => return Err(self.too_few()),
                () = until(show_at) => {
                    self.console().show_due(Instant::now());
                    continue;
                }
                () = until(disturb_at) => {
                    self.disturb()?;
                    continue;
                }
            };
            match heard {
                Heard::Line(from, line) => {
                    if let Some(address) = self.show(from, &line) {
                        self.listening(address)?;
                    }
                }
                Heard::Ended(From::Coordinator, status) => {
                    self.coordinator = None;
                    if !self.restarts_after(&status) {
                        return self.result(status);
                    }
                }
                Heard::Ended(From::Worker(pid), status) => self.worker_ended(pid, &status),
            }
        }
    }

    /// The first time, workers are started; later they find the coordinator by themselves.
    fn listening(&mut self, address: String) -> Result<()> {
        self.address = Some(address);
        if self.workers.is_empty() {
            for seat in 0..self.options.seats.len() {
                let worker = self.start_worker(seat)?;
                self.workers.push(worker);
            }
        }
        if let Some(disturber) = &mut self.disturber {
            disturber.listening();
        }
        Ok(())
    }

    fn worker_ended(&mut self, pid: u32, status: &std::io::Result<ExitStatus>) {
        let Some(at) = self.workers.iter().position(|worker| worker.pid() == Some(pid)) else {
            return;
        };
        let replacement = self.replacement(at, status);
        if !was_told(status) && !matches!(self.workers[at], Worker::Killed { .. }) {
            self.tell_of_early_end(at, pid, replacement, status);
        }
        self.workers[at] = replacement;
        if self.workers_left() < self.workers_wanted() {
            self.too_few_since.get_or_insert_with(Instant::now);
        }
    }

    fn workers_left(&self) -> usize {
        self.workers.iter().filter(|&&worker| worker != Worker::Gone).count()
    }

    /// All until the first step is made, then as many as the job asks for; of others nobody here knows.
    fn workers_wanted(&self) -> usize {
        match &self.options.open {
            Some(open) if open.expects_others => 0,
            _ if self.training => self.options.workers_min,
            _ => self.options.workers_start,
        }
    }

    fn too_few(&self) -> Error {
        let (left, wanted) = (self.workers_left(), self.workers_wanted());
        let (left, is) = (count(left as u64, "worker"), if left == 1 { "is" } else { "are" });
        let too_few = format!("{left} {is} left and the run needs {wanted}");
        match &self.mistake {
            // Again it would end like this.
            Some(mistake) => Error::Child(format!("{too_few}: {mistake}"), exit::INTERNAL),
            None => Error::Child(format!("{too_few}: start it again"), exit::TRY_AGAIN),
        }
    }

    /// Shows a line; returns the address if it says where the coordinator listens.
    fn show(&mut self, from: From, line: &str) -> Option<String> {
        let prefix = if from == From::Coordinator { String::new() } else { self.name(from) };
        match serde_json::from_str::<Report>(line) {
            Ok(Report::Error { message, exit_code }) if from == From::Coordinator => {
                self.error = Some((message, exit_code));
            }
            // The coordinator tells it better.
            Ok(Report::Error { exit_code: exit::RUN_FAILED, .. }) => {}
            // Workers are told to look for the coordinator again, and then to end.
            Ok(_) if from != From::Coordinator && self.is_stopping => {}
            Ok(told) if from != From::Coordinator && self.goes_without_saying(&told) => {}
            Ok(told) => {
                let origin = serde_json::from_str(line).unwrap_or_default();
                self.console().report_from(&prefix, &origin, &told);
                if let Report::Error { message, exit_code: exit::INTERNAL } = &told {
                    self.mistake.get_or_insert_with(|| message.clone());
                }
                self.training |= matches!(told, Report::Progress { .. });
                self.is_finished |= matches!(told, Report::Finished { .. });
                if matches!(told, Report::Ending) {
                    self.ending_by_itself = true;
                    // The coordinator waits for the workers' farewell.
                    self.children.enter(Stage::Calm);
                    self.disturber.iter_mut().for_each(Disturber::end);
                }
                if let Report::Listening { address, page, .. } = told {
                    // A coordinator that is started again is found where it was.
                    self.page_port = page.as_deref().and_then(port_of).or(self.page_port);
                    return Some(address);
                }
            }
            Err(_) => self.console().foreign(&self.name(from), line),
        }
        None
    }

    fn result(&mut self, status: std::io::Result<ExitStatus>) -> Result<()> {
        match (&status, self.error.take()) {
            (Ok(status), _) if status.success() => Ok(()),
            // All is written.
            _ if self.is_finished && was_killed(&status) && self.disturber.is_some() => Ok(()),
            (_, Some((message, code))) => Err(Error::Child(message, code)),
            _ => Err(Error::Child(
                format!("the coordinator ended early ({})", text(&status)),
                exit::TRY_AGAIN,
            )),
        }
    }
}

/// The port of a page.
fn port_of(page: &str) -> Option<u16> {
    PageAddress::parse(page).ok()?.host.rsplit_once(':')?.1.parse().ok()
}

/// Whether a worker ended because the coordinator said so, or somebody else.
fn was_told(status: &std::io::Result<ExitStatus>) -> bool {
    let code = status.as_ref().ok().and_then(ExitStatus::code);
    let told = [exit::RUN_FAILED, exit::STOPPED].map(i32::from);
    code.is_some_and(|code| code == 0 || told.contains(&code))
}

fn was_killed(status: &std::io::Result<ExitStatus>) -> bool {
    let signal = status.as_ref().ok().and_then(ExitStatus::signal);
    signal == Some(Signal::SIGKILL as i32)
}

fn text(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
