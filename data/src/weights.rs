//! The weights of training rows: a column that is no feature, of numbers that are at least 0.
//!
//! It is read by itself, in a second pass over the file, so that no format and no schema has to know of it: tables to measure
//! and to predict need no weights.

use crate::error::{DataError, quote, suggest};
use crate::raw::RawTable;
use crate::readers::open_table::OpenTable;
use crate::selection::{CellKind, OnText, Selected, Selection};
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
        let near = suggest(name, opened.columns());
        let name = quote(name.as_bytes());
        let problem = format!("found no column {name}, wanted by `data.sample_weight`; {near}");
        return Err(DataError::table(opened.path(), problem));
    };
    Ok(Some(column))
}

/// The weights of these rows of the training table, which are in the file's order; `None` if the job names no column.
pub(crate) fn read(spec: &TableSpec, rows: &[u32]) -> Result<Option<Vec<f32>>, DataError> {
    if spec.sample_weight.is_none() {
        return Ok(None);
    }
    let opened = spec.train.open(&spec.dialect)?;
    let Some(column) = column(spec, &*opened)? else { return Ok(None) };
    let text = OnText::Error(Some("a weight is a number of at least 0"));
    let selected = Selected {
        column,
        cells: CellKind::Numbers { takes_any_size: false, text },
        missing: Some("give it one: a number of at least 0"),
        drops: false,
    };
    let selection = Selection { features: vec![selected], targets: Vec::new() };
    let raw = RawTable::read(opened, selection)?;
    let mut weights = Vec::with_capacity(rows.len());
    raw.visit_columns(rows, &[0], |block, numbers, places| {
        places.each(block.number(numbers[0]), |cell| weights.push(cell as f32));
    });
    match weights.iter().position(|weight| *weight < 0.0) {
        None => Ok(Some(weights)),
        Some(at) => {
            let problem = format!("found the weight {}, wanted at least 0", weights[at]);
            Err(raw.cell_error(rows[at], column, problem))
        }
    }
}
