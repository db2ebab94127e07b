//! Sums over the columns of a raw table: f64, row after row in the file's order, each column by itself. Columns are
//! looked at in parallel, which changes no sum. Knows nothing of what is done with them.

use rayon::prelude::*;

use crate::raw::RawTable;
use crate::schema::Scaling;

/// What a column of numbers holds in some rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    /// NaN, like `max` and `mean`, if every cell is missing.
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    pub(crate) missing: u64,
}

/// Range and mean of every column of numbers.
pub(crate) fn ranges(raw: &RawTable, rows: &[u32]) -> Vec<Range> {
    let nothing = Range { min: f64::INFINITY, max: f64::NEG_INFINITY, mean: 0.0, missing: 0 };
    let mut ranges = vec![nothing; raw.selection.number_width()];
    each_column(raw, rows, &mut ranges, |_, range, value| {
        if value.is_nan() {
            range.missing += 1;
            return;
        }
        range.min = range.min.min(value);
        range.max = range.max.max(value);
        range.mean += value;
    });
    for range in &mut ranges {
        let present = rows.len() as u64 - range.missing;
        range.mean /= present as f64;
        if present == 0 {
            (range.min, range.max) = (f64::NAN, f64::NAN);
        }
    }
    ranges
}

/// Mean of `term` over the rows, for each of the first `columns` columns.
pub(crate) fn means(
    raw: &RawTable,
    rows: &[u32],
    columns: usize,
    term: impl Fn(usize, f64) -> f64 + Sync,
) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    each_column(raw, rows, &mut sums, |column, sum, value| *sum += term(column, value));
    sums.into_iter().map(|sum| sum / rows.len() as f64).collect()
}

/// How many distinct values a column has, and how many of them are left after scaling and rounding to f32.
pub(crate) fn distinct(
    raw: &RawTable,
    rows: &[u32],
    column: usize,
    scaling: Option<Scaling>,
) -> (u64, u64) {
    let mut values = Vec::new();
    raw.visit_column(rows, column, |column, places| {
        // Both zeros are one value.
        let keep = |value: f64| values.extend((!value.is_nan()).then_some(value + 0.0));
        places.each(column, keep);
    });
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let rounded = |value: f64| scaling.map_or(value as f32, |scaling| scaling.apply(value)) + 0.0;
    let mut kept = u64::from(!values.is_empty());
    // Scaling and rounding keep the order, so equal ones stand together.
    kept += values.windows(2).filter(|pair| rounded(pair[0]) != rounded(pair[1])).count() as u64;
    (values.len() as u64, kept)
}

fn each_column<T: Send>(
    raw: &RawTable,
    rows: &[u32],
    columns: &mut [T],
    see: impl Fn(usize, &mut T, f64) + Sync,
) {
    raw.visit(rows, |block, places| {
        columns.par_iter_mut().enumerate().for_each(|(column, into)| {
            places.each(block.number(column), |value| see(column, into, value));
        });
    });
}
