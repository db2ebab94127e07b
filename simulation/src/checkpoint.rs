//! What a simulated coordinator keeps of a run, to begin anew from: only what the disk has taken in whole.

use std::collections::VecDeque;
use std::ops::Deref;

use lockstep_coordinator::Snapshot;

/// The state between two passes.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) snapshot: Snapshot,
    /// By pass: what was told of it.
    pub(crate) history: Vec<Vec<u64>>,
}

impl Deref for Checkpoint {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Checkpoint {
    /// Of a run that did not begin.
    pub(crate) fn beginning(snapshot: Snapshot) -> Checkpoint {
        Checkpoint { snapshot, history: Vec::new() }
    }
}

/// Writes one checkpoint after the other.
#[derive(Debug)]
pub(crate) struct Disk {
    newest: Checkpoint,
    writing: VecDeque<Checkpoint>,
    /// One was taken in and nobody said yet when it will be whole.
    is_new: bool,
}

impl Disk {
    pub(crate) fn new(newest: Checkpoint) -> Disk {
        Disk { newest, writing: VecDeque::new(), is_new: false }
    }

    pub(crate) fn newest(&self) -> &Checkpoint {
        &self.newest
    }

    /// Whether the next checkpoint is due after so many passes, and there is time for it.
    pub(crate) fn is_due(&self, passes: u64, every: u64) -> bool {
        self.writing.is_empty() && passes >= self.newest.pass.0 + every
    }

    pub(crate) fn take(&mut self, checkpoint: Checkpoint) {
        self.writing.push_back(checkpoint);
        self.is_new = true;
    }

    /// Whether one was taken in since this was asked last.
    pub(crate) fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// The oldest that is being written is whole.
    pub(crate) fn write(&mut self) {
        if let Some(written) = self.writing.pop_front() {
            self.newest = written;
        }
    }

    /// Everything is whole.
    pub(crate) fn sync(&mut self) {
        while !self.writing.is_empty() {
            self.write();
        }
    }
}
