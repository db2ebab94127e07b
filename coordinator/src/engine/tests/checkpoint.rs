//! What a simulated coordinator keeps of a run, to begin anew from.

use lockstep_proto::ids::{Pass, Step};

use super::case::Case;

/// The state between two passes.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) pass: Pass,
    pub(super) step: Step,
    pub(super) weights: Vec<Vec<f32>>,
    pub(super) moments: Vec<Vec<Vec<f32>>>,
    pub(super) history: Vec<(Pass, Vec<u64>)>,
}

impl Checkpoint {
    pub(super) fn beginning(case: &Case) -> Checkpoint {
        let weights: Vec<_> =
            (0..case.chunk_lens.len()).map(|chunk| case.initial_weights(chunk)).collect();
        let moments = weights.iter().map(|weights| case.rule.optimizer.moments(weights.len()));
        let moments = moments.collect();
        Checkpoint { pass: Pass(0), step: Step(0), weights, moments, history: Vec::new() }
    }
}
