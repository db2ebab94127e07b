//! Loss and metric sums: what is added for each row, and what the sums mean at the end. One file for each family of metrics,
//! behind one trait; `measure` lists them.
//!
//! A vector of sums is `[loss, then each metric's part]`, and of a table that is measured what `tally` counts of it after that.
//! All arithmetic is `f64`, rows strictly in order.
//!
//! Where targets are scaled, the loss is that of the scaled values, and every metric that of the values in the target's own
//! unit.

mod accuracy;
mod errors;
mod log_loss;
mod r2;
mod ranking;
mod rows;
mod shares;
mod tally;
#[cfg(test)]
mod tests;
mod threshold;
mod top_k;

pub use ranking::{Group, average_precision, roc_auc};
pub(crate) use rows::{Limits, Rows, Widths};
pub use shares::Counts;
pub use tally::ClassTally;
pub(crate) use tally::Tally;
pub use threshold::{Scores, Threshold};

use rows::Bounds;
use tally::Recounted;

use crate::error::SpecError;
use crate::kinds::{Loss, Metric};

/// One metric: the sums that it needs, and what they mean.
trait Measure {
    /// Why it cannot be measured with this loss and these outputs, and what to do.
    fn unfit(&self, loss: Loss, widths: Widths) -> Option<String>;

    /// Whether larger values are better, as of a score; of an error smaller ones are.
    fn is_better_larger(&self) -> bool;

    /// How many sums it needs.
    fn len(&self, widths: Widths) -> usize;

    /// What each sum can be, a row.
    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds>;

    /// Adds the rows to its sums, in order.
    fn add(&self, rows: Rows<'_>, part: &mut [f64]);

    /// What its sums over so many rows mean.
    fn value(&self, widths: Widths, part: &[f64], rows: f64) -> f64;

    /// The same of each target, where there are several; empty where there is one, or it is not told apart.
    fn each(&self, widths: Widths, part: &[f64], rows: f64) -> Vec<f64>;

    /// How another threshold than 0.5 changes its sums over one output with two classes, if it does.
    fn recounted(&self) -> Option<Recounted> {
        None
    }
}

/// The list of metrics.
fn measure(metric: Metric) -> Box<dyn Measure> {
    use shares::{Average, Share, Shares};
    let shares = |share, average| Box::new(Shares { share, average });
    match metric {
        Metric::Mse => Box::new(errors::Errors::Squared),
        Metric::Rmse => Box::new(errors::Errors::RootSquared),
        Metric::Mae => Box::new(errors::Errors::Absolute),
        Metric::Mape => Box::new(errors::Errors::Percentage),
        Metric::R2 => Box::new(r2::R2),
        Metric::Accuracy => Box::new(accuracy::Accuracy),
        Metric::TopKAccuracy { k } => Box::new(top_k::TopK { k }),
        Metric::Precision => shares(Share::Precision, Average::Plain),
        Metric::PrecisionWeighted => shares(Share::Precision, Average::Weighted),
        Metric::Recall => shares(Share::Recall, Average::Plain),
        Metric::RecallWeighted => shares(Share::Recall, Average::Weighted),
        Metric::F1 => shares(Share::F1, Average::Plain),
        Metric::F1Weighted => shares(Share::F1, Average::Weighted),
        Metric::RocAuc => Box::new(ranking::Ranking::RocAuc),
        Metric::AveragePrecision => Box::new(ranking::Ranking::AveragePrecision),
        Metric::LogLoss => Box::new(log_loss::LogLoss),
    }
}

impl Metric {
    /// Whether larger values are better, as of a score; of an error smaller ones are.
    pub fn is_better_larger(self) -> bool {
        measure(self).is_better_larger()
    }
}

/// That every metric can be measured with this loss, and is named once.
///
/// # Errors
/// Which cannot, why, and what to do.
pub(crate) fn check(loss: Loss, metrics: &[Metric], widths: Widths) -> Result<(), SpecError> {
    for (place, metric) in metrics.iter().enumerate() {
        // Of one name there is one value, whatever the parameters.
        if metrics[..place].iter().any(|before| before.name() == metric.name()) {
            return Err(SpecError::MetricTwice { metric: metric.name() });
        }
        if let Some(wanted) = measure(*metric).unfit(loss, widths) {
            return Err(SpecError::MetricUnfit {
                metric: metric.name(),
                loss: loss.name(),
                wanted,
            });
        }
    }
    Ok(())
}

/// How many sums a metric needs.
pub(crate) fn part_len(metric: Metric, widths: Widths) -> usize {
    measure(metric).len(widths)
}

pub(crate) fn sums_len(metrics: &[Metric], widths: Widths) -> usize {
    1 + metrics.iter().map(|&metric| part_len(metric, widths)).sum::<usize>()
}

/// What each sum can be, a row: the least and the most that it adds, and whether that is a whole number. Rows whose loss is not
/// finite are told otherwise.
pub(crate) fn sum_bounds(metrics: &[Metric], limits: &Limits<'_>) -> Vec<(f64, f64, bool)> {
    let (low, high) = limits.loss;
    let mut bounds = vec![(low, high, false)];
    bounds.extend(metrics.iter().flat_map(|&metric| measure(metric).bounds(limits)));
    bounds
}

/// Adds the rows to the sums, in order.
pub(crate) fn add_rows(metrics: &[Metric], rows: Rows<'_>, sums: &mut [f64]) {
    for &loss in rows.losses {
        sums[0] += f64::from(loss);
    }
    let mut rest = &mut sums[1..];
    for &metric in metrics {
        let measure = measure(metric);
        let (part, after) = rest.split_at_mut(measure.len(rows.widths));
        measure.add(rows, part);
        rest = after;
    }
}

pub(crate) fn report(
    metrics: &[Metric],
    widths: Widths,
    sums: &[f64],
    rows: u64,
) -> Vec<(&'static str, f64)> {
    assert_eq!(sums.len(), sums_len(metrics, widths), "sums of another network");
    let rows = rows as f64;
    let of = |(metric, part): (Metric, &[f64])| {
        (metric.name(), measure(metric).value(widths, part, rows))
    };
    let loss = ("loss", sums[0] / rows);
    std::iter::once(loss).chain(parts(metrics, widths, sums).map(of)).collect()
}

/// Puts what a threshold makes of one output with two classes, `class_1` of so many rows, in the place of what 0.5 does.
pub(crate) fn at_threshold(metrics: &[Metric], class_1: &Counts, rows: f64, sums: &mut [f64]) {
    let mut rest = &mut sums[1..];
    for &metric in metrics {
        let (part, after) = rest.split_at_mut(part_len(metric, (1, 1)));
        if let Some(kind) = measure(metric).recounted() {
            tally::at_threshold(kind, class_1, rows, part);
        }
        rest = after;
    }
}

/// What the sums say of each target, where there are several: metric, target, value.
pub(crate) fn report_each(
    metrics: &[Metric],
    widths: Widths,
    sums: &[f64],
    rows: u64,
) -> Vec<(&'static str, usize, f64)> {
    assert_eq!(sums.len(), sums_len(metrics, widths), "sums of another network");
    let of = |(metric, part): (Metric, &[f64])| {
        let each = measure(metric).each(widths, part, rows as f64);
        let name = metric.name();
        each.into_iter().enumerate().map(move |(target, value)| (name, target, value))
    };
    parts(metrics, widths, sums).flat_map(of).collect()
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

/// What is wanted of metrics of classes, where the loss is another's.
fn without_classes(loss: Loss) -> Option<String> {
    let has_classes = loss.is_of_labels();
    (!has_classes).then(|| "it needs cross_entropy or binary_cross_entropy".to_string())
}
