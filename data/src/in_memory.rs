//! Columns in memory as a table: written as a CSV file has them, so that they are read, inferred and refused as in one. Knows no reader.

use std::fmt::Write as _;

use lockstep_proto::words::count;

use crate::dialect::Dialect;
use crate::values::Values;

/// How [`as_csv`] writes, and as `of` takes what means a missing cell.
pub(crate) fn dialect(of: &Dialect) -> Dialect {
    let missing_values = of.missing_values.clone();
    Dialect { delimiter: Some(','), missing_values, ..Dialect::default() }
}

/// Columns, each with its name, as a CSV file.
///
/// # Errors
/// If there are none, or some have more rows than others.
pub(crate) fn as_csv(columns: &[(String, Values)]) -> Result<String, String> {
    let Some(rows) = columns.first().map(|(_, cells)| cells.len()) else {
        return Err("found no columns, wanted at least one".to_string());
    };
    if let Some((name, cells)) = columns.iter().find(|(_, cells)| cells.len() != rows) {
        let (first, _) = &columns[0];
        return Err(format!(
            "column {name:?} has {}, and {first:?} has {rows}: wanted as many of each",
            count(cells.len() as u64, "cell")
        ));
    }
    let mut text = String::new();
    line(&mut text, columns.iter().map(|(name, _)| name.as_str().into()));
    for row in 0..rows {
        line(&mut text, columns.iter().map(|(_, cells)| cell(cells, row)));
    }
    Ok(text)
}

/// A missing one is empty.
fn cell(cells: &Values, row: usize) -> std::borrow::Cow<'_, str> {
    match cells {
        Values::Doubles(cells) if cells[row].is_some_and(f64::is_nan) => "".into(),
        Values::Singles(cells) if cells[row].is_some_and(f32::is_nan) => "".into(),
        // Not every digit of a number that is very large or small.
        Values::Doubles(cells) => cells[row].map_or("".into(), |cell| format!("{cell:?}").into()),
        cells => cells.spelled(row).unwrap_or_default(),
    }
}

fn line<'a>(text: &mut String, cells: impl Iterator<Item = std::borrow::Cow<'a, str>>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            text.push(',');
        }
        // A line of one empty cell would be blank, which is no row.
        if cell.is_empty() || cell.contains(['"', ',', '\n', '\r']) {
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Texts;

    #[test]
    fn columns_are_lines_of_a_file() {
        let mut texts = Texts::default();
        for text in [Some("a, \"b\""), None, Some("c")] {
            texts.push(text);
        }
        let numbers = Values::Doubles(vec![Some(0.1), Some(1e300), Some(f64::NAN)]);
        let columns = [("t,x".to_string(), Values::Texts(texts)), ("n".to_string(), numbers)];
        let wanted = "\"t,x\",n\n\"a, \"\"b\"\"\",0.1\n\"\",1e300\nc,\"\"\n";
        assert_eq!(as_csv(&columns).unwrap(), wanted);
        assert!(as_csv(&[]).unwrap_err().contains("no columns"));
        let short = ("s".to_string(), Values::Wholes(vec![Some(1)]));
        let error = as_csv(&[columns[1].clone(), short]).unwrap_err();
        assert_eq!(error, "column \"s\" has 1 cell, and \"n\" has 3: wanted as many of each");
    }
}
