//! The gradient of some rows of a kernel for all microbatches of a node: products and tree in registers.
//!
//! Gives the bits of one matrix product for each microbatch and their fold, without writing each of them to memory: a block
//! of the result stays in registers over a microbatch, and the stack of the fold in the nearest cache.

use std::ops::Range;

use lockstep_proto::values::Precision;
use ndarray::s;
use pulp::Simd;

use crate::fold::{Order, Step};
use crate::leaves::KernelLeaves;
use crate::leaves::Microbatch;
use crate::product::block::{self, InBlocks, Sums};
use crate::product::{CHAIN, lines, pack};

/// Columns of the slopes that are packed at a time, and most values: they stay in the second cache while all inputs pass.
/// The more columns, the seldomer the inputs are read again.
const COLUMNS: usize = 256;
const COLUMNS_VALUES: usize = 1 << 18;

/// Some rows of one node's kernel gradient.
pub(crate) struct KernelTile<'l, 'a> {
    /// All rows and microbatches of the call.
    pub(crate) layer: KernelLeaves<'l>,
    /// Rows of the kernel.
    pub(crate) inputs: Range<usize>,
    pub(crate) order: &'a Order,
    /// Out: row-major.
    pub(crate) values: &'a mut [f32],
    /// Grows as needed.
    pub(crate) scratch: &'a mut Vec<f32>,
}

impl KernelTile<'_, '_> {
    /// Fills the values and says whether all are finite.
    pub(crate) fn compute(self) -> bool {
        block::dispatch(self.inputs.len(), self)
    }

    #[inline(always)]
    fn with_vectors<S: Simd, const R: usize, const V: usize>(self, simd: S) -> bool {
        let KernelLeaves { input, slopes, microbatches, precision } = self.layer;
        let (steps, rows) = (&self.order.steps[..], self.order.rows(microbatches));
        let (units, width) = (slopes.ncols(), V * S::F32_LANES);
        let columns_max = columns_max(rows.len(), units, width);
        // The last sum is put there, too.
        let stack_len = self.order.height.max(1) * R * width;
        let right_len = columns_max * rows.len();
        let left_len = self.inputs.len().div_ceil(R) * R * rows.len();
        let scratch = lines(self.scratch, stack_len + right_len + left_len);
        let (stack, rest) = scratch.split_at_mut(stack_len);
        let (right, left) = rest.split_at_mut(right_len);
        let left = left.as_chunks_mut::<R>().0;
        let right = S::as_mut_simd_f32s(right).0.as_chunks_mut::<V>().0;
        let stack = S::as_mut_simd_f32s(stack).0.as_chunks_mut::<V>().0.as_chunks_mut::<R>().0;
        let inputs = input.slice(s![rows.clone(), self.inputs.clone()]).reversed_axes();
        pack::left(simd, inputs, left);
        let mut zeros = [simd.splat_f32s(0.0); V];
        for start in (0..units).step_by(columns_max) {
            let columns = start..units.min(start + columns_max);
            let right = &mut right[..columns.len().div_ceil(width) * rows.len()];
            pack::right::<S, V>(simd, slopes.slice(s![rows.clone(), columns]), right);
            let out = self.values.chunks_mut(R * units);
            for (left, out) in left.chunks_exact(rows.len()).zip(out) {
                let mut out = block::rows_of::<R>(out.chunks_exact_mut(units));
                for (panel, right) in right.chunks_exact(rows.len()).enumerate() {
                    let at = start + panel * width;
                    block::prefetch_rows::<S, R, V>(&out, at);
                    let first_row = rows.start;
                    let block =
                        Block::<S, R, V> { simd, left, right, first_row, microbatches, precision };
                    let sums = block.fold(steps, stack);
                    // Zero times a number that is not finite is none.
                    for sums in &sums {
                        for (zero, &sum) in zeros.iter_mut().zip(sums) {
                            *zero = simd.mul_add_f32s(sum, simd.splat_f32s(0.0), *zero);
                        }
                    }
                    block::put(simd, sums, &mut out, at, false);
                }
            }
        }
        // What the order of these sums might change is not asked for.
        zeros.into_iter().all(|zero| simd.reduce_sum_f32s(zero) == 0.0)
    }
}

/// How many columns are packed at a time, whole vectors of `width`: one at least, however many rows there are.
// Not inlined: what the compiler learns about the number from how it is made has cost the kernel 40% (it spills sums).
#[inline(never)]
fn columns_max(rows: usize, units: usize, width: usize) -> usize {
    (COLUMNS_VALUES / rows).clamp(1, COLUMNS).min(units).next_multiple_of(width)
}

impl InBlocks for KernelTile<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, simd: S) -> bool {
        if self.layer.slopes.ncols() <= S::F32_LANES {
            self.with_vectors::<S, R, 1>(simd)
        } else {
            self.with_vectors::<S, R, 2>(simd)
        }
    }
}

/// What a block of the result is made from.
struct Block<'a, S: Simd, const R: usize, const V: usize> {
    simd: S,
    /// The block's inputs, for each row.
    left: &'a [[f32; R]],
    /// Slopes, for each row.
    right: &'a [[S::f32s; V]],
    /// The row that both start with.
    first_row: usize,
    microbatches: &'a [Microbatch],
    precision: Precision,
}

impl<S: Simd, const R: usize, const V: usize> Block<'_, S, R, V> {
    /// The sum of the node. Written so that there is one place that multiplies: of several, the compiler spills the sums of
    /// some, which costs half of the kernel.
    #[inline(always)]
    fn fold(&self, steps: &[Step], stack: &mut [Sums<S, R, V>]) -> Sums<S, R, V> {
        let mut height = 0;
        for step in steps {
            let mut sums = self.leaf(&self.microbatches[step.leaf].rows);
            self.round(&mut sums);
            for _ in 0..step.merges {
                height -= 1;
                sums = block::add(self.simd, stack[height], sums);
                self.round(&mut sums);
            }
            stack[height] = sums;
            height += 1;
        }
        stack[0]
    }

    /// The product of one microbatch: chains, added in order.
    #[inline(always)]
    fn leaf(&self, rows: &Range<usize>) -> Sums<S, R, V> {
        let (mut at, rows_end) = (rows.start - self.first_row, rows.end - self.first_row);
        let mut before: Option<Sums<S, R, V>> = None;
        loop {
            let end = rows_end.min(at + CHAIN);
            let chain = block::chain(self.simd, &self.left[at..end], &self.right[at..end]);
            let sums = before.map_or(chain, |before| block::add(self.simd, before, chain));
            if end == rows_end {
                return sums;
            }
            (at, before) = (end, Some(sums));
        }
    }

    #[inline(always)]
    fn round(&self, sums: &mut Sums<S, R, V>) {
        if self.precision != Precision::F32 {
            for sums in sums {
                self.precision.round(pulp::bytemuck::cast_slice_mut(sums));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::multiply;
    use lockstep_proto::tree::ShardTree;
    use ndarray::Array2;

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
                check(lens, inputs, units, Precision::F32);
                check(lens, inputs, units, Precision::Bf16);
            }
        }
    }

    /// More rows than values of one column are packed at a time.
    #[test]
    fn a_node_may_have_any_number_of_rows() {
        for rows in [COLUMNS_VALUES, COLUMNS_VALUES + 1] {
            check([rows, 0, 3], 2, 3, Precision::F32);
        }
    }

    fn check(lens: [usize; 3], inputs: usize, units: usize, precision: Precision) {
        let rounded = |mut values: Array2<f32>| {
            precision.round(values.as_slice_mut().expect("standard layout"));
            values
        };
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
            let b = slopes.slice(s![rows.clone(), ..]);
            multiply(a.t(), b, product.view_mut());
            let product = rounded(product);
            want = Some(match want {
                Some(want) => rounded(want + product),
                None => product,
            });
            microbatches.push(Microbatch { shard: shard as u32, rows });
        }
        let want = want.unwrap();
        let order = Order::new(ShardTree::new(3).root(), &microbatches, 0);
        let by_columns = input.t().as_standard_layout().to_owned();
        for input in [input.view(), by_columns.t()] {
            for vectors in [true, false] {
                let mut values = vec![f32::NAN; inputs * units];
                let slopes = slopes.view();
                let tile = KernelTile {
                    layer: KernelLeaves { input, slopes, microbatches: &microbatches, precision },
                    inputs: 1..inputs + 1,
                    order: &order,
                    values: &mut values,
                    // Left over from another call.
                    scratch: &mut vec![f32::NAN; 77_777],
                };
                let is_finite =
                    if vectors { tile.compute() } else { block::dispatch_scalar(inputs, tile) };
                assert!(is_finite);
                let same = values.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "leaves of {lens:?} rows, {inputs} x {units}, vectors: {vectors}");
            }
        }
    }
}
