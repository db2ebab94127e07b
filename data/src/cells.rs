//! One record of a CSV file to numbers and label ids, every cell checked; what is wrong with a cell, in words.
//! Nothing is filled, dropped, scaled or split here, and no file is read but to look for the quotes of a cell.

use std::collections::HashMap;

use crate::block::Builder;
use crate::error::{DataError, count, quote};
use crate::raw::{MISSING_LABEL, NUMBER_MAX, Selection};
use crate::records::{CELL_LEN_MAX, RecordFault, describe_len};
use crate::text::Text;

/// Greatest number that rounds to a finite `f32`: the last before half a step above the greatest `f32`.
const F32_MAX: f64 = f64::from_bits(0x47ef_ffff_efff_ffff);

/// Reads the selected cells of records.
pub(crate) struct Cells<'a> {
    text: &'a Text,
    /// Whether the job lists what means a missing cell: then numbers may.
    has_list: bool,
    /// In file order, so that the first bad one is met first.
    slots: Vec<Slot>,
    /// Columns of the file.
    columns: usize,
    /// Numbers of a row.
    pub(crate) number_width: usize,
    /// Labels of a row.
    pub(crate) label_width: usize,
}

/// One selected cell of every row.
struct Slot {
    column: usize,
    kind: Kind,
    /// Greatest number that will do: what an `f32` can hold, or more where it will be scaled.
    number_max: f64,
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
    Record(RecordFault),
    Changed,
}

impl Fault {
    /// The error, with its line.
    pub(crate) fn told(self, text: &Text) -> DataError {
        match self {
            Fault::Row { offset, problem } => text.row_error(offset, problem),
            Fault::Cell { offset, column, problem } => text.cell_error(offset, column, problem),
            Fault::Record(fault) => text.record_error(fault),
            Fault::Changed => {
                DataError::table(text.path(), "the file changed while it was read; try again")
            }
        }
    }
}

impl<'a> Cells<'a> {
    pub(crate) fn new(text: &'a Text, selection: &Selection) -> Cells<'a> {
        let features = selection.features.iter().enumerate().map(|(place, &column)| Slot {
            column,
            kind: Kind::Number(place),
            number_max: if selection.are_scaled { NUMBER_MAX } else { F32_MAX },
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
            number_max: F32_MAX,
            missing: selection.missing_target,
            text: None,
        });
        let mut slots: Vec<Slot> = features.chain(targets).collect();
        slots.sort_by_key(|slot| slot.column);
        Cells {
            text,
            has_list: text.dialect().missing_values.is_some(),
            slots,
            columns: text.columns().len(),
            number_width: selection.number_width(),
            label_width: selection.label_width(),
        }
    }

    /// No label yet, for each label of a row.
    pub(crate) fn names(&self) -> Vec<Names> {
        vec![Names::default(); self.label_width]
    }

    /// Begins a block of so many rows at most.
    pub(crate) fn begin(&self, block: &mut Builder, rows_max: usize) {
        block.begin(rows_max, self.number_width, self.label_width);
    }

    /// Adds a record, of what was read from byte `start` of the file on, as a row.
    pub(crate) fn row(
        &self,
        record: &csv::ByteRecord,
        start: u64,
        block: &mut Builder,
        names: &mut [Names],
    ) -> Result<(), Fault> {
        let columns = self.columns;
        let offset = || start + record.position().map_or(0, csv::Position::byte);
        if record.len() != columns {
            let found = count(record.len() as u64, "column");
            let problem = format!("found {found}, wanted {columns} as in the {}", self.first_row());
            return Err(Fault::Row { offset: offset(), problem });
        }
        for slot in &self.slots {
            let cell = record[slot.column].trim_ascii();
            match slot.kind {
                Kind::Number(place) => {
                    let number = match number(cell) {
                        Some(value) if !self.has_list && value.abs() <= slot.number_max => value,
                        _ => self.odd_number(slot, cell).map_err(|problem| Fault::Cell {
                            offset: offset(),
                            column: slot.column,
                            problem,
                        })?,
                    };
                    block.set_number(place, number);
                }
                Kind::Label(place) => {
                    let id = self.label(slot, cell, &offset, &mut names[place])?;
                    block.set_label(place, id);
                }
            }
        }
        block.end_row();
        Ok(())
    }

    fn first_row(&self) -> &'static str {
        if self.text.dialect().header { "header" } else { "first row" }
    }

    /// What a cell of numbers means that is not simply one; NaN for a missing one. Quotes do not count here.
    #[cold]
    fn odd_number(&self, slot: &Slot, cell: &[u8]) -> Result<f64, String> {
        if cell.is_empty() || self.text.dialect().is_missing(cell, true) {
            return match slot.missing {
                Some(advice) => Err(missing_problem(cell, slot.kind, advice)),
                None => Ok(f64::NAN),
            };
        }
        let value = number(cell).filter(|value| value.abs() <= slot.number_max);
        value.or_else(|| truth(cell)).ok_or_else(|| number_problem(cell, slot))
    }

    fn label(
        &self,
        slot: &Slot,
        cell: &[u8],
        offset: &dyn Fn() -> u64,
        names: &mut Names,
    ) -> Result<u32, Fault> {
        let fault = |problem| Fault::Cell { offset: offset(), column: slot.column, problem };
        let mut is_missing = cell.is_empty();
        if !is_missing && self.text.dialect().is_missing(cell, false) {
            let is_quoted = self.text.is_quoted(offset(), slot.column);
            is_missing =
                !is_quoted.map_err(|cause| Fault::Record(RecordFault::Csv(cause.into())))?;
        }
        match slot.missing {
            Some(advice) if is_missing => Err(fault(missing_problem(cell, slot.kind, advice))),
            None if is_missing => Ok(MISSING_LABEL),
            _ if cell.len() > CELL_LEN_MAX => {
                let (found, wanted) =
                    (describe_len(cell.len() as u64), describe_len(CELL_LEN_MAX as u64));
                Err(fault(format!("found a label of {found}, wanted at most {wanted}")))
            }
            _ => {
                let name = str::from_utf8(cell).map_err(|_| fault(encoding_problem(cell)))?;
                Ok(names.id(name))
            }
        }
    }
}

fn number(cell: &[u8]) -> Option<f64> {
    str::from_utf8(cell).ok()?.parse().ok()
}

/// A truth value as a number, in the spellings of Python, R and most databases.
fn truth(cell: &[u8]) -> Option<f64> {
    match cell {
        b"True" | b"true" | b"TRUE" => Some(1.0),
        b"False" | b"false" | b"FALSE" => Some(0.0),
        _ => None,
    }
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

fn number_problem(cell: &[u8], slot: &Slot) -> String {
    let found = quote(cell);
    let parsed = str::from_utf8(cell).ok().and_then(|text| text.parse::<f64>().ok());
    if let Some(value) = parsed {
        return match value.is_finite() {
            false => format!("found {found}, wanted a finite number"),
            true if slot.number_max == NUMBER_MAX => {
                format!("found {found}, wanted a number up to {NUMBER_MAX:e}")
            }
            true => format!("found {found}, wanted a number up to {:e}, the largest f32", f32::MAX),
        };
    }
    let with_point = String::from_utf8_lossy(cell).replace(',', ".");
    if with_point.parse::<f64>().is_ok() {
        return format!("found {found}, wanted a number with a decimal point");
    }
    match slot.text {
        Some(advice) => format!("found {found}, wanted a number; {advice}"),
        None => format!("found {found}, wanted a number"),
    }
}

fn encoding_problem(cell: &[u8]) -> String {
    format!("found {}, wanted UTF-8; save the file as UTF-8", quote(cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_is_the_last_that_is_finite_as_f32() {
        assert!((F32_MAX as f32).is_finite());
        assert!((F32_MAX.next_up() as f32).is_infinite());
    }
}
