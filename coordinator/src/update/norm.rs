//! The global norm of a gradient, in an order that follows from the layout alone, and the scale that it leads to. Knows neither
//! weights nor what they are updated by.

/// The scale for a gradient of this global norm: Keras' `clip_by_global_norm`.
pub(crate) fn clip_scale(clip_norm: f32, sums_of_squares: impl Iterator<Item = f64>) -> f32 {
    let norm = sums_of_squares.fold(0.0, |sum, square| sum + square).sqrt();
    let clip_norm = f64::from(clip_norm);
    (clip_norm / norm.max(clip_norm)) as f32
}

/// A part of a block of the norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormPart<'a> {
    pub(crate) gradient: &'a [f32],
    /// Row squares of its first values. They stand for the squares of these.
    pub(crate) squares: &'a [f32],
}

/// The sum of the squares of a block of the norm, in `f64`: 8 lanes by position, each in order, lanes added in order. The
/// block comes in parts, each but the last a multiple of 8 values long.
/// The global norm is the root of the blocks' sums, added in their order.
pub(crate) fn sum_of_squares<'a>(parts: impl Iterator<Item = NormPart<'a>>) -> f64 {
    let mut lanes = [0f64; 8];
    for NormPart { gradient, squares } in parts {
        let (squared, plain) = gradient.split_at(squares.len());
        for (place, &square) in squares.iter().enumerate() {
            lanes[place % 8] += f64::from(square);
        }
        // Up to where the lanes begin anew.
        let (first, plain) = plain.split_at(plain.len().min(squared.len().wrapping_neg() % 8));
        add_squares(&mut lanes[squared.len() % 8..], first);
        let (whole, rest) = plain.as_chunks::<8>();
        for values in whole {
            add_squares(&mut lanes, values);
        }
        add_squares(&mut lanes, rest);
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

/// Adds the square of each value to its lane.
#[inline(always)]
pub(super) fn add_squares(lanes: &mut [f64], values: &[f32]) {
    for (lane, &value) in lanes.iter_mut().zip(values) {
        *lane += f64::from(value) * f64::from(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(gradient: &'a [f32], squares: &'a [f32]) -> NormPart<'a> {
        NormPart { gradient, squares }
    }

    #[test]
    fn norms() {
        let values: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert_eq!(sum_of_squares([part(&values, &[])].into_iter()), 2109.0);
        let parts = [part(&values[..8], &[]), part(&values[8..], &[])];
        assert_eq!(sum_of_squares(parts.into_iter()), 2109.0);
    }

    /// Row squares that are the values' own give the same bits, wherever they end; others count in the values' place.
    #[test]
    fn row_squares_stand_for_the_squares_of_their_values() {
        let values: Vec<f32> = (0..43).map(|i| 1.5 * i as f32 - 7.0).collect();
        let own: Vec<f32> = values.iter().map(|value| value * value).collect();
        let wanted = sum_of_squares([part(&values, &[])].into_iter());
        for squared in 0..=values.len() {
            let found = sum_of_squares([part(&values, &own[..squared])].into_iter());
            assert_eq!(found.to_bits(), wanted.to_bits(), "{squared}");
            let parts = [part(&values[..16], &own[..squared.min(16)]), part(&values[16..], &[])];
            assert_eq!(sum_of_squares(parts.into_iter()).to_bits(), wanted.to_bits());
        }
        let found = sum_of_squares([part(&[3.0, 4.0, 5.0], &[1.0, 2.0])].into_iter());
        assert_eq!(found, 1.0 + 2.0 + 25.0);
    }

    #[test]
    fn scales() {
        assert_eq!(clip_scale(1.0, [25.0].into_iter()), 0.2);
        assert_eq!(clip_scale(10.0, [9.0, 16.0].into_iter()), 1.0);
        assert_eq!(clip_scale(1.0, [0.0].into_iter()), 1.0);
    }
}
