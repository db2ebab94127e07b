//! A CSV file in memory: its bytes, delimiter and header, and the line of every record.
//!
//! Quoting is the `csv` crate's business. Line numbers are counted only when an error needs one. Blank lines are
//! skipped. Knows no column's meaning.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{DataError, quote};
use crate::idx::begins_like_idx;

/// Most columns of a file.
pub const COLUMNS_MAX: usize = 65_536;

/// Most rows of a file.
pub const ROWS_MAX: usize = (1 << 31) - 1;

/// A whole file, its header already read.
#[derive(Debug)]
pub(crate) struct Text {
    path: PathBuf,
    bytes: Vec<u8>,
    delimiter: u8,
    columns: Vec<String>,
    /// Column of each name that is not empty.
    places: HashMap<String, usize>,
    /// Where the records begin.
    body: usize,
}

impl Text {
    pub(crate) fn open(path: &Path) -> Result<Text, DataError> {
        let bytes =
            fs::read(path).map_err(|cause| DataError::Read { path: path.to_owned(), cause })?;
        Text::new(path, bytes)
    }

    fn new(path: &Path, bytes: Vec<u8>) -> Result<Text, DataError> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(DataError::table(path, "found UTF-16, wanted UTF-8; save it as UTF-8"));
        }
        if begins_like_idx(&bytes) {
            let problem = "found an IDX or a gzip file, wanted a CSV file; give IDX files, plain or in gzip, as \
                           `{ images = \"...\", labels = \"...\" }`, and unpack others";
            return Err(DataError::table(path, problem));
        }
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let delimiter = delimiter(&bytes[start..]);
        let mut reader = reader(&bytes[start..], delimiter);
        let mut header = csv::ByteRecord::new();
        let found = reader.read_byte_record(&mut header).map_err(|e| broken(path, &e))?;
        if !found {
            return Err(DataError::table(path, "the file is empty, wanted a header and rows"));
        }
        let body = start + reader.position().byte() as usize;
        let columns = column_names(path, &header)?;
        let places = places(path, &columns)?;
        Ok(Text { path: path.to_owned(), delimiter, columns, places, body, bytes })
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

    /// Pieces of whole records, about `piece_len` bytes each, with the offset of each. A file with any quote below its
    /// header is one piece, because only reading it in order says whether a newline ends a record.
    pub(crate) fn pieces(&self, piece_len: usize) -> Vec<(usize, &[u8])> {
        let mut start = self.body;
        let mut pieces = Vec::new();
        let one_piece = self.bytes[start..].contains(&b'"');
        while start < self.bytes.len() {
            let rest = &self.bytes[start..];
            let newline = rest.iter().skip(piece_len).position(|&byte| byte == b'\n');
            let len = match newline {
                Some(at) if !one_piece => piece_len + at + 1,
                _ => rest.len(),
            };
            pieces.push((start, &rest[..len]));
            start += len;
        }
        pieces
    }

    /// Reads records from a piece.
    pub(crate) fn reader<'a>(&self, piece: &'a [u8]) -> csv::Reader<&'a [u8]> {
        reader(piece, self.delimiter)
    }

    pub(crate) fn broken(&self, error: &csv::Error) -> DataError {
        broken(&self.path, error)
    }

    /// The error of the record at byte `offset` of the file.
    pub(crate) fn row_error(&self, offset: usize, problem: String) -> DataError {
        DataError::Row { path: self.path.clone(), line: self.line(offset), problem }
    }

    /// The error of one cell (`column` from 0) of the record at byte `offset` of the file.
    pub(crate) fn cell_error(&self, offset: usize, column: usize, problem: String) -> DataError {
        DataError::Cell {
            path: self.path.clone(),
            line: self.line(offset),
            column: column + 1,
            name: self.columns[column].clone(),
            problem,
        }
    }

    /// Byte offset of record `row`, found by reading the file again: for errors only.
    pub(crate) fn offset_of(&self, row: usize) -> usize {
        let mut reader = self.reader(&self.bytes[self.body..]);
        let mut record = csv::ByteRecord::new();
        for _ in 0..row {
            if !reader.read_byte_record(&mut record).unwrap_or(false) {
                break;
            }
        }
        self.body + reader.position().byte() as usize
    }

    /// Line of the first record at or after `offset`, from 1. Lines end as records do: LF, CRLF or CR.
    fn line(&self, offset: usize) -> u64 {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let skipped = self.bytes[offset..].iter().take_while(|byte| is_end(byte)).count();
        let before = &self.bytes[..offset + skipped];
        let ends = before.iter().enumerate().filter(|&(at, &byte)| {
            byte == b'\n' || byte == b'\r' && before.get(at + 1) != Some(&b'\n')
        });
        1 + ends.count() as u64
    }
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(1 << 16)
        .from_reader(bytes)
}

fn broken(path: &Path, error: &csv::Error) -> DataError {
    DataError::table(path, format!("not a CSV file: {error}"))
}

/// Comma, unless the header has none outside quotes and has a semicolon or a tab.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut in_quotes = false;
    let mut seen = [false; 256];
    let header = bytes.iter().skip_while(|byte| matches!(byte, b'\r' | b'\n'));
    for &byte in header {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\r' | b'\n' if !in_quotes => break,
            _ if !in_quotes => seen[usize::from(byte)] = true,
            _ => {}
        }
    }
    *b",;\t".iter().find(|&&delimiter| seen[usize::from(delimiter)]).unwrap_or(&b',')
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
        Text::new(Path::new("t.csv"), bytes.to_vec()).unwrap()
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
            assert_eq!(delimiter(header.as_bytes()), wanted, "{header:?}");
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
            let lines = [0, 1].map(|row| text.line(text.offset_of(row)));
            assert_eq!(lines, wanted, "{bytes:?}");
        }
    }

    #[test]
    fn pieces_tile_the_body_at_line_ends() {
        let bytes = b"a,b\n1,2\n3,4\n5,6\n7,8".to_vec();
        for piece_len in 0..20 {
            let text = text(&bytes);
            let pieces = text.pieces(piece_len);
            let mut at = 4;
            for (start, piece) in pieces {
                assert_eq!(start, at);
                at += piece.len();
                assert!(at == bytes.len() || piece.ends_with(b"\n"), "{piece_len}");
            }
            assert_eq!(at, bytes.len());
        }
        assert_eq!(text(b"a\n1\n\"2\n\"\n").pieces(1).len(), 1);
        assert!(text(b"a,b\n").pieces(10).is_empty());
    }
}
