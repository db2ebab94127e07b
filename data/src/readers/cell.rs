//! What one cell means, whatever the format of its file: a number, a label, a missing one, or what is wrong with it in
//! words. Reads no file and knows no place.

use std::collections::HashMap;

use crate::dialect::Dialect;
use crate::error::quote;
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
    /// A text, in a column where that is no error yet.
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
        let value = number(cell).filter(|value| value.abs() <= self.number_max);
        if let Some(value) = value.or_else(|| truth(cell)) {
            return Ok(Found::Number(value));
        }
        match self.text {
            OnText::Note if number(cell).is_none() => Ok(Found::Text),
            _ => Err(self.number_problem(cell)),
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

    fn number_problem(&self, cell: &[u8]) -> String {
        if let Some(value) = number(cell) {
            return self.size_problem(cell, value);
        }
        let found = quote(cell);
        let with_point = String::from_utf8_lossy(cell).replace(',', ".");
        if with_point.parse::<f64>().is_ok() {
            return format!("found {found}, wanted a number with a decimal point");
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

/// The number that a text is in decimal notation.
#[inline]
pub(crate) fn number(cell: &[u8]) -> Option<f64> {
    short_decimal(cell).or_else(|| str::from_utf8(cell).ok()?.parse().ok())
}

/// Most digits of a whole number that is below 2^53, whatever they are.
const EXACT_DIGITS: usize = 15;

/// Powers of ten, all of them exact.
const POWERS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// What most cells are, in a fraction of the time that any number takes: a few digits, perhaps with a sign and a point. Both
/// the digits and the power of ten that they are over are exact, so that their quotient is the nearest `f64`, as for any
/// number. `None` says nothing.
#[inline]
fn short_decimal(cell: &[u8]) -> Option<f64> {
    let (is_negative, text) = match cell {
        [b'-', text @ ..] => (true, text),
        text => (false, text),
    };
    if text.len() > EXACT_DIGITS + 1 {
        return None;
    }
    let (mut whole, mut digits, mut decimals) = (0_i64, 0, None);
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            whole = 10 * whole + i64::from(digit);
            digits += 1;
        } else if byte == b'.' && decimals.is_none() {
            decimals = Some(digits);
        } else {
            return None;
        }
    }
    if !(1..=EXACT_DIGITS).contains(&digits) {
        return None;
    }
    let value = match decimals {
        None => whole as f64,
        Some(before) => whole as f64 / POWERS[digits - before],
    };
    Some(if is_negative { -value } else { value })
}

/// The number of a text that [`Slot::number_of_text`] found good; NaN for a missing one.
pub(crate) fn number_or_missing(cell: &[u8], dialect: &Dialect) -> f64 {
    if cell.is_empty() || dialect.is_missing(cell, true) {
        return f64::NAN;
    }
    number(cell).or_else(|| truth(cell)).unwrap_or(f64::NAN)
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
    /// A text at least.
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
            (_, None) if number(cell).is_some() => Look::Numbers,
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
    fn short_decimals_are_what_any_decimal_is() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut short = 0;
        for _ in 0..200_000 {
            let sign = ["", "", "-", "-", "+"][random(5) as usize];
            let mut text: String = (0..random(18)).map(|_| random(10).to_string()).collect();
            if random(3) > 0 {
                text.insert(random(text.len() as u64 + 1) as usize, '.');
            }
            let text = format!("{sign}{text}");
            let wanted = text.parse::<f64>().ok();
            let found = short_decimal(text.as_bytes());
            assert_eq!(
                number(text.as_bytes()).map(f64::to_bits),
                wanted.map(f64::to_bits),
                "{text}"
            );
            if let Some(found) = found {
                assert_eq!(Some(found.to_bits()), wanted.map(f64::to_bits), "{text}");
                short += 1;
            }
        }
        assert!(short > 100_000, "{short}");
        for text in
            ["", "-", ".", "-.", "1.2.3", "1e5", "0x1", "1,5", "--1", "1-", "inf", "\u{661}"]
        {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(short_decimal(b"-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }

    #[test]
    fn the_greatest_number_is_the_last_that_is_finite_as_f32() {
        assert!((F32_MAX as f32).is_finite());
        assert!((F32_MAX.next_up() as f32).is_infinite());
    }
}
