//! What a checkpoint of a run must be like: its tensors, its values, and a position and records that fit each other.
//!
//! A checksum tells that a file is as it was written, not that it was written by this run, or by a sound program. No I/O.

use std::collections::BTreeMap;

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::Snapshot;
use lockstep_coordinator::policy::{EarlyStopping, ReduceOnPlateau};
use lockstep_proto::batches::Batches;
use lockstep_proto::layout::Layout;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::{Deserialize, Serialize};

use super::{ACCUMULATED, AVERAGE, BEST_WEIGHTS, Checkpoint, RecordState, WEIGHTS};

/// Whose a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The run; every execution of it has the same.
    pub run_id: String,
    /// The network's tensors, one after the other in the flat vector: names and shapes.
    pub tensors: Vec<(String, Vec<usize>)>,
}

impl Origin {
    /// Of a run with a network of this layout.
    pub fn new(run_id: &str, layout: &Layout) -> Origin {
        Origin { run_id: run_id.to_string(), tensors: tensors(layout) }
    }
}

/// The tensors of a layout, in order.
pub(super) fn tensors(layout: &Layout) -> Vec<(String, Vec<usize>)> {
    layout.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect()
}

/// What a run's checkpoints must be like.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Whose they are.
    pub origin: Origin,
    /// Number of weights.
    pub weights: usize,
    /// How many of them change.
    pub trained: usize,
    /// What makes new weights, and needs moments.
    pub optimizer: Optimizer,
    /// How the training table is batched.
    pub batches: Batches,
    /// Times through it.
    pub epochs: u32,
    /// Whether each is followed by an evaluation.
    pub has_validation: bool,
    /// What may end the run before that.
    pub early_stopping: Option<EarlyStopping>,
    /// What reduces the learning rate, if a measure does.
    pub plateau: Option<ReduceOnPlateau>,
    /// Steps of one update.
    pub steps_per_update: u64,
    /// Whether weights are averaged.
    pub averages: bool,
    /// How many sums a pass gives.
    pub sums_len: usize,
}

impl Expected {
    /// That a file has the tensors that it must have, and no others.
    pub(super) fn check_tensors(&self, found: &BTreeMap<String, TensorInfo>) -> Result<(), String> {
        let moments = (0..self.optimizer.moment_count()).map(|i| format!("moments.{i}"));
        // Whether these are to be there, its position says.
        let may_be = [
            found.get_key_value(ACCUMULATED).filter(|_| self.steps_per_update > 1),
            found.get_key_value(BEST_WEIGHTS).filter(|_| self.restores()),
        ];
        let may_be = may_be.into_iter().flatten().map(|(name, _)| name.clone());
        let average = self.averages.then(|| AVERAGE.to_string());
        let weights = std::iter::once("weights".to_string());
        let wanted: Vec<String> = weights.chain(moments).chain(average).chain(may_be).collect();
        for name in &wanted {
            let info = found.get(name).ok_or(format!("it has no tensor {name}"))?;
            let len = match &name[..] {
                WEIGHTS | BEST_WEIGHTS => self.weights,
                _ => self.trained,
            };
            if info.dtype != Dtype::F32 || info.shape != [len] {
                return Err(format!(
                    "its tensor {name} is {:?} {:?}, wanted F32 [{len}]",
                    info.dtype, info.shape
                ));
            }
        }
        match found.keys().find(|name| !wanted.contains(name)) {
            Some(name) => {
                Err(format!("its tensor {name} is none that this network and optimizer have"))
            }
            None => Ok(()),
        }
    }

    /// That it is this run's, and of the same network. Files of earlier versions do not say.
    pub(super) fn check_origin(&self, origin: Option<&Origin>) -> Result<(), String> {
        let Some(origin) = origin else { return Ok(()) };
        let (found, wanted) = (&origin.run_id, &self.origin.run_id);
        if found != wanted {
            return Err(format!("it is of run {found}, this is {wanted}"));
        }
        match origin.tensors == self.origin.tensors {
            true => Ok(()),
            false => Err("it is of another network".to_string()),
        }
    }

    /// That what it says holds together, and values can be what they are said to be.
    pub(super) fn check(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        let Checkpoint { snapshot, records } = checkpoint;
        self.check_position(snapshot, records)?;
        self.check_watch(snapshot)?;
        self.check_accumulated(snapshot)?;
        self.check_plateau(snapshot)?;
        let wrong = |name: &str, at: usize, value: f32, wanted: &str| {
            format!("value {at} of its {name} is {value}, wanted {wanted}")
        };
        let finite = |values: &[f32]| values.iter().position(|value| !value.is_finite());
        if let Some(at) = finite(&snapshot.weights) {
            return Err(wrong("weights", at, snapshot.weights[at], "finite numbers"));
        }
        let best = snapshot.best_weights.as_deref();
        let (average, accumulated) = (snapshot.average.as_ref(), snapshot.accumulated.as_ref());
        for (name, weights) in
            [(BEST_WEIGHTS, best), (AVERAGE, average), (ACCUMULATED, accumulated)]
        {
            if let Some(weights) = weights
                && let Some(at) = finite(weights)
            {
                return Err(wrong(name, at, weights[at], "finite numbers"));
            }
        }
        for (i, moment) in snapshot.moments.iter().enumerate() {
            let name = format!("moments.{i}");
            if self.optimizer.squares() == Some(i) {
                // They may overflow in a sound run, but not become less than nothing.
                let below = |value: &f32| value.is_nan() || *value < 0.0;
                if let Some(at) = moment.iter().position(below) {
                    return Err(wrong(&name, at, moment[at], "sums of squares, not below 0"));
                }
            } else if let Some(at) = finite(moment) {
                return Err(wrong(&name, at, moment[at], "finite numbers"));
            }
        }
        Ok(())
    }

    /// Whether the weights of the best epoch are kept.
    fn restores(&self) -> bool {
        self.early_stopping.as_ref().is_some_and(|rule| rule.restore_best_weights)
    }

    /// That what early stopping has seen can be so after the epochs that are over, and that the best weights are there if they
    /// are not the weights.
    fn check_watch(&self, snapshot: &Snapshot) -> Result<(), String> {
        let (pass, step) = (snapshot.pass.0, snapshot.step.0);
        let watch = match (snapshot.watch, &self.early_stopping) {
            (Some(watch), Some(_)) => watch,
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                return Err("it does not say what early stopping has seen".to_string());
            }
            (Some(_), None) => {
                return Err("it is of a run with early stopping, which this has not".to_string());
            }
        };
        let per_epoch = self.batches.count() + 1;
        let (epochs, at) = (pass / per_epoch, pass % per_epoch);
        let best = watch.best.map(|best| u64::from(best.epoch));
        let is_possible = best.is_none_or(|best| (1..=epochs).contains(&best))
            && watch.best.is_none_or(|best| !best.value.is_nan())
            && u64::from(watch.wait) <= epochs
            && !(watch.stopped && (epochs == 0 || at > 0));
        if !is_possible {
            return Err(format!("at step {step} early stopping cannot have seen {watch:?}"));
        }
        let best_step = best.filter(|_| self.restores()).map(|best| best * self.batches.count());
        match (best_step.is_some_and(|best| best < step), &snapshot.best_weights) {
            (true, None) => Err(format!("it has no tensor {BEST_WEIGHTS}")),
            (false, Some(_)) => {
                Err(format!("its tensor {BEST_WEIGHTS} is none that a run has at step {step}"))
            }
            _ => Ok(()),
        }
    }

    /// That what a learning rate has seen can be so after the epochs that are over.
    fn check_plateau(&self, snapshot: &Snapshot) -> Result<(), String> {
        let (seen, rule) = match (snapshot.plateau, &self.plateau) {
            (Some(seen), Some(rule)) => (seen, rule),
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err("it does not say what the learning rate is".to_string()),
            (Some(_), None) => {
                return Err("it is of a run with another learning rate".to_string());
            }
        };
        let epochs = snapshot.pass.0 / (self.batches.count() + 1);
        let first = rule.initial_learning_rate as f32;
        let rates = (rule.min_learning_rate as f32).min(first)..=first;
        let is_possible = rates.contains(&seen.learning_rate)
            && seen.best.is_none_or(|best| !best.is_nan() && epochs > 0)
            && u64::from(seen.wait) <= epochs
            && seen.cooldown <= rule.cooldown;
        let step = snapshot.step.0;
        match is_possible {
            true => Ok(()),
            false => Err(format!("at step {step} its learning rate cannot have seen {seen:?}")),
        }
    }

    /// That gradients are there that wait for an update, if any do.
    fn check_accumulated(&self, snapshot: &Snapshot) -> Result<(), String> {
        let step = snapshot.step.0;
        let is_between = !step.is_multiple_of(self.steps_per_update);
        match (is_between, &snapshot.accumulated) {
            (true, None) => Err(format!("it has no tensor {ACCUMULATED}")),
            (false, Some(_)) => {
                Err(format!("its tensor {ACCUMULATED} is none that a run has at step {step}"))
            }
            _ => Ok(()),
        }
    }

    fn check_position(&self, snapshot: &Snapshot, records: &RecordState) -> Result<(), String> {
        let (pass, step) = (snapshot.pass.0, snapshot.step.0);
        let (count, rows) = (self.batches.count(), self.batches.rows);
        let per_epoch = count + u64::from(self.has_validation);
        let (epoch, at) = (pass / per_epoch, pass % per_epoch);
        let epochs = u64::from(self.epochs);
        if epoch > epochs || epoch == epochs && at > 0 {
            return Err(format!(
                "it is of pass {pass}, the job ends with pass {}",
                per_epoch * epochs
            ));
        }
        let wanted = epoch * count + at;
        if step != wanted {
            return Err(format!(
                "it says pass {pass} and step {step}, pass {pass} is at step {wanted}"
            ));
        }
        // Between the epochs nothing is open.
        let open_rows = (at * self.batches.batch_size).min(rows);
        let wanted = (epoch + u64::from(at > 0), open_rows, epoch * rows + open_rows);
        let found = (u64::from(records.epoch), records.epoch_rows, records.rows);
        if found != wanted {
            let text =
                |(epoch, open, all)| format!("epoch {epoch}, {open} rows in it, {all} in all");
            return Err(format!("at step {step} it says {}, wanted {}", text(found), text(wanted)));
        }
        let sums = if open_rows > 0 { self.sums_len } else { 0 };
        let is_number = |value: &f64| value.is_finite();
        let is_whole = records.epoch_sums.len() == sums
            && records.epoch_sums.iter().all(is_number)
            && is_number(&records.seconds)
            && records.seconds >= 0.0;
        if !is_whole {
            return Err(format!("its sums or its seconds are none: {records:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
