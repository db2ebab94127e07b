//! The one array of an NPY file, plain or compressed, whole in memory as it stands in the file: rows of cells, in whichever
//! order and types. Memory is taken only for what the file really holds. Knows no features, targets or missing cells.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::element::Element;
use super::header::{self, Dtype, Field, Header};
use crate::bytes::stream::{self, Stream, StreamError, shape};
use crate::error::{DataError, quote};
use crate::readers::open_table::{COLUMNS_MAX, ROWS_MAX};

/// An array; its first dimension counts rows.
#[derive(Debug)]
pub(super) struct Array {
    path: PathBuf,
    rows: usize,
    /// The dimensions of one row; none for a number or a record.
    row_shape: Vec<usize>,
    /// Of records.
    fields: Option<Vec<Field>>,
    columns: Vec<Column>,
    /// Bytes from the cells of one row to those of the next.
    stride: usize,
    bytes: Vec<u8>,
}

/// Where the cells of a column are.
#[derive(Clone, Copy, Debug)]
struct Column {
    element: Element,
    /// Bytes before the cell of the first row.
    offset: usize,
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
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Array, DataError> {
        stream::read(path, |from| Array::read_from(path, from))
    }

    fn read_from(path: &Path, from: &mut Stream<'_>) -> Result<Array, StreamError> {
        let header = header::read(from)?;
        Array::read_behind(path, header, from)
    }

    /// Reads what is behind a header.
    pub(super) fn read_behind(
        path: &Path,
        header: Header,
        from: &mut Stream<'_>,
    ) -> Result<Array, StreamError> {
        let Header { shape: dimensions, is_fortran, dtype } = header;
        let size = dtype.size();
        let [rows, row_shape @ ..] = &dimensions[..] else {
            return Err("found a single value, wanted an array of rows".to_owned().into());
        };
        let (wanted, said) = from.array(&dimensions, size)?;
        check(*rows, row_shape, &dtype)?;
        let bytes = from.rest(wanted, &said)?;
        let cells: usize = row_shape.iter().product();
        let stride = if is_fortran { size } else { size * cells };
        let (columns, fields) = match dtype {
            Dtype::Record(_, fields) => (fields.iter().map(Column::of).collect(), Some(fields)),
            Dtype::Plain(element) => {
                let offset = |cell| match is_fortran {
                    true => first_index_first(cell, row_shape) * rows * size,
                    false => cell * size,
                };
                let columns = (0..cells).map(|cell| Column { element, offset: offset(cell) });
                (columns.collect(), None)
            }
        };
        let (path, row_shape) = (path.to_owned(), row_shape.to_vec());
        Ok(Array { path, rows: *rows, row_shape, fields, columns, stride, bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The dimensions of one row; none for a number or a record.
    pub(super) fn row_shape(&self) -> &[usize] {
        &self.row_shape
    }

    /// Cells of a row.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The fields of a row, if rows are records.
    pub(super) fn field_names(&self) -> Option<impl Iterator<Item = &str>> {
        Some(self.fields.as_ref()?.iter().map(|field| &field.name[..]))
    }

    /// Why a column has no values, if it has none.
    pub(super) fn problem(&self, column: usize) -> Option<&str> {
        self.fields.as_ref()?[column].problem.as_deref()
    }

    /// The type of a column.
    pub(super) fn element(&self, column: usize) -> Element {
        self.columns[column].element
    }

    /// The cells of one column of these rows.
    #[inline]
    pub(super) fn cells(&self, rows: &[u32], column: usize) -> impl Iterator<Item = Cell<'_>> {
        rows.iter().map(move |&row| self.cell(row, column))
    }

    #[inline]
    pub(super) fn cell(&self, row: u32, column: usize) -> Cell<'_> {
        let Column { element, offset } = self.columns[column];
        let bytes = &self.bytes[row as usize * self.stride + offset..][..element.size];
        Cell { element, bytes }
    }

    /// The place of a cell, as Python writes it behind the array's name.
    pub(super) fn place(&self, row: u32, column: usize) -> String {
        if let Some(fields) = &self.fields {
            return format!("[{row}][{}]", quote(fields[column].name.as_bytes()));
        }
        let mut indices = indices(column, &self.row_shape);
        indices.push(row as usize);
        indices.reverse();
        format!("[{}]", indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl Column {
    fn of(field: &Field) -> Column {
        Column { element: field.element, offset: field.offset }
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
