//! Writing checkpoints, and the model as it is then, on a thread of its own, and removing old ones.
//!
//! Two are held at most: the one that is being written, and one that waits. Whoever hands one over never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::checkpoint::{Checkpoint, Kept, RecordState};
use crate::failpoints::reach;
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::ModelFiles;

/// A checkpoint on its way to the disk.
pub struct Handed {
    /// What is written.
    pub checkpoint: Checkpoint,
    /// Waits until the records that it counts on are written, and notes how far they are.
    pub settle: Box<dyn FnOnce(&mut RecordState) + Send>,
    /// Whether the model is written as well.
    pub with_model: bool,
}

/// Writes checkpoints on a thread of its own; one waits at most.
pub struct Writer {
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
    /// The step of the last one that was written; 0, if none was.
    written: Arc<AtomicU64>,
}

#[derive(Default)]
struct Slot {
    // A std mutex: every section is a move and none waits.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Option<Handed>,
    /// One is being written.
    is_busy: bool,
    is_over: bool,
}

impl Writer {
    /// A writer for the run folder of a model that keeps the newest `keep`, of a run that goes on after step `start`. `told` is
    /// told of which step a checkpoint is written.
    pub fn start(
        model: ModelFiles,
        keep: usize,
        start: u64,
        reporter: SharedReporter,
        mut told: impl FnMut(u64) + Send + 'static,
    ) -> Writer {
        let written = Arc::new(AtomicU64::new(0));
        let note = written.clone();
        let mut kept = Kept::new(model.run(), model.origin(), keep, start);
        Writer::handing_on(written, move |handed| {
            let warn = |message| report(&reporter, &Report::Warning { message });
            let Handed { mut checkpoint, settle, with_model } = handed;
            settle(&mut checkpoint.records);
            let step = checkpoint.snapshot.step.0;
            match model.check_held().and_then(|()| kept.write(&checkpoint, &warn)) {
                Ok(()) => {
                    note.store(step, Ordering::Release);
                    told(step);
                    if let Err(error) = kept.prune() {
                        warn(format!("cannot remove an old checkpoint: {error}"));
                    }
                }
                Err(error) => warn(format!(
                    "cannot write a checkpoint: {error}; training continues, the next one is tried in its turn"
                )),
            }
            if with_model && let Err(error) = model.write(step, &checkpoint.snapshot.weights) {
                warn(format!("cannot write the model of step {step}: {error}; training continues"));
            }
        })
    }

    /// A writer that has `take` write, on its thread.
    pub(crate) fn handing_on(
        written: Arc<AtomicU64>,
        mut take: impl FnMut(Handed) + Send + 'static,
    ) -> Writer {
        let slot = Arc::new(Slot::default());
        let thread = {
            let slot = slot.clone();
            std::thread::spawn(move || {
                while let Some(handed) = slot.next() {
                    take(handed);
                }
            })
        };
        Writer { slot, thread: Some(thread), written }
    }

    /// Whether it has nothing to write.
    pub fn is_free(&self) -> bool {
        let state = self.slot.free_in_tests();
        !state.is_busy && state.waiting.is_none()
    }

    /// Hands over a checkpoint, to be written once the one before it is; one that still waits gives way to it. Never
    /// waits.
    pub fn write(&self, handed: Handed) {
        self.slot.free_in_tests().waiting = Some(handed);
        self.slot.changed.notify_all();
    }

    /// Waits for what is being written; the step of the last one that was, if any was.
    pub fn finish(mut self) -> Option<u64> {
        self.join();
        Some(self.written.load(Ordering::Acquire)).filter(|&step| step > 0)
    }

    fn join(&mut self) {
        self.slot.lock().is_over = true;
        self.slot.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been printed; the training is worth more.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    /// Waits for what is being written.
    fn drop(&mut self) {
        self.join();
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Where tests count checkpoints, none is left out: there it waits until nothing is to be written.
    fn free_in_tests(&self) -> MutexGuard<'_, State> {
        let is_counted = reach("checkpoint:handed").is_err();
        let mut state = self.lock();
        while is_counted && (state.is_busy || state.waiting.is_some()) {
            state = self.wait(state);
        }
        state
    }

    /// The next one to write, the one before being done with; `None` when there will be no more.
    fn next(&self) -> Option<Handed> {
        let mut state = self.lock();
        state.is_busy = false;
        self.changed.notify_all();
        loop {
            if let Some(handed) = state.waiting.take() {
                state.is_busy = true;
                return Some(handed);
            }
            if state.is_over {
                return None;
            }
            state = self.wait(state);
        }
    }
}
