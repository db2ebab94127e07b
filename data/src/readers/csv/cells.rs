//! One record of a CSV file to numbers and label ids, every cell checked. What a cell means is said elsewhere, and no file
//! is read but to look for the quotes of a cell.

use std::sync::atomic::{AtomicBool, Ordering};

use super::records::RecordFault;
use super::text::Text;
use crate::block::{Builder, MISSING_LABEL};
use crate::error::{DataError, count};
use crate::readers::cell::{self, Found, Kind, Names, Slot, is_padded, number};
use crate::selection::Selection;

/// Reads the selected cells of records.
pub(crate) struct Cells<'a> {
    text: &'a Text,
    /// Whether a number is one whatever the job says: it may be among what means a missing cell, and have a decimal comma.
    is_plain: bool,
    /// In file order, so that the first bad one is met first.
    slots: Vec<Slot>,
    /// Whether a text was noted, slot by slot.
    noted: Vec<AtomicBool>,
    /// Columns of the file.
    columns: usize,
    /// Numbers of a row.
    pub(crate) number_width: usize,
    /// Labels of a row.
    pub(crate) label_width: usize,
}

/// What is wrong with a record; its line is looked up only for the fault that is told.
pub(crate) enum CellFault {
    Row { offset: u64, problem: String },
    Cell { offset: u64, column: usize, problem: String },
    Record(RecordFault),
    Changed,
}

impl CellFault {
    /// The error, with its line.
    pub(crate) fn told(self, text: &Text) -> DataError {
        match self {
            CellFault::Row { offset, problem } => text.row_error(offset, problem),
            CellFault::Cell { offset, column, problem } => text.cell_error(offset, column, problem),
            CellFault::Record(fault) => text.record_error(fault),
            CellFault::Changed => {
                DataError::table(text.path(), "the file changed while it was read; try again")
            }
        }
    }
}

impl<'a> Cells<'a> {
    pub(crate) fn new(text: &'a Text, selection: &Selection) -> Cells<'a> {
        let slots = cell::slots(selection);
        Cells {
            text,
            is_plain: text.dialect().missing_values.is_none() && text.dialect().decimal == '.',
            noted: slots.iter().map(|_| AtomicBool::new(false)).collect(),
            slots,
            columns: text.columns().len(),
            number_width: selection.number_width(),
            label_width: selection.label_width(),
        }
    }

    /// Columns of the file in which a text was noted among numbers, after all is read.
    pub(crate) fn noted(&self) -> Vec<usize> {
        let noted = self.slots.iter().zip(&self.noted);
        let noted = noted.filter(|(_, noted)| noted.load(Ordering::Relaxed));
        noted.map(|(slot, _)| slot.column).collect()
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
    ) -> Result<(), CellFault> {
        let columns = self.columns;
        let offset = || start + record.position().map_or(0, csv::Position::byte);
        if record.len() != columns {
            let found = count(record.len() as u64, "column");
            let problem = format!("found {found}, wanted {columns} as in the {}", self.first_row());
            return Err(CellFault::Row { offset: offset(), problem });
        }
        for (slot, noted) in self.slots.iter().zip(&self.noted) {
            let cell = record[slot.column].trim_ascii();
            match slot.kind {
                Kind::Number(place) => {
                    let is_usual = self.is_plain && !is_padded(cell);
                    let number = match number(cell) {
                        Some(value) if is_usual && value.abs() <= slot.number_max => value,
                        _ => self.odd_number(slot, cell, noted).map_err(|problem| {
                            CellFault::Cell { offset: offset(), column: slot.column, problem }
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
    fn odd_number(&self, slot: &Slot, cell: &[u8], noted: &AtomicBool) -> Result<f64, String> {
        Ok(match slot.number_of_text(cell, self.text.dialect())? {
            Found::Number(number) => number,
            Found::Text => {
                noted.store(true, Ordering::Relaxed);
                f64::NAN
            }
        })
    }

    fn label(
        &self,
        slot: &Slot,
        cell: &[u8],
        offset: &dyn Fn() -> u64,
        names: &mut Names,
    ) -> Result<u32, CellFault> {
        let mut is_missing = cell.is_empty();
        if !is_missing && self.text.dialect().is_missing(cell, false) {
            let is_quoted = self.text.is_quoted(offset(), slot.column);
            is_missing =
                !is_quoted.map_err(|cause| CellFault::Record(RecordFault::Csv(cause.into())))?;
        }
        match slot.label(cell, is_missing) {
            Ok(None) => Ok(MISSING_LABEL),
            Ok(Some(name)) => Ok(names.id(name)),
            Err(problem) => Err(CellFault::Cell { offset: offset(), column: slot.column, problem }),
        }
    }
}
