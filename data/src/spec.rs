//! What to read and how to treat it, as the caller has already checked it. Reads no table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::table_file::TableFile;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every name, in the order in which messages list them.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name in job files and in [`Schema`](crate::Schema).
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }

            /// The value of that name; `None` for a name that is not in [`Self::NAMES`].
            pub fn from_name(name: &str) -> Option<$name> {
                match name {
                    $($text => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// How features are scaled. Statistics come from the training rows alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Scale {
    /// As they are in the file.
    #[default]
    #[serde(rename = "none")]
    None,
    /// To mean 0 and population standard deviation 1.
    #[serde(rename = "standard")]
    Standard,
    /// So that the training rows cover 0 to 1.
    #[serde(rename = "minmax")]
    MinMax,
    /// Every feature by the same number, above 0, whatever the rows hold.
    #[serde(rename = "divide")]
    Divide(f64),
}

impl Scale {
    /// Every name that stands alone, in the order in which messages list them.
    pub const NAMES: &'static [&'static str] = &["none", "standard", "minmax"];

    /// The value of that name; `None` for a name that is not in [`Self::NAMES`].
    pub fn from_name(name: &str) -> Option<Scale> {
        match name {
            "none" => Some(Scale::None),
            "standard" => Some(Scale::Standard),
            "minmax" => Some(Scale::MinMax),
            _ => None,
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scale::None => f.write_str("none"),
            Scale::Standard => f.write_str("standard"),
            Scale::MinMax => f.write_str("minmax"),
            Scale::Divide(divisor) => write!(f, "divide by {divisor}"),
        }
    }
}

named!(
    /// What to do about a missing cell. Which cells are missing ones is said by the [`Dialect`](crate::Dialect).
    Missing {
        /// Stop and say where it is.
        #[default]
        Error = "error",
        /// A feature takes its mean over the training rows; a missing target is an error.
        Mean = "mean",
        /// Leave the row out.
        Drop = "drop",
    }
);

/// Where the test or the validation table comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A table of its own.
    File(TableFile),
    /// This share of the training file's rows, above 0 and below 1.
    Fraction(f64),
}

/// The tables of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// The training table.
    pub train: TableFile,
    /// Measured once, at the end.
    pub test: Option<Source>,
    /// Measured after every epoch. A fraction is taken from what the test fraction left.
    pub validation: Option<Source>,
    /// Target columns, in the order of the network's outputs; [`TableFile::default_target`] alone stands for all that the
    /// training table's file of targets holds.
    pub target: Vec<String>,
    /// Feature columns, in the order of the network's inputs; `None`: every column that is no target, in file order.
    pub features: Option<Vec<String>>,
    /// How features are scaled.
    pub scale: Scale,
    /// What to do about a missing cell.
    pub missing: Missing,
    /// Whether fractions of a table of classes have each class's share of them.
    pub stratify: bool,
    /// How CSV files are written.
    pub dialect: Dialect,
}

/// How target cells become numbers; follows from the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Numbers as they are.
    Numbers,
    /// One column of labels, kept as the class index. Labels that are numbers come first, ordered as numbers, then
    /// others, byte by byte.
    Classes {
        /// Outputs of the network: the number of classes wanted.
        outputs: usize,
    },
    /// Columns of two labels each, kept as 0 and 1 in the same order as classes.
    Binary {
        /// Outputs of the network: the number of target columns wanted.
        outputs: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for &name in Scale::NAMES {
            let scale = Scale::from_name(name).unwrap();
            assert_eq!(scale.to_string(), name);
            assert_eq!(serde_json::to_string(&scale).unwrap(), format!("\"{name}\""));
        }
        for &name in Missing::NAMES {
            let missing = Missing::from_name(name).unwrap();
            assert_eq!(missing.name(), name);
            assert_eq!(serde_json::from_str::<Missing>(&format!("\"{name}\"")).unwrap(), missing);
        }
        let divide = serde_json::to_string(&Scale::Divide(255.0)).unwrap();
        assert_eq!(divide, r#"{"divide":255.0}"#);
        assert_eq!(serde_json::from_str::<Scale>(&divide).unwrap(), Scale::Divide(255.0));
        assert_eq!(Scale::from_name("Standard"), None);
        assert_eq!((Scale::default(), Missing::default()), (Scale::None, Missing::Error));
    }
}
