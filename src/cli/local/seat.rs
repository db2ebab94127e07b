//! Where a cluster's workers are: in processes here, or on machines that ssh reaches. How each is started, and when again.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lockstep_run::error::{Error, Result, exit};
use lockstep_run::report::{Level, Report, report};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::children::{From, command, tied};
use super::{LocalCluster, text};
use crate::cli::joining::JoinFile;
use crate::cli::process::shell_word;

/// First and longest pause before a worker elsewhere is started again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Exit code of ssh for failures of its own.
const SSH_FAILED: i32 = 255;

/// Where a worker is.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Seat {
    /// On this machine.
    Here,
    /// On another.
    There(Ssh),
}

/// How a worker on another machine is started.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Ssh {
    /// `HOST` or `USER@HOST`.
    pub(in crate::cli) host: String,
    /// The command and its own options.
    pub(in crate::cli) command: Vec<String>,
    /// The program there.
    pub(in crate::cli) program: String,
    /// Seconds that the worker looks for the coordinator.
    pub(in crate::cli) wait: f64,
}

impl Ssh {
    /// A worker there, that is told the join line on its standard input and ends with it.
    fn worker(&self, threads: Option<usize>, level: Level) -> Command {
        let mut command = Command::new(self.command.first().map_or("ssh", String::as_str));
        command.args(self.command.iter().skip(1)).arg("--").arg(&self.host);
        command.arg(shell_word(&self.program));
        command.args(["--log-format", "json", "worker", "--join-file", "-", "--end-with-input"]);
        command.args(["--wait", &self.wait.to_string(), "--log-level", level.name()]);
        if let Some(threads) = threads {
            command.args(["--threads", &threads.to_string()]);
        }
        tied(command)
    }
}

/// How long to wait before a worker is started again: longer and longer, until one has lasted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pause: Duration,
    started_at: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { pause: PAUSE_MIN, started_at: None }
    }
}

impl Backoff {
    fn next(&mut self, now: Instant) -> Duration {
        if self.started_at.is_some_and(|at| now.duration_since(at) >= PAUSE_MAX) {
            self.pause = PAUSE_MIN;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

impl LocalCluster<'_> {
    /// Starts a seat's worker.
    pub(super) fn start_worker(&mut self, seat: usize) -> Result<Worker> {
        let (command, told) = match &self.options.seats[seat] {
            Seat::Here => (self.worker_here()?, None),
            Seat::There(ssh) => {
                let line = JoinFile::of_run(&self.options.out).line()?;
                let level = self.console().level();
                (
                    ssh.worker(self.options.threads, level),
                    Some(Zeroizing::new(format!("{}\n", *line))),
                )
            }
        };
        self.backoffs[seat].started_at = Some(Instant::now());
        Ok(Worker::AtWork(self.children.start(From::Worker, command, told)?))
    }

    fn worker_here(&mut self) -> Result<Command> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let here = self.options.seats.iter().filter(|seat| matches!(seat, Seat::Here)).count();
        let threads = self.options.threads.unwrap_or((cores / here.max(1)).max(1));
        let mut command = command("worker", self.token.as_ref())?;
        match &self.token {
            Some(_) => {
                command.args(["--coordinator", self.address.as_deref().unwrap_or_default()]);
            }
            None => {
                command.arg("--join-file").arg(JoinFile::of_run(&self.options.out).path());
            }
        }
        command.args(["--threads", &threads.to_string()]);
        self.observe(&mut command);
        Ok(command)
    }

    /// How long a worker that has ended is waited with before it is started again, where that is done: on other machines, which
    /// come and go, unless it would end in the same way again.
    pub(super) fn pause_elsewhere(
        &mut self,
        seat: usize,
        status: &std::io::Result<ExitStatus>,
    ) -> Option<Duration> {
        let Seat::There(_) = self.options.seats[seat] else { return None };
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let may_work = code.is_none_or(|code| {
            let passing = [exit::TRY_AGAIN, exit::STOPPED, exit::INTERNAL].map(i32::from);
            code == SSH_FAILED || passing.contains(&code)
        });
        may_work.then(|| self.backoffs[seat].next(Instant::now()))
    }

    /// When the first worker is to be started again; nobody is when the run is ending.
    pub(super) fn replacement_at(&self) -> Option<Instant> {
        let due = self.workers.iter().filter_map(|&worker| match worker {
            Worker::DueAt(at) => Some(at),
            _ => None,
        });
        due.min().filter(|_| !self.ending_by_itself)
    }

    /// Starts the workers that are to be started again by now.
    pub(super) fn start_replacements(&mut self, now: Instant) -> Result<()> {
        for seat in 0..self.workers.len() {
            if matches!(self.workers[seat], Worker::DueAt(due) if due <= now) {
                self.workers[seat] = self.start_worker(seat)?;
            }
        }
        Ok(())
    }

    /// Says that a worker ended that nobody had told to, and what becomes of it.
    pub(super) fn tell_of_early_end(
        &self,
        seat: usize,
        pid: u32,
        replacement: Worker,
        status: &std::io::Result<ExitStatus>,
    ) {
        let who = match &self.options.seats[seat] {
            Seat::Here => format!("worker process {pid}"),
            Seat::There(ssh) => format!("the worker on {}", ssh.host),
        };
        let next = match replacement {
            Worker::DueAt(at) => {
                let pause = at.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
                format!(": starting it again in {pause} s")
            }
            _ => String::new(),
        };
        let message = format!("{who} ended early ({}){next}", text(status));
        report(self.reporter, &Report::Warning { message });
    }

    /// What the lines of a child begin with.
    pub(super) fn name(&self, from: From) -> String {
        let place = |pid| self.workers.iter().position(|worker| worker.pid() == Some(pid));
        match from {
            From::Coordinator => "coordinator".to_string(),
            From::Worker(pid) => match place(pid).map(|seat| &self.options.seats[seat]) {
                Some(Seat::There(ssh)) => ssh.host.clone(),
                _ => format!("process {pid}"),
            },
        }
    }
}

/// The words of a command.
///
/// # Errors
/// If there are none.
pub(in crate::cli) fn words(command: &str) -> Result<Vec<String>> {
    let words: Vec<String> = command.split_whitespace().map(str::to_string).collect();
    match words.is_empty() {
        true => Err(Error::Arguments("--ssh: found nothing, wanted a command".to_string())),
        false => Ok(words),
    }
}

/// One of the cluster's workers, and those that replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worker {
    AtWork(u32),
    /// On purpose; a replacement is started that long after its end.
    Killed {
        pid: u32,
        pause: Duration,
    },
    /// A replacement is started then.
    DueAt(Instant),
    Gone,
}

impl Worker {
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            Worker::AtWork(pid) | Worker::Killed { pid, .. } => Some(pid),
            Worker::DueAt(_) | Worker::Gone => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_begin_anew_after_a_worker_that_lasted() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.next(now).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.started_at = Some(now);
        assert_eq!(backoff.next(now + PAUSE_MAX).as_secs(), 1);
        backoff.started_at = Some(now + PAUSE_MAX);
        assert_eq!(backoff.next(now + PAUSE_MAX).as_secs(), 2);
    }

    #[test]
    fn a_program_is_one_word_to_the_shell_there() {
        let ssh = Ssh {
            host: "me@node1".to_string(),
            command: words("ssh -p 22").unwrap(),
            program: "/opt/it's here/lockstep".to_string(),
            wait: 60.0,
        };
        let command = ssh.worker(Some(3), Level::Info);
        let arguments: Vec<_> =
            command.as_std().get_args().map(|text| text.to_string_lossy().into_owned()).collect();
        let wanted = "-p 22 -- me@node1 '/opt/it'\\''s here/lockstep' --log-format json worker --join-file - --end-with-input \
                      --wait 60 --log-level info --threads 3";
        assert_eq!(arguments.join(" "), wanted);
        assert!(words("  ").is_err());
    }
}
