//! Where each tensor lies in the flat parameter vector, and how that vector is cut into chunks.
//!
//! Weights, gradients and optimizer moments are all one flat `f32` vector in this order: layer by layer, each
//! layer's kernel (row-major, `[in, out]`) before its bias (`[out]`). Knows no activations and no values.

use std::ops::Range;

/// Most values in a chunk: 256 KiB of `f32`. On a slow link a chunk comes back as soon as all workers have sent it, so that
/// the shorter chunks are, the less of the way back has to wait.
pub const CHUNK_VALUES_MAX: usize = 1 << 16;

/// Most values of a block of the global norm: whole chunks.
const NORM_BLOCK_VALUES: usize = 1 << 18;

/// Small neighbouring layers share a chunk up to this many values, so that a small network is one frame.
const SHARED_CHUNK_VALUES_MAX: usize = 1 << 14;

/// Most values in a network: 4 Gi parameters is 16 GiB of weights.
pub const PARAMETERS_MAX: usize = 1 << 32;

/// One named tensor of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layers.{i}.kernel` or `layers.{i}.bias`.
    pub name: String,
    /// `[in, out]` for a kernel, `[out]` for a bias.
    pub shape: Vec<usize>,
    /// Place in the flat vector.
    pub range: Range<usize>,
}

/// A contiguous slice of the flat vector: the unit of transfer, reduction, update and broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Place in the flat vector.
    pub range: Range<usize>,
    /// The layers it touches. A chunk of more than one layer holds these layers whole.
    pub layers: Range<usize>,
}

/// The order of all parameters. Made from the layers' shapes alone, so both sides make the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    layers: Vec<Range<usize>>,
    chunks: Vec<ChunkRange>,
}

/// Shape of one dense layer's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// Columns of the input.
    pub inputs: usize,
    /// Columns of the output.
    pub units: usize,
    /// Whether a bias follows the kernel.
    pub bias: bool,
}

impl DenseShape {
    /// Number of parameters.
    pub fn len(self) -> usize {
        self.inputs * self.units + if self.bias { self.units } else { 0 }
    }

    /// A layer always has parameters; here because clippy wants it beside `len`.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl Layout {
    /// Lays out dense layers. Layer `i` is named by its place in the job.
    pub fn new(shapes: &[DenseShape]) -> Layout {
        let mut tensors = Vec::new();
        let mut layers = Vec::new();
        let mut at = 0;
        for (i, shape) in shapes.iter().enumerate() {
            let start = at;
            let mut push = |name: String, shape: Vec<usize>| {
                let len = shape.iter().product::<usize>();
                tensors.push(Tensor { name, shape, range: at..at + len });
                at += len;
            };
            push(format!("layers.{i}.kernel"), vec![shape.inputs, shape.units]);
            if shape.bias {
                push(format!("layers.{i}.bias"), vec![shape.units]);
            }
            layers.push(start..at);
        }
        let chunks = cut(&layers, CHUNK_VALUES_MAX);
        Layout { tensors, layers, chunks }
    }

    /// The same parameters in chunks of at most `values_max` values, instead of [`CHUNK_VALUES_MAX`]. As small as the layers
    /// that would share one, they share none.
    ///
    /// # Panics
    /// If `values_max` is 0.
    pub fn in_chunks_of(self, values_max: usize) -> Layout {
        assert!(values_max > 0, "a chunk without values");
        Layout { chunks: cut(&self.layers, values_max), ..self }
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.layers.last().map_or(0, |last| last.end)
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every tensor, in order of its place.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Each layer's place in the flat vector (kernel, then bias).
    pub fn layers(&self) -> &[Range<usize>] {
        &self.layers
    }

    /// The chunks, in order of their place. They tile the flat vector.
    pub fn chunks(&self) -> &[ChunkRange] {
        &self.chunks
    }

    /// The numbers of the chunks that a layer touches.
    pub fn chunks_of(&self, layer: usize) -> Range<usize> {
        let first = self.chunks.partition_point(|chunk| chunk.layers.end <= layer);
        let end = self.chunks.partition_point(|chunk| chunk.layers.start <= layer);
        first..end
    }

    /// The chunks whose squares are added first, block by block: part of what determines the global norm's bits, so the
    /// same however long chunks are.
    pub fn norm_blocks(&self) -> Vec<Range<usize>> {
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for (place, chunk) in self.chunks.iter().enumerate() {
            let in_layer = chunk.range.start - self.layers[chunk.layers.start].start;
            match blocks.last_mut() {
                Some(block) if !in_layer.is_multiple_of(NORM_BLOCK_VALUES) => block.end = place + 1,
                _ => blocks.push(place..place + 1),
            }
        }
        blocks
    }
}

fn cut(layers: &[Range<usize>], values_max: usize) -> Vec<ChunkRange> {
    let is_cut_small = values_max < SHARED_CHUNK_VALUES_MAX;
    let mut chunks: Vec<ChunkRange> = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        if let Some(last) = chunks.last_mut()
            && last.range.start == layers[last.layers.start].start
            && layer.end - last.range.start <= SHARED_CHUNK_VALUES_MAX
            && !is_cut_small
        {
            last.range.end = layer.end;
            last.layers.end = i + 1;
            continue;
        }
        let mut start = layer.start;
        while start < layer.end {
            let end = layer.end.min(start + values_max);
            chunks.push(ChunkRange { range: start..end, layers: i..i + 1 });
            start = end;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(widths: &[usize]) -> Layout {
        let shapes: Vec<_> = widths
            .windows(2)
            .map(|w| DenseShape { inputs: w[0], units: w[1], bias: true })
            .collect();
        Layout::new(&shapes)
    }

    #[test]
    fn boston_is_one_chunk() {
        let layout = layout(&[13, 10, 1]);
        assert_eq!(layout.len(), 151);
        assert_eq!(layout.chunks(), [ChunkRange { range: 0..151, layers: 0..2 }]);
        assert_eq!(layout.tensors()[3].name, "layers.1.bias");
        assert_eq!(layout.tensors()[3].range, 150..151);
    }

    #[test]
    fn chunks_tile_the_vector_and_hold_one_large_layer_or_whole_small_ones() {
        for widths in
            [&[784, 512, 512, 10][..], &[13, 10, 1], &[1, 1], &[4096, 512, 3, 3, 3, 700, 2]]
        {
            let layout = layout(widths);
            let mut at = 0;
            for chunk in layout.chunks() {
                assert_eq!(chunk.range.start, at);
                assert!(chunk.range.len() <= CHUNK_VALUES_MAX && !chunk.range.is_empty());
                if chunk.layers.len() > 1 {
                    let whole = layout.layers()[chunk.layers.start].start
                        ..layout.layers()[chunk.layers.end - 1].end;
                    assert_eq!(chunk.range, whole);
                }
                at = chunk.range.end;
            }
            assert_eq!(at, layout.len());
        }
    }

    #[test]
    fn chunks_can_be_cut_smaller() {
        let cut = layout(&[3, 4, 1]).in_chunks_of(6);
        let ranges: Vec<_> = cut.chunks().iter().map(|chunk| chunk.range.clone()).collect();
        assert_eq!(ranges, [0..6, 6..12, 12..16, 16..21]);
        assert_eq!(cut.norm_blocks(), [0..3, 3..4], "whatever the chunks are");
    }

    #[test]
    fn blocks_of_the_norm_are_whole_chunks_of_a_layer_or_of_small_ones() {
        let layout = layout(&[784, 512, 512, 10]);
        let ends =
            layout.norm_blocks().into_iter().map(|block| layout.chunks()[block.end - 1].range.end);
        let ends: Vec<usize> = ends.collect();
        let first = 784 * 512 + 512;
        let second = first + 512 * 512 + 512;
        assert_eq!(ends, [1 << 18, first, first + (1 << 18), second, second + 512 * 10 + 10]);
        assert_eq!(self::layout(&[13, 10, 1]).norm_blocks().len(), 1);
    }
}
