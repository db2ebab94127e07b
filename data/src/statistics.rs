//! Sums over the columns of a raw table: f64, row after row in the file's order, each column by itself. Columns are
//! looked at in parallel, which changes no sum. Knows nothing of what is done with them.

use rayon::prelude::*;

use crate::columns::Column;
use crate::raw::RawTable;

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

/// The cells of some columns of numbers, each column's row after row; NaN is a missing one.
pub(crate) fn cells(raw: &RawTable, rows: &[u32], columns: &[usize]) -> Vec<Vec<f64>> {
    if columns.is_empty() {
        return Vec::new();
    }
    let mut cells: Vec<Vec<f64>> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    raw.visit_columns(rows, columns, |block, numbers, places| {
        cells.par_iter_mut().zip(numbers).for_each(|(cells, &number)| {
            places.each(block.number(number), |cell| cells.push(cell));
        });
    });
    cells
}

/// How many distinct cells a column has, and how many are left of them as the network sees them: encoded, and rounded to
/// f32.
pub(crate) fn distinct(raw: &RawTable, rows: &[u32], number: usize, column: &Column) -> (u64, u64) {
    let mut values = cells(raw, rows, &[number]).pop().unwrap_or_default();
    values.retain(|value| !value.is_nan());
    // Both zeros are one value.
    values.iter_mut().for_each(|value| *value += 0.0);
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let mut encoded = Vec::new();
    column.encode(&values, &mut Vec::new(), &mut encoded);
    let differ = |at: &usize| {
        let mut outputs = encoded.chunks_exact(values.len());
        outputs.any(|output| output[*at] as f32 != output[at - 1] as f32)
    };
    // Encoders keep an order, so equal ones stand together.
    let kept = u64::from(!values.is_empty()) + (1..values.len()).filter(differ).count() as u64;
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
