//! What one element of an NPY file is, as its dtype says, and how it is read: a number, a truth value, a date or a text of a
//! fixed length. Everything else has no value here, and says why.
//!
//! Dates are labels, spelled as pandas writes them into a CSV file: from there on they are what the same texts are in one. Where
//! a job or a model wants numbers of them, they are whole seconds since 1970-01-01 00:00, rounded down.

use std::borrow::Cow;

use crate::columns::calendar::{spell_day, spell_time};
use crate::error::quote;
use crate::readers::cell;
use crate::values::ValueKind;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    kind: Kind,
    /// Bytes of one.
    pub(super) size: usize,
    is_big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Truth,
    Signed,
    Unsigned,
    Float,
    /// Four bytes a character; zeros at the end are none.
    Text,
    /// A byte a character, read as UTF-8; the same.
    Bytes,
    /// Ticks since the beginning of 1970; [`NOT_A_TIME`] is a missing one.
    Date(Tick),
    /// Something whose size is all that is known.
    Other,
}

/// The unit of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    Days,
    /// So many seconds.
    Seconds(i64),
    /// So many of it are a second.
    Fraction(i64),
}

impl Tick {
    /// As it is named in a dtype.
    fn named(name: &str) -> Option<Tick> {
        Some(match name {
            "D" => Tick::Days,
            "h" => Tick::Seconds(3_600),
            "m" => Tick::Seconds(60),
            "s" => Tick::Seconds(1),
            "ms" => Tick::Fraction(1_000),
            "us" => Tick::Fraction(1_000_000),
            "ns" => Tick::Fraction(1_000_000_000),
            _ => return None,
        })
    }

    fn seconds(self, ticks: i64) -> i128 {
        let ticks = i128::from(ticks);
        match self {
            Tick::Days => ticks * 86_400,
            Tick::Seconds(each) => ticks * i128::from(each),
            Tick::Fraction(per_second) => ticks.div_euclid(i128::from(per_second)),
        }
    }

    fn spell(self, ticks: i64) -> String {
        match self {
            Tick::Days => spell_day(ticks),
            Tick::Seconds(each) => spell_time(i128::from(ticks) * i128::from(each), 1, false),
            Tick::Fraction(per_second) => spell_time(ticks.into(), per_second, false),
        }
    }
}

/// numpy's NaT.
const NOT_A_TIME: u64 = i64::MIN.cast_unsigned();

/// What numbers and texts are called, for messages.
const WANTED: &str = "wanted floats (f2, f4, f8), whole numbers (i1 to i8, u1 to u8), bool, texts of a fixed length (U, S), \
                      or dates (M8)";

impl Element {
    /// Reads a dtype, such as `<f8`. Types without a value are fine as long as it is known how long they are.
    ///
    /// # Errors
    /// If it is not known, or it is a kind of pickle.
    pub(super) fn parse(dtype: &str) -> Result<Element, String> {
        let name = dtype.trim_start_matches(['<', '>', '|', '=']);
        let mut characters = name.chars();
        let code = characters.next();
        let rest = characters.as_str();
        let digits = rest.split_once('[').map_or(rest, |(digits, _)| digits);
        let size = match (code, digits) {
            (Some('?'), "") => Some(1),
            _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        let kind = match (code, size) {
            (Some('O'), _) => return Err(objects(dtype)),
            (Some('b' | '?'), Some(1)) => Kind::Truth,
            (Some('i'), Some(1 | 2 | 4 | 8)) => Kind::Signed,
            (Some('u'), Some(1 | 2 | 4 | 8)) => Kind::Unsigned,
            (Some('f'), Some(2 | 4 | 8)) => Kind::Float,
            (Some('U'), Some(_)) => Kind::Text,
            (Some('S' | 'a'), Some(_)) => Kind::Bytes,
            (Some('M'), Some(8)) => date(rest).map_or(Kind::Other, Kind::Date),
            (Some('f' | 'c' | 'M' | 'm' | 'V'), Some(_)) => Kind::Other,
            _ => return Err(format!("found dtype {}, {WANTED}", quote(dtype.as_bytes()))),
        };
        let characters: usize = size.unwrap_or_default();
        let size = match kind {
            Kind::Text => characters.checked_mul(4),
            _ => Some(characters),
        };
        let size = size.filter(|size| u32::try_from(*size).is_ok());
        let size = size.ok_or_else(|| {
            format!("found dtype {}, wanted elements of less than 4 GiB", quote(dtype.as_bytes()))
        })?;
        let is_big_endian =
            dtype.starts_with('>') || (!dtype.starts_with('<') && cfg!(target_endian = "big"));
        Ok(Element { kind, size, is_big_endian })
    }

    /// Why elements of this dtype have no value; `None` if they have one.
    pub(super) fn problem(self, dtype: &str) -> Option<String> {
        if self.kind != Kind::Other {
            return None;
        }
        let advice = match dtype.trim_start_matches(['<', '>', '|', '=']).chars().next() {
            Some('c') => "save their real and their imaginary parts as two columns",
            Some('M') => {
                "dates in days, hours, minutes, seconds or a fraction of them are read: save them as `array.astype(\"M8[s]\")`"
            }
            Some('m') => {
                "save them as numbers, such as seconds: `array.astype(\"m8[s]\").astype(\"i8\")`"
            }
            Some('f') => "save them as `array.astype(\"f8\")`",
            _ => "save the array in another dtype",
        };
        Some(format!("found dtype {}, {WANTED}; {advice}", quote(dtype.as_bytes())))
    }

    /// What it becomes where it is kept as it is.
    pub(super) fn kept_kind(self) -> ValueKind {
        match (self.kind, self.size) {
            (Kind::Truth, _) => ValueKind::Truth,
            (Kind::Float, 8) => ValueKind::Double,
            (Kind::Float, _) => ValueKind::Single,
            (Kind::Signed, _) => ValueKind::Whole,
            (Kind::Unsigned, size) if size < 8 => ValueKind::Whole,
            // Half of them are no signed number.
            (Kind::Unsigned | Kind::Text | Kind::Bytes | Kind::Date(_) | Kind::Other, _) => {
                ValueKind::Text
            }
        }
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Bytes)
    }

    pub(super) fn is_date(self) -> bool {
        matches!(self.kind, Kind::Date(_))
    }

    /// Whether dates are spelled with a time.
    pub(super) fn has_time(self) -> bool {
        matches!(self.kind, Kind::Date(Tick::Seconds(_) | Tick::Fraction(_)))
    }

    /// Whether it is a date that is missing.
    #[inline]
    pub(super) fn is_no_date(self, bits: u64) -> bool {
        bits == NOT_A_TIME && self.is_date()
    }

    /// Whether every number is an `f32` as it is.
    pub(super) fn is_narrow(self) -> bool {
        match self.kind {
            Kind::Float => self.size < 8,
            Kind::Signed | Kind::Unsigned => self.size < 4,
            Kind::Truth => true,
            Kind::Text | Kind::Bytes | Kind::Date(_) | Kind::Other => false,
        }
    }

    /// Whether a number may be missing, infinite, or larger than any `f32`.
    pub(super) fn may_be_odd(self) -> bool {
        matches!(self.kind, Kind::Float | Kind::Date(_))
    }

    /// The bits of a number, the least significant first, as they are kept; 0 for anything else.
    #[inline]
    pub(super) fn bits(self, bytes: &[u8]) -> u64 {
        let is_big = self.is_big_endian;
        match *bytes {
            [a] => u64::from(a),
            [a, b] if is_big => u64::from(u16::from_be_bytes([a, b])),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] if is_big => u64::from(u32::from_be_bytes([a, b, c, d])),
            [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] if is_big => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        }
    }

    /// The number that these bits are: the nearest `f64`, as for a decimal that is as long.
    #[inline]
    pub(super) fn number(self, bits: u64) -> f64 {
        match (self.kind, self.size) {
            (Kind::Float, 8) => f64::from_bits(bits),
            (Kind::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Kind::Float, _) => cell::half(bits as u16),
            (Kind::Signed, size) => signed(bits, size) as f64,
            (Kind::Truth, _) => f64::from(u8::from(bits != 0)),
            (Kind::Date(_), _) if bits == NOT_A_TIME => f64::NAN,
            (Kind::Date(tick), _) => tick.seconds(bits.cast_signed()) as f64,
            (Kind::Unsigned | Kind::Text | Kind::Bytes | Kind::Other, _) => bits as f64,
        }
    }

    /// The whole number that these bits are; unspecified for anything else.
    pub(super) fn whole(self, bits: u64) -> i64 {
        match self.kind {
            Kind::Signed => signed(bits, self.size),
            _ => bits.cast_signed(),
        }
    }

    /// The label that these bits are, as numpy and pandas write it into a CSV file, but for the `.0` of whole floats.
    pub(super) fn label(self, bits: u64) -> String {
        let float = self.number(bits);
        match (self.kind, self.size) {
            (Kind::Float, 8) => cell::spell_double(float),
            (Kind::Float, _) => cell::spell_single(float as f32),
            (Kind::Signed, size) => signed(bits, size).to_string(),
            (Kind::Truth, _) => if bits != 0 { "True" } else { "False" }.to_owned(),
            (Kind::Date(_), _) if bits == NOT_A_TIME => "NaT".to_owned(),
            (Kind::Date(tick), _) => tick.spell(bits.cast_signed()),
            (Kind::Unsigned | Kind::Text | Kind::Bytes | Kind::Other, _) => bits.to_string(),
        }
    }

    /// The text that these bytes are, without spaces around it: nothing where they are no text.
    ///
    /// # Errors
    /// If they are no characters.
    pub(super) fn text(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
        Ok(match self.whole_text(bytes)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_vec()),
        })
    }

    /// The same with all spaces.
    ///
    /// # Errors
    /// If they are no characters.
    pub(super) fn whole_text(self, bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
        if self.kind != Kind::Text {
            let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            return Ok(Cow::Borrowed(&bytes[..end]));
        }
        let codes = || bytes.chunks_exact(4).map(|bytes| self.with_size(4).bits(bytes) as u32);
        let length = codes().collect::<Vec<u32>>().iter().rposition(|&code| code != 0);
        let mut text = String::new();
        for code in codes().take(length.map_or(0, |last| last + 1)) {
            text.push(char::from_u32(code).ok_or_else(|| {
                format!("found the code 0x{code:x} in a text, which is no character; save it again")
            })?);
        }
        Ok(Cow::Owned(text.into_bytes()))
    }

    fn with_size(self, size: usize) -> Element {
        Element { size, ..self }
    }
}

/// The unit of a date, from what follows its letter: `8[ns]`. `None` for one that no date here has, such as `8[25s]` or `8[M]`.
fn date(rest: &str) -> Option<Tick> {
    Tick::named(rest.strip_prefix("8[")?.strip_suffix(']')?)
}

/// Refuses what is kept as a pickle, which can run any code when it is read.
fn objects(dtype: &str) -> String {
    format!(
        "found dtype {}, objects of Python, which are pickled and never read here; {WANTED}: save the array as \
         `array.astype(\"f8\")`, or texts as `array.astype(\"U\")`",
        quote(dtype.as_bytes())
    )
}

/// A whole number of so many bytes.
#[inline]
fn signed(bits: u64, size: usize) -> i64 {
    let above = 64 - 8 * size as u32;
    (bits << above).cast_signed() >> above
}

#[cfg(test)]
mod tests;
