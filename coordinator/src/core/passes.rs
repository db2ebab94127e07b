//! Where a pass begins and ends: what is opened for it, and what is told of it.

use lockstep_proto::ids::{Pass, Step, Table, Task};
use lockstep_reduce::fold::Counted;

use super::Core;
use crate::engine::Planned;
use crate::error::RunError;
use crate::observer::{RunEvent, WeightFrames};
use crate::update::Update;

/// Gradients are measured at the end of an epoch if at least so many steps came since, and within one every so many steps.
const MEASURED_APART: u64 = 16;
const MEASURED_WITHIN: u64 = 1000;

/// Whether the gradient of a step, from 1, is measured: the first, those at ends of epochs, and some between. It follows from the
/// step alone, so that a run that goes on from a checkpoint measures the same.
fn is_measured(step: u64, steps_an_epoch: u64) -> bool {
    let epochs = MEASURED_APART.div_ceil(steps_an_epoch.max(1));
    step == 1
        || step.is_multiple_of(epochs * steps_an_epoch.max(1))
        || step.is_multiple_of(MEASURED_WITHIN)
}

impl Core {
    pub(super) fn begin(&mut self, planned: &Planned) {
        #[cfg(feature = "failpoints")]
        fail::fail_point!("pass");
        self.pass = planned.pass;
        self.is_open = true;
        self.dealt.clear();
        self.stopwatch.begin(self.now);
        self.tally.begin(self.now);
        let leaves = self.schedule.leaves(planned);
        self.audit_book.clear();
        // Of the weights that the pass is of, before any of them is updated.
        self.penalty = self.reducer.penalty();
        if let Task::Train { .. } = planned.task {
            self.code();
            self.first_step_at.get_or_insert(self.now);
            self.rate = self.rate_after(planned.step.0);
            let (step, of) = (planned.step.0 + 1, self.schedule.steps_per_update);
            self.reducer.begin(
                &leaves,
                Update {
                    step: Step(step),
                    number: self.schedule.version(planned.step).0 + 1,
                    is_made: step.is_multiple_of(of),
                    is_measured: is_measured(step, self.schedule.train.count()),
                    rows: planned.rows,
                    learning_rate: self.rate,
                },
            );
        } else {
            self.coder.other_begins();
            self.home_turns.other_begins();
            self.router.begin_other();
        }
        self.account.begin(self.schedule.tree, leaves);
        if let Task::Train { .. } = planned.task {
            self.route_pass(planned);
        }
        self.wake_crew();
    }

    pub(super) fn end(&mut self, planned: &Planned) -> Result<(), RunError> {
        self.pass = Pass(planned.pass.0 + 1);
        self.is_open = false;
        self.stopwatch.end(self.now);
        let Counted { rows, values: mut sums } = self.account.end(planned, self.rate)?;
        if self.penalty != 0.0
            && let Some(loss) = sums.first_mut()
        {
            *loss += self.penalty * rows as f64;
        }
        match planned.task {
            Task::Train { epoch, .. } => {
                self.reducer.end();
                let step = planned.step.0 + 1;
                let (norms, silent) = (self.gradient_norms(step), self.silent_units(step));
                let started = self.first_step_at.unwrap_or(self.now);
                self.observer.observe(RunEvent::Step {
                    epoch,
                    step,
                    rows,
                    sums: &sums,
                    learning_rate: self.rate,
                    seconds: self.now.saturating_duration_since(started).as_secs_f64(),
                    deals: self.account.deals(),
                    recomputed: self.account.recomputed(),
                    weights: WeightFrames(&|| self.reducer.frames()),
                    norms: &norms,
                    silent: &silent,
                });
            }
            Task::Evaluate { table } => {
                let judged = self.judge(planned, rows, &sums);
                if table == Table::Validation
                    && let Some(watcher) = &mut self.rate_watcher
                {
                    watcher.judge(&sums, rows);
                }
                self.observer.observe(RunEvent::Evaluated { table, rows, sums: &sums, judged });
                self.passed(planned);
                if table == Table::Test {
                    self.test_sums = Some(sums);
                    // No snapshot: a run that goes on from it would have to measure the table again.
                    return Ok(());
                }
                self.offer_snapshot(self.stopwatch.is_stopping());
                // After the snapshot, which is of the last epoch's weights and moments.
                match judged {
                    Some(judged) => self.follow(judged),
                    None => self.settle(),
                }
                return Ok(());
            }
        }
        self.passed(planned);
        self.offer_snapshot(self.stopwatch.is_stopping());
        self.settle();
        Ok(())
    }

    /// How large the gradient of each layer is, if this step is one of those that are measured.
    fn gradient_norms(&self, step: u64) -> Vec<(String, f64)> {
        if !is_measured(step, self.schedule.train.count()) {
            return Vec::new();
        }
        let norms = self.reducer.gradient_norms().into_iter();
        norms.map(|(layer, norm)| (self.layout.layer_name(layer), norm)).collect()
    }

    /// After an epoch: the units of each layer that gave nothing in it. Not of one that an earlier execution began.
    fn silent_units(&self, step: u64) -> Vec<(String, [u64; 2])> {
        let each = self.schedule.train.count();
        if !step.is_multiple_of(each) {
            return Vec::new();
        }
        let silent = self.reducer.take_silent();
        if step - each < self.steps_before {
            return Vec::new();
        }
        silent.into_iter().map(|(layer, of)| (self.layout.layer_name(layer), of)).collect()
    }

    /// Tells who did what in a pass.
    fn passed(&mut self, planned: &Planned) {
        let (took, shares) = self.tally.end(self.now);
        self.observer.observe(RunEvent::Passed { planned: *planned, took, shares: &shares });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_measured_now_and_then() {
        let of = |steps: u64, each: u64| -> Vec<u64> {
            (1..=steps).filter(|&step| is_measured(step, each)).collect()
        };
        assert_eq!(of(50, 1), [1, 16, 32, 48]);
        assert_eq!(of(80, 13), [1, 26, 52, 78]);
        assert_eq!(of(3000, 1300), [1, 1000, 1300, 2000, 2600, 3000]);
    }
}
