//! Exponential moving averages of weights, with Keras 3's formula and defaults (`use_ema`): Polyak and Juditsky 1992, with weights
//! that fall off.
//!
//! Every value is averaged by itself, with the operations in the order written here. Knows no optimizer: it sees new weights,
//! whatever made them.

/// How weights are averaged over the updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaging {
    /// The share of the old average in the new one, 0 to 1.
    pub momentum: f32,
    /// So many updates lie between two of which the weights become their average; `None` for never in mid-run.
    pub overwrite_frequency: Option<u64>,
}

/// Keras' default of `ema_momentum`.
pub(crate) const MOMENTUM_DEFAULT: f32 = 0.99;

impl Default for Averaging {
    fn default() -> Averaging {
        Averaging { momentum: MOMENTUM_DEFAULT, overwrite_frequency: None }
    }
}

impl Averaging {
    /// Takes the weights after update number `update` (from 1) into their averages, and puts these in the place of the weights where
    /// that is due. The first average is the first weights.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline(always)]
    pub(super) fn take_in(&self, update: u64, weights: &mut [f32], averages: &mut [f32]) {
        self.add(update, weights, averages);
        if self.overwrites(update) {
            weights.copy_from_slice(averages);
        }
    }

    /// Takes weights into their averages, which belong to update number `update` or, where one takes several steps, to a step before
    /// it.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline(always)]
    pub(super) fn add(&self, update: u64, weights: &[f32], averages: &mut [f32]) {
        assert_eq!(weights.len(), averages.len());
        let momentum = if update <= 1 { 0.0 } else { self.momentum };
        let rest = 1.0 - momentum;
        for (average, &weight) in averages.iter_mut().zip(weights) {
            *average = momentum * *average + rest * weight;
        }
    }

    fn overwrites(&self, update: u64) -> bool {
        self.overwrite_frequency.is_some_and(|frequency| update.is_multiple_of(frequency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn averages(averaging: Averaging, weights: &[f32]) -> Vec<[f32; 2]> {
        let mut average = [f32::MAX];
        let updates = (1..).zip(weights).map(|(update, &weight)| {
            let mut weights = [weight];
            averaging.take_in(update, &mut weights, &mut average);
            [average[0], weights[0]]
        });
        updates.collect()
    }

    #[test]
    fn the_first_average_is_the_first_weights() {
        let halves = Averaging { momentum: 0.5, ..Averaging::default() };
        let found = averages(halves, &[4.0, 2.0, 1.0]);
        assert_eq!(found, [[4.0, 4.0], [3.0, 2.0], [2.0, 1.0]]);
        let last = Averaging { momentum: 0.0, ..Averaging::default() };
        assert_eq!(averages(last, &[4.0, 2.0]), [[4.0, 4.0], [2.0, 2.0]]);
        let first = Averaging { momentum: 1.0, ..Averaging::default() };
        assert_eq!(averages(first, &[4.0, 2.0]), [[4.0, 4.0], [4.0, 2.0]]);
    }

    #[test]
    fn every_few_updates_it_takes_the_weights_place() {
        let often = Averaging { momentum: 0.5, overwrite_frequency: Some(2) };
        let found = averages(often, &[4.0, 2.0, 1.0, 0.0]);
        assert_eq!(found, [[4.0, 4.0], [3.0, 3.0], [2.0, 1.0], [1.0, 1.0]]);
    }
}
