//! What early stopping means for a run: evaluations are judged, the weights of the best epoch are kept, and put back when the
//! run is over, as averages of the weights are where it is to end with these.
//!
//! When it is better is the policy's to say. One copy of the weights is held, made when an epoch is the best; snapshots share
//! it.

use std::sync::Arc;

use lockstep_proto::ids::{Chunk, Table, Task};

use super::Core;
use crate::engine::{Event, Planned, Schedule};
use crate::observer::Judged;
use crate::policy::{Watch, Watched};
use crate::snapshot::Snapshot;
use crate::spec::RunSpec;

#[derive(Debug)]
pub(super) struct EarlyStopper {
    watched: Watched,
    watch: Watch,
    steps_per_epoch: u64,
    /// Of the best epoch, if they are to be restored; `None` where they are the last.
    best_weights: Option<Arc<Vec<f32>>>,
}

impl EarlyStopper {
    /// Of a run from its start. If it is over by now, the schedule is told so.
    pub(super) fn new(spec: &RunSpec, schedule: &mut Schedule) -> Option<EarlyStopper> {
        let watched = spec.early_stopping.clone()?;
        let steps_per_epoch = schedule.train.count();
        let watch = spec.start.watch.unwrap_or_default();
        let (start, epochs) = (&spec.start, schedule.epochs_before(spec.start.pass));
        let mut stopper = EarlyStopper {
            watched,
            watch,
            steps_per_epoch,
            best_weights: start.best_weights.clone(),
        };
        if watch.stopped {
            schedule.epochs = epochs;
        }
        let is_over = epochs == schedule.epochs;
        schedule.restores |= is_over && stopper.best_weights.is_some();
        if stopper.is_best_at(start.step.0) && !is_over {
            stopper.best_weights = Some(Arc::new(start.weights.clone()));
        }
        Some(stopper)
    }

    pub(super) fn watch(&self) -> Watch {
        self.watch
    }

    /// The weights to be restored, if they are not the last.
    pub(super) fn best_weights(&self) -> Option<&[f32]> {
        self.best_weights.as_ref().map(|weights| weights.as_slice())
    }

    /// Adds to a snapshot what a run that goes on from it has to know.
    pub(super) fn note_in(&self, snapshot: &mut Snapshot) {
        snapshot.watch = Some(self.watch);
        let is_there = self.is_best_at(snapshot.step.0);
        snapshot.best_weights = self.best_weights.clone().filter(|_| !is_there);
    }

    /// Whether the weights to be restored are those of this step.
    fn is_best_at(&self, step: u64) -> bool {
        let best = self.watch.best.filter(|_| self.watched.rule.restore_best_weights);
        best.is_some_and(|best| u64::from(best.epoch) * self.steps_per_epoch == step)
    }
}

impl Core {
    /// Judges an evaluation of the validation table, if early stopping is asked for, and keeps the weights if they are the
    /// best so far.
    pub(super) fn judge(&mut self, planned: &Planned, rows: u64, sums: &[f64]) -> Option<Judged> {
        if planned.task != (Task::Evaluate { table: Table::Validation }) {
            return None;
        }
        let stopper = self.early_stopper.as_mut()?;
        let epoch = self.schedule.epochs_before(self.pass);
        let Watched { rule, mode, measure } = &stopper.watched;
        let value = measure.value(sums, rows);
        let is_best = rule.judge(*mode, &mut stopper.watch, epoch, value);
        if is_best {
            // After the last epoch nothing can take their place.
            let is_kept = rule.restore_best_weights && epoch < self.schedule.epochs;
            stopper.best_weights = is_kept.then(|| Arc::new(self.reducer.weights()));
        }
        let Watch { best, stopped, .. } = stopper.watch;
        Some(Judged { epoch, is_best, stops: stopped, best })
    }

    /// Ends the run, or goes on, after an evaluation that was judged.
    pub(super) fn follow(&mut self, judged: Judged) {
        if judged.stops {
            self.schedule.epochs = judged.epoch;
        }
        self.settle();
        let Schedule { epochs, restores, .. } = self.schedule;
        self.engine.handle(self.now, Event::Judged { epochs, restores });
    }

    /// Once all epochs are over, puts the weights that the run ends with in the place of the last ones, if they are others: those of
    /// the best epoch, or the averages.
    pub(super) fn settle(&mut self) {
        if self.schedule.epochs_before(self.pass) < self.schedule.epochs {
            return;
        }
        let best = self.early_stopper.as_ref().and_then(EarlyStopper::best_weights);
        if best.is_none() && !self.ends_with_averages {
            return;
        }
        self.reducer.restore(&self.layout, best);
        self.schedule.restores = true;
        if self.schedule.test_rows.is_some() {
            let chunks = (0..self.layout.chunks().len() as u32).map(Chunk);
            let changed: Vec<Chunk> =
                chunks.filter(|&chunk| !self.reducer.is_frozen(chunk)).collect();
            for chunk in changed {
                self.send_weights(self.reducer.version(), chunk, None);
            }
        }
    }
}
