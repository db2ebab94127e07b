//! A CSV file on disk: its header, readers of its records, and the line of every record.
//!
//! Never holds the file: what is read is forgotten, and read again where an error needs a line number. Blank lines are
//! skipped. Knows no column's meaning.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::header::{self, Header};
use super::quotes;
use super::records::{BUFFER_LEN, LINE_LEN_MAX, RecordFault, Records, broken};
use super::scan::{self, MARK, Piece};
use crate::bytes::packing::unreadable;
use crate::bytes::source::ByteSource;
use crate::dialect::Dialect;
use crate::error::{DataError, quote};
use crate::readers::cell::describe_len;
use crate::readers::format::{Beginning, FilePlace, Request};
use crate::readers::names::NamedColumns;

/// Bytes that tell a file of another format.
const START_LEN: u64 = 8;

/// An open file, its header already read.
#[derive(Debug)]
pub(crate) struct Text {
    path: PathBuf,
    source: ByteSource,
    dialect: Dialect,
    delimiter: u8,
    columns: Vec<String>,
    /// Those whose names are not empty.
    named: NamedColumns,
    /// Where the records begin.
    body: u64,
}

impl Text {
    pub(crate) fn open(request: &Request<'_>) -> Result<Text, DataError> {
        let path = request.path;
        let source = match request.place {
            FilePlace::Path => ByteSource::open(path),
            FilePlace::StandardInput => ByteSource::standard_input(),
            FilePlace::Memory(bytes) => Ok(ByteSource::Memory(bytes.clone())),
        };
        let source = source.map_err(|cause| unreadable(path, cause))?;
        Text::new(request, source)
    }

    /// A file whose cells are separated by tabs unless the job says otherwise.
    pub(crate) fn open_tsv(request: &Request<'_>) -> Result<Text, DataError> {
        let delimiter = request.dialect.delimiter.or(Some('\t'));
        let dialect = Dialect { delimiter, ..request.dialect.clone() };
        Text::open(&Request { dialect: &dialect, ..*request })
    }

    fn new(request: &Request<'_>, source: ByteSource) -> Result<Text, DataError> {
        let (path, dialect) = (request.path, request.dialect);
        let unreadable = |cause| unreadable(path, cause);
        let mut begin = Vec::new();
        source.span(0..source.end().min(START_LEN)).read_to_end(&mut begin).map_err(unreadable)?;
        if begin.starts_with(&[0xff, 0xfe]) || begin.starts_with(&[0xfe, 0xff]) {
            return Err(DataError::table(path, "found UTF-16, wanted UTF-8; save it as UTF-8"));
        }
        if let Some(Beginning { found, advice, .. }) = (request.recognize)(&begin) {
            let problem = format!("found {found}, wanted a CSV file; {advice}");
            return Err(DataError::table(path, problem));
        }
        if begin.trim_ascii_start().starts_with(b"[{")
            || begin.trim_ascii_start().starts_with(b"{\"")
        {
            let problem = "found JSON, wanted a CSV file: write it as one, in pandas with \
                           `read_json(...).to_csv(..., index=False)`";
            return Err(DataError::table(path, problem));
        }
        let start = if begin.starts_with(MARK) { MARK.len() as u64 } else { 0 };
        let Header { delimiter, columns, body } = header::read(path, &source, start, dialect)?;
        // A beginning that is no CSV file's is told before the rest is unpacked.
        source.len().map_err(unreadable)?;
        let has_name = |(_, name): &(usize, &String)| !name.is_empty();
        let named = NamedColumns::new(columns.iter().enumerate().filter(has_name));
        let dialect = dialect.clone();
        Ok(Text { path: path.to_owned(), source, dialect, delimiter, columns, named, body })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Trimmed column names, in file order.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The column of a name. It is an error if two have it.
    pub(crate) fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        match self.named.get(name) {
            None => Ok(None),
            Some((column, None)) => Ok(Some(column)),
            Some((first, Some(second))) => {
                let problem = format!(
                    "columns {} and {} are both named {}; rename one",
                    first + 1,
                    second + 1,
                    quote(name.as_bytes())
                );
                Err(DataError::table(&self.path, problem))
            }
        }
    }

    /// Where the records are.
    pub(crate) fn body(&self) -> Range<u64> {
        self.body..self.source.end()
    }

    /// Pieces of whole records, about `piece_len` bytes each, that can be read in any order; `None` where the file has
    /// to be read in its order: lines may be comments, there is a quote below the header, or rows are too short to have a cell in each column,
    /// so that their number says nothing about the size of a table.
    pub(crate) fn pieces(&self, piece_len: u64) -> Result<Option<Vec<Piece>>, DataError> {
        if self.dialect.comment.is_some() {
            return Ok(None);
        }
        let pieces = scan::pieces(&self.source, self.body, piece_len, self.dialect.quote_byte());
        let Some(pieces) = pieces.map_err(|cause| unreadable(&self.path, cause))? else {
            return Ok(None);
        };
        let rows: u64 = pieces.iter().map(|piece| piece.rows as u64).sum();
        // A cell takes a byte with what ends it, except that the last one may end with the file.
        let cells_max = (self.source.end() - self.body).saturating_add(1);
        let are_cells = rows.checked_mul(self.columns.len() as u64).is_some_and(|n| n <= cells_max);
        Ok(are_cells.then_some(pieces))
    }

    /// Reads the records of a range.
    pub(crate) fn records(&self, bytes: Range<u64>) -> Records<'_> {
        Records::new(&self.source, bytes, self.delimiter, &self.dialect)
    }

    /// Whether a cell of the record at byte `offset` stands in quotes.
    pub(crate) fn is_quoted(&self, offset: u64, column: usize) -> io::Result<bool> {
        let bytes = self.source.span(offset..self.source.end());
        let cells = quotes::cells(bytes, self.delimiter, &self.dialect)?;
        Ok(cells.get(column).is_some_and(|cell| cell.is_quoted))
    }

    /// The error of a record that cannot be read.
    pub(crate) fn record_error(&self, fault: RecordFault) -> DataError {
        match fault {
            RecordFault::Csv(error) => broken(&self.path, error),
            RecordFault::TooLong { offset } => {
                let wanted = describe_len(LINE_LEN_MAX);
                self.row_error(
                    offset,
                    format!("found no end of the row in {wanted}, wanted a shorter one"),
                )
            }
            RecordFault::Quote { offset, quote, column, is_open } => {
                let found = match is_open {
                    true => "that is never closed",
                    false => "that is closed on a later line, in the middle of a cell",
                };
                let problem = format!(
                    "found a quote {found}, wanted one that closes the cell; add it, or take this one out"
                );
                // A row with too many cells has some without a column.
                if column < self.columns.len() {
                    self.cell_error(quote, column, problem)
                } else {
                    self.row_error(offset, problem)
                }
            }
        }
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
        let mut records = self.records(self.body()).without_quotes();
        let mut record = csv::ByteRecord::new();
        for _ in 0..row {
            if !records.read(&mut record).unwrap_or(false) {
                break;
            }
        }
        records.offset()
    }

    /// Line of the first record at or after `offset`, from 1. Lines end as records do: LF, CRLF or CR.
    pub(crate) fn line(&self, offset: u64) -> io::Result<u64> {
        let bytes = BufReader::with_capacity(BUFFER_LEN, self.source.span(0..self.source.end()));
        let (mut line, mut after_return) = (1, false);
        // Whether a line begins here, and whether this one, from the offset on, is a comment.
        let (mut begins, mut is_comment) = (true, false);
        for (at, byte) in (0..).zip(bytes.bytes()) {
            let byte = byte?;
            let is_end = matches!(byte, b'\r' | b'\n');
            is_comment &= !is_end;
            is_comment |= begins && at >= offset && Some(byte) == self.dialect.comment_byte();
            begins = is_end;
            if at >= offset && !is_end && !is_comment {
                break;
            }
            line += u64::from(is_end && !(byte == b'\n' && after_return));
            after_return = byte == b'\r';
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Text {
        text_with(bytes, None)
    }

    fn text_with(bytes: &[u8], comment: Option<char>) -> Text {
        let request = Request {
            path: Path::new("t.csv"),
            place: FilePlace::Path,
            targets: None,
            dialect: &Dialect { comment, ..Dialect::default() },
            recognize: |_| None,
        };
        Text::new(&request, ByteSource::Memory(bytes.into())).unwrap()
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
            ("#x\na,b\n#\"\n1,2\n\n# y\n#\n3,4\n", [4, 8]),
            ("#x\ra,b\r#\"\r1,2\r\r# y\r#\r3,4\r", [4, 8]),
            ("#x\r\na,b\r\n#\"\r\n1,2\r\n\r\n# y\r\n#\r\n3,4\r\n", [4, 8]),
        ] {
            let text = text_with(bytes.as_bytes(), Some('#'));
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
