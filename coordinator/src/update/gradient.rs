//! What the weights of a chunk are updated by: a mean over the batch's rows, on its way from the root of the tree or held for the
//! global norm, and the squares that go with it.
//!
//! Where a chunk has row squares, Keras' rules on TensorFlow hold. There the gradient of an embedding comes as one slice for each
//! row of the batch, and squaring it squares the slices: an optimizer's squares, and those of the global norm, are sums over the
//! slices. But scaling it by the norm adds the slices up, so that after that the optimizer squares one gradient. Knows no
//! optimizer.

use lockstep_proto::values::{Precision, all_finite};
use lockstep_reduce::NodeValues;
use pulp::{Simd, WithSimd};

use super::accumulation::Before;
use super::chunk::BLOCK;
use super::tensor_rules::TensorRules;

/// The sums of a chunk over a batch, and how many rows that has.
#[derive(Clone, Copy)]
pub(super) struct Mean<'a> {
    /// Sums of slopes, and behind them row squares.
    pub(super) root: &'a NodeValues,
    /// How many values there are of each.
    pub(super) len: usize,
    /// How many of the values, the first ones, have row squares.
    pub(super) squared: usize,
    pub(super) rows: f32,
}

impl Mean<'_> {
    /// Copies the gradient from place `start` on.
    #[inline(always)]
    pub(super) fn read(&self, start: usize, out: &mut [f32]) {
        self.root.read(start, out);
        for value in out {
            *value /= self.rows;
        }
    }

    /// Copies the row squares from place `start` on, as far as there are any, to the beginning of `out`, and says how many: the
    /// sum over the rows of the square of the row's share in the gradient, which is its slope over the number of rows.
    #[inline(always)]
    fn read_squares(&self, start: usize, out: &mut [f32]) -> usize {
        let count = out.len().min(self.squared.saturating_sub(start));
        if count > 0 {
            self.root.read(self.len + start, &mut out[..count]);
            for value in &mut out[..count] {
                *value = *value / self.rows / self.rows;
            }
        }
        count
    }
}

/// What the weights of a chunk are updated by.
#[derive(Clone, Copy)]
pub(super) enum Gradient<'a> {
    /// As it comes from the root.
    Mean(Mean<'a>),
    /// A mean that was held.
    Held { values: &'a [f32], scale: Option<f32> },
}

impl Gradient<'_> {
    /// Copies the values from place `start` on.
    #[inline(always)]
    pub(super) fn read(&self, start: usize, out: &mut [f32]) {
        match *self {
            Gradient::Mean(mean) => mean.read(start, out),
            Gradient::Held { values, scale } => {
                out.copy_from_slice(&values[start..start + out.len()]);
                for value in out {
                    *value *= scale.unwrap_or(1.0);
                }
            }
        }
    }

    /// The squares that go with the gradient that was read: of the rows' shares in it where there are row squares and it was not
    /// held, its own elsewhere. False if row squares are not finite.
    #[inline(always)]
    pub(super) fn read_squares(&self, start: usize, gradient: &[f32], out: &mut [f32]) -> bool {
        for (square, &value) in out.iter_mut().zip(gradient) {
            *square = value * value;
        }
        match self {
            Gradient::Mean(mean) => {
                let count = mean.read_squares(start, out);
                all_finite(&out[..count])
            }
            Gradient::Held { .. } => true,
        }
    }
}

/// The weights before an update.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    /// What was published last.
    pub(super) before: &'a [u8],
    /// As in the chunk.
    pub(super) masters: &'a [f32],
    pub(super) precision: Precision,
}

impl Weights<'_> {
    /// Copies those from place `start` on.
    #[inline(always)]
    pub(super) fn read(&self, start: usize, out: &mut [f32]) {
        if !self.masters.is_empty() {
            return out.copy_from_slice(&self.masters[start..start + out.len()]);
        }
        let width = self.precision.width();
        self.precision.copy(&self.before[start * width..][..out.len() * width], out);
    }
}

/// Keeps a gradient, with what penalties add to it and the steps before, until the global norm is known.
pub(super) struct Hold<'a> {
    pub(super) mean: Mean<'a>,
    pub(super) weights: Weights<'a>,
    pub(super) rules: &'a TensorRules,
    pub(super) before: Before<'a>,
    pub(super) held: &'a mut [f32],
    pub(super) squares: &'a mut [f32],
}

impl WithSimd for Hold<'_> {
    type Output = Result<(), &'static str>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Result<(), &'static str> {
        self.mean.read(0, self.held);
        if self.rules.penalizes() {
            let mut block = [0.0; BLOCK];
            for (at, held) in self.held.chunks_mut(BLOCK).enumerate() {
                let (start, weights) = (at * BLOCK, &mut block[..held.len()]);
                self.weights.read(start, weights);
                self.rules.add_slopes(start, weights, held);
            }
        }
        self.before.take_mean(0, self.held);
        self.mean.read_squares(0, self.squares);
        let is_finite = all_finite(self.held) && all_finite(self.squares);
        if is_finite { Ok(()) } else { Err("gradient") }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_proto::ids::Step;
    use lockstep_proto::tree::{Node, ShardTree};
    use lockstep_proto::values::Precision;
    use lockstep_reduce::fold::LeafSet;
    use lockstep_reduce::shared::weights::ChunkVersions;

    use super::TensorRules;
    use crate::update::{
        ChunkState, Folded, Optimizer, Rule, State, Update, clip_scale, sum_of_squares,
    };

    const ADAGRAD: Optimizer = Optimizer::Adagrad { initial_accumulator: 1.0, epsilon: 1e-7 };
    const ROWS: u64 = 4;

    /// A chunk of so many weights of 0, and what it comes to by one frame for each of two shards.
    fn run(
        rule: &Rule,
        len: usize,
        squared: usize,
        frames: [[&[f32]; 2]; 2],
    ) -> (ChunkState, Folded) {
        let tree = ShardTree::new(2);
        let published = ChunkVersions::own(len * rule.precision.width());
        let state = State { moments: rule.optimizer.moments(len), ..State::default() };
        let beside = (squared, TensorRules::default());
        let weights = vec![0.0; len];
        let mut chunk = ChunkState::new(Step(0), weights, state, published, rule.precision, beside);
        let (step, number, is_made, is_measured) = (Step(1), 1, true, false);
        let update = Update { step, number, is_made, is_measured, rows: ROWS, learning_rate: 1.0 };
        chunk.begin(tree, LeafSet::new(tree, |_| true), update);
        let mut folded = Folded::Pending;
        for (shard, sums) in frames.into_iter().enumerate() {
            let frame = rule.precision.encode_joined(sums);
            folded = chunk.insert(rule, Step(1), Node::leaf(shard as u32), frame);
        }
        (chunk, folded)
    }

    fn rule(clip_norm: Option<f32>, precision: Precision) -> Rule {
        Rule { clip_norm, ..Rule::new(ADAGRAD, precision) }
    }

    /// Of a gradient of 1 in three places, the second of which has slopes that cancel out but for that, and the third no row
    /// squares.
    const FRAMES: [[&[f32]; 2]; 2] =
        [[&[2.0, 32.0, 1.0], &[2.0, 1024.0]], [&[2.0, -28.0, 3.0], &[2.0, 784.0]]];

    #[test]
    fn an_optimizer_is_fed_with_row_squares() {
        for precision in [Precision::F32, Precision::Bf16] {
            let (chunk, folded) = run(&rule(None, precision), 3, 2, FRAMES);
            assert!(matches!(folded, Folded::Updated), "{folded:?}");
            let squares = [4.0 / 16.0, (1024.0 + 784.0) / 16.0, 1.0];
            assert_eq!(chunk.moments()[0], squares.map(|square| 1.0 + square));
            let weights = squares.map(|square| -1.0 / (1.0 + square + 1e-7f32).sqrt());
            assert_eq!(chunk.weights(), weights);
        }
    }

    /// The norm is of the rows' shares. What it scales, by whatever factor, is one gradient.
    #[test]
    fn a_norm_is_made_of_row_squares_and_what_it_scales_is_not() {
        let norm_square = 4.0 / 16.0 + 1808.0 / 16.0 + 1.0;
        for clip_norm in [0.5, 1000.0] {
            let rule = rule(Some(clip_norm), Precision::F32);
            let (mut chunk, folded) = run(&rule, 3, 2, FRAMES);
            assert!(matches!(folded, Folded::Held), "{folded:?}");
            let found = sum_of_squares([chunk.held()].into_iter());
            assert_eq!(found, norm_square);
            let scale = clip_scale(clip_norm, [found].into_iter());
            assert_eq!(scale, (f64::from(clip_norm) / norm_square.sqrt()).min(1.0) as f32);
            assert!(matches!(chunk.update(&rule, Some(scale)), Folded::Updated));
            assert_eq!(chunk.moments()[0], [1.0 + scale * scale; 3]);
        }
    }

    #[test]
    fn row_squares_end_anywhere() {
        const LEN: usize = 1300;
        let slopes: Vec<f32> = (0..LEN).map(|at| (at % 19) as f32 - 9.0).collect();
        let squares: Vec<f32> = (0..LEN).map(|at| (at % 23) as f32).collect();
        for squared in [0, 1, 511, 512, 513, 1024, LEN - 1, LEN] {
            let frame = [&slopes[..], &squares[..squared]];
            let (chunk, _) = run(&rule(None, Precision::F32), LEN, squared, [frame, frame]);
            let wanted = |at: usize| match squares[..squared].get(at) {
                Some(square) => 1.0 + 2.0 * square / 16.0,
                None => 1.0 + (slopes[at] / 2.0) * (slopes[at] / 2.0),
            };
            let wanted: Vec<f32> = (0..LEN).map(wanted).collect();
            assert_eq!(chunk.moments()[0], wanted, "{squared}");
        }
    }

    #[test]
    fn row_squares_whose_sum_overflows_are_caught() {
        let frame: [&[f32]; 2] = [&[1.0], &[f32::MAX * 0.75]];
        for clip_norm in [None, Some(1.0)] {
            let (chunk, folded) = run(&rule(clip_norm, Precision::F32), 1, 1, [frame, frame]);
            assert!(matches!(folded, Folded::NonFinite("gradient")), "{folded:?}");
            assert_eq!(chunk.moments()[0], [1.0]);
        }
        // A square of a gradient's own may be: no moment was ever refused for it.
        let frame: [&[f32]; 2] = [&[1e30], &[]];
        let (_, folded) = run(&rule(None, Precision::F32), 1, 0, [frame, frame]);
        assert!(matches!(folded, Folded::Updated), "{folded:?}");
    }
}
