//! The learning rate of the step in hand: a function of the step, or what the measures of the validation table have made of it.

use super::Core;
use crate::policy::{Plateau, ReduceOnPlateau, Watched};
use crate::spec::RunSpec;

/// A rate that is reduced on a plateau.
#[derive(Debug)]
pub(super) struct RateWatcher {
    watched: Watched<ReduceOnPlateau>,
    seen: Plateau,
}

impl RateWatcher {
    /// Of a run from its start.
    pub(super) fn new(spec: &RunSpec) -> Option<RateWatcher> {
        let watched = spec.plateau.clone()?;
        let seen = spec.start.plateau.unwrap_or_else(|| watched.rule.beginning());
        Some(RateWatcher { watched, seen })
    }

    pub(super) fn seen(&self) -> Plateau {
        self.seen
    }

    /// Takes in an evaluation of the validation table.
    pub(super) fn judge(&mut self, sums: &[f64], rows: u64) {
        let Watched { rule, mode, measure } = &self.watched;
        rule.judge(*mode, &mut self.seen, measure.value(sums, rows));
    }
}

impl Core {
    /// The learning rate of the update that follows on so many steps.
    pub(super) fn rate_after(&self, steps: u64) -> f32 {
        let watcher = self.rate_watcher.as_ref();
        watcher.map_or_else(|| self.learning_rate.after(steps), |w| w.seen().learning_rate)
    }
}
