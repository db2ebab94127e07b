//! Numbers that may stand for missing cells, such as -999: far from all others, and in many rows. Reads no table.

use crate::columns::quantiles::sorted;
use crate::error::{column_key, count, quote};
use crate::raw::RawTable;
use crate::statistics;
use crate::summary::{FeatureSummary, NumberSummary, TableSummary, TargetSummary};

/// Rows, and the share of all of them, from which on a number of nines alone is one.
const NINES: (usize, f64) = (5, 0.002);

/// The same of any other number.
const OTHERS: (usize, f64) = (10, 0.01);

/// Distinct other numbers below which nothing is far from anything.
const DISTINCT_MIN: usize = 10;

/// The number that may stand for missing cells, with its rows, of cells of which NaN is a missing one.
pub(crate) fn sentinel(cells: &[f64]) -> Option<(f64, u64)> {
    let present: Vec<f64> = cells.iter().filter(|cell| !cell.is_nan()).copied().collect();
    let sorted = sorted(&present);
    let (&least, &greatest) = (sorted.first()?, sorted.last()?);
    let is_one = |value: f64| {
        let first = sorted.partition_point(|other| *other < value);
        let end = sorted.partition_point(|other| *other <= value);
        // One of them is empty: the number is the least or the greatest.
        let (below, above) = (&sorted[..first], &sorted[end..]);
        let rest = if below.is_empty() { above } else { below };
        let (min, max) = (rest.first()?, rest.last()?);
        let gap = if below.is_empty() { min - value } else { value - max };
        let (rows, share) = if is_nines(value) { NINES } else { OTHERS };
        let is_often = end - first >= rows && (end - first) as f64 >= share * sorted.len() as f64;
        let distinct = rest.chunk_by(|one, other| one == other).take(DISTINCT_MIN).count();
        let is_far = gap > max - min && distinct == DISTINCT_MIN;
        (is_far && is_often).then_some((value, (end - first) as u64))
    };
    is_one(least).or_else(|| is_one(greatest))
}

/// Whether it is written with nines alone, two at least.
fn is_nines(value: f64) -> bool {
    let digits = value.abs().to_string();
    digits.len() >= 2 && digits.bytes().all(|digit| digit == b'9')
}

/// How a number may stand in a file: pandas writes whole ones with `.0` in a column with others.
pub fn spellings(value: f64) -> Vec<String> {
    match value.fract() == 0.0 {
        true => vec![value.to_string(), format!("{value:.1}")],
        false => vec![value.to_string()],
    }
}

/// Columns of numbers in these rows one number of which may stand for missing cells, and what to do about it.
pub(crate) fn warnings(raw: &RawTable, rows: &[u32], seen: &TableSummary) -> Vec<String> {
    if seen.images {
        return Vec::new();
    }
    let features = seen.features.iter().filter_map(FeatureSummary::number);
    let targets = seen.targets.iter().filter_map(|target| match target {
        TargetSummary::Numbers(numbers) => Some(numbers),
        TargetSummary::Classes { .. } => None,
    });
    let roles = features.map(|number| ("feature", number));
    let roles = roles.chain(targets.map(|number| ("target", number)));
    let warning = |(place, (role, number)): (usize, (&str, &NumberSummary))| {
        let cells = statistics::cells(raw, rows, &[place]).pop()?;
        let (value, found) = sentinel(&cells)?;
        let spelled: Vec<String> =
            spellings(value).iter().map(|text| format!("\"{text}\"")).collect();
        let side = if value == number.min { "below" } else { "above" };
        Some(format!(
            "{role} {}: {} {value}, far {side} all others: if it stands for a missing cell, set `data.missing_values = [{}]` (which \
             replaces the default list), and say what becomes of one with `{}.missing`",
            quote(number.name.as_bytes()),
            if found == 1 {
                "1 row has".to_owned()
            } else {
                format!("{} have", count(found, "row"))
            },
            spelled.join(", "),
            column_key(&number.name),
        ))
    };
    roles.enumerate().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_far_from_all_others_and_often_there_are_found() {
        let of = |value: f64, times: usize, others: &dyn Fn(usize) -> f64| {
            let others = (0..1_000).map(others);
            let cells: Vec<f64> = others.chain(std::iter::repeat_n(value, times)).collect();
            sentinel(&cells)
        };
        let spread = |row: usize| (row % 50) as f64;
        for (value, times, wanted) in [
            (-999.0, 20, true),
            (-999.0, 5, true),
            (-999.0, 4, false),
            (9999.0, 20, true),
            (99.0, 20, true),
            (-99.0, 20, true),
            (-1.0, 200, false),
            (60.0, 200, false),
            (-500.0, 20, true),
            (-500.0, 9, false),
        ] {
            assert_eq!(
                of(value, times, &spread),
                wanted.then_some((value, times as u64)),
                "{value}"
            );
        }
        assert_eq!(of(999.0, 300, &|row| (row % 2) as f64), None);
        assert_eq!((sentinel(&[f64::NAN; 30]), sentinel(&[])), (None, None));
        let holes = |row: usize| if row.is_multiple_of(2) { row as f64 } else { f64::NAN };
        assert_eq!(of(-9999.0, 20, &holes), Some((-9999.0, 20)));
        assert_eq!(
            (spellings(-999.0), spellings(0.5)),
            (vec!["-999".to_owned(), "-999.0".to_owned()], vec!["0.5".to_owned()])
        );
    }
}
