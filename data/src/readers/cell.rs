//! What one cell means, whatever the format of its file: a number, a label, a missing one, or what is wrong with it in
//! words. Reads no file and knows no place.

use std::collections::HashMap;

use crate::dialect::Dialect;
use crate::error::quote;
pub(crate) use crate::number::number;
use crate::readers::written::Written;
pub(crate) use crate::selection::Kind;
use crate::selection::{CellKind, NUMBER_MAX, OnText, Selected, Selection};

/// Longest cell that is used: a name, a number or a label.
pub(crate) const CELL_LEN_MAX: usize = 64 << 10;

/// Greatest number that rounds to a finite `f32`: the last before half a step above the greatest `f32`.
const F32_MAX: f64 = f64::from_bits(0x47ef_ffff_efff_ffff);

/// One selected cell of every row.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) column: usize,
    pub(crate) kind: Kind,
    /// Greatest number that will do: what an `f32` can hold, or more where it will be scaled.
    pub(crate) number_max: f64,
    missing: Option<&'static str>,
    text: OnText,
}

/// What stands where a number is wanted.
pub(crate) enum Found {
    /// A number; NaN for a missing one.
    Number(f64),
    /// A text, or what may be a code, in a column where that is no error yet.
    Text,
}

/// The selected cells of a row, in file order, so that the first bad one is met first.
pub(crate) fn slots(selection: &Selection) -> Vec<Slot> {
    let slot = |(selected, kind): (&Selected, Kind)| {
        let (takes_any_size, text) = match selected.cells {
            CellKind::Numbers { takes_any_size, text } => (takes_any_size, text),
            CellKind::Texts => (false, OnText::Error(None)),
        };
        let number_max = if takes_any_size { NUMBER_MAX } else { F32_MAX };
        Slot { column: selected.column, kind, number_max, missing: selected.missing, text }
    };
    let mut slots: Vec<Slot> = selection.all().zip(selection.places()).map(slot).collect();
    slots.sort_by_key(|slot| slot.column);
    slots
}

impl Slot {
    /// What a text without spaces around it means as a number.
    pub(crate) fn number_of_text(&self, cell: &[u8], dialect: &Dialect) -> Result<Found, String> {
        if cell.is_empty() || dialect.is_missing(cell, true) {
            return self.missing(cell).map(|()| Found::Number(f64::NAN));
        }
        // A text that says NaN but means no missing cell is no number within any bounds.
        let found = dialect.number(cell);
        let value = found.filter(|value| value.abs() <= self.number_max);
        if self.text == OnText::Note && is_padded(cell) {
            return Ok(Found::Text);
        }
        if let Some(value) = value.or_else(|| truth(cell)) {
            return Ok(Found::Number(value));
        }
        match self.text {
            OnText::Note if found.is_none() => Ok(Found::Text),
            _ => Err(self.number_problem(cell, found)),
        }
    }

    /// Checks a number that is one already; NaN is a missing one. `cell` is how to write it.
    pub(crate) fn check_number(
        &self,
        value: f64,
        cell: impl FnOnce() -> String,
    ) -> Result<(), String> {
        if value.is_nan() {
            return match self.missing {
                Some(_) => self.missing(cell().as_bytes()),
                None => Ok(()),
            };
        }
        if value.abs() <= self.number_max {
            return Ok(());
        }
        Err(self.size_problem(cell().as_bytes(), value))
    }

    /// The label that a text without spaces around it is; `None` for a missing one, which is told by whoever knows
    /// whether it was quoted.
    pub(crate) fn label<'a>(
        &self,
        cell: &'a [u8],
        is_missing: bool,
    ) -> Result<Option<&'a str>, String> {
        if is_missing {
            return self.missing(cell).map(|()| None);
        }
        if cell.len() > CELL_LEN_MAX {
            let (found, wanted) =
                (describe_len(cell.len() as u64), describe_len(CELL_LEN_MAX as u64));
            return Err(format!("found a label of {found}, wanted at most {wanted}"));
        }
        str::from_utf8(cell).map(Some).map_err(|_| not_utf8(cell))
    }

    /// Whether a missing cell will do.
    fn missing(&self, cell: &[u8]) -> Result<(), String> {
        let Some(advice) = self.missing else { return Ok(()) };
        let found = match cell {
            [] => "an empty cell".to_owned(),
            _ => format!("{}, which means a missing cell", quote(cell)),
        };
        let wanted = match self.kind {
            Kind::Number(_) => "a number",
            Kind::Label(_) => "a label",
        };
        Err(format!("found {found}, wanted {wanted}; {advice}"))
    }

    fn size_problem(&self, cell: &[u8], value: f64) -> String {
        let found = quote(cell);
        match value.is_finite() {
            false => format!("found {found}, wanted a finite number"),
            true if self.number_max == NUMBER_MAX => {
                format!("found {found}, wanted a number up to {NUMBER_MAX:e}")
            }
            true => format!("found {found}, wanted a number up to {:e}, the largest f32", f32::MAX),
        }
    }

    fn number_problem(&self, cell: &[u8], value: Option<f64>) -> String {
        if let Some(value) = value {
            return self.size_problem(cell, value);
        }
        let found = quote(cell);
        if let Some(written) = Written::of(&String::from_utf8_lossy(cell)) {
            return format!("found {found}, wanted a number {}", written.advice());
        }
        match self.text {
            OnText::Error(Some(advice)) => format!("found {found}, wanted a number; {advice}"),
            OnText::Error(None) | OnText::Note => format!("found {found}, wanted a number"),
        }
    }
}

/// What is wrong with a cell that is no UTF-8.
pub(crate) fn not_utf8(cell: &[u8]) -> String {
    let first = str::from_utf8(cell).err().and_then(|error| cell.get(error.valid_up_to()));
    let byte = first.map_or_else(String::new, |byte| format!(" (the byte {byte:02x})"));
    format!(
        "found {}{byte}, wanted UTF-8; save the file as UTF-8, or, if it is in Latin-1, as Windows writes it, turn it into UTF-8 \
         with `iconv -f WINDOWS-1252 -t UTF-8`",
        quote(cell)
    )
}

/// The number of a text that [`Slot::number_of_text`] found good; NaN for a missing one.
pub(crate) fn number_or_missing(cell: &[u8], dialect: &Dialect) -> f64 {
    if cell.is_empty() || dialect.is_missing(cell, true) {
        return f64::NAN;
    }
    dialect.number(cell).or_else(|| truth(cell)).unwrap_or(f64::NAN)
}

/// Whether it is a whole number that is written with zeros in front, as codes are.
#[inline]
pub(crate) fn is_padded(cell: &[u8]) -> bool {
    matches!(cell, [b'0', b'0'..=b'9', ..]) && cell.iter().all(u8::is_ascii_digit)
}

/// A truth value as a number, in the spellings of Python, R and most databases.
pub(crate) fn truth(cell: &[u8]) -> Option<f64> {
    match cell {
        b"True" | b"true" | b"TRUE" => Some(1.0),
        b"False" | b"false" | b"FALSE" => Some(0.0),
        _ => None,
    }
}

/// The numbers among what a job lists as missing.
pub(crate) fn missing_numbers(dialect: &Dialect) -> Vec<f64> {
    let listed = dialect.missing_values.iter().flatten();
    listed.filter_map(|text| number(text.trim().as_bytes())).collect()
}

/// A float as numpy and pandas write it into a CSV file, but for the `.0` of whole ones. Both zeros are spelled alike.
pub(crate) fn spell_double(value: f64) -> String {
    let value = value + 0.0;
    if is_short(value) { value.to_string() } else { format!("{value:e}") }
}

/// The same of an `f32`.
pub(crate) fn spell_single(value: f32) -> String {
    let value = value + 0.0;
    if is_short(value.into()) { value.to_string() } else { format!("{value:e}") }
}

fn is_short(value: f64) -> bool {
    value == 0.0 || (1e-5..1e16).contains(&value.abs()) || !value.is_finite()
}

/// A number of IEEE 754's binary16.
pub(crate) fn half(bits: u16) -> f64 {
    let magnitude = f64::from(bits & 0x3ff);
    let value = match (bits >> 10) & 0x1f {
        0 => magnitude * 2f64.powi(-24),
        0x1f if magnitude == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (magnitude + 1024.0) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -value } else { value }
}

/// What the cells of a column look like, one after another, each without spaces around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Missing cells alone so far.
    Nothing,
    /// Truth values alone.
    Truths,
    /// Numbers, and perhaps truth values.
    Numbers,
    /// A text at least, or a number with zeros in front, which may be a code.
    Texts,
}

impl Look {
    /// What it looks like with one more cell.
    pub(crate) fn and(self, cell: &[u8], dialect: &Dialect) -> Look {
        if self == Look::Texts || cell.is_empty() || dialect.is_missing(cell, true) {
            return self;
        }
        match (self, truth(cell)) {
            (Look::Nothing | Look::Truths, Some(_)) => Look::Truths,
            (look, Some(_)) => look,
            (_, None) if dialect.number(cell).is_some() && !is_padded(cell) => Look::Numbers,
            (_, None) => Look::Texts,
        }
    }
}

/// A number of bytes for a message.
pub(crate) fn describe_len(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Distinct labels in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Names {
    ids: HashMap<String, u32>,
    pub(crate) list: Vec<String>,
}

impl Names {
    pub(crate) fn id(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.list.len() as u32;
        self.ids.insert(name.to_owned(), id);
        self.list.push(name.to_owned());
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_is_the_last_that_is_finite_as_f32() {
        assert!((F32_MAX as f32).is_finite());
        assert!((F32_MAX.next_up() as f32).is_infinite());
    }
}
