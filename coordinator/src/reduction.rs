//! The values of the run: weights, moments and gradient sums, chunk by chunk.
//!
//! A [`ChunkState`] folds node frames up the shard tree, takes the mean once at the root, updates its slice of the
//! weights and hands the new slice out as a frame. Chunks share nothing, so they may be worked on by any threads in any
//! order. Knows no workers and no network.

use bytes::Bytes;
use lockstep_proto::fold::{Addend, Fold, Leaves};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::{Precision, all_finite};

use crate::optimizer::{Optimizer, sum_of_squares};

/// How a step turns sums into weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) optimizer: Optimizer,
    /// With a clip norm, chunks are held at the root until the global norm is known.
    pub(crate) clip_norm: Option<f32>,
    /// Of sums on their way up the tree, and of the weights that workers see.
    pub(crate) precision: Precision,
}

/// The scale for a gradient of this global norm: Keras' `clip_by_global_norm`.
pub(crate) fn clip_scale(clip_norm: f32, sums_of_squares: impl Iterator<Item = f64>) -> f32 {
    let norm = sums_of_squares.fold(0.0, |sum, square| sum + square).sqrt();
    let clip_norm = f64::from(clip_norm);
    (clip_norm / norm.max(clip_norm)) as f32
}

/// What became of a node's values.
#[derive(Debug)]
pub(crate) enum Folded {
    /// Other nodes are still missing.
    Pending,
    /// The sum is complete and waits for the global norm; its sum of squares.
    Held(f64),
    /// The weights are updated; the new slice as workers see it.
    Updated(Bytes),
    /// The gradient or the new weights (it says which) hold a value that is not finite, or has become so by rounding.
    NonFinite(&'static str),
}

/// One chunk's slice of everything.
#[derive(Debug)]
pub(crate) struct ChunkState {
    weights: Vec<f32>,
    moments: Vec<Vec<f32>>,
    /// The mean gradient; kept between steps for its memory.
    gradient: Vec<f32>,
    open: Option<OpenFold>,
}

#[derive(Debug)]
struct OpenFold {
    fold: Fold<Values>,
    /// Number of this update, from 1.
    step: u64,
    rows: u64,
}

impl ChunkState {
    pub(crate) fn new(weights: Vec<f32>, moments: Vec<Vec<f32>>) -> ChunkState {
        ChunkState { weights, moments, gradient: Vec::new(), open: None }
    }

    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    pub(crate) fn moments(&self) -> &[Vec<f32>] {
        &self.moments
    }

    /// Opens update number `step` (from 1) over a batch of `rows` rows in these leaves.
    pub(crate) fn begin(&mut self, tree: ShardTree, leaves: Leaves, step: u64, rows: u64) {
        self.open = Some(OpenFold { fold: Fold::new(tree, leaves), step, rows });
    }

    /// Adds one node's values to update number `step`. Values of an earlier update are late: a wider node was there
    /// first and the update is made.
    pub(crate) fn insert(&mut self, rule: &Rule, step: u64, node: Node, frame: Bytes) -> Folded {
        let Some(open) = self.open.as_mut().filter(|open| open.step == step) else {
            return Folded::Pending;
        };
        let values = Values { precision: rule.precision, content: Content::Frame(frame) };
        let Some(root) = open.fold.insert(node, values) else {
            return Folded::Pending;
        };
        self.gradient = root.into_sum(std::mem::take(&mut self.gradient));
        let rows = open.rows as f32;
        for value in &mut self.gradient {
            *value /= rows;
        }
        if !all_finite(&self.gradient) {
            return Folded::NonFinite("gradient");
        }
        match rule.clip_norm {
            Some(_) => Folded::Held(sum_of_squares(&self.gradient)),
            None => self.update(rule, None),
        }
    }

    /// Updates the weights by the gradient, scaled if there is a scale.
    pub(crate) fn update(&mut self, rule: &Rule, scale: Option<f32>) -> Folded {
        let Some(open) = self.open.take() else { return Folded::Pending };
        if let Some(scale) = scale {
            for value in &mut self.gradient {
                *value *= scale;
            }
        }
        rule.optimizer.update(open.step, &self.gradient, &mut self.weights, &mut self.moments);
        let frame = rule.precision.encode(&self.weights);
        if rule.precision.frame_is_finite(&frame) {
            Folded::Updated(frame)
        } else {
            Folded::NonFinite("weights")
        }
    }
}

/// A node's values.
#[derive(Debug)]
struct Values {
    precision: Precision,
    content: Content,
}

/// Values as they came, until something has to be added to them.
#[derive(Debug)]
enum Content {
    Frame(Bytes),
    Sum(Vec<f32>),
}

impl Values {
    /// The values in a vector; `buffer` lends its memory.
    fn into_sum(self, mut buffer: Vec<f32>) -> Vec<f32> {
        match self.content {
            Content::Sum(sum) => sum,
            Content::Frame(frame) => {
                buffer.resize(frame.len() / self.precision.width(), 0.0);
                self.precision.copy(&frame, &mut buffer);
                buffer
            }
        }
    }
}

impl Addend for Values {
    fn merge(self, other: Self) -> Self {
        let precision = self.precision;
        let (sum, other) = match (&self.content, &other.content) {
            (Content::Frame(_), Content::Sum(_)) => (other, self.content),
            _ => (self, other.content),
        };
        let mut sum = sum.into_sum(Vec::new());
        match other {
            Content::Frame(frame) => precision.merge_frame(&frame, &mut sum),
            Content::Sum(other) => precision.merge(&other, &mut sum),
        }
        Values { precision, content: Content::Sum(sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::ids::Span;
    use lockstep_proto::values;

    const SGD: Optimizer = Optimizer::Sgd { learning_rate: 1.0, momentum: 0.0, nesterov: false };

    const PRECISION: Precision = Precision::F32;

    fn run(clip_norm: Option<f32>, frames: &[(Node, [f32; 2])]) -> (ChunkState, Folded) {
        run_in(PRECISION, clip_norm, frames)
    }

    fn run_in(
        precision: Precision,
        clip_norm: Option<f32>,
        frames: &[(Node, [f32; 2])],
    ) -> (ChunkState, Folded) {
        let tree = ShardTree::new(3);
        let mut chunk = ChunkState::new(vec![1.0, 2.0], SGD.moments(2));
        chunk.begin(tree, Leaves::new(tree, |_| true), 1, 4);
        let rule = Rule { optimizer: SGD, clip_norm, precision };
        let mut last = Folded::Pending;
        for (node, values) in frames {
            last = chunk.insert(&rule, 1, *node, precision.encode(values));
        }
        (chunk, last)
    }

    #[test]
    fn folds_takes_the_mean_and_updates() {
        let frames = [(Node::leaf(2), [4.0, 0.0]), (Node { level: 1, index: 0 }, [4.0, 8.0])];
        let (chunk, folded) = run(None, &frames);
        assert_eq!(chunk.weights(), [-1.0, 0.0]);
        assert!(
            matches!(folded, Folded::Updated(frame) if values::decode(&frame).unwrap() == [-1.0, 0.0])
        );
    }

    #[test]
    fn clipping_holds_until_the_norm_is_known() {
        let (mut chunk, folded) = run(Some(1.0), &[(Node { level: 2, index: 0 }, [12.0, 16.0])]);
        let Folded::Held(square) = folded else { panic!("{folded:?}") };
        assert_eq!(square, 25.0);
        let scale = clip_scale(1.0, [square].into_iter());
        assert_eq!(scale, 0.2);
        assert_eq!(clip_scale(10.0, [square].into_iter()), 1.0);
        let rule = Rule { optimizer: SGD, clip_norm: Some(1.0), precision: PRECISION };
        chunk.update(&rule, Some(scale));
        assert_eq!(chunk.weights(), [1.0 - 3.0 * 0.2, 2.0 - 4.0 * 0.2]);
    }

    #[test]
    fn values_of_an_earlier_update_change_nothing() {
        let tree = ShardTree::new(1);
        let rule = Rule { optimizer: SGD, clip_norm: None, precision: PRECISION };
        let mut chunk = ChunkState::new(vec![1.0], SGD.moments(1));
        for step in 1..=2 {
            chunk.begin(tree, Leaves::new(tree, |_| true), step, 1);
            let late = chunk.insert(&rule, step - 1, Node::leaf(0), values::encode(&[9.0]));
            assert!(matches!(late, Folded::Pending));
            let folded = chunk.insert(&rule, step, Node::leaf(0), values::encode(&[1.0]));
            assert!(matches!(folded, Folded::Updated(_)));
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
            let Folded::Updated(frame) = folded else { panic!("{folded:?}") };
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
        let mut chunk = ChunkState::new(vec![-f32::MAX * 0.999], SGD.moments(1));
        chunk.begin(tree, Leaves::new(tree, |_| true), 1, 1);
        let rule = Rule { optimizer: SGD, clip_norm: None, precision: Precision::Bf16 };
        let frame = Precision::Bf16.encode(&[f32::MAX * 0.0009]);
        let folded = chunk.insert(&rule, 1, Node::leaf(0), frame);
        assert!(all_finite(chunk.weights()));
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
