//! CSV files as tables: rows of cells, parsed once and kept as blocks.

mod batches;
mod cells;
mod comments;
mod header;
mod parse;
mod quotes;
mod records;
mod scan;
mod text;

use std::path::Path;
use std::sync::Arc;

use super::cell::Look;
use super::format::Format;
use super::open_table::{Batches, Contents, OpenTable, Wanted};
use crate::block::Block;
use crate::error::DataError;
use crate::selection::Selection;
use text::Text;

/// Rows that are looked at before all are read.
const ROWS_LOOKED_AT: usize = 256;

/// CSV: any name may be one of its files.
pub(super) static FORMAT: Format = Format {
    name: "CSV",
    endings: &[],
    beginnings: &[],
    pair: None,
    open: |request| Ok(Arc::new(Text::open(request)?)),
};

/// CSV with tabs: its cells are separated by what its name says unless the job says otherwise.
pub(super) static TSV: Format = Format {
    name: "TSV",
    endings: &[".tsv"],
    beginnings: &[],
    pair: None,
    open: |request| Ok(Arc::new(Text::open_tsv(request)?)),
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

    fn look(&self, columns: &[usize]) -> Vec<Look> {
        let mut looks = vec![Look::Nothing; columns.len()];
        let mut records = self.records(self.body());
        let mut record = csv::ByteRecord::new();
        for _ in 0..ROWS_LOOKED_AT {
            // What is wrong with a record is told when all are read.
            if !records.read(&mut record).unwrap_or(false) || record.len() != self.columns().len() {
                break;
            }
            for (look, &column) in looks.iter_mut().zip(columns) {
                *look = look.and(record[column].trim_ascii(), self.dialect());
            }
        }
        looks
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        parse::parse(self, selection)
    }

    fn no_rows(&self) -> &'static str {
        match self.dialect().header {
            true => "no rows below the header, wanted at least one",
            false => "no rows, wanted at least one",
        }
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        batches::batches(self, wanted)
    }

    fn block(&self, _rows: &[u32], _columns: &[usize]) -> Block {
        unreachable!("rows of CSV files are kept as blocks")
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        self.cell_error(self.offset_of(row as usize), column, problem)
    }

    fn row_place(&self, row: u32) -> String {
        match self.line(self.offset_of(row as usize)) {
            Ok(line) => format!("on line {line}"),
            Err(_) => format!("in row {row}"),
        }
    }
}
