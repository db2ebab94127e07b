//! Turns what a run tells into lines of `metrics.jsonl` and reports. Changes nothing in the run.

mod line;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockstep_coordinator::engine::{Wait, WaitReason};
use lockstep_coordinator::{Observer, Peer, RunEvent, Snapshot};
use lockstep_model::Network;
use lockstep_proto::ids::Table;

use crate::checkpoint::{Checkpoint, RecordState, Writer};
use crate::inference::add_values;
use crate::job::Every;
use crate::journal::{Journal, Made};
use crate::plan::Plan;
use crate::report::{Report, Reporter, Values};
use line::Line;

/// Progress is reported at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// A reporter that several owners write to, one line at a time.
pub type SharedReporter = Arc<Mutex<Reporter>>;

/// Shows a report, whoever else is writing.
pub fn report(reporter: &SharedReporter, report: &Report) {
    // A panic elsewhere must not take the last words away.
    reporter.lock().unwrap_or_else(PoisonError::into_inner).report(report);
}

/// Loss and metrics of every epoch: what Keras calls the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By epoch: names (`loss`, `mae`, `validation_loss`, ...) and values.
    pub epochs: Vec<Values>,
}

/// Listens to a run and keeps its records.
pub struct Recorder {
    shared: Arc<Mutex<Shared>>,
}

/// What is left of a [`Recorder`] when the run has taken it.
pub struct Records {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    network: Arc<Network>,
    /// Where workers find the coordinator.
    address: SocketAddr,
    reporter: SharedReporter,
    /// `None` without a run folder, or after a write failed.
    metrics: Option<BufWriter<File>>,
    journal: Option<Journal>,
    epochs: u32,
    steps_per_epoch: u64,
    has_validation: bool,
    state: RecordState,
    /// The last step, from 1.
    step: u64,
    /// Seconds of the executions before this one.
    seconds_before: f64,
    history: History,
    progress_at: Option<Instant>,
    checkpoints: Option<Checkpoints>,
}

/// When checkpoints are due, and who writes them.
struct Checkpoints {
    every: Every,
    writer: Writer,
    due: bool,
    /// The step of the last one that was handed over, or with which this execution began.
    taken: u64,
    /// The run ends at the next chance: the last one must not be left out.
    is_last: bool,
    written_at: Instant,
}

/// Where the records of a run go.
pub struct Destination {
    /// `metrics.jsonl`, at the place where the next line goes; `None` without a run folder.
    pub metrics: Option<File>,
    /// The journal, if one is kept.
    pub journal: Option<Journal>,
    /// Who writes checkpoints, if anybody.
    pub writer: Option<Writer>,
    /// When a checkpoint is due.
    pub every: Every,
    /// Where workers find the coordinator.
    pub address: SocketAddr,
    /// Who shows reports.
    pub reporter: SharedReporter,
}

impl Recorder {
    /// A recorder for one execution of a run that goes on from `state`, at `step`.
    pub fn new(plan: &Plan, to: Destination, state: RecordState, step: u64) -> (Recorder, Records) {
        let checkpoints = to.writer.map(|writer| Checkpoints {
            every: to.every,
            writer,
            due: false,
            taken: step,
            is_last: false,
            written_at: Instant::now(),
        });
        let shared = Shared {
            network: plan.network.clone(),
            address: to.address,
            reporter: to.reporter,
            metrics: to.metrics.map(BufWriter::new),
            journal: to.journal,
            epochs: plan.job.train.epochs,
            steps_per_epoch: plan.batches().count(),
            has_validation: plan.tables.validation.is_some(),
            seconds_before: state.seconds,
            state,
            step,
            history: History::default(),
            progress_at: None,
            checkpoints,
        };
        let shared = Arc::new(Mutex::new(shared));
        (Recorder { shared: shared.clone() }, Records { shared })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn observe(&mut self, event: RunEvent<'_>) {
        self.lock().observe(event);
    }

    fn wants_snapshot(&mut self) -> bool {
        let shared = self.lock();
        let is_due = |checkpoints: &Checkpoints| {
            checkpoints.due || checkpoints.is_last && shared.step > checkpoints.taken
        };
        shared.checkpoints.as_ref().is_some_and(is_due)
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) {
        self.lock().checkpoint(snapshot);
    }
}

impl Records {
    /// Writes the last line and returns the history with the run's report.
    pub fn finish(
        self,
        plan: &Plan,
        test_sums: Option<&[f64]>,
        weights_blake3: &str,
        run_folder: Option<String>,
    ) -> (History, Report) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values = Values::new();
        if let (Some(sums), Some(rows)) = (test_sums, plan.test_rows()) {
            add_values(&mut values, &plan.network, sums, rows, "test_");
        }
        let (epochs, steps, seconds) = (shared.state.epoch, shared.step, shared.state.seconds);
        shared.write(&Line::Final { values: &values, steps, seconds, weights_blake3 });
        shared.flush();
        shared.checkpoints = None;
        shared.journal = None;
        let report = Report::Finished {
            name: plan.job.name.clone(),
            epochs,
            steps,
            seconds,
            rows_per_second: shared.state.rows as f64 / seconds.max(1e-9),
            values,
            weights_blake3: weights_blake3.to_string(),
            run_folder,
        };
        (std::mem::take(&mut shared.history), report)
    }

    /// Writes out what is buffered, after a run that ended early. The last step, and that of the last checkpoint that
    /// this execution wrote.
    pub fn flush(&self) -> (u64, Option<u64>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.flush();
        shared.journal = None;
        let written = shared.checkpoints.take().and_then(|checkpoints| checkpoints.writer.finish());
        (shared.step, written)
    }
}

impl Shared {
    fn observe(&mut self, event: RunEvent<'_>) {
        match event {
            RunEvent::Joined { worker, peer } => self.tell(Report::WorkerJoined {
                worker: worker.0,
                host: peer.host.clone(),
                pid: peer.pid,
                threads: peer.threads,
            }),
            RunEvent::Left { worker, peer, reason, workers } => self.tell(Report::WorkerLeft {
                worker: worker.0,
                host: peer.host.clone(),
                reason: reason.to_string(),
                workers,
            }),
            RunEvent::Refused { peer, reason } => {
                let Peer { host, pid, .. } = peer;
                let message = format!("refused a worker ({host}, process {pid}): {reason}");
                self.tell(Report::Warning { message });
            }
            RunEvent::Stopping => {
                let message = "stopping after the step in hand".to_string();
                self.tell(Report::Note { message });
                if let Some(checkpoints) = &mut self.checkpoints {
                    checkpoints.is_last = true;
                }
            }
            RunEvent::Ending => self.tell(Report::Ending),
            RunEvent::Warning(message) => {
                self.tell(Report::Warning { message: message.to_string() });
            }
            RunEvent::Waiting(wait) => self.tell(Report::Warning { message: self.wait_text(wait) }),
            RunEvent::Step {
                epoch,
                step,
                rows,
                sums,
                learning_rate,
                seconds,
                deals,
                recomputed,
                weights,
            } => {
                let loss = sums[0] / rows as f64;
                let seconds = self.seconds_before + seconds;
                self.state.seconds = seconds;
                self.write(&Line::Step { epoch, step, rows, loss, learning_rate, seconds });
                self.count(epoch, step, rows, sums);
                if let Some(journal) = &mut self.journal {
                    let (rows, rows_total) = (self.state.epoch_rows, self.state.rows);
                    let made = Made { step, epoch, rows, rows_total, deals, recomputed, weights };
                    journal.step(&made);
                }
                self.step(step);
            }
            RunEvent::Evaluated { table: Table::Validation, rows, sums } => {
                self.end_epoch(Some((sums, rows)));
            }
            RunEvent::Evaluated { .. } => {}
        }
    }

    fn count(&mut self, epoch: u32, step: u64, rows: u64, sums: &[f64]) {
        let state = &mut self.state;
        self.step = step;
        state.epoch = epoch;
        state.rows += rows;
        state.epoch_rows += rows;
        state.epoch_sums.resize(sums.len(), 0.0);
        for (all, sum) in state.epoch_sums.iter_mut().zip(sums) {
            *all += sum;
        }
    }

    fn step(&mut self, step: u64) {
        self.progress();
        if self.step.is_multiple_of(self.steps_per_epoch) && !self.has_validation {
            self.end_epoch(None);
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.due |= match checkpoints.every {
                Every::Steps(steps) => step.is_multiple_of(steps),
                Every::Seconds(seconds) => {
                    checkpoints.written_at.elapsed().as_secs_f64() >= seconds
                }
                Every::Epochs(_) => false,
            };
        }
    }

    fn progress(&mut self) {
        let due = |at: Instant| at.elapsed() >= PROGRESS_INTERVAL;
        if !self.progress_at.is_none_or(due) {
            return;
        }
        self.progress_at = Some(Instant::now());
        self.flush();
        let (state, steps) = (&self.state, self.steps_per_epoch * u64::from(self.epochs));
        let pace = state.seconds / self.step as f64;
        self.tell(Report::Progress {
            epoch: state.epoch,
            epochs: self.epochs,
            step: self.step,
            steps,
            loss: state.epoch_sums[0] / state.epoch_rows as f64,
            rows_per_second: state.rows as f64 / state.seconds.max(1e-9),
            seconds_left: pace * steps.saturating_sub(self.step) as f64,
        });
    }

    fn end_epoch(&mut self, validation: Option<(&[f64], u64)>) {
        let sums = std::mem::take(&mut self.state.epoch_sums);
        let rows = std::mem::take(&mut self.state.epoch_rows);
        let mut values = Values::new();
        for (name, value) in self.network.report(&sums, rows) {
            values.insert(name.to_string(), value);
        }
        if let Some((sums, rows)) = validation {
            add_values(&mut values, &self.network, sums, rows, "validation_");
        }
        let (epoch, seconds) = (self.state.epoch, self.state.seconds);
        self.write(&Line::Epoch { epoch, values: &values, seconds });
        self.flush();
        self.tell(Report::Epoch { epoch, epochs: self.epochs, seconds, values: values.clone() });
        self.history.epochs.push(values);
        if let Some(checkpoints) = &mut self.checkpoints
            && let Every::Epochs(epochs) = checkpoints.every
        {
            checkpoints.due |= epoch.is_multiple_of(epochs);
        }
    }

    fn checkpoint(&mut self, snapshot: Snapshot) {
        self.flush();
        // A run that goes on from the checkpoint writes no line of a step before it.
        if let Some(journal) = &self.journal {
            journal.settle();
        }
        let records = self.state.clone();
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.taken = snapshot.step.0;
            // One that finds the writer busy stays due and is taken after the next pass; the last one waits.
            let checkpoint = Checkpoint { snapshot, records };
            checkpoints.due = !checkpoints.writer.write(checkpoint, checkpoints.is_last);
            checkpoints.written_at = Instant::now();
        }
    }

    /// What is waited for, and what can be done about it.
    fn wait_text(&self, wait: &Wait) -> String {
        match wait.reason {
            WaitReason::Workers { .. } => {
                let host = match self.address.ip() {
                    ip if ip.is_unspecified() => "HOST".to_string(),
                    ip => ip.to_string(),
                };
                let port = self.address.port();
                format!("{wait}; start one with `lockstep worker --coordinator {host}:{port}`")
            }
            _ => wait.to_string(),
        }
    }

    fn tell(&self, what: Report) {
        report(&self.reporter, &what);
    }

    fn write(&mut self, line: &Line<'_>) {
        let Some(metrics) = &mut self.metrics else { return };
        let written =
            serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                metrics.write_all(&line)?;
                Ok(line.len() as u64)
            });
        match written {
            Ok(bytes) => self.state.metrics_bytes += bytes,
            Err(error) => self.give_up(&error),
        }
    }

    fn flush(&mut self) {
        if let Some(Err(error)) = self.metrics.as_mut().map(|metrics| metrics.flush()) {
            self.give_up(&error);
        }
    }

    /// Records are worth less than the training: it goes on without them.
    fn give_up(&mut self, error: &std::io::Error) {
        self.metrics = None;
        let message =
            format!("cannot write metrics.jsonl ({error}): the training goes on without it");
        self.tell(Report::Warning { message });
    }
}
