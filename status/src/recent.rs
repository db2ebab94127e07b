//! The last few values of something that is watched, whose median counts: so that one odd value neither warns nor takes a warning
//! back.

use std::collections::VecDeque;

/// Values that count.
pub(crate) const WINDOW: usize = 5;

/// The last values, [`WINDOW`] at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(VecDeque<f64>);

impl Recent {
    pub(crate) fn see(&mut self, value: f64) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn newest(&self) -> Option<f64> {
        self.0.back().copied()
    }

    /// The median of a full window.
    pub(crate) fn median(&self) -> Option<f64> {
        self.median_of(WINDOW)
    }

    /// The median of the last so many, if there are as many.
    pub(crate) fn median_of(&self, count: usize) -> Option<f64> {
        let first = self.0.len().checked_sub(count)?;
        let mut sorted: Vec<f64> = self.0.range(first..).copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(count / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_last() {
        let mut recent = Recent::default();
        for value in [9.0, 1.0, 3.0, 2.0] {
            recent.see(value);
            assert_eq!(recent.median(), None);
        }
        assert_eq!((recent.median_of(3), recent.median_of(0)), (Some(2.0), None));
        recent.see(8.0);
        assert_eq!((recent.median(), recent.newest(), recent.len()), (Some(3.0), Some(8.0), 5));
        recent.see(0.0);
        assert_eq!((recent.median(), recent.len()), (Some(2.0), 5));
    }
}
