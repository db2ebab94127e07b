//! The mean of minus the natural log of the probability that the network gave the right class: scikit-learn's `log_loss`. It is
//! the value of either cross entropy, computed from the last layer's sums, and so of no clipped probability.

use super::rows::{Bounds, Limits, Rows, Widths};
use super::{Measure, without_classes};
use crate::kinds::Loss;

/// The part is the sum of the rows' cross entropies.
pub(super) struct LogLoss;

impl Measure for LogLoss {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        without_classes(loss)
    }

    fn is_better_larger(&self) -> bool {
        false
    }

    fn len(&self, _: Widths) -> usize {
        1
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        vec![(limits.loss.0, limits.loss.1, false)]
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        for &loss in rows.losses {
            part[0] += f64::from(loss);
        }
    }

    fn value(&self, _: Widths, part: &[f64], rows: f64) -> f64 {
        part[0] / rows
    }

    fn each(&self, _: Widths, _: &[f64], _: f64) -> Vec<f64> {
        Vec::new()
    }
}
