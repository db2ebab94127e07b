//! Work on chunks that takes long enough for a thread of its own. Jobs share nothing but the chunks, which they lock one at a
//! time, so that they may run in any order, and any number at once. Knows no threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::panics;
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::Node;
use tracing::trace_span;

use crate::update::sum_of_squares;
use crate::update::{ChunkState, Folded, Rule};

/// A chunk's state, as the core and its jobs share it.
pub(crate) type SharedChunk = Arc<Mutex<ChunkState>>;

/// A fold that panics has broken an invariant of ours; the others may still finish their chunk.
pub(super) fn lock(chunk: &Mutex<ChunkState>) -> MutexGuard<'_, ChunkState> {
    chunk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something to be computed.
#[derive(Debug)]
pub struct Job(pub(super) Work);

#[derive(Debug)]
pub(super) enum Work {
    /// Add a node's values, which are of this step.
    Fold { state: SharedChunk, rule: Rule, step: Step, node: Node, chunk: Chunk, values: Bytes },
    /// Add the squares of the gradient that is held in the chunks of a block of the global norm.
    Square { states: Vec<SharedChunk>, block: usize },
    /// Update a chunk by the gradient that it holds.
    Update { state: SharedChunk, rule: Rule, chunk: Chunk, scale: Option<f32> },
}

/// What became of a job.
#[derive(Debug)]
pub struct Finished(pub(super) Done);

#[derive(Debug)]
pub(super) enum Done {
    Chunk(Chunk, Folded),
    /// A block of the norm, and its sum.
    Squared(usize, f64),
    /// What it said.
    Panicked(String),
}

impl Job {
    /// Does it, here and now.
    pub fn run(self) -> Finished {
        // A panic that reached a pool of threads would end the process, whoever else is in it.
        Finished(panics::guard(|| self.0.run()).unwrap_or_else(Done::Panicked))
    }
}

impl Work {
    fn run(self) -> Done {
        match self {
            Work::Fold { state, rule, step, node, chunk, values } => {
                #[cfg(feature = "failpoints")]
                fail::fail_point!("fold");
                let _span =
                    trace_span!(target: TARGET, "fold", step = step.0, chunk = chunk.0).entered();
                Done::Chunk(chunk, lock(&state).insert(&rule, step, node, values))
            }
            Work::Square { states, block } => {
                let _span = trace_span!(target: TARGET, "square").entered();
                Done::Squared(block, squares(&states))
            }
            Work::Update { state, rule, chunk, scale } => {
                let _span = trace_span!(target: TARGET, "scale", chunk = chunk.0).entered();
                Done::Chunk(chunk, lock(&state).update(&rule, scale))
            }
        }
    }
}

/// The sum of the squares of what these chunks hold.
pub(super) fn squares(states: &[SharedChunk]) -> f64 {
    let chunks: Vec<_> = states.iter().map(|chunk| lock(chunk)).collect();
    sum_of_squares(chunks.iter().map(|chunk| chunk.held()))
}
