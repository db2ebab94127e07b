//! Of a status: how well a model does, row by row, on a table that it did not learn from. A report has it, and no run that goes on.
//! Every list has a limit.

use serde::{Deserialize, Serialize};

use super::Values;

/// How well a model does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// The table: `test` or, where there is none, `validation`.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// From which step the model is.
    pub step: Option<u64>,
    /// Loss and metrics.
    pub values: Values,
    /// Whether the loss, and it alone, is in units of scaled targets.
    pub loss_is_scaled: bool,
    /// Of each target, the first 16.
    pub targets: Vec<TargetEvaluation>,
    /// How many targets more there are.
    pub targets_left_out: usize,
    /// How much the model needs each column, if somebody asked for that.
    pub importance: Option<Importance>,
    /// Why that could not be measured.
    pub importance_missing: Option<String>,
}

/// Of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetEvaluation {
    /// Its name.
    pub target: String,
    /// Where its values are classes.
    pub classes: Option<Classes>,
    /// Where they are numbers.
    pub residuals: Option<Residuals>,
}

/// Of a target whose values are classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Classes {
    /// Every class.
    pub classes: Vec<ClassCounts>,
    /// For each class, how many of its rows were predicted as each; empty where there are more than 50 classes.
    pub confusion: Vec<Vec<u64>>,
    /// The score above which a row is of the second class, where there are two and one output.
    pub threshold: Option<f64>,
    /// Each class against the rest; of two classes the second; of more than 10 those with most rows.
    pub curves: Vec<ClassCurves>,
    /// How many classes more there are.
    pub curves_left_out: usize,
}

/// What was counted of a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassCounts {
    /// Its label.
    pub label: String,
    /// Share of hits among what is predicted to be of it.
    pub precision: Option<f64>,
    /// Share of hits among its rows.
    pub recall: Option<f64>,
    /// Their harmonic mean.
    pub f1: Option<f64>,
    /// Its rows.
    pub support: u64,
}

/// A class against the rest, by the score that the model gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassCurves {
    /// The class.
    pub label: String,
    /// Its rows.
    pub rows: u64,
    /// The share of other rows above a score (x), and the share of its rows (y), from the largest score down.
    pub roc: Line,
    /// The area below it, of all scores.
    pub roc_auc: Option<f64>,
    /// The share of its rows above a score (x), and its share of all rows above it (y), from the largest score down.
    pub precision_recall: Line,
    /// Average precision, of all scores.
    pub average_precision: Option<f64>,
    /// Scores in ten ranges of the same width; those without a row are left out.
    pub calibration: Vec<CalibrationBin>,
    /// The mean distance of score and share over these ranges, each by its rows.
    pub calibration_error: Option<f64>,
}

/// Points of a curve, at most 500 of those that it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Never falls.
    pub x: Vec<f64>,
    /// As many.
    pub y: Vec<f64>,
}

/// Rows whose scores are close to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CalibrationBin {
    /// Mean score.
    pub score: f64,
    /// Share of rows of the class.
    pub share: f64,
    /// Rows.
    pub rows: u64,
}

/// Of a target whose values are numbers, in its own unit. A residual is the value less what is predicted: above 0, the model
/// predicts too little.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Residuals {
    /// Mean residual.
    pub mean: Option<f64>,
    /// The root of the mean square of what residuals are from their mean.
    pub deviation: Option<f64>,
    /// The median of their sizes.
    pub median_size: Option<f64>,
    /// The largest size.
    pub largest: Option<f64>,
    /// What is predicted (x) and the residual (y), of at most 500 rows: every so many by what is predicted.
    pub points: Line,
    /// Rows by residual, in at most 30 ranges of the same width.
    pub histogram: Vec<HistogramBin>,
}

/// A range of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistogramBin {
    /// Its least value.
    pub from: f64,
    /// Where the next begins; part of the last range.
    pub to: f64,
    /// Rows in it.
    pub rows: u64,
}

/// How much a metric gets worse when the cells of one column are shuffled among the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Importance {
    /// The metric.
    pub metric: String,
    /// Its value with nothing shuffled.
    pub value: Option<f64>,
    /// Rows that were used: of more than 10,000 so many, drawn by the job's seed.
    pub rows: u64,
    /// How often each column was shuffled.
    pub repeats: u64,
    /// The columns, the most important first; at most 256.
    pub columns: Vec<ColumnImportance>,
    /// How many columns more were measured, all less important.
    pub columns_left_out: usize,
}

/// Of one column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnImportance {
    /// Its name.
    pub column: String,
    /// How much worse the metric gets, on average; below 0 if it gets better.
    pub worse: Option<f64>,
    /// The least of all times.
    pub least: Option<f64>,
    /// The most.
    pub most: Option<f64>,
}
