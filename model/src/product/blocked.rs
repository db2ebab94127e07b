//! One matrix product on one thread: operands packed a chain at a time, the result made block by block.

use std::cell::RefCell;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use pulp::Simd;

use super::block::{self, InBlocks, Sums};
use super::prefetch::prefetch;
use super::{CHAIN, lines, pack};

/// Columns of the right operand that are packed at a time: with a whole chain of places they stay in the second cache
/// while all rows of the left operand pass.
const COLUMNS: usize = 256;

thread_local! {
    /// Packed operands, left and right. Never borrowed across a call into rayon.
    static PANELS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `c = a b`, or `c + a b` where it `adds`. `c` lies row by row.
pub(crate) struct Product<'a> {
    pub(crate) a: ArrayView2<'a, f32>,
    pub(crate) b: ArrayView2<'a, f32>,
    pub(crate) c: ArrayViewMut2<'a, f32>,
    /// Whether each chain is added to what is there, the first one too.
    pub(crate) adds: bool,
}

impl Product<'_> {
    pub(crate) fn compute(self) {
        PANELS.with_borrow_mut(|panels| {
            block::dispatch(self.a.nrows(), OnPanels { product: self, panels })
        });
    }

    #[inline(always)]
    fn on_panels<S: Simd, const R: usize, const V: usize>(
        mut self,
        simd: S,
        [left, right]: &mut [Vec<f32>; 2],
    ) {
        let (depth, columns) = self.b.dim();
        if depth == 0 && !self.adds {
            self.c.fill(0.0);
        }
        let width = V * S::F32_LANES;
        let blocks = self.a.nrows().div_ceil(R);
        let chain_max = depth.min(CHAIN);
        let left = lines(left, blocks * R * chain_max);
        let right = lines(right, columns.min(COLUMNS).next_multiple_of(width) * chain_max);
        for start in (0..depth).step_by(CHAIN) {
            let places = start..depth.min(start + CHAIN);
            let len = places.len();
            let left = &mut left.as_chunks_mut::<R>().0[..blocks * len];
            pack::left(simd, self.a.slice(s![.., places.clone()]), left);
            for first in (0..columns).step_by(COLUMNS) {
                let some = first..columns.min(first + COLUMNS);
                let right = S::as_mut_simd_f32s(right).0.as_chunks_mut::<V>().0;
                let right = &mut right[..some.len().div_ceil(width) * len];
                let b = self.b.slice(s![places.clone(), some.clone()]);
                pack::right::<S, V>(simd, b, right);
                let adds = self.adds || start > 0;
                let c = self.c.slice_mut(s![.., some]);
                multiply_panels(simd, left.chunks_exact(len), right.chunks_exact(len), c, adds);
            }
        }
    }
}

/// Every left panel times every right panel, block by block.
#[inline(always)]
fn multiply_panels<'p, S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: impl Iterator<Item = &'p [[f32; R]]>,
    right: impl Iterator<Item = &'p [[S::f32s; V]]> + Clone,
    mut c: ArrayViewMut2<'_, f32>,
    adds: bool,
) {
    let (width, columns) = (V * S::F32_LANES, c.ncols());
    for (left, mut c) in left.zip(c.axis_chunks_iter_mut(Axis(0), R)) {
        let is_whole = c.nrows() == R;
        let mut rows = c.rows_mut().into_iter();
        let mut rows: [&mut [f32]; R] = std::array::from_fn(|_| {
            let row = rows.next().map(|row| row.into_slice().expect("rows are slices"));
            row.unwrap_or_default()
        });
        for (panel, right) in right.clone().enumerate() {
            let at = panel * width;
            for row in &rows {
                for vector in 0..V {
                    prefetch(row, at + vector * S::F32_LANES);
                }
            }
            let sums = block::chain(simd, left, right);
            if is_whole && at + width <= columns {
                put_whole(simd, sums, &mut rows, at, adds);
            } else {
                put_some::<S, R, V>(sums, &mut rows, at, adds);
            }
        }
    }
}

/// A product with the memory for its packed operands.
struct OnPanels<'a, 'p> {
    product: Product<'a>,
    panels: &'p mut [Vec<f32>; 2],
}

impl InBlocks for OnPanels<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, simd: S) {
        let OnPanels { product, panels } = self;
        if product.b.ncols() <= S::F32_LANES {
            product.on_panels::<S, R, 1>(simd, panels);
        } else {
            product.on_panels::<S, R, 2>(simd, panels);
        }
    }
}

/// Writes the sums from place `at` of the rows on, or adds them to what is there.
#[inline(always)]
fn put_whole<S: Simd, const R: usize, const V: usize>(
    simd: S,
    sums: Sums<S, R, V>,
    rows: &mut [&mut [f32]; R],
    at: usize,
    adds: bool,
) {
    let places = at..at + V * S::F32_LANES;
    // Two loops that are unrolled, so that no sum leaves its register first.
    if adds {
        for (row, sums) in rows.iter_mut().zip(sums) {
            for (out, sum) in S::as_mut_simd_f32s(&mut row[places.clone()]).0.iter_mut().zip(sums) {
                *out = simd.add_f32s(*out, sum);
            }
        }
    } else {
        for (row, sums) in rows.iter_mut().zip(sums) {
            for (out, sum) in S::as_mut_simd_f32s(&mut row[places.clone()]).0.iter_mut().zip(sums) {
                *out = sum;
            }
        }
    }
}

/// [`put_whole`] at the edges of the result: as far as the rows go.
#[inline(always)]
fn put_some<S: Simd, const R: usize, const V: usize>(
    sums: Sums<S, R, V>,
    rows: &mut [&mut [f32]; R],
    at: usize,
    adds: bool,
) {
    for (row, sums) in rows.iter_mut().zip(&sums) {
        let out = row.get_mut(at..).unwrap_or_default();
        let sums: &[f32] = pulp::bytemuck::cast_slice(sums);
        for (out, &sum) in out.iter_mut().zip(sums) {
            *out = if adds { *out + sum } else { sum };
        }
    }
}
