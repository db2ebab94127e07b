//! What pooling layers compute: the largest or the mean of what a window sees, channel by channel.
//!
//! Places of a window count row by row, those beyond the edge of the image not at all. A sum is over its places in that order, from
//! 0; the largest is the first of equal ones, and NaN if one is.

use lockstep_graph::{Graph, Value};

use super::grid::Grid;
use crate::blocks::{each_block_at, row_of};
use crate::layers::layer::{Backward, Described, Forward, Shape, Slopes};

/// Floating point operations of matrix products that take about as long as a value of a window in a training step: 0.4 ns, where a
/// thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 32;

/// Channels whose slopes are dealt out at a time, in registers.
const CHANNELS: usize = 16;

/// What becomes of what a window sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooled {
    Max,
    Mean,
}

/// A pooling layer's rows.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) grid: Grid,
    pub(super) pooled: Pooled,
}

impl Pool {
    /// What the layer makes of its rows.
    pub(super) fn shape(&self, output: Vec<usize>) -> Shape {
        let [rows, columns] = self.grid.window().size;
        let seen = (self.grid.positions() as u64)
            .saturating_mul((rows * columns) as u64)
            .saturating_mul(self.grid.channels() as u64);
        let flops = seen.saturating_mul(VALUE_FLOPS);
        Shape { output, tensors: Vec::new(), kept: 0, flops }
    }

    pub(super) fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let (image, window) = (self.grid.image(), self.grid.window());
        match self.pooled {
            Pooled::Max => graph.max_pool(image, window, pass.input),
            Pooled::Mean => graph.mean_pool(image, window, pass.input),
        }
    }

    pub(super) fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32]) {
        let width = self.width();
        each_block_at(outputs, width, pass.pieces, |first, outputs| {
            let mut spare = Vec::new();
            for (row, outputs) in outputs.chunks_exact_mut(width).enumerate() {
                let image = row_of(pass.input, first + row, &mut spare);
                match self.pooled {
                    Pooled::Max => self.largest(image, outputs),
                    Pooled::Mean => self.means(image, outputs),
                }
            }
        });
    }

    pub(super) fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        let (rows, inputs) = pass.input.dim();
        let width = self.width();
        slopes.replace(rows * inputs, |inside, before| {
            each_block_at(before, inputs, pass.pieces, |first, before| {
                let mut spare = Vec::new();
                for (row, before) in before.chunks_exact_mut(inputs).enumerate() {
                    let own = (first + row) * width..(first + row + 1) * width;
                    let slopes = &inside[own.clone()];
                    before.fill(0.0);
                    match self.pooled {
                        Pooled::Max => {
                            let image = row_of(pass.input, first + row, &mut spare);
                            self.deal_to_largest(image, &pass.outputs[own], slopes, before);
                        }
                        Pooled::Mean => self.deal_to_all(slopes, before),
                    }
                }
            });
        });
    }

    /// Values of an output row.
    fn width(&self) -> usize {
        self.grid.positions() * self.grid.channels()
    }

    /// Calls `f` for each pixel that the window sees at a position: with the place of its first channel.
    #[inline(always)]
    fn pixels(&self, position: usize, mut f: impl FnMut(usize)) {
        let channels = self.grid.channels();
        self.grid.seen(position, |first, count| {
            (first..first + count).for_each(|pixel| f(pixel * channels));
        });
    }

    fn count(&self, position: usize) -> usize {
        let mut count = 0;
        self.grid.seen(position, |_, seen| count += seen);
        count
    }

    fn largest(&self, image: &[f32], outputs: &mut [f32]) {
        let channels = self.grid.channels();
        for (position, outputs) in outputs.chunks_exact_mut(channels).enumerate() {
            outputs.fill(f32::NEG_INFINITY);
            self.pixels(position, |at| {
                for (largest, &value) in outputs.iter_mut().zip(&image[at..at + channels]) {
                    // NaN is kept: nothing is above it.
                    *largest = if value > *largest || value.is_nan() { value } else { *largest };
                }
            });
        }
    }

    fn means(&self, image: &[f32], outputs: &mut [f32]) {
        let channels = self.grid.channels();
        for (position, outputs) in outputs.chunks_exact_mut(channels).enumerate() {
            outputs.fill(0.0);
            self.pixels(position, |at| {
                for (sum, &value) in outputs.iter_mut().zip(&image[at..at + channels]) {
                    *sum += value;
                }
            });
            let count = self.count(position) as f32;
            outputs.iter_mut().for_each(|sum| *sum /= count);
        }
    }

    /// Adds each slope to the one by the first of the largest values.
    fn deal_to_largest(&self, image: &[f32], outputs: &[f32], slopes: &[f32], before: &mut [f32]) {
        let channels = self.grid.channels();
        let positions = outputs.chunks_exact(channels).zip(slopes.chunks_exact(channels));
        for (position, (outputs, slopes)) in positions.enumerate() {
            let parts = outputs.chunks(CHANNELS).zip(slopes.chunks(CHANNELS)).enumerate();
            for (part, (outputs, slopes)) in parts {
                let mut left = [0.0f32; CHANNELS];
                left[..slopes.len()].copy_from_slice(slopes);
                self.pixels(position, |at| {
                    let own = at + part * CHANNELS..at + part * CHANNELS + outputs.len();
                    let pixel = before[own.clone()].iter_mut().zip(&image[own]);
                    for (((before, value), largest), left) in pixel.zip(outputs).zip(&mut left) {
                        let is_it = value == largest;
                        *before += if is_it { *left } else { 0.0 };
                        *left = if is_it { 0.0 } else { *left };
                    }
                });
            }
        }
    }

    /// Adds to the slope by each value that the window sees its share.
    fn deal_to_all(&self, slopes: &[f32], before: &mut [f32]) {
        let channels = self.grid.channels();
        for (position, slopes) in slopes.chunks_exact(channels).enumerate() {
            let count = self.count(position) as f32;
            self.pixels(position, |at| {
                for (before, &slope) in before[at..at + channels].iter_mut().zip(slopes) {
                    *before += slope / count;
                }
            });
        }
    }
}
