//! One column of a schema, fitted: its name, what is done to it, and what that became in the training rows.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Back, ColumnSettings, Fitted, Missing, Scale, Seen, State};

/// A feature, or a target that is a number or a label, as the training rows taught it.
#[derive(Clone)]
pub struct Column {
    name: String,
    settings: ColumnSettings,
    fill: Option<f64>,
    fitted: Arc<dyn Fitted>,
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
        Column { name, settings, fill, fitted }
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

    /// Network inputs that a cell becomes, or 1 for a target.
    pub fn width(&self) -> usize {
        self.fitted.outputs() + usize::from(self.settings.indicator)
    }

    /// How an output goes back into the table's unit, if it can.
    pub fn back(&self) -> Option<Back> {
        self.fitted.back()
    }

    /// Computes the network inputs of some cells, input after input, in `f64`: NaN is a missing cell, which is filled here.
    /// `filled` is for its own use.
    pub fn encode(&self, cells: &[f64], filled: &mut Vec<f64>, out: &mut Vec<f64>) {
        let rows = cells.len();
        out.clear();
        out.resize(self.width() * rows, 0.0);
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
        let KeptColumn { name, scale, fitted, missing, fill, indicator } = self;
        let fault = |problem: &str| Err(format!("column {name:?}: {problem}"));
        let Some(fitted) = scale.restore(&fitted) else {
            return fault("what its scale has learned does not fit the scale");
        };
        let fill_fits = match (missing, fill) {
            (Missing::Constant(number), Some(fill)) => number == fill,
            (missing, Some(fill)) => missing.is_learned() && fill.is_finite(),
            (missing, None) => !missing.fills(),
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
        Ok(Column::new(name, settings, fill, fitted))
    }
}

#[cfg(test)]
mod tests {
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
