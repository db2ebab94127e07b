//! Units of targets. A network may be trained on targets that are scaled; what is said of its outputs is said in the unit that
//! the targets had before. Knows no table and nothing of how the scaling was found.

use serde::{Deserialize, Serialize};

/// From what the network computes for one target to the target's own unit. All of it is `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Unit {
    /// `value * factor + offset`.
    Affine {
        /// What 0 is in the own unit.
        offset: f64,
        /// What 1 is more than that; above 0.
        factor: f64,
    },
}

impl Unit {
    /// The unit in which the network computes anyway.
    pub const SAME: Unit = Unit::Affine { offset: 0.0, factor: 1.0 };

    /// The value in the own unit.
    pub fn back(&self, value: f64) -> f64 {
        match *self {
            Unit::Affine { offset, factor } => value * factor + offset,
        }
    }

    /// The same less a number that is the unit's alone, 0 or nearly what all targets have in common: errors and deviations
    /// are what they are, and no digits are lost to a large offset.
    pub(crate) fn above_origin(&self, value: f64) -> f64 {
        match *self {
            Unit::Affine { factor, .. } => value * factor,
        }
    }

    /// The greatest size that [`Unit::above_origin`] gives for values up to this size.
    pub(crate) fn largest(&self, size: f64) -> f64 {
        match *self {
            Unit::Affine { factor, .. } => size * factor,
        }
    }

    /// What is wrong with its numbers, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        let Unit::Affine { offset, factor } = *self;
        let fits = offset.is_finite() && (FACTOR_MIN..=FACTOR_MAX).contains(&factor);
        (!fits).then(|| {
            format!(
                "found offset {offset:e} and factor {factor:e}, wanted finite numbers, and a factor from {FACTOR_MIN:e} \
                 to {FACTOR_MAX:e}"
            )
        })
    }
}

/// Factors for which sums of squares of a table's `f32` values stay finite, and more than 0.
const FACTOR_MIN: f64 = 1e-150;
const FACTOR_MAX: f64 = 1e101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_in_the_own_unit() {
        let unit = Unit::Affine { offset: 1_700_000_000.0, factor: 0.25 };
        assert_eq!((unit.back(-2.0), unit.above_origin(-2.0)), (1_699_999_999.5, -0.5));
        assert_eq!((Unit::SAME.back(0.1), Unit::SAME.above_origin(0.1)), (0.1, 0.1));
        assert_eq!(unit.problem(), None);
        for (offset, factor) in
            [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (0.0, 1e102)]
        {
            assert!(Unit::Affine { offset, factor }.problem().is_some(), "{offset} {factor}");
        }
    }

    #[test]
    fn json_is_stable() {
        let unit = Unit::Affine { offset: -0.5, factor: 2.0 };
        let json = r#"{"affine":{"offset":-0.5,"factor":2.0}}"#;
        assert_eq!(serde_json::to_string(&unit).unwrap(), json);
        assert_eq!(serde_json::from_str::<Unit>(json).unwrap(), unit);
    }
}
