//! Rows as lines of a CSV file. Quoting is the `csv` crate's business.

use std::io;

use ::csv::{Writer, WriterBuilder};

use super::WrittenColumn;
use crate::values::Values;

fn writer(delimiter: u8) -> Writer<Vec<u8>> {
    WriterBuilder::new().has_headers(false).delimiter(delimiter).from_writer(Vec::new())
}

fn bytes(writer: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    writer.into_inner().map_err(|error| error.into_error())
}

/// The line of the names.
pub(super) fn header(delimiter: u8, columns: &[WrittenColumn]) -> io::Result<Vec<u8>> {
    let mut writer = writer(delimiter);
    writer.write_record(columns.iter().map(|column| column.name.as_bytes()))?;
    bytes(writer)
}

/// A line for each of so many rows; a missing cell is an empty one.
pub(super) fn rows(delimiter: u8, values: &[Values], rows: usize) -> io::Result<Vec<u8>> {
    let mut writer = writer(delimiter);
    for row in 0..rows {
        for column in values {
            writer.write_field(column.spelled(row).unwrap_or_default().as_bytes())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    bytes(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Texts;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut texts = Texts::default();
        for text in [Some(" a,b "), None, Some("say \"c\"")] {
            texts.push(text);
        }
        let values =
            [Values::Texts(texts), Values::Singles(vec![Some(0.1), Some(1e-9), Some(-2.0)])];
        let found = rows(b',', &values, 3).unwrap();
        let wanted = "\" a,b \",0.1\n,0.000000001\n\"say \"\"c\"\"\",-2\n";
        assert_eq!(String::from_utf8(found).unwrap(), wanted);
    }
}
