//! Matrix products, cut into pieces of the result for rayon.
//!
//! An element of a product depends on its row and column alone, and its sum is always "blocks of 256 along the
//! inner dimension; in a block a chain of fused multiply-adds from +0; blocks added in order". So results may be
//! cut in any way, and the inner dimension never is. [`profile`](crate::profile) holds the kernel to that.

pub(crate) mod block;
mod blocked;
pub(crate) mod pack;
mod prefetch;
mod transpose;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

pub(crate) use blocked::Product;

/// Most terms that are added in one chain before they are added to the result.
pub(crate) const CHAIN: usize = 256;

/// Calls with fewer floating point operations ([`flops_per_row`](crate::Network::flops_per_row) times rows) never
/// touch rayon: handing work to a pool costs more than it saves.
pub const PARALLEL_FLOPS_MIN: u64 = 2_000_000;

/// `len` values of a buffer that grows as needed, from the beginning of a cache line, so that no vector lies in two.
pub(crate) fn lines(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    const LINE_BYTES: usize = 64;
    if buffer.len() < len + LINE_BYTES / size_of::<f32>() {
        buffer.resize(len + LINE_BYTES / size_of::<f32>(), 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE_BYTES);
    &mut buffer[start..start + len]
}

/// Rows and columns are cut at multiples of this, the width of a block.
const CUT: usize = 32;

/// Pieces into which a call of this size is worth cutting: 1 means that rayon is not to be touched.
pub(crate) fn pieces(flops: u64) -> usize {
    if flops < PARALLEL_FLOPS_MIN { 1 } else { rayon::current_num_threads() }
}

/// `c = a b` on this thread, with the bits of the contract: what the passes of a network are made of, and what they are
/// measured against. Shapes: `[m, k]`, `[k, n]`, `[m, n]`.
///
/// # Panics
/// If the shapes do not fit, the rows of `c` are not slices, or neither the rows nor the columns of an operand are.
pub fn multiply(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, c: ArrayViewMut2<'_, f32>) {
    assert_eq!((a.nrows(), a.ncols(), b.ncols()), (c.nrows(), b.nrows(), c.ncols()), "shapes");
    Product { a, b, c, adds: false }.compute();
}

/// [`multiply`] in so many pieces, on as many threads.
pub(crate) fn multiply_in_pieces(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    c: ArrayViewMut2<'_, f32>,
    pieces: usize,
) {
    let (rows, columns) = c.dim();
    // Each piece reads its rows of `a` and its columns of `b` again, so the longer side is cut.
    let (axis, len) = if rows >= columns { (Axis(0), rows) } else { (Axis(1), columns) };
    let cut = (len * (pieces / 2) / pieces).next_multiple_of(CUT);
    if pieces == 1 || cut >= len || cut == 0 {
        return multiply(a, b, c);
    }
    let (c_first, c_second) = c.split_at(axis, cut);
    let ((a_first, a_second), (b_first, b_second)) = if axis == Axis(0) {
        (a.split_at(axis, cut), (b, b))
    } else {
        ((a, a), b.split_at(axis, cut))
    };
    rayon::join(
        || multiply_in_pieces(a_first, b_first, c_first, pieces / 2),
        || multiply_in_pieces(a_second, b_second, c_second, pieces - pieces / 2),
    );
}
