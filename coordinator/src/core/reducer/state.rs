//! The state of a run as it is copied for a checkpoint.

use lockstep_proto::ids::{Pass, Step};

use super::{Reducer, lock};
use crate::snapshot::Snapshot;

impl Reducer {
    /// Whether the state before the open update, or between two, is all there.
    pub(in super::super) fn is_before_update(&self) -> bool {
        !self.is_open || self.trained().all(|chunk| lock(chunk).is_before_update())
    }

    /// The state before `pass`, after so many steps: the next one, or the one that is open, as long as no chunk of it has been updated. `None`
    /// once one has: its moments before that are gone.
    pub(in super::super) fn snapshot(&self, pass: Pass, step: Step) -> Option<Snapshot> {
        let (mut weights, mut moments) = (Vec::new(), Vec::new());
        let (mut average, mut accumulated) = (Vec::new(), Vec::new());
        for (chunk, &is_frozen) in self.chunks.iter().zip(&self.frozen) {
            // Threads may update others meanwhile: what was copied is still the state before all of that.
            let chunk = lock(chunk);
            if self.is_open && !is_frozen && !chunk.is_before_update() {
                return None;
            }
            chunk.copy_weights(&mut weights);
            if is_frozen {
                continue;
            }
            average.extend_from_slice(chunk.average());
            accumulated.extend_from_slice(chunk.accumulated());
            moments.resize_with(chunk.moments().len(), Vec::new);
            for (whole, part) in moments.iter_mut().zip(chunk.moments()) {
                whole.extend_from_slice(part);
            }
        }
        let is_between = !step.0.is_multiple_of(self.rule.steps_per_update);
        Some(Snapshot {
            pass,
            step,
            weights,
            moments,
            average: self.rule.averaging.map(|_| average),
            accumulated: is_between.then_some(accumulated),
            plateau: None,
            watch: None,
            best_weights: None,
        })
    }
}
