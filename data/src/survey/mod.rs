//! What every column of a table holds, before a job says what it is for: kinds, holes, spread, and whether it repeats a
//! target. Columns are in memory some at a time. Decides nothing: what a job should say of a column is for whoever asks.

mod numbers;
mod texts;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::columns::ColumnKind;
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::infer::{self, Guess};
use crate::labels;
use crate::leaks::{Cells, Hint, Repeats};
use crate::raw::RawTable;
use crate::readers::cell::Look;
use crate::readers::open_table::OpenTable;
use crate::selection::{CellKind, OnText, Selected, Selection};
use crate::statistics;
use crate::table_file::TableFile;

pub use numbers::{SeenNumbers, Sentinel};
pub use texts::{SeenTexts, Strays};

/// Cells that are in memory at once, about: 256 MiB at most.
const CELLS_AT_ONCE: usize = 1 << 25;

/// A table that has been opened: its columns have names, and nothing else is known of them.
#[derive(Debug)]
pub struct OpenedTable {
    opened: Arc<dyn OpenTable>,
    dialect: Dialect,
}

/// What the columns of a table hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Rows of the table.
    pub rows: u64,
    /// In the table's order. Those of images hold nothing, except for the targets: their pixels are not looked at.
    pub columns: Vec<SeenColumn>,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenColumn {
    /// Its name; empty if it has none.
    pub name: String,
    /// Missing cells.
    pub missing: u64,
    /// How many values differ.
    pub distinct: u64,
    /// What the cells that are there hold.
    pub cells: SeenCells,
    /// Of a feature: how it repeats a target.
    pub repeats: Option<Repeats>,
    /// Of one that repeats none: how it nearly gives a target away, and which, by its place among the targets.
    pub hint: Option<(usize, Hint)>,
}

/// What the cells of a column hold.
#[derive(Clone, Debug, PartialEq)]
pub enum SeenCells {
    /// No cell is there, or none was looked at.
    Nothing,
    /// They cannot be read, and why not.
    Unreadable(String),
    /// Numbers or truth values.
    Numbers(SeenNumbers),
    /// Texts of any kind, dates among them.
    Texts(SeenTexts),
}

impl OpenedTable {
    /// Opens a table.
    ///
    /// # Errors
    /// If it is no table of its format.
    pub fn open(file: &TableFile, dialect: &Dialect) -> Result<OpenedTable, DataError> {
        Ok(OpenedTable { opened: file.open(dialect)?, dialect: dialect.clone() })
    }

    /// The file of the features, for messages.
    pub fn path(&self) -> &Path {
        self.opened.path()
    }

    /// Column names, in the table's order. Any number may be empty or the same.
    pub fn columns(&self) -> &[String] {
        self.opened.columns()
    }

    /// The columns that the table itself keeps as targets; none where any column may be one.
    pub fn targets(&self) -> Range<usize> {
        self.opened.targets()
    }

    /// The dimensions of an image, if rows are images.
    pub fn image_shape(&self) -> Option<&[usize]> {
        self.opened.image_shape()
    }

    /// Looks at every column; `targets` are places among [`OpenedTable::columns`].
    ///
    /// # Errors
    /// If the table cannot be read, or a target cannot.
    pub fn survey(&self, targets: &[usize]) -> Result<Survey, DataError> {
        self.survey_in_groups(targets, CELLS_AT_ONCE)
    }

    /// The same, of as many columns at a time as have about so many cells.
    fn survey_in_groups(
        &self,
        targets: &[usize],
        cells_at_once: usize,
    ) -> Result<Survey, DataError> {
        let (table, dialect) = (&self.opened, &self.dialect);
        let mut seen: Vec<Option<SeenColumn>> = vec![None; table.columns().len()];
        let first = Group::read(table, dialect, targets, true)?;
        let rows = first.rows;
        let target_cells: Vec<Cells> = (0..targets.len()).map(|place| first.cells(place)).collect();
        for (place, &column) in targets.iter().enumerate() {
            seen[column] = Some(first.seen(place, &[]));
        }
        let own = table.targets();
        let is_open = |column: &usize| !targets.contains(column) && !own.contains(column);
        let features: Vec<usize> = (0..seen.len()).filter(is_open).collect();
        let features = if table.image_shape().is_some() { Vec::new() } else { features };
        let mut first_problem = None;
        for columns in features.chunks((cells_at_once / rows.max(1)).max(1)) {
            let problem = look_at((table, dialect), columns, &target_cells, &mut seen);
            first_problem = first_problem.or(problem);
        }
        let is_bad = |column: &usize| {
            let cells = seen[*column].as_ref().map(|seen| &seen.cells);
            matches!(cells, Some(SeenCells::Unreadable(_)))
        };
        // What no column can be read for is wrong with the table.
        if let Some(error) = first_problem.filter(|_| features.iter().all(is_bad)) {
            return Err(error);
        }
        let names = table.columns().iter();
        let columns = names.zip(seen).map(|(name, seen)| {
            seen.unwrap_or_else(|| SeenColumn::of(name, 0, 0, SeenCells::Nothing))
        });
        Ok(Survey { rows: rows as u64, columns: columns.collect() })
    }

    /// The labels of a column with the rows of each, in class order: what a target of classes has. Missing cells are left out.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn labels(&self, column: usize) -> Result<Vec<(String, u64)>, DataError> {
        let found = Group::of_labels(self, column)?.counts(0);
        let classes = labels::classes(found.iter().map(|(label, _)| label.clone()).collect());
        let find = labels::Classes::new(&classes);
        let mut rows = vec![0; classes.len()];
        for (label, count) in &found {
            if let Some(class) = find.find(label) {
                rows[class as usize] += count;
            }
        }
        Ok(classes.iter().cloned().zip(rows).collect())
    }
}

impl SeenColumn {
    fn of(name: &str, missing: u64, distinct: u64, cells: SeenCells) -> SeenColumn {
        SeenColumn { name: name.to_owned(), missing, distinct, cells, repeats: None, hint: None }
    }
}

/// Looks at columns, and says why the first of those cannot be read that cannot. These are found by halves: each try reads the
/// table once.
fn look_at(
    (table, dialect): (&Arc<dyn OpenTable>, &Dialect),
    columns: &[usize],
    targets: &[Cells],
    seen: &mut [Option<SeenColumn>],
) -> Option<DataError> {
    let error = match Group::read(table, dialect, columns, false) {
        Ok(group) => {
            let look = |(place, _)| group.seen(place, targets);
            let found: Vec<SeenColumn> = columns.par_iter().enumerate().map(look).collect();
            columns.iter().zip(found).for_each(|(&column, found)| seen[column] = Some(found));
            return None;
        }
        Err(error) => error,
    };
    if let &[column] = columns {
        let cells = SeenCells::Unreadable(error.to_string());
        seen[column] = Some(SeenColumn::of(&table.columns()[column], 0, 0, cells));
        return Some(error);
    }
    let (left, right) = columns.split_at(columns.len() / 2);
    let problem = look_at((table, dialect), left, targets, seen);
    let other = look_at((table, dialect), right, targets, seen);
    problem.or(other)
}

/// Some columns in memory.
struct Group<'a> {
    table: &'a Arc<dyn OpenTable>,
    dialect: &'a Dialect,
    raw: RawTable,
    rows: usize,
    all: Vec<u32>,
    columns: Vec<usize>,
    guesses: Vec<Guess>,
    /// For each of the columns its place among the numbers, or among the labels, of a row.
    places: Vec<usize>,
}

impl<'a> Group<'a> {
    /// Reads columns, each as what it holds. A target is never taken for codes: what it is is for whoever asks.
    fn read(
        table: &'a Arc<dyn OpenTable>,
        dialect: &'a Dialect,
        columns: &[usize],
        are_targets: bool,
    ) -> Result<Group<'a>, DataError> {
        let looks = table.look(columns);
        let mut guesses: Vec<Guess> = looks.iter().map(|&look| Guess::new(None, look)).collect();
        let read = |guesses: &[Guess]| Group::read_raw(table, columns, guesses);
        let raw = infer::read(&mut guesses, |_| !are_targets, dialect, read)?;
        Ok(Group::of((table, dialect), columns, guesses, raw))
    }

    /// Reads a column as texts.
    fn of_labels(table: &'a OpenedTable, column: usize) -> Result<Group<'a>, DataError> {
        let guesses = vec![Guess::new(None, Look::Texts)];
        let raw = Group::read_raw(&table.opened, &[column], &guesses)?;
        Ok(Group::of((&table.opened, &table.dialect), &[column], guesses, raw))
    }

    fn read_raw(
        table: &Arc<dyn OpenTable>,
        columns: &[usize],
        guesses: &[Guess],
    ) -> Result<RawTable, DataError> {
        let select = |(&column, guess): (&usize, &Guess)| Selected {
            column,
            cells: match guess.is_text {
                true => CellKind::Texts,
                false => CellKind::Numbers {
                    takes_any_size: true,
                    text: if guess.notes_text() { OnText::Note } else { OnText::Error(None) },
                },
            },
            missing: None,
            drops: false,
        };
        let features: Vec<Selected> = columns.iter().zip(guesses).map(select).collect();
        RawTable::read(table.clone(), Selection { features, targets: Vec::new(), weight: None })
    }

    fn of(
        (table, dialect): (&'a Arc<dyn OpenTable>, &'a Dialect),
        columns: &[usize],
        guesses: Vec<Guess>,
        raw: RawTable,
    ) -> Group<'a> {
        let (mut numbers, mut labels) = (0, 0);
        let mut place = |guess: &Guess| {
            let next = if guess.is_text { &mut labels } else { &mut numbers };
            *next += 1;
            *next - 1
        };
        let places = guesses.iter().map(&mut place).collect();
        let (rows, all) = (raw.rows, raw.all_rows());
        Group { table, dialect, raw, rows, all, columns: columns.to_vec(), guesses, places }
    }

    /// The texts of a column at this place among the labels of a row, with the rows of each.
    fn counts(&self, place: usize) -> Vec<(String, u64)> {
        let counted = self.raw.label_counts(&self.all, place).into_iter();
        counted.map(|(text, rows)| (text.to_owned(), rows)).collect()
    }

    /// The cells of a column, to be held against those of another.
    fn cells(&self, at: usize) -> Cells {
        let place = self.places[at];
        match self.guesses[at].is_text {
            true => {
                let mut ids = Vec::with_capacity(self.rows);
                self.raw.visit_labels(&self.all, place, |_, id| ids.push(id));
                Cells::Texts(ids, self.raw.label_names[place].clone())
            }
            false => Cells::Numbers(self.numbers(place)),
        }
    }

    fn numbers(&self, place: usize) -> Vec<f64> {
        statistics::cells(&self.raw, &self.all, &[place]).pop().unwrap_or_default()
    }

    /// What a column holds, held against the targets.
    fn seen(&self, at: usize, targets: &[Cells]) -> SeenColumn {
        let (name, place) = (&self.table.columns()[self.columns[at]], self.places[at]);
        let guess = self.guesses[at];
        let mut seen = if guess.is_text {
            let found = self.counts(place);
            let present: u64 = found.iter().map(|(_, rows)| rows).sum();
            let missing = self.rows as u64 - present;
            let distinct = found.len() as u64;
            match distinct {
                0 => SeenColumn::of(name, missing, 0, SeenCells::Nothing),
                _ => {
                    let texts = SeenTexts::of(found, guess.code, self.dialect);
                    SeenColumn::of(name, missing, distinct, SeenCells::Texts(texts))
                }
            }
        } else {
            let cells = self.numbers(place);
            let missing = cells.iter().filter(|cell| cell.is_nan()).count() as u64;
            match SeenNumbers::of(&cells) {
                None => SeenColumn::of(name, missing, 0, SeenCells::Nothing),
                Some((numbers, distinct)) => {
                    let range = Some((numbers.min, numbers.max));
                    let kind = infer::of_numbers(guess, range).kind;
                    let is_truth = kind == ColumnKind::Boolean;
                    let cells = SeenCells::Numbers(SeenNumbers { is_truth, ..numbers });
                    SeenColumn::of(name, missing, distinct, cells)
                }
            }
        };
        let cells = (!targets.is_empty()).then(|| self.cells(at));
        if let Some(cells) = cells {
            seen.repeats = targets.iter().find_map(|to| cells.repeats(to));
            let hint = |(place, to)| Some((place, cells.hints_at(to)?));
            let mut hints = targets.iter().enumerate().filter(|_| seen.repeats.is_none());
            seen.hint = hints.find_map(hint);
        }
        seen
    }
}

#[cfg(test)]
mod tests;
