//! A table as an NPY file: one structured array, whose fields are the columns. How many rows there are stands at its
//! beginning and is filled in at the end, so that it can only be a regular file.

use std::io::{self, Seek as _, SeekFrom, Write as _};

use super::{Ready, Sink, Writer, WrittenColumn};
use crate::error::quote;
use crate::values::{ValueKind, Values};

/// What is wrong with these columns as fields, if anything is.
pub(super) fn check(columns: &[WrittenColumn]) -> Result<(), String> {
    let is_endless =
        |column: &&WrittenColumn| column.kind == ValueKind::Text && column.chars_max.is_none();
    match columns.iter().find(is_endless) {
        None => Ok(()),
        Some(column) => Err(format!(
            "column {} holds texts of any length, wanted numbers for an NPY file; leave it out of --keep, or write CSV or \
             Parquet",
            quote(column.name.as_bytes())
        )),
    }
}

/// The bytes of so many records.
pub(super) fn rows(
    columns: &[WrittenColumn],
    values: &[Values],
    rows: usize,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for row in 0..rows {
        for (column, values) in columns.iter().zip(values) {
            cell(column, values, row, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn cell(
    column: &WrittenColumn,
    values: &Values,
    row: usize,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let there = |cell: Option<i64>| {
        cell.ok_or_else(|| {
            let problem = format!(
                "column {} has a missing cell, wanted none for an NPY file; leave it out of --keep, or write CSV or Parquet",
                quote(column.name.as_bytes())
            );
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })
    };
    match values {
        Values::Wholes(cells) => bytes.extend(there(cells[row])?.to_le_bytes()),
        Values::Truths(cells) => bytes.push(there(cells[row].map(i64::from))? as u8),
        Values::Singles(cells) => bytes.extend(cells[row].unwrap_or(f32::NAN).to_le_bytes()),
        Values::Doubles(cells) => bytes.extend(cells[row].unwrap_or(f64::NAN).to_le_bytes()),
        Values::Texts(texts) => {
            let text = texts.get(row).unwrap_or_default().chars().map(u32::from);
            let codes = text.chain(std::iter::repeat(0)).take(column.chars_max.unwrap_or(0));
            codes.for_each(|code| bytes.extend(code.to_le_bytes()));
        }
    }
    Ok(())
}

/// A name as Python writes a text.
fn literal(name: &str) -> String {
    let mut text = String::from("'");
    for letter in name.chars() {
        match letter {
            '\\' | '\'' => text.extend(['\\', letter]),
            letter if letter.is_control() && u32::from(letter) < 0x100 => {
                text += &format!("\\x{:02x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text + "'"
}

/// Bytes that a header's length is a multiple of.
const ALIGNMENT: usize = 64;

/// Most digits of a number of rows.
const DIGITS_MAX: usize = 20;

/// The header of so many records, as long whatever their number is.
fn header(columns: &[WrittenColumn], rows: u64) -> Vec<u8> {
    let field = |column: &WrittenColumn| {
        let dtype = match column.kind {
            ValueKind::Text => format!("<U{}", column.chars_max.unwrap_or(0)),
            ValueKind::Whole => "<i8".to_owned(),
            ValueKind::Single => "<f4".to_owned(),
            ValueKind::Double => "<f8".to_owned(),
            ValueKind::Truth => "|b1".to_owned(),
        };
        format!("({}, '{dtype}')", literal(&column.name))
    };
    let fields: Vec<String> = columns.iter().map(field).collect();
    let fields = fields.join(", ");
    let shape = rows.to_string();
    let mut text =
        format!("{{'descr': [{fields}], 'fortran_order': False, 'shape': ({shape},), }}");
    text.push_str(&" ".repeat(DIGITS_MAX - shape.len()));
    // Magic, version, length; a line end at the end. Names beyond ASCII need version 3.
    let prelude = 12;
    let length = (prelude + text.len() + 1).next_multiple_of(ALIGNMENT) - prelude;
    text.push_str(&" ".repeat(length - 1 - text.len()));
    text.push('\n');
    let version = if text.is_ascii() { 2 } else { 3 };
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// A file that is being written.
pub(super) struct NpyWriter {
    to: Sink,
    columns: Vec<WrittenColumn>,
    record: usize,
    /// Bytes of the records so far.
    len: u64,
}

impl NpyWriter {
    pub(super) fn begin(columns: &[WrittenColumn], mut to: Sink) -> io::Result<NpyWriter> {
        to.write_all(&header(columns, 0))?;
        let size = |column: &WrittenColumn| match column.kind {
            ValueKind::Text => 4 * column.chars_max.unwrap_or(0),
            ValueKind::Whole | ValueKind::Double => 8,
            ValueKind::Single => 4,
            ValueKind::Truth => 1,
        };
        let record = columns.iter().map(size).sum();
        Ok(NpyWriter { to, columns: columns.to_vec(), record, len: 0 })
    }
}

impl Writer for NpyWriter {
    fn write(&mut self, rows: Ready) -> io::Result<()> {
        let Ready::Bytes(bytes) = rows else { unreachable!("such rows are bytes") };
        self.len += bytes.len() as u64;
        self.to.write_all(&bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let rows = self.len / (self.record as u64).max(1);
        let Sink::File(file) = &mut self.to else {
            let problem = "an NPY file says first how many rows it has, wanted a regular file";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header(&self.columns, rows))?;
        file.seek(SeekFrom::End(0))?;
        file.flush()
    }
}
