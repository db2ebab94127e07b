//! A table in an NPZ file: arrays with names, a row of the table for each row of every array. Reads no pickles. Nothing is
//! ever unpacked to a disk, so that an array's name is a name and no path.
//!
//! - An array of one dimension is a column of its name; of records, columns `name.field`.
//! - An array of more dimensions, `x`, has the columns `x0`, `x1` and so on, the last index fastest.
//! - An array `columns` of texts beside the only one of two dimensions names its columns.
//! - A single value, such as a version, is left out.

use std::io::{BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_proto::panics;
use zip::ZipArchive;
use zip::result::ZipError;

use super::array::Array;
use super::cells::{self, Cells};
use super::header::{self, ZIP_MAGIC};
use crate::block::Block;
use crate::bytes::packing::{DEFLATE_RATIO_MAX, unreadable};
use crate::bytes::source::{ByteSource, Cursor};
use crate::bytes::stream::{Stream, StreamError, hex};
use crate::error::{DataError, count, quote};
use crate::readers::cell::Look;
use crate::readers::format::Request;
use crate::readers::names::NamedColumns;
use crate::readers::open_table::{Batches, COLUMNS_MAX, Contents, OpenTable, Wanted};
use crate::readers::whole;
use crate::selection::Selection;
use crate::values::{ValueKind, Values};

/// The array that names the columns of another.
const COLUMNS: &str = "columns";

/// What numpy adds to the name of each array.
const ENDING: &str = ".npy";

/// Arrays of as many rows.
#[derive(Debug)]
pub(super) struct Npz {
    path: PathBuf,
    arrays: Vec<Named>,
    columns: Vec<String>,
    /// The array of each column, and its place there.
    places: Vec<(usize, usize)>,
    named: NamedColumns,
    cells: Cells,
}

#[derive(Debug)]
struct Named {
    name: String,
    array: Array,
}

impl Npz {
    pub(super) fn open(request: &Request<'_>) -> Result<Npz, DataError> {
        let path = request.path;
        let mut arrays = read(path)?;
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
        for (at, Named { name, array }) in arrays.iter().enumerate() {
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
        Ok(Npz { path: path.to_owned(), arrays, columns, places, named, cells })
    }

    /// The array that a column is of, and its place there.
    fn of(&self, column: usize) -> (&Array, usize) {
        let (array, place) = self.places[column];
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

/// Reads every array of rows, in the file's order.
fn read(path: &Path) -> Result<Vec<Named>, DataError> {
    let source = ByteSource::open(path).map_err(|cause| unreadable(path, cause))?;
    let mut start = Vec::new();
    let read = source.span(0..source.end().min(ZIP_MAGIC.len() as u64)).read_to_end(&mut start);
    read.map_err(|cause| unreadable(path, cause))?;
    if start != ZIP_MAGIC {
        let problem = format!(
            "found {} at its beginning, wanted an NPZ file, as numpy.savez writes it, which begins with {}; give a file \
             of another format another name",
            hex(&start),
            hex(&ZIP_MAGIC)
        );
        return Err(DataError::table(path, problem));
    }
    let length = source.len().map_err(|cause| unreadable(path, cause))?;
    match panics::guard(|| read_arrays(path, &source, length)) {
        Ok(read) => read,
        Err(_) => Err(damaged(path, "it contradicts itself")),
    }
}

fn read_arrays(path: &Path, source: &ByteSource, length: u64) -> Result<Vec<Named>, DataError> {
    let mut archive = ZipArchive::new(BufReader::new(Cursor::new(source, 0)))
        .map_err(|error| unreadable_zip(path, error))?;
    let mut arrays = Vec::new();
    let mut packed = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| unreadable_zip(path, error))?;
        let whole = entry.name().map_err(|error| unreadable_zip(path, error))?.into_owned();
        let Some(name) = whole.strip_suffix(ENDING) else {
            let problem = format!(
                "found {} in it, wanted arrays alone, as numpy.savez writes them; unpack it, or save its arrays again",
                quote(whole.as_bytes())
            );
            return Err(DataError::table(path, problem));
        };
        // Entries that share their bytes could hold far more together than the file can.
        packed = packed.saturating_add(entry.compressed_size());
        if packed > length {
            return Err(damaged(path, "its arrays are longer than the file"));
        }
        let left_max = entry.compressed_size().saturating_mul(DEFLATE_RATIO_MAX);
        let array = read_array(path, &mut Stream::new(&mut entry, left_max));
        let array = array.map_err(|fault| match fault {
            StreamError::Problem(problem) => {
                DataError::table(path, format!("array {}: {problem}", quote(name.as_bytes())))
            }
            StreamError::Io(cause) if cause.raw_os_error().is_none() => {
                damaged(path, &format!("array {}: {cause}", quote(name.as_bytes())))
            }
            fault => fault.of(path),
        })?;
        arrays.extend(array.map(|array| Named { name: name.to_owned(), array }));
    }
    Ok(arrays)
}

/// Reads an array; `None` for a single value.
fn read_array(path: &Path, from: &mut Stream<'_>) -> Result<Option<Array>, StreamError> {
    let header = header::read(from)?;
    if header.shape.is_empty() {
        return Ok(None);
    }
    Array::read_behind(path, header, from).map(Some)
}

fn unreadable_zip(path: &Path, error: ZipError) -> DataError {
    match error {
        ZipError::Io(cause) if cause.raw_os_error().is_some() => unreadable(path, cause),
        ZipError::InvalidPassword => {
            DataError::table(path, "it is encrypted, wanted a plain NPZ file; save it again")
        }
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            let problem = format!(
                "found a zip file that numpy does not write ({error}); save it again with numpy.savez_compressed"
            );
            DataError::table(path, problem)
        }
        error => damaged(path, &error.to_string()),
    }
}

fn damaged(path: &Path, cause: &str) -> DataError {
    let problem =
        format!("its zip data are damaged or cut short ({cause}); save or fetch it again");
    DataError::table(path, problem)
}

impl OpenTable for Npz {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.named.find(name, &self.path, "rename an array")
    }

    fn look(&self, columns: &[usize]) -> Vec<Look> {
        let look = |&column: &usize| {
            let (array, place) = self.of(column);
            self.cells.look(array, place)
        };
        columns.iter().map(look).collect()
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        for column in selection.all().map(|selected| selected.column) {
            let (array, place) = self.of(column);
            if let Some(problem) = array.problem(place) {
                let name = quote(self.columns[column].as_bytes());
                let problem =
                    format!("column {name}: {problem}, or leave it out of `data.features`");
                return Err(DataError::table(&self.path, problem));
            }
        }
        let rows = self.arrays.first().map_or(0, |first| first.array.rows());
        let found = self.cells.read(rows, selection, |column| self.of(column));
        found.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        whole::batches(self, wanted)
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        let (array, place) = self.of(column);
        array.element(place).kept_kind()
    }

    fn kept(&self, rows: Range<u32>, column: usize) -> Result<Values, DataError> {
        let (array, place) = self.of(column);
        let kept = cells::kept(array, rows, (column, place));
        kept.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn block(&self, rows: &[u32], columns: &[usize]) -> Block {
        self.cells.block(rows, columns, |column| self.of(column))
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let (array, place) = self.of(column);
        let name = &self.arrays[self.places[column].0].name;
        let place = format!("element {name}{}", array.place(row, place));
        DataError::Item { path: self.path.clone(), place, problem }
    }
}
