//! L1 and L2 penalties of weights: which tensors have one, what they add to the loss, and to the slope by each weight.
//!
//! A penalty is a sum over all weights of a tensor, whoever computes it: in `f64`, chunk by chunk in the layout's order, in a
//! chunk tensor by tensor, and in 8 lanes by place in the chunk. So it follows from layout and weights alone. Knows no
//! kind of layer.

use std::ops::Range;

use crate::layout::Layout;

const LANES: usize = 8;

/// How much a weight `w` adds to the loss: `l1 * abs(w) + l2 * w^2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// Of the absolute value.
    pub l1: f32,
    /// Of the square.
    pub l2: f32,
}

/// A part of the flat vector, and the penalty of each weight in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Penalized {
    /// Place in the flat vector, or in a chunk.
    pub range: Range<usize>,
    /// Of each of its weights.
    pub penalty: Penalty,
}

/// The penalized tensors of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Penalties(Vec<Penalized>);

impl Penalty {
    /// Whether it adds nothing.
    pub fn is_none(&self) -> bool {
        *self == Penalty::default()
    }

    /// The slope of the loss by a weight that it adds: `l1 * sign(w) + 2 * l2 * w`, each operation rounded.
    #[inline(always)]
    pub fn slope(&self, weight: f32) -> f32 {
        let sign = f32::from(u8::from(weight > 0.0)) - f32::from(u8::from(weight < 0.0));
        self.l1 * sign + 2.0 * self.l2 * weight
    }
}

impl Penalties {
    /// Of these tensors, in the order of their places. Those without a penalty are left out.
    pub fn new(tensors: impl IntoIterator<Item = Penalized>) -> Penalties {
        Penalties(tensors.into_iter().filter(|part| !part.penalty.is_none()).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a chunk, at their places in it.
    pub fn in_chunk(&self, chunk: &Range<usize>) -> Vec<Penalized> {
        let inside = |part: &Penalized| {
            let start = part.range.start.max(chunk.start);
            let end = part.range.end.min(chunk.end);
            let range = (start < end).then(|| start - chunk.start..end - chunk.start)?;
            Some(Penalized { range, penalty: part.penalty })
        };
        self.0.iter().filter_map(inside).collect()
    }

    /// What these weights add to the loss.
    ///
    /// # Panics
    /// If there are fewer than the layout has.
    pub fn of(&self, layout: &Layout, weights: &[f32]) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let chunks = layout.chunks().iter().map(|chunk| {
            let weights = &weights[chunk.range.clone()];
            of_chunk(self.in_chunk(&chunk.range).iter().map(|part| {
                let mut sizes = Sizes::default();
                sizes.add(part.range.start, &weights[part.range.clone()]);
                sizes.penalty(part.penalty)
            }))
        });
        chunks.fold(0.0, |sum, chunk| sum + chunk)
    }
}

/// What the weights of a chunk add to the loss, of what each of its tensors adds.
pub fn of_chunk(tensors: impl Iterator<Item = f64>) -> f64 {
    tensors.fold(0.0, |sum, tensor| sum + tensor)
}

/// The sizes of weights that lie together in a chunk, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sizes {
    /// Of absolute values.
    absolute: [f64; LANES],
    squares: [f64; LANES],
}

impl Sizes {
    /// Adds the weights from this place in the chunk on, which follow on those before.
    #[inline(always)]
    pub fn add(&mut self, start: usize, weights: &[f32]) {
        let head = (start.next_multiple_of(LANES) - start).min(weights.len());
        let (head, rest) = weights.split_at(head);
        self.add_in(start % LANES, head);
        let (whole, rest) = rest.as_chunks::<LANES>();
        for weights in whole {
            for (lane, &weight) in weights.iter().enumerate() {
                self.absolute[lane] += f64::from(weight.abs());
                self.squares[lane] += f64::from(weight) * f64::from(weight);
            }
        }
        self.add_in(0, rest);
    }

    /// Adds fewer weights than there are lanes, from this one on.
    #[inline(always)]
    fn add_in(&mut self, lane: usize, weights: &[f32]) {
        for (lane, &weight) in (lane..LANES).zip(weights) {
            self.absolute[lane] += f64::from(weight.abs());
            self.squares[lane] += f64::from(weight) * f64::from(weight);
        }
    }

    /// What they add to the loss.
    pub fn penalty(&self, penalty: Penalty) -> f64 {
        let sum = |lanes: [f64; LANES]| lanes.iter().fold(0.0, |sum, lane| sum + lane);
        f64::from(penalty.l1) * sum(self.absolute) + f64::from(penalty.l2) * sum(self.squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::TensorShape;

    #[test]
    fn each_tensor_adds_its_own() {
        let tensors = vec![TensorShape::new("kernel", [3, 7]), TensorShape::new("bias", [7])];
        let layers = vec![tensors; 2];
        let layout = Layout::new(&layers);
        let weights: Vec<f32> = (0..layout.len()).map(|i| (i as f32 - 20.0) / 8.0).collect();
        let part = |tensor: usize, l1, l2| Penalized {
            range: layout.tensors()[tensor].range.clone(),
            penalty: Penalty { l1, l2 },
        };
        let penalties = Penalties::new([part(0, 0.5, 0.0), part(1, 0.0, 0.0), part(2, 0.25, 2.0)]);
        let sum = |tensor: usize, f: fn(f64) -> f64| -> f64 {
            let values = &weights[layout.tensors()[tensor].range.clone()];
            values.iter().map(|&value| f(value.into())).sum()
        };
        let wanted = 0.5 * sum(0, f64::abs) + 0.25 * sum(2, f64::abs) + 2.0 * sum(2, |w| w * w);
        for values_max in [1, 3, 8, 11, 1000] {
            let layout = layout.clone().in_chunks_of(values_max);
            let found = penalties.of(&layout, &weights);
            assert!((found - wanted).abs() < 1e-12 * wanted, "{found}, wanted {wanted}");
        }
        assert_eq!(Penalties::default().of(&layout, &weights), 0.0);
    }

    /// However they come: block by block in a chunk, from any place.
    #[test]
    fn blocks_do_not_matter() {
        let weights: Vec<f32> = (0..100).map(|i| 1.0 / (i as f32 - 40.5)).collect();
        for start in 0..20 {
            let mut whole = Sizes::default();
            whole.add(start, &weights[start..]);
            for step in [1, 3, 8, 64] {
                let mut parts = Sizes::default();
                let mut at = start;
                while at < weights.len() {
                    let end = weights.len().min(at + step);
                    parts.add(at, &weights[at..end]);
                    at = end;
                }
                assert_eq!(parts, whole, "from {start}, {step} at a time");
            }
        }
    }

    #[test]
    fn slopes_are_those_of_the_penalty() {
        let penalty = Penalty { l1: 0.5, l2: 0.25 };
        for (weight, wanted) in [(2.0, 1.5), (-2.0, -1.5), (0.0, 0.0), (-0.0, 0.0)] {
            assert_eq!(penalty.slope(weight), wanted);
        }
    }
}
