//! The one array of an NPY file, plain or compressed, as it stands in the file: rows of cells, in whichever order and types. It
//! is in memory once it is loaded; some rows of it are an array, too, which leaves the others where they are. Memory is taken
//! only for what the file really holds. Knows no features, targets or missing cells.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::element::Element;
use super::header::{self, Dtype, Field, Header};
use crate::bytes::stream::{self, Stream, StreamError, shape};
use crate::bytes::stretch::{Located, Stretch};
use crate::error::{DataError, quote};
use crate::readers::open_table::{COLUMNS_MAX, ROWS_MAX};

/// An array, or some rows of one; its first dimension counts rows.
#[derive(Debug)]
pub(super) struct Array {
    form: Arc<Form>,
    rows: usize,
    /// The row of the file that is the first.
    first: usize,
    /// Bytes from the cells of one row to those of the next.
    stride: usize,
    /// Bytes that a column's place stands for.
    pitch: usize,
    stretch: Stretch,
}

/// What does not depend on how many rows there are.
#[derive(Debug)]
struct Form {
    path: PathBuf,
    /// The dimensions of one row; none for a number or a record.
    row_shape: Vec<usize>,
    /// Of records.
    fields: Option<Vec<Field>>,
    columns: Vec<Column>,
    is_fortran: bool,
    /// Bytes of an element or a record.
    size: usize,
}

/// Where the cells of a column are.
#[derive(Clone, Copy, Debug)]
struct Column {
    element: Element,
    /// Bytes of a row before it; where the first index is fastest, columns before it.
    place: usize,
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) element: Element,
    pub(super) bytes: &'a [u8],
}

impl<'a> Cell<'a> {
    /// The cell as a number; unspecified for a text.
    #[inline]
    pub(super) fn number(&self) -> f64 {
        self.element.number(self.element.bits(self.bytes))
    }

    /// The cell as the text that it is, with all spaces, or that its number is.
    ///
    /// # Errors
    /// If it holds what are no characters.
    pub(super) fn whole_text(&self) -> Result<String, String> {
        if !self.element.is_text() {
            return Ok(self.element.label(self.element.bits(self.bytes)));
        }
        let text = self.element.whole_text(self.bytes)?.into_owned();
        String::from_utf8(text).map_err(|error| {
            let found = quote(error.as_bytes());
            format!("found {found}, wanted UTF-8; save it again as UTF-8")
        })
    }

    /// The cell as a text, without spaces around it; unspecified for a number.
    ///
    /// # Errors
    /// If it holds what are no characters.
    pub(super) fn text(&self) -> Result<Cow<'a, [u8]>, String> {
        self.element.text(self.bytes)
    }
}

impl Array {
    /// Opens a file: reads its header, and leaves the rest where it is.
    pub(super) fn open(path: &Path) -> Result<Array, DataError> {
        stream::read(path, |from| {
            let header = header::read(from)?;
            Array::behind(path, header, from)
        })
    }

    /// The array behind a header.
    pub(super) fn behind(
        path: &Path,
        header: Header,
        from: &mut Stream<'_>,
    ) -> Result<Array, StreamError> {
        let Header { shape: dimensions, is_fortran, dtype } = header;
        let size = dtype.size();
        let [rows, row_shape @ ..] = &dimensions[..] else {
            return Err("found a single value, wanted an array of rows".to_owned().into());
        };
        let there = from.array(&dimensions, size)?;
        check(*rows, row_shape, &dtype)?;
        let stretch = Stretch::behind(from, there)?;
        let (columns, fields) = match dtype {
            Dtype::Record(_, fields) => (fields.iter().map(Column::of).collect(), Some(fields)),
            Dtype::Plain(element) => {
                let place = |cell| match is_fortran {
                    true => first_index_first(cell, row_shape),
                    false => cell * size,
                };
                let cells: usize = row_shape.iter().product();
                let columns = (0..cells).map(|cell| Column { element, place: place(cell) });
                (columns.collect(), None)
            }
        };
        let (path, row_shape) = (path.to_owned(), row_shape.to_vec());
        // Of records there is one index, which is first and last.
        let is_fortran = is_fortran && fields.is_none();
        let form = Form { path, row_shape, fields, columns, is_fortran, size };
        Ok(Array::of(Arc::new(form), *rows, 0, stretch))
    }

    /// So many rows from `first` on.
    fn of(form: Arc<Form>, rows: usize, first: usize, stretch: Stretch) -> Array {
        let (stride, pitch) = match form.is_fortran {
            true => (form.size, rows * form.size),
            false => (form.row_len(), 1),
        };
        Array { form, rows, first, stride, pitch, stretch }
    }

    /// The bytes behind the header, for whoever loads or locates them.
    pub(super) fn stretch(&self) -> &Stretch {
        &self.stretch
    }

    /// Reads the array into memory, unless that is done.
    pub(super) fn load(&self) -> Result<(), DataError> {
        self.stretch.load(&self.form.path)
    }

    /// Some rows, from where the array is in its file.
    pub(super) fn window(&self, from: &Located, rows: Range<usize>) -> Result<Array, DataError> {
        let (count, row_len) = (rows.len(), self.form.row_len());
        // What is there decides how much memory it takes, not what the header says.
        let mut bytes = Vec::new();
        if self.form.is_fortran {
            for place in 0..self.width() {
                let start = place * self.pitch + rows.start * self.stride;
                from.read(start..start + count * self.stride, &mut bytes)?;
            }
        } else {
            from.read(rows.start * row_len..rows.end * row_len, &mut bytes)?;
        }
        Ok(Array::of(Arc::clone(&self.form), count, rows.start, Stretch::of(bytes)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.form.path
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of a row.
    pub(super) fn row_len(&self) -> usize {
        self.form.row_len()
    }

    /// The dimensions of one row; none for a number or a record.
    pub(super) fn row_shape(&self) -> &[usize] {
        &self.form.row_shape
    }

    /// Cells of a row.
    pub(super) fn width(&self) -> usize {
        self.form.columns.len()
    }

    /// The fields of a row, if rows are records.
    pub(super) fn field_names(&self) -> Option<impl Iterator<Item = &str>> {
        Some(self.form.fields.as_ref()?.iter().map(|field| &field.name[..]))
    }

    /// Why a column has no values, if it has none.
    pub(super) fn problem(&self, column: usize) -> Option<&str> {
        self.form.fields.as_ref()?[column].problem.as_deref()
    }

    /// The type of a column.
    pub(super) fn element(&self, column: usize) -> Element {
        self.form.columns[column].element
    }

    /// The cells of one column of these rows.
    #[inline]
    pub(super) fn cells(&self, rows: &[u32], column: usize) -> impl Iterator<Item = Cell<'_>> {
        rows.iter().map(move |&row| self.cell(row, column))
    }

    #[inline]
    pub(super) fn cell(&self, row: u32, column: usize) -> Cell<'_> {
        let Column { element, place } = self.form.columns[column];
        let at = row as usize * self.stride + place * self.pitch;
        let bytes = &self.stretch.bytes()[at..][..element.size];
        Cell { element, bytes }
    }

    /// The place of a cell, as Python writes it behind the array's name.
    pub(super) fn place(&self, row: u32, column: usize) -> String {
        let row = self.first + row as usize;
        if let Some(fields) = &self.form.fields {
            return format!("[{row}][{}]", quote(fields[column].name.as_bytes()));
        }
        let mut indices = indices(column, &self.form.row_shape);
        indices.push(row);
        indices.reverse();
        format!("[{}]", indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl Column {
    fn of(field: &Field) -> Column {
        Column { element: field.element, place: field.offset }
    }
}

impl Form {
    fn row_len(&self) -> usize {
        match self.fields {
            Some(_) => self.size,
            None => self.size * self.columns.len(),
        }
    }
}

/// Whether so many rows of so many cells are a table.
fn check(rows: usize, row_shape: &[usize], dtype: &Dtype) -> Result<(), String> {
    if rows > ROWS_MAX {
        return Err(format!("found {rows} rows, wanted at most {ROWS_MAX}"));
    }
    let columns = match dtype {
        Dtype::Record(_, fields) if row_shape.is_empty() => Some(fields.len()),
        Dtype::Record(..) => {
            let found = row_shape.len() + 1;
            return Err(format!(
                "found {found} dimensions of records, wanted one: a record for each row"
            ));
        }
        Dtype::Plain(_) => row_shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side)),
    };
    match columns {
        Some(0) => Err("found no column, wanted at least one".to_owned()),
        Some(columns) if columns <= COLUMNS_MAX => Ok(()),
        _ => {
            let found = columns.map_or(shape(row_shape), |columns| columns.to_string());
            Err(format!("found {found} columns, wanted at most {COLUMNS_MAX}"))
        }
    }
}

/// The indices of a cell of a row, the last one first; cells are counted with the last index fastest.
fn indices(cell: usize, row_shape: &[usize]) -> Vec<usize> {
    let mut rest = cell;
    let index = |&side: &usize| {
        let index = rest % side;
        rest /= side;
        index
    };
    row_shape.iter().rev().map(index).collect()
}

/// The same cell's place if the first index is fastest.
fn first_index_first(cell: usize, row_shape: &[usize]) -> usize {
    let indices = indices(cell, row_shape).into_iter();
    // From the last index on: ((k * sides[j] + j) * sides[i] + i) for the index [i, j, k].
    indices.zip(row_shape.iter().rev()).fold(0, |place, (index, side)| place * side + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_in_either_order() {
        // numpy.arange(24).reshape(2, 3, 2, 2) has at [r, i, j, k] the number r * 12 + i * 4 + j * 2 + k, and its copy in
        // Fortran's order begins with those of [:, 0, 0, 0], [:, 1, 0, 0], [:, 2, 0, 0], [:, 0, 1, 0].
        let shape = [3, 2, 2];
        assert_eq!(indices(7, &shape), [1, 1, 1]);
        let places: Vec<usize> = (0..12).map(|cell| first_index_first(cell, &shape)).collect();
        assert_eq!(places, [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11]);
        assert_eq!(first_index_first(5, &[6]), 5);
        assert_eq!(first_index_first(0, &[]), 0);
    }
}
