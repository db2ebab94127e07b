//! What a simulated coordinator keeps of a run, to begin anew from: only what the disk has taken in whole.

use std::collections::VecDeque;
use std::ops::Deref;

use super::case::Case;
use crate::snapshot::Snapshot;

/// The state between two passes.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) snapshot: Snapshot,
    /// By pass: what was told of it.
    pub(super) history: Vec<Vec<u64>>,
}

impl Deref for Checkpoint {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Checkpoint {
    pub(super) fn beginning(case: &Case) -> Checkpoint {
        let chunks = 0..case.chunk_lens.len();
        let weights = chunks.flat_map(|chunk| case.initial_weights(chunk)).collect();
        let snapshot = Snapshot::fresh(weights, &case.rule.optimizer);
        Checkpoint { snapshot, history: Vec::new() }
    }
}

/// Writes one checkpoint after the other.
#[derive(Debug)]
pub(super) struct Disk {
    newest: Checkpoint,
    writing: VecDeque<Checkpoint>,
    /// One was taken in and nobody said yet when it will be whole.
    is_new: bool,
}

impl Disk {
    pub(super) fn new(newest: Checkpoint) -> Disk {
        Disk { newest, writing: VecDeque::new(), is_new: false }
    }

    pub(super) fn newest(&self) -> &Checkpoint {
        &self.newest
    }

    /// Whether the next checkpoint is due after so many passes, and there is time for it.
    pub(super) fn is_due(&self, passes: u64, every: u64) -> bool {
        self.writing.is_empty() && passes >= self.newest.pass.0 + every
    }

    pub(super) fn take(&mut self, checkpoint: Checkpoint) {
        self.writing.push_back(checkpoint);
        self.is_new = true;
    }

    /// Whether one was taken in since this was asked last.
    pub(super) fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// The oldest that is being written is whole.
    pub(super) fn write(&mut self) {
        if let Some(written) = self.writing.pop_front() {
            self.newest = written;
        }
    }

    /// Everything is whole.
    pub(super) fn sync(&mut self) {
        while !self.writing.is_empty() {
            self.write();
        }
    }
}
