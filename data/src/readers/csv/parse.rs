//! From a CSV file to blocks of rows. Pieces of the file are read in parallel, each into a block of its own, so the
//! result and the error (that of the first bad cell of the file) do not depend on the number of threads.
//!
//! Never holds more of the text than each thread's buffer and record. Knows nothing of what cells mean.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::cells::{CellFault, Cells};
use super::scan::Piece;
use super::text::Text;
use crate::block::{Block, Builder, MISSING_LABEL};
use crate::error::DataError;
use crate::readers::cell::{Names, not_utf8};
use crate::readers::open_table::{Contents, ROWS_MAX, Stored};
use crate::selection::Selection;
use crate::values::Texts;

/// Bytes parsed by one task.
const PIECE_LEN: u64 = 2 << 20;

/// Numbers of a block that is read in order.
const BLOCK_NUMBERS: usize = 1 << 18;

/// Reads the selected columns of a file.
pub(crate) fn parse(text: &Text, selection: &Selection) -> Result<Contents, DataError> {
    parse_in_pieces(text, selection, PIECE_LEN)
}

fn parse_in_pieces(
    text: &Text,
    selection: &Selection,
    piece_len: u64,
) -> Result<Contents, DataError> {
    let parser = Parser::new(text, selection, &[]);
    let (blocks, names) = match text.pieces(piece_len)? {
        Some(pieces) => parser.pieces(&pieces)?,
        None => parser.in_order()?,
    };
    let rows = blocks.iter().map(|block| block.rows).sum();
    let label_names = names.into_iter().map(|names| names.list).collect();
    let noted = parser.cells.noted();
    Ok(Contents { rows, stored: Stored::Blocks(blocks), label_names, noted })
}

/// Some rows, with the names of their label ids, which are their own, and the cells that are kept as they are.
pub(super) struct Parsed {
    pub(super) block: Block,
    pub(super) names: Vec<Names>,
    pub(super) kept: Vec<Texts>,
}

pub(super) struct Parser<'a> {
    text: &'a Text,
    cells: Cells<'a>,
    /// Columns of the file.
    kept: &'a [usize],
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a Text, selection: &Selection, kept: &'a [usize]) -> Parser<'a> {
        Parser { text, cells: Cells::new(text, selection), kept }
    }
}

impl Parser<'_> {
    /// Reads pieces in parallel.
    fn pieces(&self, pieces: &[Piece]) -> Result<(Vec<Block>, Vec<Names>), DataError> {
        check_rows(self.text, pieces.iter().map(|piece| piece.rows).sum())?;
        let first_bad = AtomicUsize::new(usize::MAX);
        let read = |block: &mut Builder, (index, piece): (usize, &Piece)| {
            // Nothing after a bad piece can matter.
            if index > first_bad.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let found = self.piece(piece, block).map(Some);
            if found.is_err() {
                first_bad.fetch_min(index, Ordering::Relaxed);
            }
            found
        };
        let read: Vec<Result<Option<Parsed>, CellFault>> =
            pieces.par_iter().enumerate().map_init(Builder::default, read).collect();
        let mut names = self.cells.names();
        let mut blocks = Vec::with_capacity(pieces.len());
        for found in read {
            let Some(part) = found.map_err(|fault| fault.told(self.text))? else { continue };
            blocks.push(part.renamed(&mut names));
        }
        Ok((blocks, names))
    }

    /// Reads a piece.
    pub(super) fn piece(&self, piece: &Piece, block: &mut Builder) -> Result<Parsed, CellFault> {
        let mut names = self.cells.names();
        let mut kept = vec![Texts::default(); self.kept.len()];
        let mut records = self.text.records(piece.bytes.clone()).without_quotes();
        let mut record = csv::ByteRecord::new();
        self.cells.begin(block, piece.rows);
        while records.read(&mut record).map_err(CellFault::Record)? {
            if block.is_full() {
                return Err(CellFault::Changed);
            }
            self.cells.row(&record, piece.bytes.start, block, &mut names)?;
            self.keep(&record, piece.bytes.start, &mut kept)?;
        }
        if !block.is_full() {
            return Err(CellFault::Changed);
        }
        Ok(Parsed { block: block.block(), names, kept })
    }

    /// Reads the file as one piece. There are as many blocks as the rows that are really there take.
    fn in_order(&self) -> Result<(Vec<Block>, Vec<Names>), DataError> {
        let width = self.cells.number_width + self.cells.label_width;
        let rows_max = (BLOCK_NUMBERS / width.max(1)).max(1);
        let (mut rows, mut at) = (0, self.text.body().start);
        let mut blocks = Vec::new();
        let mut names = self.cells.names();
        let mut block = Builder::default();
        while let Some(part) = self.next_part(&mut at, rows_max, &mut block)? {
            rows += part.block.rows;
            check_rows(self.text, rows)?;
            blocks.push(part.renamed(&mut names));
        }
        Ok((blocks, names))
    }

    /// The next rows from byte `at` on, which is where the last ones ended; `None` at the end.
    pub(super) fn next_part(
        &self,
        at: &mut u64,
        rows_max: usize,
        block: &mut Builder,
    ) -> Result<Option<Parsed>, DataError> {
        let body = self.text.body();
        // From the line end before it on: the `csv` crate leaves out a byte order mark at the very beginning of what it
        // reads, and where parts begin must not matter.
        let start = if *at == body.start { *at } else { *at - 1 };
        let told = |fault| self.text.record_error(fault);
        let mut records = self.text.records(start..body.end);
        let mut record = csv::ByteRecord::new();
        let (mut names, mut kept) = (self.cells.names(), vec![Texts::default(); self.kept.len()]);
        self.cells.begin(block, rows_max);
        while !block.is_full() && *at < body.end {
            if !records.read(&mut record).map_err(told)? {
                *at = body.end;
                break;
            }
            *at = records.offset();
            let read = self.cells.row(&record, start, block, &mut names);
            if let Err(fault) = read.and_then(|()| self.keep(&record, start, &mut kept)) {
                // A quote that is missing is the cause of whatever is wrong with its record.
                records.check_last().map_err(told)?;
                return Err(fault.told(self.text));
            }
            if *at >= body.end {
                // Only the end of the file shows that a quote of the last record never closes.
                records.check_last().map_err(told)?;
            }
        }
        let block = block.block();
        Ok((block.rows > 0).then_some(Parsed { block, names, kept }))
    }

    /// Keeps the cells of a record that are to be kept.
    fn keep(
        &self,
        record: &csv::ByteRecord,
        start: u64,
        kept: &mut [Texts],
    ) -> Result<(), CellFault> {
        for (&column, kept) in self.kept.iter().zip(kept) {
            match str::from_utf8(&record[column]) {
                Ok(text) => kept.push(Some(text)),
                Err(_) => {
                    let problem = not_utf8(&record[column]);
                    let offset = start + record.position().map_or(0, csv::Position::byte);
                    return Err(CellFault::Cell { offset, column, problem });
                }
            }
        }
        Ok(())
    }
}

impl Parsed {
    /// The block with the label ids of a table that has such names so far.
    fn renamed(self, names: &mut [Names]) -> Block {
        let Parsed { mut block, names: found, kept: _ } = self;
        for (column, (names, found)) in names.iter_mut().zip(&found).enumerate() {
            let ids: Vec<u32> = found.list.iter().map(|name| names.id(name)).collect();
            let labels = block.labels_mut(column).iter_mut();
            for id in labels.filter(|id| **id != MISSING_LABEL) {
                *id = ids[*id as usize];
            }
        }
        block
    }
}

pub(super) fn check_rows(text: &Text, rows: usize) -> Result<(), DataError> {
    if rows > ROWS_MAX {
        let problem = format!("found more than {ROWS_MAX} rows, wanted at most so many");
        return Err(DataError::table(text.path(), problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dialect::Dialect;
    use crate::readers::format::{FilePlace, Request};
    use crate::selection::{CellKind, OnText, Selected};

    fn blocks(table: &Contents) -> &[Block] {
        let Stored::Blocks(blocks) = &table.stored else { panic!("rows are kept as blocks") };
        blocks
    }

    /// All numbers row by row, and the labels.
    fn values(table: &Contents) -> (Vec<f64>, Vec<u32>) {
        let (mut numbers, mut labels) = (Vec::new(), Vec::new());
        for block in blocks(table) {
            for row in 0..block.rows {
                numbers.extend((0..block.numbers()).map(|column| block.number(column).get(row)));
                labels.extend((0..table.label_names.len()).map(|t| block.labels(t)[row]));
            }
        }
        (numbers, labels)
    }

    /// Whether each row is complete.
    fn are_complete(table: &Contents) -> Vec<bool> {
        let labels: Vec<usize> = (0..table.label_names.len()).collect();
        let of = |block: &'_ Block| {
            let numbers: Vec<usize> = (0..block.numbers()).collect();
            (0..block.rows).map(|row| block.is_complete(row, &numbers, &labels)).collect()
        };
        blocks(table).iter().flat_map::<Vec<bool>, _>(of).collect()
    }

    fn read(content: &[u8], labels: bool, piece_len: u64) -> Result<Contents, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let request = Request {
            path: file.path(),
            place: FilePlace::Path,
            targets: None,
            dialect: &Dialect::default(),
            recognize: |_| None,
        };
        let text = Text::open(&request).unwrap();
        let last = text.columns().len() - 1;
        let numbers = CellKind::Numbers { takes_any_size: false, text: OnText::Error(None) };
        let selected = |column, cells| Selected { column, cells, missing: None, drops: true };
        let target = if labels { CellKind::Texts } else { numbers };
        let selection = Selection {
            features: (0..last).rev().map(|column| selected(column, numbers)).collect(),
            targets: vec![selected(last, target)],
            weight: None,
        };
        let prefix = file.path().display().to_string();
        parse_in_pieces(&text, &selection, piece_len)
            .map_err(|error| error.to_string().replace(&prefix, "t.csv"))
    }

    #[test]
    fn pieces_of_any_size_give_one_table() {
        let mut content = "x,y,c\n".to_owned();
        for row in 0..200 {
            content.push_str(&format!("{row},{}.5,label {}\r\n", row * 2, (row * row) % 7));
        }
        let whole = read(content.as_bytes(), true, 1 << 20).unwrap();
        assert_eq!(values(&whole).0[..4], [0.5, 0.0, 2.5, 1.0]);
        assert_eq!(whole.label_names, [["label 0", "label 1", "label 4", "label 2"]]);
        // Quotes make it one piece, read in order.
        let quoted = content.replace("label 0", "\"label 0\"");
        let line_ends = ["\n", "\r", "\r\n", "\n\r\n\r\r\n\n"];
        for (content, line_end) in
            [&content, &quoted].into_iter().flat_map(|c| line_ends.map(|end| (c, end)))
        {
            let content = content.replace("\r\n", line_end);
            for content in [content.as_str(), content.trim_end()] {
                for piece_len in [1, 7, 50, 1000] {
                    let table = read(content.as_bytes(), true, piece_len).unwrap();
                    assert_eq!(table.rows, 200);
                    assert_eq!(values(&table), values(&whole));
                    assert_eq!(table.label_names, whole.label_names);
                }
            }
        }
    }

    #[test]
    fn missing_cells_are_missing_in_whatever_piece() {
        let content = "x,y,c\n1,,a\n,2,\n3,4,b\nNA,?,a\n";
        for content in [content.to_owned(), content.replace("NA", "\"NA\"")] {
            for piece_len in [1, 10, 1000] {
                let table = read(content.as_bytes(), true, piece_len).unwrap();
                let (numbers, labels) = values(&table);
                let found = numbers.iter().map(|value| (!value.is_nan()).then_some(*value));
                let wanted = [None, Some(1.0), Some(2.0), None, Some(4.0), Some(3.0), None, None];
                assert_eq!(found.collect::<Vec<_>>(), wanted);
                assert_eq!(labels, [0, MISSING_LABEL, 1, 0]);
                assert_eq!(are_complete(&table), [false, false, true, false]);
            }
        }
    }

    #[test]
    fn a_bad_row_is_named_by_its_line_whatever_ends_lines() {
        for (line_end, line) in [("\n", 6), ("\r", 6), ("\r\n", 6), ("\n\n", 11), ("\r\r\n", 11)] {
            for cell in ["1", "\"1\""] {
                let lines = ["x,y", cell, "2,2", "3,3", "4,4", "5", "6,6", "7", ""];
                let content = lines.join(line_end).replacen(cell, &format!("{cell},1"), 1);
                for piece_len in [1, 5, 1000] {
                    let error = read(content.as_bytes(), false, piece_len).unwrap_err();
                    let wanted = "found 1 column, wanted 2 as in the header";
                    assert_eq!(error, format!("t.csv:{line}: {wanted}"), "{content:?}");
                }
            }
        }
    }

    #[test]
    fn rows_far_too_short_take_no_table() {
        // As many rows with a cell in each column would be 256 GiB.
        let names: Vec<String> = (0..65_536).map(|column| format!("c{column}")).collect();
        let body = "1\n".repeat(1 << 20);
        let error =
            read(format!("{}\n{body}", names.join(",")).as_bytes(), false, PIECE_LEN).unwrap_err();
        assert_eq!(error, "t.csv:2: found 1 column, wanted 65536 as in the header");
    }

    #[test]
    fn the_first_bad_cell_of_the_file_is_named() {
        let mut content = "x,y,c\n".to_owned();
        for row in 0..100 {
            content.push_str(if row % 30 == 29 { "1,oops,no\n" } else { "1,2,3\n" });
        }
        for piece_len in [1, 16, 1 << 20] {
            let error = read(content.as_bytes(), false, piece_len).unwrap_err();
            assert_eq!(error, "t.csv:31: column 2 (y): found \"oops\", wanted a number");
        }
    }

    #[test]
    fn numbers_and_truth_values_are_read_as_f64() {
        let content = b"x,y\n 1.5 ,\t-2e-3\n.1,+1.\n0.1000000015,16777217\nTrue,false\n";
        let table = read(content, false, 1).unwrap();
        let wanted = [1.5, -2e-3, 0.1, 1.0, 0.1000000015, 16_777_217.0, 1.0, 0.0];
        assert_eq!(values(&table).0, wanted);
        let table = read(b"x,y\nNA,nan\n,NULL\n?,NaN\n-,.\nNone,n/a\n", false, 1).unwrap();
        let (numbers, _) = values(&table);
        assert!(numbers.iter().all(|value| value.is_nan()) && numbers.len() == 10);
        assert!(!are_complete(&table).contains(&true));
    }

    #[test]
    fn a_quoted_label_is_never_a_missing_one() {
        let content = b"x,c\n1,NA\n2,\"NA\"\n3,\"\"\n4,-\n";
        let table = read(content, true, 1).unwrap();
        assert_eq!(values(&table).1, [MISSING_LABEL, 0, MISSING_LABEL, 1]);
        assert_eq!(table.label_names, [["NA", "-"]]);
    }

    #[test]
    fn each_bad_number_is_explained() {
        for (cell, wanted) in [
            ("abc", r#"found "abc", wanted a number"#),
            ("1 2", r#"found "1 2", wanted a number"#),
            ("0x10", r#"found "0x10", wanted a number"#),
            ("inf", r#"found "inf", wanted a finite number"#),
            ("-Infinity", r#"found "-Infinity", wanted a finite number"#),
            ("1e39", r#"found "1e39", wanted a number up to 3.4028235e38, the largest f32"#),
            (
                "\"1,5\"",
                r#"found "1,5", wanted a number with a decimal point; for commas set `data.decimal = ","`"#,
            ),
            (
                "\"$1,234.5\"",
                r#"found "$1,234.5", wanted a number without the sign of a currency; take that out of the table"#,
            ),
            (
                "5%",
                r#"found "5%", wanted a number without a percent sign; take that out of the table"#,
            ),
        ] {
            let error = read(format!("x,y\n1,{cell}\n").as_bytes(), false, 1).unwrap_err();
            assert_eq!(error, format!("t.csv:2: column 2 (y): {wanted}"));
        }
        let error = read(b"x,y\n1,\xff\n", true, 1).unwrap_err();
        assert!(error.contains(", wanted UTF-8; save the file as UTF-8, or, if "), "{error}");
    }
}
