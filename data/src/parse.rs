//! From a CSV file to a raw table. Pieces of the file are read in parallel, each into its own part of the table, so the
//! result and the error (that of the first bad cell of the file) do not depend on the number of threads.
//!
//! Never holds more of the text than each thread's buffer and record. Knows nothing of what cells mean.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::cells::{Cells, Fault, Names};
use crate::error::DataError;
use crate::raw::{MISSING_LABEL, Opened, RawTable, Selection};
use crate::scan::Piece;
use crate::text::{ROWS_MAX, Text};

/// Bytes parsed by one task.
const PIECE_LEN: u64 = 1 << 20;

/// Reads the selected columns of a file.
pub(crate) fn parse(text: Text, selection: Selection) -> Result<RawTable, DataError> {
    parse_in_pieces(text, selection, PIECE_LEN)
}

fn parse_in_pieces(
    text: Text,
    selection: Selection,
    piece_len: u64,
) -> Result<RawTable, DataError> {
    let cells = Cells::new(&selection, text.columns().len());
    let parser = Parser { text: &text, cells };
    let table = match text.pieces(piece_len)? {
        Some(pieces) => parser.pieces(&pieces)?,
        None => parser.in_order()?,
    };
    let Table { rows, numbers, labels, names } = table;
    let label_names = names.into_iter().map(|names| names.list).collect();
    Ok(RawTable { opened: Opened::Text(text), selection, rows, numbers, labels, label_names })
}

/// What becomes of a file, as in [`RawTable`].
struct Table {
    rows: usize,
    numbers: Vec<f32>,
    labels: Vec<u32>,
    names: Vec<Names>,
}

/// A part of the table that one task fills.
struct Part<'a> {
    piece: &'a Piece,
    numbers: &'a mut [f32],
    labels: &'a mut [u32],
}

struct Parser<'a> {
    text: &'a Text,
    cells: Cells,
}

impl Parser<'_> {
    /// Reads pieces in parallel. The table is made once, in its final size: how many rows there are is known.
    fn pieces(&self, pieces: &[Piece]) -> Result<Table, DataError> {
        let rows = pieces.iter().map(|piece| piece.rows).sum();
        self.check_rows(rows)?;
        let mut numbers = vec![0.0; rows * self.cells.width];
        let mut labels = vec![0; rows * self.cells.label_width];
        let parts = self.parts(pieces, &mut numbers, &mut labels);
        let first_bad = AtomicUsize::new(usize::MAX);
        let read = |(index, part): (usize, Part<'_>)| {
            // Nothing after a bad piece can matter.
            if index > first_bad.load(Ordering::Relaxed) {
                return Ok(vec![]);
            }
            let found = self.piece(part);
            if found.is_err() {
                first_bad.fetch_min(index, Ordering::Relaxed);
            }
            found
        };
        let read: Vec<Result<Vec<Vec<String>>, Fault>> =
            parts.into_par_iter().enumerate().map(read).collect();
        let mut names = self.cells.names();
        let mut rest = &mut labels[..];
        for (piece, found) in pieces.iter().zip(read) {
            let found = found.map_err(|fault| fault.told(self.text))?;
            let (mine, others) = rest.split_at_mut(piece.rows * self.cells.label_width);
            self.rename(mine, &found, &mut names);
            rest = others;
        }
        Ok(Table { rows, numbers, labels, names })
    }

    fn parts<'a>(
        &self,
        pieces: &'a [Piece],
        mut numbers: &'a mut [f32],
        mut labels: &'a mut [u32],
    ) -> Vec<Part<'a>> {
        let part = |piece: &'a Piece| {
            let (part_numbers, rest) =
                std::mem::take(&mut numbers).split_at_mut(piece.rows * self.cells.width);
            numbers = rest;
            let (part_labels, rest) =
                std::mem::take(&mut labels).split_at_mut(piece.rows * self.cells.label_width);
            labels = rest;
            Part { piece, numbers: part_numbers, labels: part_labels }
        };
        pieces.iter().map(part).collect()
    }

    /// Fills a part and returns the names of its label ids, which are its own.
    fn piece(&self, part: Part<'_>) -> Result<Vec<Vec<String>>, Fault> {
        let Part { piece, numbers, labels } = part;
        let mut names = self.cells.names();
        let mut reader = self.text.reader(piece.bytes.clone());
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        while reader.read_byte_record(&mut record).map_err(Fault::Csv)? {
            if rows == piece.rows {
                return Err(Fault::Changed);
            }
            let numbers = &mut numbers[rows * self.cells.width..][..self.cells.width];
            let labels = &mut labels[rows * self.cells.label_width..][..self.cells.label_width];
            self.cells.row(&record, piece.bytes.start, numbers, labels, &mut names)?;
            rows += 1;
        }
        if rows != piece.rows {
            return Err(Fault::Changed);
        }
        Ok(names.into_iter().map(|names| names.list).collect())
    }

    /// From the ids of a piece to those of the table.
    fn rename(&self, labels: &mut [u32], found: &[Vec<String>], names: &mut [Names]) {
        let ids: Vec<Vec<u32>> = names
            .iter_mut()
            .zip(found)
            .map(|(names, found)| found.iter().map(|name| names.id(name)).collect())
            .collect();
        for (at, id) in labels.iter_mut().enumerate().filter(|(_, id)| **id != MISSING_LABEL) {
            *id = ids[at % self.cells.label_width][*id as usize];
        }
    }

    /// Reads the file as one piece. The table grows with the rows that are really there.
    fn in_order(&self) -> Result<Table, DataError> {
        let mut rows = 0;
        let mut numbers = Vec::new();
        let mut labels = Vec::new();
        let mut names = self.cells.names();
        let body = self.text.body();
        let mut reader = self.text.reader(body.clone());
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| self.text.broken(error))? {
            numbers.resize((rows + 1) * self.cells.width, 0.0);
            labels.resize((rows + 1) * self.cells.label_width, 0);
            let numbers = &mut numbers[rows * self.cells.width..];
            let labels = &mut labels[rows * self.cells.label_width..];
            self.cells
                .row(&record, body.start, numbers, labels, &mut names)
                .map_err(|fault| fault.told(self.text))?;
            rows += 1;
        }
        self.check_rows(rows)?;
        Ok(Table { rows, numbers, labels, names })
    }

    fn check_rows(&self, rows: usize) -> Result<(), DataError> {
        if rows == 0 {
            let problem = "no rows below the header, wanted at least one";
            return Err(DataError::table(self.text.path(), problem));
        }
        if rows > ROWS_MAX {
            let problem = format!("found {rows} rows, wanted at most {ROWS_MAX}");
            return Err(DataError::table(self.text.path(), problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &[u8], labels: bool, piece_len: u64) -> Result<RawTable, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let text = Text::open(file.path()).unwrap();
        let last = text.columns().len() - 1;
        let selection = Selection {
            features: (0..last).rev().collect(),
            targets: vec![last],
            labels,
            missing_feature: None,
            missing_target: None,
            text_feature: None,
        };
        let prefix = file.path().display().to_string();
        parse_in_pieces(text, selection, piece_len)
            .map_err(|error| error.to_string().replace(&prefix, "t.csv"))
    }

    #[test]
    fn pieces_of_any_size_give_one_table() {
        let mut content = "x,y,c\n".to_owned();
        for row in 0..200 {
            content.push_str(&format!("{row},{}.5,label {}\r\n", row * 2, (row * row) % 7));
        }
        let whole = read(content.as_bytes(), true, 1 << 20).unwrap();
        // The place of the label is kept free.
        assert_eq!(whole.numbers[..6], [0.5, 0.0, 0.0, 2.5, 1.0, 0.0]);
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
                    assert_eq!(table.numbers, whole.numbers);
                    assert_eq!(table.labels, whole.labels);
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
                let bits: Vec<u32> = table.numbers.iter().map(|value| value.to_bits()).collect();
                let wanted = [
                    [f32::NAN, 1.0, 0.0],
                    [2.0, f32::NAN, 0.0],
                    [4.0, 3.0, 0.0],
                    [f32::NAN, f32::NAN, 0.0],
                ];
                assert_eq!(bits, wanted.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>());
                assert_eq!(table.labels, [0, MISSING_LABEL, 1, 0]);
                assert_eq!(table.complete_rows(), [2]);
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
    fn numbers_are_read_as_rounded_f32() {
        let table = read(b"x,y\n 1.5 ,\t-2e-3\n.1,+1.\n0.1000000015,16777217\n", false, 1).unwrap();
        assert_eq!(table.numbers, [1.5, -2e-3, 0.1, 1.0, 0.1, 16_777_216.0]);
        let table = read(b"x,y\nNA,nan\n,NULL\n?,NaN\n", false, 1).unwrap();
        assert!(table.numbers.iter().all(|value| value.is_nan()) && table.numbers.len() == 6);
        assert!(table.complete_rows().is_empty());
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
            ("\"1,5\"", r#"found "1,5", wanted a number with a decimal point"#),
        ] {
            let error = read(format!("x,y\n1,{cell}\n").as_bytes(), false, 1).unwrap_err();
            assert_eq!(error, format!("t.csv:2: column 2 (y): {wanted}"));
        }
        let error = read(b"x,y\n1,\xff\n", true, 1).unwrap_err();
        assert!(error.ends_with("wanted UTF-8; save the file as UTF-8"), "{error}");
    }
}
