//! All that a run has to remember between two passes.

use std::sync::Arc;

use lockstep_proto::ids::{Pass, Step};
use lockstep_proto::layout::Layout;

use crate::policy::{Plateau, Watch};
use crate::update::Optimizer;

/// The state of a run between two passes. A run that starts from it goes on to the same bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The pass that comes next.
    pub pass: Pass,
    /// Steps made so far.
    pub step: Step,
    /// The flat weights.
    pub weights: Vec<f32>,
    /// The optimizer's moments, each a flat vector: of the weights that change, as are the averages and the gradients.
    pub moments: Vec<Vec<f32>>,
    /// The flat averages of the weights, where these are averaged.
    pub average: Option<Vec<f32>>,
    /// The flat sum of the gradients, each a mean over its batch, of the steps since the last update; `None` right after one.
    pub accumulated: Option<Vec<f32>>,
    /// What a learning rate that is reduced on a plateau has seen, and what it is, if it is such.
    pub plateau: Option<Plateau>,
    /// What early stopping has seen, if it was asked for and an epoch has ended.
    pub watch: Option<Watch>,
    /// The flat weights of the best epoch, if they are to be restored and are not those of this step.
    pub best_weights: Option<Arc<Vec<f32>>>,
}

impl Snapshot {
    /// The beginning of a run from these weights, which are averaged or not.
    pub fn fresh(
        weights: Vec<f32>,
        layout: &Layout,
        optimizer: &Optimizer,
        averages: bool,
    ) -> Snapshot {
        let average = averages.then(|| layout.trained_of(&weights));
        Snapshot {
            pass: Pass(0),
            step: Step(0),
            moments: optimizer.moments(layout.trained_len()),
            average,
            weights,
            accumulated: None,
            plateau: None,
            watch: None,
            best_weights: None,
        }
    }
}
