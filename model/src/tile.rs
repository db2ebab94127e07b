//! The gradient of some rows of a kernel for many small microbatches: products and tree in registers.
//!
//! Gives the bits of one matrix product for each microbatch and their fold, without writing each of them to memory:
//! a block of the result stays in registers over a microbatch, and the stack of the fold in the nearest cache.

use std::ops::Range;

use ndarray::{ArrayView2, s};
use pulp::{Arch, Simd, WithSimd};

use crate::backward::Microbatch;
use crate::fold::Order;
use crate::product::CHAIN;

/// Rows of a block; it has two vectors in each, so 12 accumulators: enough for two units of 4 to 5 cycles, and with
/// the operands within 16 registers.
const BLOCK_ROWS: usize = 6;

/// Above this many rows a microbatch, a matrix product each is as fast.
const ROWS_MEAN_MAX: usize = 48;

/// Below this many columns most of a block would be padding.
const COLUMNS_MIN: usize = 12;

/// Some rows of one node's kernel gradient.
pub(crate) struct KernelTile<'a> {
    /// The layer's input, all rows of the call.
    pub(crate) input: ArrayView2<'a, f32>,
    /// Slopes by the layer's sums, all rows of the call.
    pub(crate) slopes: ArrayView2<'a, f32>,
    /// All of the call.
    pub(crate) microbatches: &'a [Microbatch],
    /// Rows of the kernel.
    pub(crate) inputs: Range<usize>,
    pub(crate) order: &'a Order,
    /// Out: row-major.
    pub(crate) values: &'a mut [f32],
    /// Grows as needed.
    pub(crate) scratch: &'a mut Vec<f32>,
}

impl KernelTile<'_> {
    /// Whether this way is the faster one for a node of these additions. The bits are the same.
    pub(crate) fn is_worth_it(order: &Order, microbatches: &[Microbatch], columns: usize) -> bool {
        let leaves = order.steps.len();
        leaves > 1
            && columns >= COLUMNS_MIN
            && order.rows(microbatches).len() <= leaves * ROWS_MEAN_MAX
    }

    /// Fills the values.
    pub(crate) fn compute(self) {
        Arch::new().dispatch(self);
    }

    /// Copies the input into panels of [`BLOCK_ROWS`] columns, row after row, padded with 0.
    fn pack_input(&self, rows: Range<usize>, panels: &mut [f32]) {
        let panel_len = rows.len() * BLOCK_ROWS;
        if !self.inputs.len().is_multiple_of(BLOCK_ROWS) {
            let last = panels.len() - panel_len;
            panels[last..].fill(0.0);
        }
        for (at, row) in rows.enumerate() {
            let row = self.input.slice(s![row, self.inputs.clone()]);
            let mut copy = |panel: usize, values: &[f32]| {
                panels[panel * panel_len + at * BLOCK_ROWS..][..values.len()]
                    .copy_from_slice(values);
            };
            if let Some(row) = row.as_slice() {
                let chunks = row.chunks(BLOCK_ROWS).enumerate();
                chunks.for_each(|(panel, values)| copy(panel, values));
            } else {
                let chunks = row.axis_chunks_iter(ndarray::Axis(0), BLOCK_ROWS).enumerate();
                chunks.for_each(|(panel, values)| copy(panel, &values.to_vec()));
            }
        }
    }

    /// Copies some columns of the slopes, row after row, padded with 0.
    fn pack_slopes(&self, rows: Range<usize>, columns: Range<usize>, panel: &mut [f32]) {
        let width = panel.len() / rows.len();
        for (row, packed) in rows.zip(panel.chunks_exact_mut(width)) {
            let row = self.slopes.slice(s![row, columns.clone()]);
            let (values, padding) = packed.split_at_mut(columns.len());
            values.copy_from_slice(row.as_slice().expect("slopes lie row by row"));
            padding.fill(0.0);
        }
    }
}

impl WithSimd for KernelTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.order.rows(self.microbatches);
        let units = self.slopes.ncols();
        let width = 2 * S::F32_LANES;
        let panels_len = self.inputs.len().div_ceil(BLOCK_ROWS) * BLOCK_ROWS * rows.len();
        let slopes_len = rows.len() * width;
        let len = panels_len + slopes_len + self.order.height * BLOCK_ROWS * width;
        let mut scratch = std::mem::take(self.scratch);
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        let (panels, rest) = scratch[..len].split_at_mut(panels_len);
        let (slopes, stack) = rest.split_at_mut(slopes_len);
        self.pack_input(rows.clone(), panels);
        for start in (0..units).step_by(width) {
            let columns = start..units.min(start + width);
            self.pack_slopes(rows.clone(), columns.clone(), slopes);
            let slopes = S::as_simd_f32s(slopes).0;
            let panels = panels.chunks_exact(rows.len() * BLOCK_ROWS);
            let out = self.values.chunks_mut(BLOCK_ROWS * units);
            for (panel, out) in panels.zip(out) {
                let block = Block { simd, panel, slopes, first_row: rows.start };
                block.fold(self.order, self.microbatches, S::as_mut_simd_f32s(stack).0);
                let sums = stack.chunks_exact(width);
                for (out, sums) in out.chunks_exact_mut(units).zip(sums) {
                    out[columns.clone()].copy_from_slice(&sums[..columns.len()]);
                }
            }
        }
        *self.scratch = scratch;
    }
}

/// What a block of the result is made from.
struct Block<'a, S: Simd> {
    simd: S,
    /// [`BLOCK_ROWS`] inputs for each row.
    panel: &'a [f32],
    /// Two vectors for each row.
    slopes: &'a [S::f32s],
    /// The row that both start with.
    first_row: usize,
}

type Sums<S> = [[<S as Simd>::f32s; 2]; BLOCK_ROWS];

impl<S: Simd> Block<'_, S> {
    /// Leaves the sum of the node at the bottom of the stack.
    #[inline(always)]
    fn fold(&self, order: &Order, microbatches: &[Microbatch], stack: &mut [S::f32s]) {
        let (stack, _) = stack.as_chunks_mut::<2>();
        let (stack, _) = stack.as_chunks_mut::<BLOCK_ROWS>();
        let mut height = 0;
        for step in &order.steps {
            let rows = &microbatches[step.leaf].rows;
            let (mut at, end) = (rows.start - self.first_row, rows.end - self.first_row);
            let mut sums = self.chain(at..end.min(at + CHAIN));
            at += CHAIN;
            while at < end {
                let chain = self.chain(at..end.min(at + CHAIN));
                sums = self.add(sums, chain);
                at += CHAIN;
            }
            for _ in 0..step.merges {
                height -= 1;
                sums = self.add(stack[height], sums);
            }
            stack[height] = sums;
            height += 1;
        }
    }

    /// One chain of fused multiply-adds from +0 for each element.
    #[inline(always)]
    fn chain(&self, rows: Range<usize>) -> Sums<S> {
        let simd = self.simd;
        let mut sums = [[simd.splat_f32s(0.0); 2]; BLOCK_ROWS];
        let (inputs, _) = self.panel[rows.start * BLOCK_ROWS..rows.end * BLOCK_ROWS].as_chunks();
        let (slopes, _) = self.slopes[rows.start * 2..rows.end * 2].as_chunks::<2>();
        for (inputs, slopes) in inputs.iter().zip(slopes) {
            let inputs: &[f32; BLOCK_ROWS] = inputs;
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let input = simd.splat_f32s(input);
                sums[0] = simd.mul_add_f32s(input, slopes[0], sums[0]);
                sums[1] = simd.mul_add_f32s(input, slopes[1], sums[1]);
            }
        }
        sums
    }

    #[inline(always)]
    fn add(&self, mut a: Sums<S>, b: Sums<S>) -> Sums<S> {
        for (a, b) in a.iter_mut().zip(b) {
            *a = [self.simd.add_f32s(a[0], b[0]), self.simd.add_f32s(a[1], b[1])];
        }
        a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::tree::ShardTree;
    use ndarray::Array2;
    use ndarray::linalg::general_mat_mul;

    fn matrix(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            let bits = (i * columns + j + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
    }

    /// The definition for a tree of two levels: `(a + b) + c`, an absent leaf adding nothing.
    #[test]
    fn bits_are_those_of_products_and_additions() {
        for lens in [[1, 2, 3], [16, 16, 16], [300, 1, 256], [7, 0, 5], [0, 3, 513]] {
            for (inputs, units) in [(1, 1), (6, 16), (13, 10), (20, 33), (31, 70)] {
                check(lens, inputs, units);
            }
        }
    }

    fn check(lens: [usize; 3], inputs: usize, units: usize) {
        let rows: usize = lens.iter().sum();
        let input = matrix(rows, inputs + 2, 1);
        let slopes = matrix(rows, units, 2);
        let (mut at, mut microbatches) = (0, Vec::new());
        let mut want: Option<Array2<f32>> = None;
        for (shard, len) in lens.into_iter().enumerate().filter(|leaf| leaf.1 > 0) {
            let rows = at..at + len;
            at += len;
            let mut product = Array2::zeros((inputs, units));
            let a = input.slice(s![rows.clone(), 1..=inputs]);
            general_mat_mul(1.0, &a.t(), &slopes.slice(s![rows.clone(), ..]), 0.0, &mut product);
            want = Some(want.map_or_else(|| product.clone(), |want| want + &product));
            microbatches.push(Microbatch { shard: shard as u32, rows });
        }
        let want = want.unwrap();
        let order = Order::new(ShardTree::new(3).root(), &microbatches, 0);
        let by_columns = input.t().as_standard_layout().to_owned();
        for input in [input.view(), by_columns.t()] {
            for vectors in [true, false] {
                let mut values = vec![f32::NAN; inputs * units];
                let tile = KernelTile {
                    input,
                    slopes: slopes.view(),
                    microbatches: &microbatches,
                    inputs: 1..inputs + 1,
                    order: &order,
                    values: &mut values,
                    // Left over from another call.
                    scratch: &mut vec![f32::NAN; 77_777],
                };
                if vectors {
                    tile.compute();
                } else {
                    tile.with_simd(pulp::Scalar);
                }
                let same = values.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "leaves of {lens:?} rows, {inputs} x {units}, vectors: {vectors}");
            }
        }
    }
}
