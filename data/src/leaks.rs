//! Features that are a target under another name, or nearly: whoever learns from them learns nothing else. Changes nothing.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{column_key, count, quote};
use crate::raw::RawTable;
use crate::selection::Kind;
use crate::statistics;
use crate::summary::{Detail, FeatureSummary, NumberSummary, TableSummary, TargetSummary};

/// Rows from which on it is no accident.
const ROWS_MIN: usize = 50;

/// How much of a target's variance a straight line of a feature may leave: what writing numbers in a few digits takes.
const LINE_LEAVES_MAX: f64 = 1e-9;

/// How much of a target's variance a straight line of a feature may leave where it nearly gives the target away: what rounding
/// it to a sixth of its deviation leaves. The best feature of an honest table leaves far more.
const NEAR_LINE_LEAVES_MAX: f64 = 0.003;

/// Of the rows whose class a guess of the most frequent one gets wrong, how many a feature's values may get wrong where they
/// nearly give the class away.
const EXCEPTIONS_MAX: f64 = 0.01;

/// Rows whose class is not the most frequent one, at least: to tell fewer apart may be an accident.
const OTHER_CLASSES_MIN: usize = 20;

/// Most values of a target that are taken for classes here.
const CLASSES_MAX: usize = 100;

/// Rows of each value, on average, from which on what it goes with is no accident.
const ROWS_PER_VALUE_MIN: usize = 10;

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

/// How a feature nearly gives a target away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hint {
    /// A straight line of it leaves this share of the target's variance.
    Line(f64),
    /// Each of its values goes with one class, but for so many of so many rows.
    Classes(u64, u64),
}

impl Hint {
    /// What the feature does, in words, with the target's name.
    pub fn words(self, target: &str) -> String {
        match self {
            Hint::Line(left) => {
                let left = format!("{:.2}", 100.0 * left);
                let left = if left == "0.00" { "less than 0.01".to_owned() } else { left };
                format!(
                    "nearly gives target {target} away: a straight line of it leaves {left}% of the target's variance"
                )
            }
            Hint::Classes(0, _) => {
                format!(
                    "gives target {target} away: every value of it goes with one value of the target"
                )
            }
            Hint::Classes(exceptions, rows) => format!(
                "nearly gives target {target} away: each of its values goes with one of the target's, but for {exceptions} of \
                 {}",
                count(rows, "row")
            ),
        }
    }
}

/// What to do about a [`Hint`].
pub const HINT_ADVICE: &str = "if it is not known when the model is used";

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

    /// How this feature nearly gives a target of the same rows away, if it does.
    pub(crate) fn hints_at(&self, target: &Cells) -> Option<Hint> {
        if self.len() < ROWS_MIN {
            return None;
        }
        let line = self.line_leaves(target).filter(|left| *left <= NEAR_LINE_LEAVES_MAX);
        line.map(Hint::Line).or_else(|| {
            let exceptions = self.exceptions(target)?;
            Some(Hint::Classes(exceptions as u64, self.len() as u64))
        })
    }

    /// Rows in which the target is not what it mostly is where this feature has the same value, if they are few.
    fn exceptions(&self, target: &Cells) -> Option<usize> {
        let values_max = self.len() / ROWS_PER_VALUE_MIN;
        let (mut values, mut classes, mut both) = (HashMap::new(), HashMap::new(), HashMap::new());
        for row in 0..self.len() {
            let (value, class) = (self.key(row), target.key(row));
            *values.entry(value).or_insert(0_usize) += 1;
            *classes.entry(class).or_insert(0_usize) += 1;
            *both.entry((value, class)).or_insert(0_usize) += 1;
            if values.len() > values_max || classes.len() > values_max.min(CLASSES_MAX) {
                return None;
            }
        }
        let mut most: HashMap<u64, usize> = HashMap::new();
        for (&(value, _), &rows) in &both {
            let most = most.entry(value).or_default();
            *most = rows.max(*most);
        }
        let others = self.len() - classes.values().max().copied().unwrap_or_default();
        let exceptions = self.len() - most.values().sum::<usize>();
        let are_few = exceptions as f64 <= EXCEPTIONS_MAX * others as f64;
        (others >= OTHER_CLASSES_MIN && are_few).then_some(exceptions)
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
        self.line_leaves(target).is_some_and(|left| left <= LINE_LEAVES_MAX)
    }

    /// The share of the target's variance that the best straight line of this feature leaves; none where neither varies, or most
    /// rows lack one of the two.
    fn line_leaves(&self, target: &Cells) -> Option<f64> {
        let (Cells::Numbers(x), Cells::Numbers(y)) = (self, target) else { return None };
        let pairs = || x.iter().zip(y).filter(|(x, y)| !x.is_nan() && !y.is_nan());
        let count = pairs().count() as f64;
        // A line through a few points of many rows with holes says nothing.
        if 2.0 * count < x.len() as f64 {
            return None;
        }
        let (sum_x, sum_y) = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for (x, y) in pairs() {
            let (x, y) = (x - mean_x, y - mean_y);
            (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
        }
        let left = (xx * yy - xy * xy) / (xx * yy);
        // Too large to be squared, or constant.
        left.is_finite().then(|| left.max(0.0))
    }
}

/// A warning for each feature that repeats a target in these rows, or nearly gives it away; `seen` is of them, before its
/// labels are counted. Without [`Detail::Full`] only those that have the same cell in every one.
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
        let name = |column: usize| quote(raw.columns()[column].as_bytes());
        let found = candidates.iter().filter_map(repeat);
        let mut found = found.filter(|&(target, repeats)| is_wanted(target, repeats));
        let Some((target, repeats)) = found.next() else {
            let hint = |&target: &usize| Some((target, cells.hints_at(&target_cells[target])?));
            let mut hints = candidates.iter().filter(|_| detail == Detail::Full);
            let (target, hint) = hints.find_map(hint)?;
            return Some(format!(
                "feature {} {}: {HINT_ADVICE}, leave it out (`{} = {{ encoder = \"ignore\" }}`)",
                name(raw.selection.features[at].column),
                hint.words(&name(raw.selection.targets[target].column)),
                column_key(feature.name()),
            ));
        };
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

    #[test]
    fn a_feature_that_nearly_gives_a_target_away() {
        let number = |of: &dyn Fn(usize) -> f64| Cells::Numbers((0..1_000).map(of).collect());
        let text = |of: &dyn Fn(usize) -> u32| {
            let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
            Cells::Texts((0..1_000).map(of).collect(), names)
        };
        let noise = |row: usize| ((row as f64 + 1.0) * 12.9898).sin() * 43_758.547 % 1.0;
        let price = number(&|row| 10_000.0 * noise(row));
        let is_odd = |row: usize| u32::from(noise(row) > 0.3);
        let class = text(&is_odd);
        let with = |exceptions: usize| {
            text(&move |row| if row < exceptions { 1 - is_odd(row) } else { 2 + is_odd(row) % 2 })
        };
        let line = |cells: &Cells| matches!(cells.hints_at(&price), Some(Hint::Line(_)));
        assert!(line(&number(&|row| (100.0 * noise(row)).round())));
        assert!(line(&number(&|row| 3.0 - 0.5 * noise(row) + 0.01 * noise(row + 7))));
        assert!(!line(&number(&|row| noise(row) + 0.1 * noise(row + 7))));
        assert!(!line(&number(&|_| 1.0)));
        assert_eq!(with(0).hints_at(&class), Some(Hint::Classes(0, 1_000)));
        assert_eq!(with(1).hints_at(&class), Some(Hint::Classes(0, 1_000)));
        assert_eq!(text(&|row| (row % 4) as u32).hints_at(&class), None);
        // Some rows have the other class's value.
        let mixed =
            |odd: usize| text(&move |row| if row < odd { 1 - is_odd(row) } else { is_odd(row) });
        assert_eq!(mixed(2).hints_at(&class), Some(Hint::Classes(2, 1_000)));
        assert_eq!(mixed(30).hints_at(&class), None);
        // Values of their own say nothing.
        assert_eq!(number(&|row| row as f64).hints_at(&class), None);
    }
}
