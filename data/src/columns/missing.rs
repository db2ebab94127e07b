//! What to do about a missing cell. Which cells are missing ones is said by the [`Dialect`](crate::Dialect).

use lockstep_parameters::{Range, choices};
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
    /// It is a category of its own; for columns of categories alone.
    Category,
    /// It takes this number; a missing target is an error.
    Constant(f64),
}

/// Numbers of which sums of squares are finite.
const FILLING: Range =
    Range::new("a number of at most 1e100 in size", |number| number.abs() <= NUMBER_MAX);

choices!(Missing {
    "error" => Error,
    "mean" => Mean,
    "median" => Median,
    "drop" => Drop,
    "category" => Category,
    "constant" => Constant(number = 0.0 => Number(FILLING)),
});

impl Missing {
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

#[cfg(test)]
mod tests {
    use lockstep_parameters::{AnyChoice, Choice};

    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for name in ["error", "mean", "median", "drop", "category"] {
            let missing = Missing::named(name).unwrap();
            assert_eq!(missing.to_string(), name);
            assert_eq!(serde_json::from_str::<Missing>(&format!("\"{name}\"")).unwrap(), missing);
        }
        assert_eq!(Missing::Constant(-1.5).to_string(), "constant -1.5");
        let constant = serde_json::to_string(&Missing::Constant(-1.5)).unwrap();
        assert_eq!(constant, r#"{"constant":-1.5}"#);
        assert_eq!(serde_json::from_str::<Missing>(&constant).unwrap(), Missing::Constant(-1.5));
        assert!(Missing::Constant(1e101).check().is_err());
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
