//! A CSV file on disk: its delimiter and header, readers of its records, and the line of every record.
//!
//! Never holds the file: what is read is forgotten, and read again where an error needs a line number. Quoting is the
//! `csv` crate's business. Blank lines are skipped. Knows no column's meaning.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{DataError, quote};
use crate::idx::begins_like_idx;
use crate::scan::{self, MARK, Piece};
use crate::source::{Source, Span};

/// Most columns of a file.
pub const COLUMNS_MAX: usize = 65_536;

/// Most rows of a file.
pub const ROWS_MAX: usize = (1 << 31) - 1;

/// Bytes of the file that a reader holds.
const BUFFER_LEN: usize = 1 << 16;

/// An open file, its header already read.
#[derive(Debug)]
pub(crate) struct Text {
    path: PathBuf,
    source: Source,
    delimiter: u8,
    columns: Vec<String>,
    /// Column of each name that is not empty.
    places: HashMap<String, usize>,
    /// Where the records begin.
    body: u64,
}

impl Text {
    pub(crate) fn open(path: &Path) -> Result<Text, DataError> {
        let source = Source::open(path).map_err(|cause| unreadable(path, cause))?;
        Text::new(path, source)
    }

    fn new(path: &Path, source: Source) -> Result<Text, DataError> {
        let unreadable = |cause| unreadable(path, cause);
        let end = source.len();
        let mut begin = Vec::new();
        source.span(0..end.min(4)).read_to_end(&mut begin).map_err(unreadable)?;
        if begin.starts_with(&[0xff, 0xfe]) || begin.starts_with(&[0xfe, 0xff]) {
            return Err(DataError::table(path, "found UTF-16, wanted UTF-8; save it as UTF-8"));
        }
        if begins_like_idx(&begin) {
            let problem = "found an IDX or a gzip file, wanted a CSV file; give IDX files, plain or in gzip, as \
                           `{ images = \"...\", labels = \"...\" }`, and unpack others";
            return Err(DataError::table(path, problem));
        }
        let start = if begin.starts_with(MARK) { MARK.len() as u64 } else { 0 };
        let delimiter = delimiter(source.span(start..end)).map_err(unreadable)?;
        let mut reader = reader(source.span(start..end), delimiter);
        let mut header = csv::ByteRecord::new();
        let found = reader.read_byte_record(&mut header).map_err(|e| broken(path, e))?;
        if !found {
            return Err(DataError::table(path, "the file is empty, wanted a header and rows"));
        }
        let body = start + reader.position().byte();
        let columns = column_names(path, &header)?;
        let places = places(path, &columns)?;
        Ok(Text { path: path.to_owned(), delimiter, columns, places, body, source })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Trimmed column names, in file order. All differ, except that any number may be empty.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Where the records are.
    pub(crate) fn body(&self) -> Range<u64> {
        self.body..self.source.len()
    }

    /// Pieces of whole records, about `piece_len` bytes each, that can be read in any order; `None` where the file has
    /// to be read in its order: there is a quote below the header, or rows are too short to have a cell in each column,
    /// so that their number says nothing about the size of a table.
    pub(crate) fn pieces(&self, piece_len: u64) -> Result<Option<Vec<Piece>>, DataError> {
        let pieces = scan::pieces(&self.source, self.body, piece_len);
        let Some(pieces) = pieces.map_err(|cause| unreadable(&self.path, cause))? else {
            return Ok(None);
        };
        let rows: u64 = pieces.iter().map(|piece| piece.rows as u64).sum();
        // A cell takes a byte with what ends it, except that the last one may end with the file.
        let cells_max = (self.source.len() - self.body).saturating_add(1);
        let are_cells = rows.checked_mul(self.columns.len() as u64).is_some_and(|n| n <= cells_max);
        Ok(are_cells.then_some(pieces))
    }

    /// Reads the records of a range.
    pub(crate) fn reader(&self, bytes: Range<u64>) -> csv::Reader<Span<'_>> {
        reader(self.source.span(bytes), self.delimiter)
    }

    pub(crate) fn broken(&self, error: csv::Error) -> DataError {
        broken(&self.path, error)
    }

    /// The error of the record at byte `offset` of the file.
    pub(crate) fn row_error(&self, offset: u64, problem: String) -> DataError {
        match self.line(offset) {
            Ok(line) => DataError::Row { path: self.path.clone(), line, problem },
            Err(cause) => unreadable(&self.path, cause),
        }
    }

    /// The error of one cell (`column` from 0) of the record at byte `offset` of the file.
    pub(crate) fn cell_error(&self, offset: u64, column: usize, problem: String) -> DataError {
        match self.line(offset) {
            Ok(line) => DataError::Cell {
                path: self.path.clone(),
                line,
                column: column + 1,
                name: self.columns[column].clone(),
                problem,
            },
            Err(cause) => unreadable(&self.path, cause),
        }
    }

    /// Byte offset of record `row`, found by reading the file again: for errors only.
    pub(crate) fn offset_of(&self, row: usize) -> u64 {
        let mut reader = self.reader(self.body());
        let mut record = csv::ByteRecord::new();
        for _ in 0..row {
            if !reader.read_byte_record(&mut record).unwrap_or(false) {
                break;
            }
        }
        self.body + reader.position().byte()
    }

    /// Line of the first record at or after `offset`, from 1. Lines end as records do: LF, CRLF or CR.
    fn line(&self, offset: u64) -> io::Result<u64> {
        let bytes = BufReader::with_capacity(BUFFER_LEN, self.source.span(0..self.source.len()));
        let (mut line, mut after_return) = (1, false);
        for (at, byte) in (0..).zip(bytes.bytes()) {
            let byte = byte?;
            let is_end = matches!(byte, b'\r' | b'\n');
            if at >= offset && !is_end {
                break;
            }
            line += u64::from(is_end && !(byte == b'\n' && after_return));
            after_return = byte == b'\r';
        }
        Ok(line)
    }
}

fn reader(bytes: Span<'_>, delimiter: u8) -> csv::Reader<Span<'_>> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(BUFFER_LEN)
        .from_reader(bytes)
}

fn unreadable(path: &Path, cause: io::Error) -> DataError {
    DataError::Read { path: path.to_owned(), cause }
}

fn broken(path: &Path, error: csv::Error) -> DataError {
    let problem = format!("not a CSV file: {error}");
    match error.into_kind() {
        csv::ErrorKind::Io(cause) => unreadable(path, cause),
        _ => DataError::table(path, problem),
    }
}

/// Comma, unless the header has none outside quotes and has a semicolon or a tab.
fn delimiter(bytes: impl Read) -> io::Result<u8> {
    let mut in_quotes = false;
    let mut is_header = false;
    let mut seen = [false; 256];
    for byte in BufReader::with_capacity(BUFFER_LEN, bytes).bytes() {
        let byte = byte?;
        match byte {
            b'\r' | b'\n' if !is_header => continue,
            b'"' => in_quotes = !in_quotes,
            b'\r' | b'\n' if !in_quotes => break,
            _ if !in_quotes => seen[usize::from(byte)] = true,
            _ => {}
        }
        is_header = true;
    }
    Ok(*b",;\t".iter().find(|&&delimiter| seen[usize::from(delimiter)]).unwrap_or(&b','))
}

fn column_names(path: &Path, header: &csv::ByteRecord) -> Result<Vec<String>, DataError> {
    if header.len() > COLUMNS_MAX {
        let problem = format!("found {} columns, wanted at most {COLUMNS_MAX}", header.len());
        return Err(DataError::table(path, problem));
    }
    let name = |(column, cell): (usize, &[u8])| match str::from_utf8(cell) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(_) => {
            let (number, found) = (column + 1, quote(cell));
            let problem = format!(
                "the name of column {number} is not UTF-8: found {found}; save the file as UTF-8"
            );
            Err(DataError::table(path, problem))
        }
    };
    header.iter().enumerate().map(name).collect()
}

fn places(path: &Path, columns: &[String]) -> Result<HashMap<String, usize>, DataError> {
    let mut places = HashMap::with_capacity(columns.len());
    for (column, name) in columns.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = places.insert(name.clone(), column) {
            let problem = format!(
                "columns {} and {} are both named {}; rename one",
                first + 1,
                column + 1,
                quote(name.as_bytes())
            );
            return Err(DataError::table(path, problem));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Text {
        Text::new(Path::new("t.csv"), Source::Memory(bytes.to_vec())).unwrap()
    }

    #[test]
    fn delimiter_comes_from_the_header_outside_quotes() {
        for (header, wanted) in [
            ("a,b;c\n1;2;3", b','),
            ("a;b\n1,5;2", b';'),
            ("a\tb;c", b';'),
            ("a\tb", b'\t'),
            ("a\n1;2", b','),
            ("\n\r\n\"a,b\";c", b';'),
            ("\"a\n,\"\tc", b'\t'),
        ] {
            assert_eq!(delimiter(header.as_bytes()).unwrap(), wanted, "{header:?}");
        }
    }

    #[test]
    fn lines_are_right_after_blank_lines_carriage_returns_and_quoted_newlines() {
        for (bytes, wanted) in [
            ("a,b\n1,2\n3,4\n", [2, 3]),
            ("a,b\r\n1,2\r\n3,4\r\n", [2, 3]),
            ("\u{feff}a,b\n\n1,2\n\n\n3,4", [3, 6]),
            ("a,b\n\"1\n\n\",2\n3,4\n", [2, 5]),
            ("a,\"b\r\nc\"\r\n1,2\r\n\r\n3,4\r\n", [3, 5]),
            ("a,b\r1,2\r3,4\r", [2, 3]),
        ] {
            let text = text(bytes.as_bytes());
            let lines = [0, 1].map(|row| text.line(text.offset_of(row)).unwrap());
            assert_eq!(lines, wanted, "{bytes:?}");
        }
    }

    #[test]
    fn rows_without_a_cell_in_each_column_are_read_in_order() {
        for (bytes, wanted) in [
            ("a,b,c\n1,2,3\n,,", true),
            ("a,b,c\n,,\n,,\n,,", true),
            ("a,b,c\n,,\n1\n,,", false),
            ("a,b,c\n1\n2\n3\n", false),
            ("a,b,c\n\"1\",2,3\n", false),
            ("a,b,c\n", true),
            ("a,b,c", true),
        ] {
            assert_eq!(text(bytes.as_bytes()).pieces(1).unwrap().is_some(), wanted, "{bytes:?}");
        }
    }
}
