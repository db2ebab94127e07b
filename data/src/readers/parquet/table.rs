//! A table in a Parquet file: which columns there are, and their selected cells as blocks. Row groups are read one after
//! another, the columns of each in parallel, some rows at a time: no more of a file is in memory than the pages in hand.
//! Scales and splits nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::column::reader::{ColumnReader, get_column_reader};
use ::parquet::file::reader::FileReader as _;
use ::parquet::schema::types::SchemaDescriptor;
use lockstep_proto::panics;
use rayon::prelude::*;

use super::batches;
use super::column::{self, Bad, Cells};
use super::file::{self, File};
use super::pages::Checked;
use super::scalar::Reading;
use crate::block::{Block, Builder};
use crate::dialect::Dialect;
use crate::error::{DataError, quote};
use crate::readers::cell::{self, Kind, Look, Slot};
use crate::readers::format::Request;
use crate::readers::names::NamedColumns;
use crate::readers::open_table::{
    Batches, COLUMNS_MAX, Contents, OpenTable, ROWS_MAX, Stored, Wanted,
};
use crate::selection::Selection;
use crate::values::ValueKind;

/// Numbers of a block.
pub(super) const BLOCK_NUMBERS: usize = 1 << 18;

/// Rows that are looked at to guess what a column holds.
const LOOK_ROWS: usize = 1024;

/// What to do about a column that cannot be used.
const LEAVE_OUT: &str = "leave it out of `data.features`";

/// An open file.
pub(super) struct Parquet {
    path: PathBuf,
    file: File,
    pub(super) dialect: Dialect,
    /// The fields of the schema's root.
    columns: Vec<String>,
    named: NamedColumns,
    leaves: Vec<Result<Leaf, String>>,
}

/// Where the values of a column are, or why there are none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    index: usize,
    pub(super) reading: Reading,
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parquet").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Parquet {
    pub(super) fn open(request: &Request<'_>) -> Result<Parquet, DataError> {
        let path = request.path.to_owned();
        let file = file::open(&path)?;
        let schema = file.reader.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields();
        if !(1..=COLUMNS_MAX).contains(&fields.len()) {
            let found = fields.len();
            let problem = format!("found {found} columns, wanted 1 to {COLUMNS_MAX}");
            return Err(DataError::table(&path, problem));
        }
        let columns: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
        let leaves = leaves(schema, columns.len(), &file.encrypted);
        let named = NamedColumns::new(columns.iter().enumerate());
        Ok(Parquet { path, file, dialect: request.dialect.clone(), columns, named, leaves })
    }

    /// The number of rows, as the footer and every row group of it say.
    pub(super) fn rows(&self) -> Result<usize, DataError> {
        let groups = self.file.reader.metadata().row_groups();
        let rows = groups.iter().try_fold(0_usize, |rows, group| {
            rows.checked_add(usize::try_from(group.num_rows()).ok()?)
        });
        let rows =
            rows.ok_or_else(|| file::damaged(&self.path, "its numbers of rows are wrong"))?;
        match rows {
            0..=ROWS_MAX => Ok(rows),
            _ => {
                let problem = format!("found {rows} rows, wanted at most {ROWS_MAX}");
                Err(DataError::table(&self.path, problem))
            }
        }
    }

    pub(super) fn leaf(&self, column: usize) -> Result<Leaf, DataError> {
        self.leaves[column].clone().map_err(|problem| {
            let name = quote(self.columns[column].as_bytes());
            DataError::table(&self.path, format!("column {name}: {problem}"))
        })
    }

    pub(super) fn leaves(
        &self,
        columns: impl Iterator<Item = usize>,
    ) -> Result<Vec<Leaf>, DataError> {
        columns.map(|column| self.leaf(column)).collect()
    }

    /// What a column looks like; what is wrong with it is told when it is read.
    fn look_at(&self, column: usize) -> Option<Look> {
        let leaf = self.leaf(column).ok()?;
        if self.rows().ok()? == 0 {
            return Some(Look::Nothing);
        }
        if leaf.reading.is_spelled() {
            return Some(Look::Texts);
        }
        if leaf.reading != Reading::Plain {
            return Some(Look::Numbers);
        }
        let mut readers = self.readers(0, &[leaf]).ok()?;
        let from = readers.first_mut()?;
        match from {
            ColumnReader::BoolColumnReader(_) => return Some(Look::Truths),
            ColumnReader::ByteArrayColumnReader(_) => {}
            _ => return Some(Look::Numbers),
        }
        file::guard(&self.path, || column::look(from, LOOK_ROWS, &self.dialect)).ok()
    }

    /// Readers of these leaves in a row group.
    pub(super) fn readers(
        &self,
        group: usize,
        leaves: &[Leaf],
    ) -> Result<Vec<ColumnReader>, DataError> {
        file::guard(&self.path, || {
            let reader = &self.file.reader;
            let (group, schema) =
                (reader.get_row_group(group)?, reader.metadata().file_metadata().schema_descr());
            let of = |leaf: &Leaf| {
                let column = schema.column(leaf.index);
                let has_levels = column.max_def_level() > 0;
                let pages =
                    Checked { pages: group.get_column_page_reader(leaf.index)?, has_levels };
                Ok(get_column_reader(column, Box::new(pages)))
            };
            leaves.iter().map(of).collect()
        })
    }

    /// The rows of each row group.
    pub(super) fn group_rows(&self) -> impl Iterator<Item = usize> {
        self.file.reader.metadata().row_groups().iter().map(|group| group.num_rows() as usize)
    }

    /// Reads so many rows of every column.
    pub(super) fn part(
        &self,
        cells: &mut [Cells<'_>],
        readers: &mut [ColumnReader],
        before: usize,
        rows: usize,
    ) -> Result<(), DataError> {
        let columns = cells.par_iter_mut().zip(readers);
        let read: Vec<_> =
            columns.map(|(cells, from)| panics::guard(|| cells.read(from, rows))).collect();
        let mut first_bad: Option<(usize, usize, String)> = None;
        for (cells, read) in cells.iter().zip(read) {
            let read = match read {
                Ok(read) => file::guard(&self.path, || read)?,
                Err(_) => return Err(file::damaged(&self.path, "they contradict themselves")),
            };
            if let Err(Bad { row, problem }) = read
                && first_bad.as_ref().is_none_or(|&(first, ..)| row < first)
            {
                first_bad = Some((row, cells.slot.column, problem));
            }
        }
        match first_bad {
            Some((row, column, problem)) => {
                Err(self.cell_error((before + row) as u32, column, problem))
            }
            None => Ok(()),
        }
    }
}

/// The selected cells of these slots and leaves, none of them read yet.
pub(super) fn cells<'a>(
    slots: &'a [Slot],
    leaves: &[Leaf],
    dialect: &'a Dialect,
    missing_numbers: &'a [f64],
) -> Vec<Cells<'a>> {
    let cells = |(slot, leaf): (&'a Slot, &Leaf)| Cells {
        slot,
        reading: leaf.reading,
        dialect,
        missing_numbers,
        noted: false,
        found: Default::default(),
    };
    slots.iter().zip(leaves).map(cells).collect()
}

/// So many rows that were read.
pub(super) fn block(
    cells: &[Cells<'_>],
    selection: &Selection,
    rows: usize,
    block: &mut Builder,
) -> Block {
    block.begin(rows, selection.number_width(), selection.label_width());
    for cells in cells {
        match cells.slot.kind {
            Kind::Number(place) => block.set_numbers(place, &cells.found.numbers),
            Kind::Label(place) => block.set_labels(place, &cells.found.labels),
        }
    }
    block.end_rows(rows);
    block.block()
}

/// The labels that were read, column of texts by column of texts.
pub(super) fn label_names(cells: Vec<Cells<'_>>, selection: &Selection) -> Vec<Vec<String>> {
    let mut names = vec![Vec::new(); selection.label_width()];
    for cells in cells {
        if let Kind::Label(place) = cells.slot.kind {
            names[place] = cells.found.names.list;
        }
    }
    names
}

/// The leaf of each field of the root, which has so many.
fn leaves(
    schema: &SchemaDescriptor,
    fields: usize,
    encrypted: &[usize],
) -> Vec<Result<Leaf, String>> {
    let nested = format!("it is nested, wanted a column of numbers or texts; {LEAVE_OUT}");
    let mut leaves: Vec<Result<Leaf, String>> = vec![Err(nested); fields];
    for index in 0..schema.num_columns() {
        let leaf = schema.column(index);
        // Flat: a field of the root itself, of which there is at most one value a row.
        if schema.get_column_root(index).is_primitive() && leaf.max_rep_level() == 0 {
            let root = schema.get_column_root_idx(index);
            leaves[root] = match encrypted.contains(&index) {
                true => Err(format!(
                    "it is encrypted, wanted a plain one; decrypt the file, or {LEAVE_OUT}"
                )),
                false => Reading::of(&leaf)
                    .map(|reading| Leaf { index, reading })
                    .map_err(|problem| format!("{problem}; {LEAVE_OUT}")),
            };
        }
    }
    leaves
}

impl OpenTable for Parquet {
    fn path(&self) -> &Path {
        &self.path
    }

    fn keeps_file_open(&self) -> bool {
        true
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.named.find(name, &self.path, "rename one")
    }

    fn look(&self, columns: &[usize]) -> Vec<Look> {
        let look = |&column: &usize| self.look_at(column).unwrap_or(Look::Numbers);
        columns.iter().map(look).collect()
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        let rows = self.rows()?;
        let slots = cell::slots(selection);
        let missing_numbers = cell::missing_numbers(&self.dialect);
        let leaves = self.leaves(slots.iter().map(|slot| slot.column))?;
        let mut cells = cells(&slots, &leaves, &self.dialect, &missing_numbers);
        let block_rows = (BLOCK_NUMBERS / slots.len().max(1)).max(1);
        let mut blocks = Vec::new();
        let mut block = Builder::default();
        let mut before = 0;
        for (place, mut left) in self.group_rows().enumerate() {
            let mut readers = self.readers(place, &leaves)?;
            while left > 0 {
                let rows = left.min(block_rows);
                self.part(&mut cells, &mut readers, before, rows)?;
                blocks.push(self::block(&cells, selection, rows, &mut block));
                (before, left) = (before + rows, left - rows);
            }
        }
        let noted = cells.iter().filter(|cells| cells.noted);
        let noted = noted.map(|cells| cells.slot.column).collect();
        let label_names = label_names(cells, selection);
        Ok(Contents { rows, stored: Stored::Blocks(blocks), label_names, noted })
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        batches::batches(self, wanted)
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        let schema = self.file.reader.metadata().file_metadata().schema_descr();
        match self.leaf(column) {
            Ok(leaf) => leaf.reading.kept_kind(schema.column(leaf.index).physical_type()),
            // That there is none is told where it is read.
            Err(_) => ValueKind::Text,
        }
    }

    fn has_times(&self, column: usize) -> bool {
        self.leaf(column).is_ok_and(|leaf| leaf.reading.has_time())
    }

    fn block(&self, _rows: &[u32], _columns: &[usize]) -> Block {
        unreachable!("rows of Parquet files are kept as blocks")
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let place = format!("row {row}, column {}", quote(self.columns[column].as_bytes()));
        DataError::Item { path: self.path.clone(), place, problem }
    }
}
