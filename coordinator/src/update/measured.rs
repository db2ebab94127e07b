//! How large the gradient of a chunk is, for people to see: by layer, the sum of the squares of the mean gradient over a step's batch,
//! before penalties and clipping. In `f64`, 8 lanes by place in the layer's part of the chunk, each in order, lanes added in order;
//! so it depends on the layout alone, and no weight depends on it. And which units gave nothing for a while: those whose bias had a
//! gradient of 0 all the time.

use std::ops::Range;

use lockstep_proto::layout::{ChunkRange, Layout};
use pulp::{Arch, Simd, WithSimd};

use super::chunk::BLOCK;
use super::gradient::Mean;
use super::norm::add_squares;

/// The layers of a chunk, and the sum of squares of each when it was measured last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    parts: Vec<Part>,
    units: Vec<Units>,
}

/// Units of a layer.
#[derive(Clone, Debug, PartialEq)]
struct Units {
    layer: usize,
    /// Places of their biases in the chunk.
    start: usize,
    /// Which had no gradient since this was begun anew.
    silent: Vec<bool>,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// As the layout counts them.
    layer: usize,
    /// Its places in the chunk.
    places: Range<usize>,
    squares: f64,
}

impl Measured {
    /// Of a chunk of this layout, whose values at `rectified` are biases of units that may give nothing; nothing where it holds no
    /// gradient.
    pub(crate) fn of(layout: &Layout, chunk: &ChunkRange, rectified: &[Range<usize>]) -> Measured {
        if chunk.is_frozen || chunk.momentum.is_some() {
            return Measured::default();
        }
        let at = |place: usize| place.clamp(chunk.range.start, chunk.range.end) - chunk.range.start;
        let here = |range: &Range<usize>| {
            let places = at(range.start)..at(range.end);
            (!places.is_empty()).then_some(places)
        };
        let part = |layer: usize| {
            let places = here(&layout.layers()[layer])?;
            Some(Part { layer, places, squares: 0.0 })
        };
        let units = |range: &Range<usize>| {
            let places = here(range)?;
            let layer = layout.layers().iter().position(|layer| layer.contains(&range.start))?;
            Some(Units { layer, start: places.start, silent: vec![true; places.len()] })
        };
        Measured {
            parts: chunk.layers.clone().filter_map(part).collect(),
            units: rectified.iter().filter_map(units).collect(),
        }
    }

    /// By layer with such units: how many gave nothing, and how many there are. Begins anew.
    pub(crate) fn take_silent(&mut self) -> impl Iterator<Item = (usize, [u64; 2])> {
        self.units.iter_mut().map(|units| {
            let silent = units.silent.iter().filter(|&&silent| silent).count() as u64;
            units.silent.fill(true);
            (units.layer, [silent, units.silent.len() as u64])
        })
    }

    /// Sees which units gave something.
    pub(super) fn see_units(&mut self, mean: Mean<'_>) {
        let mut block = [0.0; BLOCK];
        for units in &mut self.units {
            for (at, silent) in units.silent.chunks_mut(BLOCK).enumerate() {
                let values = &mut block[..silent.len()];
                mean.read(units.start + at * BLOCK, values);
                for (silent, &mut value) in silent.iter_mut().zip(values) {
                    *silent &= value == 0.0;
                }
            }
        }
    }

    /// By layer, the sum of squares.
    pub(crate) fn squares(&self) -> impl Iterator<Item = (usize, f64)> {
        self.parts.iter().map(|part| (part.layer, part.squares))
    }

    /// Measures a gradient.
    pub(super) fn take_in(&mut self, mean: Mean<'_>) {
        for part in &mut self.parts {
            part.squares = Arch::new().dispatch(Squares { mean, places: part.places.clone() });
        }
    }
}

struct Squares<'a> {
    mean: Mean<'a>,
    places: Range<usize>,
}

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let (mut lanes, mut block) = ([0f64; 8], [0.0; BLOCK]);
        for start in self.places.clone().step_by(BLOCK) {
            let values = &mut block[..BLOCK.min(self.places.end - start)];
            self.mean.read(start, values);
            let (whole, rest) = values.as_chunks::<8>();
            whole.iter().for_each(|values| add_squares(&mut lanes, values));
            add_squares(&mut lanes, rest);
        }
        lanes.iter().fold(0.0, |sum, lane| sum + lane)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_proto::layout::TensorShape;
    use lockstep_proto::values::Precision;
    use lockstep_reduce::NodeValues;

    use super::*;

    /// Layers share a chunk, or have several: each is measured by itself, and nothing is left out.
    #[test]
    fn each_layer_is_measured_by_itself() {
        let layer = |len: usize| vec![TensorShape::new("weights", vec![len])];
        let layout = Layout::new(&[layer(5), Vec::new(), layer(1300), layer(3)]).in_chunks_of(1024);
        let values: Vec<f32> = (0..layout.len()).map(|at| (at % 7) as f32 - 3.0).collect();
        let mut found = [0.0; 4];
        for chunk in layout.chunks() {
            let mut measured = Measured::of(&layout, chunk, &[]);
            let frame = Precision::F32.encode(&values[chunk.range.clone()]);
            let root = NodeValues::new(Precision::F32, frame);
            let len = chunk.range.len();
            measured.take_in(Mean { root: &root, len, squared: 0, rows: 2.0 });
            measured.squares().for_each(|(layer, squares)| found[layer] += squares);
        }
        for (layer, range) in layout.layers().iter().enumerate() {
            let squares = values[range.clone()].iter().map(|value| f64::from(value / 2.0).powi(2));
            assert_eq!(found[layer], squares.sum::<f64>(), "{layer}");
        }
        assert!(found[2] > 0.0 && found[1] == 0.0);
    }

    /// A unit is silent until its bias has a gradient, in whatever step.
    #[test]
    fn units_that_gave_nothing_are_counted() {
        let tensors = [TensorShape::new("kernel", vec![600]), TensorShape::new("bias", vec![600])];
        let layout = Layout::new(&[tensors]).in_chunks_of(1024);
        let bias = std::slice::from_ref(&layout.tensors()[1].range);
        let of = |chunk| (chunk, Measured::of(&layout, chunk, bias));
        let mut chunks: Vec<_> = layout.chunks().iter().map(of).collect();
        for gives in [[0, 5], [5, 599]] {
            let mut values = vec![0.0; layout.len()];
            gives.iter().for_each(|&unit| values[600 + unit] = 1.0);
            for (chunk, measured) in &mut chunks {
                let frame = Precision::F32.encode(&values[chunk.range.clone()]);
                let root = NodeValues::new(Precision::F32, frame);
                let len = chunk.range.len();
                measured.see_units(Mean { root: &root, len, squared: 0, rows: 2.0 });
            }
        }
        let mut count = || {
            let all = chunks.iter_mut().flat_map(|(_, measured)| measured.take_silent());
            all.fold([0, 0], |[silent, of], (_, units)| [silent + units[0], of + units[1]])
        };
        assert_eq!(count(), [597, 600]);
        assert_eq!(count(), [600, 600]);
    }
}
