//! Where chunks are worked on: small ones at once, and values that only wait for others, large ones on a pool of threads;
//! and what is published so far.
//!
//! The weights of the open step stay until every chunk of it is committed, so that a worker that joins in the
//! middle of a step can still compute on them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lockstep_proto::arithmetic::deviation;
use lockstep_proto::fold::Leaves;
use lockstep_proto::frame::Slice;
use lockstep_proto::ids::{Chunk, Pass, Step};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::panics;
use lockstep_proto::shared::weights::ChunkVersions;
use lockstep_proto::tree::ShardTree;
use tokio::sync::mpsc;

use crate::error::RunError;
use crate::optimizer::sum_of_squares;
use crate::reduction::{ChunkState, Folded, Rule, Update, clip_scale};
use crate::snapshot::Snapshot;
use crate::spec::RunSpec;

/// Frames up to this size are folded on the spot, as are those that need only be kept: handing them over would take longer.
const INLINE_BYTES_MAX: usize = 1 << 16;

/// Folds in the hands of each thread, results that were not looked at among them. While more wait, no message is read.
const FOLDS_A_THREAD_MAX: usize = 4;

/// What a fold led to.
#[derive(Debug)]
pub(crate) enum Reduced {
    /// Nothing yet.
    Pending,
    /// The chunk's gradient is complete and held for the global norm.
    Held,
    /// The chunk has new weights.
    Published { step: Step, chunk: Chunk },
    /// A sum or weight is not finite.
    NonFinite { step: Step, chunk: Chunk, what: &'static str },
    /// Adding panicked: what it said.
    Panicked(String),
}

pub(crate) struct Reducer {
    tree: ShardTree,
    rule: Rule,
    chunks: Vec<Arc<Mutex<ChunkState>>>,
    pool: rayon::ThreadPool,
    /// A fold takes its result's place before it is handed to a thread: no result can be lost.
    results_tx: mpsc::Sender<(Chunk, Folded)>,
    results: mpsc::Receiver<(Chunk, Folded)>,
    in_flight: usize,
    /// Folds that wait for a place, with their update: those of one message, or of one span that was compared.
    waiting: VecDeque<(Step, Slice)>,
    /// The update that is being made.
    step: Step,
    is_open: bool,
    /// By chunk: the version of the newest weights.
    newest: Vec<Step>,
    /// By chunk: whether workers on this machine can read it.
    is_shared: Vec<bool>,
    is_small: bool,
    /// Chunks of each block of the global norm.
    norm_blocks: Vec<Range<usize>>,
}

impl Reducer {
    pub(crate) fn new(
        spec: &RunSpec,
        tree: ShardTree,
        published: Vec<ChunkVersions>,
    ) -> Result<Reducer, RunError> {
        let precision = spec.precision;
        let rule = Rule { optimizer: spec.optimizer, clip_norm: spec.clip_norm, precision };
        let Snapshot { step, weights, moments, .. } = &spec.start;
        let is_shared = published.iter().map(ChunkVersions::is_shared).collect();
        let state = |(chunk, published): (&ChunkRange, ChunkVersions)| {
            let range = || chunk.range.clone();
            let moments = moments.iter().map(|moment| moment[range()].to_vec()).collect();
            let weights = weights[range()].to_vec();
            let state = ChunkState::new(*step, weights, moments, published, precision);
            Arc::new(Mutex::new(state))
        };
        let chunks: Vec<_> = spec.layout.chunks().iter().zip(published).map(state).collect();
        let threads = spec.threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("reduce-{i}"))
            .build()
            .map_err(|error| RunError::Threads(error.to_string()))?;
        if let Some(deviation) = pool.broadcast(|_| deviation()).into_iter().flatten().next() {
            return Err(RunError::Arithmetic(deviation));
        }
        let (results_tx, results) = mpsc::channel(FOLDS_A_THREAD_MAX * threads);
        Ok(Reducer {
            tree,
            rule,
            is_open: false,
            newest: vec![*step; chunks.len()],
            is_shared,
            is_small: spec.layout.len() * precision.width() <= INLINE_BYTES_MAX,
            norm_blocks: spec.layout.norm_blocks(),
            chunks,
            pool,
            results_tx,
            results,
            in_flight: 0,
            waiting: VecDeque::new(),
            step: *step,
        })
    }

    /// Opens the update that makes the weights of `step`.
    pub(crate) fn begin(&mut self, leaves: &Leaves, step: Step, rows: u64, learning_rate: f32) {
        let update = Update { step: step.0, rows, learning_rate };
        self.step = step;
        self.is_open = true;
        for chunk in &self.chunks {
            lock(chunk).begin(self.tree, leaves.clone(), update);
        }
    }

    /// Nobody needs the weights before the update any more.
    pub(crate) fn end(&mut self) {
        self.is_open = false;
    }

    /// Adds one node's values; `None` if a thread was put to it and [`Reducer::next`] will tell.
    pub(crate) fn fold(&mut self, slice: Slice) -> Option<Reduced> {
        let Slice { node, chunk, values } = slice;
        let state = &self.chunks[chunk.0 as usize];
        if values.len() <= INLINE_BYTES_MAX {
            let folded = lock(state).insert(&self.rule, self.step.0, node, values);
            return Some(self.note(chunk, folded));
        }
        let state = state.clone();
        if let Ok(mut state) = state.try_lock()
            && state.keeps(node)
        {
            let folded = state.insert(&self.rule, self.step.0, node, values);
            return Some(self.note(chunk, folded));
        }
        self.waiting.push_back((self.step, Slice { node, chunk, values }));
        self.hand_over();
        None
    }

    /// Gives threads as many folds as there are places for results.
    fn hand_over(&mut self) {
        while !self.waiting.is_empty()
            && let Ok(place) = self.results_tx.clone().try_reserve_owned()
            && let Some((step, Slice { node, chunk, values })) = self.waiting.pop_front()
        {
            let (rule, state) = (self.rule, self.chunks[chunk.0 as usize].clone());
            self.in_flight += 1;
            self.pool.spawn(move || {
                // A panic that reached the pool would end the process, whoever else is in it.
                let insert = || {
                    #[cfg(feature = "failpoints")]
                    fail::fail_point!("fold");
                    lock(&state).insert(&rule, step.0, node, values)
                };
                let folded = panics::guard(insert).unwrap_or_else(Folded::Panicked);
                place.send((chunk, folded));
            });
        }
    }

    /// Updates all chunks, scaled by the global norm of their gradients.
    pub(crate) fn update(&mut self) -> Vec<Reduced> {
        use rayon::prelude::*;
        let scale = self.rule.clip_norm.map(|max| clip_scale(max, self.squares().into_iter()));
        let update = |chunk: &Arc<Mutex<ChunkState>>| lock(chunk).update(&self.rule, scale);
        let folded: Vec<Folded> = if self.is_small {
            self.chunks.iter().map(update).collect()
        } else {
            self.pool.install(|| self.chunks.par_iter().map(update).collect())
        };
        let numbered = folded.into_iter().enumerate();
        numbered.map(|(chunk, folded)| self.note(Chunk(chunk as u32), folded)).collect()
    }

    /// The sum of squares of each block of the gradient that is held.
    fn squares(&self) -> Vec<f64> {
        use rayon::prelude::*;
        let square = |block: &Range<usize>| {
            let chunks: Vec<_> =
                self.chunks[block.clone()].iter().map(|chunk| lock(chunk)).collect();
            sum_of_squares(chunks.iter().map(|chunk| chunk.held()))
        };
        if self.is_small {
            return self.norm_blocks.iter().map(square).collect();
        }
        self.pool.install(|| self.norm_blocks.par_iter().map(square).collect())
    }

    /// Whether threads are at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether another message's frames may be folded.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.results_tx.capacity() > 0
    }

    /// The next result of the threads.
    pub(crate) async fn next(&mut self) -> Reduced {
        match self.results.recv().await {
            Some((chunk, folded)) => {
                self.in_flight -= 1;
                self.hand_over();
                self.note(chunk, folded)
            }
            None => Reduced::Pending,
        }
    }

    /// All weights that a new worker needs: of the open step, and what is already newer.
    pub(crate) fn published(&self) -> Vec<(Step, Chunk)> {
        let before = self.is_open.then_some(Step(self.step.0.wrapping_sub(1)));
        let mut published = Vec::new();
        for step in before.into_iter().chain([self.step]) {
            for chunk in (0..self.chunks.len() as u32).map(Chunk) {
                let is_newer = self.newest[chunk.0 as usize] >= step;
                published.extend(is_newer.then_some((step, chunk)));
            }
        }
        published
    }

    /// Whether workers on this machine can read a chunk where it was published.
    pub(crate) fn is_shared(&self, chunk: Chunk) -> bool {
        self.is_shared[chunk.0 as usize]
    }

    /// A chunk of the newest weights, or of those before them while the step is open, as workers see it.
    ///
    /// # Panics
    /// If it is of another version.
    pub(crate) fn frame(&self, step: Step, chunk: Chunk) -> Bytes {
        let frame = lock(&self.chunks[chunk.0 as usize]).frame(step);
        frame.expect("the newest two versions are kept")
    }

    /// The weights as `f32` frames, chunk by chunk in the layout's order: between two passes, all of one step.
    pub(crate) fn frames(&self) -> Vec<Bytes> {
        self.chunks.iter().map(|chunk| lock(chunk).weights_frame()).collect()
    }

    /// The weights as one vector.
    pub(crate) fn weights(&self) -> Vec<f32> {
        let mut weights = Vec::new();
        for chunk in &self.chunks {
            lock(chunk).copy_weights(&mut weights);
        }
        weights
    }

    /// Whether the state before the open update, or between two, is all there.
    pub(crate) fn is_before_update(&self) -> bool {
        !self.is_open || self.chunks.iter().all(|chunk| lock(chunk).is_before_update())
    }

    /// The state before `pass`: the next one, or the one that is open, as long as no chunk of it has been updated. `None`
    /// once one has: its moments before that are gone.
    pub(crate) fn snapshot(&self, pass: Pass) -> Option<Snapshot> {
        let (mut weights, mut moments) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            // Threads may update others meanwhile: what was copied is still the state before all of that.
            let chunk = lock(chunk);
            if self.is_open && !chunk.is_before_update() {
                return None;
            }
            chunk.copy_weights(&mut weights);
            moments.resize_with(chunk.moments().len(), Vec::new);
            for (whole, part) in moments.iter_mut().zip(chunk.moments()) {
                whole.extend_from_slice(part);
            }
        }
        let step = if self.is_open { Step(self.step.0 - 1) } else { self.step };
        Some(Snapshot { pass, step, weights, moments })
    }

    fn note(&mut self, chunk: Chunk, folded: Folded) -> Reduced {
        let (step, place) = (self.step, chunk.0 as usize);
        match folded {
            Folded::Pending => Reduced::Pending,
            Folded::Held => Reduced::Held,
            Folded::Updated => {
                self.newest[place] = step;
                Reduced::Published { step, chunk }
            }
            Folded::NonFinite(what) => Reduced::NonFinite { step, chunk, what },
            Folded::Panicked(said) => Reduced::Panicked(said),
        }
    }
}

/// A fold that panics has broken an invariant of ours; the others may still finish their chunk.
fn lock(chunk: &Mutex<ChunkState>) -> MutexGuard<'_, ChunkState> {
    chunk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Optimizer;
    use lockstep_proto::batches::Batches;
    use lockstep_proto::layout::{DenseShape, Layout};
    use lockstep_proto::tree::Node;
    use lockstep_proto::values::Precision;

    const CHUNKS: u32 = 96;

    /// Chunks of 256 KiB, a row in each of two shards.
    fn reducer() -> Reducer {
        let units = 1024 * CHUNKS as usize;
        let layout = Arc::new(Layout::new(&[DenseShape { inputs: 64, units, bias: false }]));
        let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let published = layout.chunks().iter().map(|chunk| 4 * chunk.range.len());
        let published = published.map(ChunkVersions::own).collect();
        let spec = RunSpec {
            run_id: String::new(),
            network: String::new(),
            numeric_profile: String::new(),
            start: Snapshot::fresh(vec![0.0; layout.len()], &optimizer),
            layout,
            sum_bounds: Vec::new(),
            batches: Batches { rows: 2, shards: 2, batch_size: 2 },
            validation_rows: None,
            test_rows: None,
            epochs: 1,
            shuffle: false,
            seed: 0,
            optimizer,
            learning_rate: 1.0.into(),
            clip_norm: None,
            precision: Precision::F32,
            workers_min: 1,
            audit_fraction: 0.0,
            workers_start: 1,
            threads: 1,
        };
        Reducer::new(&spec, ShardTree::new(2), published).unwrap()
    }

    /// As when a span that was compared is waived: all of its values at once, whether there is room or not.
    #[tokio::test]
    async fn no_result_of_many_folds_is_lost() {
        let mut reducer = reducer();
        let tree = ShardTree::new(2);
        reducer.begin(&Leaves::new(tree, |_| true), Step(1), 2, 1.0);
        let values = Bytes::from(vec![0; 1 << 18]);
        let mut published = 0;
        for node in [0, 1].map(Node::leaf) {
            for chunk in (0..CHUNKS).map(Chunk) {
                let folded = reducer.fold(Slice { node, chunk, values: values.clone() });
                assert!(matches!(folded, None | Some(Reduced::Pending)), "{folded:?}");
            }
        }
        assert!(!reducer.has_room(), "nothing more is read until then");
        // The threads have long been done.
        reducer.pool.install(|| {});
        while reducer.is_busy() {
            published += u32::from(matches!(reducer.next().await, Reduced::Published { .. }));
        }
        assert_eq!(published, CHUNKS);
        assert!(reducer.has_room());
    }
}
