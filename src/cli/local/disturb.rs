//! Injects a plan's faults into the cluster's processes, and mends them: replaces workers, starts the coordinator again.
//!
//! Faults begin when the coordinator listens for the first time and end when it says that the training is over. One
//! whose victim is not there passes by. A coordinator that is due to be killed is left to write a checkpoint first, so
//! that the run goes on however often it dies.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::chaos::{Chaos, Fault, FaultPlan};
use super::children::{From, Order};
use super::{LocalCluster, Worker, was_killed, was_told};
use lockstep_run::error::{Result, exit};
use lockstep_run::report::{FaultKind, Report, report};

/// How often a coordinator writes a checkpoint when it is to be killed, in seconds.
const CHECKPOINT_SECONDS: &str = "0.2";

/// How often a coordinator that is due to be killed is looked at for a checkpoint.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// When a worker is replaced that ended by the word of a coordinator that was killed after it. (One that was not says
/// that the run is over before that.)
const REPLACEMENT_PAUSE: Duration = Duration::from_millis(200);

/// A coordinator that is started again and finds its address taken tries again so often, after such pauses: a
/// connection that looks for it may have the port for a moment.
const RESTARTS_MAX: u32 = 50;
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The state of the faults.
pub(super) struct Disturber {
    chaos: Chaos,
    workers: usize,
    plan: Peekable<FaultPlan>,
    /// When the plan's time began.
    begun_at: Option<Instant>,
    coordinator: Coordinator,
    /// Where the run's checkpoints are.
    checkpoints: PathBuf,
    /// The newest one when the coordinator was started.
    newest_before: Option<String>,
    /// How often the coordinator has been started in vain.
    restarts: u32,
    /// Whether the training has been over once.
    is_over: bool,
    faults: BTreeMap<FaultKind, u64>,
}

/// What is about to happen to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinator {
    Starting,
    Listening,
    /// It is killed as soon as it has made progress; that is looked at then.
    Doomed(Instant),
    Killed,
    /// It is started again then.
    DueAt(Instant),
}

impl Disturber {
    pub(super) fn new(chaos: &Chaos, workers: usize) -> Disturber {
        Disturber {
            chaos: chaos.clone(),
            workers,
            plan: FaultPlan::new(chaos, workers).peekable(),
            begun_at: None,
            coordinator: Coordinator::Starting,
            checkpoints: PathBuf::new(),
            newest_before: None,
            restarts: 0,
            is_over: false,
            faults: FaultKind::ALL.map(|kind| (kind, 0)).into(),
        }
    }

    pub(super) fn summary(&self) -> Report {
        Report::ChaosOver { seed: self.chaos.seed, faults: self.faults.clone() }
    }

    /// What to say after a training that met no fault, though there were to be some.
    pub(super) fn met_none(&self) -> Option<Report> {
        let planned = FaultPlan::new(&self.chaos, self.workers).next()?;
        let is_none = self.faults.values().all(|&count| count == 0);
        let message = format!(
            "the training was over before any fault (the first was due after {:.1} s): train longer, or ask for more, \
             such as --chaos {},kill=600,coordinator=600",
            planned.at.as_secs_f64(),
            self.chaos.seed
        );
        is_none.then_some(Report::Warning { message })
    }

    /// A coordinator is about to be started on this run folder; returns what it is told for that.
    pub(super) fn before_start(&mut self, run: &Path) -> [&'static str; 2] {
        self.coordinator = Coordinator::Starting;
        self.checkpoints = run.join("checkpoints");
        self.newest_before = newest(&self.checkpoints);
        ["--checkpoint-seconds", CHECKPOINT_SECONDS]
    }

    pub(super) fn listening(&mut self) {
        self.coordinator = Coordinator::Listening;
        self.begun_at.get_or_insert_with(Instant::now);
        self.restarts = 0;
    }

    /// Whether workers can find no coordinator.
    fn is_down(&self) -> bool {
        !matches!(self.coordinator, Coordinator::Listening | Coordinator::Doomed(_))
    }

    /// Makes no more faults, even if a coordinator that was being killed has to end the training once more.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// When the next fault of the plan is due.
    fn fault_at(&mut self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let planned = self.plan.peek()?.at;
        self.begun_at?.checked_add(planned)
    }
}

impl LocalCluster<'_> {
    /// When [`LocalCluster::disturb`] has something to do.
    pub(super) fn disturb_at(&mut self) -> Option<Instant> {
        let worker_at = self.replacement_at();
        let Some(disturber) = self.disturber.as_mut() else { return worker_at };
        let coordinator_at = match disturber.coordinator {
            Coordinator::DueAt(at) => Some(at),
            Coordinator::Doomed(at) if !self.ending_by_itself => Some(at),
            _ => None,
        };
        if self.ending_by_itself {
            return coordinator_at;
        }
        let at = [coordinator_at, disturber.fault_at(), worker_at];
        at.into_iter().flatten().min()
    }

    /// Does what is due: starts who is to be started again, and makes the next faults.
    pub(super) fn disturb(&mut self) -> Result<()> {
        let now = Instant::now();
        if let Some(disturber) = &self.disturber
            && matches!(disturber.coordinator, Coordinator::DueAt(at) if at <= now)
        {
            self.ending_by_itself = false;
            self.error = None;
            self.start_coordinator()?;
        }
        if self.ending_by_itself {
            return Ok(());
        }
        self.start_replacements(now)?;
        while let Some(disturber) = &mut self.disturber
            && disturber.fault_at().is_some_and(|at| at <= now)
            && let Some(planned) = disturber.plan.next()
        {
            self.inject(&planned.fault);
        }
        self.kill_the_doomed();
        Ok(())
    }

    fn inject(&mut self, fault: &Fault) {
        match *fault {
            Fault::Kill { worker, pause } => self.kill_workers(worker..worker + 1, pause),
            Fault::KillAll { pause } => self.kill_workers(0..self.workers.len(), pause),
            Fault::Stop { worker, lasting } => {
                self.hold_up(FaultKind::Stop, worker, Order::Stop(lasting), lasting);
            }
            Fault::Slow { worker, lasting } => {
                self.hold_up(FaultKind::Slow, worker, Order::Slow(lasting), lasting);
            }
            Fault::Coordinator => {
                if let Some(disturber) = &mut self.disturber
                    && disturber.coordinator == Coordinator::Listening
                {
                    disturber.coordinator = Coordinator::Doomed(Instant::now());
                }
            }
        }
    }

    fn kill_workers(&mut self, workers: std::ops::Range<usize>, pause: Duration) {
        let mut killed = Vec::new();
        for worker in &mut self.workers[workers] {
            if let Worker::AtWork(pid) = *worker
                && self.children.order(From::Worker(pid), Order::Kill)
            {
                *worker = Worker::Killed { pid, pause };
                killed.push(pid);
            }
        }
        self.injected(FaultKind::Kill, killed, None);
    }

    fn hold_up(&mut self, kind: FaultKind, worker: usize, order: Order, lasting: Duration) {
        if let Worker::AtWork(pid) = self.workers[worker]
            && self.children.order(From::Worker(pid), order)
        {
            self.injected(kind, vec![pid], Some(lasting.as_secs_f64()));
        }
    }

    /// Kills a coordinator whose time has come, if a new one would go on further on.
    fn kill_the_doomed(&mut self) {
        let Some(disturber) = &mut self.disturber else { return };
        let now = Instant::now();
        if !matches!(disturber.coordinator, Coordinator::Doomed(at) if at <= now) {
            return;
        }
        disturber.coordinator = Coordinator::Doomed(now + POLL_INTERVAL);
        if newest(&disturber.checkpoints) > disturber.newest_before
            && let Some(pid) = self.coordinator
            && self.children.order(From::Coordinator, Order::Kill)
        {
            disturber.coordinator = Coordinator::Killed;
            self.injected(FaultKind::Coordinator, vec![pid], None);
        }
    }

    fn injected(&mut self, fault: FaultKind, processes: Vec<u32>, seconds: Option<f64>) {
        let Some(disturber) = self.disturber.as_mut().filter(|_| !processes.is_empty()) else {
            return;
        };
        *disturber.faults.entry(fault).or_default() += 1;
        report(self.reporter, &Report::Chaos { fault, processes, seconds });
    }

    /// Whether a worker's report is only what the faults lead one to expect: that it joined (it does so again and
    /// again, and the coordinator tells who is there), and that it looks for a coordinator that is down.
    pub(super) fn goes_without_saying(&self, told: &Report) -> bool {
        let Some(disturber) = &self.disturber else { return false };
        match told {
            Report::Note { .. } => true,
            Report::Warning { .. } | Report::Waiting { .. } => {
                disturber.is_down() || self.is_finished
            }
            _ => false,
        }
    }

    /// What becomes of a worker that has ended.
    pub(super) fn replacement(
        &mut self,
        seat: usize,
        status: &std::io::Result<ExitStatus>,
    ) -> Worker {
        match self.workers[seat] {
            Worker::Killed { pause, .. } if was_killed(status) => {
                Worker::DueAt(Instant::now() + pause)
            }
            _ if self.disturber.is_some() && was_told(status) => {
                Worker::DueAt(Instant::now() + REPLACEMENT_PAUSE)
            }
            _ => match self.pause_elsewhere(seat, status) {
                Some(pause) => Worker::DueAt(Instant::now() + pause),
                None => Worker::Gone,
            },
        }
    }

    /// Whether a coordinator that ended is started again; not if it had a reason of its own.
    pub(super) fn restarts_after(&mut self, status: &std::io::Result<ExitStatus>) -> bool {
        let Some(disturber) = &mut self.disturber else { return false };
        let now = Instant::now();
        let at = match (disturber.coordinator, &self.error) {
            (Coordinator::Killed, None) if was_killed(status) && !self.is_finished => now,
            (Coordinator::Starting, Some((_, exit::TRY_AGAIN)))
                if self.address.is_some() && disturber.restarts < RESTARTS_MAX =>
            {
                disturber.restarts += 1;
                now + RESTART_PAUSE
            }
            _ => return false,
        };
        disturber.coordinator = Coordinator::DueAt(at);
        true
    }
}

/// The name of the newest checkpoint; names are in the order of their steps.
fn newest(checkpoints: &Path) -> Option<String> {
    let entries = std::fs::read_dir(checkpoints).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("step-") && name.ends_with(".safetensors")).max()
}
