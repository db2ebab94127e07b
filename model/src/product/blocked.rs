//! One matrix product on one thread: operands packed a chain at a time, the result made block by block.

use std::cell::RefCell;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};
use pulp::Simd;

use super::block::{self, InBlocks};
use super::{CHAIN, lines, pack};

/// Columns of the right operand that are packed at a time: with a whole chain of places they stay in the second cache
/// while all rows of the left operand pass.
const COLUMNS: usize = 512;

thread_local! {
    /// Packed operands, left and right. Never borrowed across a call into rayon.
    static PANELS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `c = a b`, or `c += a b`. `c` lies row by row.
pub(crate) struct Product<'a> {
    pub(crate) a: ArrayView2<'a, f32>,
    pub(crate) b: ArrayView2<'a, f32>,
    pub(crate) c: ArrayViewMut2<'a, f32>,
    /// Whether it is added to what `c` holds.
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
        let adds = self.adds;
        if depth == 0 && !adds {
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
                let c = self.c.slice_mut(s![.., some]);
                multiply_panels(
                    simd,
                    left.chunks_exact(len),
                    right.chunks_exact(len),
                    c,
                    adds || start > 0,
                );
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
    for (left, mut c) in left.zip(c.axis_chunks_iter_mut(Axis(0), R)) {
        let rows = c.rows_mut().into_iter();
        let mut rows = block::rows_of(rows.map(|row| row.into_slice().expect("rows are slices")));
        for (panel, right) in right.clone().enumerate() {
            let at = panel * V * S::F32_LANES;
            block::prefetch_rows::<S, R, V>(&rows, at);
            block::put(simd, block::chain(simd, left, right), &mut rows, at, adds);
        }
    }
}

/// A product with the memory for its packed operands.
struct OnPanels<'a, 'p> {
    product: Product<'a>,
    panels: &'p mut [Vec<f32>; 2],
}

impl InBlocks for OnPanels<'_, '_> {
    type Output = ();

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
