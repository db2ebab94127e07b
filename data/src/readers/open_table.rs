//! What a file format has to give: an open table of named columns, its selected cells, and a place for every error. All
//! that the rest of the crate knows of files. Knows no format, and nothing of splits, scaling or networks.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

use crate::block::Block;
use crate::error::DataError;
use crate::readers::cell::Look;
use crate::selection::Selection;

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
    /// allows, and none is missing where that is an error. At least one row, at most [`ROWS_MAX`].
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
