//! What to do about a missing cell. Which cells are missing ones is said by the [`Dialect`](crate::Dialect).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::quantiles::{median, sorted};
use crate::selection::NUMBER_MAX;

/// What to do about a missing cell of a column. A target is never filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Stop and say where it is.
    #[default]
    Error,
    /// It takes the mean of the training rows' cells that are there; a missing target is an error.
    Mean,
    /// It takes their median; a missing target is an error.
    Median,
    /// Leave the row out.
    Drop,
    /// It takes this number; a missing target is an error.
    Constant(f64),
    /// It is a category of its own; for columns of categories alone.
    Category,
}

impl Missing {
    /// Every name that stands alone, in the order in which messages list them.
    pub const NAMES: &'static [&'static str] = &["error", "mean", "median", "drop"];

    /// Every name that stands alone in what is said of a single column.
    pub const COLUMN_NAMES: &'static [&'static str] =
        &["error", "mean", "median", "drop", "category"];

    /// The value of that name; `None` for a name that is not in [`Self::COLUMN_NAMES`].
    pub fn named(name: &str) -> Option<Missing> {
        match name {
            "error" => Some(Missing::Error),
            "mean" => Some(Missing::Mean),
            "median" => Some(Missing::Median),
            "drop" => Some(Missing::Drop),
            "category" => Some(Missing::Category),
            _ => None,
        }
    }

    /// A rule that fills with this number; `None` if sums of its squares might not be finite.
    pub fn constant(number: f64) -> Option<Missing> {
        (number.abs() <= NUMBER_MAX).then_some(Missing::Constant(number))
    }

    /// Whether a missing cell takes some number.
    pub fn fills(self) -> bool {
        matches!(self, Missing::Mean | Missing::Median | Missing::Constant(_))
    }

    /// Whether the number that a missing cell takes is found in the cells that are there.
    pub(crate) fn is_learned(self) -> bool {
        matches!(self, Missing::Mean | Missing::Median)
    }

    /// What a missing cell becomes, before it is scaled; `None` if it becomes nothing. `present` are the training rows' cells
    /// that are there, with their mean.
    pub(crate) fn fill(self, mean: f64, present: impl FnOnce() -> Vec<f64>) -> Option<f64> {
        match self {
            Missing::Error | Missing::Drop | Missing::Category => None,
            Missing::Mean => Some(mean),
            Missing::Median => Some(median(&sorted(&present()))),
            Missing::Constant(number) => Some(number),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Error => f.write_str("error"),
            Missing::Mean => f.write_str("mean"),
            Missing::Median => f.write_str("median"),
            Missing::Drop => f.write_str("drop"),
            Missing::Category => f.write_str("category"),
            Missing::Constant(number) => write!(f, "constant {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for &name in Missing::COLUMN_NAMES {
            let missing = Missing::named(name).unwrap();
            assert_eq!(missing.to_string(), name);
            assert_eq!(serde_json::from_str::<Missing>(&format!("\"{name}\"")).unwrap(), missing);
        }
        let constant = serde_json::to_string(&Missing::Constant(-1.5)).unwrap();
        assert_eq!(constant, r#"{"constant":-1.5}"#);
        assert_eq!(serde_json::from_str::<Missing>(&constant).unwrap(), Missing::Constant(-1.5));
        assert_eq!(Missing::constant(1e101), None);
        assert_eq!((Missing::named("Mean"), Missing::default()), (None, Missing::Error));
    }

    #[test]
    fn a_missing_cell_becomes() {
        let present = || vec![4.0, 1.0, 100.0, 2.0];
        for (missing, wanted) in [
            (Missing::Error, None),
            (Missing::Drop, None),
            (Missing::Mean, Some(26.75)),
            (Missing::Median, Some(3.0)),
            (Missing::Constant(-1.0), Some(-1.0)),
        ] {
            assert_eq!(missing.fill(26.75, present), wanted);
        }
    }
}
