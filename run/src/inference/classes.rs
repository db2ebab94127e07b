//! How well a model tells classes apart, from all of its outputs: counts, and ranks of outputs that are compared themselves,
//! not bins of them. Rows are only counted and sorted, so that the result depends on nothing else.

use lockstep_data::{Schema, TargetKind};
use lockstep_model::{ClassTally, Counts, Group, Network, Threshold, average_precision, roc_auc};

use super::{Compared, largest};
use crate::report::Values;
use crate::report::classes::{AtThreshold, Class, TargetClasses};
use crate::run_folder::Model;

/// Most classes of a confusion matrix: more would be as many cells as a large table has.
const MATRIX_CLASSES_MAX: usize = 1000;

/// The metrics of ranks, by their names.
const RANKS: [(&str, Rank); 2] = [
    ("roc_auc", |groups| roc_auc(groups)),
    ("average_precision", |groups| average_precision(groups)),
];

/// A rank of groups, the largest score first.
type Rank = fn(Vec<Group>) -> f64;

/// Whether a metric of this name is one of ranks.
pub(super) fn is_rank(metric: &str) -> bool {
    RANKS.iter().any(|(name, _)| *name == metric)
}

/// Of every target whose values are classes; none where targets are numbers.
pub(super) fn classes(model: &Model, compared: &Compared) -> Vec<TargetClasses> {
    let Compared { targets, outputs } = compared;
    let own = own_threshold(&model.schema, model.threshold);
    let of = |target: usize, classes: usize, pairs: &[(usize, usize)], scores: Option<usize>| {
        let thresholds = scores.map_or_else(Vec::new, |output| {
            let scored: Vec<_> = outputs.column(output).iter().copied().collect();
            let mut tried: Vec<f64> = (1..10).map(|tenths| f64::from(tenths) / 10.0).collect();
            tried.extend(own.filter(|&own| own != Threshold::HALF).map(f64::from));
            tried.sort_by(f64::total_cmp);
            tried.into_iter().map(|threshold| at_threshold(threshold, &scored, pairs)).collect()
        });
        let told = told(&model.schema, target, counted(classes, pairs), own);
        TargetClasses { thresholds, ..told }
    };
    match model.schema.kind {
        TargetKind::Numbers => Vec::new(),
        TargetKind::Classes { outputs: classes } => {
            let pair = |(row, output): (usize, ndarray::ArrayView1<'_, f32>)| {
                (targets[[row, 0]] as usize, largest(output.iter().copied()))
            };
            let pairs: Vec<_> = outputs.rows().into_iter().enumerate().map(pair).collect();
            vec![of(0, classes, &pairs, (classes == 2).then_some(1))]
        }
        TargetKind::Binary { .. } => {
            let one = |place: usize| {
                let pair = |(row, &output): (usize, &f32)| {
                    (usize::from(targets[[row, place]] > 0.5), model.class_of(output))
                };
                let pairs: Vec<_> = outputs.column(place).iter().enumerate().map(pair).collect();
                of(place, 2, &pairs, Some(place))
            };
            (0..outputs.ncols()).map(one).collect()
        }
    }
}

/// The same, but for what other thresholds would give, of a table of which these are the sums: exact counts, too. Empty where
/// there are too many classes.
pub(crate) fn classes_of_sums(
    network: &Network,
    schema: &Schema,
    sums: &[f64],
    threshold: Threshold,
) -> Vec<TargetClasses> {
    if schema.labels.is_none() {
        return Vec::new();
    }
    let own = own_threshold(schema, threshold);
    let tallies = network.class_tallies(sums, threshold).into_iter().enumerate();
    tallies.map(|(target, tally)| told(schema, target, tally, own)).collect()
}

/// The threshold, where there is one target with two classes.
fn own_threshold(schema: &Schema, threshold: Threshold) -> Option<Threshold> {
    (schema.kind == TargetKind::Binary { outputs: 1 }).then_some(threshold)
}

/// What was counted of a target, with the names of its classes.
fn told(
    schema: &Schema,
    target: usize,
    tally: ClassTally,
    threshold: Option<Threshold>,
) -> TargetClasses {
    let class = |(class, counts): (usize, Counts)| Class {
        label: schema.label(target, class).to_string(),
        precision: counts.precision(),
        recall: counts.recall(),
        f1: counts.f1(),
        support: counts.actual as u64,
    };
    let ClassTally { counts, matrix: confusion } = tally;
    let classes = counts.into_iter().enumerate().map(class).collect();
    let target = schema.targets[target].name().to_string();
    TargetClasses { target, classes, confusion, threshold, thresholds: Vec::new() }
}

/// Puts the exact ranks in the place of those from bins, where a model's metrics have any.
pub(super) fn rank(values: &mut Values, model: &Model, compared: &Compared) {
    let names = model.schema.target_names();
    for (name, rank) in RANKS {
        if !values.contains_key(name) {
            continue;
        }
        let of = |output: usize| rank(groups(scored(model, compared, output).into_iter()));
        let is_of_two = matches!(model.schema.kind, TargetKind::Classes { outputs: 2 });
        let all: Vec<f64> = (usize::from(is_of_two)..compared.outputs.ncols()).map(of).collect();
        if names.len() > 1 {
            let each = names.iter().zip(&all);
            values.extend(each.map(|(target, &value)| (format!("{name}/{target}"), value)));
        }
        let known: Vec<f64> = all.into_iter().filter(|value| !value.is_nan()).collect();
        values.insert(name.to_string(), known.iter().sum::<f64>() / known.len() as f64);
    }
}

/// Of pairs of a true and a predicted class: the counts of each class, and the rows by both.
fn counted(classes: usize, pairs: &[(usize, usize)]) -> ClassTally {
    let mut counts = vec![Counts::default(); classes];
    let side = if classes <= MATRIX_CLASSES_MAX { classes } else { 0 };
    let mut matrix = vec![vec![0; side]; side];
    for &(actual, predicted) in pairs {
        counts[actual].actual += 1.0;
        counts[predicted].predicted += 1.0;
        counts[actual].hits += f64::from(actual == predicted);
        if side > 0 {
            matrix[actual][predicted] += 1;
        }
    }
    ClassTally { counts, matrix }
}

fn at_threshold(threshold: f64, scores: &[f32], pairs: &[(usize, usize)]) -> AtThreshold {
    let mut counts = Counts::default();
    for (&score, &(actual, _)) in scores.iter().zip(pairs) {
        let (is_predicted, is_actual) = (score > threshold as f32, actual == 1);
        counts.hits += f64::from(is_predicted && is_actual);
        counts.predicted += f64::from(is_predicted);
        counts.actual += f64::from(is_actual);
    }
    let (precision, recall, f1) = (counts.precision(), counts.recall(), counts.f1());
    AtThreshold { threshold, precision, recall, f1 }
}

/// The scores of an output for a class, and whether each row is of it.
pub(super) fn scored(model: &Model, compared: &Compared, output: usize) -> Vec<(f32, bool)> {
    let Compared { targets, outputs } = compared;
    let is_of_it = |row| match model.schema.kind {
        TargetKind::Classes { .. } => targets[[row, 0]] as usize == output,
        _ => targets[[row, output]] > 0.5,
    };
    let scores = outputs.column(output).into_iter().enumerate();
    scores.map(|(row, &score)| (score, is_of_it(row))).collect()
}

/// Rows of equal scores, the largest first.
pub(super) fn groups(scores: impl Iterator<Item = (f32, bool)>) -> Vec<Group> {
    let mut scores: Vec<_> = scores.collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let group = |rows: &[(f32, bool)]| {
        let positives = rows.iter().filter(|row| row.1).count();
        Group { positives: positives as f64, negatives: (rows.len() - positives) as f64 }
    };
    scores.chunk_by(|a, b| a.0 == b.0).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two scores in one of the run's 1,024 bins: ranked in a run as equal, here as they are. Equal ones count half.
    #[test]
    fn ranks_are_of_the_scores_themselves() {
        let of = |scores: &[(f32, bool)]| groups(scores.iter().copied());
        let scores = [(0.5001, false), (0.5002, true), (0.1, false), (0.9, true)];
        assert_eq!(roc_auc(of(&scores)), 1.0);
        assert_eq!(average_precision(of(&scores)), 1.0);
        let equal = [(0.5, false), (0.5, true)];
        assert_eq!((roc_auc(of(&equal)), average_precision(of(&equal))), (0.5, 0.5));
    }

    #[test]
    fn rows_by_true_and_predicted_class() {
        let ClassTally { counts, matrix } = counted(3, &[(0, 0), (0, 1), (2, 2), (1, 2)]);
        assert_eq!(matrix, [[1, 1, 0], [0, 0, 1], [0, 0, 1]]);
        assert_eq!(counts[2], Counts { hits: 1.0, predicted: 2.0, actual: 1.0 });
        let counted = at_threshold(0.3, &[0.2, 0.4, 0.3, 0.9], &[(1, 0), (0, 0), (1, 0), (1, 1)]);
        assert_eq!((counted.precision, counted.recall), (0.5, 1.0 / 3.0));
    }
}
