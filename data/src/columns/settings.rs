//! What a job says of single columns, over what it says of all. Knows no table: whether such columns are there, and what they
//! may be told, is for whoever opens it.

use lockstep_parameters::{Parameter, ParameterError, Slot, Table};

use super::{ColumnEncoder, ColumnKind, DateOrder, Missing, Scale};

/// What a job says of one column; what it does not say is as for the whole table, or is inferred from the training rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnOverride {
    /// What its cells are.
    pub kind: Option<ColumnKind>,
    /// Whether the day or the month comes first in its dates, where they may be read either way.
    pub order: Option<DateOrder>,
    /// How it becomes numbers where it is no number.
    pub encoder: Option<ColumnEncoder>,
    /// Values of an embedding's vector.
    pub dimension: Option<usize>,
    /// Whether training changes an embedding's vectors.
    pub trainable: Option<bool>,
    /// How its numbers are scaled.
    pub scale: Option<Scale>,
    /// What to do about a missing cell.
    pub missing: Option<Missing>,
    /// Whether there is an input that says where a cell was missing.
    pub indicator: bool,
}

/// Most values of an embedding's vector that a job may ask for.
const DIMENSION_MAX: u64 = 65_536;

impl Table for ColumnOverride {
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::optional("kind", Slot::Choice(&mut self.kind)),
            Parameter::optional("order", Slot::Choice(&mut self.order)),
            Parameter::optional("encoder", Slot::Choice(&mut self.encoder)),
            Parameter::optional("dimension", Slot::Whole(&mut self.dimension, 1, DIMENSION_MAX)),
            Parameter::optional("trainable", Slot::Flag(&mut self.trainable)),
            Parameter::optional("scale", Slot::Choice(&mut self.scale)),
            Parameter::optional("missing", Slot::Choice(&mut self.missing)),
            Parameter::optional("indicator", Slot::Flag(&mut self.indicator)),
        ]
    }
}

impl ColumnOverride {
    /// Checks its numbers, whoever set them.
    ///
    /// # Errors
    /// The first that is out of its range, with its name.
    pub fn check(&self) -> Result<(), ParameterError> {
        lockstep_parameters::check({ *self }.parameters())
    }

    /// The kind that it says, or that what it says is for alone.
    pub(crate) fn implied_kind(&self) -> Option<ColumnKind> {
        let of_encoder = match self.encoder {
            Some(ColumnEncoder::OneHot | ColumnEncoder::Embedding) => Some(ColumnKind::Category),
            Some(ColumnEncoder::Date) => Some(ColumnKind::Date),
            Some(ColumnEncoder::Ignore) | None => None,
        };
        self.kind
            .or(of_encoder)
            .or(self.order.map(|_| ColumnKind::Date))
            .or(self.dimension.map(|_| ColumnKind::Category))
            .or(self.trainable.map(|_| ColumnKind::Category))
            .or(self.scale.map(|_| ColumnKind::Number))
            .or(self
                .missing
                .filter(|rule| *rule == Missing::Category)
                .map(|_| ColumnKind::Category))
    }

    /// What it says that contradicts itself, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        let kind = self.implied_kind()?;
        let of_kind = |key: &str, wanted: &str| {
            Some(format!(
                "found `{key}` for a column of kind {kind}, wanted it for {wanted}; take one out"
            ))
        };
        if self.order.is_some() && kind != ColumnKind::Date {
            return of_kind("order", "a date (`kind = \"date\"`)");
        }
        match self.encoder {
            Some(ColumnEncoder::OneHot | ColumnEncoder::Embedding)
                if kind != ColumnKind::Category =>
            {
                return of_kind("encoder", "a category (`kind = \"category\"`)");
            }
            Some(ColumnEncoder::Date) if kind != ColumnKind::Date => {
                return of_kind("encoder", "a date (`kind = \"date\"`)");
            }
            _ => {}
        }
        let is_embedding =
            !matches!(self.encoder, Some(ColumnEncoder::OneHot | ColumnEncoder::Date));
        if self.dimension.is_some() && !(is_embedding && kind == ColumnKind::Category) {
            return of_kind("dimension", "an embedding (`encoder = \"embedding\"`)");
        }
        if self.trainable.is_some() && !(is_embedding && kind == ColumnKind::Category) {
            return of_kind("trainable", "an embedding (`encoder = \"embedding\"`)");
        }
        if self.scale.is_some() && kind.is_text() {
            return of_kind("scale", "a number");
        }
        match self.missing {
            Some(rule) if rule.fills() && kind == ColumnKind::Category => of_kind(
                "missing",
                "a number or a date: a missing category is a category of its own (`missing = \"category\"`)",
            ),
            Some(Missing::Category) if kind != ColumnKind::Category => {
                of_kind("missing = \"category\"", "a category")
            }
            _ => None,
        }
    }
}

/// What is done to a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnSettings {
    /// How its numbers are scaled, or its categories or dates encoded.
    pub scale: Scale,
    /// What to do about a missing cell.
    pub missing: Missing,
    /// Whether an input is added after the column's own that is 1 where the cell was missing, 0 elsewhere.
    pub indicator: bool,
}
