//! What a process has to do with its parent, its signals and its host.

use std::io::Read as _;
use std::path::Path;

use lockstep_run::error::{Error, Result, STOPPED, exit};
use lockstep_run::report::{Report, report};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::report::SharedConsole;

/// Ready when the process is asked to stop: Ctrl-C, SIGTERM, or SIGUSR1, by which schedulers warn of a time limit.
pub(super) async fn stop_signal() {
    StopSignals::new().next().await;
}

/// Every time that the process is asked to stop.
pub(super) struct StopSignals {
    /// Ctrl-C, SIGTERM and SIGUSR1, as far as they can be caught.
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 3],
}

impl StopSignals {
    /// From now on a signal no longer ends the process by itself.
    pub(super) fn new() -> StopSignals {
        StopSignals {
            #[cfg(unix)]
            signals: {
                use tokio::signal::unix::{SignalKind, signal};
                let kinds =
                    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::user_defined1()];
                kinds.map(|kind| signal(kind).ok())
            },
        }
    }

    /// Ready at the next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
            let came = match signal {
                Some(signal) => signal.recv().await,
                None => None,
            };
            if came.is_none() {
                std::future::pending::<()>().await;
            }
        }
        let [interrupt, terminate, warning] = &mut self.signals;
        tokio::select! {
            () = next(interrupt) => {}
            () = next(terminate) => {}
            () = next(warning) => {}
        }
    }

    /// Ready at the next one.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Overwrites what stands behind `#` in an argument of this process, where others can read it, as in a list of processes.
/// Does nothing where the system has no such place.
#[cfg(target_os = "linux")]
pub(super) fn wipe_argument(argument: &str) {
    use std::os::unix::fs::FileExt as _;
    let wipe = || -> Option<()> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Behind the program's name, which may hold anything: `arg_start` is the 48th of all fields, the third comes first.
        let start: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(45)?.parse().ok()?;
        let line = std::fs::read("/proc/self/cmdline").ok()?;
        let secret = argument.split_once('#')?.1.as_bytes();
        let place = line.windows(secret.len()).position(|bytes| bytes == secret)?;
        let memory = std::fs::File::options().write(true).open("/proc/self/mem").ok()?;
        memory.write_all_at(&vec![b'x'; secret.len()], start + place as u64).ok()
    };
    // What cannot be wiped stays: whoever wants to hide it more surely has --join-file.
    let _ = wipe();
}

/// Nothing is known of where this system keeps them.
#[cfg(not(target_os = "linux"))]
pub(super) fn wipe_argument(_: &str) {}

/// From now on a crash of this process leaves no image of its memory, which holds secrets.
pub(super) fn refuse_core_dumps() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        // One byte, not none: where images go through a pipe Linux ignores the limit, except for this one (core(5)).
        let most = getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, most)| most);
        // If it fails, there is nothing else to be done about it.
        let _ = setrlimit(Resource::RLIMIT_CORE, most.min(1), most);
    }
}

/// From now on this process may have as many files and connections open as the system lets it: those who have not joined may
/// hold a thousand, which is as many as is usual.
pub(super) fn open_many() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        // With fewer it goes on, and says so when there are none left.
        let _ = getrlimit(Resource::RLIMIT_NOFILE)
            .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    }
}

/// A text as one word of a shell's command.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '=' | ':');
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Does a work that ends soon after the first signal; at the second one the process ends at once. Not a launcher's child:
/// schedulers signal every process of a task, the launcher hands the signal on, and it is the launcher that decides when it has
/// waited long enough.
pub(super) async fn stop_or_end<T>(
    is_child: bool,
    work: impl AsyncFnOnce(oneshot::Receiver<()>) -> T,
) -> T {
    let mut signals = StopSignals::new();
    let (stop, stopped) = oneshot::channel();
    let twice = async {
        signals.next().await;
        // Fails only when the work has just ended.
        let _ = stop.send(());
        signals.next().await;
        if is_child {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = work(stopped) => result,
        () = twice => std::process::exit(i32::from(lockstep_run::error::exit::STOPPED)),
    }
}

/// What runs tasks on the thread that waits for them.
///
/// # Errors
/// If the system cannot give what it needs.
pub(super) fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::Internal(format!("cannot start: {error}")))
}

/// What runs tasks on threads of its own.
///
/// # Errors
/// If the system cannot give what it needs.
pub(super) fn runtime_of(threads: usize) -> Result<Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build();
    runtime.map_err(|error| Error::Internal(format!("cannot start threads: {error}")))
}

/// Ends this process at the first signal that asks it to stop, and removes a file that is not whole yet.
pub(super) fn remove_if_stopped(file: Option<&Path>, reporter: &SharedConsole) {
    let Some(file) = file.map(Path::to_path_buf) else { return };
    let reporter = reporter.clone();
    // Where it cannot be started, a signal leaves the file.
    let Ok(runtime) = runtime() else { return };
    let (is_watched, watched) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut signals = StopSignals::new();
            // Fails only if nobody waits for it.
            let _ = is_watched.send(());
            signals.next().await;
        });
        // It may be in its place by now.
        let _ = std::fs::remove_file(file);
        let exit_code = exit::STOPPED;
        report(&reporter, &Report::Error { message: STOPPED.to_owned(), exit_code });
        std::process::exit(i32::from(exit_code));
    });
    let _ = watched.recv();
}

/// Ends this process when its parent ends, however that happens. The kernel's death signal reaches a stopped process
/// too; the end of standard input, which the parent holds open, works on every system and closes the race at the start.
pub(super) fn end_with_parent(parent: Option<u32>) {
    let Some(parent) = parent else { return };
    #[cfg(target_os = "linux")]
    {
        // If it fails, the end of standard input still does it.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        if std::os::unix::process::parent_id() != parent {
            std::process::exit(i32::from(lockstep_run::error::exit::STOPPED));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    end_with_input();
}

/// Ends this process when its standard input does, which whoever started it holds open.
pub(super) fn end_with_input() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        std::process::exit(i32::from(lockstep_run::error::exit::STOPPED));
    });
}
