//! The journal's thread: hashes weights and hands the lines on, off the training's path.
//!
//! The training waits only while more is to be hashed than there is room for, never for a disk; what waits are references
//! to frames that were published anyway, or, where workers see rounded weights, frames made for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use lockstep_coordinator::WeightFrames;
use lockstep_proto::ids::{Span, WorkerId};

use super::Line;
use crate::line_file::LineFile;

/// Weights that may wait to be hashed: this many bytes and this many steps, but always one.
const WAITING_BYTES_MAX: usize = 64 << 20;
const WAITING_MAX: usize = 64;

/// Which steps are journaled.
#[derive(Clone, Debug)]
pub enum Due {
    /// Every so many, and the last of every epoch.
    Every {
        /// How many.
        steps: u64,
        /// Steps of an epoch.
        steps_per_epoch: u64,
    },
    /// These.
    At(BTreeSet<u64>),
}

impl Due {
    fn is_due(&self, step: u64) -> bool {
        match self {
            Due::Every { steps, steps_per_epoch } => {
                step.is_multiple_of(*steps) || step.is_multiple_of(*steps_per_epoch)
            }
            Due::At(steps) => steps.contains(&step),
        }
    }
}

/// A step that was made.
pub struct Made<'a> {
    /// From 1, through the whole run.
    pub step: u64,
    /// From 1.
    pub epoch: u32,
    /// Rows added in the epoch so far.
    pub rows: u64,
    /// Rows added in the run so far.
    pub rows_total: u64,
    /// Who was dealt what, in order.
    pub deals: &'a [(WorkerId, Span)],
    /// How many microbatches were dealt again.
    pub recomputed: u64,
    /// The weights.
    pub weights: WeightFrames<'a>,
}

enum Message {
    /// A line that lacks its hash, and what to hash.
    Made(Line, Vec<Bytes>),
    /// Everything before this is to be handed on; then say so.
    Mark(SyncSender<()>),
}

/// Takes in steps and keeps the journal's thread.
pub struct Journal {
    due: Due,
    /// Since the last line.
    recomputed: u64,
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Where lines end up, if in a file.
    lines: Option<Arc<LineFile>>,
}

/// A place in the journal that can be waited for.
pub(crate) struct JournalMark {
    handed_on: Receiver<()>,
    lines: Option<Arc<LineFile>>,
}

impl JournalMark {
    /// Returns when the lines of all steps before it are written, or cannot be.
    pub(crate) fn wait(self) {
        // A thread is gone only after a panic, which has been printed: nothing more will be written.
        let _ = self.handed_on.recv();
        if let Some(lines) = self.lines {
            let _ = lines.mark().recv();
        }
    }
}

impl Journal {
    /// A journal that is written to a file.
    pub(crate) fn writing(due: Due, bytes: usize, lines: LineFile) -> Journal {
        let lines = Arc::new(lines);
        let into = lines.clone();
        let take = move |line| {
            // Numbers and texts can always be laid out.
            if let Ok(mut line) = serde_json::to_vec(&line) {
                line.push(b'\n');
                into.push(line);
                into.flush();
            }
            true
        };
        let mut journal = Journal::start(due, bytes, take);
        journal.lines = Some(lines);
        journal
    }

    /// A journal of weights of `bytes` bytes. `take` is handed the lines, on the journal's thread, until it says that it
    /// wants no more.
    pub fn start(
        due: Due,
        bytes: usize,
        take: impl FnMut(Line) -> bool + Send + 'static,
    ) -> Journal {
        let room = (WAITING_BYTES_MAX / bytes.max(1)).clamp(1, WAITING_MAX);
        let (queue, waiting) = sync_channel(room);
        let thread = std::thread::spawn(move || work(waiting, take));
        Journal { due, recomputed: 0, queue: Some(queue), thread: Some(thread), lines: None }
    }

    /// Takes in a step.
    pub fn step(&mut self, made: &Made<'_>) {
        self.recomputed += made.recomputed;
        if !self.due.is_due(made.step) {
            return;
        }
        let plan = made.deals.iter().map(|(worker, span)| (worker.0, span.start, span.end));
        let line = Line {
            step: made.step,
            epoch: made.epoch,
            rows: made.rows,
            rows_total: made.rows_total,
            weights_blake3: String::new(),
            plan: plan.collect(),
            recomputed: std::mem::take(&mut self.recomputed),
        };
        self.send(Message::Made(line, (made.weights.0)()));
    }

    /// What to wait for until the lines of all steps so far are written.
    pub(crate) fn mark(&self) -> JournalMark {
        let (reached_tx, handed_on) = sync_channel(1);
        self.send(Message::Mark(reached_tx));
        JournalMark { handed_on, lines: self.lines.clone() }
    }

    fn send(&self, message: Message) {
        if let Some(queue) = &self.queue {
            // Fails only when the thread has panicked, which has been printed.
            let _ = queue.send(message);
        }
    }
}

impl Drop for Journal {
    /// Waits until everything is handed on.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; the training is worth more.
            let _ = thread.join();
        }
    }
}

fn work(waiting: Receiver<Message>, mut take: impl FnMut(Line) -> bool) {
    let mut wanted = true;
    for message in waiting {
        match message {
            Message::Made(mut line, frames) if wanted => {
                let mut hasher = blake3::Hasher::new();
                for frame in &frames {
                    hasher.update(frame);
                }
                // The memory goes back before the line is written.
                drop(frames);
                line.weights_blake3 = hasher.finalize().to_hex().to_string();
                wanted = take(line);
            }
            Message::Made(..) => {}
            Message::Mark(reached) => {
                // Nobody waits any more if the run was torn down meanwhile.
                let _ = reached.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lockstep_proto::values;

    use super::*;
    use crate::weights_file::weights_hash;

    fn made<'a>(step: u64, recomputed: u64, weights: &'a dyn Fn() -> Vec<Bytes>) -> Made<'a> {
        const DEALS: &[(WorkerId, Span)] = &[(WorkerId(3), Span { start: 0, end: 4 })];
        let (rows, weights) = (step * 10, WeightFrames(weights));
        Made { step, epoch: 1, rows, rows_total: rows, deals: DEALS, recomputed, weights }
    }

    #[test]
    fn due_steps_become_lines_with_the_hash_of_the_whole_vector() {
        let whole = [1.0, -2.0, 3.5, 0.0, -0.0];
        let weights = || vec![values::encode(&whole[..3]), values::encode(&whole[3..])];
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        let due = Due::Every { steps: 3, steps_per_epoch: 5 };
        let mut journal = Journal::start(due, 20, move |line| {
            into.lock().unwrap().push(line);
            true
        });
        for step in 1..=11 {
            journal.step(&made(step, u64::from(step == 4 || step == 5), &weights));
        }
        journal.mark().wait();
        let found = lines.lock().unwrap().clone();
        let told: Vec<_> = found.iter().map(|line| (line.step, line.recomputed)).collect();
        assert_eq!(told, [(3, 0), (5, 2), (6, 0), (9, 0), (10, 0)]);
        assert!(found.iter().all(|line| line.weights_blake3 == weights_hash(&whole)));
        assert_eq!(found[0].plan, [(3, 0, 4)]);
    }

    #[test]
    fn nothing_is_handed_on_that_nobody_wants() {
        let (seen_tx, seen) = sync_channel(100);
        let steps = Due::At((1..50).collect());
        let mut journal = Journal::start(steps, usize::MAX, move |line| {
            seen_tx.send(line.step).unwrap();
            line.step < 4
        });
        (1..=60).for_each(|step| journal.step(&made(step, 0, &Vec::new)));
        journal.mark().wait();
        drop(journal);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
