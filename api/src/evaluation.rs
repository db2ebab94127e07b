//! Evaluation: predicting, and measuring how good that is.
//!
//! Values are those of the command line's `evaluate`, from the same code.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((60, 1), |(row, _)| row as f32 / 30.0 - 1.0);
//! let y = x.mapv(|value| f32::from(value > 0.0));
//! let mut model = Sequential::new();
//! model.add(Dense::new(1).activation(Activation::Sigmoid));
//! model.compile(adam().learning_rate(0.1), Loss::BINARY_CROSS_ENTROPY, &[Metric::Accuracy]);
//! model.fit(x.view(), y.view(), &Fit::new().epochs(20))?;
//!
//! let found = model.evaluate(x.view(), y.view())?;
//! assert!(found["accuracy"] > 0.9);
//! assert_eq!(found.classes[0].confusion.len(), 2);
//! let classes = model.predict_classes(x.view())?;
//! assert_eq!(classes[[59, 0]], 1);
//! # Ok::<(), lockstep::Error>(())
//! ```

use std::ops::Index;

use lockstep_data::Rows;
use lockstep_run::inference;
use lockstep_run::run_folder::Model;
use ndarray::{Array2, ArrayView2};

use crate::arrays::{self, Arrays};
use crate::error::{Error, Result};
use crate::sequential::Sequential;
use crate::tables::Table;
use crate::targets;

pub use lockstep_data::Unseen;
pub use lockstep_run::report::Values;
pub use lockstep_run::report::classes::{AtThreshold, Class, TargetClasses};

/// What rows say of a model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// Rows that were measured.
    pub rows: u64,
    /// Rows of a table that were left out for a missing cell.
    pub left_out: u64,
    /// Loss and metrics by name.
    pub values: Values,
    /// Whether the loss, and it alone, is in units of scaled targets.
    pub loss_is_scaled: bool,
    /// Precision, recall and confusion of each target whose values are classes.
    pub classes: Vec<TargetClasses>,
    /// Categories of a table that training never saw.
    pub unseen: Vec<Unseen>,
    /// What there is to warn of: that a guess would be as good.
    pub warning: Option<String>,
}

impl Evaluation {
    fn of(found: inference::Evaluation) -> Evaluation {
        let inference::Evaluation {
            rows,
            left_out,
            unseen,
            values,
            loss_is_scaled,
            classes,
            warning,
        } = found;
        Evaluation { rows, left_out, values, loss_is_scaled, classes, unseen, warning }
    }
}

impl Index<&str> for Evaluation {
    type Output = f64;

    /// The value of this name, such as `loss`.
    ///
    /// # Panics
    /// If there is none.
    fn index(&self, name: &str) -> &f64 {
        let known = || self.values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("no {name:?} was measured: there are {}", known()))
    }
}

/// What a model predicts for the rows of a table, in its order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Predictions {
    /// `[rows, outputs]`: numbers in the unit of the targets, or probabilities.
    pub values: Array2<f32>,
    /// `[rows, targets]`: the class of each row, by its place; `None` where targets are numbers.
    pub classes: Option<Array2<usize>>,
    /// Of each target, the labels of its classes by their places; empty where targets are numbers.
    pub labels: Vec<Vec<String>>,
    /// Categories that training never saw.
    pub unseen: Vec<Unseen>,
}

impl Predictions {
    /// The label of a row for a target.
    ///
    /// # Panics
    /// If there is no such row or target, or targets are numbers.
    pub fn label(&self, row: usize, target: usize) -> &str {
        let classes = self.classes.as_ref().expect("targets that are numbers have no labels");
        &self.labels[target][classes[[row, target]]]
    }
}

impl Sequential {
    /// Outputs `[rows, outputs]` for rows `x`: numbers in the unit of the targets, or probabilities.
    ///
    /// # Errors
    /// If the model is not fitted, or `x` has other columns than it was fitted on.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let model = self.model("predict")?;
        Ok(inference::Predictions::of(model, &rows(model, x)?).values)
    }

    /// Classes `[rows, targets]` for rows `x`, each by its number: the one with the largest probability, or 1 where that of 1 is above
    /// the [threshold](Sequential::threshold).
    ///
    /// # Errors
    /// As [`Sequential::predict`], and if the model was not fitted on classes.
    pub fn predict_classes(&self, x: ArrayView2<'_, f32>) -> Result<Array2<usize>> {
        let model = self.model("predict_classes")?;
        let found = inference::Predictions::of(model, &rows(model, x)?).classes;
        found.ok_or_else(|| {
            let loss = model.network.spec().loss;
            Error::arguments(format!(
                "predict_classes of a model whose loss is `{loss}`, which has no classes"
            ))
        })
    }

    /// What the model predicts for the rows of a table, which needs no targets. Columns are found by their names.
    ///
    /// # Errors
    /// If the model is not fitted, or the table lacks a column or a cell.
    pub fn predict_table(&self, table: &Table) -> Result<Predictions> {
        let model = self.model("predict_table")?;
        let (rows, unseen) = inference::encoded_rows(model, table.file())?;
        let inference::Predictions { values, classes } = inference::Predictions::of(model, &rows);
        let labels = model.schema.labels.clone().unwrap_or_default();
        Ok(Predictions { values, classes, labels, unseen })
    }

    /// Loss and metrics of rows `x` with targets `y`.
    ///
    /// # Errors
    /// If the model is not fitted, the arrays are not like those that it was fitted on, or it gives something that is not finite.
    pub fn evaluate(&self, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Evaluation> {
        let model = self.model("evaluate")?;
        let arrays = Arrays { x, y };
        arrays.check_shapes()?;
        targets::check(model.schema.kind, model.network.target_width(), y)?;
        arrays::check_finite("y", y)?;
        let found = inference::evaluate_rows(model, arrays.rows(&model.schema)?);
        found.map(Evaluation::of).map_err(Error::arguments)
    }

    /// Loss and metrics of a table, as the command line's `evaluate` has them.
    ///
    /// # Errors
    /// As [`Sequential::predict_table`]; the targets are needed, too.
    pub fn evaluate_table(&self, table: &Table) -> Result<Evaluation> {
        let model = self.model("evaluate_table")?;
        Ok(Evaluation::of(inference::evaluate(model, table.file())?))
    }
}

/// Rows of features.
fn rows(model: &Model, x: ArrayView2<'_, f32>) -> Result<Rows> {
    let features = arrays::features(&model.schema, x)?;
    let (width, values) = (features.ncols(), features.into_iter().collect());
    Ok(Rows::new(width, 0, values))
}
