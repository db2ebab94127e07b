//! When a checkpoint is due. Writing it is the writer's.

use std::time::Instant;

use super::writer::{Handed, Writer};
use crate::job::Every;

pub(super) struct Checkpoints {
    every: Every,
    writer: Writer,
    /// The step after which one became due that is not taken yet.
    due: Option<u64>,
    /// How many that were due gave way to a later one, because the writer was busy.
    left_out: u64,
    /// How many of them were told.
    told: u64,
    /// The step of the last one that was handed over, or with which this execution began.
    taken: u64,
    taken_at: Instant,
}

impl Checkpoints {
    /// Of an execution that begins after `step`.
    pub(super) fn new(every: Every, writer: Writer, step: u64) -> Checkpoints {
        let (due, taken_at) = (None, Instant::now());
        Checkpoints { every, writer, due, left_out: 0, told: 0, taken: step, taken_at }
    }

    pub(super) fn step_made(&mut self, step: u64) {
        let is_due = match self.every {
            Every::Steps(steps) => step.is_multiple_of(steps),
            Every::Seconds(seconds) => self.taken_at.elapsed().as_secs_f64() >= seconds,
            Every::Epochs(_) => false,
        };
        if is_due {
            self.became_due(step);
        }
    }

    /// The one after the last epoch is what more epochs go on from.
    pub(super) fn epoch_ended(&mut self, epoch: u32, step: u64, is_last: bool) {
        let is_due = |epochs| epoch.is_multiple_of(epochs);
        if is_last || matches!(self.every, Every::Epochs(epochs) if is_due(epochs)) {
            self.became_due(step);
        }
    }

    fn became_due(&mut self, step: u64) {
        let before = self.due.replace(step);
        // A pause in seconds is one that is at least so long.
        let is_promised = !matches!(self.every, Every::Seconds(_));
        self.left_out += u64::from(is_promised && before.is_some_and(|before| before < step));
    }

    /// That checkpoints were left out, when their number has doubled since it was told.
    pub(super) fn left_out(&mut self) -> Option<String> {
        if self.left_out == 0 || self.left_out < 2 * self.told {
            return None;
        }
        self.told = self.left_out;
        let were = if self.told == 1 { "checkpoint was" } else { "checkpoints were" };
        Some(format!(
            "{} {were} left out so far: writing one takes longer than the time from one to the next; the next is that of \
             step {}",
            self.told, self.taken
        ))
    }

    /// Whether one is wanted that will be written. That of a run that is about to end may wait for the one before it;
    /// otherwise one that is due is taken when the writer is free, so that nothing is copied in vain.
    pub(super) fn wants(&self, step: u64, ends_early: bool, is_at_end: bool) -> bool {
        ends_early && step > self.taken
            || self.due.is_some() && (is_at_end || self.writer.is_free())
    }

    /// Hands one over, which was wanted.
    pub(super) fn take(&mut self, handed: Handed) {
        (self.taken, self.taken_at) = (handed.checkpoint.snapshot.step.0, Instant::now());
        self.due = None;
        self.writer.write(handed);
    }

    /// Waits for the writer; the step of the last one that it wrote, if it wrote any.
    pub(super) fn finish(self) -> Option<u64> {
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use lockstep_coordinator::Snapshot;
    use lockstep_proto::ids::{Pass, Step};

    use super::*;
    use crate::checkpoint::{Checkpoint, RecordState};

    #[test]
    fn what_is_left_out_is_said_and_not_each_time() {
        let writer = Writer::handing_on(Arc::new(AtomicU64::new(0)), |_| {});
        let mut checkpoints = Checkpoints::new(Every::Epochs(1), writer, 0);
        let mut told = Vec::new();
        // Epochs of 10 steps; that many end before the writer is free.
        let mut epoch = 0;
        for epochs in [1, 1, 2, 1, 2, 4, 1, 9] {
            for _ in 0..epochs {
                epoch += 1;
                checkpoints.epoch_ended(epoch, u64::from(epoch) * 10, false);
            }
            let (pass, step) = (Pass(0), Step(u64::from(epoch) * 10 + 3));
            let (weights, moments) = (Vec::new(), Vec::new());
            let snapshot = Snapshot {
                pass,
                step,
                weights,
                moments,
                average: None,
                accumulated: None,
                plateau: None,
                watch: None,
                best_weights: None,
            };
            let checkpoint = Checkpoint { snapshot, records: RecordState::default() };
            let settle = Box::new(|_: &mut RecordState| {});
            checkpoints.take(Handed { checkpoint, settle, with_model: false });
            told.extend(checkpoints.left_out());
        }
        let told: Vec<_> =
            told.iter().map(|text| text.split(" left out").next().unwrap()).collect();
        assert_eq!(
            told,
            ["1 checkpoint was", "2 checkpoints were", "5 checkpoints were", "13 checkpoints were"]
        );
    }
}
