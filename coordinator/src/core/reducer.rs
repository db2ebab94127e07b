//! What becomes of gradients: which are added at once and which by threads, what is published so far, and what a snapshot can
//! still be taken of. Small chunks are worked on at once, and values that only wait for others; the rest are jobs.
//!
//! The weights of the open step stay until every chunk of it is committed, so that a worker that joins in the
//! middle of a step can still compute on them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use lockstep_proto::frame::Slice;
use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::{ChunkRange, Layout};
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::ShardTree;
use lockstep_reduce::fold::LeafSet;
use lockstep_reduce::shared::weights::ChunkVersions;
use tracing::trace_span;

use crate::backlog::ChunkValues;

use super::jobs::{Done, Finished, Job, SharedChunk, Work, lock, squares};
use crate::snapshot::Snapshot;
use crate::spec::RunSpec;
use crate::update::{ChunkState, Folded, Measured, Rule, State, TensorRules, Update, clip_scale};

/// Frames up to this size are folded on the spot, as are those that need only be kept: handing them over would take longer.
pub const INLINE_BYTES_MAX: usize = 1 << 16;

/// Jobs in the hands of each thread, results that were not looked at among them. While more wait, no message is read.
const JOBS_A_THREAD_MAX: usize = 4;

/// Most jobs of a run that are begun and not told of as finished.
pub fn jobs_max(threads: usize) -> usize {
    JOBS_A_THREAD_MAX * threads.max(1)
}

/// What a fold led to.
#[derive(Debug)]
pub(super) enum Reduced {
    /// Nothing yet.
    Pending,
    /// The chunk's gradient is complete and held for the global norm.
    Held,
    /// The chunk's gradient is added to those of the steps before; its weights stay.
    Accumulated(Chunk),
    /// The chunk has new weights: those of this version.
    Published { step: Step, chunk: Chunk },
    /// A sum or weight is not finite.
    NonFinite { chunk: Chunk, what: &'static str },
    /// Adding panicked: what it said.
    Panicked(String),
}

#[derive(Debug)]
pub(super) struct Reducer {
    tree: ShardTree,
    rule: Rule,
    chunks: Vec<SharedChunk>,
    inline_bytes_max: usize,
    jobs_max: usize,
    /// Jobs that were begun and are not finished.
    in_flight: usize,
    /// Jobs that are to be begun: the folds of one message, or of one span that was compared, or what an update takes.
    waiting: VecDeque<Job>,
    /// The step in hand, or the last one.
    step: Step,
    is_open: bool,
    /// The version of the newest weights: where the step in hand makes new ones, of these.
    version: Step,
    /// Whether the step in hand makes new weights.
    is_making: bool,
    /// Whether weights of an earlier step, or averages, took the place of the last one's, whose moments these are.
    is_restored: bool,
    /// By chunk: the version of the newest weights.
    newest: Vec<Step>,
    /// By chunk: whether its weights never change. There is nothing of it but these.
    frozen: Vec<bool>,
    /// By chunk: whether workers on this machine can read it.
    is_shared: Vec<bool>,
    is_small: bool,
    /// Chunks of each block of the global norm.
    norm_blocks: Vec<Range<usize>>,
    /// By block: the sum of squares, while threads add them.
    squares: Vec<Option<f64>>,
}

impl Reducer {
    pub(super) fn new(
        spec: &RunSpec,
        tree: ShardTree,
        published: Vec<ChunkVersions>,
        inline_bytes_max: usize,
    ) -> Reducer {
        let precision = spec.precision;
        let rule = Rule {
            averaging: spec.averaging,
            clip_norm: spec.clip_norm,
            steps_per_update: spec.steps_per_update,
            ..Rule::new(spec.optimizer, precision)
        };
        let Snapshot { step, weights, moments, average, accumulated, .. } = &spec.start;
        let version = Step(step.0 / spec.steps_per_update);
        let is_shared = published.iter().map(ChunkVersions::is_shared).collect();
        // Where the next chunk is among the values that are kept of those whose weights change.
        let mut next = 0;
        let state = |(chunk, published): (&ChunkRange, ChunkVersions)| {
            let weights = weights[chunk.range.clone()].to_vec();
            if chunk.is_frozen {
                let beside = (0, TensorRules::default());
                let (kept, version) = (State::default(), version);
                let state = ChunkState::new(version, weights, kept, published, precision, beside);
                return Arc::new(Mutex::new(state));
            }
            let start = next;
            next += chunk.range.len();
            let range = || start..start + chunk.range.len();
            let moments = moments.iter().map(|moment| moment[range()].to_vec()).collect();
            let part_of = |vector: &Option<Vec<f32>>| Some(vector.as_ref()?[range()].to_vec());
            let average = part_of(average).unwrap_or_default();
            // Right after an update there is nothing of the next.
            let none =
                || if rule.accumulates() { vec![0.0; chunk.range.len()] } else { Vec::new() };
            let accumulated = part_of(accumulated).unwrap_or_else(none);
            let kept = State { moments, average, accumulated };
            let rules = TensorRules::new(&spec.penalties, &spec.undecayed, &chunk.range);
            let rules = rules.averaging(chunk.momentum);
            let beside = (chunk.squared, rules);
            let state = ChunkState::new(version, weights, kept, published, precision, beside);
            Arc::new(Mutex::new(state.measuring(Measured::of(
                &spec.layout,
                chunk,
                &spec.rectified,
            ))))
        };
        let chunks: Vec<_> = spec.layout.chunks().iter().zip(published).map(state).collect();
        let norm_blocks = spec.layout.norm_blocks();
        Reducer {
            tree,
            rule,
            inline_bytes_max,
            jobs_max: jobs_max(spec.threads),
            is_open: false,
            is_restored: false,
            newest: vec![version; chunks.len()],
            frozen: spec.layout.chunks().iter().map(|chunk| chunk.is_frozen).collect(),
            is_shared,
            is_small: spec.layout.len() * precision.width() <= inline_bytes_max,
            squares: vec![None; norm_blocks.len()],
            norm_blocks,
            chunks,
            in_flight: 0,
            waiting: VecDeque::new(),
            step: *step,
            version,
            is_making: false,
        }
    }

    /// Opens a step, which makes an update or adds to the gradient of a later one.
    pub(super) fn begin(&mut self, leaves: &LeafSet, update: Update) {
        self.step = update.step;
        self.is_open = true;
        self.is_making = update.is_made;
        if update.is_made {
            self.version = Step(update.number);
        }
        for chunk in self.trained() {
            lock(chunk).begin(self.tree, leaves.clone(), update);
        }
    }

    /// The chunks whose weights change.
    fn trained(&self) -> impl Iterator<Item = &SharedChunk> {
        let chunks = self.chunks.iter().zip(&self.frozen);
        chunks.filter_map(|(chunk, &is_frozen)| (!is_frozen).then_some(chunk))
    }

    /// Whether a chunk's weights never change.
    pub(super) fn is_frozen(&self, chunk: Chunk) -> bool {
        self.frozen[chunk.0 as usize]
    }

    /// The chunks whose weights never change.
    pub(super) fn frozen(&self) -> Vec<Chunk> {
        let all = (0..self.chunks.len() as u32).map(Chunk);
        all.filter(|&chunk| self.is_frozen(chunk)).collect()
    }

    /// What the newest weights add to the loss, in the order that the layout gives.
    pub(super) fn penalty(&self) -> f64 {
        self.chunks.iter().fold(0.0, |sum, chunk| sum + lock(chunk).penalty())
    }

    /// By layer: the norm of its gradient when that was measured last. Chunks are added in order.
    pub(super) fn gradient_norms(&self) -> BTreeMap<usize, f64> {
        let mut norms = BTreeMap::new();
        for chunk in self.trained() {
            for (layer, squares) in lock(chunk).measured().squares() {
                *norms.entry(layer).or_insert(0.0) += squares;
            }
        }
        norms.values_mut().for_each(|norm: &mut f64| *norm = norm.sqrt());
        norms
    }

    /// By layer with units that may give nothing: how many did since this was asked last, and how many there are.
    pub(super) fn take_silent(&self) -> BTreeMap<usize, [u64; 2]> {
        let mut all = BTreeMap::new();
        for chunk in self.trained() {
            for (layer, [silent, of]) in lock(chunk).measured().take_silent() {
                let counted: &mut [u64; 2] = all.entry(layer).or_default();
                *counted = [counted[0] + silent, counted[1] + of];
            }
        }
        all
    }

    /// Nobody needs the weights before the update any more.
    pub(super) fn end(&mut self) {
        (self.is_open, self.is_making) = (false, false);
    }

    /// Adds one node's values, or makes a job of that.
    pub(super) fn fold(&mut self, slice: Slice) -> Reduced {
        let Slice { node, chunk, values } = slice;
        let state = &self.chunks[chunk.0 as usize];
        if values.len() <= self.inline_bytes_max {
            let _span =
                trace_span!(target: TARGET, "fold", step = self.step.0, chunk = chunk.0).entered();
            let folded = lock(state).insert(&self.rule, self.step, node, values);
            return self.note(chunk, folded);
        }
        if let Ok(mut state) = state.try_lock()
            && state.keeps(node)
        {
            // Nothing comes of it yet.
            let _ = state.insert(&self.rule, self.step, node, values);
            return Reduced::Pending;
        }
        let (rule, step, state) = (self.rule, self.step, state.clone());
        self.waiting.push_back(Job(Work::Fold { state, rule, step, node, chunk, values }));
        Reduced::Pending
    }

    /// The next job to be begun: as many as there are places for.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.in_flight == self.jobs_max {
            return None;
        }
        let job = self.waiting.pop_front()?;
        self.in_flight += 1;
        Some(job)
    }

    /// Takes in what became of a job.
    pub(super) fn finished(&mut self, finished: Finished) -> Reduced {
        self.in_flight -= 1;
        match finished.0 {
            Done::Chunk(chunk, folded) => self.note(chunk, folded),
            Done::Squared(block, sum) => {
                self.squares[block] = Some(sum);
                self.scale();
                Reduced::Pending
            }
            Done::Panicked(said) => Reduced::Panicked(said),
        }
    }

    /// Updates all chunks, scaled by the global norm of their gradients, or makes jobs of that.
    pub(super) fn update(&mut self) -> Vec<Reduced> {
        let states = |block: &Range<usize>| self.chunks[block.clone()].to_vec();
        if !self.is_small {
            self.squares.fill(None);
            let square = |(block, of)| Job(Work::Square { states: states(of), block });
            self.waiting.extend(self.norm_blocks.iter().enumerate().map(square));
            return Vec::new();
        }
        let squares = self.norm_blocks.iter().map(|block| squares(&states(block)));
        let scale = self.rule.clip_norm.map(|max| clip_scale(max, squares));
        let update = |chunk: &SharedChunk| lock(chunk).update(&self.rule, scale);
        let folded: Vec<Folded> = self.chunks.iter().map(update).collect();
        let numbered = folded.into_iter().enumerate();
        numbered.map(|(chunk, folded)| self.note(Chunk(chunk as u32), folded)).collect()
    }

    /// Goes on with an update once the squares of all blocks are there.
    fn scale(&mut self) {
        // In the blocks' order, whichever came first.
        let Some(squares) = self.squares.iter().copied().collect::<Option<Vec<f64>>>() else {
            return;
        };
        let scale = self.rule.clip_norm.map(|max| clip_scale(max, squares.into_iter()));
        let rule = self.rule;
        let update = |(chunk, state): (usize, &SharedChunk)| {
            let (state, chunk) = (state.clone(), Chunk(chunk as u32));
            let job = Job(Work::Update { state, rule, chunk, scale });
            (!self.is_frozen(chunk)).then_some(job)
        };
        let updates: Vec<Job> = self.chunks.iter().enumerate().filter_map(update).collect();
        self.waiting.extend(updates);
    }

    /// Whether another message's frames may be folded.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.in_flight < self.jobs_max
    }

    /// All weights that a new worker needs: of the open step, and what is already newer.
    pub(super) fn published(&self) -> Vec<(Step, Chunk)> {
        let before = self.is_making.then_some(Step(self.version.0.wrapping_sub(1)));
        let frozen = self.frozen().into_iter();
        let mut published: Vec<(Step, Chunk)> =
            frozen.map(|chunk| (self.newest[chunk.0 as usize], chunk)).collect();
        for step in before.into_iter().chain([self.version]) {
            for chunk in (0..self.chunks.len() as u32).map(Chunk) {
                let is_newer = self.newest[chunk.0 as usize] >= step && !self.is_frozen(chunk);
                published.extend(is_newer.then_some((step, chunk)));
            }
        }
        published
    }

    /// Whether workers on this machine can read a chunk where it was published.
    pub(super) fn is_shared(&self, chunk: Chunk) -> bool {
        self.is_shared[chunk.0 as usize]
    }

    /// A chunk of the newest weights, or of those before them while the step is open, as workers see it; with what it was before
    /// that, as far as it is still kept, if it may be coded.
    ///
    /// # Panics
    /// If it is of another version.
    pub(super) fn values(&self, step: Step, chunk: Chunk, may_be_coded: bool) -> ChunkValues {
        self.kept(step, chunk, may_be_coded).expect("the newest two versions are kept")
    }

    /// The same, if that version is kept: a job that nothing is heard of yet may just have put another in its place.
    pub(super) fn kept(&self, step: Step, chunk: Chunk, may_be_coded: bool) -> Option<ChunkValues> {
        let state = lock(&self.chunks[chunk.0 as usize]);
        let before = step.0.checked_sub(1).filter(|_| may_be_coded).map(Step);
        Some(ChunkValues {
            precision: self.rule.precision,
            frame: state.frame(step)?,
            before: before.and_then(|before| state.frame(before)),
            coded: OnceLock::new(),
        })
    }

    /// Whether all weights together are few.
    pub(super) fn is_small(&self) -> bool {
        self.is_small
    }

    /// The weights as `f32` frames, chunk by chunk in the layout's order: between two passes, all of one step.
    pub(super) fn frames(&self) -> Vec<Bytes> {
        self.chunks.iter().map(|chunk| lock(chunk).weights_frame()).collect()
    }

    /// The weights as one vector.
    pub(super) fn weights(&self) -> Vec<f32> {
        let mut weights = Vec::new();
        for chunk in &self.chunks {
            lock(chunk).copy_weights(&mut weights);
        }
        weights
    }

    /// Makes these weights, of an earlier step, the newest; without any, the averages. No update follows.
    pub(super) fn restore(&mut self, layout: &Layout, weights: Option<&[f32]>) {
        self.version = Step(self.version.0 + 1);
        self.is_restored = true;
        let (step, precision) = (self.version, self.rule.precision);
        for (chunk, place) in self.trained().zip(layout.trained()) {
            match weights {
                Some(weights) => {
                    lock(chunk).restore(step, &weights[place.range.clone()], precision)
                }
                None => lock(chunk).restore_average(step, precision),
            }
        }
        for (newest, is_frozen) in self.newest.iter_mut().zip(&self.frozen) {
            *newest = if *is_frozen { *newest } else { self.version };
        }
    }

    /// Whether weights of an earlier step, or averages, took the place of the last one's.
    pub(super) fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// The version of the newest weights.
    pub(super) fn version(&self) -> Step {
        self.version
    }

    fn note(&mut self, chunk: Chunk, folded: Folded) -> Reduced {
        let (step, place) = (self.version, chunk.0 as usize);
        match folded {
            Folded::Accumulated => Reduced::Accumulated(chunk),
            Folded::Pending => Reduced::Pending,
            Folded::Held => Reduced::Held,
            Folded::Updated => {
                self.newest[place] = step;
                Reduced::Published { step, chunk }
            }
            Folded::NonFinite(what) => Reduced::NonFinite { chunk, what },
        }
    }
}

mod state;
#[cfg(test)]
mod tests;
