//! How well scores rank rows of a class before the others: scikit-learn's `roc_auc_score` and `average_precision_score`, of
//! groups of rows with equal scores. In a run a group is one of 1,024 equal bins of scores from 0 to 1, which are added up the
//! tree as counts; whoever has all scores makes groups of those that are really equal.
//!
//! The part is, for each class or output that is scored: other rows of each bin, then rows of the class.

use super::rows::{Bounds, COUNT, Limits, Rows, Widths, each_len, is_class_1, is_label};
use super::{Measure, without_classes};
use crate::kinds::Loss;

/// Bins of scores.
const BINS: usize = 1024;

/// Rows of equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    /// Rows of the class.
    pub positives: f64,
    /// Other rows.
    pub negatives: f64,
}

/// The area under the ROC curve: the share of pairs of a row of the class and another in which the former has the larger
/// score; pairs of equal scores count half. Groups come with the largest score first. NaN without pairs.
pub fn roc_auc(groups: impl IntoIterator<Item = Group>) -> f64 {
    let (mut positives, mut negatives, mut pairs) = (0.0, 0.0, 0.0);
    for group in groups {
        pairs += group.negatives * (positives + 0.5 * group.positives);
        positives += group.positives;
        negatives += group.negatives;
    }
    pairs / (positives * negatives)
}

/// Average precision: the sum over groups, the largest score first, of the recall that a group adds times the precision of all
/// rows up to it. 0 without rows of the class.
pub fn average_precision(groups: impl IntoIterator<Item = Group>) -> f64 {
    let (mut positives, mut rows, mut sum) = (0.0, 0.0, 0.0);
    for group in groups {
        positives += group.positives;
        rows += group.positives + group.negatives;
        if group.positives > 0.0 {
            sum += group.positives * (positives / rows);
        }
    }
    if positives > 0.0 { sum / positives } else { 0.0 }
}

pub(super) enum Ranking {
    RocAuc,
    AveragePrecision,
}

/// Classes or outputs that are scored: of two classes the second alone, of more each against the rest.
fn scored(widths: Widths) -> usize {
    if is_label(widths) && widths.0 == 2 { 1 } else { widths.0 }
}

fn bin(score: f32) -> usize {
    ((score * BINS as f32) as usize).min(BINS - 1)
}

impl Ranking {
    /// Of each that is scored.
    fn all(&self, part: &[f64]) -> Vec<f64> {
        let of = |bins: &[f64]| {
            let (negatives, positives) = bins.split_at(BINS);
            let pairs = positives.iter().zip(negatives).rev();
            let groups = pairs.map(|(&positives, &negatives)| Group { positives, negatives });
            match self {
                Ranking::RocAuc => roc_auc(groups),
                Ranking::AveragePrecision => average_precision(groups),
            }
        };
        part.chunks_exact(2 * BINS).map(of).collect()
    }
}

impl Measure for Ranking {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        without_classes(loss)
    }

    fn is_better_larger(&self) -> bool {
        true
    }

    fn len(&self, widths: Widths) -> usize {
        2 * BINS * scored(widths)
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        vec![COUNT; self.len(limits.widths)]
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        let mut count = |place: usize, score: f32, is_positive: bool| {
            part[2 * BINS * place + BINS * usize::from(is_positive) + bin(score)] += 1.0;
        };
        let targets = rows.widths.1;
        let first = rows.widths.0 - scored(rows.widths);
        let all = rows.outputs.chunks_exact(rows.widths.0).zip(rows.targets.chunks_exact(targets));
        for (outputs, targets) in all {
            for (place, &score) in outputs[first..].iter().enumerate() {
                let is_positive = match is_label(rows.widths) {
                    true => targets[0] == (first + place) as f32,
                    false => is_class_1(f64::from(targets[place])),
                };
                count(place, score, is_positive);
            }
        }
    }

    /// The mean over all that are scored and have a value.
    fn value(&self, _: Widths, part: &[f64], _: f64) -> f64 {
        let mut all = self.all(part);
        all.retain(|value| !value.is_nan());
        all.iter().sum::<f64>() / all.len() as f64
    }

    fn each(&self, widths: Widths, part: &[f64], _: f64) -> Vec<f64> {
        if each_len(widths) == 0 { Vec::new() } else { self.all(part) }
    }
}
