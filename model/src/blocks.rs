//! Values as matrices of rows, and work on rows cut into blocks for rayon. Computes nothing itself.
//!
//! Blocks are of whole rows, and results never depend on where rows are cut.

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

pub(crate) fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("length checked")
}

pub(crate) fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("length checked")
}

/// Calls `f` for blocks of rows of `width` values, with the place of the first of them.
pub(crate) fn each_block_at(
    values: &mut [f32],
    width: usize,
    pieces: usize,
    f: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    if pieces == 1 {
        return f(0, values);
    }
    let rows = block_rows(values.len(), width, pieces);
    let blocks = values.par_chunks_mut(rows * width).enumerate();
    blocks.for_each(|(i, values)| f(i * rows, values));
}

/// Calls `f` for blocks of rows of `width` values.
pub(crate) fn each_block(
    values: &mut [f32],
    width: usize,
    pieces: usize,
    f: impl Fn(&mut [f32]) + Send + Sync,
) {
    if pieces == 1 {
        return f(values);
    }
    let rows = block_rows(values.len(), width, pieces);
    values.par_chunks_mut(rows * width).for_each(f);
}

/// Copies rows, which lie together or whose columns do, to `into`, row by row.
pub(crate) fn copy_rows(rows: ArrayView2<'_, f32>, into: &mut [f32]) {
    let width = rows.ncols();
    for (row, into) in rows.rows().into_iter().zip(into.chunks_exact_mut(width)) {
        match row.as_slice() {
            Some(row) => into.copy_from_slice(row),
            None => into.iter_mut().zip(row).for_each(|(into, &value)| *into = value),
        }
    }
}

/// The values of a row; copied to `spare` if they do not lie together.
pub(crate) fn row_of<'a>(
    rows: ArrayView2<'a, f32>,
    row: usize,
    spare: &'a mut Vec<f32>,
) -> &'a [f32] {
    let row = rows.index_axis_move(Axis(0), row);
    if let Some(values) = row.to_slice() {
        return values;
    }
    spare.clear();
    spare.extend(row);
    spare
}

/// Calls `f` for blocks of rows, the same rows of both, each of its width, and the place of the first of them.
pub(crate) fn each_pair(
    first: &mut [f32],
    second: &mut [f32],
    widths: [usize; 2],
    pieces: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    if pieces == 1 {
        return f(0, first, second);
    }
    let rows = block_rows(first.len(), widths[0], pieces);
    let [a, b] = widths.map(|width| rows * width);
    let pairs = first.par_chunks_mut(a).zip(second.par_chunks_mut(b)).enumerate();
    pairs.for_each(|(i, (a, b))| f(i * rows, a, b));
}

/// Calls `f` for blocks of rows, the same rows of both, each of its width.
pub(crate) fn each_beside(
    values: &mut [f32],
    beside: &[f32],
    widths: [usize; 2],
    pieces: usize,
    f: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    if pieces == 1 {
        return f(values, beside);
    }
    let rows = block_rows(values.len(), widths[0], pieces);
    let [a, b] = widths.map(|width| rows * width);
    values.par_chunks_mut(a).zip(beside.par_chunks(b)).for_each(|(a, b)| f(a, b));
}

fn block_rows(len: usize, width: usize, pieces: usize) -> usize {
    (len / width).div_ceil(pieces).max(1)
}
