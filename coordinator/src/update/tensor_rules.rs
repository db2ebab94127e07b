//! What goes for single tensors of a chunk: penalties of weights, which add to its gradient and to the loss, and which weights are
//! not decayed. All of it is inlined, as optimizers are. Knows no tensors, only places.

use std::ops::Range;

use lockstep_proto::penalties::{Penalized, Penalties, Sizes, of_chunk};

/// The rules of a chunk's tensors, and what its newest weights add to the loss.
#[derive(Debug, Default)]
pub(crate) struct TensorRules {
    /// Those with a penalty, at their places in the chunk.
    tensors: Vec<Penalized>,
    /// Where weights are not decayed, in order.
    undecayed: Vec<Range<usize>>,
    /// By tensor: of the weights that were seen since they were begun.
    sizes: Vec<Sizes>,
    /// Where they are moving averages: the share of the old average in the new one.
    momentum: Option<f32>,
}

impl TensorRules {
    /// Those of the chunk at this place, of a network's.
    pub(crate) fn new(
        penalties: &Penalties,
        undecayed: &[Range<usize>],
        chunk: &Range<usize>,
    ) -> TensorRules {
        let tensors = penalties.in_chunk(chunk);
        let places = undecayed.iter().map(|range| in_block(range, chunk.start, chunk.len()));
        let undecayed = places.filter(|places| !places.is_empty()).collect();
        let sizes = vec![Sizes::default(); tensors.len()];
        TensorRules { tensors, undecayed, sizes, momentum: None }
    }

    /// The same of moving averages with this momentum, if they are some.
    pub(crate) fn averaging(self, momentum: Option<f32>) -> TensorRules {
        TensorRules { momentum, ..self }
    }

    /// Where the tensors are moving averages: the share of the old average in the new one.
    #[inline(always)]
    pub(crate) fn momentum(&self) -> Option<f32> {
        self.momentum
    }

    /// Whether any tensor has a penalty.
    #[inline(always)]
    pub(crate) fn penalizes(&self) -> bool {
        !self.tensors.is_empty()
    }

    /// Calls `f` for the parts of a block of `len` values, which begins at `start` in the chunk, and whether weights there are
    /// decayed.
    #[inline(always)]
    pub(crate) fn each_part(
        &self,
        start: usize,
        len: usize,
        mut f: impl FnMut(Range<usize>, bool),
    ) {
        let mut at = 0;
        for range in &self.undecayed {
            let places = in_block(range, start, len);
            if places.is_empty() {
                continue;
            }
            if at < places.start {
                f(at..places.start, true);
            }
            at = places.end;
            f(places, false);
        }
        if at < len {
            f(at..len, true);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_tile_a_block() {
        let rules = TensorRules::new(&Penalties::default(), &[3..5, 8..20, 40..50], &(2..30));
        let parts = |start, len| {
            let mut parts = Vec::new();
            rules.each_part(start, len, |part, decays| parts.push((part, decays)));
            parts
        };
        let wanted = [(0..1, true), (1..3, false), (3..6, true), (6..18, false), (18..28, true)];
        assert_eq!(parts(0, 28), wanted);
        assert_eq!(parts(7, 4), [(0..4, false)]);
        assert_eq!(parts(20, 8), [(0..8, true)]);
    }
}
