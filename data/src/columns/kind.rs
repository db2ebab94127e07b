//! What kinds of columns there are, and what a job may say of one. Knows no table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Numbers.
    Number,
    /// Truth values, read as 1 and 0, and from there on numbers.
    Boolean,
    /// Texts, each the name of a category.
    Category,
    /// ISO dates or date-times, all in one form.
    Date,
}

impl ColumnKind {
    /// Every name, in the order in which messages list them.
    pub const NAMES: &'static [&'static str] = &["number", "boolean", "category", "date"];

    /// The kind of that name; `None` for a name that is not in [`Self::NAMES`].
    pub fn named(name: &str) -> Option<ColumnKind> {
        [ColumnKind::Number, ColumnKind::Boolean, ColumnKind::Category, ColumnKind::Date]
            .into_iter()
            .find(|kind| kind.to_string() == name)
    }

    /// Whether its cells are read as texts.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, ColumnKind::Category | ColumnKind::Date)
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnKind::Number => "number",
            ColumnKind::Boolean => "boolean",
            ColumnKind::Category => "category",
            ColumnKind::Date => "date",
        })
    }
}

/// How a job wants a column that is no number to become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnEncoder {
    /// A number for each category: 1 where the cell is of it, 0 elsewhere.
    OneHot,
    /// A vector for each category, which the network learns.
    Embedding,
    /// The parts of a date.
    Date,
    /// The column is left out.
    Ignore,
}

impl ColumnEncoder {
    /// Every name, in the order in which messages list them.
    pub const NAMES: &'static [&'static str] = &["one_hot", "embedding", "date", "ignore"];

    /// The encoder of that name; `None` for a name that is not in [`Self::NAMES`].
    pub fn named(name: &str) -> Option<ColumnEncoder> {
        [
            ColumnEncoder::OneHot,
            ColumnEncoder::Embedding,
            ColumnEncoder::Date,
            ColumnEncoder::Ignore,
        ]
        .into_iter()
        .find(|encoder| encoder.to_string() == name)
    }
}

impl fmt::Display for ColumnEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnEncoder::OneHot => "one_hot",
            ColumnEncoder::Embedding => "embedding",
            ColumnEncoder::Date => "date",
            ColumnEncoder::Ignore => "ignore",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for &name in ColumnKind::NAMES {
            let kind = ColumnKind::named(name).unwrap();
            assert_eq!(kind.to_string(), name);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
        }
        for &name in ColumnEncoder::NAMES {
            assert_eq!(ColumnEncoder::named(name).unwrap().to_string(), name);
        }
        assert_eq!((ColumnKind::named("text"), ColumnEncoder::named("onehot")), (None, None));
    }
}
