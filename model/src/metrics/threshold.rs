//! The threshold of a model with one output and two classes, and how it is chosen: the one that gives class 1 the largest F1.
//! Computes from counts alone, so that whoever has the same counts chooses the same.

use serde::{Deserialize, Serialize};

use super::Counts;

/// Equal bins of scores from 0 to 1, whose bounds are the thresholds to choose from.
pub(crate) const BINS: usize = 1024;

/// A row with a larger score is predicted to be of class 1. A multiple of 1/1024 between 0 and 1, both excluded: `f32` and
/// `f64` hold it exactly, and no score is on another side of it than its bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Threshold(u16);

impl Threshold {
    /// Keras', and that of a model for which none was chosen.
    pub const HALF: Threshold = Threshold(BINS as u16 / 2);

    /// As a score.
    pub fn score(self) -> f32 {
        f32::from(self.0) / BINS as f32
    }

    /// The class of a row with such a score, 0 or 1.
    pub fn class(self, score: f32) -> usize {
        usize::from(score > self.score())
    }

    /// The first bin whose scores are above it.
    pub(crate) fn bin(self) -> usize {
        self.0.into()
    }
}

impl Default for Threshold {
    fn default() -> Threshold {
        Threshold::HALF
    }
}

impl From<Threshold> for f64 {
    fn from(threshold: Threshold) -> f64 {
        threshold.score().into()
    }
}

impl TryFrom<f64> for Threshold {
    type Error = String;

    fn try_from(value: f64) -> Result<Threshold, String> {
        let place = value * BINS as f64;
        match place.fract() == 0.0 && (1.0..BINS as f64).contains(&place) {
            true => Ok(Threshold(place as u16)),
            false => Err(format!(
                "found the threshold {value:?}, wanted a multiple of 1/{BINS} between 0 and 1"
            )),
        }
    }
}

/// The bin of a score: the `b`-th holds what is above `b / 1024`, up to and with the next bin's bound; the first holds 0, too.
pub(crate) fn bin(score: f32) -> usize {
    // Exact: the factor is a power of two.
    let above = (score * BINS as f32).ceil() as usize;
    above.saturating_sub(1).min(BINS - 1)
}

/// Rows of a table by their score: in each bin those of class 0 and those of class 1. Whole numbers.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    negatives: &'a [f64],
    positives: &'a [f64],
}

impl<'a> Scores<'a> {
    /// Of all bins of class 0, then all of class 1.
    pub(crate) fn new(bins: &'a [f64]) -> Scores<'a> {
        assert_eq!(bins.len(), 2 * BINS, "bins of two classes");
        let (negatives, positives) = bins.split_at(BINS);
        Scores { negatives, positives }
    }

    /// What a threshold makes of class 1.
    pub fn counts(&self, threshold: Threshold) -> Counts {
        let above = |bins: &[f64]| bins[threshold.bin()..].iter().sum::<f64>();
        let hits = above(self.positives);
        Counts {
            hits,
            predicted: hits + above(self.negatives),
            actual: self.positives.iter().sum(),
        }
    }

    /// All rows.
    pub fn rows(&self) -> f64 {
        self.negatives.iter().chain(self.positives).sum()
    }

    /// The threshold with the largest F1 of class 1, of equal ones the nearest to 0.5, of two as near the lower one. `None`
    /// where all rows are of one class: any threshold would be as good.
    pub fn best(&self) -> Option<Threshold> {
        let any = |bins: &[f64]| bins.iter().any(|&rows| rows > 0.0);
        if !any(self.negatives) || !any(self.positives) {
            return None;
        }
        let mut counts = self.counts(Threshold(1));
        let mut best = (Threshold(1), counts);
        for place in 2..BINS as u16 {
            let below = usize::from(place) - 1;
            counts.hits -= self.positives[below];
            counts.predicted -= self.positives[below] + self.negatives[below];
            let threshold = Threshold(place);
            let order = compare(&counts, &best.1);
            if order.is_gt() || order.is_eq() && threshold.distance() < best.0.distance() {
                best = (threshold, counts);
            }
        }
        Some(best.0)
    }
}

impl Threshold {
    /// From 0.5, in bins.
    fn distance(self) -> u16 {
        self.0.abs_diff(Threshold::HALF.0)
    }
}

/// Which F1 is larger, exactly: counts of one table of at most 2^31 rows, whose products fit.
fn compare(one: &Counts, other: &Counts) -> std::cmp::Ordering {
    let parts = |counts: &Counts| (counts.hits as u128, (counts.predicted + counts.actual) as u128);
    let ((hits, all), (other_hits, other_all)) = (parts(one), parts(other));
    (hits * other_all).cmp(&(other_hits * all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(rows: &[(f32, bool)]) -> Vec<f64> {
        let mut bins = vec![0.0; 2 * BINS];
        rows.iter().for_each(|&(score, is_1)| bins[BINS * usize::from(is_1) + bin(score)] += 1.0);
        bins
    }

    fn best(rows: &[(f32, bool)]) -> Option<f64> {
        Scores::new(&bins(rows)).best().map(f64::from)
    }

    #[test]
    fn a_score_is_on_the_side_of_its_bin() {
        let scores = (0..=4096).map(|place| place as f32 / 4096.0);
        let near = [f32::MIN_POSITIVE, 1e-45, 0.1, 0.3, 0.5f32.next_up(), 0.5f32.next_down(), 1.0];
        for score in scores.chain(near) {
            for place in 1..BINS as u16 {
                let threshold = Threshold(place);
                assert_eq!(threshold.class(score) == 1, bin(score) >= threshold.bin(), "{score}");
            }
        }
    }

    #[test]
    fn the_largest_f1_of_class_1() {
        // Above 0.25: 2 hits of 3 predicted. Above 0.75: 1 of 1. Above 0: 2 of 5.
        let rows = [(0.1, false), (0.2, false), (0.3, true), (0.7, false), (0.8, true)];
        assert_eq!(best(&rows), Some(307.0 / 1024.0), "the nearest to 0.5 of 205 to 307");
        // Two classes that any threshold from 0.2 to 0.8 tells apart.
        assert_eq!(best(&[(0.2, false), (0.8, true)]), Some(0.5));
        // From 0.1 to 0.3.
        assert_eq!(best(&[(0.1, false), (0.3, true)]), Some(307.0 / 1024.0));
        assert_eq!(best(&[(0.75, false), (0.9, true)]), Some(0.75), "0.75 is not above 0.75");
        // Two of two rows of class 1 among four, or one of two alone.
        let both = [(0.25, true), (0.5, false), (0.75, false), (1.0, true), (0.0, false)];
        let scores = bins(&both);
        let scores = Scores::new(&scores);
        assert_eq!(scores.counts(Threshold(200)).f1(), 4.0 / 6.0);
        assert_eq!(scores.counts(Threshold(768)).f1(), 2.0 / 3.0);
        // The nearest of those below 0.25 is farther than 0.75 itself.
        assert_eq!(scores.best().map(f64::from), Some(0.75));
    }

    #[test]
    fn one_class_or_no_rows_choose_none() {
        assert_eq!(best(&[(0.2, true), (0.8, true)]), None);
        assert_eq!(best(&[(0.2, false), (0.8, false)]), None);
        assert_eq!(best(&[]), None);
        // No threshold finds a row of class 1.
        assert_eq!(best(&[(0.0, true), (0.8, false)]), Some(0.5));
        // All scores are equal.
        assert_eq!(best(&[(0.9, true), (0.9, false), (0.9, false)]), Some(0.5));
        assert_eq!(best(&[(0.1, true), (0.1, false), (0.1, false)]), Some(102.0 / 1024.0));
    }

    #[test]
    fn every_threshold_is_tried_as_it_counts() {
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 40) as f32 / (1 << 24) as f32
        };
        let rows: Vec<_> = (0..400).map(|_| (next(), next() < 0.2)).collect();
        let counts = bins(&rows);
        let scores = Scores::new(&counts);
        let f1 = |threshold: Threshold| {
            let is_predicted = |row: &&(f32, bool)| threshold.class(row.0) == 1;
            let predicted = rows.iter().filter(is_predicted).count() as f64;
            let hits = rows.iter().filter(is_predicted).filter(|row| row.1).count() as f64;
            let actual = rows.iter().filter(|row| row.1).count() as f64;
            let found = Counts { hits, predicted, actual };
            assert_eq!(scores.counts(threshold), found);
            found.f1()
        };
        let best = scores.best().unwrap();
        let largest = (1..BINS as u16).map(|place| f1(Threshold(place))).fold(0.0, f64::max);
        assert_eq!(f1(best), largest);
        assert_eq!(scores.rows(), 400.0);
    }

    #[test]
    fn a_threshold_is_kept_as_a_number() {
        let json = |text: &str| serde_json::from_str::<Threshold>(text).map_err(|e| e.to_string());
        for place in 1..BINS as u16 {
            let text = serde_json::to_string(&Threshold(place)).unwrap();
            assert_eq!(json(&text), Ok(Threshold(place)));
        }
        assert_eq!(serde_json::to_string(&Threshold::HALF).unwrap(), "0.5");
        for bad in ["0.0", "1.0", "0.3", "-0.5", "1e300"] {
            assert!(json(bad).unwrap_err().starts_with("found the threshold "), "{bad}");
        }
    }
}
