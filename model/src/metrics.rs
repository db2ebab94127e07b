//! Loss and metric sums: what is added for each row, and what the sums mean at the end. Formulas are Keras'.
//!
//! A vector of sums is `[loss, then each metric's part]`. With several targets a part is the sum over all of them, then
//! that of each. All arithmetic is `f64`, rows strictly in order.

use crate::kinds::Metric;

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
) -> Vec<(f64, f64, bool)> {
    let largest = f64::from(f32::MAX);
    let error = 2.0 * largest;
    let mut bounds = vec![(loss.0, loss.1, false)];
    for &metric in metrics {
        let (term, is_whole) = match metric {
            Metric::Mse | Metric::Rmse | Metric::R2 => (error * error, false),
            Metric::Mae => (error, false),
            Metric::Accuracy => (1.0, true),
        };
        match metric {
            Metric::Mse | Metric::Rmse | Metric::Mae | Metric::Accuracy => {
                bounds.push((0.0, widths.1 as f64 * term, is_whole));
                bounds.extend(std::iter::repeat_n((0.0, term, is_whole), each_len(widths)));
            }
            Metric::R2 => {
                let of_output = [
                    (-largest, largest, false),
                    (0.0, largest * largest, false),
                    (0.0, term, false),
                ];
                bounds.extend(std::iter::repeat_n(of_output, widths.0).flatten());
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
    let pairs =
        || rows.outputs.iter().zip(rows.targets).map(|(&p, &y)| (f64::from(p), f64::from(y)));
    let term = |(p, y): (f64, f64)| match metric {
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
            pairs().for_each(|pair| *all += term(pair));
            if !each.is_empty() {
                pairs().enumerate().for_each(|(i, pair)| each[i % width] += term(pair));
            }
        }
        Metric::R2 => {
            for (i, (p, y)) in pairs().enumerate() {
                let sums = &mut part[3 * (i % width)..][..3];
                sums[0] += y;
                sums[1] += y * y;
                sums[2] += term((p, y));
            }
        }
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
        add_rows(metrics, Rows { losses: &losses, outputs, targets, widths }, &mut sums);
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
        let bounds = sum_bounds((0.0, f64::from(f32::MAX)), &metrics, (2, 2));
        assert_eq!(bounds.len(), sums.len());
        for (sum, (low, high, is_whole)) in sums.into_iter().zip(bounds) {
            assert!((2.0 * low..=2.0 * high).contains(&sum) && (!is_whole || sum.fract() == 0.0));
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
