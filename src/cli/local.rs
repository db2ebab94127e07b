//! A cluster of processes on this machine: starts them, shows what they say, and sees them all end.
//!
//! Children are this same program, tied to this process (see [`super::process`]), in process groups of their own so that
//! Ctrl-C reaches only the launcher, which sees to the rest.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::process;
use crate::error::{Error, Result, STOPPED, exit};
use crate::record::{SharedReporter, report};
use crate::report::Report;

/// How long children get to end when the coordinator has ended or was asked to, and again when they were asked to
/// themselves, before they are killed.
const END_WAIT_MAX: Duration = Duration::from_secs(4);

/// Most lines of children that wait to be shown.
const LINES_MAX: usize = 256;

/// Longest line of a child that is kept whole.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// What to start.
pub(super) struct Options {
    pub(super) job: PathBuf,
    pub(super) workers: usize,
    /// The run pauses with fewer.
    pub(super) workers_min: usize,
    pub(super) threads: Option<usize>,
    pub(super) out: PathBuf,
    pub(super) resume: bool,
}

/// Runs the cluster to the end of its job.
pub(super) async fn run(options: Options, reporter: &SharedReporter) -> Result<()> {
    let mut signals = process::StopSignals::new();
    let mut cluster = Cluster::start(&options, reporter)?;
    let result = tokio::select! {
        result = cluster.watch(&options) => result,
        () = signals.next() => Err(Error::Stopped(STOPPED.to_string())),
    };
    // A coordinator that ended as it should has told the workers, and so has one that is asked to.
    let told = matches!(result, Ok(()) | Err(Error::Stopped(_))) || cluster.error.is_some();
    let last_words = tokio::select! {
        last_words = cluster.end(told) => last_words,
        // Children die with the cluster.
        () = signals.next() => None,
    };
    match (result, last_words) {
        // The coordinator knows where the run can go on.
        (Err(Error::Stopped(_)), Some((message, exit::STOPPED))) => Err(Error::Stopped(message)),
        (result, _) => result,
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Coordinator,
    /// By process id, as the coordinator lists it too.
    Worker(u32),
}

impl From {
    fn name(self) -> String {
        match self {
            From::Coordinator => "coordinator".to_string(),
            From::Worker(pid) => format!("process {pid}"),
        }
    }
}

/// Who has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Nobody,
    /// It tells the workers.
    Coordinator,
    Everybody,
}

/// What children are heard of.
enum Heard {
    Line(From, String),
    Ended(From, std::io::Result<ExitStatus>),
}

struct Cluster<'a> {
    reporter: &'a SharedReporter,
    /// One for each child: it owns the child, passes on its lines and awaits its end.
    tasks: JoinSet<()>,
    heard: mpsc::Receiver<Heard>,
    heard_tx: mpsc::Sender<Heard>,
    ending: watch::Sender<Ending>,
    workers_left: usize,
    /// Whether the first step has been made.
    training: bool,
    /// Whether the coordinator has said that the training is over; it may have much to write.
    ending_by_itself: bool,
    /// The coordinator's last words.
    error: Option<(String, u8)>,
}

impl<'a> Cluster<'a> {
    fn start(options: &Options, reporter: &'a SharedReporter) -> Result<Cluster<'a>> {
        let (heard_tx, heard) = mpsc::channel(LINES_MAX);
        let mut cluster = Cluster {
            reporter,
            tasks: JoinSet::new(),
            heard,
            heard_tx,
            ending: watch::Sender::new(Ending::Nobody),
            workers_left: 0,
            training: false,
            ending_by_itself: false,
            error: None,
        };
        let mut command = command("coordinator")?;
        command.arg(&options.job).arg("--out").arg(&options.out);
        command.args(["--listen", "127.0.0.1:0"]);
        if options.resume {
            command.arg("--resume");
        }
        command.args(["--workers-start", &options.workers.to_string()]);
        cluster.spawn(|_| From::Coordinator, command)?;
        Ok(cluster)
    }

    /// Shows what is heard until the coordinator has ended, or cannot end for want of workers.
    async fn watch(&mut self, options: &Options) -> Result<()> {
        // A run that ends takes its workers with it: a few moments are left to the coordinator to say so.
        let mut too_few_since = None::<Instant>;
        loop {
            let patience = too_few_since.filter(|_| !self.ending_by_itself);
            let patience = patience.map(|since| since + END_WAIT_MAX);
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                () = until(patience) => return Err(self.too_few(options)),
            };
            match heard {
                Some(Heard::Line(from, line)) => {
                    if let Some(address) = self.show(from, &line) {
                        self.start_workers(options, &address)?;
                    }
                }
                Some(Heard::Ended(From::Coordinator, status)) => return self.result(status),
                Some(Heard::Ended(From::Worker(pid), status)) => {
                    self.workers_left -= 1;
                    let code = status.as_ref().ok().and_then(ExitStatus::code);
                    if !matches!(code, Some(0)) && code != Some(i32::from(exit::RUN_FAILED)) {
                        let message =
                            format!("worker process {pid} ended early ({})", text(&status));
                        report(self.reporter, &Report::Warning { message });
                    }
                    if self.workers_left < self.workers_wanted(options) {
                        too_few_since.get_or_insert_with(Instant::now);
                    }
                }
                None => return Err(self.too_few(options)),
            }
        }
    }

    /// All until the first step is made, then as many as the job asks for.
    fn workers_wanted(&self, options: &Options) -> usize {
        if self.training { options.workers_min } else { options.workers }
    }

    fn too_few(&self, options: &Options) -> Error {
        let (left, wanted) = (self.workers_left, self.workers_wanted(options));
        let message = format!("{left} workers are left and the run needs {wanted}: start it again");
        Error::Child(message, exit::TRY_AGAIN)
    }

    /// Shows a line; returns the address if it says where the coordinator listens.
    fn show(&mut self, from: From, line: &str) -> Option<String> {
        let mut reporter = self.reporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let prefix = if from == From::Coordinator { String::new() } else { from.name() };
        match serde_json::from_str::<Report>(line) {
            Ok(Report::Error { message, exit_code }) if from == From::Coordinator => {
                self.error = Some((message, exit_code));
            }
            // The coordinator tells it better.
            Ok(Report::Error { exit_code: exit::RUN_FAILED, .. }) => {}
            Ok(told) => {
                reporter.report_from(&prefix, &told);
                self.training |= matches!(told, Report::Progress { .. });
                self.ending_by_itself |= matches!(told, Report::Ending);
                if let Report::Listening { address, .. } = told {
                    return Some(address);
                }
            }
            Err(_) => reporter.foreign(&from.name(), line),
        }
        None
    }

    fn start_workers(&mut self, options: &Options, address: &str) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or((cores / options.workers).max(1));
        for _ in 0..options.workers {
            let mut command = command("worker")?;
            command.args(["--coordinator", address]);
            command.args(["--threads", &threads.to_string()]);
            self.spawn(From::Worker, command)?;
            self.workers_left += 1;
        }
        Ok(())
    }

    fn spawn(&mut self, from: impl FnOnce(u32) -> From, mut command: Command) -> Result<()> {
        let failed = |error| Error::Internal(format!("cannot start a process: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        let from = from(child.id().unwrap_or_default());
        let asked_at = match from {
            From::Coordinator => Ending::Coordinator,
            From::Worker(_) => Ending::Everybody,
        };
        let (heard, mut ending) = (self.heard_tx.clone(), self.ending.subscribe());
        self.tasks.spawn(async move {
            let lines = child.stderr.take();
            // Held open: its end tells the child that this process is gone. (`wait` would close it.)
            let _tie = child.stdin.take();
            let asked = async {
                // Fails only when the launcher is gone, and then nobody is left to ask.
                let _ = ending.wait_for(|ending| *ending >= asked_at).await;
            };
            let (end, ()) = tokio::join!(
                async {
                    tokio::select! {
                        status = child.wait() => status,
                        () = asked => {
                            ask_to_end(&child);
                            child.wait().await
                        }
                    }
                },
                listen(from, lines, &heard),
            );
            let _ = heard.send(Heard::Ended(from, end)).await;
        });
        Ok(())
    }

    fn result(&mut self, status: std::io::Result<ExitStatus>) -> Result<()> {
        match (&status, self.error.take()) {
            (Ok(status), _) if status.success() => Ok(()),
            (_, Some((message, code))) => Err(Error::Child(message, code)),
            _ => Err(Error::Child(
                format!("the coordinator ended early ({})", text(&status)),
                exit::TRY_AGAIN,
            )),
        }
    }

    /// Sees every child end: by itself where the coordinator tells it, then asked to, killed at last. The coordinator's
    /// last words, if they were not known before.
    async fn end(mut self, told: bool) -> Option<(String, u8)> {
        for ending in [Ending::Coordinator, Ending::Everybody] {
            if ending == Ending::Coordinator && !told {
                continue;
            }
            self.ending.send_replace(ending);
            let _ = tokio::time::timeout(END_WAIT_MAX, self.ended()).await;
        }
        // Children die with their task: `kill_on_drop`.
        self.tasks.shutdown().await;
        // What they said last may still wait to be shown.
        while let Ok(heard) = self.heard.try_recv() {
            if let Heard::Line(from, line) = heard {
                self.show(from, &line);
            }
        }
        self.error.take()
    }

    async fn ended(&mut self) {
        while !self.tasks.is_empty() {
            tokio::select! {
                _ = self.tasks.join_next() => {}
                Some(heard) = self.heard.recv() => if let Heard::Line(from, line) = heard {
                    self.show(from, &line);
                },
            }
        }
    }
}

/// Ready at that time; never, if there is none.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Passes on a child's lines until it closes its standard error.
async fn listen(from: From, lines: Option<ChildStderr>, heard: &mpsc::Sender<Heard>) {
    let Some(lines) = lines else { return };
    let mut lines = BufReader::new(lines);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(1..) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_string();
                let _ = heard.send(Heard::Line(from, text)).await;
            }
            _ => return,
        }
    }
}

fn ask_to_end(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // The child is not reaped yet, so the number is still its own; it fails only if it has just ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

fn text(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// A command of this program, tied to this process.
fn command(name: &str) -> Result<Command> {
    let program = std::env::current_exe()
        .map_err(|error| Error::Internal(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    command
        .args(["--log-format", "json", name])
        .args(["--child-of", &std::process::id().to_string()])
        .env_remove("LOCKSTEP_LOG_FORMAT")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}
