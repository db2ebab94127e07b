//! Updates of several steps: the gradients of all of them, each the mean over its batch, are added in the order of the steps, and
//! the sum is divided by their number (Keras 3's `gradient_accumulation_steps`). Weights stay until then, and so do moments.
//!
//! Averages of weights go on at every step, as in Keras. There are no row squares with such updates: Keras adds gradients of
//! embeddings up as whole tables, and squares these.

use lockstep_proto::values::all_finite;
use pulp::{Simd, WithSimd};

use super::averaging::Averaging;
use super::chunk::{BLOCK, Rule};
use super::gradient::{Mean, Weights};
use super::tensor_rules::TensorRules;

/// The gradients of the steps before the one that makes an update.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// Their sum; empty if the update is of one step.
    sum: &'a [f32],
    /// Of the update.
    steps: f32,
}

impl<'a> Before<'a> {
    #[inline(always)]
    pub(super) fn of(rule: &Rule, sum: &'a [f32]) -> Before<'a> {
        Before { sum, steps: rule.steps_per_update as f32 }
    }

    /// Makes of the last step's gradient, from place `start` on, the mean over all steps.
    #[inline(always)]
    pub(super) fn take_mean(&self, start: usize, gradient: &mut [f32]) {
        if self.sum.is_empty() {
            return;
        }
        let sum = &self.sum[start..start + gradient.len()];
        for (value, before) in gradient.iter_mut().zip(sum) {
            *value = (*value + before) / self.steps;
        }
    }
}

/// Adds a gradient, with what penalties add to it, to those of the steps before.
pub(super) struct Accumulate<'a> {
    pub(super) mean: Mean<'a>,
    pub(super) weights: Weights<'a>,
    pub(super) rules: &'a TensorRules,
    pub(super) averaging: Option<Averaging>,
    /// Of the update that it will be a part of.
    pub(super) number: u64,
    pub(super) accumulated: &'a mut [f32],
    pub(super) average: &'a mut [f32],
}

impl WithSimd for Accumulate<'_> {
    /// Says what is not finite.
    type Output = Result<(), &'static str>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Result<(), &'static str> {
        let mut blocks = [[0.0; BLOCK]; 2];
        for (at, accumulated) in self.accumulated.chunks_mut(BLOCK).enumerate() {
            let (start, len) = (at * BLOCK, accumulated.len());
            let [gradient, weights] = &mut blocks;
            let (gradient, weights) = (&mut gradient[..len], &mut weights[..len]);
            self.mean.read(start, gradient);
            if self.rules.penalizes() || self.averaging.is_some() {
                self.weights.read(start, weights);
            }
            self.rules.add_slopes(start, weights, gradient);
            for (sum, value) in accumulated.iter_mut().zip(&*gradient) {
                *sum += value;
            }
            if !all_finite(accumulated) {
                return Err("gradient");
            }
            if let Some(averaging) = self.averaging {
                averaging.add(self.number, weights, &mut self.average[start..start + len]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockstep_proto::ids::Step;
    use lockstep_proto::tree::{Node, ShardTree};
    use lockstep_proto::values::Precision;
    use lockstep_reduce::fold::LeafSet;
    use lockstep_reduce::shared::weights::ChunkVersions;

    use super::*;
    use crate::update::{ChunkState, Folded, Optimizer, State, Update};

    const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    const STEPS: u64 = 3;

    /// Two updates of three steps each, with gradients 1, 2, 3 and so on, of one row each. What each step leaves.
    fn run(rule: &Rule) -> Vec<(f32, f32, f32)> {
        let (tree, precision) = (ShardTree::new(1), rule.precision);
        let average = vec![8.0; rule.averaging.map_or(0, |_| 1)];
        let state = State { moments: Vec::new(), average, accumulated: vec![0.0] };
        let published = ChunkVersions::own(precision.width());
        let beside = (0, TensorRules::default());
        let mut chunk = ChunkState::new(Step(0), vec![8.0], state, published, precision, beside);
        let step = |at: u64| {
            let (number, is_made) = ((at - 1) / STEPS + 1, at.is_multiple_of(STEPS));
            let (is_measured, rows, learning_rate) = (false, 1, 1.0);
            let update =
                Update { step: Step(at), number, is_made, is_measured, rows, learning_rate };
            chunk.begin(tree, LeafSet::new(tree, |_| true), update);
            assert!(chunk.is_before_update());
            let late = precision.encode(&[9.0]);
            assert!(matches!(
                chunk.insert(rule, Step(at - 1), Node::leaf(0), late),
                Folded::Pending
            ));
            let values = precision.encode(&[at as f32]);
            let folded = chunk.insert(rule, Step(at), Node::leaf(0), values);
            match (is_made, rule.clip_norm) {
                (false, _) => assert!(matches!(folded, Folded::Accumulated), "{folded:?}"),
                (true, None) => assert!(matches!(folded, Folded::Updated), "{folded:?}"),
                (true, Some(_)) => {
                    assert!(matches!(folded, Folded::Held), "{folded:?}");
                    assert!(chunk.is_before_update() && chunk.accumulated()[0] > 0.0);
                    assert!(matches!(chunk.update(rule, Some(1.0)), Folded::Updated));
                }
            }
            assert!(!chunk.is_before_update());
            let average = chunk.average().first().copied().unwrap_or_default();
            (chunk.weights()[0], chunk.accumulated()[0], average)
        };
        (1..=2 * STEPS).map(step).collect()
    }

    #[test]
    fn the_mean_of_the_steps_is_what_moves_weights() {
        let wanted = [
            (8.0, 1.0, 0.0),
            (8.0, 3.0, 0.0),
            (6.0, 0.0, 0.0),
            (6.0, 4.0, 0.0),
            (6.0, 9.0, 0.0),
            (1.0, 0.0, 0.0),
        ];
        for precision in [Precision::F32, Precision::Bf16] {
            for clip_norm in [None, Some(100.0)] {
                let rule = Rule { steps_per_update: STEPS, clip_norm, ..Rule::new(SGD, precision) };
                assert_eq!(run(&rule), wanted);
            }
        }
    }

    /// In the steps of the first update the average is the weights.
    #[test]
    fn averages_go_on_at_every_step() {
        let averaging = Some(Averaging { momentum: 0.5, overwrite_frequency: None });
        for precision in [Precision::F32, Precision::Bf16] {
            let rule = Rule { steps_per_update: STEPS, averaging, ..Rule::new(SGD, precision) };
            let averages: Vec<f32> =
                run(&rule).into_iter().map(|(_, _, average)| average).collect();
            assert_eq!(averages, [8.0, 8.0, 6.0, 6.0, 6.0, 3.5]);
        }
    }
}
