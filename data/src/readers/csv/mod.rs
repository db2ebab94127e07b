//! CSV files as tables: rows of cells, parsed once and kept as blocks.

mod cells;
mod header;
mod parse;
mod quotes;
mod records;
mod scan;
mod text;

use std::path::Path;

use super::format::Format;
use super::open_table::{Contents, OpenTable};
use crate::block::Block;
use crate::error::DataError;
use crate::selection::Selection;
use text::Text;

/// CSV: any name may be one of its files.
pub(super) static FORMAT: Format = Format {
    name: "CSV",
    endings: &[],
    beginnings: &[],
    pair: None,
    open: |request| Ok(Box::new(Text::open(request)?)),
};

/// CSV with tabs: its cells are separated by what its name says unless the job says otherwise.
pub(super) static TSV: Format = Format {
    name: "TSV",
    endings: &[".tsv"],
    beginnings: &[],
    pair: None,
    open: |request| Ok(Box::new(Text::open_tsv(request)?)),
};

impl OpenTable for Text {
    fn path(&self) -> &Path {
        self.path()
    }

    fn keeps_file_open(&self) -> bool {
        true
    }

    fn columns(&self) -> &[String] {
        self.columns()
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.find(name)
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        parse::parse(self, selection)
    }

    fn block(&self, _rows: &[u32], _columns: &[usize]) -> Block {
        unreachable!("rows of CSV files are kept as blocks")
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        self.cell_error(self.offset_of(row as usize), column, problem)
    }
}
