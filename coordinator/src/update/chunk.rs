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
        }
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

    /// The mean gradient that is held, as the global norm sees it.
    pub(crate) fn held(&self) -> NormPart<'_> {
        NormPart { gradient: &self.held, squares: &self.held_squares }
    }

    /// Updates the weights by the gradient that was held, scaled if there is a scale.
    pub(crate) fn update(&mut self, rule: &Rule, scale: Option<f32>) -> Folded {
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
            averaging: rule.averaging,
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
            let moments = [part(self.first, start, len), part(self.second, start, len)];
            let [first, second] = moments;
            self.rules.each_part(
                start,
                len,
                #[inline(always)]
                |places, decays| {
                    let optimizer = if decays { optimizer } else { &undecayed };
                    let moments =
                        [&mut *first, &mut *second].map(|moment| part_of(moment, &places));
                    let gradient = [&gradient[places.clone()], &squares[places.clone()]];
                    let weights = &mut weights[places.clone()];
                    optimizer.update(number, learning_rate, gradient, weights, moments);
                },
            );
            if let Some(averaging) = averaging {
                averaging.take_in(number, weights, part(self.average, start, len));
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
mod tests {
    use super::*;
    use crate::update::{clip_scale, sum_of_squares};
    use lockstep_proto::ids::Span;
    use lockstep_proto::penalties::{Penalized, Penalties, Penalty};

    const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };

    fn update(step: u64, rows: u64) -> Update {
        Update { step: Step(step), number: step, is_made: true, rows, learning_rate: 1.0 }
    }

    const PRECISION: Precision = Precision::F32;

    fn chunk(precision: Precision, weights: Vec<f32>) -> ChunkState {
        let published = ChunkVersions::own(weights.len() * precision.width());
        let state = State { moments: SGD.moments(weights.len()), ..State::default() };
        let beside = (0, TensorRules::default());
        ChunkState::new(Step(0), weights, state, published, precision, beside)
    }

    fn run(clip_norm: Option<f32>, frames: &[(Node, [f32; 2])]) -> (ChunkState, Folded) {
        run_in(PRECISION, clip_norm, frames)
    }

    fn run_in(
        precision: Precision,
        clip_norm: Option<f32>,
        frames: &[(Node, [f32; 2])],
    ) -> (ChunkState, Folded) {
        let tree = ShardTree::new(3);
        let mut chunk = chunk(precision, vec![1.0, 2.0]);
        chunk.begin(tree, LeafSet::new(tree, |_| true), update(1, 4));
        let rule = Rule { clip_norm, ..Rule::new(SGD, precision) };
        let mut last = Folded::Pending;
        for (node, values) in frames {
            last = chunk.insert(&rule, Step(1), *node, precision.encode(values));
        }
        (chunk, last)
    }

    #[test]
    fn folds_takes_the_mean_and_updates() {
        let frames = [(Node::leaf(2), [4.0, 0.0]), (Node { level: 1, index: 0 }, [4.0, 8.0])];
        let (chunk, folded) = run(None, &frames);
        assert_eq!(chunk.weights(), [-1.0, 0.0]);
        assert!(matches!(folded, Folded::Updated));
        let [before, now] = [0, 1].map(|step| values::decode(&chunk.frame(Step(step)).unwrap()));
        assert_eq!((before.unwrap(), now.unwrap()), (vec![1.0, 2.0], vec![-1.0, 0.0]));
        assert!(chunk.frame(Step(2)).is_none());
    }

    #[test]
    fn clipping_holds_until_the_norm_is_known() {
        let (mut chunk, folded) = run(Some(1.0), &[(Node { level: 2, index: 0 }, [12.0, 16.0])]);
        assert!(matches!(folded, Folded::Held), "{folded:?}");
        let square = sum_of_squares([chunk.held()].into_iter());
        assert_eq!(square, 25.0);
        let scale = clip_scale(1.0, [square].into_iter());
        assert_eq!(scale, 0.2);
        assert_eq!(clip_scale(10.0, [square].into_iter()), 1.0);
        let rule = Rule { clip_norm: Some(1.0), ..Rule::new(SGD, PRECISION) };
        chunk.update(&rule, Some(scale));
        assert_eq!(chunk.weights(), [1.0 - 3.0 * 0.2, 2.0 - 4.0 * 0.2]);
    }

    /// They are part of the gradient that is clipped, and what they add to the loss is that of the newest weights.
    #[test]
    fn penalties_are_part_of_the_gradient() {
        let tree = ShardTree::new(1);
        let range = 1..3;
        let penalized = Penalized { range, penalty: Penalty { l1: 0.5, l2: 0.25 } };
        let penalties = Penalties::new([penalized]);
        for (precision, clip_norm) in
            [Precision::F32, Precision::Bf16].into_iter().zip([None, Some(1e9)])
        {
            let weights = vec![1.0, 2.0, -4.0, 8.0];
            let published = ChunkVersions::own(4 * precision.width());
            let state = State { moments: SGD.moments(4), ..State::default() };
            let rules = TensorRules::new(&penalties, &[], &(0..4));
            let mut chunk =
                ChunkState::new(Step(0), weights, state, published, precision, (0, rules));
            assert_eq!(chunk.penalty(), 0.5 * 6.0 + 0.25 * 20.0);
            let rule = Rule { clip_norm, ..Rule::new(SGD, precision) };
            chunk.begin(tree, LeafSet::new(tree, |_| true), update(1, 2));
            let folded = chunk.insert(&rule, Step(1), Node::leaf(0), precision.encode(&[2.0; 4]));
            if clip_norm.is_some() {
                assert!(matches!(folded, Folded::Held));
                assert_eq!(chunk.held().gradient, [1.0, 2.5, -1.5, 1.0]);
                chunk.update(&rule, Some(1.0));
            }
            assert_eq!(chunk.weights(), [0.0, -0.5, -2.5, 7.0]);
            assert_eq!(chunk.penalty(), 0.5 * 3.0 + 0.25 * 6.5);
            chunk.restore(Step(2), &[0.0, 1.0, 0.0, 5.0], precision);
            assert_eq!(chunk.penalty(), 0.75);
        }
    }

    #[test]
    fn what_is_excluded_is_not_decayed() {
        let decay = |weight_decay| Optimizer::Adam {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            weight_decay,
        };
        let len = BLOCK + 40;
        let after = |optimizer: Optimizer, undecayed: &[Range<usize>]| {
            let tree = ShardTree::new(1);
            let rules = TensorRules::new(&Penalties::default(), undecayed, &(0..len));
            let published = ChunkVersions::own(4 * len);
            let state = State { moments: optimizer.moments(len), ..State::default() };
            let weights = vec![1.0; len];
            let mut chunk =
                ChunkState::new(Step(0), weights, state, published, PRECISION, (0, rules));
            let rule = Rule::new(optimizer, PRECISION);
            chunk.begin(tree, LeafSet::new(tree, |_| true), update(1, 1));
            chunk.insert(&rule, Step(1), Node::leaf(0), PRECISION.encode(&vec![0.5; len]));
            chunk.weights()
        };
        let (all, none) = (after(decay(Some(0.1)), &[]), after(decay(None), &[]));
        assert_ne!(all, none);
        let some = after(decay(Some(0.1)), &[3..20, BLOCK - 5..BLOCK + 7]);
        for (at, &weight) in some.iter().enumerate() {
            let excluded = (3..20).contains(&at) || (BLOCK - 5..BLOCK + 7).contains(&at);
            assert_eq!(weight, if excluded { none[at] } else { all[at] }, "{at}");
        }
    }

    /// What a snapshot inside a step rests on.
    #[test]
    fn an_update_that_was_begun_changes_nothing_until_the_root_is_there() {
        for clip_norm in [None, Some(100.0)] {
            let (mut chunk, _) =
                run(clip_norm, &[(Node::leaf(0), [4.0; 2]), (Node::leaf(1), [4.0; 2])]);
            assert!(chunk.is_before_update());
            assert_eq!(chunk.weights(), [1.0, 2.0]);
            let rule = Rule { clip_norm, ..Rule::new(SGD, PRECISION) };
            let folded = chunk.insert(&rule, Step(1), Node::leaf(2), PRECISION.encode(&[4.0; 2]));
            if clip_norm.is_some() {
                assert!(matches!(folded, Folded::Held) && chunk.is_before_update());
                assert_eq!(chunk.weights(), [1.0, 2.0]);
                chunk.update(&rule, None);
            }
            assert!(!chunk.is_before_update());
            assert_eq!(chunk.weights(), [-2.0, -1.0]);
        }
    }

    #[test]
    fn values_of_an_earlier_update_change_nothing() {
        let tree = ShardTree::new(1);
        let rule = Rule::new(SGD, PRECISION);
        let mut chunk = chunk(PRECISION, vec![1.0]);
        for step in 1..=2 {
            chunk.begin(tree, LeafSet::new(tree, |_| true), update(step, 1));
            let late = chunk.insert(&rule, Step(step - 1), Node::leaf(0), values::encode(&[9.0]));
            assert!(matches!(late, Folded::Pending));
            let folded = chunk.insert(&rule, Step(step), Node::leaf(0), values::encode(&[1.0]));
            assert!(matches!(folded, Folded::Updated));
        }
        assert_eq!(chunk.weights(), [-1.0]);
    }

    #[test]
    fn a_sum_that_overflows_is_caught() {
        let big = f32::MAX;
        let frames: Vec<_> = (0..3).map(|shard| (Node::leaf(shard), [big, 0.0])).collect();
        assert!(matches!(run(None, &frames).1, Folded::NonFinite("gradient")));
    }

    /// 256 + 1 is 256 in bfloat16, 256 + 3 is 260: the sum of all would be 260 if it were rounded once.
    #[test]
    fn every_node_is_rounded_and_the_weights_that_are_kept_are_not() {
        let frames = [(0, 256.0), (1, 1.0), (2, 2.0)].map(|(leaf, v)| (Node::leaf(leaf), [v, v]));
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let (chunk, folded) = run_in(Precision::Bf16, None, &order.map(|place| frames[place]));
            assert_eq!(chunk.weights(), [1.0 - 258.0 / 4.0, 2.0 - 258.0 / 4.0]);
            assert!(matches!(folded, Folded::Updated), "{folded:?}");
            let frame = chunk.frame(Step(1)).unwrap();
            let mut seen = [0.0; 2];
            Precision::Bf16.copy(&frame, &mut seen);
            assert_eq!(seen, [-63.5, -62.5]);
        }
    }

    #[test]
    fn rounding_that_overflows_is_caught() {
        let largest = lockstep_proto::bf16::to_f32(0x7f7f);
        let tiny = largest / 256.0;
        let overflows = [(Node::leaf(0), [largest, 0.0]), (Node { level: 0, index: 1 }, [tiny; 2])];
        let frames = [&overflows[..], &[(Node::leaf(2), [0.0; 2])]].concat();
        let folded = run_in(Precision::Bf16, None, &frames).1;
        assert!(matches!(folded, Folded::NonFinite("gradient")), "{folded:?}");
        // The master is finite, what workers would see is not.
        let tree = ShardTree::new(1);
        let mut chunk = chunk(Precision::Bf16, vec![-f32::MAX * 0.999]);
        chunk.begin(tree, LeafSet::new(tree, |_| true), update(1, 1));
        let rule = Rule::new(SGD, Precision::Bf16);
        let frame = Precision::Bf16.encode(&[f32::MAX * 0.0009]);
        let folded = chunk.insert(&rule, Step(1), Node::leaf(0), frame);
        assert!(all_finite(&chunk.weights()));
        assert!(matches!(folded, Folded::NonFinite("weights")), "{folded:?}");
    }

    #[test]
    fn one_frame_for_all_shards_is_the_root() {
        let tree = ShardTree::new(3);
        let nodes = tree.nodes(Span { start: 0, end: 3 });
        let (chunk, _) = run(None, &[(nodes[0], [4.0, 4.0])]);
        assert_eq!(chunk.weights(), [0.0, 1.0]);
    }
}
