//! Precision, recall and F1 of classes: scikit-learn's `precision_score`, `recall_score` and `f1_score`. The part is, for each
//! class, or each output with two classes of its own: rows that are of it and predicted so, rows predicted so, rows of it.

use super::rows::{
    Bounds, COUNT, Limits, Rows, Widths, each_len, first_largest, is_class_1, is_label,
};
use super::tally::Recounted;
use super::{Measure, without_classes};
use crate::kinds::Loss;

/// Rows of one class, by what was predicted. Whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Rows of the class that were predicted to be.
    pub hits: f64,
    /// Rows predicted to be of the class.
    pub predicted: f64,
    /// Rows of the class: scikit-learn's support.
    pub actual: f64,
}

impl Counts {
    /// The share of hits among what was predicted; 0 where nothing was.
    pub fn precision(&self) -> f64 {
        share(self.hits, self.predicted)
    }

    /// The share of hits among the rows of the class; 0 where there are none.
    pub fn recall(&self) -> f64 {
        share(self.hits, self.actual)
    }

    /// The harmonic mean of precision and recall; 0 where there are neither.
    pub fn f1(&self) -> f64 {
        share(2.0 * self.hits, self.predicted + self.actual)
    }

    /// The same of all other rows.
    fn others(&self, rows: f64) -> Counts {
        let Counts { hits, predicted, actual } = *self;
        Counts {
            hits: rows - predicted - actual + hits,
            predicted: rows - predicted,
            actual: rows - actual,
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Which share.
#[derive(Clone, Copy)]
pub(super) enum Share {
    Precision,
    Recall,
    F1,
}

/// What becomes of several classes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Average {
    /// Class 1 of two; the mean over more.
    Plain,
    /// The mean over all classes, weighted with their rows.
    Weighted,
}

pub(super) struct Shares {
    pub(super) share: Share,
    pub(super) average: Average,
}

impl Shares {
    fn of(&self, counts: &Counts) -> f64 {
        match self.share {
            Share::Precision => counts.precision(),
            Share::Recall => counts.recall(),
            Share::F1 => counts.f1(),
        }
    }

    fn averaged(&self, classes: &[Counts]) -> f64 {
        let weight = |counts: &Counts| match self.average {
            Average::Plain => 1.0,
            Average::Weighted => counts.actual,
        };
        let sum: f64 = classes.iter().map(|counts| weight(counts) * self.of(counts)).sum();
        share(sum, classes.iter().map(weight).sum())
    }

    /// Of an output with two classes of its own.
    fn of_output(&self, class_1: Counts, rows: f64) -> f64 {
        match self.average {
            Average::Plain => self.of(&class_1),
            Average::Weighted => self.averaged(&[class_1.others(rows), class_1]),
        }
    }
}

impl Measure for Shares {
    fn unfit(&self, loss: Loss, _: Widths) -> Option<String> {
        without_classes(loss)
    }

    fn is_better_larger(&self) -> bool {
        true
    }

    fn len(&self, widths: Widths) -> usize {
        3 * widths.0
    }

    fn bounds(&self, limits: &Limits<'_>) -> Vec<Bounds> {
        vec![COUNT; self.len(limits.widths)]
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        if is_label(rows.widths) {
            for (row, label) in rows.labelled() {
                let predicted = first_largest(row);
                part[3 * predicted] += f64::from(predicted as f32 == label);
                part[3 * predicted + 1] += 1.0;
                if let Some(actual) = part.get_mut(3 * label as usize + 2) {
                    *actual += 1.0;
                }
            }
            return;
        }
        rows.each_pair(|output, p, y| {
            let (predicted, actual) = (is_class_1(p), is_class_1(y));
            let counts = &mut part[3 * output..][..3];
            counts[0] += f64::from(predicted && actual);
            counts[1] += f64::from(predicted);
            counts[2] += f64::from(actual);
        });
    }

    fn value(&self, widths: Widths, part: &[f64], rows: f64) -> f64 {
        let mut classes = counts(part);
        match (is_label(widths), &classes[..]) {
            (false, &[class_1]) => self.of_output(class_1, rows),
            (true, &[_, class_1]) if self.average == Average::Plain => self.of(&class_1),
            (true, _) => {
                // As scikit-learn: a class that neither is nor is predicted does not enter the mean.
                classes.retain(|counts| counts.predicted + counts.actual > 0.0);
                self.averaged(&classes)
            }
            (false, _) => self.averaged(&classes),
        }
    }

    fn each(&self, widths: Widths, part: &[f64], rows: f64) -> Vec<f64> {
        let outputs = counts(part).into_iter().take(each_len(widths));
        outputs.map(|class_1| self.of_output(class_1, rows)).collect()
    }

    fn recounted(&self) -> Option<Recounted> {
        Some(Recounted::Shares)
    }
}

/// Of each class or output, in its part.
pub(super) fn counts(part: &[f64]) -> Vec<Counts> {
    let of = |class: &[f64]| Counts { hits: class[0], predicted: class[1], actual: class[2] };
    part.chunks_exact(3).map(of).collect()
}
