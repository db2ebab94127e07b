//! A run in a terminal: asked of its page while it goes on, and made of its folder's records otherwise.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use lockstep_net::Trust;
use lockstep_run::error::{Error, Result, exit};
use lockstep_run::report::figures::{duration, figure, shown, side_by_side, thousands};
use lockstep_run::run_folder::{page, pin};
use lockstep_run::status_of::status_of;
use lockstep_status::address::{PageAddress, Proof};
use lockstep_status::client::{AskError, ask};
use lockstep_status::value::{Member, RUNS_MAX, Status};
use lockstep_worker::Guide as _;

use super::args;
use super::joining::JoinFile;
use super::{process, runs};
use crate::report::{SharedConsole, data_output};

/// How often a run is looked at again.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Most workers, and most events, that are shown.
const MEMBERS_SHOWN: usize = 40;
const EVENTS_SHOWN: usize = 8;

/// Whom to ask.
enum Target {
    /// The page there.
    Page(PageAddress, Proof),
    /// Whatever the folder says.
    Folder(PathBuf),
}

/// Shows a run, once or until it is over.
///
/// # Errors
/// If nobody answers there, or the folder is that of no run.
pub(super) fn run(options: &args::Status, reporter: &SharedConsole) -> Result<()> {
    process::refuse_core_dumps();
    let target = target(options.run.as_deref())?;
    process::runtime()?.block_on(async {
        let mut stop = process::StopSignals::new();
        let mut drawn = 0;
        loop {
            let status = look(&target).await?;
            let is_over = status.run.state.is_over();
            match options.json {
                true => tell(&status)?,
                false => {
                    let mut console = reporter.lock().unwrap_or_else(PoisonError::into_inner);
                    drawn = console
                        .redraw(drawn, &lines(&status), &status)
                        .map_err(|error| Error::file("standard output", "write", &error))?;
                }
            }
            if is_over || !options.watch {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                () = stop.next() => return Ok(()),
            }
        }
    })
}

/// The status of a run by its folder: of its page, if that answers, or of its records.
///
/// # Errors
/// If the folder is that of no run.
pub(super) async fn of_folder(run: &Path) -> Result<Status> {
    let Some(page) = page(run) else { return status_of(run) };
    // What the folder says of its coordinator's key is what workers are told.
    let proof = match JoinFile::of_run(run).target().map(|target| target.trust) {
        Ok(Trust::Pinned(pin, _)) => Proof::Pin(pin),
        _ => pin(run).map_or(Proof::None, Proof::Pin),
    };
    match ask(&page, &proof).await {
        Ok(status) => Ok(status),
        // It was killed, or is on another machine.
        Err(_) => status_of(run),
    }
}

/// That no more runs are to be shown together than can be told apart.
///
/// # Errors
/// If there are more.
pub(super) fn check_together(runs: &[PathBuf]) -> Result<()> {
    match runs.len() {
        0..=RUNS_MAX => Ok(()),
        found => Err(Error::Arguments(format!("found {found} runs, wanted {RUNS_MAX} at most"))),
    }
}

/// How several runs are, in their order.
///
/// # Errors
/// If a folder is that of no run.
pub(super) fn of_folders(runs: &[PathBuf]) -> Result<Vec<Status>> {
    let runtime = process::runtime()?;
    runs.iter().map(|run| runtime.block_on(of_folder(run))).collect()
}

async fn look(target: &Target) -> Result<Status> {
    match target {
        Target::Folder(run) => of_folder(run).await,
        Target::Page(page, proof) => ask(page, proof).await.map_err(|error| {
            let code = match &error {
                AskError::NoAnswer(..) => exit::TRY_AGAIN,
                AskError::Locked(_) | AskError::Foreign(..) => exit::REFUSED,
            };
            Error::Child(error.to_string(), code)
        }),
    }
}

fn target(named: Option<&str>) -> Result<Target> {
    let Some(named) = named else {
        let newest = runs::newest(Path::new("runs"));
        let missing = || {
            let problem = "found no run in the folder runs, wanted a run folder or the address of a status page";
            Error::Arguments(problem.to_string())
        };
        return newest.map(Target::Folder).ok_or_else(missing);
    };
    let path = Path::new(named);
    if path.is_dir() {
        return Ok(Target::Folder(path.to_path_buf()));
    }
    match PageAddress::parse(named) {
        Ok(page) => {
            process::wipe_argument(named);
            Ok(Target::Page(page, Proof::None))
        }
        Err(error) => Err(Error::Arguments(format!("there is no such run folder, and {error}"))),
    }
}

fn tell(status: &Status) -> Result<()> {
    // Numbers, names and lists of them can always be written.
    let json = serde_json::to_string(status).unwrap_or_default();
    let mut out = data_output();
    let written = out.write_all(format!("{json}\n").as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Error::file("standard output", "write", &error))
}

fn lines(status: &Status) -> Vec<String> {
    let Status { run, position, now, counts, .. } = status;
    let reason = run.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    let mut lines = vec![format!("{}: {}{reason}", run.name, run.state.name())];
    let share = 100.0 * position.step as f64 / position.steps.max(1) as f64;
    lines.push(format!(
        "epoch {} of {}, step {} of {} ({share:.0} %)",
        position.epoch,
        position.epochs,
        thousands(position.step as f64),
        thousands(position.steps as f64)
    ));
    let number = |value: Option<f64>| value.map_or("–".to_string(), figure);
    let pace = now.rows_per_second.map_or("–".to_string(), thousands);
    let left = match now.seconds_left {
        Some(left) => format!("{} left", duration(left)),
        None => format!("after {}", duration(now.seconds)),
    };
    let name = shown("loss", now.loss_is_scaled);
    lines.push(format!(
        "{name} {}, learning rate {}, {pace} rows/s, {left}",
        number(now.loss),
        number(now.learning_rate)
    ));
    if let Some(epoch) = status.epochs.last() {
        let values: Vec<String> =
            epoch.values.iter().map(|(name, &value)| format!("{name} {}", number(value))).collect();
        lines.push(format!("epoch {}: {}", epoch.epoch, values.join(", ")));
    }
    for wait in &status.waits {
        let limit =
            wait.limit_seconds.map_or(String::new(), |limit| format!(", {limit:.0} s at most"));
        lines.push(format!("WAITING ({}{limit}): {}; {}", wait.stage, wait.what, wait.remedy));
    }
    lines.extend(status.explanations.iter().cloned());
    lines.extend(status.adds.iter().map(|who| format!("gradients are added up by {who}")));
    lines.extend(members(&status.members));
    for gone in status.gone.iter().rev().take(EVENTS_SHOWN) {
        lines.push(format!(
            "worker {} ({}) left after step {}: {}",
            gone.worker, gone.host, gone.step, gone.reason
        ));
    }
    lines.push(format!(
        "joined {}, lost {}, refused {}, spans late {}, microbatches again {}, checkpoints {}, warnings {}",
        counts.joined,
        counts.lost,
        counts.refused,
        counts.hedged,
        counts.dealt_again,
        counts.checkpoints,
        counts.warnings
    ));
    let events = status.events.len().saturating_sub(EVENTS_SHOWN);
    for event in &status.events[events..] {
        let times =
            if event.times > 1 { format!(" ({} times)", event.times) } else { String::new() };
        lines.push(format!("  step {}: {}{times}", event.step, event.text));
    }
    lines
}

/// The workers, side by side.
fn members(all: &[Member]) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let percent = |share: Option<f64>| {
        share.map_or("–".to_string(), |share| format!("{:.0} %", 100.0 * share))
    };
    let column = |title: &str, cell: &dyn Fn(&Member) -> String| -> Vec<String> {
        let cells = all.iter().take(MEMBERS_SHOWN).map(cell);
        std::iter::once(title.to_string()).chain(cells).collect()
    };
    let columns = [
        column("worker", &|member| member.worker.to_string()),
        column("machine", &|member| member.host.clone()),
        column("state", &|member| member.state.clone()),
        column("shards", &|member| {
            member.span.map_or("–".to_string(), |(start, end)| format!("{start}..{end}"))
        }),
        column("rows/s", &|member| member.rows_per_second.map_or("–".to_string(), thousands)),
        column("computing", &|member| percent(member.computing)),
        column("sending", &|member| percent(member.sending)),
        column("waiting", &|member| percent(member.waiting)),
        column("lag", &|member| member.lag.map_or("–".to_string(), |lag| format!("{lag:.2}x"))),
    ];
    let mut lines = side_by_side(&columns, &[1, 2, 3]);
    if all.len() > MEMBERS_SHOWN {
        lines.push(format!("and {} more workers", all.len() - MEMBERS_SHOWN));
    }
    let odd = all.iter().filter(|member| !member.reason.is_empty());
    lines.extend(
        odd.map(|member| {
            format!("worker {} is {}: {}", member.worker, member.state, member.reason)
        }),
    );
    lines
}
