//! Copies of operands in the order in which a block reads them: panels, padded with 0.
//!
//! A left panel has `R` rows of its matrix, a right panel `V` vectors' worth of columns; both lie place by place along
//! the chain.

use ndarray::{ArrayView2, Axis};
use pulp::Simd;

/// Rows of `a` as panels of `R` rows, `a.ncols()` places each.
#[inline(always)]
pub(crate) fn left<const R: usize>(a: ArrayView2<'_, f32>, panels: &mut [[f32; R]]) {
    let places = a.ncols();
    if !a.nrows().is_multiple_of(R) {
        let last = panels.len() - places;
        panels[last..].fill([0.0; R]);
    }
    if a.strides()[0] == 1 && a.nrows() > 1 {
        for (place, column) in a.columns().into_iter().enumerate() {
            let column = column.to_slice().expect("rows are next to each other");
            let (blocks, rest) = column.as_chunks::<R>();
            for (panel, block) in blocks.iter().enumerate() {
                panels[panel * places + place] = *block;
            }
            if !rest.is_empty() {
                panels[blocks.len() * places + place][..rest.len()].copy_from_slice(rest);
            }
        }
        return;
    }
    for (rows, panel) in a.axis_chunks_iter(Axis(0), R).zip(panels.chunks_exact_mut(places)) {
        for (at, row) in rows.rows().into_iter().enumerate() {
            match row.to_slice() {
                Some(row) => {
                    panel.iter_mut().zip(row).for_each(|(place, &value)| place[at] = value)
                }
                None => panel.iter_mut().zip(row).for_each(|(place, &value)| place[at] = value),
            }
        }
    }
}

/// Columns of `b` as panels of `V` vectors, `b.nrows()` places each.
#[inline(always)]
pub(crate) fn right<S: Simd, const V: usize>(b: ArrayView2<'_, f32>, panels: &mut [[S::f32s; V]]) {
    let places = b.nrows();
    let width = V * S::F32_LANES;
    if !b.ncols().is_multiple_of(width) {
        let last = panels.len() - places;
        pulp::bytemuck::fill_zeroes(panels[last..].as_flattened_mut());
    }
    if b.strides()[1] == 1 || b.ncols() == 1 {
        for (place, row) in b.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("columns are next to each other");
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
        return;
    }
    for (columns, panel) in b.axis_chunks_iter(Axis(1), width).zip(panels.chunks_exact_mut(places))
    {
        let panel: &mut [f32] = pulp::bytemuck::cast_slice_mut(panel.as_flattened_mut());
        for (at, column) in columns.columns().into_iter().enumerate() {
            let panel = panel.chunks_exact_mut(width);
            match column.to_slice() {
                Some(column) => panel.zip(column).for_each(|(place, &value)| place[at] = value),
                None => panel.zip(column).for_each(|(place, &value)| place[at] = value),
            }
        }
    }
}
