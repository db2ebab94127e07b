//! The register block that every product is made of, at any height, on whatever vectors the CPU has.
//!
//! One chain of fused multiply-adds for each element, from +0 in order: a lane never meets another, so neither the
//! vectors' width nor the block's height reaches the bits. Writes sums to rows of a result; knows
//! nothing of operands and of what chains add up to.

use pulp::{Arch, Simd, WithSimd};

use super::prefetch::prefetch;

/// Sums of a block: `V` vectors in each of `R` rows.
pub(crate) type Sums<S, const R: usize, const V: usize> = [[<S as Simd>::f32s; V]; R];

/// Something to be computed in blocks of `R` rows.
pub(crate) trait InBlocks {
    type Output;

    /// Does it. Inlined, so that it is compiled for the vectors at hand.
    fn run<S: Simd, const R: usize>(self, simd: S) -> Self::Output;
}

/// Computes it with the best vectors of this CPU, in blocks of nearly equal height that hold `rows` rows.
pub(crate) fn dispatch<W: InBlocks>(rows: usize, work: W) -> W::Output {
    Arch::new().dispatch(Sized { rows, work })
}

/// [`dispatch`] without vectors.
#[cfg(test)]
pub(crate) fn dispatch_scalar<W: InBlocks>(rows: usize, work: W) -> W::Output {
    Sized { rows, work }.with_simd(pulp::Scalar)
}

/// Most rows of a block: its accumulators, two vectors of the right operand and a value of the left fill the registers.
/// Without vectors nothing is fast, and low blocks are soon compiled.
const fn rows_max<S: Simd>() -> usize {
    match S::REGISTER_COUNT {
        _ if S::F32_LANES == 1 => 2,
        32.. => 14,
        _ => 6,
    }
}

struct Sized<W> {
    rows: usize,
    work: W,
}

impl<W: InBlocks> WithSimd for Sized<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> W::Output {
        let Sized { rows, work } = self;
        let blocks = rows.div_ceil(rows_max::<S>()).max(1);
        // Branches on constants: what these vectors do not need is not compiled for them.
        match rows.div_ceil(blocks) {
            0 | 1 => simd.vectorize(Height::<W, 1>(work)),
            2 => simd.vectorize(Height::<W, 2>(work)),
            height if const { rows_max::<S>() > 2 } => match height {
                3 => simd.vectorize(Height::<W, 3>(work)),
                4 => simd.vectorize(Height::<W, 4>(work)),
                5 => simd.vectorize(Height::<W, 5>(work)),
                6 => simd.vectorize(Height::<W, 6>(work)),
                height if const { rows_max::<S>() > 6 } => match height {
                    7 | 8 => simd.vectorize(Height::<W, 8>(work)),
                    9 | 10 => simd.vectorize(Height::<W, 10>(work)),
                    11 => simd.vectorize(Height::<W, 11>(work)),
                    12 => simd.vectorize(Height::<W, 12>(work)),
                    13 => simd.vectorize(Height::<W, 13>(work)),
                    _ => simd.vectorize(Height::<W, 14>(work)),
                },
                _ => unreachable!("a block is no higher than it may be"),
            },
            _ => unreachable!("a block is no higher than it may be"),
        }
    }
}

/// Work in blocks of `R` rows, compiled as a function of its own: all heights in one take a compiler far longer.
struct Height<W, const R: usize>(W);

impl<W: InBlocks, const R: usize> WithSimd for Height<W, R> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> W::Output {
        self.0.run::<S, R>(simd)
    }
}

/// One chain for each element. `left` has a value of each row, `right` the vectors, for each place along the chain.
#[inline(always)]
pub(crate) fn chain<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: &[[f32; R]],
    right: &[[S::f32s; V]],
) -> Sums<S, R, V> {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (left, right) in left.iter().zip(right) {
        for (sums, &left) in sums.iter_mut().zip(left) {
            let left = simd.splat_f32s(left);
            for (sum, &right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    sums
}

/// `a + b`.
#[inline(always)]
pub(crate) fn add<S: Simd, const R: usize, const V: usize>(
    simd: S,
    mut a: Sums<S, R, V>,
    b: Sums<S, R, V>,
) -> Sums<S, R, V> {
    for (a, b) in a.iter_mut().zip(b) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = simd.add_f32s(*a, b);
        }
    }
    a
}

/// Rows of a result that a block writes, none where the result ends.
#[inline(always)]
pub(crate) fn rows_of<'c, const R: usize>(
    mut rows: impl Iterator<Item = &'c mut [f32]>,
) -> [&'c mut [f32]; R] {
    std::array::from_fn(|_| rows.next().unwrap_or_default())
}

/// Asks for the places that [`put`] will write, as the chains begin.
#[inline(always)]
pub(crate) fn prefetch_rows<S: Simd, const R: usize, const V: usize>(
    rows: &[&mut [f32]; R],
    at: usize,
) {
    for row in rows {
        for vector in 0..V {
            prefetch(row, at + vector * S::F32_LANES);
        }
    }
}

/// Writes the sums from place `at` of the rows on, or adds them to what is there; as far as the rows go.
#[inline(always)]
pub(crate) fn put<S: Simd, const R: usize, const V: usize>(
    simd: S,
    sums: Sums<S, R, V>,
    rows: &mut [&mut [f32]; R],
    at: usize,
    adds: bool,
) {
    let places = at..at + V * S::F32_LANES;
    // The last row is the shortest: it is empty where the result ends.
    let is_whole = rows[R - 1].len() >= places.end;
    // Loops that are unrolled, and sums taken by value: none leaves its register before it is written.
    if is_whole && adds {
        for (row, sums) in rows.iter_mut().zip(sums) {
            let out = S::as_mut_simd_f32s(&mut row[places.clone()]).0;
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = simd.add_f32s(*out, sum);
            }
        }
    } else if is_whole {
        for (row, sums) in rows.iter_mut().zip(sums) {
            let out = S::as_mut_simd_f32s(&mut row[places.clone()]).0;
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum;
            }
        }
    } else {
        for (row, sums) in rows.iter_mut().zip(sums) {
            let out = row.get_mut(at..).unwrap_or_default();
            let sums: &[f32] = pulp::bytemuck::cast_slice(&sums);
            for (out, &sum) in out.iter_mut().zip(sums) {
                *out = if adds { *out + sum } else { sum };
            }
        }
    }
}
