//! A `lockstep` process under watch: its lines as they come, its end within a bound, and no survivor of a failed test.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest wait for anything: far more than it takes on a slow machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The program, in a folder, with nothing of the caller's settings.
pub(crate) fn lockstep(folder: &Path, arguments: &[&str]) -> Command {
    through(Command::new(env!("CARGO_BIN_EXE_lockstep")), folder, arguments)
}

/// The same, where `command` leads to the program.
pub(crate) fn through(mut command: Command, folder: &Path, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("LOCKSTEP_LOG_FORMAT")
        .env_remove("LOCKSTEP_COORDINATOR")
        .env_remove("CLICOLOR_FORCE")
        // To name the places of a panic takes seconds on a busy machine, and the run is over by then.
        .env_remove("RUST_BACKTRACE");
    command
}

/// A running process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Lines::new(child.stdout.take().unwrap());
        let stderr = Lines::new(child.stderr.take().unwrap());
        Process { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Not reaped yet, so the number is still its own.
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The first line of standard error that has `fragment`, now or later.
    pub(crate) fn line(&self, fragment: &str) -> String {
        let found = self.stderr.first(|line| line.contains(fragment).then(|| line.to_string()));
        found.unwrap_or_else(|| panic!("no line with {fragment:?}, only:\n{}", self.stderr.text()))
    }

    /// The first report of a kind that `fits`, now or later; the process writes JSON lines.
    pub(crate) fn report(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = self.stderr.first(|line| {
            let report: Value = serde_json::from_str(line).ok()?;
            (report["event"] == kind && fits(&report)).then_some(report)
        });
        found.unwrap_or_else(|| panic!("no report {kind:?} that fits:\n{}", self.stderr.text()))
    }

    /// Where it says that it listens.
    pub(crate) fn address(&self) -> String {
        self.report("listening", |_| true)["address"].as_str().unwrap().to_string()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut status = None;
        let ended = poll(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "process {} does not end:\n{}", self.pid(), self.stderr.text());
        self.stdout.close();
        self.stderr.close();
        Ended {
            pid: self.child.id(),
            status: status.unwrap(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// That it ended with this exit code and without a panic.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) {
        assert_eq!(self.code(), Some(code), "{self}");
        for trace in ["panicked", "backtrace", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(trace), "{self}");
        }
    }

    /// The same, and that it said this on standard error.
    #[track_caller]
    pub(crate) fn expect_with(&self, code: i32, fragment: &str) {
        self.expect(code);
        assert!(self.stderr.contains(fragment), "wanted {fragment:?} in\n{self}");
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n-- stdout\n{}-- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs a process to its end.
pub(crate) fn run(command: Command) -> Ended {
    Process::start(command).end()
}

/// Asks again and again until it is so, or the wait is over.
pub(crate) fn poll(mut is_so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if started.elapsed() > WAIT_MAX {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// What a process has written so far, read by a thread of its own so that the process never has to wait.
struct Lines {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    is_over: bool,
}

impl Lines {
    fn new(pipe: impl Read + Send + 'static) -> Lines {
        let shared = Arc::new(Shared::default());
        let reader = {
            let shared = shared.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n') {
                    let Ok(line) = line else { break };
                    let line = String::from_utf8_lossy(&line).into_owned();
                    shared.written.lock().unwrap().lines.push(line);
                    shared.changed.notify_all();
                }
                shared.written.lock().unwrap().is_over = true;
                shared.changed.notify_all();
            })
        };
        Lines { shared, reader: Some(reader) }
    }

    /// The first line for which `find` finds something, now or later; `None` when there can be no such line any more.
    fn first<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        let mut written = self.shared.written.lock().unwrap();
        let mut seen = 0;
        loop {
            let found = written.lines[seen..].iter().find_map(|line| find(line));
            if found.is_some() {
                return found;
            }
            seen = written.lines.len();
            let left = WAIT_MAX.checked_sub(started.elapsed())?;
            if written.is_over {
                return None;
            }
            written = self.shared.changed.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Reads what is left of an ended process.
    fn close(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    fn text(&self) -> String {
        self.shared.written.lock().unwrap().lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
