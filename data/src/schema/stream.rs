//! Rows to predict, batch by batch: read in the file's order, encoded anywhere. What is in memory does not grow with the table.
//! Decides nothing about threads.

use std::sync::Arc;

use super::turn::Lookups;
use super::{Reader, Schema, Unseen, Want};
use crate::error::{DataError, no_column};
use crate::raw::RawTable;
use crate::readers::open_table::{Batches, Load, OpenTable, Wanted};
use crate::rows::Rows;
use crate::table_file::TableFile;
use crate::values::{ValueKind, Values};

/// Cells of a batch, at most or thereabouts.
const BATCH_CELLS: usize = 1 << 18;

/// The rows of a table, in its order.
pub struct RowSource {
    table: Arc<dyn OpenTable>,
    batches: Box<dyn Batches>,
    passed: Vec<PassedColumn>,
    is_empty: bool,
}

/// A column of the table that is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedColumn {
    /// Its name.
    pub name: String,
    /// What its cells are.
    pub kind: ValueKind,
}

/// Rows that were found, and perhaps not read yet.
pub struct RawRows(Load);

/// From found rows to the network's.
pub struct RowEncoder<'a> {
    schema: &'a Schema,
    lookups: Lookups<'a>,
}

/// Rows for the network.
#[derive(Debug)]
pub struct EncodedRows {
    /// Their features alone.
    pub rows: Rows,
    /// The cells of each column that is passed on.
    pub passed: Vec<Values>,
    /// Features in which rows have a category that training never saw.
    pub unseen: Vec<Unseen>,
}

impl Schema {
    /// Reads the features of raw rows as the training rows were read, in batches of about so many rows at most, with some
    /// columns that are passed on as they are: each of `passed` is a name, or several with commas between them. Rows are all there, in the file's order, or it is an error.
    ///
    /// # Errors
    /// If the table cannot be read at all, or lacks a column.
    pub fn stream(
        &self,
        file: &TableFile,
        passed: &[String],
        rows_max: usize,
    ) -> Result<(RowSource, RowEncoder<'_>), DataError> {
        let table = file.open(&self.dialect)?;
        let selection = self.select(&*table, Want::Features, Reader::Model)?;
        let columns = columns(&*table, passed)?;
        let passed = columns.iter().map(|&column| PassedColumn {
            name: table.columns()[column].clone(),
            kind: table.kept_kind(column),
        });
        let passed = passed.collect();
        let width = self.features.len() + columns.len();
        let rows_max = rows_max.min(BATCH_CELLS / width).max(1);
        let wanted = Wanted { selection: Arc::new(selection), kept: columns, rows_max };
        let batches = Arc::clone(&table).batches(Arc::new(wanted))?;
        let source = RowSource { table, batches, passed, is_empty: true };
        Ok((source, RowEncoder { schema: self, lookups: self.lookups() }))
    }
}

/// The columns of these names, each of which may be a list of names as well, with commas between them.
fn columns(table: &dyn OpenTable, names: &[String]) -> Result<Vec<usize>, DataError> {
    let mut columns = Vec::new();
    for name in names {
        if let Some(column) = table.find(name)? {
            columns.push(column);
            continue;
        }
        for name in name.split(',').map(str::trim) {
            let column = table.find(name)?;
            let lacks = || no_column(table.path(), name, "--keep", table.columns());
            columns.push(column.ok_or_else(lacks)?);
        }
    }
    Ok(columns)
}

impl RowSource {
    /// The columns that are passed on.
    pub fn passed(&self) -> &[PassedColumn] {
        &self.passed
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// If the table cannot be read from here on, or has no row at all.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RawRows>, DataError> {
        let load = self.batches.next()?;
        if load.is_none() && self.is_empty {
            return Err(DataError::table(self.table.path(), self.table.no_rows()));
        }
        self.is_empty = false;
        Ok(load.map(RawRows))
    }
}

impl RowEncoder<'_> {
    /// Reads found rows, if that is still to be done, and fills, scales and encodes them.
    ///
    /// # Errors
    /// That of the first bad cell.
    pub fn encode(&self, found: RawRows) -> Result<EncodedRows, DataError> {
        let mut batch = (found.0)()?;
        let passed = std::mem::take(&mut batch.kept);
        let mut raw = RawTable::of(batch);
        let all = raw.all_rows();
        let unseen = self.lookups.unseen(&raw, &all);
        let [rows] = self.schema.preprocess(&self.lookups, &mut raw, [&all])?;
        Ok(EncodedRows { rows, passed, unseen })
    }
}
