//! Values as matrices of rows, and work on rows cut into blocks for rayon. Computes nothing itself.
//!
//! Blocks are of whole rows, and results never depend on where rows are cut.

use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

pub(crate) fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("length checked")
}

pub(crate) fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("length checked")
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
    values.par_chunks_mut(block_len(values.len(), width, pieces)).for_each(f);
}

/// Calls `f` for blocks of rows of `width` values, the same rows of both, and the place of the first of them.
pub(crate) fn each_pair(
    first: &mut [f32],
    second: &mut [f32],
    width: usize,
    pieces: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    if pieces == 1 {
        return f(0, first, second);
    }
    let len = block_len(first.len(), width, pieces);
    let pairs = first.par_chunks_mut(len).zip(second.par_chunks_mut(len)).enumerate();
    pairs.for_each(|(i, (a, b))| f(i * len / width, a, b));
}

/// Calls `f` for blocks of rows of `width` values, the same rows of both.
pub(crate) fn each_beside(
    values: &mut [f32],
    beside: &[f32],
    width: usize,
    pieces: usize,
    f: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    if pieces == 1 {
        return f(values, beside);
    }
    let len = block_len(values.len(), width, pieces);
    values.par_chunks_mut(len).zip(beside.par_chunks(len)).for_each(|(a, b)| f(a, b));
}

fn block_len(len: usize, width: usize, pieces: usize) -> usize {
    (len / width).div_ceil(pieces).max(1) * width
}
