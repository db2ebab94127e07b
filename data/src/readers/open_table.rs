//! What a file format has to give: an open table of named columns, its selected cells, whole or batch by batch, and a place
//! for every error. All that the rest of the crate knows of files. Knows no format, and nothing of splits, scaling or networks.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::block::Block;
use crate::error::DataError;
use crate::readers::cell::Look;
use crate::selection::Selection;
use crate::values::{ValueKind, Values};

/// Most rows of a table, in whatever format.
pub const ROWS_MAX: usize = (1 << 31) - 1;

/// Most columns of a table, in whatever format.
pub const COLUMNS_MAX: usize = 65_536;

/// A table that has been opened: its columns are known, at most [`COLUMNS_MAX`] of them.
///
/// A cell is a number, read as `f64` whatever it is in the file, or a label, a text without spaces around it. A missing
/// number is NaN, a missing label [`MISSING_LABEL`](crate::block::MISSING_LABEL).
pub(crate) trait OpenTable: Debug + Send + Sync {
    /// The file of the features.
    fn path(&self) -> &Path;

    /// Whether the file stays open with the table.
    fn keeps_file_open(&self) -> bool {
        false
    }

    /// Where the targets stand.
    fn target_path(&self) -> &Path {
        self.path()
    }

    /// Column names, in file order. Any number may be empty or the same.
    fn columns(&self) -> &[String];

    /// The column of a name.
    ///
    /// # Errors
    /// If two have it.
    fn find(&self, name: &str) -> Result<Option<usize>, DataError>;

    /// The columns that the table itself keeps as targets; none where any column may be one.
    fn targets(&self) -> Range<usize> {
        0..0
    }

    /// What is wrong if the table should have these targets in a file of its own, and no such file was given.
    fn lacks_targets(&self, _targets: &[String]) -> Option<&'static str> {
        None
    }

    /// The dimensions of an image, if rows are images.
    fn image_shape(&self) -> Option<&[usize]> {
        None
    }

    /// What these columns look like, in the first rows at least: a guess, so that a column of texts is rarely read twice.
    fn look(&self, columns: &[usize]) -> Vec<Look> {
        vec![Look::Numbers; columns.len()]
    }

    /// Reads the selected columns and checks every cell of them: a number is finite and not larger than the selection
    /// allows, and none is missing where that is an error. At most [`ROWS_MAX`] rows; that there are none is told by
    /// whoever asked, since a part of a table may have none.
    ///
    /// # Errors
    /// That of the first bad cell: of the first row that has one, in file order.
    fn read(&self, selection: &Selection) -> Result<Contents, DataError>;

    /// Numbers of these rows, `[columns.len(), rows.len()]`, after [`OpenTable::read`] found them good.
    ///
    /// # Panics
    /// If that keeps its rows as [`Stored::Blocks`].
    fn block(&self, rows: &[u32], columns: &[usize]) -> Block;

    /// The error of one cell of a row that has been read.
    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError;

    /// What is wrong where there are no rows.
    fn no_rows(&self) -> &'static str {
        "no rows, wanted at least one"
    }

    /// What the cells of a column become where they are kept as they are.
    fn kept_kind(&self, _column: usize) -> ValueKind {
        ValueKind::Text
    }

    /// Whether texts of a column are dates with a time that the format spells itself: pandas leaves the time out where all of
    /// a column is midnight.
    fn has_times(&self, _column: usize) -> bool {
        false
    }

    /// These cells as they are, after [`OpenTable::read`].
    ///
    /// # Errors
    /// If one has no text that can be kept.
    ///
    /// # Panics
    /// If that keeps its rows as [`Stored::Blocks`].
    fn kept(&self, _rows: Range<u32>, _column: usize) -> Result<Values, DataError> {
        unreachable!("cells that are kept are read with their batch")
    }

    /// The same cells as [`OpenTable::read`] gives and checks, batch after batch in the file's order: what is in memory does
    /// not grow with the rows, unless the format is one that is read whole anyway.
    ///
    /// # Errors
    /// If the table cannot be read at all.
    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError>;

    /// Where a row is, for a message.
    fn row_place(&self, row: u32) -> String {
        format!("in row {row}")
    }
}

/// The selected cells of a table.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) rows: usize,
    pub(crate) stored: Stored,
    /// Distinct labels of each column of texts, as they first come in the file: what label ids are places of.
    pub(crate) label_names: Vec<Vec<String>>,
    /// Columns of the file in which a text was found among numbers, where the selection wants that noted.
    pub(crate) noted: Vec<usize>,
}

/// How a table's rows are kept.
#[derive(Debug)]
pub(crate) enum Stored {
    /// Every row, block after block, numbers and labels.
    Blocks(Vec<Block>),
    /// As they stand in the file, in memory, where that takes less: [`OpenTable::block`] makes blocks of any of them.
    Open {
        /// The label id of each row, column of texts by column of texts.
        labels: Vec<Vec<u32>>,
        /// Whether a cell may be missing.
        may_miss: bool,
    },
}

/// What is read batch by batch.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) selection: Arc<Selection>,
    /// Columns of the file whose cells are kept as they are.
    pub(crate) kept: Vec<usize>,
    /// Rows of a batch, at most or thereabouts.
    pub(crate) rows_max: usize,
}

/// Some rows that stand together in a table, or in one part of it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) table: Arc<dyn OpenTable>,
    /// As it fits the part.
    pub(crate) selection: Arc<Selection>,
    /// The row of `table` that is the first.
    pub(crate) first: u32,
    pub(crate) block: Block,
    /// What label ids are places of: of each column of texts those that are in the batch.
    pub(crate) label_names: Vec<Vec<String>>,
    pub(crate) kept: Vec<Values>,
}

/// Reads a batch, wherever and whenever: several may be read at once.
pub(crate) type Load = Box<dyn FnOnce() -> Result<Batch, DataError> + Send>;

/// The batches of a table, in the file's order.
pub(crate) trait Batches: Send {
    /// The next one; `None` at the end. Does itself only what must be done in order.
    ///
    /// # Errors
    /// If the table cannot be read from here on.
    fn next(&mut self) -> Result<Option<Load>, DataError>;
}
