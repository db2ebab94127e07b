//! Which epochs are shown, of runs of any length.

/// About how many epochs of a run are shown; the first and the last are.
const EPOCHS_SHOWN: u32 = 20;

/// Picks the epochs to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochsShown {
    /// The last epoch that ended; epochs that are repeated after a coordinator was lost are told once.
    last: u32,
}

impl EpochsShown {
    /// Whether to show an epoch of so many: the first that ends here, every so many, and the last.
    pub fn shows(&mut self, epoch: u32, epochs: u32) -> bool {
        let is_first = self.last == 0;
        let is_new = epoch > self.last;
        self.last = self.last.max(epoch);
        let every = epochs.div_ceil(EPOCHS_SHOWN).max(1);
        is_new && (is_first || epoch == epochs || epoch.is_multiple_of(every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(epochs: u32, ended: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut picks = EpochsShown::default();
        ended.into_iter().filter(|&epoch| picks.shows(epoch, epochs)).collect()
    }

    #[test]
    fn about_twenty_epochs_are_shown() {
        for (epochs, wanted) in [(1, 1), (3, 3), (20, 20), (21, 12), (100, 21), (1000, 21)] {
            let shown = shown(epochs, 1..=epochs);
            assert_eq!(shown.len(), wanted, "{epochs}: {shown:?}");
            assert_eq!((shown[0], shown[shown.len() - 1]), (1, epochs));
        }
        assert_eq!(shown(100, [57, 58, 60, 59, 60, 61, 65, 100]), [57, 60, 65, 100]);
    }
}
