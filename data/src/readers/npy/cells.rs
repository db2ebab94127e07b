//! What the cells of an array mean to a job: numbers, labels and missing ones, each checked once. What is missing is what
//! is missing in a CSV file: NaN, a text that is empty or says so, and whatever the job lists. Knows no file.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use super::array::{Array, Cell};
use crate::block::{Block, MISSING_LABEL};
use crate::dialect::Dialect;
use crate::readers::cell::{self, Kind, Look, Names, Slot};
use crate::readers::open_table::{Contents, Stored};
use crate::selection::Selection;
use crate::values::{Texts, ValueKind, Values};

/// Rows that are checked at once.
const CHUNK_ROWS: usize = 4096;

/// How cells are read.
#[derive(Debug)]
pub(super) struct Cells {
    dialect: Dialect,
    /// The numbers among what the job lists as missing.
    missing_numbers: Vec<f64>,
}

/// The first cell that cannot be used.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) row: u32,
    /// Column of the table.
    pub(super) column: usize,
    pub(super) problem: String,
}

/// Some cells of a column as they are: it is `column` of the table, and at this place of the array.
pub(super) fn kept(
    array: &Array,
    rows: Range<u32>,
    (column, place): (usize, usize),
) -> Result<Values, Bad> {
    let cells = rows.clone().map(|row| array.cell(row, place));
    let bits = |cell: &Cell<'_>| cell.element.bits(cell.bytes);
    Ok(match array.element(place).kept_kind() {
        ValueKind::Truth => Values::Truths(cells.map(|cell| Some(bits(&cell) != 0)).collect()),
        ValueKind::Whole => {
            Values::Wholes(cells.map(|cell| Some(cell.element.whole(bits(&cell)))).collect())
        }
        ValueKind::Single => {
            Values::Singles(cells.map(|cell| Some(cell.number() as f32)).collect())
        }
        ValueKind::Double => Values::Doubles(cells.map(|cell| Some(cell.number())).collect()),
        ValueKind::Text => {
            let mut texts = Texts::default();
            for (row, cell) in rows.zip(cells) {
                if cell.element.is_no_date(bits(&cell)) {
                    texts.push(None);
                    continue;
                }
                let text = cell.whole_text();
                let text = text.map_err(|problem| Bad { row, column, problem })?;
                texts.push(Some(&text));
            }
            Values::Texts(texts)
        }
    })
}

impl Cells {
    pub(super) fn new(dialect: &Dialect) -> Cells {
        Cells { missing_numbers: cell::missing_numbers(dialect), dialect: dialect.clone() }
    }

    /// Checks the selected cells of all rows and reads the labels; `of` says where a column of the table is.
    ///
    /// # Errors
    /// For the first bad cell of the first row that has one.
    pub(super) fn read<'a>(
        &self,
        rows: usize,
        selection: &Selection,
        of: impl Fn(usize) -> (&'a Array, usize) + Sync,
    ) -> Result<Contents, Bad> {
        let slots = cell::slots(selection);
        let (numbers, labels): (Vec<&Slot>, Vec<&Slot>) =
            slots.iter().partition(|slot| matches!(slot.kind, Kind::Number(_)));
        let may_be_odd = |slot: &&&Slot| {
            let (array, column) = of(slot.column);
            let element = array.element(column);
            element.may_be_odd() || element.is_text() || !self.missing_numbers.is_empty()
        };
        let odd: Vec<&Slot> = numbers.iter().filter(may_be_odd).copied().collect();
        let chunks = (0..rows.div_ceil(CHUNK_ROWS)).into_par_iter();
        let first_bad = chunks.filter_map(|chunk| {
            let rows = chunk * CHUNK_ROWS..rows.min((chunk + 1) * CHUNK_ROWS);
            let bad = odd.iter().filter_map(|slot| self.first_bad(slot, rows.clone(), &of));
            bad.min_by_key(|bad| (bad.row, bad.column))
        });
        let mut first_bad = first_bad.min_by_key(|bad| (bad.row, bad.column));
        let may_miss = !odd.is_empty() || !labels.is_empty();
        let (mut all_ids, mut label_names) =
            (vec![Vec::new(); labels.len()], vec![Vec::new(); labels.len()]);
        for slot in labels {
            let Kind::Label(place) = slot.kind else { continue };
            match self.labels(slot, rows, &of) {
                Ok((ids, names)) => {
                    (all_ids[place], label_names[place]) = (ids, names);
                }
                Err(bad) => {
                    let is_before = |first: &Bad| (first.row, first.column) < (bad.row, bad.column);
                    first_bad = first_bad.filter(is_before).or(Some(bad));
                }
            }
        }
        if let Some(bad) = first_bad {
            return Err(bad);
        }
        let stored = Stored::Open { labels: all_ids, may_miss };
        Ok(Contents { rows, stored, label_names, noted: Vec::new() })
    }

    /// What a column looks like: every cell, where they are texts.
    pub(super) fn look(&self, array: &Array, column: usize) -> Look {
        let element = array.element(column);
        if element.is_date() {
            let mut rows = 0..array.rows() as u32;
            let is_there = |row| {
                let cell = array.cell(row, column);
                !element.is_no_date(element.bits(cell.bytes))
            };
            return if rows.any(is_there) { Look::Texts } else { Look::Nothing };
        }
        if !element.is_text() {
            return Look::Numbers;
        }
        let mut look = Look::Nothing;
        for row in 0..array.rows() as u32 {
            // What is no text at all is told when all are read.
            let cell = array.cell(row, column);
            look = cell.text().map_or(look, |text| look.and(&text, &self.dialect));
            if look == Look::Texts {
                break;
            }
        }
        look
    }

    /// The first bad number of some rows of a column.
    fn first_bad<'a>(
        &self,
        slot: &Slot,
        mut rows: Range<usize>,
        of: impl Fn(usize) -> (&'a Array, usize),
    ) -> Option<Bad> {
        let (array, column) = of(slot.column);
        let problem = |cell: Cell<'_>| {
            if !cell.element.is_text() {
                let spelled = || cell.element.label(cell.element.bits(cell.bytes));
                return slot.check_number(self.number(cell), spelled).err();
            }
            let number = cell.text().and_then(|text| slot.number_of_text(&text, &self.dialect));
            number.err()
        };
        rows.find_map(|row| {
            let problem = problem(array.cell(row as u32, column))?;
            Some(Bad { row: row as u32, column: slot.column, problem })
        })
    }

    /// The labels of a column: the id of each row, and the distinct ones as they first come.
    fn labels<'a>(
        &self,
        slot: &Slot,
        rows: usize,
        of: impl Fn(usize) -> (&'a Array, usize),
    ) -> Result<(Vec<u32>, Vec<String>), Bad> {
        let (array, column) = of(slot.column);
        let mut names = Names::default();
        let mut ids = Vec::with_capacity(rows);
        // By their bits, so that most rows need no text.
        let mut known: HashMap<u64, u32> = HashMap::new();
        let mut id = |cell: Cell<'_>| -> Result<u32, String> {
            let mut id_of = |text: &[u8], is_missing: bool| {
                let name = slot.label(text, is_missing)?;
                Ok::<_, String>(name.map_or(MISSING_LABEL, |name| names.id(name)))
            };
            if cell.element.is_text() {
                let text = cell.text()?;
                let is_missing = text.is_empty() || self.dialect.is_missing(&text, false);
                return id_of(&text, is_missing);
            }
            let bits = cell.element.bits(cell.bytes);
            if let Some(&id) = known.get(&bits) {
                return Ok(id);
            }
            let text = cell.element.label(bits);
            let is_missing =
                self.number(cell).is_nan() || self.dialect.is_missing(text.as_bytes(), false);
            let id = id_of(text.as_bytes(), is_missing)?;
            known.insert(bits, id);
            Ok(id)
        };
        for row in 0..rows as u32 {
            match id(array.cell(row, column)) {
                Ok(id) => ids.push(id),
                Err(problem) => return Err(Bad { row, column: slot.column, problem }),
            }
        }
        Ok((ids, names.list))
    }

    /// Numbers of these rows, `[columns.len(), rows.len()]`; `of` says where a column of the table is.
    pub(super) fn block<'a>(
        &self,
        rows: &[u32],
        columns: &[usize],
        of: impl Fn(usize) -> (&'a Array, usize),
    ) -> Block {
        let arrays = || columns.iter().map(|&column| of(column));
        let are_narrow = arrays().all(|(array, column)| array.element(column).is_narrow());
        let mut numbers = Vec::with_capacity(rows.len() * columns.len());
        for (array, column) in arrays() {
            self.numbers(array, column, rows, &mut numbers);
        }
        Block::of_numbers([columns.len(), rows.len()], are_narrow, numbers.into_iter())
    }

    /// Adds the numbers of one column of these rows, which were found good.
    fn numbers(&self, array: &Array, column: usize, rows: &[u32], to: &mut Vec<f64>) {
        let cells = array.cells(rows, column);
        if array.element(column).is_text() {
            to.extend(cells.map(|cell| self.number_of_text(cell)));
        } else if self.missing_numbers.is_empty() {
            to.extend(cells.map(|cell| cell.number()));
        } else {
            to.extend(cells.map(|cell| self.number(cell)));
        }
    }

    /// The number that a cell is that is no text; NaN for a missing one.
    fn number(&self, cell: Cell<'_>) -> f64 {
        let number = cell.number();
        if self.missing_numbers.contains(&number) { f64::NAN } else { number }
    }

    /// The number that a text is; NaN for a missing one.
    fn number_of_text(&self, cell: Cell<'_>) -> f64 {
        let Ok(text) = cell.text() else { return f64::NAN };
        cell::number_or_missing(&text, &self.dialect)
    }
}
