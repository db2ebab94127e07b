//! What is counted of a table that is measured, besides loss and metrics: from it the end of a run says how well classes are told
//! apart, which threshold is best, and whether a model is better than guessing. Its sums come after those of the metrics; a
//! training step has none of them.

use super::Measure;
use super::r2::R2;
use super::rows::{Bounds, COUNT, Limits, Rows, Widths, first_largest, is_class_1};
use super::shares::{Average, Counts, Share, Shares, counts};
use super::threshold::{self, BINS, Scores, Threshold};
use crate::kinds::Loss;

/// Most classes whose confusion matrix is counted.
const MATRIX_CLASSES_MAX: usize = 20;

/// Most classes or outputs that are counted at all.
const COUNTED_MAX: usize = 1000;

/// Which counts, by what the targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// There would be too many.
    Nothing,
    /// Of numbers, as `r2` has them.
    Spread,
    /// Of few classes: rows of each class (outer) by predicted class (inner).
    Matrix,
    /// Of more classes, as `f1` has them.
    Classes,
    /// Of one output with two classes: rows in each bin of scores, those of class 0 before those of class 1.
    Scores,
    /// Of several such outputs, the matrix of each.
    Outputs,
}

/// What was counted of a target whose values are classes.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassTally {
    /// Of each class.
    pub counts: Vec<Counts>,
    /// Rows of each class (outer) by predicted class (inner); empty where there are too many classes.
    pub matrix: Vec<Vec<u64>>,
}

impl Tally {
    /// What is counted, if there is room for so many sums.
    pub(crate) fn of(loss: Loss, widths: Widths, room: usize) -> Tally {
        let outputs = widths.0;
        let tally = match loss {
            Loss::CrossEntropy { .. } if outputs <= MATRIX_CLASSES_MAX => Tally::Matrix,
            Loss::CrossEntropy { .. } => Tally::Classes,
            Loss::BinaryCrossEntropy { .. } if outputs == 1 => Tally::Scores,
            Loss::BinaryCrossEntropy { .. } => Tally::Outputs,
            Loss::Mse | Loss::Mae | Loss::Huber { .. } | Loss::Poisson | Loss::Quantile { .. } => {
                Tally::Spread
            }
        };
        let fits = outputs <= COUNTED_MAX && tally.len(widths) <= room;
        if fits { tally } else { Tally::Nothing }
    }

    /// How many sums.
    pub(crate) fn len(self, widths: Widths) -> usize {
        match self {
            Tally::Nothing => 0,
            Tally::Spread => R2.len(widths),
            Tally::Matrix => widths.0 * widths.0,
            Tally::Classes => SHARES.len(widths),
            Tally::Scores => 2 * BINS,
            Tally::Outputs => 4 * widths.0,
        }
    }

    pub(crate) fn bounds(self, limits: &Limits<'_>) -> Vec<Bounds> {
        match self {
            Tally::Spread => R2.bounds(limits),
            _ => vec![COUNT; self.len(limits.widths)],
        }
    }

    /// Adds the rows, in order.
    pub(crate) fn add(self, rows: Rows<'_>, part: &mut [f64]) {
        match self {
            Tally::Nothing => {}
            Tally::Spread => R2.add(rows, part),
            Tally::Classes => SHARES.add(rows, part),
            Tally::Matrix => {
                for (row, label) in rows.labelled() {
                    let place = rows.widths.0 * label as usize + first_largest(row);
                    // A label that is none is nobody's row.
                    if let Some(count) = part.get_mut(place) {
                        *count += 1.0;
                    }
                }
            }
            Tally::Scores => {
                for (&score, &y) in rows.outputs.iter().zip(rows.targets) {
                    let class = usize::from(is_class_1(y.into()));
                    part[BINS * class + threshold::bin(score)] += 1.0;
                }
            }
            Tally::Outputs => rows.each_pair(|output, p, y| {
                let (actual, predicted) = (usize::from(is_class_1(y)), usize::from(is_class_1(p)));
                part[4 * output + 2 * actual + predicted] += 1.0;
            }),
        }
    }

    /// Rows by score, where there is one output with two classes.
    pub(crate) fn scores(self, part: &[f64]) -> Option<Scores<'_>> {
        (self == Tally::Scores).then(|| Scores::new(part))
    }

    /// Of each target whose values are classes, at this threshold where there is one to choose; none where nothing is counted of
    /// classes.
    pub(crate) fn classes(
        self,
        widths: Widths,
        part: &[f64],
        threshold: Threshold,
    ) -> Vec<ClassTally> {
        match self {
            Tally::Nothing | Tally::Spread => Vec::new(),
            Tally::Matrix => vec![of_matrix(part, widths.0)],
            Tally::Outputs => part.chunks_exact(4).map(|matrix| of_matrix(matrix, 2)).collect(),
            Tally::Classes => {
                vec![ClassTally { counts: counts(part), matrix: Vec::new() }]
            }
            Tally::Scores => {
                let scores = Scores::new(part);
                let Counts { hits, predicted, actual } = scores.counts(threshold);
                let (false_1, false_0) = (predicted - hits, actual - hits);
                let right_0 = scores.rows() - hits - false_1 - false_0;
                vec![of_matrix(&[right_0, false_1, false_0, hits], 2)]
            }
        }
    }

    /// What is explained of the spread of targets: `r2` over those outputs whose targets differ; `None` without any.
    pub(crate) fn explained(self, part: &[f64], rows: f64) -> Option<f64> {
        if self != Tally::Spread {
            return None;
        }
        let of = |sums: &[f64]| {
            let total = sums[1] - sums[0] * (sums[0] / rows);
            // What rounding leaves of equal targets is no spread.
            (total > 1e-12 * sums[1]).then(|| 1.0 - sums[2] / total)
        };
        let known: Vec<f64> = part.chunks_exact(3).filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

const SHARES: Shares = Shares { share: Share::F1, average: Average::Plain };

/// Of rows of each class by predicted class.
fn of_matrix(cells: &[f64], classes: usize) -> ClassTally {
    let of = |class: usize| {
        let row = &cells[classes * class..][..classes];
        let column = (0..classes).map(|actual| cells[classes * actual + class]);
        Counts { hits: row[class], predicted: column.sum(), actual: row.iter().sum() }
    };
    let whole = |row: &[f64]| row.iter().map(|&rows| rows as u64).collect();
    ClassTally {
        counts: (0..classes).map(of).collect(),
        matrix: cells.chunks_exact(classes).map(whole).collect(),
    }
}

/// Puts what a threshold makes of one output with two classes in the place of what 0.5 does, in the part of a metric that
/// counts rows by predicted class; others stay as they are.
pub(super) fn at_threshold(kind: Recounted, class_1: &Counts, rows: f64, part: &mut [f64]) {
    let Counts { hits, predicted, actual } = *class_1;
    match kind {
        Recounted::Right => part[0] = rows - predicted - actual + 2.0 * hits,
        Recounted::Shares => part.copy_from_slice(&[hits, predicted, actual]),
    }
}

/// Metrics that a threshold changes.
#[derive(Clone, Copy)]
pub(super) enum Recounted {
    /// `accuracy`: rows that are predicted right.
    Right,
    /// `precision`, `recall`, `f1` and their kin.
    Shares,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 18;

    fn add(loss: Loss, widths: Widths, outputs: &[f32], targets: &[f32]) -> (Tally, Vec<f64>) {
        let tally = Tally::of(loss, widths, ROOM);
        let mut part = vec![0.0; tally.len(widths)];
        tally.add(Rows { losses: &[], outputs, targets, widths, units: &[] }, &mut part);
        let bounds = tally.bounds(&Limits { loss: (0.0, 1.0), widths, units: &[] });
        assert_eq!(bounds.len(), part.len());
        (tally, part)
    }

    #[test]
    fn classes_by_predicted_class() {
        let outputs = [0.5, 0.3, 0.2, 0.1, 0.8, 0.1, 0.2, 0.5, 0.3];
        let widths = (3, 1);
        let (tally, part) = add(Loss::CROSS_ENTROPY, widths, &outputs, &[0.0, 1.0, 2.0]);
        let [found] = &tally.classes(widths, &part, Threshold::HALF)[..] else { panic!("one") };
        assert_eq!(found.matrix, [[1, 0, 0], [0, 1, 0], [0, 1, 0]]);
        assert_eq!(found.counts[1], Counts { hits: 1.0, predicted: 2.0, actual: 1.0 });
        assert_eq!(found.counts[2], Counts { hits: 0.0, predicted: 0.0, actual: 1.0 });
        // A label that is none is left out.
        let (_, part) = add(Loss::CROSS_ENTROPY, widths, &outputs[..3], &[7.0]);
        assert_eq!(part.iter().sum::<f64>(), 0.0);
    }

    #[test]
    fn one_output_is_counted_at_any_threshold() {
        let (outputs, targets) = ([0.1, 0.3, 0.6, 0.4], [0.0, 1.0, 1.0, 0.0]);
        let (tally, part) = add(Loss::BINARY_CROSS_ENTROPY, (1, 1), &outputs, &targets);
        for (threshold, wanted) in [(0.5, [[2, 0], [1, 1]]), (0.25, [[1, 1], [0, 2]])] {
            let threshold = Threshold::try_from(threshold).unwrap();
            let found = tally.classes((1, 1), &part, threshold);
            assert_eq!(found[0].matrix, wanted);
        }
        assert_eq!(tally.scores(&part).unwrap().rows(), 4.0);
    }

    #[test]
    fn several_outputs_have_a_matrix_each() {
        let (outputs, targets) = ([0.9, 0.1, 0.2, 0.7], [1.0, 1.0, 0.0, 1.0]);
        let (tally, part) = add(Loss::BINARY_CROSS_ENTROPY, (2, 2), &outputs, &targets);
        let found = tally.classes((2, 2), &part, Threshold::HALF);
        assert_eq!(found[0].matrix, [[1, 0], [0, 1]]);
        assert_eq!(found[1].matrix, [[0, 0], [1, 1]]);
    }

    #[test]
    fn what_is_explained_of_targets_that_differ() {
        let explained = |outputs: &[f32], targets: &[f32], widths: Widths| {
            let (tally, part) = add(Loss::Mse, widths, outputs, targets);
            tally.explained(&part, (targets.len() / widths.1) as f64)
        };
        assert_eq!(explained(&[2.0, 2.0], &[1.0, 3.0], (1, 1)), Some(0.0));
        assert_eq!(explained(&[1.0, 3.0], &[1.0, 3.0], (1, 1)), Some(1.0));
        assert_eq!(explained(&[1.0, 3.0], &[3.0, 3.0], (1, 1)), None);
        assert_eq!(explained(&[1.0], &[1e30], (1, 1)), None);
        // The second output's targets are equal.
        assert_eq!(explained(&[1.0, 0.0, 3.0, 0.0], &[1.0, 5.0, 3.0, 5.0], (2, 2)), Some(1.0));
    }

    #[test]
    fn too_many_are_not_counted() {
        assert_eq!(Tally::of(Loss::CROSS_ENTROPY, (20, 1), ROOM), Tally::Matrix);
        assert_eq!(Tally::of(Loss::CROSS_ENTROPY, (21, 1), ROOM), Tally::Classes);
        assert_eq!(Tally::of(Loss::CROSS_ENTROPY, (1001, 1), ROOM), Tally::Nothing);
        assert_eq!(Tally::of(Loss::Mse, (1000, 1000), 2999), Tally::Nothing);
        assert_eq!(Tally::of(Loss::BINARY_CROSS_ENTROPY, (1, 1), 2048), Tally::Scores);
    }
}
