//! What penalties of weights do in one chunk: they add to its gradient, and to the loss. All of it is inlined, as optimizers are.
//! Knows no tensors, only places.

use std::ops::Range;

use lockstep_proto::penalties::{Penalized, Penalties, Sizes, of_chunk};

/// The penalties of a chunk's tensors, and what its newest weights add to the loss.
#[derive(Debug, Default)]
pub(crate) struct ChunkPenalties {
    /// At their places in the chunk.
    tensors: Vec<Penalized>,
    /// By tensor: of the weights that were seen since they were begun.
    sizes: Vec<Sizes>,
}

impl ChunkPenalties {
    /// Those of the chunk at this place, of a network's.
    pub(crate) fn new(penalties: &Penalties, chunk: &Range<usize>) -> ChunkPenalties {
        let tensors = penalties.in_chunk(chunk);
        ChunkPenalties { sizes: vec![Sizes::default(); tensors.len()], tensors }
    }

    /// Whether there are none.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Adds their slopes to a block of the gradient, which begins at `start` in the chunk.
    #[inline(always)]
    pub(crate) fn add_slopes(&self, start: usize, weights: &[f32], gradient: &mut [f32]) {
        for Penalized { range, penalty } in &self.tensors {
            let places = in_block(range, start, weights.len());
            for (slope, &weight) in gradient[places.clone()].iter_mut().zip(&weights[places]) {
                *slope += penalty.slope(weight);
            }
        }
    }

    /// New weights follow.
    pub(crate) fn begin(&mut self) {
        self.sizes.fill(Sizes::default());
    }

    /// Takes in a block of the new weights, which begins at `start` in the chunk, after those before it.
    #[inline(always)]
    pub(crate) fn see(&mut self, start: usize, weights: &[f32]) {
        for (tensor, sizes) in self.tensors.iter().zip(&mut self.sizes) {
            let places = in_block(&tensor.range, start, weights.len());
            sizes.add(start + places.start, &weights[places]);
        }
    }

    /// What the newest weights add to the loss.
    pub(crate) fn total(&self) -> f64 {
        let tensors = self.tensors.iter().zip(&self.sizes);
        of_chunk(tensors.map(|(tensor, sizes)| sizes.penalty(tensor.penalty)))
    }
}

/// The places in a block, which begins at `start` in the chunk, that a part of the chunk has there.
#[inline(always)]
fn in_block(part: &Range<usize>, start: usize, len: usize) -> Range<usize> {
    let at = |place: usize| place.clamp(start, start + len) - start;
    at(part.start)..at(part.end)
}
