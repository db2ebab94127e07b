//! What a column of numbers holds. Knows no table.

use crate::columns::quantiles::{quantile, sorted};
use crate::sentinels;

/// Distinct numbers that are listed with their rows, at most.
const LISTED_MAX: usize = 100;

/// Numbers, missing ones left out.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenNumbers {
    /// Whether they are truth values.
    pub is_truth: bool,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub deviation: f64,
    /// Third central moment over the third power of the deviation; 0 where they are constant.
    pub skewness: f64,
    /// Quartiles, by linear interpolation.
    pub quartiles: [f64; 3],
    /// Whether all are whole numbers.
    pub are_whole: bool,
    /// Every distinct number with its rows, the least first, if there are 100 at most.
    pub values: Option<Vec<(f64, u64)>>,
    /// A number that may stand for missing cells.
    pub sentinel: Option<Sentinel>,
}

/// A number far from all others, in many rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentinel {
    /// The number.
    pub value: f64,
    /// Its rows.
    pub rows: u64,
    /// All others.
    pub others: Box<SeenNumbers>,
}

impl SeenNumbers {
    /// Of cells of which NaN is a missing one, with how many numbers differ; `None` if all are missing. Nothing is known of
    /// truth values here.
    pub(super) fn of(cells: &[f64]) -> Option<(SeenNumbers, u64)> {
        let present: Vec<f64> = cells.iter().filter(|cell| !cell.is_nan()).copied().collect();
        let rows = present.len() as f64;
        // Both zeros are one value.
        let sorted: Vec<f64> = sorted(&present).into_iter().map(|value| value + 0.0).collect();
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let mean = present.iter().sum::<f64>() / rows;
        let moment = |power| {
            let powers = present.iter().map(|value| (value - mean).powi(power));
            powers.sum::<f64>() / rows
        };
        let deviation = moment(2).sqrt();
        let skewness = match min == max || deviation == 0.0 {
            true => 0.0,
            false => {
                let powers = present.iter().map(|value| ((value - mean) / deviation).powi(3));
                powers.sum::<f64>() / rows
            }
        };
        let (mut distinct, mut values) = (0, Vec::new());
        for equal in sorted.chunk_by(|one, other| one == other) {
            distinct += 1;
            if values.len() < LISTED_MAX {
                values.push((equal[0], equal.len() as u64));
            }
        }
        let seen = SeenNumbers {
            is_truth: false,
            min,
            max,
            mean,
            deviation,
            skewness,
            quartiles: [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share)),
            are_whole: present.iter().all(|value| value.fract() == 0.0),
            sentinel: Sentinel::of(cells),
            values: (distinct as usize <= LISTED_MAX).then_some(values),
        };
        Some((seen, distinct))
    }
}

impl Sentinel {
    fn of(cells: &[f64]) -> Option<Sentinel> {
        let (value, rows) = sentinels::sentinel(cells)?;
        let others: Vec<f64> = cells.iter().filter(|cell| **cell != value).copied().collect();
        let (others, _) = SeenNumbers::of(&others)?;
        Some(Sentinel { value, rows, others: Box::new(others) })
    }
}
