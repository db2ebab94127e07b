//! Features that are a target under another name: whoever learns from them learns nothing else. Changes nothing.

use std::collections::{HashMap, HashSet};

use crate::error::{column_key, quote};
use crate::labels::identity;
use crate::raw::RawTable;
use crate::selection::Kind;
use crate::statistics;
use crate::summary::{FeatureSummary, TableSummary, TargetSummary};

/// Rows from which on it is no accident.
const ROWS_MIN: usize = 50;

/// A warning for each feature that has the same cell as a target in every one of these rows, or numbers that go with its labels one
/// to one; `seen` is of them, before its labels are counted.
pub(crate) fn leaks(raw: &RawTable, rows: &[u32], seen: &TableSummary) -> Vec<String> {
    if rows.len() < ROWS_MIN || seen.images {
        return Vec::new();
    }
    let places = raw.selection.places();
    let (features, targets) = places.split_at(raw.selection.features.len());
    let targets = &targets[..raw.selection.targets.len()];
    let text_of = |place: &Kind| match *place {
        Kind::Label(label) => texts(raw, rows, label),
        Kind::Number(_) => Vec::new(),
    };
    let target_texts: Vec<_> = targets.iter().map(text_of).collect();
    let mut warnings = Vec::new();
    for (at, (feature, place)) in seen.features.iter().zip(features).enumerate() {
        let likeness = |(target, other): (usize, &Kind)| match (*place, *other) {
            (Kind::Number(number), Kind::Number(other)) => {
                let is_it = may_be_same(feature, &seen.targets[target]) && {
                    let cells = statistics::cells(raw, rows, &[number, other]);
                    cells[0] == cells[1]
                };
                is_it.then_some((target, Likeness::Same))
            }
            (Kind::Label(label), Kind::Label(_)) => {
                let is_it = texts(raw, rows, label) == target_texts[target];
                is_it.then_some((target, Likeness::Same))
            }
            (Kind::Number(number), Kind::Label(_)) => {
                let texts = &target_texts[target];
                // The first rows tell nearly all columns from labels.
                let some = rows.len().min(ROWS_MIN);
                one_to_one(&numbers(raw, &rows[..some], number), &texts[..some])?;
                let found = one_to_one(&numbers(raw, rows, number), texts)?;
                may_be_labels(texts).then_some((target, found))
            }
            (Kind::Label(_), Kind::Number(_)) => None,
        };
        let found = targets.iter().enumerate().find_map(likeness);
        warnings.extend(found.map(|(target, likeness)| {
            let name = |column: usize| quote(raw.columns()[column].as_bytes());
            let (feature_name, target_name) = (
                name(raw.selection.features[at].column),
                name(raw.selection.targets[target].column),
            );
            let is_it = match likeness {
                Likeness::Same => {
                    format!("feature {feature_name} is the same as target {target_name} in every row")
                }
                Likeness::OneToOne => format!(
                    "feature {feature_name} has a number of its own for each label of target {target_name}, the same in every row"
                ),
            };
            let key = column_key(feature.name());
            format!(
                "{is_it}: nothing else will be learned; leave it out (`{key} = {{ encoder = \"ignore\" }}`)"
            )
        }));
    }
    warnings
}

/// How a feature is like a target.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Likeness {
    /// The same cells.
    Same,
    /// For each label a number of its own.
    OneToOne,
}

/// Whether rows with one number are those with one label.
fn one_to_one(numbers: &[f64], texts: &[Option<&str>]) -> Option<Likeness> {
    let (mut by_label, mut by_number) = (HashMap::new(), HashMap::new());
    let mut is_same = true;
    for (number, text) in numbers.iter().zip(texts) {
        let label = text.map(identity);
        // Both zeros are one number, and all missing cells are one.
        let bits = if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() };
        if *by_label.entry(label).or_insert(bits) != bits
            || *by_number.entry(bits).or_insert(label) != label
        {
            return None;
        }
        is_same &= match label {
            Some(label) => label.parse() == Ok(*number),
            None => number.is_nan(),
        };
    }
    Some(if is_same { Likeness::Same } else { Likeness::OneToOne })
}

/// Whether these are labels of classes, and not of which every row has another, which numbers may go with by chance.
fn may_be_labels(texts: &[Option<&str>]) -> bool {
    let labels = texts.iter().collect::<HashSet<_>>().len();
    labels > 1 && labels <= texts.len() / 2
}

fn numbers(raw: &RawTable, rows: &[u32], number: usize) -> Vec<f64> {
    statistics::cells(raw, rows, &[number]).pop().unwrap_or_default()
}

/// Whether what is known of two columns of numbers is the same, and they are not constant.
fn may_be_same(feature: &FeatureSummary, target: &TargetSummary) -> bool {
    let (FeatureSummary::Number(a), TargetSummary::Numbers(b)) = (feature, target) else {
        return false;
    };
    let of = |seen: &crate::summary::NumberSummary| (seen.min, seen.max, seen.mean, seen.missing);
    of(a) == of(b) && !a.is_constant()
}

/// The text of each row.
fn texts<'a>(raw: &'a RawTable, rows: &[u32], label: usize) -> Vec<Option<&'a str>> {
    let names = &raw.label_names[label];
    let mut texts = Vec::with_capacity(rows.len());
    raw.visit_labels(rows, label, |_, id| texts.push(names.get(id as usize).map(String::as_str)));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_go_with_labels() {
        let of = |numbers: &[f64], labels: &[&str]| {
            let texts: Vec<_> = labels.iter().map(|label| Some(*label)).collect();
            one_to_one(numbers, &texts)
        };
        assert_eq!(of(&[0.0, 1.0, -0.0], &["0", "1", "0.0"]), Some(Likeness::Same));
        assert_eq!(of(&[1.5, 2.0, 1.5], &["1.5", "2", "1.5"]), Some(Likeness::Same));
        assert_eq!(of(&[2.0, 1.0, 2.0], &["yes", "no", "yes"]), Some(Likeness::OneToOne));
        assert_eq!(of(&[1.0, 0.0, 1.0], &["0", "1", "0"]), Some(Likeness::OneToOne));
        assert_eq!(of(&[2.0, 1.0, 1.0], &["yes", "no", "yes"]), None, "a number of two labels");
        assert_eq!(of(&[2.0, 1.0, 3.0], &["yes", "no", "yes"]), None, "a label of two numbers");
        let missing = [Some("a"), None, None];
        assert_eq!(one_to_one(&[1.0, f64::NAN, f64::NAN], &missing), Some(Likeness::OneToOne));
        assert!(may_be_labels(&[Some("a"), Some("b"), Some("a"), Some("b")]));
        assert!(!may_be_labels(&[Some("a"), Some("b"), Some("c"), Some("a")]), "ids");
        assert!(!may_be_labels(&[Some("a"), Some("a")]), "one label");
    }
}
