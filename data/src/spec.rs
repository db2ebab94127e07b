//! What to read and how to treat it, as the caller has already checked it. Reads no file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

named!(
    /// How features are scaled. Statistics come from the training rows alone.
    Scale {
        /// As they are in the file.
        #[default]
        None = "none",
        /// To mean 0 and population standard deviation 1.
        Standard = "standard",
        /// So that the training rows cover 0 to 1.
        MinMax = "minmax",
    }
);

named!(
    /// What to do about a missing cell: an empty one, or one of `NA`, `NaN`, `null`, `?` in any case.
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
    /// A file of its own.
    File(PathBuf),
    /// This share of the training file's rows, above 0 and below 1.
    Fraction(f64),
}

/// The tables of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// The training file. Paths are resolved by the caller.
    pub train: PathBuf,
    /// Measured once, at the end.
    pub test: Option<Source>,
    /// Measured after every epoch. A fraction is taken from what the test fraction left.
    pub validation: Option<Source>,
    /// Target columns, in the order of the network's outputs.
    pub target: Vec<String>,
    /// Feature columns, in the order of the network's inputs; `None`: every other column in file order.
    pub features: Option<Vec<String>>,
    /// How features are scaled.
    pub scale: Scale,
    /// What to do about a missing cell.
    pub missing: Missing,
}

/// How target cells become numbers; follows from the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Numbers as they are.
    Numbers,
    /// One column of labels, kept as the class index. Labels that are all numbers are ordered as numbers, others as text.
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
            assert_eq!(scale.name(), name);
            assert_eq!(serde_json::to_string(&scale).unwrap(), format!("\"{name}\""));
        }
        for &name in Missing::NAMES {
            let missing = Missing::from_name(name).unwrap();
            assert_eq!(missing.name(), name);
            assert_eq!(serde_json::from_str::<Missing>(&format!("\"{name}\"")).unwrap(), missing);
        }
        assert_eq!(Scale::from_name("Standard"), None);
        assert_eq!((Scale::default(), Missing::default()), (Scale::None, Missing::Error));
    }
}
