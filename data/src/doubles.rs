//! Rows that are in a table to learn from and in one to measure on: what is measured of them is what was learned by heart.
//! Changes nothing.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher as _};

use lockstep_proto::ids::Table;

use crate::error::count;
use crate::rows::Rows;

/// The share of a measured table's rows that may be in the training table without a word: where columns have few values, some
/// always are.
const SHARE_MAX: f64 = 0.5;

/// A warning for each table of which too many rows are in the training table as well, features and targets alike.
pub(crate) fn warnings(train: &Rows, others: [(Table, &Option<Rows>); 2]) -> Vec<String> {
    let others: Vec<(Table, &Rows)> =
        others.into_iter().filter_map(|(table, rows)| Some((table, rows.as_ref()?))).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let known: HashSet<u64> = (0..train.len()).map(|row| key(train, row)).collect();
    let warning = |(table, rows): (Table, &Rows)| {
        let doubled = (0..rows.len()).filter(|&row| known.contains(&key(rows, row))).count();
        (doubled as f64 > SHARE_MAX * rows.len() as f64).then(|| {
            format!(
                "{table} table: {} of {} are in the training table, too, targets included: what is measured there says little of \
                 new rows; take doubled rows out before they are split",
                doubled,
                count(rows.len() as u64, "row")
            )
        })
    };
    others.into_iter().filter_map(warning).collect()
}

/// A hash of a row, its weight left out.
fn key(rows: &Rows, row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    let values = &rows.row(row)[..rows.features + rows.targets];
    values.iter().for_each(|value| hasher.write_u32((value + 0.0).to_bits()));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_tables_are_counted() {
        let rows = |from: u16, to: u16| {
            let row = |row| [f32::from(row), f32::from(row % 7)];
            Some(Rows::new(1, 1, (from..to).flat_map(row).collect()))
        };
        let train = rows(0, 100).map(|rows| rows.weighted(&[2.0; 100])).unwrap();
        let found = |validation, test| {
            warnings(&train, [(Table::Validation, &validation), (Table::Test, &test)])
        };
        assert_eq!(found(rows(90, 110), None), Vec::<String>::new());
        let warned = found(rows(89, 109), rows(50, 60));
        assert!(warned[0].starts_with("validation table: 11 of 20 rows are in"), "{warned:?}");
        assert!(warned[1].starts_with("test table: 10 of 10 rows are in"), "{warned:?}");
    }
}
