//! The weights of training rows: a column that is no feature, of numbers that are at least 0.
//!
//! It is read with the others, as the last number of a row, and no schema knows of it: tables to measure and to predict need
//! no weights.

use crate::error::{DataError, no_column, quote};
use crate::raw::RawTable;
use crate::readers::open_table::OpenTable;
use crate::selection::{CellKind, OnText, Selected};
use crate::spec::TableSpec;

/// The column with the weights in the training table, if the job names one.
pub(crate) fn column(spec: &TableSpec, opened: &dyn OpenTable) -> Result<Option<usize>, DataError> {
    let Some(name) = &spec.sample_weight else { return Ok(None) };
    let others = [("data.target", Some(&spec.target)), ("data.features", spec.features.as_ref())];
    for (key, names) in others {
        if names.is_some_and(|names| names.contains(name)) {
            let name = quote(name.as_bytes());
            let problem = format!("found {name}, which is also in `{key}`; take it out of one");
            return Err(DataError::Spec { key: "data.sample_weight", problem });
        }
    }
    let found = opened.find(name)?;
    let Some(column) = found.filter(|column| !opened.targets().contains(column)) else {
        return Err(no_column(opened.path(), name, "data.sample_weight", opened.columns()));
    };
    Ok(Some(column))
}

/// How the column is read.
pub(crate) fn selected(column: usize) -> Selected {
    let text = OnText::Error(Some("a weight is a number of at least 0"));
    Selected {
        column,
        cells: CellKind::Numbers { takes_any_size: false, text },
        missing: Some("give it one: a number of at least 0"),
        drops: false,
    }
}

/// The weights of these rows of the training table, which are in the file's order; `None` if none were read.
pub(crate) fn of(raw: &RawTable, rows: &[u32]) -> Result<Option<Vec<f32>>, DataError> {
    let Some(selected) = &raw.selection.weight else { return Ok(None) };
    // The last number of a row.
    let place = raw.selection.number_width() - 1;
    let mut weights = Vec::with_capacity(rows.len());
    raw.visit_columns(rows, &[place], |block, numbers, places| {
        places.each(block.number(numbers[0]), |cell| weights.push(cell as f32));
    });
    match weights.iter().position(|weight| *weight < 0.0) {
        None => Ok(Some(weights)),
        Some(at) => {
            let problem = format!("found the weight {}, wanted at least 0", weights[at]);
            Err(raw.cell_error(rows[at], selected.column, problem))
        }
    }
}
