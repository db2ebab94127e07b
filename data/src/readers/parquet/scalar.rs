//! What one value of a Parquet column is: as a number, and as it is spelled as a label. How the types of the format are
//! read stands here and nowhere else. Reads no file.
//!
//! Dates and timestamps are texts, spelled as pandas writes them into a CSV file: from there on they are what the same texts
//! are in one. Where a job or a model wants numbers of them, they are whole seconds since 1970-01-01 00:00 UTC, rounded down;
//! times of a day are always numbers, of seconds since midnight.

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::schema::types::ColumnDescriptor;

use crate::columns::calendar::{spell_clock, spell_day, spell_time};
use crate::readers::cell;
use crate::values::ValueKind;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// How the values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// As they are: truth values, signed whole numbers, floats, texts.
    Plain,
    Unsigned,
    /// IEEE 754's binary16.
    Half,
    /// Whole numbers over this power of ten.
    Decimal(u32),
    /// Days since 1970-01-01.
    Date,
    /// A time of a day: so many ticks a second.
    Clock(i64),
    /// A point in time: so many ticks a second since 1970-01-01.
    Time {
        ticks: i64,
        /// Whether the clock is UTC's; else it is nobody knows whose.
        is_utc: bool,
    },
}

/// A value that is no text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Truth(bool),
    Whole(i128),
    Single(f32),
    Double(f64),
    /// A whole number over a power of ten.
    Decimal(i128, u32),
    /// Days since 1970-01-01.
    Date(i64),
    /// Ticks since 1970-01-01, so many a second, and whether the clock is UTC's.
    Time(i128, i64, bool),
}

/// Most digits of a decimal that is read: any 16 bytes hold.
const DIGITS_MAX: i32 = 38;

impl Reading {
    /// How the values of a leaf are read.
    ///
    /// # Errors
    /// What it holds that is neither a number nor a text.
    pub(super) fn of(leaf: &ColumnDescriptor) -> Result<Reading, String> {
        let holds = |what: &str| Err(format!("it holds {what}, wanted numbers or texts"));
        let physical = leaf.physical_type();
        let reading = match leaf.logical_type_ref() {
            Some(LogicalType::Integer(kind)) if kind.is_signed => Reading::Plain,
            Some(LogicalType::Integer(_)) => Reading::Unsigned,
            Some(LogicalType::Decimal(_)) => return decimal(leaf),
            Some(LogicalType::Date) => Reading::Date,
            Some(LogicalType::Time(time)) => Reading::Clock(ticks(&time.unit)),
            Some(LogicalType::Timestamp(time)) => {
                Reading::Time { ticks: ticks(&time.unit), is_utc: time.is_adjusted_to_u_t_c }
            }
            Some(LogicalType::Float16) => Reading::Half,
            Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Reading::Plain,
            // Of a column without a single value.
            Some(LogicalType::Unknown) => Reading::Plain,
            Some(LogicalType::Uuid) => return holds("UUIDs"),
            Some(LogicalType::Bson) => return holds("BSON"),
            Some(other) => return holds(&format!("values of type {other:?}")),
            None => match leaf.converted_type() {
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64 => Reading::Unsigned,
                ConvertedType::DECIMAL => return decimal(leaf),
                ConvertedType::DATE => Reading::Date,
                ConvertedType::TIME_MILLIS => Reading::Clock(1_000),
                ConvertedType::TIME_MICROS => Reading::Clock(1_000_000),
                ConvertedType::TIMESTAMP_MILLIS => Reading::Time { ticks: 1_000, is_utc: true },
                ConvertedType::TIMESTAMP_MICROS => Reading::Time { ticks: 1_000_000, is_utc: true },
                ConvertedType::INTERVAL => return holds("intervals"),
                ConvertedType::BSON => return holds("BSON"),
                _ if physical == Physical::INT96 => INT96,
                _ => Reading::Plain,
            },
        };
        let fits = match physical {
            Physical::FIXED_LEN_BYTE_ARRAY => reading == Reading::Half && leaf.type_length() == 2,
            Physical::INT32 | Physical::INT64 => reading != Reading::Half,
            Physical::INT96 => reading == INT96,
            Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE | Physical::BYTE_ARRAY => {
                reading == Reading::Plain
            }
        };
        if fits { Ok(reading) } else { holds(&format!("{physical} values without a known type")) }
    }

    /// Whether it is spelled with a time, which at midnight pandas leaves out.
    pub(super) fn has_time(self) -> bool {
        matches!(self, Reading::Time { is_utc: false, .. })
    }

    /// Whether it is a text, though its values are numbers in the file.
    pub(super) fn is_spelled(self) -> bool {
        matches!(self, Reading::Date | Reading::Time { .. })
    }

    /// What its values become where they are kept as they are.
    pub(super) fn kept_kind(self, physical: Physical) -> ValueKind {
        match (self, physical) {
            (Reading::Plain, Physical::BOOLEAN) => ValueKind::Truth,
            (Reading::Plain, Physical::INT32 | Physical::INT64)
            | (Reading::Unsigned, Physical::INT32) => ValueKind::Whole,
            (Reading::Plain, Physical::FLOAT) | (Reading::Half, _) => ValueKind::Single,
            (Reading::Plain, Physical::DOUBLE) => ValueKind::Double,
            _ => ValueKind::Text,
        }
    }

    /// A value that is kept as a text.
    pub(super) fn kept_text(self, value: i64) -> String {
        match self {
            Reading::Clock(ticks) => spell_clock(value.into(), ticks),
            _ => self.of_i64(value).spelled(),
        }
    }

    #[inline]
    pub(super) fn of_i32(self, value: i32) -> Scalar {
        match self {
            Reading::Unsigned => Scalar::Whole(value.cast_unsigned().into()),
            _ => self.of_i64(value.into()),
        }
    }

    #[inline]
    pub(super) fn of_i64(self, value: i64) -> Scalar {
        Scalar::Whole(match self {
            Reading::Plain | Reading::Half => value.into(),
            Reading::Unsigned => value.cast_unsigned().into(),
            Reading::Decimal(scale) => return Scalar::Decimal(value.into(), scale),
            Reading::Date => return Scalar::Date(value),
            Reading::Clock(ticks) => value.div_euclid(ticks).into(),
            Reading::Time { ticks, is_utc } => return Scalar::Time(value.into(), ticks, is_utc),
        })
    }

    /// A value of so many bytes.
    ///
    /// # Errors
    /// If there are more than are read, or none.
    pub(super) fn of_bytes(self, bytes: &[u8]) -> Result<Scalar, String> {
        match (self, bytes) {
            (Reading::Half, &[low, high]) => {
                Ok(Scalar::Single(cell::half(u16::from_le_bytes([low, high])) as f32))
            }
            (Reading::Decimal(scale), [first, ..]) if bytes.len() <= 16 => {
                let sign = if *first & 0x80 == 0 { 0 } else { -1 };
                let whole =
                    bytes.iter().fold(sign, |whole: i128, &byte| whole << 8 | i128::from(byte));
                Ok(Scalar::Decimal(whole, scale))
            }
            _ => Err(format!("found a value of {} bytes, which is no number", bytes.len())),
        }
    }
}

fn ticks(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

fn decimal(leaf: &ColumnDescriptor) -> Result<Reading, String> {
    let (precision, scale) = (leaf.type_precision(), leaf.type_scale());
    match u32::try_from(scale) {
        Ok(scale) if precision <= DIGITS_MAX && scale <= DIGITS_MAX as u32 => {
            Ok(Reading::Decimal(scale))
        }
        _ => Err(format!(
            "it holds decimals of {precision} digits, {scale} of them behind the point, wanted at most {DIGITS_MAX}"
        )),
    }
}

/// Days from the first of the Julian period to 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;

/// The old timestamps of Hive, Impala and Spark: nanoseconds of a day, and the day.
const INT96: Reading = Reading::Time { ticks: 1_000_000_000, is_utc: false };

pub(super) fn of_int96(data: &[u32]) -> Scalar {
    let [low, high, day] = [0, 1, 2].map(|place| data.get(place).copied().unwrap_or_default());
    let nanoseconds = (u64::from(high) << 32 | u64::from(low)).cast_signed();
    let day = i128::from(i64::from(day) - JULIAN_EPOCH) * i128::from(DAY);
    Scalar::Time(day * 1_000_000_000 + i128::from(nanoseconds), 1_000_000_000, false)
}

/// Powers of ten, all of them exact.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Scalar {
    /// The nearest number, as for a decimal in a CSV file.
    #[inline]
    pub(super) fn number(self) -> f64 {
        match self {
            Scalar::Truth(is_true) => f64::from(u8::from(is_true)),
            Scalar::Whole(whole) => whole as f64,
            Scalar::Date(days) => (i128::from(days) * i128::from(DAY)) as f64,
            Scalar::Time(ticks, per_second, _) => ticks.div_euclid(per_second.into()) as f64,
            Scalar::Single(value) => value.into(),
            Scalar::Double(value) => value,
            Scalar::Decimal(whole, scale) => match POWERS.get(scale as usize) {
                // Both are exact, so that their quotient is the nearest.
                Some(power) if whole.unsigned_abs() <= 1 << 53 => whole as f64 / power,
                _ => cell::number(self.spelled().as_bytes()).unwrap_or(f64::NAN),
            },
        }
    }

    /// The label that the value is, as pandas writes it into a CSV file, but for the `.0` of whole floats.
    pub(super) fn spelled(self) -> String {
        match self {
            Scalar::Truth(is_true) => if is_true { "True" } else { "False" }.to_owned(),
            Scalar::Whole(whole) => whole.to_string(),
            Scalar::Date(days) => spell_day(days),
            Scalar::Time(ticks, per_second, is_utc) => spell_time(ticks, per_second, is_utc),
            Scalar::Single(value) => cell::spell_single(value),
            Scalar::Double(value) => cell::spell_double(value),
            Scalar::Decimal(whole, 0) => whole.to_string(),
            Scalar::Decimal(whole, scale) => {
                let digits = format!("{:0>1$}", whole.unsigned_abs(), scale as usize + 1);
                let (before, behind) = digits.split_at(digits.len() - scale as usize);
                format!("{}{before}.{behind}", if whole < 0 { "-" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_what_their_spelling_is_read_as() {
        for (whole, scale, spelled) in [
            (12345, 2, "123.45"),
            (-5, 3, "-0.005"),
            (0, 1, "0.0"),
            (7, 0, "7"),
            (i128::from(i64::MAX), 30, "0.000000000009223372036854775807"),
            (-(1 << 53) - 1, 1, "-900719925474099.3"),
        ] {
            let decimal = Scalar::Decimal(whole, scale);
            assert_eq!(decimal.spelled(), spelled);
            assert_eq!(decimal.number().to_bits(), spelled.parse::<f64>().unwrap().to_bits());
        }
        let bytes = |bytes: &[u8]| Reading::Decimal(1).of_bytes(bytes);
        assert_eq!(bytes(&[0xff, 0xfe]), Ok(Scalar::Decimal(-2, 1)));
        assert_eq!(bytes(&[0x01, 0x00]), Ok(Scalar::Decimal(256, 1)));
        assert!(bytes(&[]).is_err() && bytes(&[0; 17]).is_err());
    }

    #[test]
    fn times_are_whole_seconds_rounded_down() {
        assert_eq!(Reading::Date.of_i32(-1).number(), -86_400.0);
        assert_eq!(Reading::Date.of_i32(-1).spelled(), "1969-12-31");
        assert_eq!(Reading::Clock(1_000).of_i64(-1), Scalar::Whole(-1));
        let time = Reading::Time { ticks: 1_000_000, is_utc: true };
        assert_eq!(time.of_i64(2_999_999).number(), 2.0);
        assert_eq!(time.of_i64(2_999_999).spelled(), "1970-01-01 00:00:02.999999+00:00");
        // 2000-01-01 12:00:01.5
        let nanoseconds = 43_201_500_000_000_u64;
        let data = [nanoseconds as u32, (nanoseconds >> 32) as u32, 2_451_545];
        assert_eq!(of_int96(&data).number(), 946_728_001.0);
        assert_eq!(of_int96(&data).spelled(), "2000-01-01 12:00:01.500");
    }

    #[test]
    fn unsigned_numbers_have_no_sign() {
        assert_eq!(Reading::Unsigned.of_i32(-1).number(), 4_294_967_295.0);
        assert_eq!(Reading::Unsigned.of_i64(-1).spelled(), "18446744073709551615");
        assert_eq!(Reading::Plain.of_i32(-1).spelled(), "-1");
    }
}
