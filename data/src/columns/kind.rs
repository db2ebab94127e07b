//! What kinds of columns there are, and what a job may say of one. Knows no table.

use lockstep_parameters::choices;
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
    /// Whether its cells are read as texts.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, ColumnKind::Category | ColumnKind::Date)
    }
}

choices!(ColumnKind {
    "number" => Number,
    "boolean" => Boolean,
    "category" => Category,
    "date" => Date,
});

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

choices!(ColumnEncoder {
    "one_hot" => OneHot,
    "embedding" => Embedding,
    "date" => Date,
    "ignore" => Ignore,
});

#[cfg(test)]
mod tests {
    use lockstep_parameters::Choice;

    use super::*;

    #[test]
    fn names_go_both_ways_and_match_serde() {
        for name in ColumnKind::names() {
            let kind = ColumnKind::named(name).unwrap();
            assert_eq!(kind.to_string(), name);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
        }
        for name in ColumnEncoder::names() {
            assert_eq!(ColumnEncoder::named(name).unwrap().to_string(), name);
        }
        assert_eq!((ColumnKind::named("text"), ColumnEncoder::named("onehot")), (None, None));
    }
}
