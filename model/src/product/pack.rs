//! Copies of operands in the order in which a block reads them: panels, padded with 0.
//!
//! A left panel has `R` rows of its matrix, a right panel `V` vectors' worth of columns; both lie place by place along
//! the chain.

use ndarray::{ArrayView2, Axis};
use pulp::Simd;

use super::prefetch::prefetch;
use super::transpose::{TILE, transpose};

/// Rows that are asked for before they are packed.
const ROWS_AHEAD: usize = 8;

/// Left panels that are written at a time. Those of a power of two places begin in one set of the nearest cache.
const PANELS: usize = 8;

/// Values of a cache line.
const LINE: usize = 16;

/// Rows of `a` as panels of `R` rows, `a.ncols()` places each.
#[inline(always)]
pub(crate) fn left<S: Simd, const R: usize>(
    simd: S,
    a: ArrayView2<'_, f32>,
    panels: &mut [[f32; R]],
) {
    let places = a.ncols();
    if a.strides()[1] == 1 || places == 1 {
        let panels = panels.chunks_exact_mut(places);
        for (rows, panel) in a.axis_chunks_iter(Axis(0), R).zip(panels) {
            turn(simd, rows, R, panel.as_flattened_mut());
        }
        return;
    }
    if !a.nrows().is_multiple_of(R) {
        let last = panels.len() - places;
        panels[last..].fill([0.0; R]);
    }
    let panels = panels.chunks_mut(PANELS * places);
    for (rows, panels) in a.axis_chunks_iter(Axis(0), PANELS * R).zip(panels) {
        for (place, column) in rows.columns().into_iter().enumerate() {
            let column = column.to_slice().expect("rows are next to each other");
            let (blocks, rest) = column.as_chunks::<R>();
            for (panel, block) in blocks.iter().enumerate() {
                panels[panel * places + place] = *block;
            }
            if !rest.is_empty() {
                panels[blocks.len() * places + place][..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

/// Columns of `b` as panels of `V` vectors, `b.nrows()` places each.
#[inline(always)]
pub(crate) fn right<S: Simd, const V: usize>(
    simd: S,
    b: ArrayView2<'_, f32>,
    panels: &mut [[S::f32s; V]],
) {
    let places = b.nrows();
    let width = V * S::F32_LANES;
    if b.strides()[1] != 1 && b.ncols() > 1 {
        let panels = panels.chunks_exact_mut(places);
        for (columns, panel) in b.axis_chunks_iter(Axis(1), width).zip(panels) {
            let panel = pulp::bytemuck::cast_slice_mut(panel.as_flattened_mut());
            turn(simd, columns.reversed_axes(), width, panel);
        }
        return;
    }
    if !b.ncols().is_multiple_of(width) {
        let last = panels.len() - places;
        pulp::bytemuck::fill_zeroes(panels[last..].as_flattened_mut());
    }
    let ahead = ROWS_AHEAD * b.strides()[0].unsigned_abs();
    for (place, row) in b.rows().into_iter().enumerate() {
        let row = row.to_slice().expect("columns are next to each other");
        for line in (0..row.len()).step_by(LINE) {
            prefetch(row, line + ahead);
        }
        let (vectors, _) = S::as_simd_f32s(row);
        let (blocks, _) = vectors.as_chunks::<V>();
        for (panel, block) in blocks.iter().enumerate() {
            panels[panel * places + place] = *block;
        }
        let rest = &row[blocks.len() * width..];
        if !rest.is_empty() {
            let panel = &mut panels[blocks.len() * places + place];
            let panel: &mut [f32] = pulp::bytemuck::cast_slice_mut(panel);
            panel[..rest.len()].copy_from_slice(rest);
        }
    }
}

/// Lines whose places lie next to each other, `width` at most, as one panel: `panel[place * width + line]`.
#[inline(always)]
fn turn<S: Simd>(simd: S, lines: ArrayView2<'_, f32>, width: usize, panel: &mut [f32]) {
    let (count, places) = lines.dim();
    let whole = places - places % TILE;
    for first in (0..width).step_by(TILE) {
        // The last tile overlaps the one before it, if there is one.
        let first = first.min(width.saturating_sub(TILE));
        let height = TILE.min(width - first);
        let mut some: [&[f32]; TILE] = [&[]; TILE];
        for (line, some) in (first..count).zip(&mut some) {
            *some = lines.row(line).to_slice().expect("places are next to each other");
        }
        for place in (0..whole).step_by(TILE) {
            let mut tile = [[0.0; TILE]; TILE];
            for (values, line) in tile.iter_mut().zip(some) {
                if let Some(found) = line.get(place..).and_then(|rest| rest.first_chunk()) {
                    *values = *found;
                }
            }
            for (at, values) in transpose(simd, tile).iter().enumerate() {
                let out = &mut panel[(place + at) * width + first..][..height];
                match out.first_chunk_mut() {
                    Some(out) => *out = *values,
                    None => out.copy_from_slice(&values[..height]),
                }
            }
        }
        for place in whole..places {
            let out = &mut panel[place * width + first..][..height];
            for (out, line) in out.iter_mut().zip(some) {
                *out = line.get(place).copied().unwrap_or(0.0);
            }
        }
    }
}
