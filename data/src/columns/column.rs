//! One column of a schema, fitted: its name, what is done to it, and what that became in the training rows.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::date_form::DateForm;
use super::{
    Back, ColumnEncoder, ColumnKind, ColumnOverride, ColumnSettings, Fitted, Missing, Scale, Seen,
    State,
};
use crate::labels::{self, Classes};

/// A feature, or a target that is a number or a label, as the training rows taught it.
#[derive(Clone)]
pub struct Column {
    name: String,
    settings: ColumnSettings,
    fill: Option<f64>,
    pub(super) fitted: Arc<dyn Fitted>,
    pub(super) reading: Reading,
}

/// From a cell as it is in the table to the number that is encoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading {
    /// It is one.
    Numbers,
    /// Its place among these categories, from 1 on; 0 where it is none of them. What a missing one is says the fill: the
    /// place after the last, if the training rows have a missing one, or else 0.
    Categories(Vec<String>),
    /// Its seconds from 1970 on.
    Dates(DateForm),
}

impl Column {
    /// A column of numbers as they are, or of labels.
    pub fn as_it_is(name: impl Into<String>, missing: Missing) -> Column {
        let settings = ColumnSettings { missing, ..ColumnSettings::default() };
        Column::new(name.into(), settings, None, Scale::NONE.fit(&Seen::of(&[])))
    }

    /// A column of numbers that are all here, such as a target in memory.
    ///
    /// # Panics
    /// If there is none.
    pub fn of_numbers(name: impl Into<String>, scale: Scale, numbers: &[f64]) -> Column {
        assert!(!numbers.is_empty(), "a column is fitted to at least one row");
        let settings = ColumnSettings { scale, ..ColumnSettings::default() };
        Column::new(name.into(), settings, None, scale.fit(&Seen::of(numbers)))
    }

    pub(crate) fn new(
        name: String,
        settings: ColumnSettings,
        fill: Option<f64>,
        fitted: Arc<dyn Fitted>,
    ) -> Column {
        Column { name, settings, fill, fitted, reading: Reading::Numbers }
    }

    /// The same of texts.
    pub(crate) fn reading(self, reading: Reading) -> Column {
        Column { reading, ..self }
    }

    /// What its cells are; truth values are numbers here.
    pub fn kind(&self) -> ColumnKind {
        match self.reading {
            Reading::Numbers => ColumnKind::Number,
            Reading::Categories(_) => ColumnKind::Category,
            Reading::Dates(_) => ColumnKind::Date,
        }
    }

    /// Its categories in their order, without a missing one; none for other kinds.
    pub fn categories(&self) -> &[String] {
        match &self.reading {
            Reading::Categories(categories) => categories,
            Reading::Numbers | Reading::Dates(_) => &[],
        }
    }

    /// How its dates are written, if it has such.
    pub(crate) fn date_form(&self) -> Option<DateForm> {
        match self.reading {
            Reading::Dates(form) => Some(form),
            Reading::Numbers | Reading::Categories(_) => None,
        }
    }

    /// Places that a category has, a missing one included: those of a table of vectors less the one for what is unseen.
    pub(crate) fn places(&self) -> usize {
        let categories = self.categories().len();
        categories + usize::from(self.fill.is_some_and(|fill| fill > categories as f64))
    }

    /// Rows of the table that the network learns, and values of one; `None` for a column of numbers.
    pub(crate) fn embedding(&self) -> Option<(usize, usize)> {
        Some((1 + self.places(), self.fitted.dimension()?))
    }

    /// Finds the number of each text of the column.
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        match &self.reading {
            Reading::Numbers => Lookup::Dates(None),
            Reading::Categories(categories) => Lookup::Categories(Classes::new(categories)),
            Reading::Dates(form) => Lookup::Dates(Some(*form)),
        }
    }

    /// Its name in the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is done to it.
    pub fn settings(&self) -> ColumnSettings {
        self.settings
    }

    /// What a missing cell becomes before scaling, if it becomes a number.
    pub fn fill(&self) -> Option<f64> {
        self.fill
    }

    /// Numbers that a cell becomes for the network, or 1 for a target. The place of an embedded category is none of them.
    pub fn width(&self) -> usize {
        self.encoded_width() - usize::from(self.fitted.dimension().is_some())
    }

    /// Values that a cell becomes.
    fn encoded_width(&self) -> usize {
        self.fitted.outputs() + usize::from(self.settings.indicator)
    }

    /// What is done to it, as a job says it.
    pub(crate) fn said(&self) -> ColumnOverride {
        let ColumnSettings { scale, missing, indicator } = self.settings;
        let (missing, kind) = (Some(missing), self.kind());
        let encoder = match (kind, self.fitted.dimension()) {
            (ColumnKind::Number | ColumnKind::Boolean, _) => {
                let scale = Some(scale);
                return ColumnOverride { scale, missing, indicator, ..ColumnOverride::default() };
            }
            (ColumnKind::Date, _) => ColumnEncoder::Date,
            (ColumnKind::Category, None) => ColumnEncoder::OneHot,
            (ColumnKind::Category, Some(_)) => ColumnEncoder::Embedding,
        };
        let (kind, encoder, dimension) = (Some(kind), Some(encoder), self.fitted.dimension());
        let order = self.date_form().and_then(DateForm::order);
        let (scale, trainable) = (None, None);
        ColumnOverride { kind, order, encoder, dimension, trainable, scale, missing, indicator }
    }

    /// How an output goes back into the table's unit, if it can.
    pub fn back(&self) -> Option<Back> {
        self.fitted.back()
    }

    /// Computes the values that the network gets of some cells, value after value, in `f64`: NaN is a missing cell, which is
    /// filled here.
    /// `filled` is for its own use.
    pub fn encode(&self, cells: &[f64], filled: &mut Vec<f64>, out: &mut Vec<f64>) {
        let rows = cells.len();
        out.clear();
        out.resize(self.encoded_width() * rows, 0.0);
        let present = match self.fill {
            None => cells,
            Some(fill) => {
                filled.clear();
                filled.extend(cells.iter().map(|cell| if cell.is_nan() { fill } else { *cell }));
                filled
            }
        };
        for output in 0..self.fitted.outputs() {
            self.fitted.encode(present, output, &mut out[output * rows..][..rows]);
        }
        if self.settings.indicator {
            let indicator = &mut out[self.fitted.outputs() * rows..];
            indicator.iter_mut().zip(cells).for_each(|(out, cell)| *out = f64::from(cell.is_nan()));
        }
    }

    /// Whether a number that no `f32` holds is as good as any.
    pub(crate) fn takes_any_size(&self) -> bool {
        self.settings.scale.takes_any_size()
    }

    pub(crate) fn formula(&self, cell: f64) -> Option<String> {
        self.fitted.formula(cell)
    }
}

/// Finds the number of each text of a column.
pub(crate) enum Lookup<'a> {
    /// Its place among these categories, from 1 on; 0 where it is none of them.
    Categories(Classes<'a>),
    /// The seconds of a date that goes with this form; infinite for any other text.
    Dates(Option<DateForm>),
}

impl Lookup<'_> {
    /// The number of each of these texts.
    pub(crate) fn numbers(&self, texts: &[String]) -> Vec<f64> {
        let number = |text: &String| match self {
            Lookup::Categories(places) => places.find(text).map_or(0.0, |at| f64::from(at + 1)),
            Lookup::Dates(form) => {
                form.and_then(|form| form.seconds(text)).unwrap_or(f64::INFINITY)
            }
        };
        texts.iter().map(number).collect()
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KeptColumn::from(self).fmt(f)
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        KeptColumn::from(self) == KeptColumn::from(other)
    }
}

/// A column as a model keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptColumn {
    pub(crate) name: String,
    /// Only where it is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<ColumnKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) categories: Option<Vec<String>>,
    /// How dates are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<String>,
    pub(crate) scale: Scale,
    /// What the scale has learned.
    #[serde(default, skip_serializing_if = "State::is_empty")]
    pub(crate) fitted: State,
    pub(crate) missing: Missing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fill: Option<f64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) indicator: bool,
}

impl From<&Column> for KeptColumn {
    fn from(column: &Column) -> KeptColumn {
        let ColumnSettings { scale, missing, indicator } = column.settings;
        KeptColumn {
            name: column.name.clone(),
            kind: Some(column.kind()).filter(|kind| *kind != ColumnKind::Number),
            categories: match &column.reading {
                Reading::Categories(categories) => Some(categories.clone()),
                Reading::Numbers | Reading::Dates(_) => None,
            },
            form: column.date_form().map(|form| form.to_string()),
            scale,
            fitted: column.fitted.state(),
            missing,
            fill: column.fill,
            indicator,
        }
    }
}

impl KeptColumn {
    /// The column, or what contradicts what.
    pub(crate) fn restore(self) -> Result<Column, String> {
        let KeptColumn { name, kind, categories, form, scale, fitted, missing, fill, indicator } =
            self;
        let fault = |problem: &str| Err(format!("column {name:?}: {problem}"));
        let form = form.as_deref().map(DateForm::named);
        let reading = match (kind.unwrap_or(ColumnKind::Number), categories, form) {
            (ColumnKind::Number, None, None) => Reading::Numbers,
            (ColumnKind::Category, Some(categories), None) => Reading::Categories(categories),
            (ColumnKind::Date, None, Some(Some(form))) => Reading::Dates(form),
            _ => return fault("its kind does not fit its categories or its form of dates"),
        };
        if !scale.fits(kind.unwrap_or(ColumnKind::Number)) {
            return fault("its encoder is for columns of another kind");
        }
        let Some(fitted) = scale.restore(&fitted) else {
            return fault("what its scale has learned does not fit the scale");
        };
        let fill_fits = match (missing, fill) {
            (Missing::Constant(number), Some(fill)) => number == fill,
            (Missing::Category, Some(fill)) => match &reading {
                Reading::Categories(list) => fill == 0.0 || fill == (list.len() + 1) as f64,
                Reading::Numbers | Reading::Dates(_) => false,
            },
            (missing, Some(fill)) => missing.is_learned() && fill.is_finite(),
            (missing, None) => !missing.fills() && missing != Missing::Category,
        };
        if !fill_fits {
            return fault(
                "the number that it is filled with does not fit its rule for missing cells",
            );
        }
        if indicator && fill.is_none() {
            return fault("it has an indicator of missing cells and no number to fill them with");
        }
        let settings = ColumnSettings { scale, missing, indicator };
        let column = Column::new(name.clone(), settings, fill, fitted).reading(reading);
        let fault = |problem: &str| Err(format!("column {name:?}: {problem}"));
        if column.kind() == ColumnKind::Category {
            if labels::categories(column.categories().to_vec()) != column.categories() {
                return fault("its categories are not in their order, each once");
            }
            let is_embedded = column.fitted.dimension().is_some();
            if column.places() == 0 || !is_embedded && column.fitted.outputs() != column.places() {
                return fault("its encoder is for another number of categories");
            }
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_graph::{Graph, Value};

    use super::*;

    /// An encoder of two inputs, such as a date or a category has.
    #[derive(Debug)]
    struct SquareAndCube;

    impl Fitted for SquareAndCube {
        fn outputs(&self) -> usize {
            2
        }

        fn encode(&self, cells: &[f64], output: usize, out: &mut [f64]) {
            out.iter_mut().zip(cells).for_each(|(out, cell)| *out = cell.powi(2 + output as i32));
        }

        fn describe(&self, _: &mut Graph, cells: Value) -> Value {
            cells
        }

        fn state(&self) -> State {
            State::new()
        }

        fn formula(&self, _: f64) -> Option<String> {
            None
        }

        fn back(&self) -> Option<Back> {
            None
        }
    }

    #[test]
    fn a_cell_becomes_as_many_inputs_as_its_encoder_has_and_one_for_the_indicator() {
        let settings = ColumnSettings { missing: Missing::Mean, ..ColumnSettings::default() };
        let (mut filled, mut out) = (vec![9.0], vec![9.0; 99]);
        let cells = [3.0, f64::NAN];
        let column = Column::new("a".into(), settings, Some(-2.0), Arc::new(SquareAndCube));
        column.encode(&cells, &mut filled, &mut out);
        assert_eq!((column.width(), &out[..]), (2, &[9.0, 4.0, 27.0, -8.0][..]));
        let settings = ColumnSettings { indicator: true, ..settings };
        let column = Column::new("a".into(), settings, Some(-2.0), Arc::new(SquareAndCube));
        column.encode(&cells, &mut filled, &mut out);
        assert_eq!((column.width(), &out[..]), (3, &[9.0, 4.0, 27.0, -8.0, 0.0, 1.0][..]));
    }
}
