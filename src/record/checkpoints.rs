//! When a checkpoint is due. Writing it is the writer's.

use std::time::Instant;

use crate::checkpoint::{Handed, Writer};
use crate::job::Every;

pub(super) struct Checkpoints {
    every: Every,
    writer: Writer,
    due: bool,
    /// The step of the last one that was handed over, or with which this execution began.
    taken: u64,
    taken_at: Instant,
}

impl Checkpoints {
    /// Of an execution that begins after `step`.
    pub(super) fn new(every: Every, writer: Writer, step: u64) -> Checkpoints {
        Checkpoints { every, writer, due: false, taken: step, taken_at: Instant::now() }
    }

    pub(super) fn step_made(&mut self, step: u64) {
        self.due |= match self.every {
            Every::Steps(steps) => step.is_multiple_of(steps),
            Every::Seconds(seconds) => self.taken_at.elapsed().as_secs_f64() >= seconds,
            Every::Epochs(_) => false,
        };
    }

    /// The one after the last epoch is what more epochs go on from.
    pub(super) fn epoch_ended(&mut self, epoch: u32, is_last: bool) {
        let is_due = |epochs| epoch.is_multiple_of(epochs);
        self.due |= is_last || matches!(self.every, Every::Epochs(epochs) if is_due(epochs));
    }

    /// Whether one is wanted that will be written. That of a run that is about to end may wait for the one before it;
    /// otherwise one that is due is taken when the writer is free, so that nothing is copied in vain.
    pub(super) fn wants(&self, step: u64, ends_early: bool, is_at_end: bool) -> bool {
        ends_early && step > self.taken || self.due && (is_at_end || self.writer.is_free())
    }

    /// Hands one over, which was wanted.
    pub(super) fn take(&mut self, handed: Handed) {
        (self.taken, self.taken_at) = (handed.checkpoint.snapshot.step.0, Instant::now());
        self.due = false;
        self.writer.write(handed);
    }

    /// Waits for the writer; the step of the last one that it wrote, if it wrote any.
    pub(super) fn finish(self) -> Option<u64> {
        self.writer.finish()
    }
}
