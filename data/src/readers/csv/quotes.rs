//! What the quotes of one record say, as it stands in the file: the reader of records takes them away. Used where a
//! cell or a record is in doubt, never for all of them.

use std::io::{self, Read};

use crate::dialect::Dialect;

/// One cell of a record, with its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quoting {
    /// Bytes before the cell, from where the reading began.
    pub(crate) start: u64,
    /// Whether it begins with a quote.
    pub(crate) is_quoted: bool,
    /// Whether its quote never closes.
    pub(crate) is_open: bool,
    /// Whether it goes on after its closing quote.
    pub(crate) goes_on: bool,
    /// Whether there is a line end between its quotes.
    pub(crate) has_line_end: bool,
}

enum State {
    Before,
    Plain,
    Quoted,
    /// After a quote that closes the cell unless another follows.
    AfterQuote,
    /// In a line that is left out.
    Comment,
}

/// The cells of the record that begins at or after the first of these bytes.
pub(crate) fn cells(
    bytes: impl Read,
    delimiter: u8,
    dialect: &Dialect,
) -> io::Result<Vec<Quoting>> {
    let quote = dialect.quote_byte();
    let mut cells = Vec::new();
    let mut cell = Quoting::default();
    let mut state = State::Before;
    for (at, byte) in (0..).zip(io::BufReader::with_capacity(1 << 12, bytes).bytes()) {
        let byte = byte?;
        let (is_quote, is_end) = (Some(byte) == quote, matches!(byte, b'\r' | b'\n'));
        match state {
            State::Comment if !is_end => {}
            State::Comment => {
                state = State::Before;
                cell.start = at + 1;
            }
            State::Before if is_end && cells.is_empty() => cell.start = at + 1,
            State::Before if cells.is_empty() && Some(byte) == dialect.comment_byte() => {
                state = State::Comment;
            }
            State::Before if is_quote => {
                cell.is_quoted = true;
                state = State::Quoted;
            }
            State::Quoted if is_quote => state = State::AfterQuote,
            State::Quoted => cell.has_line_end |= is_end,
            State::AfterQuote if is_quote => state = State::Quoted,
            State::Before | State::Plain | State::AfterQuote => {
                if byte == delimiter || is_end {
                    cells.push(std::mem::take(&mut cell));
                    if is_end {
                        return Ok(cells);
                    }
                    cell.start = at + 1;
                    state = State::Before;
                } else {
                    cell.goes_on |= matches!(state, State::AfterQuote);
                    state = State::Plain;
                }
            }
        }
    }
    cell.is_open = matches!(state, State::Quoted);
    cells.push(cell);
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Quoting> {
        cells(text.as_bytes(), b',', &Dialect::default()).unwrap()
    }

    #[test]
    fn quotes_are_seen_as_they_stand() {
        let plain = Quoting::default();
        let quoted = Quoting { is_quoted: true, ..plain };
        for (text, wanted) in [
            ("a,\"b\"\nc", vec![plain, Quoting { start: 2, ..quoted }]),
            (
                "\r\n\"a\"\"b\",c",
                vec![Quoting { start: 2, ..quoted }, Quoting { start: 9, ..plain }],
            ),
            (
                "\"a\n,\",",
                vec![Quoting { has_line_end: true, ..quoted }, Quoting { start: 6, ..plain }],
            ),
            ("\"a,b\nc", vec![Quoting { is_open: true, has_line_end: true, ..quoted }]),
            ("\"a\"b\"\n", vec![Quoting { goes_on: true, ..quoted }]),
            ("a\"b\n", vec![plain]),
        ] {
            assert_eq!(found(text), wanted, "{text:?}");
        }
    }
}
