//! A Parquet file batch by batch, row group after row group: no more of it is in memory than the pages and the batches in
//! hand.

use std::sync::Arc;

use ::parquet::column::reader::ColumnReader;
use rayon::prelude::*;

use super::column::{self, Bad};
use super::file;
use super::table::{self, BLOCK_NUMBERS, Leaf, Parquet};
use crate::block::Builder;
use crate::error::DataError;
use crate::readers::cell::{self, Slot};
use crate::readers::open_table::{Batch, Batches, Load, OpenTable as _, Wanted};
use crate::values::Values;

/// The batches of a file.
pub(super) fn batches(
    table: Arc<Parquet>,
    wanted: Arc<Wanted>,
) -> Result<Box<dyn Batches>, DataError> {
    table.rows()?;
    let slots = cell::slots(&wanted.selection);
    let leaves = table.leaves(slots.iter().map(|slot| slot.column))?;
    let kept = table.leaves(wanted.kept.iter().copied())?;
    let missing_numbers = cell::missing_numbers(&table.dialect);
    let rows_max = wanted.rows_max.min(BLOCK_NUMBERS / slots.len().max(1)).max(1);
    let groups: Vec<usize> = table.group_rows().collect();
    Ok(Box::new(Groups {
        table,
        wanted,
        slots,
        leaves,
        kept,
        missing_numbers,
        rows_max,
        groups: groups.into_iter().enumerate(),
        open: None,
        before: 0,
        block: Builder::default(),
    }))
}

struct Groups {
    table: Arc<Parquet>,
    wanted: Arc<Wanted>,
    slots: Vec<Slot>,
    /// Of each slot, and of each column that is kept.
    leaves: Vec<Leaf>,
    kept: Vec<Leaf>,
    missing_numbers: Vec<f64>,
    rows_max: usize,
    /// The place of each row group that is not open yet, and its rows.
    groups: std::iter::Enumerate<std::vec::IntoIter<usize>>,
    open: Option<Open>,
    /// Rows before the next one.
    before: usize,
    block: Builder,
}

/// A row group that is being read.
struct Open {
    cells: Vec<ColumnReader>,
    kept: Vec<ColumnReader>,
    /// Rows that are not read yet.
    left: usize,
}

impl Groups {
    /// The row group that has the next row.
    fn open(&mut self) -> Result<Option<Open>, DataError> {
        if let Some(open) = self.open.take().filter(|open| open.left > 0) {
            return Ok(Some(open));
        }
        let Some((place, left)) = self.groups.find(|(_, rows)| *rows > 0) else { return Ok(None) };
        let cells = self.table.readers(place, &self.leaves)?;
        let kept = self.table.readers(place, &self.kept)?;
        Ok(Some(Open { cells, kept, left }))
    }

    fn kept(&self, readers: &mut [ColumnReader], rows: usize) -> Result<Vec<Values>, DataError> {
        // Readers of columns cannot be shared between threads, so that `self` cannot.
        let (table, before) = (&self.table, self.before);
        let columns = readers.par_iter_mut().zip(&self.kept).zip(&self.wanted.kept);
        let read = columns.map(|((from, leaf), &column)| {
            let read = file::guard(table.path(), || column::kept(from, leaf.reading, rows))?;
            read.map_err(|Bad { row, problem }| {
                table.cell_error((before + row) as u32, column, problem)
            })
        });
        read.collect()
    }
}

impl Batches for Groups {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        let Some(mut open) = self.open()? else { return Ok(None) };
        let rows = open.left.min(self.rows_max);
        let selection = &self.wanted.selection;
        let (slots, leaves) = (&self.slots, &self.leaves);
        let mut cells = table::cells(slots, leaves, &self.table.dialect, &self.missing_numbers);
        self.table.part(&mut cells, &mut open.cells, self.before, rows)?;
        let block = table::block(&cells, selection, rows, &mut self.block);
        let label_names = table::label_names(cells, selection);
        let kept = self.kept(&mut open.kept, rows)?;
        let (selection, first) = (Arc::clone(selection), self.before as u32);
        self.before += rows;
        open.left -= rows;
        self.open = Some(open);
        let batch = Batch { table: self.table.clone(), selection, first, block, label_names, kept };
        Ok(Some(Box::new(move || Ok(batch))))
    }
}
