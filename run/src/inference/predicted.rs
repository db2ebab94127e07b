//! Predictions in memory: what the network gives for rows, in the targets' own unit, and which class that is.

use lockstep_data::{Rows, TargetKind};
use ndarray::Array2;

use super::{largest, outputs};
use crate::run_folder::Model;

/// What a model predicts for some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// `[rows, outputs]`: numbers in the unit of the targets, or probabilities.
    pub values: Array2<f32>,
    /// `[rows, targets]`: the class of each row, by its place; `None` where targets are numbers.
    pub classes: Option<Array2<usize>>,
}

impl Predictions {
    /// Of rows of features.
    pub fn of(model: &Model, rows: &Rows) -> Predictions {
        let mut values = outputs(model, rows);
        let classes = match model.schema.kind {
            TargetKind::Numbers => None,
            TargetKind::Classes { .. } => {
                let classes = values.rows().into_iter().map(|row| largest(row.iter().copied()));
                let classes: Vec<usize> = classes.collect();
                Array2::from_shape_vec((values.nrows(), 1), classes).ok()
            }
            TargetKind::Binary { .. } => Some(values.mapv(|value| model.class_of(value))),
        };
        for ((_, target), value) in values.indexed_iter_mut() {
            *value = model.network.in_own_unit(target, *value) as f32;
        }
        Predictions { values, classes }
    }
}
