//! Means of errors over rows and outputs: Keras' `MeanSquaredError`, `RootMeanSquaredError`, `MeanAbsoluteError` and
//! `MeanAbsolutePercentageError`. The part is the sum over all outputs, then, where there are several, that of each.

use super::Measure;
use super::rows::{Bounds, Limits, Rows, Widths, each_len};
use crate::kinds::Loss;
use crate::unit::Unit;

/// Least size of a target that an error is divided by: Keras' epsilon.
const SIZE_MIN: f64 = 1e-7;

/// Which mean.
#[derive(Clone, Copy)]
pub(super) enum Errors {
    Squared,
    RootSquared,
    Absolute,
    /// Of absolute errors in percent of the target's size.
    Percentage,
}

impl Errors {
    fn mean(self, sum: f64, values: f64) -> f64 {
        match self {
            Errors::RootSquared => (sum / values).sqrt(),
            Errors::Squared | Errors::Absolute | Errors::Percentage => sum / values,
        }
    }
}

impl Measure for Errors {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        match (self, loss) {
            (_, Loss::CrossEntropy { .. }) => {
                Some("a class label has no distance, use accuracy".into())
            }
            (Errors::Percentage, Loss::BinaryCrossEntropy { .. }) => {
                Some("a target of 0 or 1 has no size to divide by, use accuracy".into())
            }
            _ => None,
        }
    }

    fn is_better_larger(&self) -> bool {
        false
    }

    fn len(&self, widths: Widths) -> usize {
        1 + each_len(widths)
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        let term = |output: usize| {
            let error = 2.0 * limits.largest(output);
            match self {
                Errors::Squared | Errors::RootSquared => error * error,
                Errors::Absolute => error,
                Errors::Percentage => 100.0 * error / SIZE_MIN,
            }
        };
        limits.of_terms(term, false)
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        match self {
            Errors::Squared | Errors::RootSquared => {
                rows.add_terms(part, |p, y| (p - y) * (p - y));
            }
            Errors::Absolute => rows.add_terms(part, |p, y| (p - y).abs()),
            Errors::Percentage => add_percentages(rows, part),
        }
    }

    fn value(&self, widths: Widths, part: &[f64], rows: f64) -> f64 {
        self.mean(part[0], rows * widths.1 as f64)
    }

    fn each(&self, _: Widths, part: &[f64], rows: f64) -> Vec<f64> {
        part[1..].iter().map(|&sum| self.mean(sum, rows)).collect()
    }
}

/// The target's size is that in its own unit, offset and all.
fn add_percentages(rows: Rows<'_>, part: &mut [f64]) {
    let [all, each @ ..] = part else { return };
    let pairs = rows.outputs.iter().zip(rows.targets).enumerate();
    for (at, (&p, &y)) in pairs {
        let output = at % rows.widths.0;
        let unit = rows.units.get(output).unwrap_or(&Unit::SAME);
        let error = unit.above_origin(f64::from(p)) - unit.above_origin(f64::from(y));
        let size = unit.back(f64::from(y)).abs().max(SIZE_MIN);
        let term = 100.0 * (error.abs() / size);
        *all += term;
        if let Some(own) = each.get_mut(output) {
            *own += term;
        }
    }
}
