//! Features that are a target under another name: whoever learns from them learns nothing else. Changes nothing.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{column_key, quote};
use crate::raw::RawTable;
use crate::selection::Kind;
use crate::statistics;
use crate::summary::{Detail, FeatureSummary, NumberSummary, TableSummary, TargetSummary};

/// Rows from which on it is no accident.
const ROWS_MIN: usize = 50;

/// How much of a target's variance a straight line of a feature may leave: what writing numbers in a few digits takes.
const LINE_LEAVES_MAX: f64 = 1e-9;

/// How a feature repeats a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Both have the same cell in every row.
    Same,
    /// Each value of one goes with one value of the other.
    Renamed,
    /// One is the other times a number, plus a number, but for its last digits.
    Line,
}

impl Repeats {
    /// What the feature is, in words that the target's name may follow.
    pub fn words(self) -> &'static str {
        match self {
            Repeats::Same => "is the same as target",
            Repeats::Renamed => "has one value for each value of target",
            Repeats::Line => "lies on one straight line with target",
        }
    }
}

/// The cells of a column, row after row.
#[derive(Clone, Debug)]
pub(crate) enum Cells {
    /// NaN is a missing one.
    Numbers(Vec<f64>),
    /// Ids, and the text of each.
    Texts(Vec<u32>, Vec<String>),
}

impl Cells {
    /// A column at this place in these rows.
    pub(crate) fn of(raw: &RawTable, rows: &[u32], place: Kind) -> Cells {
        match place {
            Kind::Number(number) => {
                Cells::Numbers(statistics::cells(raw, rows, &[number]).pop().unwrap_or_default())
            }
            Kind::Label(label) => {
                let mut ids = Vec::with_capacity(rows.len());
                raw.visit_labels(rows, label, |_, id| ids.push(id));
                Cells::Texts(ids, raw.label_names[label].clone())
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Cells::Numbers(numbers) => numbers.len(),
            Cells::Texts(ids, _) => ids.len(),
        }
    }

    /// What tells a row's value from others; all missing cells are one value.
    fn key(&self, row: usize) -> u64 {
        match self {
            Cells::Numbers(numbers) if numbers[row].is_nan() => f64::NAN.to_bits(),
            Cells::Numbers(numbers) => (numbers[row] + 0.0).to_bits(),
            Cells::Texts(ids, _) => u64::from(ids[row]),
        }
    }

    /// How this feature repeats a target of the same rows, if it does.
    pub(crate) fn repeats(&self, target: &Cells) -> Option<Repeats> {
        if self.len() < ROWS_MIN {
            return None;
        }
        let is_same = match (self, target) {
            (Cells::Numbers(ours), Cells::Numbers(theirs)) => {
                let mut pairs = ours.iter().zip(theirs);
                pairs.all(|(a, b)| a == b || a.is_nan() && b.is_nan())
            }
            (Cells::Texts(ours, names), Cells::Texts(theirs, other_names)) => {
                let name = |names: &[String], id: u32| names.get(id as usize).cloned();
                let mut pairs = ours.iter().zip(theirs);
                pairs.all(|(&a, &b)| name(names, a) == name(other_names, b))
            }
            (Cells::Numbers(ours), Cells::Texts(theirs, names)) => {
                let number = |id: u32| names.get(id as usize).and_then(|name| name.parse().ok());
                ours.iter().zip(theirs).all(|(a, &b)| number(b) == Some(*a))
            }
            _ => false,
        };
        match () {
            () if is_same && !self.is_constant() => Some(Repeats::Same),
            () if self.is_renamed(target) => Some(Repeats::Renamed),
            () if self.is_line(target) => Some(Repeats::Line),
            () => None,
        }
    }

    fn is_constant(&self) -> bool {
        (1..self.len()).all(|row| self.key(row) == self.key(0))
    }

    /// Whether each value goes with one of the target's, and each of the target's with one, of at least two rows on average:
    /// among values of their own in every row there is always such a pairing.
    fn is_renamed(&self, target: &Cells) -> bool {
        let pairs = self.pairs(target);
        pairs.is_some_and(|pairs| pairs > 1 && 2 * pairs <= self.len())
    }

    /// How many values there are, if each goes with one of the target's, and each of the target's with one.
    fn pairs(&self, target: &Cells) -> Option<usize> {
        let (mut there, mut back) = (HashMap::new(), HashMap::new());
        let is_pair = |row: usize| {
            let (ours, theirs) = (self.key(row), target.key(row));
            *there.entry(ours).or_insert(theirs) == theirs
                && *back.entry(theirs).or_insert(ours) == ours
        };
        (0..self.len()).all(is_pair).then_some(there.len())
    }

    /// Whether a straight line leads from one to the other.
    fn is_line(&self, target: &Cells) -> bool {
        let (Cells::Numbers(x), Cells::Numbers(y)) = (self, target) else { return false };
        let pairs = || x.iter().zip(y).filter(|(x, y)| !x.is_nan() && !y.is_nan());
        let count = pairs().count() as f64;
        // A line through a few points of many rows with holes says nothing.
        if 2.0 * count < x.len() as f64 {
            return false;
        }
        let (sum_x, sum_y) = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (x, y) in pairs() {
            let (x, y) = (x - mean_x, y - mean_y);
            (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
        }
        xx > 0.0 && yy > 0.0 && xx * yy - xy * xy <= LINE_LEAVES_MAX * xx * yy
    }
}

/// A warning for each feature that repeats a target in these rows; `seen` is of them, before its labels are counted. Without
/// [`Detail::Full`] only those that have the same cell in every one.
pub(crate) fn leaks(
    raw: &RawTable,
    rows: &[u32],
    seen: &TableSummary,
    detail: Detail,
) -> Vec<String> {
    if rows.len() < ROWS_MIN || seen.images {
        return Vec::new();
    }
    let places = raw.selection.places();
    let (features, targets) = places.split_at(raw.selection.features.len());
    let targets = &targets[..raw.selection.targets.len()];
    let target_cells: Vec<Cells> =
        targets.iter().map(|&place| Cells::of(raw, rows, place)).collect();
    let found = |(at, (feature, &place)): (usize, (&FeatureSummary, &Kind))| {
        let may_be = |target: &usize| {
            detail == Detail::Full
                || match (place, targets[*target]) {
                    (Kind::Number(_), Kind::Number(_)) => {
                        may_be_same(feature, &seen.targets[*target])
                    }
                    (Kind::Label(_), Kind::Label(_)) => true,
                    (Kind::Number(_), Kind::Label(_)) => {
                        // The first rows tell nearly all columns from labels.
                        let of = |place| Cells::of(raw, &rows[..ROWS_MIN], place);
                        of(place).pairs(&of(targets[*target])).is_some()
                    }
                    (Kind::Label(_), Kind::Number(_)) => false,
                }
        };
        let candidates: Vec<usize> = (0..targets.len()).filter(may_be).collect();
        if candidates.is_empty() {
            return None;
        }
        let cells = Cells::of(raw, rows, place);
        let repeat = |&target: &usize| Some((target, cells.repeats(&target_cells[target])?));
        let is_number = matches!(place, Kind::Number(_));
        let is_wanted = |target: usize, repeats| {
            let is_label = matches!(targets[target], Kind::Label(_));
            detail == Detail::Full || repeats == Repeats::Same || is_number && is_label
        };
        let (target, repeats) = candidates
            .iter()
            .filter_map(repeat)
            .find(|&(target, repeats)| is_wanted(target, repeats))?;
        let name = |column: usize| quote(raw.columns()[column].as_bytes());
        Some(format!(
            "feature {} {} {} in every row: nothing else will be learned; leave it out (`{} = {{ encoder = \"ignore\" }}`)",
            name(raw.selection.features[at].column),
            repeats.words(),
            name(raw.selection.targets[target].column),
            column_key(feature.name()),
        ))
    };
    let all: Vec<_> = seen.features.iter().zip(features).enumerate().collect();
    all.into_par_iter().filter_map(found).collect()
}

/// Whether what is known of two columns of numbers is the same, and they are not constant.
fn may_be_same(feature: &FeatureSummary, target: &TargetSummary) -> bool {
    let (FeatureSummary::Number(a), TargetSummary::Numbers(b)) = (feature, target) else {
        return false;
    };
    let of = |seen: &NumberSummary| (seen.min, seen.max, seen.mean, seen.missing);
    of(a) == of(b) && !a.is_constant()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_repeats_a_target() {
        let number = |of: &dyn Fn(usize) -> f64| Cells::Numbers((0..60).map(of).collect());
        let text = |of: &dyn Fn(usize) -> u32, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Cells::Texts((0..60).map(of).collect(), names)
        };
        let price = number(&|row| (row * row % 97) as f64 + 0.25);
        let class = text(&|row| u32::from(row % 7 < 3), &["no", "yes"]);
        for (feature, target, wanted) in [
            (price.clone(), &price, Some(Repeats::Same)),
            (number(&|row| 3.0 - (row * row % 97) as f64 * 2.5), &price, Some(Repeats::Line)),
            (number(&|row| ((row * row % 97) as f64).sqrt()), &price, None),
            (number(&|row| f64::from(u8::from(row % 7 < 3))), &class, Some(Repeats::Renamed)),
            (
                number(&|row| (row % 2) as f64),
                &text(&|row| row as u32 % 2, &["0", "1"]),
                Some(Repeats::Same),
            ),
            (text(&|row| u32::from(row % 7 >= 3), &["yes", "no"]), &class, Some(Repeats::Same)),
            (text(&|row| u32::from(row % 7 >= 3), &["1", "0"]), &class, Some(Repeats::Renamed)),
            (text(&|row| row as u32 % 7, &["a"; 7]), &class, None),
            (number(&|_| 1.0), &number(&|_| 1.0), None),
            (number(&|row| row as f64), &number(&|row| (row * 31 % 60) as f64), None),
        ] {
            assert_eq!(feature.repeats(target), wanted, "{feature:?}");
        }
    }
}
