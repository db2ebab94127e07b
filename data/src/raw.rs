//! A table's numbers and labels before anything is filled, dropped, scaled or split, whatever the file's format.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::block::{Block, MISSING_LABEL, Places};
use crate::columns::calendar::MIDNIGHT;
use crate::error::DataError;
use crate::readers::open_table::{Batch, Contents, OpenTable, Stored};
use crate::selection::Selection;

/// Rows that are made a block at once, where they are not kept as blocks.
const BLOCK_ROWS: usize = 256;

/// A table as it is, only its selected columns.
#[derive(Debug)]
pub(crate) struct RawTable {
    pub(crate) table: Arc<dyn OpenTable>,
    pub(crate) selection: Arc<Selection>,
    pub(crate) rows: usize,
    /// The row of `table` that is the first here.
    first: u32,
    stored: Stored,
    /// File columns of the numbers of a row.
    number_columns: Vec<usize>,
    /// Distinct labels of each column of texts, as they first come in the file: what label ids are places of.
    pub(crate) label_names: Vec<Vec<String>>,
    /// Columns of the file in which a text was found among numbers, where the selection wants that noted.
    pub(crate) noted: Vec<usize>,
}

impl RawTable {
    /// Reads the selected columns.
    pub(crate) fn read(
        table: Arc<dyn OpenTable>,
        selection: Selection,
    ) -> Result<RawTable, DataError> {
        let Contents { rows, stored, mut label_names, noted } = table.read(&selection)?;
        for (selected, names) in selection.labels().zip(&mut label_names) {
            let is_midnight = |name: &String| name.ends_with(MIDNIGHT);
            if names.iter().all(is_midnight) && table.has_times(selected.column) {
                names.iter_mut().for_each(|name| name.truncate(name.len() - MIDNIGHT.len()));
            }
        }
        if rows == 0 {
            return Err(DataError::table(table.path(), table.no_rows()));
        }
        let (number_columns, selection) = (selection.number_columns(), Arc::new(selection));
        Ok(RawTable {
            table,
            selection,
            rows,
            first: 0,
            stored,
            number_columns,
            label_names,
            noted,
        })
    }

    /// Some rows of a table that is never in memory as a whole.
    pub(crate) fn of(batch: Batch) -> RawTable {
        let Batch { table, selection, first, block, label_names, kept: _ } = batch;
        let (rows, number_columns) = (block.rows, selection.number_columns());
        let (stored, noted) = (Stored::Blocks(vec![block]), Vec::new());
        RawTable { table, selection, rows, first, stored, number_columns, label_names, noted }
    }

    pub(crate) fn path(&self) -> &Path {
        self.table.path()
    }

    pub(crate) fn columns(&self) -> &[String] {
        self.table.columns()
    }

    /// The name of the column that is at this place among the labels of a row.
    pub(crate) fn label_column_name(&self, place: usize) -> &str {
        let column = self.selection.labels().nth(place).map(|selected| selected.column);
        column.map_or("", |column| &self.columns()[column])
    }

    /// Shows these rows, which are in the file's order, block by block.
    pub(crate) fn visit(&self, rows: &[u32], mut see: impl FnMut(&Block, Places<'_>)) {
        let blocks = match &self.stored {
            Stored::Blocks(blocks) => blocks,
            Stored::Open { .. } => return self.visit_open(rows, &self.number_columns, see),
        };
        let mut parts = Parts::new(rows);
        for block in blocks {
            let places = parts.next_in(block);
            if !places.rows.is_empty() {
                see(block, places);
            }
        }
    }

    /// Shows some columns of numbers of these rows, which are in the file's order, block by block: the closure gets the block
    /// and where in it those columns are.
    pub(crate) fn visit_columns(
        &self,
        rows: &[u32],
        numbers: &[usize],
        mut see: impl FnMut(&Block, &[usize], Places<'_>),
    ) {
        match &self.stored {
            Stored::Blocks(_) => {
                self.visit(rows, |block, places| see(block, numbers, places));
            }
            Stored::Open { .. } => {
                let columns: Vec<usize> =
                    numbers.iter().map(|&number| self.number_columns[number]).collect();
                let all: Vec<usize> = (0..columns.len()).collect();
                self.visit_open(rows, &columns, |block, places| see(block, &all, places));
            }
        }
    }

    /// Makes blocks of these rows and columns, several in parallel, and shows them in order.
    fn visit_open(&self, rows: &[u32], columns: &[usize], mut see: impl FnMut(&Block, Places<'_>)) {
        let at_once = BLOCK_ROWS * rayon::current_num_threads();
        for rows in rows.chunks(at_once) {
            let parts: Vec<(Block, &[u32])> = rows
                .par_chunks(BLOCK_ROWS)
                .map(|rows| (self.table.block(rows, columns), rows))
                .collect();
            parts.iter().for_each(|(block, rows)| see(block, Places::all(rows)));
        }
    }

    /// Shows label ids of these rows of a block, with each one's place among them.
    pub(crate) fn each_label(
        &self,
        block: &Block,
        column: usize,
        places: Places<'_>,
        mut see: impl FnMut(usize, u32),
    ) {
        match &self.stored {
            Stored::Open { labels, .. } => {
                let labels = &labels[column];
                places.rows.iter().enumerate().for_each(|(at, &row)| see(at, labels[row as usize]));
            }
            Stored::Blocks(_) => {
                let labels = block.labels(column);
                places.iter().enumerate().for_each(|(at, row)| see(at, labels[row]));
            }
        }
    }

    /// Shows the label ids of these rows, which are in the file's order, with each one's place among them.
    pub(crate) fn visit_labels(
        &self,
        rows: &[u32],
        column: usize,
        mut see: impl FnMut(usize, u32),
    ) {
        if let Stored::Open { labels, .. } = &self.stored {
            let labels = &labels[column];
            rows.iter().enumerate().for_each(|(at, &row)| see(at, labels[row as usize]));
            return;
        }
        let mut before = 0;
        self.visit(rows, |block, places| {
            self.each_label(block, column, places, |at, id| see(before + at, id));
            before += places.rows.len();
        });
    }

    /// The texts of these rows, which are in the file's order, of a column at this place among the labels of a row, with how many
    /// rows have each.
    pub(crate) fn label_counts(&self, rows: &[u32], column: usize) -> Vec<(&str, u64)> {
        let names = &self.label_names[column];
        let mut counts = vec![0; names.len()];
        self.visit_labels(rows, column, |_, id| {
            if id != MISSING_LABEL {
                counts[id as usize] += 1;
            }
        });
        let counted = names.iter().map(String::as_str).zip(counts);
        counted.filter(|(_, rows)| *rows > 0).collect()
    }

    /// All rows.
    pub(crate) fn all_rows(&self) -> Vec<u32> {
        (0..self.rows as u32).collect()
    }

    /// The rows without a missing cell where that leaves a row out.
    pub(crate) fn complete_rows(&self) -> Vec<u32> {
        let (numbers, texts) = self.selection.dropping();
        if numbers.is_empty() && texts.is_empty() {
            return self.all_rows();
        }
        let blocks = match &self.stored {
            Stored::Open { may_miss: false, .. } => return self.all_rows(),
            Stored::Open { labels, .. } => return self.complete_open(&numbers, &texts, labels),
            Stored::Blocks(blocks) => blocks,
        };
        let mut complete = Vec::with_capacity(self.rows);
        let mut first = 0;
        for block in blocks {
            let is_complete = |&row: &usize| block.is_complete(row, &numbers, &texts);
            complete.extend((0..block.rows).filter(is_complete).map(|row| first + row as u32));
            first += block.rows as u32;
        }
        complete
    }

    fn complete_open(&self, numbers: &[usize], texts: &[usize], labels: &[Vec<u32>]) -> Vec<u32> {
        let columns: Vec<usize> =
            numbers.iter().map(|&number| self.number_columns[number]).collect();
        let all: Vec<usize> = (0..columns.len()).collect();
        let has_labels =
            |row: u32| texts.iter().all(|&column| labels[column][row as usize] != MISSING_LABEL);
        let complete = |rows: &[u32]| -> Vec<u32> {
            let block = self.table.block(rows, &columns);
            let places = rows.iter().enumerate();
            let complete =
                places.filter(|&(at, &row)| block.is_complete(at, &all, &[]) && has_labels(row));
            complete.map(|(_, &row)| row).collect()
        };
        self.all_rows().par_chunks(BLOCK_ROWS).flat_map_iter(complete).collect()
    }

    /// The error of one cell of a row that has been read.
    pub(crate) fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        self.table.cell_error(self.first + row, column, problem)
    }

    /// Turns the table into preprocessed rows: those of each part, whose rows are in the file's order, to where it
    /// says. What has been turned is freed at once. Afterwards only labels' names can be asked for.
    /// A turned row has `width` values.
    pub(crate) fn turn(
        &mut self,
        parts: Vec<(&[u32], &mut [f32])>,
        width: usize,
        turn: &Turn<'_>,
    ) -> Result<(), DataError> {
        let blocks = match &mut self.stored {
            Stored::Blocks(blocks) => Some(std::mem::take(blocks)),
            Stored::Open { .. } => None,
        };
        let first_bad = match blocks {
            Some(blocks) => self.turn_blocks(blocks, parts, width, turn),
            None => self.turn_open(parts, width, turn),
        };
        match first_bad {
            Some(BadCell { row, column, problem }) => Err(self.cell_error(row, column, problem)),
            None => Ok(()),
        }
    }

    fn turn_open(
        &self,
        parts: Vec<(&[u32], &mut [f32])>,
        width: usize,
        turn: &Turn<'_>,
    ) -> Option<BadCell> {
        let tasks = parts.into_iter().flat_map(|(rows, out)| {
            rows.chunks(BLOCK_ROWS).zip(out.chunks_mut(BLOCK_ROWS * width))
        });
        let task = |(rows, out): (&[u32], &mut [f32])| {
            let block = self.table.block(rows, &self.number_columns);
            turn(self, &block, Places::all(rows), out).err()
        };
        tasks.collect::<Vec<_>>().into_par_iter().filter_map(task).min_by_key(BadCell::place)
    }

    fn turn_blocks(
        &self,
        blocks: Vec<Block>,
        parts: Vec<(&[u32], &mut [f32])>,
        width: usize,
        turn: &Turn<'_>,
    ) -> Option<BadCell> {
        let mut parts: Vec<(Parts<'_>, &mut [f32])> =
            parts.into_iter().map(|(rows, out)| (Parts::new(rows), out)).collect();
        let task = |block: Block| {
            let mut outs = Vec::with_capacity(parts.len());
            for (parts, rest) in &mut parts {
                let places = parts.next_in(&block);
                let (out, behind) = std::mem::take(rest).split_at_mut(places.rows.len() * width);
                *rest = behind;
                outs.push((places, out));
            }
            (block, outs)
        };
        let tasks: Vec<_> = blocks.into_iter().map(task).collect();
        let task = |(block, outs): (Block, Vec<(Places<'_>, &mut [f32])>)| {
            let turned = outs.into_iter().map(|(places, out)| turn(self, &block, places, out));
            turned.filter_map(Result::err).min_by_key(BadCell::place)
        };
        tasks.into_par_iter().filter_map(task).min_by_key(BadCell::place)
    }
}

/// Turns these rows of a block into preprocessed ones.
pub(crate) type Turn<'a> =
    dyn Fn(&RawTable, &Block, Places<'_>, &mut [f32]) -> Result<(), BadCell> + Sync + 'a;

/// A cell that cannot be turned, for an error.
#[derive(Debug)]
pub(crate) struct BadCell {
    pub(crate) row: u32,
    /// Column of the file.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

impl BadCell {
    /// The first of one that was found before, if any, and another.
    pub(crate) fn first(
        before: Option<BadCell>,
        row: u32,
        column: usize,
        problem: String,
    ) -> Option<BadCell> {
        let found = BadCell { row, column, problem };
        Some(before.filter(|before| before.place() <= found.place()).unwrap_or(found))
    }

    pub(crate) fn place(&self) -> (u32, usize) {
        (self.row, self.column)
    }
}

/// Rows of a table, given out block by block.
struct Parts<'a> {
    left: &'a [u32],
    /// The next block's first row.
    first: u32,
}

impl<'a> Parts<'a> {
    fn new(rows: &'a [u32]) -> Parts<'a> {
        debug_assert!(rows.is_sorted(), "rows are not in the file's order");
        Parts { left: rows, first: 0 }
    }

    fn next_in(&mut self, block: &Block) -> Places<'a> {
        let first = self.first;
        self.first += block.rows as u32;
        let (rows, left) = self.left.split_at(self.left.partition_point(|&row| row < self.first));
        self.left = left;
        Places::of(rows, first)
    }
}
