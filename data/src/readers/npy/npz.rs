//! A table in an NPZ file: arrays with names, a row of the table for each row of every array. Reads no pickles.
//!
//! - An array of one dimension is a column of its name; of records, columns `name.field`.
//! - An array of more dimensions, `x`, has the columns `x0`, `x1` and so on, the last index fastest.
//! - An array `columns` of texts beside the only one of two dimensions names its columns.
//! - A single value, such as a version, is left out.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, Named};
use super::array::Array;
use super::cells::{self, Cells};
use crate::block::Block;
use crate::bytes::stretch::Located;
use crate::error::{DataError, count, quote};
use crate::readers::cell::Look;
use crate::readers::format::Request;
use crate::readers::names::NamedColumns;
use crate::readers::open_table::{Batches, COLUMNS_MAX, Contents, OpenTable, Wanted};
use crate::readers::windows::{self, Windowed};
use crate::selection::Selection;
use crate::values::{ValueKind, Values};

/// The array that names the columns of another.
const COLUMNS: &str = "columns";

/// Arrays of as many rows.
#[derive(Debug)]
pub(super) struct Npz {
    path: PathBuf,
    arrays: Vec<Named>,
    names: Arc<Columns>,
}

/// What does not depend on the rows.
#[derive(Debug)]
struct Columns {
    columns: Vec<String>,
    /// The array of each column, and its place there.
    places: Vec<(usize, usize)>,
    named: NamedColumns,
    cells: Cells,
}

/// The same table where it is in its file.
struct InFile {
    table: Arc<Npz>,
    /// Where each of the arrays is.
    located: Vec<Located>,
}

impl Npz {
    pub(super) fn open(request: &Request<'_>) -> Result<Npz, DataError> {
        let path = request.path;
        let mut arrays = archive::open(path)?;
        let names = take_names(path, &mut arrays)?;
        let Some(first) = arrays.first() else {
            return Err(DataError::table(path, "found no array of rows, wanted at least one"));
        };
        if let Some(other) = arrays.iter().find(|other| other.array.rows() != first.array.rows()) {
            let problem = format!(
                "array {} has {} and array {} has {}, wanted as many in each; save them in separate files",
                quote(first.name.as_bytes()),
                count(first.array.rows() as u64, "row"),
                quote(other.name.as_bytes()),
                count(other.array.rows() as u64, "row"),
            );
            return Err(DataError::table(path, problem));
        }
        let (mut columns, mut places) = (Vec::new(), Vec::new());
        for (at, Named { name, array, .. }) in arrays.iter().enumerate() {
            places.extend((0..array.width()).map(|place| (at, place)));
            match (&names, array.field_names()) {
                (Some(names), _) if is_matrix(array) => columns.extend(names.iter().cloned()),
                (_, Some(fields)) => columns.extend(fields.map(|field| format!("{name}.{field}"))),
                _ if array.row_shape().is_empty() => columns.push(name.clone()),
                _ => columns.extend((0..array.width()).map(|place| format!("{name}{place}"))),
            }
            if columns.len() > COLUMNS_MAX {
                let problem =
                    format!("found more than {COLUMNS_MAX} columns, wanted at most so many");
                return Err(DataError::table(path, problem));
            }
        }
        let named = NamedColumns::new(columns.iter().enumerate());
        let cells = Cells::new(request.dialect);
        let names = Arc::new(Columns { columns, places, named, cells });
        Ok(Npz { path: path.to_owned(), arrays, names })
    }

    /// Rows of the table.
    fn rows(&self) -> usize {
        self.arrays.first().map_or(0, |first| first.array.rows())
    }

    /// Reads the arrays of these columns into memory, unless that is done.
    fn load(&self, columns: impl Iterator<Item = usize>) -> Result<(), DataError> {
        let mut wanted: Vec<usize> = columns.map(|column| self.names.places[column].0).collect();
        wanted.sort_unstable();
        wanted.dedup();
        archive::load(&self.path, wanted.iter().map(|&at| &self.arrays[at]))
    }

    /// The array that a column is of, and its place there.
    fn of(&self, column: usize) -> (&Array, usize) {
        let (array, place) = self.names.places[column];
        (&self.arrays[array].array, place)
    }
}

fn is_matrix(array: &Array) -> bool {
    array.row_shape().len() == 1
}

/// Takes the array out that names the columns of another, if there are both.
fn take_names(path: &Path, arrays: &mut Vec<Named>) -> Result<Option<Vec<String>>, DataError> {
    let is_text = |array: &Array| {
        array.row_shape().is_empty() && array.field_names().is_none() && array.element(0).is_text()
    };
    let is_names = |named: &Named| named.name == COLUMNS && is_text(&named.array);
    let matrices: Vec<&Named> = arrays.iter().filter(|named| is_matrix(&named.array)).collect();
    let Some(at) = arrays.iter().position(is_names).filter(|_| !matrices.is_empty()) else {
        return Ok(None);
    };
    let [matrix] = matrices[..] else {
        let problem = format!(
            "found an array {COLUMNS:?} and {} of two dimensions, wanted one of them, whose columns it names; save them \
             in separate files",
            count(matrices.len() as u64, "array")
        );
        return Err(DataError::table(path, problem));
    };
    archive::load(path, arrays[at..].iter().take(1))?;
    let names = &arrays[at].array;
    if names.rows() != matrix.array.width() {
        let problem = format!(
            "found {} in the array {COLUMNS:?}, wanted one for each of the {} of the array {}",
            count(names.rows() as u64, "name"),
            count(matrix.array.width() as u64, "column"),
            quote(matrix.name.as_bytes())
        );
        return Err(DataError::table(path, problem));
    }
    let name = |row: usize| {
        let text = names.cell(row as u32, 0).text()?;
        String::from_utf8(text.into_owned()).map_err(|_| "found a name that is no UTF-8".to_owned())
    };
    let texts: Result<Vec<String>, String> = (0..names.rows()).map(name).collect();
    let texts =
        texts.map_err(|problem| DataError::table(path, format!("array {COLUMNS:?}: {problem}")))?;
    arrays.remove(at);
    Ok(Some(texts))
}

impl OpenTable for Npz {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> &[String] {
        &self.names.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.names.named.find(name, &self.path, "rename an array")
    }

    fn look(&self, columns: &[usize]) -> Vec<Look> {
        // What is wrong with the file is told when it is read.
        if self.load(columns.iter().copied()).is_err() {
            return vec![Look::Numbers; columns.len()];
        }
        let look = |&column: &usize| {
            let (array, place) = self.of(column);
            self.names.cells.look(array, place)
        };
        columns.iter().map(look).collect()
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        for column in selection.all().map(|selected| selected.column) {
            let (array, place) = self.of(column);
            if let Some(problem) = array.problem(place) {
                let name = quote(self.names.columns[column].as_bytes());
                let problem =
                    format!("column {name}: {problem}, or leave it out of `data.features`");
                return Err(DataError::table(&self.path, problem));
            }
        }
        self.load(selection.all().map(|selected| selected.column))?;
        let rows = self.rows();
        let found = self.names.cells.read(rows, selection, |column| self.of(column));
        found.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        let located = archive::locate(&self.path, &self.arrays)?;
        Ok(windows::batches(InFile { table: self, located }, wanted))
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        let (array, place) = self.of(column);
        array.element(place).kept_kind()
    }

    fn has_times(&self, column: usize) -> bool {
        let (array, place) = self.of(column);
        array.element(place).has_time()
    }

    fn kept(&self, rows: Range<u32>, column: usize) -> Result<Values, DataError> {
        let (array, place) = self.of(column);
        let kept = cells::kept(array, rows, (column, place));
        kept.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn block(&self, rows: &[u32], columns: &[usize]) -> Block {
        self.names.cells.block(rows, columns, |column| self.of(column))
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let (array, place) = self.of(column);
        let name = &self.arrays[self.names.places[column].0].name;
        let place = format!("element {name}{}", array.place(row, place));
        DataError::Item { path: self.path.clone(), place, problem }
    }
}

impl Windowed for InFile {
    fn rows(&self) -> usize {
        self.table.rows()
    }

    fn row_len(&self) -> usize {
        self.table.arrays.iter().map(|named| named.array.row_len()).sum()
    }

    fn window(&self, rows: Range<usize>) -> Result<Arc<dyn OpenTable>, DataError> {
        let arrays = self.table.arrays.iter().zip(&self.located);
        let window = |(named, from): (&Named, &Located)| {
            Ok(named.with(named.array.window(from, rows.clone())?))
        };
        let arrays = arrays.map(window).collect::<Result<_, DataError>>()?;
        let (path, names) = (self.table.path.clone(), Arc::clone(&self.table.names));
        Ok(Arc::new(Npz { path, arrays, names }))
    }
}
