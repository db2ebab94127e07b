//! The share of right classes: Keras' `SparseCategoricalAccuracy` and, of outputs with two classes each, `BinaryAccuracy`. The
//! part is the count over all outputs, then, where there are several targets, that of each.

use super::rows::{Bounds, Limits, Rows, Widths, each_len, first_largest, is_class_1, is_label};
use super::tally::Recounted;
use super::{Measure, without_classes};
use crate::kinds::Loss;

/// Rows of a class that is predicted, or outputs on the target's side of 0.5.
pub(super) struct Accuracy;

impl Measure for Accuracy {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        without_classes(loss)
    }

    fn is_better_larger(&self) -> bool {
        true
    }

    fn len(&self, widths: Widths) -> usize {
        1 + each_len(widths)
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        limits.of_terms(|_| 1.0, true)
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        if !is_label(rows.widths) {
            rows.add_terms(part, |p, y| f64::from(is_class_1(p) == is_class_1(y)));
            return;
        }
        for (row, label) in rows.labelled() {
            part[0] += f64::from(first_largest(row) as f32 == label);
        }
    }

    fn value(&self, widths: Widths, part: &[f64], rows: f64) -> f64 {
        part[0] / (rows * widths.1 as f64)
    }

    fn each(&self, _: Widths, part: &[f64], rows: f64) -> Vec<f64> {
        part[1..].iter().map(|count| count / rows).collect()
    }

    fn recounted(&self) -> Option<Recounted> {
        Some(Recounted::Right)
    }
}
