//! Turns what a run tells into lines of `metrics.jsonl` and reports. Changes nothing in the run.

mod checkpoints;
mod ending;
mod line;
mod members;
mod waiting;
mod writer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockstep_coordinator::{Judged, Observer, RunEvent, Snapshot};
use lockstep_model::Network;
use lockstep_proto::ids::Table;
use tracing::debug;

use crate::checkpoint::{Checkpoint, RecordState};
use crate::epoch_end::EpochEnd;
use crate::inference::{add_measures, add_values};
use crate::job::Every;
use crate::journal::{Journal, Made};
use crate::line_file::LineFile;
use crate::plan::Plan;
use crate::report::{Report, SharedReporter, Values, report};
use crate::validated::Validated;
use crate::watch::Watch;
use checkpoints::Checkpoints;
pub use ending::FinishedRun;
use line::{Line, Named};
use waiting::still_stopping;
pub use writer::{Handed, Writer};

/// Progress is reported at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Loss and metrics of every epoch: what Keras calls the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By epoch: names (`loss`, `mae`, `validation_loss`, ...) and values.
    pub epochs: Vec<Values>,
    /// The best epoch, from 1, where early stopping watches them.
    pub best_epoch: Option<u32>,
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
    /// Names of the targets.
    targets: Vec<String>,
    /// Where workers find the coordinator.
    address: SocketAddr,
    reporter: SharedReporter,
    /// `None` without a run folder.
    metrics: Option<LineFile>,
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
    watch: Watch,
    epoch_end: Option<EpochEnd>,
}

/// Where the records of a run go.
pub struct Destination {
    /// `metrics.jsonl`; `None` without a run folder.
    pub(crate) metrics: Option<LineFile>,
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
    /// The status that is kept of the run, if one is.
    pub watch: Watch,
    /// Who is asked at the end of every epoch whether the run goes on.
    pub epoch_end: Option<EpochEnd>,
}

impl Recorder {
    /// A recorder for one execution of a run that goes on from `state`, at `step`.
    pub fn new(plan: &Plan, to: Destination, state: RecordState, step: u64) -> (Recorder, Records) {
        let checkpoints = to.writer.map(|writer| Checkpoints::new(to.every, writer, step));
        let shared = Shared {
            network: plan.network.clone(),
            targets: plan.schema.target_names(),
            address: to.address,
            reporter: to.reporter,
            metrics: to.metrics,
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
            watch: to.watch,
            epoch_end: to.epoch_end,
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
        let mut shared = self.lock();
        // What comes after the end is of no run.
        if !shared.epoch_end.as_ref().is_some_and(EpochEnd::is_reached) {
            shared.observe(event);
        }
    }

    fn wants_snapshot(&mut self, is_last: bool) -> bool {
        let shared = self.lock();
        if let Some(end) = shared.epoch_end.as_ref().filter(|end| end.is_reached()) {
            return end.wants_snapshot();
        }
        let is_at_end = shared.step == shared.steps();
        let wants = |checkpoints: &Checkpoints| checkpoints.wants(shared.step, is_last, is_at_end);
        shared.checkpoints.as_ref().is_some_and(wants)
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) {
        let mut shared = self.lock();
        if let Some(end) = shared.epoch_end.clone().filter(EpochEnd::is_reached) {
            end.keep(snapshot.clone(), shared.state.epoch);
        }
        shared.checkpoint(snapshot);
    }

    fn look_interval(&self) -> Option<Duration> {
        self.lock().watch.look_interval()
    }
}

impl Shared {
    fn observe(&mut self, event: RunEvent<'_>) {
        self.watch.observe(&event, self.seconds_before, |wait| self.remedy(wait));
        match event {
            RunEvent::Joined { .. } | RunEvent::Left { .. } | RunEvent::Refused { .. } => {
                self.tell_of_members(&event);
            }
            RunEvent::Stopping => {
                let message = "stopping after the current step".to_string();
                self.tell(Report::Note { message });
            }
            RunEvent::StillStopping { planned, waited, wait } => {
                let message = still_stopping(&planned, waited, wait.as_ref());
                self.tell(Report::Note { message });
            }
            RunEvent::Ending => self.tell(Report::Ending),
            RunEvent::Warning(message) => {
                self.tell(Report::Warning { message: message.to_string() });
            }
            RunEvent::Waiting { wait, peer } => {
                let told = self.waiting(wait, peer);
                self.watch.note(|book, at| book.event(at, "waiting", wait.to_string()));
                report(&self.reporter, &told);
            }
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
                norms,
                silent: _,
            } => {
                let loss = sums[0] / rows as f64;
                let seconds = self.seconds_before + seconds;
                self.state.seconds = seconds;
                self.write(&Line::Step { epoch, step, rows, loss, learning_rate, seconds });
                if !norms.is_empty() {
                    self.write(&Line::Gradient { epoch, step, norms: Named(norms) });
                }
                self.count(epoch, step, rows, sums);
                if let Some(journal) = &mut self.journal {
                    let (rows, rows_total) = (self.state.epoch_rows, self.state.rows);
                    let made = Made { step, epoch, rows, rows_total, deals, recomputed, weights };
                    journal.step(&made);
                }
                self.step(step);
            }
            RunEvent::Evaluated { table: Table::Validation, rows, sums, judged } => {
                self.end_epoch(Some((sums, rows)), judged);
            }
            RunEvent::Passed { planned, took, .. } => {
                let milliseconds = took.as_secs_f64() * 1e3;
                debug!(step = planned.step.0 + 1, milliseconds, "a pass is over");
            }
            RunEvent::Hedged { worker, span } => {
                debug!(worker = worker.0, %span, "late: others compute the same");
            }
            RunEvent::DealtAgain { worker, span, microbatches } => {
                debug!(worker = worker.0, %span, microbatches, "computes again");
            }
            RunEvent::Evaluated { .. } | RunEvent::Members { .. } => {}
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
            self.end_epoch(None, None);
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.step_made(step);
        }
    }

    fn progress(&mut self) {
        let due = |at: Instant| at.elapsed() >= PROGRESS_INTERVAL;
        if !self.progress_at.is_none_or(due) {
            return;
        }
        self.progress_at = Some(Instant::now());
        self.flush();
        let (state, steps) = (&self.state, self.steps());
        let pace = state.seconds / self.step as f64;
        self.tell(Report::Progress {
            epoch: state.epoch,
            epochs: self.epochs,
            step: self.step,
            steps,
            loss: state.epoch_sums[0] / state.epoch_rows as f64,
            rows_per_second: state.rows as f64 / state.seconds.max(1e-9),
            seconds_left: pace * steps.saturating_sub(self.step) as f64,
            loss_is_scaled: self.network.has_units(),
        });
    }

    fn end_epoch(&mut self, validation: Option<(&[f64], u64)>, judged: Option<Judged>) {
        let sums = std::mem::take(&mut self.state.epoch_sums);
        let rows = std::mem::take(&mut self.state.epoch_rows);
        let mut values = Values::new();
        let (network, targets) = (&self.network, &self.targets);
        add_measures(&mut values, network, targets, &sums, rows, "");
        if let Some((sums, rows)) = validation {
            add_values(&mut values, network, targets, sums, rows, "validation_");
        }
        self.state.validated = validation.map(|(sums, rows)| Validated::of(network, sums, rows));
        let (epoch, seconds) = (self.state.epoch, self.state.seconds);
        self.write(&Line::Epoch { epoch, values: &values, seconds });
        self.flush();
        let loss_is_scaled = self.network.has_units();
        let (epochs, shown) = (self.epochs, values.clone());
        self.tell(Report::Epoch { epoch, epochs, seconds, values: shown, loss_is_scaled });
        if let Some(Judged { is_best, stops, .. }) = judged {
            if is_best {
                self.state.best_values = values.clone();
                self.state.best_validated = self.state.validated;
            }
            if stops {
                // It is the last, whatever the job says.
                self.epochs = epoch;
            }
        }
        let stops = judged.filter(|judged| judged.stops).map(|judged| match judged.best {
            Some(best) => format!(
                "early stopping ends the run after epoch {epoch}: the best was {}",
                best.epoch
            ),
            None => format!("early stopping ends the run after epoch {epoch}"),
        });
        self.watch.epoch(epoch, seconds, &values, stops.as_deref());
        if let Some(end) = &self.epoch_end {
            end.ask(epoch, &values, epoch == self.epochs);
        }
        self.history.epochs.push(values);
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.epoch_ended(epoch, self.step, epoch == self.epochs);
        }
    }

    fn checkpoint(&mut self, snapshot: Snapshot) {
        let metrics = self.metrics.as_ref().map(LineFile::mark);
        // A run that goes on from the checkpoint writes no line of a step before it.
        let journal = self.journal.as_ref().map(Journal::mark);
        let settle = move |records: &mut RecordState| {
            // Nothing comes only after a panic, which has been printed.
            if let Some(written) = metrics.and_then(|mark| mark.recv().ok()) {
                records.metrics_bytes = written.bytes();
                records.metrics_blake3 = written.blake3();
            }
            if let Some(journal) = journal {
                journal.wait();
            }
        };
        let with_model = self.step < self.steps();
        if let Some(checkpoints) = &mut self.checkpoints {
            let checkpoint = Checkpoint { snapshot, records: self.state.clone() };
            checkpoints.take(Handed { checkpoint, settle: Box::new(settle), with_model });
            if let Some(message) = checkpoints.left_out() {
                self.tell(Report::Warning { message });
            }
        }
    }

    /// Steps of the whole run.
    fn steps(&self) -> u64 {
        self.steps_per_epoch * u64::from(self.epochs)
    }

    fn tell(&self, what: Report) {
        self.watch.told(&what);
        report(&self.reporter, &what);
    }

    fn write(&mut self, line: &Line<'_>) {
        // Numbers and names can always be laid out.
        if let Some(metrics) = &self.metrics
            && let Ok(mut line) = serde_json::to_vec(line)
        {
            line.push(b'\n');
            metrics.push(line);
        }
    }

    fn flush(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.flush();
        }
    }

    /// Waits until everything is written that can be; the step of the last checkpoint that was, if any was.
    fn close(&mut self) -> Option<u64> {
        self.metrics = None;
        self.journal = None;
        self.checkpoints.take().and_then(Checkpoints::finish)
    }
}

#[cfg(test)]
mod tests;
