//! How a window moves over an image, for convolutions and pooling: Keras' `strides` and `padding`.
//!
//! Positions of the window count row by row. What it sees in one is a patch, `[height, width, channels]` of the window; places
//! beyond the edge of the image are 0 in it. Computes nothing of patches.

use std::ops::Range;

use lockstep_graph::Window;
use lockstep_parameters::choices;

/// Values that are copied at a time: runs are often of a few, for each of which a call would be dear.
const COPIED: usize = 8;

/// Longest run of a patch that is copied with those of the patches next to it: to find out where a longer one is takes little beside it.
const SHORT: usize = 2 * COPIED;

/// Most places of a window along one side, and most between two positions of it.
pub(super) const SIDE_MAX: u64 = 1 << 10;

/// What is beyond the edge of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: the window stays inside.
    #[default]
    Valid,
    /// As many zeros on all sides as it takes to have a position for each place of the image, or each that `strides` leaves; of
    /// an odd number, the one more is below and to the right.
    Same,
}

choices!(Padding {
    "valid" => Valid,
    "same" => Same,
});

/// A window on images of one shape.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Height, width and channels.
    image: [usize; 3],
    window: Window,
    /// Positions down and across.
    output: [usize; 2],
}

impl Grid {
    /// The window on images of these sides.
    ///
    /// # Errors
    /// If they are none, or smaller than the window.
    pub(super) fn new(
        sides: &[usize],
        size: [usize; 2],
        strides: [usize; 2],
        padding: Padding,
    ) -> Result<Grid, String> {
        let image = super::image(sides)?;
        let mut window = Window { size, strides, before: [0; 2], after: [0; 2] };
        let mut output = [0; 2];
        for side in 0..2 {
            let (len, size, stride) = (image[side], size[side], strides[side]);
            match padding {
                Padding::Valid if size > len => {
                    let [height, width, _] = image;
                    let [rows, columns] = window.size;
                    return Err(format!(
                        "found images of {height} x {width}, wanted at least the window's {rows} x {columns}: make the window \
                         smaller, leave out pooling before it, or set `padding = \"same\"`"
                    ));
                }
                Padding::Valid => output[side] = (len - size) / stride + 1,
                Padding::Same => {
                    output[side] = len.div_ceil(stride);
                    let seen = ((output[side] - 1) * stride).saturating_add(size);
                    let padded = seen.saturating_sub(len);
                    window.before[side] = padded / 2;
                    window.after[side] = padded - padded / 2;
                }
            }
        }
        Ok(Grid { image, window, output })
    }

    /// The whole of an image.
    ///
    /// # Errors
    /// If the sides are not those of one.
    pub(super) fn whole(sides: &[usize]) -> Result<Grid, String> {
        let [height, width, _] = super::image(sides)?;
        Grid::new(sides, [height, width], [1, 1], Padding::Valid)
    }

    pub(super) fn image(&self) -> [usize; 3] {
        self.image
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// Positions down and across.
    pub(super) fn output(&self) -> [usize; 2] {
        self.output
    }

    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    pub(super) fn channels(&self) -> usize {
        self.image[2]
    }

    /// Values of a patch; `None` if they cannot be counted.
    pub(super) fn checked_patch_len(&self) -> Option<usize> {
        let [rows, columns] = self.window.size;
        rows.checked_mul(columns)?.checked_mul(self.channels())
    }

    /// Values of a patch.
    pub(super) fn patch_len(&self) -> usize {
        self.window.size[0] * self.window.size[1] * self.channels()
    }

    /// Where the window has its rows, or columns, at this place of them: the first of its own that is inside the image, one past
    /// the last, and where the first is in the image.
    fn inside(&self, side: usize, place: usize) -> (usize, usize, usize) {
        let (start, before) = (place * self.window.strides[side], self.window.before[side]);
        let first = before.saturating_sub(start);
        let end = self.window.size[side].min((self.image[side] + before).saturating_sub(start));
        (first, end, (start + first).saturating_sub(before))
    }

    /// Calls `f` for the places of the image that are in the window at this position, row by row: with the first of each row's, in
    /// places of the image, and how many there are.
    #[inline(always)]
    pub(super) fn seen(&self, position: usize, mut f: impl FnMut(usize, usize)) {
        let (y, x) = (position / self.output[1], position % self.output[1]);
        let (row, row_end, in_image) = self.inside(0, y);
        let (column, column_end, from) = self.inside(1, x);
        for row in 0..row_end.saturating_sub(row) {
            f((in_image + row) * self.image[1] + from, column_end.saturating_sub(column));
        }
    }

    /// Calls `f` for each run of a patch that is inside the image: with its place in the patch, that in the image, and its length.
    /// Says whether all of the patch is.
    #[inline(always)]
    fn runs(&self, position: usize, mut f: impl FnMut(usize, usize, usize)) -> bool {
        let channels = self.image[2];
        let (y, x) = (position / self.output[1], position % self.output[1]);
        let (row, row_end, in_image) = self.inside(0, y);
        let (column, column_end, from) = self.inside(1, x);
        let width = self.window.size[1];
        for at in row..row_end {
            let image_row = in_image + (at - row);
            f(
                (at * width + column) * channels,
                (image_row * self.image[1] + from) * channels,
                column_end.saturating_sub(column) * channels,
            );
        }
        (row, row_end, column, column_end) == (0, self.window.size[0], 0, width)
    }

    /// Copies some values of the patches at these positions, patch after patch.
    pub(super) fn copy(
        &self,
        image: &[f32],
        positions: Range<usize>,
        values: Range<usize>,
        out: &mut [f32],
    ) {
        let is_short = self.window.size[1] * self.channels() <= SHORT;
        if is_short && values == (0..self.patch_len()) {
            return self.copy_short(image, positions, out);
        }
        let len = values.len();
        for (place, position) in positions.enumerate() {
            self.copy_patch(image, position, &values, place * len, out);
        }
    }

    /// Copies some values of the patch at a position, to a place from which on all may be overwritten.
    #[inline(always)]
    fn copy_patch(
        &self,
        image: &[f32],
        position: usize,
        values: &Range<usize>,
        start: usize,
        out: &mut [f32],
    ) {
        let is_whole = self.runs(position, |_, _, _| ());
        if !is_whole {
            out[start..start + values.len()].fill(0.0);
        }
        self.runs(position, |at, from, run| {
            let (first, end) = (at.max(values.start), (at + run).min(values.end));
            if first < end {
                let to = start + first - values.start;
                let from = from + (first - at);
                copy_run(out, to, image, from, end - first, is_whole);
            }
        });
    }

    /// Copies whole patches, whose runs are short: those that are inside the image together, from one row of positions.
    fn copy_short(&self, image: &[f32], positions: Range<usize>, out: &mut [f32]) {
        let (len, inner) = (self.patch_len(), self.inner());
        let (mut to, mut at) = (0, positions.start);
        while at < positions.end {
            let (y, x) = (at / self.output[1], at % self.output[1]);
            let (row, row_end, in_image) = self.inside(0, y);
            let is_inner = inner.contains(&x) && (row, row_end) == (0, self.window.size[0]);
            let end = if is_inner { inner.end } else { x + 1 };
            let count = (end - x).min(positions.end - at);
            match is_inner {
                true => self.copy_inner(image, in_image, x..x + count, &mut out[to..]),
                false => self.copy_patch(image, at, &(0..len), to, out),
            }
            (to, at) = (to + count * len, at + count);
        }
    }

    /// The columns of positions at which the window is between the left and the right edge of the image.
    fn inner(&self) -> Range<usize> {
        let (stride, before) = (self.window.strides[1], self.window.before[1]);
        let start = before.div_ceil(stride);
        let places = (self.image[1] + before).checked_sub(self.window.size[1]);
        start..places.map_or(start, |places| (places / stride + 1).min(self.output[1])).max(start)
    }

    /// Copies whole patches at positions next to each other: the first row of the window is at this row of the image, and all of the
    /// window is inside. What follows them in `out` may be overwritten.
    fn copy_inner(&self, image: &[f32], row: usize, columns: Range<usize>, out: &mut [f32]) {
        let [_, width, channels] = self.image;
        let [rows, run] = [self.window.size[0], self.window.size[1] * channels];
        let (stride, before) = (self.window.strides[1], self.window.before[1]);
        let mut to = 0;
        for x in columns {
            let mut from = (row * width + x * stride - before) * channels;
            for _ in 0..rows {
                if run <= COPIED {
                    copy_few(out, to, image, from, run);
                } else {
                    copy_run(out, to, image, from, run, true);
                }
                (to, from) = (to + run, from + width * channels);
            }
        }
    }

    /// Adds patches at these positions, in order, to the image.
    pub(super) fn add(&self, patches: &[f32], positions: Range<usize>, image: &mut [f32]) {
        let len = self.patch_len();
        for (patch, position) in patches.chunks_exact(len).zip(positions) {
            self.runs(position, |at, to, run| {
                for (sum, &value) in image[to..to + run].iter_mut().zip(&patch[at..at + run]) {
                    *sum += value;
                }
            });
        }
    }
}

/// Copies [`COPIED`] values at most. What follows in `out` may be overwritten.
#[inline(always)]
fn copy_few(out: &mut [f32], to: usize, image: &[f32], from: usize, len: usize) {
    match (out.get_mut(to..to + COPIED), image.get(from..from + COPIED)) {
        (Some(out), Some(image)) => out.copy_from_slice(image),
        _ => out[to..to + len].copy_from_slice(&image[from..from + len]),
    }
}

/// Copies values. With `may_pass`, what follows in `out` may be overwritten.
#[inline(always)]
fn copy_run(out: &mut [f32], to: usize, image: &[f32], from: usize, len: usize, may_pass: bool) {
    let copied = len.next_multiple_of(COPIED);
    if may_pass && to + copied <= out.len() && from + copied <= image.len() {
        let (out, _) = out[to..to + copied].as_chunks_mut::<COPIED>();
        let (image, _) = image[from..from + copied].as_chunks::<COPIED>();
        for (out, image) in out.iter_mut().zip(image) {
            *out = *image;
        }
    } else {
        out[to..to + len].copy_from_slice(&image[from..from + len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(sides: [usize; 3], size: [usize; 2], strides: [usize; 2], padding: Padding) -> Grid {
        Grid::new(&sides, size, strides, padding).unwrap()
    }

    /// Keras' shapes and paddings.
    #[test]
    fn positions_and_padding() {
        use Padding::{Same, Valid};
        for (sides, size, strides, padding, output, before, after) in [
            ([28, 28, 1], [3, 3], [1, 1], Valid, [26, 26], [0, 0], [0, 0]),
            ([28, 27, 1], [3, 3], [1, 1], Same, [28, 27], [1, 1], [1, 1]),
            ([28, 27, 1], [2, 2], [2, 2], Valid, [14, 13], [0, 0], [0, 0]),
            ([28, 27, 1], [2, 2], [2, 2], Same, [14, 14], [0, 0], [0, 1]),
            ([7, 7, 2], [4, 3], [2, 3], Same, [4, 3], [1, 1], [2, 1]),
            ([1, 2, 1], [5, 1], [1, 1], Same, [1, 2], [2, 0], [2, 0]),
            ([5, 5, 1], [1, 1], [3, 3], Same, [2, 2], [0, 0], [0, 0]),
        ] {
            let grid = grid(sides, size, strides, padding);
            let found = (grid.output, grid.window.before, grid.window.after);
            assert_eq!(found, (output, before, after), "{sides:?} {size:?} {strides:?} {padding}");
        }
        let error = Grid::new(&[2, 9, 1], [3, 3], [1, 1], Valid).unwrap_err();
        assert!(error.starts_with("found images of 2 x 9, wanted at least the window's 3 x 3"));
        let error = Grid::new(&[9], [3, 3], [1, 1], Valid).unwrap_err();
        assert!(error.starts_with("found rows of 9 values, wanted images"), "{error}");
    }

    /// The definition of a patch: a value of the image, or 0.
    #[test]
    fn patches_are_what_the_window_sees() {
        for (sides, size, strides, padding) in [
            ([5, 6, 1], [3, 3], [1, 1], Padding::Valid),
            ([5, 6, 2], [3, 2], [1, 2], Padding::Same),
            ([4, 4, 3], [4, 4], [3, 3], Padding::Same),
            ([1, 3, 9], [5, 5], [1, 1], Padding::Same),
            ([5, 7, 1], [3, 3], [1, 1], Padding::Same),
            ([7, 9, 2], [2, 3], [2, 2], Padding::Same),
            ([4, 9, 1], [3, 4], [2, 3], Padding::Valid),
            ([3, 3, 1], [2, 9], [1, 1], Padding::Same),
        ] {
            let grid = grid(sides, size, strides, padding);
            let [height, width, channels] = sides;
            let image: Vec<f32> = (1..=height * width * channels).map(|i| i as f32).collect();
            let (len, positions) = (grid.patch_len(), grid.positions());
            let value = |position: usize, at: usize| {
                let (y, x) = (position / grid.output[1], position % grid.output[1]);
                let (i, j, c) = (at / channels / size[1], at / channels % size[1], at % channels);
                let row = (y * strides[0] + i).checked_sub(grid.window.before[0]);
                let column = (x * strides[1] + j).checked_sub(grid.window.before[1]);
                match (row, column) {
                    (Some(row), Some(column)) if row < height && column < width => {
                        image[(row * width + column) * channels + c]
                    }
                    _ => 0.0,
                }
            };
            for values in [0..len, 1..len, len / 2..len / 2 + 1] {
                for range in [0..positions, positions / 2..positions] {
                    let mut out = vec![f32::NAN; range.len() * values.len()];
                    grid.copy(&image, range.clone(), values.clone(), &mut out);
                    let wanted: Vec<f32> = range
                        .flat_map(|position| values.clone().map(move |at| (position, at)))
                        .map(|(position, at)| value(position, at))
                        .collect();
                    assert_eq!(out, wanted, "{sides:?} {size:?} {values:?}");
                }
            }
            // How often each value of the image is in a patch.
            let mut counts = vec![0.0; image.len()];
            grid.add(&vec![1.0; positions * len], 0..positions, &mut counts);
            let mut wanted = vec![0.0; image.len()];
            for position in 0..positions {
                let places = (0..len).map(|at| value(position, at)).filter(|&value| value > 0.0);
                places.for_each(|value| wanted[value as usize - 1] += 1.0);
            }
            assert_eq!(counts, wanted);
            let mut seen = vec![0.0; height * width];
            for position in 0..positions {
                grid.seen(position, |first, count| {
                    seen[first..first + count].iter_mut().for_each(|seen| *seen += 1.0);
                });
            }
            assert!(seen.iter().eq(wanted.iter().step_by(channels)));
        }
    }
}
