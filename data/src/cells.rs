//! From a file's text to numbers and label ids, every cell checked. Nothing is filled, dropped, scaled or split here.
//!
//! Pieces of the file are read in parallel and put together in order, so the result and the error (that of the first
//! bad cell of the file) do not depend on the number of threads.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{DataError, count, quote};
use crate::raw::{MISSING_LABEL, Opened, RawTable, Selection};
use crate::text::{ROWS_MAX, Text};

/// Bytes parsed by one task.
const PIECE_LEN: usize = 1 << 20;

impl Selection {
    /// The selected cells in file order, so that the first bad one is met first.
    fn slots(&self) -> Vec<Slot> {
        let features = self.features.iter().enumerate().map(|(place, &column)| Slot {
            column,
            kind: Kind::Number(place),
            missing: self.missing_feature,
            text: self.text_feature,
        });
        let targets = self.targets.iter().enumerate().map(|(place, &column)| Slot {
            column,
            kind: if self.labels {
                Kind::Label(place)
            } else {
                Kind::Number(self.features.len() + place)
            },
            missing: self.missing_target,
            text: None,
        });
        let mut slots: Vec<Slot> = features.chain(targets).collect();
        slots.sort_by_key(|slot| slot.column);
        slots
    }
}

/// Reads the selected columns of a file.
pub(crate) fn parse(text: Text, selection: Selection) -> Result<RawTable, DataError> {
    parse_in_pieces(text, selection, PIECE_LEN)
}

fn parse_in_pieces(
    text: Text,
    selection: Selection,
    piece_len: usize,
) -> Result<RawTable, DataError> {
    let slots = selection.slots();
    let parsed: Vec<Result<Piece, DataError>> = text
        .pieces(piece_len)
        .into_par_iter()
        .map(|(start, bytes)| parse_piece(&text, start, bytes, &selection, &slots))
        .collect();
    let mut pieces = Vec::with_capacity(parsed.len());
    for piece in parsed {
        pieces.push(piece?);
    }
    let rows = pieces.iter().map(|piece| piece.rows).sum();
    if rows == 0 {
        return Err(DataError::table(text.path(), "no rows below the header, wanted at least one"));
    }
    if rows > ROWS_MAX {
        let problem = format!("found {rows} rows, wanted at most {ROWS_MAX}");
        return Err(DataError::table(text.path(), problem));
    }
    let label_width = if selection.labels { selection.targets.len() } else { 0 };
    let mut table = RawTable {
        numbers: Vec::with_capacity(pieces.iter().map(|piece| piece.numbers.len()).sum()),
        labels: Vec::with_capacity(rows * label_width),
        label_names: vec![],
        opened: Opened::Text(text),
        selection,
        rows,
    };
    let mut names = vec![Names::default(); label_width];
    for piece in pieces {
        table.numbers.extend_from_slice(&piece.numbers);
        let ids: Vec<Vec<u32>> = names
            .iter_mut()
            .zip(&piece.names)
            .map(|(names, piece)| piece.list.iter().map(|name| names.id(name)).collect())
            .collect();
        let global = |(at, &id): (usize, &u32)| match id {
            MISSING_LABEL => id,
            _ => ids[at % label_width][id as usize],
        };
        table.labels.extend(piece.labels.iter().enumerate().map(global));
    }
    table.label_names = names.into_iter().map(|names| names.list).collect();
    Ok(table)
}

/// One selected cell of every row.
struct Slot {
    column: usize,
    kind: Kind,
    missing: Option<&'static str>,
    text: Option<&'static str>,
}

/// Which list of the row the cell goes to, and its place there.
#[derive(Clone, Copy)]
enum Kind {
    Number(usize),
    Label(usize),
}

/// What one task made of its part of the file; label ids are its own.
#[derive(Default)]
struct Piece {
    rows: usize,
    numbers: Vec<f32>,
    labels: Vec<u32>,
    names: Vec<Names>,
}

/// Distinct labels in the order in which they came.
#[derive(Clone, Default)]
struct Names {
    ids: HashMap<String, u32>,
    list: Vec<String>,
}

impl Names {
    fn id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.list.len() as u32;
        self.ids.insert(name.to_owned(), id);
        self.list.push(name.to_owned());
        id
    }
}

fn parse_piece(
    text: &Text,
    start: usize,
    bytes: &[u8],
    selection: &Selection,
    slots: &[Slot],
) -> Result<Piece, DataError> {
    let columns = text.columns().len();
    let number_width = selection.features.len() + selection.number_targets();
    let label_width = selection.targets.len() - selection.number_targets();
    let mut piece = Piece { names: vec![Names::default(); label_width], ..Piece::default() };
    let mut reader = text.reader(bytes);
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| text.broken(&error))? {
        let offset = || start + record.position().map_or(0, |position| position.byte() as usize);
        if record.len() != columns {
            let found = count(record.len() as u64, "column");
            let problem = format!("found {found}, wanted {columns} as in the header");
            return Err(text.row_error(offset(), problem));
        }
        let numbers = piece.numbers.len();
        let labels = piece.labels.len();
        piece.numbers.resize(numbers + number_width, f32::NAN);
        piece.labels.resize(labels + label_width, MISSING_LABEL);
        for slot in slots {
            let cell = record[slot.column].trim_ascii();
            let fault = |problem| text.cell_error(offset(), slot.column, problem);
            if is_missing(cell) {
                match slot.missing {
                    Some(advice) => return Err(fault(missing_problem(cell, slot.kind, advice))),
                    None => continue,
                }
            }
            match slot.kind {
                Kind::Number(place) => {
                    piece.numbers[numbers + place] =
                        number(cell).ok_or_else(|| fault(number_problem(cell, slot.text)))?;
                }
                Kind::Label(place) => {
                    let name = str::from_utf8(cell).map_err(|_| fault(encoding_problem(cell)))?;
                    piece.labels[labels + place] = piece.names[place].id(name);
                }
            }
        }
        piece.rows += 1;
    }
    Ok(piece)
}

fn is_missing(cell: &[u8]) -> bool {
    match cell.len() {
        0 => true,
        1 => cell == b"?",
        2 => cell.eq_ignore_ascii_case(b"na"),
        3 => cell.eq_ignore_ascii_case(b"nan"),
        4 => cell.eq_ignore_ascii_case(b"null"),
        _ => false,
    }
}

fn number(cell: &[u8]) -> Option<f32> {
    str::from_utf8(cell).ok()?.parse().ok().filter(|value: &f32| value.is_finite())
}

fn missing_problem(cell: &[u8], kind: Kind, advice: &str) -> String {
    let found = match cell {
        [] => "an empty cell".to_owned(),
        _ => format!("{}, which means a missing cell", quote(cell)),
    };
    let wanted = match kind {
        Kind::Number(_) => "a number",
        Kind::Label(_) => "a label",
    };
    format!("found {found}, wanted {wanted}; {advice}")
}

fn number_problem(cell: &[u8], text_advice: Option<&str>) -> String {
    let found = quote(cell);
    let parsed = str::from_utf8(cell).ok().and_then(|text| text.parse::<f64>().ok());
    if let Some(value) = parsed {
        return if value.is_finite() {
            format!("found {found}, wanted a number up to {:e}, the largest f32", f32::MAX)
        } else {
            format!("found {found}, wanted a finite number")
        };
    }
    let with_point = String::from_utf8_lossy(cell).replace(',', ".");
    if with_point.parse::<f64>().is_ok() {
        return format!("found {found}, wanted a number with a decimal point");
    }
    match text_advice {
        Some(advice) => format!("found {found}, wanted a number; {advice}"),
        None => format!("found {found}, wanted a number"),
    }
}

fn encoding_problem(cell: &[u8]) -> String {
    format!("found {}, wanted UTF-8; save the file as UTF-8", quote(cell))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &[u8], labels: bool, piece_len: usize) -> Result<RawTable, String> {
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
        assert_eq!(whole.numbers[..4], [0.5, 0.0, 2.5, 1.0]);
        assert_eq!(whole.label_names, [["label 0", "label 1", "label 4", "label 2"]]);
        for piece_len in [1, 7, 50, 1000] {
            let table = read(content.as_bytes(), true, piece_len).unwrap();
            assert_eq!(table.numbers, whole.numbers);
            assert_eq!(
                (table.labels, table.label_names),
                (whole.labels.clone(), whole.label_names.clone())
            );
        }
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
