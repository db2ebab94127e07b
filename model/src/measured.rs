//! What the sums of a table that was measured say besides loss and metrics: see `metrics/tally`. Measures nothing.

use lockstep_proto::frame::SUMS_LEN_MAX;

use crate::metrics::{self, ClassTally, Scores, Tally, Threshold, Widths};
use crate::network::Network;

impl Network {
    /// Length of the vectors of sums of a table that is measured: those of loss and metrics, then what is counted besides.
    pub fn table_sums_len(&self) -> usize {
        self.sums_len() + self.tally().len(self.target_widths())
    }

    /// The rows of a measured table by score, where there is one output with two classes; `None` elsewhere.
    ///
    /// # Panics
    /// As [`Network::report`].
    pub fn scores<'a>(&self, sums: &'a [f64]) -> Option<Scores<'a>> {
        let (_, part) = self.parted(sums);
        self.tally().scores(part).filter(|_| !part.is_empty())
    }

    /// What was counted of each target whose values are classes, a score being held against `threshold` where there is one output with
    /// two classes. Empty where targets are numbers, or there are too many to count.
    ///
    /// # Panics
    /// As [`Network::report`].
    pub fn class_tallies(&self, sums: &[f64], threshold: Threshold) -> Vec<ClassTally> {
        let (_, part) = self.parted(sums);
        self.tally().classes(self.target_widths(), part, threshold)
    }

    /// `r2` of a measured table of so many rows over those targets that differ in it, whatever the metrics are; `None` where there are
    /// none, or targets are classes.
    ///
    /// # Panics
    /// As [`Network::report`].
    pub fn explained(&self, sums: &[f64], rows: u64) -> Option<f64> {
        let (_, part) = self.parted(sums);
        self.tally().explained(part, rows as f64)
    }

    /// Has the metrics of a measured table that count rows by predicted class count by this threshold, where there is one output with
    /// two classes.
    ///
    /// # Panics
    /// As [`Network::report`].
    pub fn count_at(&self, threshold: Threshold, sums: &mut [f64]) {
        let Some(scores) = self.scores(sums) else { return };
        let (class_1, rows) = (scores.counts(threshold), scores.rows());
        metrics::at_threshold(&self.spec().metrics, &class_1, rows, sums);
    }

    /// Outputs, and targets of a row.
    pub(crate) fn target_widths(&self) -> Widths {
        (self.outputs(), self.target_width())
    }

    pub(crate) fn tally(&self) -> Tally {
        let room = SUMS_LEN_MAX.saturating_sub(self.sums_len());
        Tally::of(self.spec().loss, self.target_widths(), room)
    }

    /// Sums of loss and metrics, and those of what is counted besides; of a step none.
    pub(crate) fn parted<'a>(&self, sums: &'a [f64]) -> (&'a [f64], &'a [f64]) {
        let is_ours = [self.sums_len(), self.table_sums_len()].contains(&sums.len());
        assert!(is_ours, "sums of another network");
        sums.split_at(self.sums_len())
    }
}
