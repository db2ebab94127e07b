//! The first record of a CSV file: what separates its cells, and the names of the columns. Reads no more than a limited
//! number of bytes, whatever the file holds. Knows no column's meaning.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::records::{LINE_LEN_MAX, Records};
use crate::bytes::packing::unreadable;
use crate::bytes::source::ByteSource;
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::readers::cell::{CELL_LEN_MAX, describe_len, not_utf8};
use crate::readers::open_table::COLUMNS_MAX;

/// What may separate cells where the job does not say, the likeliest first.
const DELIMITERS: &[u8] = b",;\t";

/// Records below the header that tell which delimiter fits.
const SAMPLE_RECORDS: usize = 10;

/// What the first record says of a file.
pub(crate) struct Header {
    pub(crate) delimiter: u8,
    /// Trimmed; any number may be empty or the same.
    pub(crate) columns: Vec<String>,
    /// Where the records begin.
    pub(crate) body: u64,
}

/// Reads the first record that begins at or after byte `start`.
pub(crate) fn read(
    path: &Path,
    source: &ByteSource,
    start: u64,
    dialect: &Dialect,
) -> Result<Header, DataError> {
    let unreadable = |cause| unreadable(path, cause);
    let line = Line::read(source.span(start..source.end()), dialect).map_err(unreadable)?;
    line.check(path, dialect)?;
    let delimiter = match dialect.delimiter {
        Some(delimiter) => delimiter as u8,
        None => delimiter(source, start, dialect, &line),
    };
    // Counted before any is kept: a line of separators alone would take many times its own length.
    let cells = line.outside[usize::from(delimiter)] + 1;
    if cells > COLUMNS_MAX as u64 {
        let problem = format!("found {cells} columns, wanted at most {COLUMNS_MAX}");
        return Err(DataError::table(path, problem));
    }
    let mut records = Records::new(source, start..source.end(), delimiter, dialect);
    let mut header = csv::ByteRecord::new();
    let found = records.read(&mut header).map_err(|fault| fault.of_file(path))?;
    if !found {
        let wanted = if dialect.header { "a header and rows" } else { "rows" };
        return Err(DataError::table(path, format!("the file is empty, wanted {wanted}")));
    }
    if !dialect.header {
        let columns = (1..=header.len()).map(|number| format!("column{number}")).collect();
        return Ok(Header { delimiter, columns, body: start });
    }
    let columns = names(path, &header)?;
    Ok(Header { delimiter, columns, body: records.offset() })
}

fn names(path: &Path, header: &csv::ByteRecord) -> Result<Vec<String>, DataError> {
    let name = |(column, cell): (usize, &[u8])| {
        let number = column + 1;
        if cell.len() > CELL_LEN_MAX {
            let (found, wanted) =
                (describe_len(cell.len() as u64), describe_len(CELL_LEN_MAX as u64));
            let problem = format!(
                "the name of column {number} has {found}, wanted at most {wanted}; is this a CSV file with a header?"
            );
            return Err(DataError::table(path, problem));
        }
        match str::from_utf8(cell) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(_) => {
                let problem = format!("the name of column {number}: {}", not_utf8(cell));
                Err(DataError::table(path, problem))
            }
        }
    };
    header.iter().enumerate().map(name).collect()
}

/// The first line that is not blank, as far as it matters before the delimiter is known.
struct Line {
    /// Bytes read until it ended.
    len: u64,
    /// How often each byte stands outside quotes.
    outside: [u64; 256],
    /// Bytes and line ends before a quote that never closes.
    open: Option<u64>,
    is_ended: bool,
}

impl Line {
    fn read(bytes: impl Read, dialect: &Dialect) -> io::Result<Line> {
        let quote = dialect.quote_byte();
        let begins_cell = |before: u8| {
            DELIMITERS.contains(&before) || dialect.delimiter.is_some_and(|c| c as u8 == before)
        };
        let mut line = Line { len: 0, outside: [0; 256], open: None, is_ended: false };
        let mut before = None;
        let mut is_comment = false;
        let mut lines = 1;
        let bytes = BufReader::with_capacity(1 << 16, bytes.take(LINE_LEN_MAX));
        for byte in bytes.bytes() {
            let byte = byte?;
            line.len += 1;
            let is_end = matches!(byte, b'\r' | b'\n');
            lines += u64::from(byte == b'\n');
            if is_comment || before.is_none() && Some(byte) == dialect.comment_byte() {
                is_comment = !is_end;
                continue;
            }
            match line.open {
                Some(_) if Some(byte) == quote => line.open = None,
                Some(_) => {}
                None if is_end && before.is_none() => continue,
                None if is_end => {
                    line.is_ended = true;
                    return Ok(line);
                }
                // A quote right behind a closing one is a quote in the text: it opens it again.
                None if Some(byte) == quote
                    && before.is_none_or(|b| begins_cell(b) || b == byte) =>
                {
                    line.open = Some(lines);
                }
                None => line.outside[usize::from(byte)] += 1,
            }
            before = Some(byte);
        }
        line.is_ended = line.len < LINE_LEN_MAX;
        Ok(line)
    }

    fn check(&self, path: &Path, dialect: &Dialect) -> Result<(), DataError> {
        if self.outside[0] > 0 {
            let problem = "found zero bytes in the first line, wanted text in UTF-8: if it is in UTF-16, save it as UTF-8; other \
                           files than tables cannot be read";
            return Err(DataError::table(path, problem));
        }
        let problem = match self.open {
            Some(line) => {
                let quote = dialect.quote.unwrap_or('"');
                let problem = format!(
                    "found a quote ({quote}) in the first row that is never closed, wanted a closing one; add it, or \
                     say how cells are quoted with `data.quote`"
                );
                return Err(DataError::Row { path: path.to_owned(), line, problem });
            }
            None if self.is_ended => return Ok(()),
            None => format!(
                "found no end of the first line in {}, wanted a CSV file, with shorter lines",
                describe_len(self.len)
            ),
        };
        Err(DataError::table(path, problem))
    }
}

/// The delimiter that parts header and first records alike, or the one that makes the most columns of the header. Of
/// two that fit alike the comma is the less likely one: there are decimal commas, but hardly a semicolon or a tab in
/// each row's cells.
fn delimiter(source: &ByteSource, start: u64, dialect: &Dialect, line: &Line) -> u8 {
    let mut best: Option<(bool, u64, bool, u8)> = None;
    for &delimiter in DELIMITERS {
        let cells = line.outside[usize::from(delimiter)] + 1;
        if cells == 1 {
            continue;
        }
        let fits = cells <= COLUMNS_MAX as u64 && fits(source, start, delimiter, dialect);
        let found = (fits, cells, (delimiter == b',') != fits);
        if best.is_none_or(|(fits, cells, is_likely, _)| found > (fits, cells, is_likely)) {
            best = Some((found.0, found.1, found.2, delimiter));
        }
    }
    best.map_or(b',', |(.., delimiter)| delimiter)
}

/// Whether the records below the header have as many cells as it has. What cannot be read tells nothing: that is told
/// where it is needed.
fn fits(source: &ByteSource, start: u64, delimiter: u8, dialect: &Dialect) -> bool {
    let mut records = Records::new(source, start..source.end(), delimiter, dialect);
    let mut record = csv::ByteRecord::new();
    let mut cells = None;
    for _ in 0..=SAMPLE_RECORDS {
        match records.read(&mut record) {
            Ok(true) if cells.is_none_or(|cells| cells == record.len()) => {
                cells = Some(record.len());
            }
            Ok(true) => return false,
            Ok(false) | Err(_) => break,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, dialect: &Dialect) -> Result<(u8, Vec<String>), String> {
        let source = ByteSource::Memory(text.as_bytes().into());
        read(Path::new("t.csv"), &source, 0, dialect)
            .map(|header| (header.delimiter, header.columns))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_delimiter_comes_from_header_and_first_rows_outside_quotes() {
        for (text, wanted) in [
            ("a,b;c\n1;2;3", b','),
            ("a;b\n1,5;2", b';'),
            ("a;b,c;d\n1;2,5;3", b';'),
            ("a,b;c\n1,5;2", b';'),
            ("name;price, EUR\nx;2\n", b';'),
            ("name\tprice, EUR, net; gross\nx\t2\n", b'\t'),
            ("a,b;c,y\n1,2,3\n", b','),
            ("x, m;y\n1,5;2\n1,5;2\n", b';'),
            ("a\tb;c", b';'),
            ("a\tb", b'\t'),
            ("a\n1;2", b','),
            ("\n\r\n\"a,b\";c", b';'),
            ("\"a\n,\"\tc", b'\t'),
            ("\"a\"\",\";b", b';'),
        ] {
            assert_eq!(found(text, &Dialect::default()).unwrap().0, wanted, "{text:?}");
        }
    }

    #[test]
    fn the_job_may_say_delimiter_quote_and_header() {
        let dialect =
            |delimiter, quote, header| Dialect { delimiter, quote, header, ..Dialect::default() };
        for (text, dialect, wanted) in [
            ("a|b,c|d\n", dialect(Some('|'), Some('"'), true), &["a", "b,c", "d"][..]),
            ("'a;b';c\n", dialect(None, Some('\''), true), &["a;b", "c"]),
            ("\"a;b;c\n", dialect(None, None, true), &["\"a", "b", "c"]),
            ("1;2\n3;4", dialect(None, Some('"'), false), &["column1", "column2"]),
        ] {
            assert_eq!(found(text, &dialect).unwrap().1, wanted, "{text:?}");
        }
    }

    #[test]
    fn a_first_line_without_an_end_is_refused() {
        let endless = "x".repeat(LINE_LEN_MAX as usize + 1);
        let error = found(&endless, &Dialect::default()).unwrap_err();
        assert_eq!(
            error,
            "t.csv: found no end of the first line in 16 MiB, wanted a CSV file, with shorter lines"
        );
        let error = found("a\0,\0b\0\n\0", &Dialect::default()).unwrap_err();
        assert!(error.starts_with("t.csv: found zero bytes in the first line"), "{error}");
        let commas = ",".repeat(1 << 20);
        let error = found(&commas, &Dialect::default()).unwrap_err();
        assert_eq!(error, "t.csv: found 1048577 columns, wanted at most 65536");
        let error = found("a,\n\"b,c\n1,2,3\n", &Dialect::default());
        assert_eq!(error.unwrap().1, ["a", ""]);
        let error = found("a,b\r\n", &Dialect::default());
        assert_eq!(error.unwrap().1, ["a", "b"]);
        let error = found("a,\"b,c\n1,2,3\n", &Dialect::default()).unwrap_err();
        assert!(error.starts_with("t.csv:1: found a quote (\") in the first row"), "{error}");
        let error = found(&format!("{},y\n", "n".repeat(CELL_LEN_MAX + 1)), &Dialect::default());
        let wanted = "t.csv: the name of column 1 has 65537 bytes, wanted at most 64 KiB";
        assert!(error.clone().unwrap_err().starts_with(wanted), "{error:?}");
    }
}
