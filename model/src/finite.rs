//! Numbers that are not finite: how they are found at memory speed, and how they are told.

use std::fmt;

use pulp::{Arch, Simd, WithSimd};
use thiserror::Error;

/// A loss or a gradient that is not finite. The parameters that made it are still good.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{what} of shard {shard} is not finite{}", LayerNote(*.layer))]
pub struct NonFinite {
    /// The lowest shard that has it. Always 0 from [`Network::evaluate`](crate::Network::evaluate), which is
    /// not told the shard.
    pub shard: u32,
    /// Where it was first seen: for a loss the first layer whose outputs are not finite (none, if all are); for
    /// a gradient the layer it belongs to. One of the layout's, so that where a network has embeddings these are the first.
    pub layer: Option<usize>,
    /// What is not finite.
    pub what: NonFiniteKind,
}

/// What is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFiniteKind {
    /// The loss.
    Loss,
    /// The gradient.
    Gradient,
}

impl fmt::Display for NonFiniteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NonFiniteKind::Loss => "the loss",
            NonFiniteKind::Gradient => "the gradient",
        })
    }
}

struct LayerNote(Option<usize>);

impl fmt::Display for LayerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(layer) => write!(f, " (layer {layer})"),
            None => Ok(()),
        }
    }
}

/// Whether every value is finite: one integer maximum over the values without their signs.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    struct Largest<'a>(&'a [f32]);

    impl WithSimd for Largest<'_> {
        type Output = u32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> u32 {
            self.0.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff))
        }
    }

    Arch::new().dispatch(Largest(values)) < f32::INFINITY.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_one_value_anywhere() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..37 {
                let mut values = vec![-f32::MAX; 37];
                assert!(all_finite(&values));
                values[at] = bad;
                assert!(!all_finite(&values), "{bad} at {at}");
            }
        }
        assert!(all_finite(&[]));
    }

    #[test]
    fn says_where() {
        let error = NonFinite { shard: 3, layer: Some(1), what: NonFiniteKind::Gradient };
        assert_eq!(error.to_string(), "the gradient of shard 3 is not finite (layer 1)");
        let error = NonFinite { shard: 0, layer: None, what: NonFiniteKind::Loss };
        assert_eq!(error.to_string(), "the loss of shard 0 is not finite");
    }
}
