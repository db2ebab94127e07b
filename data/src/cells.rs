//! One record of a CSV file to numbers and label ids, every cell checked; what is wrong with a cell, in words.
//! Nothing is filled, dropped, scaled or split here, and no file is read.

use std::collections::HashMap;

use crate::error::{DataError, count, quote};
use crate::raw::{MISSING_LABEL, Selection};
use crate::text::Text;

/// Reads the selected cells of records.
pub(crate) struct Cells {
    /// In file order, so that the first bad one is met first.
    slots: Vec<Slot>,
    /// Columns of the file.
    columns: usize,
    /// Numbers of a row, the free places of labels with them.
    pub(crate) width: usize,
    /// Labels of a row.
    pub(crate) label_width: usize,
}

/// One selected cell of every row.
struct Slot {
    column: usize,
    kind: Kind,
    missing: Option<&'static str>,
    text: Option<&'static str>,
}

/// Which list of the row the cell goes to, and its place there.
#[derive(Clone, Copy)]
enum Kind {
    Number(usize),
    Label(usize),
}

/// Distinct labels in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Names {
    ids: HashMap<String, u32>,
    pub(crate) list: Vec<String>,
}

impl Names {
    pub(crate) fn id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.list.len() as u32;
        self.ids.insert(name.to_owned(), id);
        self.list.push(name.to_owned());
        id
    }
}

/// What is wrong with a record; its line is looked up only for the fault that is told.
pub(crate) enum Fault {
    Row { offset: u64, problem: String },
    Cell { offset: u64, column: usize, problem: String },
    Csv(csv::Error),
    Changed,
}

impl Fault {
    /// The error, with its line.
    pub(crate) fn told(self, text: &Text) -> DataError {
        match self {
            Fault::Row { offset, problem } => text.row_error(offset, problem),
            Fault::Cell { offset, column, problem } => text.cell_error(offset, column, problem),
            Fault::Csv(error) => text.broken(error),
            Fault::Changed => {
                DataError::table(text.path(), "the file changed while it was read; try again")
            }
        }
    }
}

impl Cells {
    /// For records of `columns` cells.
    pub(crate) fn new(selection: &Selection, columns: usize) -> Cells {
        let features = selection.features.iter().enumerate().map(|(place, &column)| Slot {
            column,
            kind: Kind::Number(place),
            missing: selection.missing_feature,
            text: selection.text_feature,
        });
        let targets = selection.targets.iter().enumerate().map(|(place, &column)| Slot {
            column,
            kind: if selection.labels {
                Kind::Label(place)
            } else {
                Kind::Number(selection.features.len() + place)
            },
            missing: selection.missing_target,
            text: None,
        });
        let mut slots: Vec<Slot> = features.chain(targets).collect();
        slots.sort_by_key(|slot| slot.column);
        let label_width = selection.targets.len() - selection.number_targets();
        Cells { slots, columns, width: selection.width(), label_width }
    }

    /// No label yet, for each label of a row.
    pub(crate) fn names(&self) -> Vec<Names> {
        vec![Names::default(); self.label_width]
    }

    /// Reads a record of what was read from byte `start` of the file on. Sets every number and label; what follows
    /// the numbers stays as it is.
    pub(crate) fn row(
        &self,
        record: &csv::ByteRecord,
        start: u64,
        numbers: &mut [f32],
        labels: &mut [u32],
        names: &mut [Names],
    ) -> Result<(), Fault> {
        let columns = self.columns;
        let offset = || start + record.position().map_or(0, csv::Position::byte);
        if record.len() != columns {
            let found = count(record.len() as u64, "column");
            let problem = format!("found {found}, wanted {columns} as in the header");
            return Err(Fault::Row { offset: offset(), problem });
        }
        for slot in &self.slots {
            let cell = record[slot.column].trim_ascii();
            let fault = |problem| Fault::Cell { offset: offset(), column: slot.column, problem };
            let is_missing = is_missing(cell);
            if let (true, Some(advice)) = (is_missing, slot.missing) {
                return Err(fault(missing_problem(cell, slot.kind, advice)));
            }
            match slot.kind {
                Kind::Number(place) if is_missing => numbers[place] = f32::NAN,
                Kind::Number(place) => {
                    numbers[place] =
                        number(cell).ok_or_else(|| fault(number_problem(cell, slot.text)))?;
                }
                Kind::Label(place) if is_missing => labels[place] = MISSING_LABEL,
                Kind::Label(place) => {
                    let name = str::from_utf8(cell).map_err(|_| fault(encoding_problem(cell)))?;
                    labels[place] = names[place].id(name);
                }
            }
        }
        Ok(())
    }
}

fn is_missing(cell: &[u8]) -> bool {
    match cell.len() {
        0 => true,
        1 => cell == b"?",
        2 => cell.eq_ignore_ascii_case(b"na"),
        3 => cell.eq_ignore_ascii_case(b"nan"),
        4 => cell.eq_ignore_ascii_case(b"null"),
        _ => false,
    }
}

fn number(cell: &[u8]) -> Option<f32> {
    str::from_utf8(cell).ok()?.parse().ok().filter(|value: &f32| value.is_finite())
}

fn missing_problem(cell: &[u8], kind: Kind, advice: &str) -> String {
    let found = match cell {
        [] => "an empty cell".to_owned(),
        _ => format!("{}, which means a missing cell", quote(cell)),
    };
    let wanted = match kind {
        Kind::Number(_) => "a number",
        Kind::Label(_) => "a label",
    };
    format!("found {found}, wanted {wanted}; {advice}")
}

fn number_problem(cell: &[u8], text_advice: Option<&str>) -> String {
    let found = quote(cell);
    let parsed = str::from_utf8(cell).ok().and_then(|text| text.parse::<f64>().ok());
    if let Some(value) = parsed {
        return if value.is_finite() {
            format!("found {found}, wanted a number up to {:e}, the largest f32", f32::MAX)
        } else {
            format!("found {found}, wanted a finite number")
        };
    }
    let with_point = String::from_utf8_lossy(cell).replace(',', ".");
    if with_point.parse::<f64>().is_ok() {
        return format!("found {found}, wanted a number with a decimal point");
    }
    match text_advice {
        Some(advice) => format!("found {found}, wanted a number; {advice}"),
        None => format!("found {found}, wanted a number"),
    }
}

fn encoding_problem(cell: &[u8]) -> String {
    format!("found {}, wanted UTF-8; save the file as UTF-8", quote(cell))
}
