//! Features that are a target under another name: whoever learns from them learns nothing else. Changes nothing.

use crate::error::{column_key, quote};
use crate::raw::RawTable;
use crate::selection::Kind;
use crate::statistics;
use crate::summary::{FeatureSummary, TableSummary, TargetSummary};

/// Rows from which on it is no accident.
const ROWS_MIN: usize = 50;

/// A warning for each feature that has the same cell as a target in every one of these rows; `seen` is of them, before its
/// labels are counted.
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
        let is_it = |(target, other): (usize, &Kind)| match (*place, *other) {
            (Kind::Number(number), Kind::Number(other)) => {
                may_be_same(feature, &seen.targets[target]) && {
                    let cells = statistics::cells(raw, rows, &[number, other]);
                    cells[0] == cells[1]
                }
            }
            (Kind::Label(label), Kind::Label(_)) => texts(raw, rows, label) == target_texts[target],
            _ => false,
        };
        let target = targets.iter().enumerate().position(is_it);
        warnings.extend(target.map(|target| {
            let name = |column: usize| quote(raw.columns()[column].as_bytes());
            format!(
                "feature {} is the same as target {} in every row: nothing else will be learned; leave it out (`{} = {{ encoder = \
                 \"ignore\" }}`)",
                name(raw.selection.features[at].column),
                name(raw.selection.targets[target].column),
                column_key(feature.name()),
            )
        }));
    }
    warnings
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
