//! The values of the run: weights, moments and gradient sums, chunk by chunk.
//!
//! A [`ChunkState`] folds node frames up the shard tree, takes the mean once at the root, updates its slice of the
//! weights and publishes the new slice. From the root's two children to what is published all is done block by block, in
//! the nearest cache. Chunks share nothing, so they may be worked on by any threads in any order. Knows no workers and no
//! network.

use std::ops::Range;

use bytes::Bytes;
use lockstep_proto::ids::Step;
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::{self, Precision, all_finite};
use lockstep_reduce::fold::{Fold, LeafSet};
use lockstep_reduce::shared::weights::ChunkVersions;
use pulp::{Arch, Simd, WithSimd};
use tracing::trace_span;

use super::accumulation::{Accumulate, Before};
use super::averaging::Averaging;
use super::gradient::{Gradient, Hold, Mean, Weights};
use super::measured::Measured;
use super::moving_average;
use super::norm::NormPart;
use super::optimizer::Optimizer;
use super::tensor_rules::TensorRules;
use lockstep_reduce::NodeValues;

/// Values of a block: its gradient stays in the first cache with what it meets there.
pub(super) const BLOCK: usize = 512;

/// How a step turns sums into weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) optimizer: Optimizer,
    /// Whether weights are averaged, and how.
    pub(crate) averaging: Option<Averaging>,
    /// Steps of one update, at least 1.
    pub(crate) steps_per_update: u64,
    /// With a clip norm, chunks are held at the root until the global norm is known.
    pub(crate) clip_norm: Option<f32>,
    /// Of sums on their way up the tree, and of the weights that workers see.
    pub(crate) precision: Precision,
}

impl Rule {
    /// Updates as the gradients come, and averages nothing.
    pub(crate) fn new(optimizer: Optimizer, precision: Precision) -> Rule {
        Rule { optimizer, averaging: None, steps_per_update: 1, clip_norm: None, precision }
    }

    /// Whether gradients of several steps are added up for one update.
    pub(crate) fn accumulates(&self) -> bool {
        self.steps_per_update > 1
    }
}

/// One step of the run, the same for all of its chunks: an update, or a part of the gradient of a later one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// The step, from 1.
    pub(crate) step: Step,
    /// The number of the update that it makes or that its gradient is for, from 1.
    pub(crate) number: u64,
    /// Whether it makes that update.
    pub(crate) is_made: bool,
    /// Whether its gradient is measured.
    pub(crate) is_measured: bool,
    /// Rows of its batch.
    pub(crate) rows: u64,
    pub(crate) learning_rate: f32,
}

/// What became of a node's values.
#[derive(Debug)]
pub(crate) enum Folded {
    /// Other nodes are still missing.
    Pending,
    /// The sum is complete and waits for the global norm.
    Held,
    /// The gradient is added to those of the steps before. The weights stay.
    Accumulated,
    /// The weights are updated, and published for workers to see.
    Updated,
    /// The gradient or the new weights (it says which) hold a value that is not finite, or has become so by rounding.
    NonFinite(&'static str),
}

/// One chunk's slice of everything.
#[derive(Debug)]
pub(crate) struct ChunkState {
    published: ChunkVersions,
    /// The weights, where what is published is rounded; empty where it is the weights.
    masters: Vec<f32>,
    moments: Vec<Vec<f32>>,
    /// Of the weights, where they are averaged; otherwise empty.
    average: Vec<f32>,
    /// The sum of the gradients of the steps since the last update, each a mean over its batch, where one update takes several
    /// steps; otherwise empty.
    accumulated: Vec<f32>,
    /// How many of its values, the first ones, have row squares.
    squared: usize,
    /// The mean gradient while it is held, and the mean of its row squares; their memory is kept between steps.
    held: Vec<f32>,
    held_squares: Vec<f32>,
    open: Option<OpenFold>,
    /// Of its tensors.
    rules: TensorRules,
    measured: Measured,
}

/// What is kept of a chunk's weights beside them.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The optimizer's.
    pub(crate) moments: Vec<Vec<f32>>,
    /// Of the weights, where they are averaged; otherwise empty.
    pub(crate) average: Vec<f32>,
    /// Of gradients since the last update, where one takes several steps; otherwise empty.
    pub(crate) accumulated: Vec<f32>,
}

#[derive(Debug)]
struct OpenFold {
    fold: Fold<NodeValues>,
    update: Update,
}

impl ChunkState {
    /// With the weights of `step`, which are published, too; how many of them, the first ones, have row squares; and the rules of
    /// its tensors.
    pub(crate) fn new(
        step: Step,
        weights: Vec<f32>,
        State { moments, average, accumulated }: State,
        mut published: ChunkVersions,
        precision: Precision,
        (squared, mut rules): (usize, TensorRules),
    ) -> ChunkState {
        published.write(step, |frame| precision.encode_into(&weights, frame));
        rules.see(0, &weights);
        let masters = if precision == Precision::F32 { Vec::new() } else { weights };
        let (held, held_squares) = (Vec::new(), Vec::new());
        ChunkState {
            published,
            masters,
            moments,
            average,
            accumulated,
            squared,
            held,
            held_squares,
            open: None,
            rules,
            measured: Measured::default(),
        }
    }

    /// The same, whose gradient is measured like this.
    pub(crate) fn measuring(self, measured: Measured) -> ChunkState {
        ChunkState { measured, ..self }
    }

    /// What is measured of its gradient.
    pub(crate) fn measured(&mut self) -> &mut Measured {
        &mut self.measured
    }

    /// Makes these weights the newest, and publishes them as those of `step`, which has to be the next.
    pub(crate) fn restore(&mut self, step: Step, weights: &[f32], precision: Precision) {
        self.published.write(step, |frame| precision.encode_into(weights, frame));
        if !self.masters.is_empty() {
            self.masters.copy_from_slice(weights);
        }
        self.rules.begin();
        self.rules.see(0, weights);
    }

    /// Makes the averages of the weights the newest, and publishes them as those of `step`, which has to be the next.
    pub(crate) fn restore_average(&mut self, step: Step, precision: Precision) {
        let average = std::mem::take(&mut self.average);
        self.restore(step, &average, precision);
        self.average = average;
    }

    /// What the newest weights add to the loss.
    pub(crate) fn penalty(&self) -> f64 {
        self.rules.total()
    }

    /// The newest weights as an `f32` frame.
    pub(crate) fn weights_frame(&self) -> Bytes {
        match &self.masters[..] {
            [] => values::frame_of(self.published.newest()),
            masters => values::encode(masters),
        }
    }

    /// Appends the newest weights.
    pub(crate) fn copy_weights(&self, into: &mut Vec<f32>) {
        if !self.masters.is_empty() {
            return into.extend_from_slice(&self.masters);
        }
        let (frame, start) = (self.published.newest(), into.len());
        into.resize(start + frame.len() / Precision::F32.width(), 0.0);
        values::copy(frame, &mut into[start..]);
    }

    #[cfg(test)]
    pub(crate) fn weights(&self) -> Vec<f32> {
        let mut weights = Vec::new();
        self.copy_weights(&mut weights);
        assert_eq!(values::decode(&self.weights_frame()).as_ref(), Some(&weights));
        weights
    }

    pub(crate) fn moments(&self) -> &[Vec<f32>] {
        &self.moments
    }

    /// Of the weights, where they are averaged; otherwise empty.
    pub(crate) fn average(&self) -> &[f32] {
        &self.average
    }

    /// Of gradients since the last update, where one takes several steps; otherwise empty.
    pub(crate) fn accumulated(&self) -> &[f32] {
        &self.accumulated
    }

    /// One of the newest two versions as workers see it.
    pub(crate) fn frame(&self, step: Step) -> Option<Bytes> {
        self.published.read(step).map(values::frame_of)
    }

    /// Opens an update over a batch whose rows are in these leaves.
    pub(crate) fn begin(&mut self, tree: ShardTree, leaves: LeafSet, update: Update) {
        self.open = Some(OpenFold { fold: Fold::new(tree, leaves), update });
    }

    /// Whether the step that was begun has not touched anything that is kept yet.
    pub(crate) fn is_before_update(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a node's values would only be kept: nothing is to be computed yet.
    pub(crate) fn keeps(&self, node: Node) -> bool {
        self.open.as_ref().is_none_or(|open| open.fold.keeps(node))
    }

    /// Adds one node's values to a step. Values of an earlier one are late: a wider node was there first and all is done.
    pub(crate) fn insert(&mut self, rule: &Rule, step: Step, node: Node, frame: Bytes) -> Folded {
        let Some(open) = self.open.as_mut().filter(|open| open.update.step == step) else {
            return Folded::Pending;
        };
        let Some(root) = open.fold.insert(node, NodeValues::new(rule.precision, frame)) else {
            return Folded::Pending;
        };
        let len = self.published.newest().len() / rule.precision.width();
        let squared = self.squared;
        let mean = Mean { root: &root, len, squared, rows: open.update.rows as f32 };
        self.measured.see_units(mean);
        if open.update.is_measured {
            self.measured.take_in(mean);
        }
        if !open.update.is_made {
            return self.accumulate(rule, mean);
        }
        if rule.clip_norm.is_none() {
            return self.advance(rule, &Gradient::Mean(mean));
        }
        self.held.resize(len, 0.0);
        self.held_squares.resize(squared, 0.0);
        let (before, masters) = (self.published.newest(), &*self.masters);
        let weights = Weights { before, masters, precision: rule.precision };
        let (rules, held, squares) = (&self.rules, &mut self.held, &mut self.held_squares);
        let before = Before::of(rule, &self.accumulated);
        let hold = Hold { mean, weights, rules, before, held, squares };
        Arch::new().dispatch(hold).map_or_else(Folded::NonFinite, |()| Folded::Held)
    }

    /// The mean gradient that is held, as the global norm sees it: what is averaged is no part of it.
    pub(crate) fn held(&self) -> NormPart<'_> {
        if self.rules.momentum().is_some() {
            return NormPart { gradient: &[], squares: &[] };
        }
        NormPart { gradient: &self.held, squares: &self.held_squares }
    }

    /// Updates the weights by the gradient that was held, scaled if there is a scale and it is one.
    pub(crate) fn update(&mut self, rule: &Rule, scale: Option<f32>) -> Folded {
        let scale = scale.filter(|_| self.rules.momentum().is_none());
        let held = std::mem::take(&mut self.held);
        let folded = self.advance(rule, &Gradient::Held { values: &held, scale });
        self.held = held;
        folded
    }

    /// Adds a mean gradient to those of the steps before.
    fn accumulate(&mut self, rule: &Rule, mean: Mean<'_>) -> Folded {
        let Some(OpenFold { update, .. }) = self.open.take() else { return Folded::Pending };
        let (before, masters) = (self.published.newest(), &*self.masters);
        let accumulate = Accumulate {
            mean,
            weights: Weights { before, masters, precision: rule.precision },
            rules: &self.rules,
            averaging: rule.averaging.filter(|_| self.rules.momentum().is_none()),
            number: update.number,
            accumulated: &mut self.accumulated,
            average: &mut self.average,
        };
        let added = Arch::new().dispatch(accumulate);
        added.map_or_else(Folded::NonFinite, |()| Folded::Accumulated)
    }

    fn advance(&mut self, rule: &Rule, gradient: &Gradient<'_>) -> Folded {
        let Some(OpenFold { update, .. }) = self.open.take() else { return Folded::Pending };
        let _span = trace_span!(target: TARGET, "update", step = update.step.0).entered();
        let ChunkState { published, masters, moments, average, accumulated, rules, .. } = self;
        rules.begin();
        let advanced = published.follow(Step(update.number), |before, frame| {
            let [first, second] = two(moments);
            Arch::new().dispatch(Advance {
                rule,
                update,
                gradient,
                before,
                masters,
                rules,
                first,
                second,
                average,
                accumulated,
                frame,
            })
        });
        advanced.map_or_else(Folded::NonFinite, |()| Folded::Updated)
    }
}

/// Moments, of which there are two at most.
fn two(moments: &mut [Vec<f32>]) -> [&mut [f32]; 2] {
    match moments {
        [] => [&mut [], &mut []],
        [first] => [first, &mut []],
        [first, second, ..] => [first, second],
    }
}

/// One update of a chunk, up to what is published.
struct Advance<'a> {
    rule: &'a Rule,
    update: Update,
    gradient: &'a Gradient<'a>,
    /// What was published last.
    before: &'a [u8],
    /// As in the chunk.
    masters: &'a mut [f32],
    rules: &'a mut TensorRules,
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
    accumulated: &'a mut [f32],
    frame: &'a mut [u8],
}

impl WithSimd for Advance<'_> {
    /// Says what is not finite.
    type Output = Result<(), &'static str>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Result<(), &'static str> {
        let Rule { optimizer, averaging, precision, .. } = self.rule;
        let Update { number, learning_rate, .. } = self.update;
        let undecayed = optimizer.without_decay();
        let has_squares = optimizer.squares().is_some();
        let mut blocks = [[0.0; BLOCK]; 3];
        let block_bytes = BLOCK * precision.width();
        let frames = self.before.chunks(block_bytes).zip(self.frame.chunks_mut(block_bytes));
        for (at, (before, frame)) in frames.enumerate() {
            let (start, len) = (at * BLOCK, frame.len() / precision.width());
            let [gradient, squares, weights] = &mut blocks;
            let (gradient, squares) = (&mut gradient[..len], &mut squares[..len]);
            self.gradient.read(start, gradient);
            let weights = if self.masters.is_empty() {
                precision.copy(before, &mut weights[..len]);
                &mut weights[..len]
            } else {
                part(self.masters, start, len)
            };
            if matches!(self.gradient, Gradient::Mean(_)) {
                self.rules.add_slopes(start, weights, gradient);
                Before::of(self.rule, self.accumulated).take_mean(start, gradient);
            }
            part(self.accumulated, start, len).fill(0.0);
            if !all_finite(gradient) {
                return Err("gradient");
            }
            if has_squares && !self.gradient.read_squares(start, gradient, squares) {
                return Err("gradient");
            }
            let average = part(self.average, start, len);
            match self.rules.momentum() {
                Some(momentum) => moving_average::take_in(momentum, gradient, weights, average),
                None => {
                    let moments = [part(self.first, start, len), part(self.second, start, len)];
                    let gradient = [&*gradient, &*squares];
                    let rates = (number, learning_rate);
                    optimize(
                        self.rules,
                        start,
                        [optimizer, &undecayed],
                        rates,
                        gradient,
                        weights,
                        moments,
                    );
                    if let Some(averaging) = averaging {
                        averaging.take_in(number, weights, average);
                    }
                }
            }
            if !precision.can_hold(weights) {
                return Err("weights");
            }
            self.rules.see(start, weights);
            precision.encode_into(weights, frame);
        }
        Ok(())
    }
}

/// Has the optimizers, of weights that are decayed and of others, update a block, which begins at `start` in the chunk. The gradient
/// comes with its squares, the number of the update with its learning rate.
#[inline(always)]
fn optimize(
    rules: &TensorRules,
    start: usize,
    [decaying, undecayed]: [&Optimizer; 2],
    (number, learning_rate): (u64, f32),
    [gradient, squares]: [&[f32]; 2],
    weights: &mut [f32],
    [first, second]: [&mut [f32]; 2],
) {
    rules.each_part(
        start,
        weights.len(),
        #[inline(always)]
        |places, decays| {
            let optimizer = if decays { decaying } else { undecayed };
            let moments = [&mut *first, &mut *second].map(|moment| part_of(moment, &places));
            let gradient = [&gradient[places.clone()], &squares[places.clone()]];
            let weights = &mut weights[places.clone()];
            optimizer.update(number, learning_rate, gradient, weights, moments);
        },
    );
}

/// The same of these places.
#[inline(always)]
fn part_of<'m>(moment: &'m mut [f32], places: &Range<usize>) -> &'m mut [f32] {
    part(moment, places.start, places.len())
}

/// A part of a moment, if there is such a moment.
#[inline(always)]
fn part(moment: &mut [f32], start: usize, len: usize) -> &mut [f32] {
    if moment.is_empty() { moment } else { &mut moment[start..start + len] }
}

#[cfg(test)]
mod tests;
