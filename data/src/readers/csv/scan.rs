//! Where the records of a CSV file without quotes begin, and how many there are, before any is read. Gives up at the
//! first quote: only reading in order then says whether a newline ends a record.

use std::io::{self, Read as _};
use std::ops::Range;

use rayon::prelude::*;

use crate::bytes::source::ByteSource;

/// Bytes read at once.
const BLOCK_LEN: usize = 1 << 16;

/// UTF-8's byte order mark.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole records that stand together, and perhaps line ends around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Range<u64>,
    pub(crate) rows: usize,
}

/// Pieces of about `piece_len` bytes, in order, that hold every record from `body` on; `None` if there is a quote.
/// A record begins where a byte that ends no line follows one that does: blank lines are none.
pub(crate) fn pieces(
    source: &ByteSource,
    body: u64,
    piece_len: u64,
    quote: Option<u8>,
) -> io::Result<Option<Vec<Piece>>> {
    let end = source.end();
    let piece_len = piece_len.max(1);
    let begin = body + mark_len(source, body)?;
    let scan = |index: u64| {
        let start = begin + index * piece_len;
        scan(source, start..end.min(start.saturating_add(piece_len)), index == 0, quote)
    };
    let count = end.saturating_sub(begin).div_ceil(piece_len);
    let found: Result<Vec<Starts>, Stop> = (0..count).into_par_iter().map(scan).collect();
    let found = match found {
        Ok(found) => found,
        Err(Stop::Quote) => return Ok(None),
        Err(Stop::Io(cause)) => return Err(cause),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for starts in found {
        let Some(first) = starts.first else { continue };
        // From the line end before its first record on: the `csv` crate leaves out a byte order mark at the very
        // beginning of what it reads, and where pieces begin must not matter.
        let start = if let Some(last) = pieces.last_mut() {
            last.bytes.end = first - 1;
            first - 1
        } else {
            body
        };
        pieces.push(Piece { bytes: start..end, rows: starts.count });
    }
    Ok(Some(pieces))
}

/// Length of a byte order mark at `body`, which the `csv` crate will leave out.
fn mark_len(source: &ByteSource, body: u64) -> io::Result<u64> {
    let mut start = Vec::new();
    source.span(body..source.end()).take(MARK.len() as u64).read_to_end(&mut start)?;
    Ok(if start == MARK { MARK.len() as u64 } else { 0 })
}

/// The records that begin in a range.
struct Starts {
    first: Option<u64>,
    count: usize,
}

enum Stop {
    Quote,
    Io(io::Error),
}

/// Looks at the byte before the range too, unless it is the `first`: that one follows a line end.
fn scan(
    source: &ByteSource,
    range: Range<u64>,
    is_first: bool,
    quote: Option<u8>,
) -> Result<Starts, Stop> {
    // Where nothing quotes, a line end found twice does no harm.
    let quote = quote.unwrap_or(b'\n');
    let mut starts = Starts { first: None, count: 0 };
    let mut at = if is_first { range.start } else { range.start - 1 };
    let mut after_end = is_first;
    let mut span = source.span(at..range.end);
    let mut block = vec![0; BLOCK_LEN];
    let mut note = |at: u64| {
        starts.first.get_or_insert(at);
        starts.count += 1;
    };
    loop {
        let len = span.read(&mut block).map_err(Stop::Io)?;
        let Some(&last) = block[..len].last() else { break };
        let block = &block[..len];
        if after_end && !ends_line(block[0]) {
            note(at);
        }
        for place in memchr::memchr3_iter(quote, b'\r', b'\n', block) {
            if block[place] == quote && quote != b'\n' {
                return Err(Stop::Quote);
            }
            if block.get(place + 1).is_some_and(|&byte| !ends_line(byte)) {
                note(at + place as u64 + 1);
            }
        }
        after_end = ends_line(last);
        at += len as u64;
    }
    Ok(starts)
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        reader.into_byte_records().map(|record| record.unwrap().as_slice().to_vec()).collect()
    }

    #[test]
    fn pieces_of_any_size_hold_every_record_once() {
        for body in [
            "1,2\n3,4\n5,6\n7,8",
            "1,2\r\n3,4\r\n5,6\r\n",
            "\n1,2\r3,4\r5,6\r",
            "\r\n\n\r\r1,2\n\n\r\n \n,\n\r\r\n7,8\n\n\n\n",
            "\u{feff}1\n\u{feff}2\n\u{feff}\n\u{feff}3",
            "\u{feff}\n1\n",
            "\u{feff}",
            "1",
            "\n\r\n",
            "",
        ] {
            let bytes = [b"a,b\n", body.as_bytes()].concat();
            let source = ByteSource::Memory(bytes[..].into());
            let wanted = records(body.as_bytes());
            for piece_len in 0..30 {
                let pieces = pieces(&source, 4, piece_len, Some(b'"')).unwrap().unwrap();
                let mut found = Vec::new();
                let mut end = 4;
                for piece in &pieces {
                    assert_eq!(piece.bytes.start, end, "{body:?} {piece_len}");
                    end = piece.bytes.end;
                    let rows = records(&bytes[piece.bytes.start as usize..end as usize]);
                    assert_eq!(rows.len(), piece.rows, "{body:?} {piece_len}");
                    found.extend(rows);
                }
                assert_eq!(found, wanted, "{body:?} {piece_len}");
                assert!(pieces.is_empty() || end == bytes.len() as u64);
            }
        }
    }

    #[test]
    fn small_pieces_are_many_and_a_quote_is_one_too_many() {
        let source = ByteSource::Memory(b"a\n1\n2\n3\n"[..].into());
        assert_eq!(pieces(&source, 2, 1, Some(b'"')).unwrap().unwrap().len(), 3);
        assert_eq!(pieces(&source, 2, 4, Some(b'"')).unwrap().unwrap().len(), 2);
        for bytes in [&b"a\n1\n\"2\n\"\n"[..], b"a\n1\n2\"", b"a\n\"", b"a\n1\r2\r3\"\r"] {
            let source = ByteSource::Memory(bytes.into());
            for piece_len in 1..10 {
                assert_eq!(pieces(&source, 2, piece_len, Some(b'"')).unwrap(), None);
            }
        }
        assert!(
            pieces(&ByteSource::Memory(b"\"a\"\n1\n"[..].into()), 4, 1, Some(b'"'))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn blocks_are_put_together() {
        // Line ends and records that begin around every end of a block.
        let line = "x".repeat(BLOCK_LEN - 3);
        for gap in ["\n", "\r\n", "\n\n\n", "\r\r\n\n\r"] {
            let body = format!("{line}{gap}").repeat(5);
            let source = ByteSource::Memory(format!("a\n{body}").into_bytes().into());
            for piece_len in [BLOCK_LEN as u64 - 1, BLOCK_LEN as u64 + 1, 1 << 30] {
                let pieces = pieces(&source, 2, piece_len, Some(b'"')).unwrap().unwrap();
                assert_eq!(pieces.iter().map(|piece| piece.rows).sum::<usize>(), 5);
            }
        }
    }
}
