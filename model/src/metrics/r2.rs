//! The coefficient of determination: Keras' `R2Score`. The part is, for each output: targets, squared targets, squared errors.

use super::Measure;
use super::rows::{Bounds, Limits, Rows, Widths, each_len};
use crate::kinds::Loss;

/// Averaged over the outputs.
pub(super) struct R2;

impl Measure for R2 {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        matches!(loss, Loss::CrossEntropy { .. })
            .then(|| "a class label has no distance, use accuracy".into())
    }

    fn is_better_larger(&self) -> bool {
        true
    }

    fn len(&self, widths: Widths) -> usize {
        3 * widths.0
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        let of_output = |output| {
            let largest = limits.largest(output);
            let error = 2.0 * largest;
            [
                (-largest, largest, false),
                (0.0, largest * largest, false),
                (0.0, error * error, false),
            ]
        };
        (0..limits.widths.0).flat_map(of_output).collect()
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        rows.each_pair(|output, p, y| {
            let sums = &mut part[3 * output..][..3];
            sums[0] += y;
            sums[1] += y * y;
            sums[2] += (p - y) * (p - y);
        });
    }

    fn value(&self, _: Widths, part: &[f64], rows: f64) -> f64 {
        r2(part, rows)
    }

    fn each(&self, widths: Widths, part: &[f64], rows: f64) -> Vec<f64> {
        let outputs = part.chunks_exact(3).take(each_len(widths));
        outputs.map(|output| r2(output, rows)).collect()
    }
}

/// What adding equal targets up loses, as a share of their squares' sum, times the root of their number: where the spread is no
/// more, there is none. Sums go up a tree, and what is lost grows much slower than the rows.
const ROUNDING: f64 = f64::EPSILON;

/// An output whose targets are all equal counts 0 (NaN, if it was predicted exactly).
fn r2(part: &[f64], rows: f64) -> f64 {
    let mut sum = 0.0;
    for output in part.chunks_exact(3) {
        let total = output[1] - output[0] * (output[0] / rows);
        let rounding = output[1] * (rows.sqrt() * ROUNDING);
        sum += match total.abs() <= rounding {
            true if output[2] == 0.0 => f64::NAN,
            true => 0.0,
            false => 1.0 - output[2] / total,
        };
    }
    sum / (part.len() / 3) as f64
}
