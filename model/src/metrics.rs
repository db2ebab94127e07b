//! Loss and metric sums: what is added for each row, and what the sums mean at the end. Formulas are Keras'.
//!
//! A vector of sums is `[loss, then each metric's part]`. With several targets a part is the sum over all of them, then
//! that of each. All arithmetic is `f64`, rows strictly in order.
//!
//! Where targets are scaled, the loss is that of the scaled values, and every metric that of the values in the target's own
//! unit. All of these metrics compare values with each other, so that they are taken from the unit's origin: an offset many
//! times the spread costs no digits.

use crate::kinds::Metric;
use crate::unit::Unit;

/// Outputs of the network, and targets of a row: 1 where it is the class.
pub(crate) type Widths = (usize, usize);

/// How many targets there are to measure one by one; none, if all there is is one.
fn each_len((outputs, targets): Widths) -> usize {
    if targets > 1 { outputs } else { 0 }
}

/// Sums that a metric needs.
fn part_len(metric: Metric, widths: Widths) -> usize {
    match metric {
        // For each output: targets, squared targets, squared errors.
        Metric::R2 => 3 * widths.0,
        Metric::Mse | Metric::Rmse | Metric::Mae | Metric::Accuracy => 1 + each_len(widths),
    }
}

pub(crate) fn sums_len(metrics: &[Metric], widths: Widths) -> usize {
    1 + metrics.iter().map(|&metric| part_len(metric, widths)).sum::<usize>()
}

/// What each sum can be, a row: the least and the most that it adds, and whether that is a whole number. Rows whose loss is not
/// finite are told otherwise.
pub(crate) fn sum_bounds(
    loss: (f64, f64),
    metrics: &[Metric],
    widths: Widths,
    units: &[Unit],
) -> Vec<(f64, f64, bool)> {
    let mut bounds = vec![(loss.0, loss.1, false)];
    // Of one output: the greatest size of a value in its unit.
    let largest = |output: usize| {
        let largest = f64::from(f32::MAX);
        units.get(output).map_or(largest, |unit| unit.largest(largest))
    };
    for &metric in metrics {
        let is_whole = metric == Metric::Accuracy;
        let term = |output: usize| {
            let error = 2.0 * largest(output);
            match metric {
                Metric::Mse | Metric::Rmse | Metric::R2 => error * error,
                Metric::Mae => error,
                Metric::Accuracy => 1.0,
            }
        };
        match metric {
            Metric::Mse | Metric::Rmse | Metric::Mae | Metric::Accuracy => {
                let all = match units {
                    [] => widths.1 as f64 * term(0),
                    units => (0..units.len()).map(term).sum(),
                };
                bounds.push((0.0, all, is_whole));
                bounds.extend((0..each_len(widths)).map(|output| (0.0, term(output), is_whole)));
            }
            Metric::R2 => {
                let of_output = |output| {
                    let largest = largest(output);
                    [
                        (-largest, largest, false),
                        (0.0, largest * largest, false),
                        (0.0, term(output), false),
                    ]
                };
                bounds.extend((0..widths.0).flat_map(of_output));
            }
        }
    }
    bounds
}

/// Rows of a call: their losses, outputs and targets.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) losses: &'a [f32],
    pub(crate) outputs: &'a [f32],
    pub(crate) targets: &'a [f32],
    /// Columns of `outputs` and of `targets`.
    pub(crate) widths: Widths,
    /// Of each column, where targets are scaled.
    pub(crate) units: &'a [Unit],
}

impl Rows<'_> {
    /// Shows each output with its column and its target, in their own unit.
    #[inline(always)]
    fn each_pair(&self, mut see: impl FnMut(usize, f64, f64)) {
        let pairs = || self.outputs.iter().zip(self.targets).enumerate();
        let width = self.widths.0;
        if self.units.is_empty() {
            pairs().for_each(|(at, (&p, &y))| see(at % width, f64::from(p), f64::from(y)));
            return;
        }
        pairs().for_each(|(at, (&p, &y))| {
            let unit = &self.units[at % width];
            see(at % width, unit.above_origin(f64::from(p)), unit.above_origin(f64::from(y)));
        });
    }
}

/// Adds the rows to the sums, in order.
pub(crate) fn add_rows(metrics: &[Metric], rows: Rows<'_>, sums: &mut [f64]) {
    for &loss in rows.losses {
        sums[0] += f64::from(loss);
    }
    let mut rest = &mut sums[1..];
    for &metric in metrics {
        let (part, after) = rest.split_at_mut(part_len(metric, rows.widths));
        add_metric(metric, rows, part);
        rest = after;
    }
}

fn add_metric(metric: Metric, rows: Rows<'_>, part: &mut [f64]) {
    let (width, target_width) = rows.widths;
    let term = |p: f64, y: f64| match metric {
        Metric::Mse | Metric::Rmse | Metric::R2 => (p - y) * (p - y),
        Metric::Mae => (p - y).abs(),
        Metric::Accuracy => f64::from((p > 0.5) == (y > 0.5)),
    };
    match metric {
        Metric::Accuracy if target_width != width => {
            for (row, &label) in rows.outputs.chunks_exact(width).zip(rows.targets) {
                part[0] += f64::from(first_largest(row) as f32 == label);
            }
        }
        Metric::Mse | Metric::Rmse | Metric::Mae | Metric::Accuracy => {
            let [all, each @ ..] = part else { return };
            rows.each_pair(|_, p, y| *all += term(p, y));
            if !each.is_empty() {
                rows.each_pair(|output, p, y| each[output] += term(p, y));
            }
        }
        Metric::R2 => rows.each_pair(|output, p, y| {
            let sums = &mut part[3 * output..][..3];
            sums[0] += y;
            sums[1] += y * y;
            sums[2] += term(p, y);
        }),
    }
}

fn first_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = i;
        }
    }
    best
}

pub(crate) fn report(
    metrics: &[Metric],
    widths: Widths,
    sums: &[f64],
    rows: u64,
) -> Vec<(&'static str, f64)> {
    assert_eq!(sums.len(), sums_len(metrics, widths), "sums of another network");
    let values = rows as f64 * widths.1 as f64;
    let of = |(metric, part): (Metric, &[f64])| match metric {
        Metric::R2 => (metric.name(), r2(part, rows as f64)),
        _ => (metric.name(), mean(metric, part[0], values)),
    };
    let loss = ("loss", sums[0] / rows as f64);
    std::iter::once(loss).chain(parts(metrics, widths, sums).map(of)).collect()
}

/// What the sums say of each target, where there are several: metric, target, value.
pub(crate) fn report_each(
    metrics: &[Metric],
    widths: Widths,
    sums: &[f64],
    rows: u64,
) -> Vec<(&'static str, usize, f64)> {
    assert_eq!(sums.len(), sums_len(metrics, widths), "sums of another network");
    let rows = rows as f64;
    let mut report = Vec::new();
    for (metric, part) in parts(metrics, widths, sums) {
        let value = |target: usize| match metric {
            Metric::R2 => r2(&part[3 * target..3 * target + 3], rows),
            _ => mean(metric, part[1 + target], rows),
        };
        report.extend((0..each_len(widths)).map(|target| (metric.name(), target, value(target))));
    }
    report
}

fn parts<'a>(
    metrics: &'a [Metric],
    widths: Widths,
    sums: &'a [f64],
) -> impl Iterator<Item = (Metric, &'a [f64])> {
    let mut rest = &sums[1..];
    metrics.iter().map(move |&metric| {
        let (part, after) = rest.split_at(part_len(metric, widths));
        rest = after;
        (metric, part)
    })
}

fn mean(metric: Metric, sum: f64, values: f64) -> f64 {
    match metric {
        Metric::Rmse => (sum / values).sqrt(),
        Metric::Mse | Metric::Mae | Metric::Accuracy | Metric::R2 => sum / values,
    }
}

/// Keras' `R2Score`: an output whose targets are all equal counts 0 (NaN, if it was predicted exactly).
fn r2(part: &[f64], rows: f64) -> f64 {
    let mut sum = 0.0;
    for output in part.chunks_exact(3) {
        let total = output[1] - output[0] * (output[0] / rows);
        let score = 1.0 - output[2] / total;
        sum += if score.is_infinite() { 0.0 } else { score };
    }
    sum / (part.len() / 3) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of these rows, whose losses are 0.
    fn sums(
        metrics: &[Metric],
        widths: (usize, usize),
        outputs: &[f32],
        targets: &[f32],
    ) -> Vec<f64> {
        let losses = vec![0.0; targets.len() / widths.1];
        let mut sums = vec![0.0; sums_len(metrics, widths)];
        let rows = Rows { losses: &losses, outputs, targets, widths, units: &[] };
        add_rows(metrics, rows, &mut sums);
        sums
    }

    fn one(metric: Metric, widths: (usize, usize), outputs: &[f32], targets: &[f32]) -> f64 {
        let rows = (targets.len() / widths.1) as u64;
        let sums = sums(&[metric], widths, outputs, targets);
        report(&[metric], widths, &sums, rows)[1].1
    }

    #[test]
    fn values() {
        let (outputs, targets) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 5.0, 4.0]);
        assert_eq!(one(Metric::Mse, (2, 2), &outputs, &targets), 2.0);
        assert_eq!(one(Metric::Rmse, (1, 1), &outputs, &targets), 2f64.sqrt());
        assert_eq!(one(Metric::Mae, (2, 2), &outputs, &targets), 1.0);
    }

    /// Keras 3's `R2Score` on the examples of its documentation and its corner cases.
    #[test]
    fn r2_is_keras() {
        let r2 = |outputs: &[f32], targets: &[f32]| one(Metric::R2, (1, 1), outputs, targets);
        assert!((r2(&[2.0, 5.0, 3.0], &[1.0, 4.0, 3.0]) - 0.571_428_571_428).abs() < 1e-9);
        assert_eq!(r2(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
        assert!(r2(&[3.0, 3.0], &[3.0, 3.0]).is_nan());
        // Two outputs: the mean of 1 and 0.
        let both = one(Metric::R2, (2, 2), &[1.0, 2.0, 3.0, 2.0], &[1.0, 1.0, 3.0, 3.0]);
        assert_eq!(both, 0.5);
    }

    #[test]
    fn accuracy() {
        let outputs = [0.1, 0.8, 0.1, 0.4, 0.2, 0.4];
        assert_eq!(one(Metric::Accuracy, (3, 1), &outputs, &[1.0, 0.0]), 1.0);
        assert_eq!(one(Metric::Accuracy, (3, 1), &outputs, &[1.0, 2.0]), 0.5, "first largest");
        let binary = one(Metric::Accuracy, (2, 2), &[0.5, 0.6, 0.1, 0.9], &[0.0, 1.0, 1.0, 1.0]);
        assert_eq!(binary, 0.75);
    }

    #[test]
    fn every_sum_has_bounds() {
        let metrics = [Metric::R2, Metric::Accuracy, Metric::Mae, Metric::Rmse];
        let (outputs, targets) = ([3e38, -3e38, 0.0, 1.0], [-3e38, 3e38, 0.0, 1.0]);
        let sums = sums(&metrics, (2, 2), &outputs, &targets);
        let bounds = sum_bounds((0.0, f64::from(f32::MAX)), &metrics, (2, 2), &[]);
        assert_eq!(bounds.len(), sums.len());
        for (sum, (low, high, is_whole)) in sums.into_iter().zip(bounds) {
            assert!((2.0 * low..=2.0 * high).contains(&sum) && (!is_whole || sum.fract() == 0.0));
        }
    }

    /// Two outputs of which the first is a price in 1000s above 20,000 and the second is as it is.
    #[test]
    fn metrics_of_scaled_targets_are_in_their_own_unit() {
        let units = [Unit::Affine { offset: 20_000.0, factor: 1000.0 }, Unit::SAME];
        let metrics = [Metric::Mse, Metric::Mae, Metric::R2];
        let (outputs, targets) = ([1.0, 2.0, 3.0, 2.0], [1.5, 1.0, 3.0, 3.0]);
        let rows = Rows {
            losses: &[0.25, 0.5],
            outputs: &outputs,
            targets: &targets,
            widths: (2, 2),
            units: &units,
        };
        let mut found = vec![0.0; sums_len(&metrics, (2, 2))];
        add_rows(&metrics, rows, &mut found);
        let values = report(&metrics, (2, 2), &found, 2);
        let mse = (250_000.0 + 2.0) / 4.0;
        assert_eq!(values[..3], [("loss", 0.375), ("mse", mse), ("mae", 502.0 / 4.0)]);
        let each = report_each(&metrics, (2, 2), &found, 2);
        assert_eq!((each[0], each[3]), (("mse", 0, 125_000.0), ("mae", 1, 1.0)));
        // What is explained of the spread is so in any unit.
        let same = sums(&[Metric::R2], (2, 2), &outputs, &targets);
        let same = report_each(&[Metric::R2], (2, 2), &same, 2);
        assert!(each[4..].iter().zip(&same).all(|(a, b)| (a.2 - b.2).abs() < 1e-12), "{each:?}");
    }

    #[test]
    fn sums_of_scaled_targets_have_bounds_in_their_own_unit() {
        let units = [Unit::Affine { offset: 1e100, factor: 1e101 }, Unit::Expm1];
        sums_have_bounds(units);
        sums_have_bounds([1e101, 1e-150].map(|factor| Unit::Affine { offset: 1e100, factor }));
    }

    fn sums_have_bounds(units: [Unit; 2]) {
        let metrics = [Metric::R2, Metric::Mae, Metric::Rmse, Metric::Mse];
        let most = f32::MAX;
        let (outputs, targets) = ([most, -most, 0.0, 1.0], [-most, most, 0.0, 1.0]);
        let rows = Rows {
            losses: &[0.0; 2],
            outputs: &outputs,
            targets: &targets,
            widths: (2, 2),
            units: &units,
        };
        let mut sums = vec![0.0; sums_len(&metrics, (2, 2))];
        add_rows(&metrics, rows, &mut sums);
        let bounds = sum_bounds((0.0, 1.0), &metrics, (2, 2), &units);
        assert_eq!(bounds.len(), sums.len());
        for (sum, (low, high, _)) in sums.into_iter().zip(bounds) {
            assert!((low..=high).contains(&sum), "{sum} of {low} to {high}");
            // Over the largest table and the most outputs.
            assert!((high * 2f64.powi(31) * 2f64.powi(24)).is_finite());
        }
    }

    #[test]
    fn metrics_keep_their_order_and_names() {
        let metrics = [Metric::R2, Metric::Mae];
        let sums = sums(&metrics, (2, 2), &[1.0, 2.0], &[0.0, 0.0]);
        assert_eq!(sums, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 4.0, 3.0, 1.0, 2.0]);
        let names: Vec<_> = report(&metrics, (2, 2), &sums, 1).into_iter().map(|m| m.0).collect();
        assert_eq!(names, ["loss", "r2", "mae"]);
    }

    #[test]
    fn several_targets_are_measured_one_by_one_as_well() {
        let metrics = [Metric::Mae, Metric::R2, Metric::Rmse];
        let sums = sums(&metrics, (2, 2), &[1.0, 2.0, 3.0, 2.0], &[1.0, 1.0, 3.0, 3.0]);
        let each = report_each(&metrics, (2, 2), &sums, 2);
        let wanted = [("mae", [0.0, 1.0]), ("r2", [1.0, 0.0]), ("rmse", [0.0, 1.0])];
        let wanted = wanted.iter().flat_map(|(name, v)| [(*name, 0, v[0]), (*name, 1, v[1])]);
        assert_eq!(each, wanted.collect::<Vec<_>>());
        assert_eq!(report(&metrics, (2, 2), &sums, 2)[1], ("mae", 0.5));
        // One target, or one class of several, is all there is.
        for (widths, outputs) in [((1, 1), &[1.0][..]), ((3, 1), &[0.1, 0.8, 0.1])] {
            let metrics = [Metric::Accuracy];
            let sums = super::tests::sums(&metrics, widths, outputs, &[1.0]);
            assert_eq!(report_each(&metrics, widths, &sums, 1), []);
        }
    }
}
