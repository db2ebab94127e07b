//! Chunks from sums to weights, by every kind of rule.

use super::*;
use crate::update::{clip_scale, sum_of_squares};
use lockstep_proto::ids::Span;
use lockstep_proto::penalties::{Penalized, Penalties, Penalty};

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };

fn update(step: u64, rows: u64) -> Update {
    let (is_made, is_measured, learning_rate) = (true, false, 1.0);
    Update { step: Step(step), number: step, is_made, is_measured, rows, learning_rate }
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
        let mut chunk = ChunkState::new(Step(0), weights, state, published, precision, (0, rules));
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
    let decay =
        |weight_decay| Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, weight_decay };
    let len = BLOCK + 40;
    let after = |optimizer: Optimizer, undecayed: &[Range<usize>]| {
        let tree = ShardTree::new(1);
        let rules = TensorRules::new(&Penalties::default(), undecayed, &(0..len));
        let published = ChunkVersions::own(4 * len);
        let state = State { moments: optimizer.moments(len), ..State::default() };
        let weights = vec![1.0; len];
        let mut chunk = ChunkState::new(Step(0), weights, state, published, PRECISION, (0, rules));
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

/// Moving averages of what nodes send as sums over rows: in no norm, scaled by none, decayed by nothing, and averaged no second
/// time.
#[test]
fn moving_averages_know_no_optimizer() {
    let weight_decay = Some(0.5);
    let adamw = Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, weight_decay };
    let averaging = Some(Averaging { momentum: 0.5, overwrite_frequency: Some(1) });
    for precision in [Precision::F32, Precision::Bf16] {
        for (clip_norm, steps_per_update) in [(None, 1), (Some(0.25), 1), (None, 2)] {
            let rule =
                Rule { averaging, clip_norm, steps_per_update, ..Rule::new(adamw, precision) };
            let published = ChunkVersions::own(2 * precision.width());
            let state = State {
                moments: adamw.moments(2),
                average: vec![8.0, 1.0],
                accumulated: if rule.accumulates() { vec![0.0; 2] } else { Vec::new() },
            };
            let beside = (0, TensorRules::default().averaging(Some(0.75)));
            let mut chunk =
                ChunkState::new(Step(0), vec![8.0, 1.0], state, published, precision, beside);
            let tree = ShardTree::new(2);
            for step in 1..=steps_per_update {
                let is_made = step == steps_per_update;
                let update = Update { number: 1, is_made, learning_rate: 0.1, ..update(step, 4) };
                chunk.begin(tree, LeafSet::new(tree, |_| true), update);
                // Of 3 rows and of 1, with means of 4 and 20.
                for (node, sums) in [(Node::leaf(0), [12.0, 6.0]), (Node::leaf(1), [20.0, 14.0])] {
                    let folded = chunk.insert(&rule, Step(step), node, precision.encode(&sums));
                    assert!(!matches!(folded, Folded::NonFinite(_)), "{folded:?}");
                }
            }
            if clip_norm.is_some() {
                assert_eq!(sum_of_squares([chunk.held()].into_iter()), 0.0);
                assert!(matches!(chunk.update(&rule, Some(0.125)), Folded::Updated));
            }
            assert_eq!(chunk.weights(), [0.75 * 8.0 + 0.25 * 8.0, 0.75 + 0.25 * 5.0]);
            assert_eq!(chunk.average(), chunk.weights());
        }
    }
}
