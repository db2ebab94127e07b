//! The processes of a local cluster: starting them, hearing them, ordering them about, seeing them end.
//!
//! Each child has a task that owns it and alone sends it signals: never to a number that another process has by now.
//! Decides nothing: what is started, and when to end, is the cluster's.

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use lockstep_net::Secret;
use lockstep_run::error::{Error, Result};

use crate::cli::joining::{TOKEN_VARIABLE, token_for_children};

/// Most lines of children that wait to be shown.
const LINES_MAX: usize = 256;

/// Longest line of a child that is kept whole.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Most orders that wait for a child.
const ORDERS_MAX: usize = 8;

/// A child that is slowed down is stopped and runs in turns: it gets about a quarter of the time.
const SLOW_STOPPED: Duration = Duration::from_millis(15);
const SLOW_RUNNING: Duration = Duration::from_millis(5);

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum From {
    Coordinator,
    /// By process id, as the coordinator lists it too.
    Worker(u32),
}

/// How far the end has come; each stage holds what the ones before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    AtWork,
    /// Whoever is held up goes on, and orders are not followed any more.
    Calm,
    /// The coordinator is asked to end; it tells the workers.
    Coordinator,
    /// Everybody is asked to end.
    Everybody,
}

/// What is done to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Kill,
    Stop(Duration),
    Slow(Duration),
}

/// What children are heard of.
pub(super) enum Heard {
    Line(From, String),
    Ended(From, std::io::Result<ExitStatus>),
}

/// All children.
pub(super) struct Children {
    /// One for each child: it owns the child, passes on its lines and awaits its end.
    tasks: JoinSet<()>,
    heard: mpsc::Receiver<Heard>,
    heard_tx: mpsc::Sender<Heard>,
    stage: watch::Sender<Stage>,
    orders: HashMap<From, mpsc::Sender<Order>>,
}

impl Children {
    pub(super) fn new() -> Children {
        let (heard_tx, heard) = mpsc::channel(LINES_MAX);
        Children {
            tasks: JoinSet::new(),
            heard,
            heard_tx,
            stage: watch::Sender::new(Stage::AtWork),
            orders: HashMap::new(),
        }
    }

    /// Starts a child, tells it something on its standard input, and returns its process id.
    pub(super) fn start(
        &mut self,
        from: impl FnOnce(u32) -> From,
        mut command: Command,
        told: Option<Zeroizing<String>>,
    ) -> Result<u32> {
        let failed = |error| Error::Internal(format!("cannot start a process: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        let from = from(pid);
        let (orders_tx, orders) = mpsc::channel(ORDERS_MAX);
        self.orders.insert(from, orders_tx);
        let asked_at = match from {
            From::Coordinator => Stage::Coordinator,
            From::Worker(_) => Stage::Everybody,
        };
        let (heard, stage) = (self.heard_tx.clone(), self.stage.subscribe());
        self.tasks.spawn(async move {
            let lines = child.stderr.take();
            // Held open: its end tells the child that this process is gone. (`wait` would close it.)
            let mut tie = child.stdin.take();
            if let (Some(tie), Some(told)) = (&mut tie, told) {
                // Fails only if it has ended, and that is heard.
                let _ = tie.write_all(told.as_bytes()).await;
                let _ = tie.flush().await;
            }
            let (end, ()) =
                tokio::join!(attend(child, asked_at, stage, orders), listen(from, lines, &heard),);
            let _ = heard.send(Heard::Ended(from, end)).await;
        });
        Ok(pid)
    }

    /// The next that is heard. Never ready when all have ended.
    pub(super) async fn hear(&mut self) -> Heard {
        // The owners of children that ended long ago.
        while self.tasks.try_join_next().is_some() {}
        match self.heard.recv().await {
            Some(heard) => {
                if let Heard::Ended(from, _) = heard {
                    self.orders.remove(&from);
                }
                heard
            }
            // Cannot be: one end of the channel is here.
            None => std::future::pending().await,
        }
    }

    /// Whether the child is there to be ordered about.
    pub(super) fn order(&self, from: From, order: Order) -> bool {
        self.orders.get(&from).is_some_and(|orders| orders.try_send(order).is_ok())
    }

    /// Goes on to a later stage.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.send_modify(|now| *now = stage.max(*now));
    }

    /// Ready with what is heard, or with nothing when every child has ended.
    pub(super) async fn hear_the_last(&mut self) -> Option<Heard> {
        while !self.tasks.is_empty() {
            tokio::select! {
                _ = self.tasks.join_next() => {}
                Some(heard) = self.heard.recv() => return Some(heard),
            }
        }
        self.heard.try_recv().ok()
    }

    /// Kills whoever is left: children die with their task (`kill_on_drop`).
    pub(super) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// How a child is held up.
struct HoldUp {
    until: Instant,
    /// When it goes on, or is stopped again.
    turn_at: Instant,
    is_stopped: bool,
}

impl HoldUp {
    /// Stops the child for the first time.
    fn begin(child: &Child, order: Order) -> HoldUp {
        signal(child, Signal::SIGSTOP);
        let now = Instant::now();
        let (until, turn_at) = match order {
            Order::Slow(lasting) => (now + lasting, now + SLOW_STOPPED),
            Order::Stop(lasting) => (now + lasting, now + lasting),
            Order::Kill => (now, now),
        };
        HoldUp { until, turn_at, is_stopped: true }
    }

    /// Takes the next turn; `None` when it is over.
    fn turn(mut self, child: &Child) -> Option<HoldUp> {
        let now = Instant::now();
        self.is_stopped = !self.is_stopped && now < self.until;
        signal(child, if self.is_stopped { Signal::SIGSTOP } else { Signal::SIGCONT });
        let lasting = if self.is_stopped { SLOW_STOPPED } else { SLOW_RUNNING };
        self.turn_at = self.until.min(now + lasting);
        (now < self.until).then_some(self)
    }
}

/// Awaits a child's end, and does to it what it is ordered until then.
async fn attend(
    mut child: Child,
    asked_at: Stage,
    mut stage: watch::Receiver<Stage>,
    mut orders: mpsc::Receiver<Order>,
) -> std::io::Result<ExitStatus> {
    let (mut held_up, mut is_asked) = (None::<HoldUp>, false);
    stage.mark_changed();
    loop {
        let turn_at = held_up.as_ref().map(|held_up| held_up.turn_at);
        tokio::select! {
            biased;
            status = child.wait() => return status,
            // Fails only when the launcher is gone, and then nobody is left to ask.
            Ok(()) = stage.changed() => {
                let stage = *stage.borrow_and_update();
                if stage >= Stage::Calm && held_up.take().is_some() {
                    signal(&child, Signal::SIGCONT);
                }
                if stage >= asked_at && !is_asked {
                    is_asked = true;
                    signal(&child, Signal::SIGTERM);
                }
            }
            Some(order) = orders.recv() => match order {
                _ if *stage.borrow() >= Stage::Calm => {}
                Order::Kill => signal(&child, Signal::SIGKILL),
                // A new one takes the place of the one before it.
                order => held_up = Some(HoldUp::begin(&child, order)),
            },
            () = until(turn_at) => held_up = held_up.take().and_then(|now| now.turn(&child)),
        }
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

/// The child is not reaped yet where it has a number, so the number is still its own.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Fails only if it has just ended.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Ready at that time; never, if there is none.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// A command of this program, tied to this process. With a token it is one of a cluster that only knows its own.
pub(super) fn command(name: &str, token: Option<&Secret>) -> Result<Command> {
    let program = std::env::current_exe()
        .map_err(|error| Error::Internal(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    command
        .args(["--log-format", "json", name])
        .args(["--child-of", &std::process::id().to_string()])
        .env_remove("LOCKSTEP_LOG_FORMAT");
    match token.map(token_for_children) {
        Some((variable, token)) => command.env(variable, token),
        None => command.env_remove(TOKEN_VARIABLE),
    };
    Ok(tied(command))
}

/// A command whose errors are heard, and that notices by its standard input when this process is gone.
pub(super) fn tied(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command
}
