//! Reads the records of a CSV file one after another, none of more than a limited length, and finds quotes that never
//! close. Quoting itself is the `csv` crate's business. Knows no column's meaning.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::comments::Comments;
use super::quotes::{self, Quoting};
use crate::bytes::packing::unreadable;
use crate::bytes::source::{ByteRange, ByteSource};
use crate::dialect::Dialect;
use crate::error::DataError;

/// Longest row, in bytes.
pub(crate) const LINE_LEN_MAX: u64 = 16 << 20;

/// Bytes of the file that a reader holds.
pub(crate) const BUFFER_LEN: usize = 1 << 16;

/// The records of a range of a file.
pub(crate) struct Records<'a> {
    source: &'a ByteSource,
    reader: csv::Reader<Limited<'a>>,
    range: Range<u64>,
    delimiter: u8,
    dialect: &'a Dialect,
    /// Whether there can be quotes.
    is_quoted: bool,
    /// Where the last record began, and the line behind it, from 1 in the range.
    last: Option<u64>,
    line: u64,
}

/// Why there is no further record.
pub(crate) enum RecordFault {
    Csv(csv::Error),
    /// The record at `offset` is longer than [`LINE_LEN_MAX`].
    TooLong {
        offset: u64,
    },
    /// A quote is missing in the record at `offset`: the one that opens at byte `quote`, in this cell.
    Quote {
        offset: u64,
        quote: u64,
        column: usize,
        is_open: bool,
    },
}

impl<'a> Records<'a> {
    pub(crate) fn new(
        source: &'a ByteSource,
        range: Range<u64>,
        delimiter: u8,
        dialect: &'a Dialect,
    ) -> Records<'a> {
        let limited = Limited {
            span: source.span(range.clone()),
            left: LINE_LEN_MAX,
            is_over: false,
            comments: Comments::new(dialect, delimiter),
        };
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter).buffer_capacity(BUFFER_LEN);
        builder.comment(dialect.comment_byte());
        match dialect.quote_byte() {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let reader = builder.from_reader(limited);
        let is_quoted = dialect.quote.is_some();
        Records { source, reader, range, delimiter, dialect, is_quoted, last: None, line: 1 }
    }

    /// The same where the range is known to hold no quote.
    pub(crate) fn without_quotes(self) -> Records<'a> {
        Records { is_quoted: false, ..self }
    }

    /// The next record; false at the end.
    pub(crate) fn read(&mut self, record: &mut csv::ByteRecord) -> Result<bool, RecordFault> {
        let offset = self.offset();
        self.reader.get_mut().left = LINE_LEN_MAX;
        match self.reader.read_byte_record(record) {
            Ok(true) => {
                let line = self.reader.position().line();
                let has_lines = line > self.line + 1;
                self.line = line;
                self.last = Some(offset);
                if has_lines { self.check_quotes(offset) } else { Ok(()) }.map(|()| true)
            }
            // Only its end shows that a quote of the last record never closes.
            Ok(false) => {
                self.last.take().map_or(Ok(()), |last| self.check_quotes(last)).map(|()| false)
            }
            Err(_) if self.reader.get_ref().is_over => {
                self.check_quotes(offset)?;
                Err(RecordFault::TooLong { offset })
            }
            Err(error) => Err(RecordFault::Csv(error)),
        }
    }

    /// Finds a quote that is missing in the record that was read last.
    pub(crate) fn check_last(&self) -> Result<(), RecordFault> {
        self.last.map_or(Ok(()), |last| self.check_quotes(last))
    }

    /// Where in the file the next record, or what is blank before it, begins.
    pub(crate) fn offset(&self) -> u64 {
        self.range.start + self.reader.position().byte()
    }

    /// Finds a quote of the record at `offset` that never closes, or closes after a line end in the middle of a cell.
    fn check_quotes(&self, offset: u64) -> Result<(), RecordFault> {
        if !self.is_quoted {
            return Ok(());
        }
        let end = self.range.end.min(offset.saturating_add(LINE_LEN_MAX));
        let cells = quotes::cells(self.source.span(offset..end), self.delimiter, self.dialect)
            .map_err(|cause| RecordFault::Csv(cause.into()))?;
        let is_bad = |cell: &Quoting| cell.is_open || cell.goes_on && cell.has_line_end;
        match cells.iter().position(is_bad) {
            None => Ok(()),
            Some(column) => {
                let cell = cells[column];
                let quote = offset + cell.start;
                Err(RecordFault::Quote { offset, quote, column, is_open: cell.is_open })
            }
        }
    }
}

impl RecordFault {
    /// The error where no line can be looked up yet.
    pub(crate) fn of_file(self, path: &Path) -> DataError {
        match self {
            RecordFault::Csv(error) => broken(path, error),
            RecordFault::TooLong { .. } | RecordFault::Quote { .. } => {
                DataError::table(path, "found a first row without an end, wanted a CSV file")
            }
        }
    }
}

/// The error of the `csv` crate.
pub(crate) fn broken(path: &Path, error: csv::Error) -> DataError {
    let problem = format!("not a CSV file: {error}");
    match error.into_kind() {
        csv::ErrorKind::Io(cause) => unreadable(path, cause),
        _ => DataError::table(path, problem),
    }
}

/// Reads a range and stops where one record has taken too much of it.
struct Limited<'a> {
    span: ByteRange<'a>,
    left: u64,
    is_over: bool,
    comments: Option<Comments>,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 && !buffer.is_empty() {
            self.is_over = true;
            return Err(io::Error::other("a row is too long"));
        }
        let found = self.span.read(&mut buffer[..wanted])?;
        self.left -= found as u64;
        let Some(comments) = &mut self.comments else { return Ok(found) };
        comments.end(&mut buffer[..found]);
        if found == 0
            && let Some(last) = buffer.first_mut()
            && let Some(byte) = comments.end_of_file()
        {
            *last = byte;
            return Ok(1);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<usize, RecordFault> {
        let source = ByteSource::Memory(text.as_bytes().into());
        let dialect = Dialect::default();
        let mut records = Records::new(&source, 0..source.end(), b',', &dialect);
        let mut record = csv::ByteRecord::new();
        let mut count = 0;
        while records.read(&mut record)? {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_quote_that_never_closes_is_found_where_it_opens() {
        for (text, wanted) in [
            ("a,b\n1,\"2\n3,4\n", (6, 1, true)),
            ("a,b\n1,\"2", (6, 1, true)),
            ("a,b\n1,\"2\n3,\"4\"\n", (6, 1, false)),
            ("a,b\n\"x\ny\",2\n\"3,4\n", (12, 0, true)),
        ] {
            match all(text) {
                Err(RecordFault::Quote { quote, column, is_open, .. }) => {
                    assert_eq!((quote, column, is_open), wanted, "{text:?}");
                }
                Ok(count) => panic!("{text:?}: {count} records"),
                Err(_) => panic!("{text:?}: another fault"),
            }
        }
        for (text, wanted) in [("a,b\n\"x\n\n\",2\n\"3\",\"4\"", 3), ("\"a\"b,c\n", 1), ("", 0)] {
            assert!(all(text).is_ok_and(|count| count == wanted), "{text:?}");
        }
    }

    #[test]
    fn a_row_has_a_longest_length() {
        let row = format!("{},1\n", "x".repeat(1 << 20));
        assert!(all(&row.repeat(40)).is_ok_and(|count| count == 40));
        let long = "x".repeat(LINE_LEN_MAX as usize + BUFFER_LEN);
        assert!(matches!(
            all(&format!("a,b\n{long}\n1,2")),
            Err(RecordFault::TooLong { offset: 4 })
        ));
        let open = format!("a,b\n1,\"{long}");
        assert!(matches!(all(&open), Err(RecordFault::Quote { quote: 6, is_open: true, .. })));
    }
}
