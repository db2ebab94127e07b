//! Sums and maxima along one row, in a fixed order that vectorises.
//!
//! The order, part of the numerics contract: lane `j` of 16 adds the values at places `j`, `j + 16`, `j + 32`, ...
//! from +0, in order; then lanes `j` and `j + 8` are added, then `j` and `j + 4`, `j + 2`, `j + 1`. It depends on
//! the length of the row alone.

const LANES: usize = 16;

/// The sum of `f` over the pairs of two rows of one length.
#[inline(always)]
pub(crate) fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for j in 0..LANES {
            lanes[j] += f(a[j], b[j]);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += f(a, b);
    }
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
    }
    lanes[0]
}

/// The sum of a row.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    sum_pairs(
        a,
        a,
        #[inline(always)]
        |value, _| value,
    )
}

/// The largest value of a row; NaN may be overlooked.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for values in whole {
        for j in 0..LANES {
            lanes[j] = larger(lanes[j], values[j]);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, value);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}
