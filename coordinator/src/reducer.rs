//! Where chunks are worked on: small ones at once, large ones on a pool of threads, and what is published so far.
//!
//! Keeps the weights of the open step until every chunk of it is committed, so that a worker that joins in the
//! middle of a step can still compute on them.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::fold::Leaves;
use lockstep_proto::frame::Slice;
use lockstep_proto::ids::{Chunk, Pass, Step};
use lockstep_proto::shared::weights::WeightsWriter;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::{self, Precision};
use tokio::sync::mpsc;

use crate::reduction::{ChunkState, Folded, Rule, clip_scale};
use crate::run::RunSpec;
use crate::snapshot::Snapshot;

/// Frames up to this size are folded on the spot: handing them over would take longer.
const INLINE_BYTES_MAX: usize = 1 << 16;

/// What a fold led to.
#[derive(Debug)]
pub(crate) enum Reduced {
    /// Nothing yet.
    Pending,
    /// The chunk's gradient is complete and held for the global norm.
    Held,
    /// The chunk has new weights.
    Published { step: Step, chunk: Chunk, values: Bytes, is_shared: bool },
    /// A sum or weight is not finite.
    NonFinite { step: Step, chunk: Chunk, what: &'static str },
}

pub(crate) struct Reducer {
    tree: ShardTree,
    rule: Rule,
    chunks: Vec<Arc<Mutex<ChunkState>>>,
    pool: rayon::ThreadPool,
    results_tx: mpsc::Sender<(Chunk, Folded, bool)>,
    results: mpsc::Receiver<(Chunk, Folded, bool)>,
    /// Where new weights are written for workers on this machine, if anywhere.
    shared: Option<Arc<WeightsWriter>>,
    in_flight: usize,
    in_flight_max: usize,
    /// The update that is being made.
    step: Step,
    /// By chunk: the newest weights as workers see them, and those before them while the step is open.
    newest: Vec<(Step, Bytes)>,
    before: Vec<Option<(Step, Bytes)>>,
    sums_of_squares: Vec<f64>,
}

impl Reducer {
    pub(crate) fn new(
        spec: &RunSpec,
        tree: ShardTree,
        shared: Option<Arc<WeightsWriter>>,
    ) -> Reducer {
        let precision = spec.precision;
        let rule = Rule { optimizer: spec.optimizer, clip_norm: spec.clip_norm, precision };
        let Snapshot { step, weights, moments, .. } = &spec.start;
        let ranges = || spec.layout.chunks().iter().map(|chunk| chunk.range.clone());
        let state = |range: Range<usize>| {
            let moments = moments.iter().map(|moment| moment[range.clone()].to_vec()).collect();
            Arc::new(Mutex::new(ChunkState::new(weights[range].to_vec(), moments)))
        };
        let chunks: Vec<_> = ranges().map(state).collect();
        let threads = spec.threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("reduce-{i}"))
            .build()
            .expect("the system gives a few threads");
        // A place for every fold that can be in flight, so that sending a result never waits: room is asked for once a
        // message, and one message brings at most so many frames that are too large to be folded on the spot.
        let in_flight_max = 4 * threads;
        let (results_tx, results) =
            mpsc::channel(in_flight_max + MESSAGE_BYTES_MAX / INLINE_BYTES_MAX);
        Reducer {
            tree,
            rule,
            newest: ranges().map(|range| (*step, precision.encode(&weights[range]))).collect(),
            before: vec![None; chunks.len()],
            sums_of_squares: vec![0.0; chunks.len()],
            chunks,
            pool,
            results_tx,
            results,
            shared,
            in_flight: 0,
            in_flight_max,
            step: *step,
        }
    }

    /// Opens the update that makes the weights of `step`.
    pub(crate) fn begin(&mut self, leaves: &Leaves, step: Step, rows: u64) {
        self.step = step;
        for chunk in &self.chunks {
            lock(chunk).begin(self.tree, leaves.clone(), step.0, rows);
        }
    }

    /// Lets go of the weights before the update.
    pub(crate) fn end(&mut self) {
        self.before.fill(None);
    }

    /// Adds one node's values; `None` if a thread was put to it and [`Reducer::next`] will tell.
    pub(crate) fn fold(&mut self, slice: Slice) -> Option<Reduced> {
        let Slice { node, chunk, values } = slice;
        let state = &self.chunks[chunk.0 as usize];
        if values.len() <= INLINE_BYTES_MAX {
            let folded = lock(state).insert(&self.rule, self.step.0, node, values);
            let is_shared = share(self.shared.as_deref(), self.step, chunk, &folded);
            return Some(self.note(chunk, folded, is_shared));
        }
        let (state, rule, results) = (state.clone(), self.rule, self.results_tx.clone());
        let (step, shared) = (self.step, self.shared.clone());
        self.in_flight += 1;
        self.pool.spawn(move || {
            let folded = lock(&state).insert(&rule, step.0, node, values);
            let is_shared = share(shared.as_deref(), step, chunk, &folded);
            // Fails only when the run is over.
            let _ = results.try_send((chunk, folded, is_shared));
        });
        None
    }

    /// Updates all chunks, scaled by the global norm of their gradients.
    pub(crate) fn update(&mut self) -> Vec<Reduced> {
        use rayon::prelude::*;
        let scale =
            self.rule.clip_norm.map(|max| clip_scale(max, self.sums_of_squares.iter().copied()));
        let (shared, step) = (self.shared.as_deref(), self.step);
        let update = |(place, chunk): (usize, &Arc<Mutex<ChunkState>>)| {
            let folded = lock(chunk).update(&self.rule, scale);
            let is_shared = share(shared, step, Chunk(place as u32), &folded);
            (folded, is_shared)
        };
        let small =
            self.newest.iter().map(|(_, values)| values.len()).sum::<usize>() <= INLINE_BYTES_MAX;
        let folded: Vec<(Folded, bool)> = if small {
            self.chunks.iter().enumerate().map(update).collect()
        } else {
            self.pool.install(|| self.chunks.par_iter().enumerate().map(update).collect())
        };
        let numbered = folded.into_iter().enumerate();
        numbered
            .map(|(chunk, (folded, is_shared))| self.note(Chunk(chunk as u32), folded, is_shared))
            .collect()
    }

    /// Whether threads are at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether another message's frames may be folded.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max
    }

    /// The next result of the threads.
    pub(crate) async fn next(&mut self) -> Reduced {
        match self.results.recv().await {
            Some((chunk, folded, is_shared)) => {
                self.in_flight -= 1;
                self.note(chunk, folded, is_shared)
            }
            None => Reduced::Pending,
        }
    }

    /// All weights that a new worker needs: of the open step, and what is already newer.
    pub(crate) fn published(&self) -> Vec<(Step, Chunk, Bytes)> {
        let number = |(chunk, version): (usize, &(Step, Bytes))| {
            (version.0, Chunk(chunk as u32), version.1.clone())
        };
        let before = self.before.iter().enumerate();
        let before = before.filter_map(|(chunk, old)| Some(number((chunk, old.as_ref()?))));
        let mut published: Vec<_> =
            before.chain(self.newest.iter().enumerate().map(number)).collect();
        published.sort_by_key(|&(step, chunk, _)| (step, chunk));
        published
    }

    /// The weights as `f32` frames, chunk by chunk in the layout's order: between two passes, all of one step. Where
    /// they were published like that, nothing is copied.
    pub(crate) fn frames(&self) -> Vec<Bytes> {
        match self.rule.precision {
            Precision::F32 => self.newest.iter().map(|(_, frame)| frame.clone()).collect(),
            Precision::Bf16 => {
                self.chunks.iter().map(|chunk| values::encode(lock(chunk).weights())).collect()
            }
        }
    }

    /// The weights as one vector.
    pub(crate) fn weights(&self) -> Vec<f32> {
        let mut weights = Vec::new();
        for chunk in &self.chunks {
            weights.extend_from_slice(lock(chunk).weights());
        }
        weights
    }

    /// The state between two passes, `pass` being the next.
    pub(crate) fn snapshot(&self, pass: Pass) -> Snapshot {
        let mut moments = Vec::new();
        for chunk in &self.chunks {
            let chunk = lock(chunk);
            moments.resize_with(chunk.moments().len(), Vec::new);
            for (whole, part) in moments.iter_mut().zip(chunk.moments()) {
                whole.extend_from_slice(part);
            }
        }
        Snapshot { pass, step: self.step, weights: self.weights(), moments }
    }

    fn note(&mut self, chunk: Chunk, folded: Folded, is_shared: bool) -> Reduced {
        let (step, place) = (self.step, chunk.0 as usize);
        match folded {
            Folded::Pending => Reduced::Pending,
            Folded::Held(square) => {
                self.sums_of_squares[place] = square;
                Reduced::Held
            }
            Folded::Updated(values) => {
                let old = std::mem::replace(&mut self.newest[place], (step, values.clone()));
                self.before[place] = Some(old);
                Reduced::Published { step, chunk, values, is_shared }
            }
            Folded::NonFinite(what) => Reduced::NonFinite { step, chunk, what },
        }
    }
}

/// Writes new weights for workers on this machine; false if there are none.
fn share(shared: Option<&WeightsWriter>, step: Step, chunk: Chunk, folded: &Folded) -> bool {
    match (shared, folded) {
        (Some(shared), Folded::Updated(values)) => shared.write(step, chunk, values),
        _ => false,
    }
}

/// A fold that panics has broken an invariant of ours; the others may still finish their chunk.
fn lock(chunk: &Mutex<ChunkState>) -> MutexGuard<'_, ChunkState> {
    chunk.lock().unwrap_or_else(PoisonError::into_inner)
}
