//! The cells of one selected column of a Parquet file, so many rows at a time, each checked once. A null is a missing
//! cell. Knows nothing of the other columns.

use std::collections::HashMap;

use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::{ParquetError, Result as ParquetResult};

use super::scalar::{self, Reading, Scalar};
use crate::block::MISSING_LABEL;
use crate::dialect::Dialect;
use crate::readers::cell::{self, Kind, Look, Names, Slot};
use crate::values::{Texts, Values};

/// A column being read.
pub(super) struct Cells<'a> {
    pub(super) slot: &'a Slot,
    pub(super) reading: Reading,
    pub(super) dialect: &'a Dialect,
    /// The numbers among what the job lists as missing.
    pub(super) missing_numbers: &'a [f64],
    /// Whether a text was found in a column of numbers where that is no error yet.
    pub(super) noted: bool,
    pub(super) found: Found,
}

/// What one column has in the rows in hand.
#[derive(Default)]
pub(super) struct Found {
    pub(super) numbers: Vec<f64>,
    /// Label ids, which are places in `names`.
    pub(super) labels: Vec<u32>,
    pub(super) names: Names,
    /// By the values' bits, so that most rows need no text.
    known: HashMap<u64, u32>,
    levels: Vec<i16>,
}

/// The first cell that cannot be used.
pub(super) struct Bad {
    /// Among the rows in hand.
    pub(super) row: usize,
    pub(super) problem: String,
}

impl Cells<'_> {
    /// Reads so many rows more.
    ///
    /// # Errors
    /// If the file has no more of them, or cannot be read; inside, for the first bad cell.
    pub(super) fn read(
        &mut self,
        from: &mut ColumnReader,
        rows: usize,
    ) -> ParquetResult<Result<(), Bad>> {
        self.found.numbers.clear();
        self.found.labels.clear();
        let reading = self.reading;
        match from {
            ColumnReader::BoolColumnReader(from) => {
                self.scalars(from, rows, |&value| Ok(Scalar::Truth(value)))
            }
            ColumnReader::Int32ColumnReader(from) => {
                self.scalars(from, rows, |&value| Ok(reading.of_i32(value)))
            }
            ColumnReader::Int64ColumnReader(from) => {
                self.scalars(from, rows, |&value| Ok(reading.of_i64(value)))
            }
            ColumnReader::Int96ColumnReader(from) => {
                self.scalars(from, rows, |value| Ok(scalar::of_int96(value.data())))
            }
            ColumnReader::FloatColumnReader(from) => {
                self.scalars(from, rows, |&value| Ok(Scalar::Single(value)))
            }
            ColumnReader::DoubleColumnReader(from) => {
                self.scalars(from, rows, |&value| Ok(Scalar::Double(value)))
            }
            ColumnReader::FixedLenByteArrayColumnReader(from) => {
                self.scalars(from, rows, |value| reading.of_bytes(value.data()))
            }
            ColumnReader::ByteArrayColumnReader(from) if reading != Reading::Plain => {
                self.scalars(from, rows, |value| reading.of_bytes(value.data()))
            }
            ColumnReader::ByteArrayColumnReader(from) => self.texts(from, rows),
        }
    }

    fn scalars<T: DataType>(
        &mut self,
        from: &mut ColumnReaderImpl<T>,
        rows: usize,
        of: impl Fn(&T::T) -> Result<Scalar, String>,
    ) -> ParquetResult<Result<(), Bad>> {
        let mut levels = std::mem::take(&mut self.found.levels);
        let values = values(from, rows, &mut levels)?;
        let read = each(&values, &levels, rows, |value| {
            let scalar = value.map(&of).transpose()?;
            match self.slot.kind {
                Kind::Number(_) => self.number(scalar),
                Kind::Label(_) => self.label(scalar),
            }
        });
        self.found.levels = levels;
        Ok(read)
    }

    fn texts(
        &mut self,
        from: &mut ColumnReaderImpl<::parquet::data_type::ByteArrayType>,
        rows: usize,
    ) -> ParquetResult<Result<(), Bad>> {
        let mut levels = std::mem::take(&mut self.found.levels);
        let values = values(from, rows, &mut levels)?;
        let read = each(&values, &levels, rows, |value| {
            let text = value.map_or(&b""[..], |value| value.data().trim_ascii());
            match self.slot.kind {
                Kind::Number(_) => {
                    let number = self.number_of_text(text)?;
                    self.found.numbers.push(number);
                }
                Kind::Label(_) => {
                    let is_missing = text.is_empty() || self.dialect.is_missing(text, false);
                    let name = self.slot.label(text, is_missing)?;
                    let id = name.map_or(MISSING_LABEL, |name| self.found.names.id(name));
                    self.found.labels.push(id);
                }
            }
            Ok(())
        });
        self.found.levels = levels;
        Ok(read)
    }

    fn number_of_text(&mut self, text: &[u8]) -> Result<f64, String> {
        Ok(match self.slot.number_of_text(text, self.dialect)? {
            cell::Found::Number(number) => number,
            cell::Found::Text => {
                self.noted = true;
                f64::NAN
            }
        })
    }

    #[inline]
    fn number(&mut self, scalar: Option<Scalar>) -> Result<(), String> {
        let Some(scalar) = scalar else {
            let number = self.number_of_text(b"")?;
            self.found.numbers.push(number);
            return Ok(());
        };
        let number = self.or_missing(scalar.number());
        self.slot.check_number(number, || scalar.spelled())?;
        self.found.numbers.push(number);
        Ok(())
    }

    #[inline]
    fn or_missing(&self, number: f64) -> f64 {
        if self.missing_numbers.contains(&number) { f64::NAN } else { number }
    }

    fn label(&mut self, scalar: Option<Scalar>) -> Result<(), String> {
        let Some(scalar) = scalar else {
            self.slot.label(b"", true)?;
            self.found.labels.push(MISSING_LABEL);
            return Ok(());
        };
        let number = scalar.number();
        let bits = match scalar {
            Scalar::Date(days) => Some(days.cast_unsigned()),
            Scalar::Time(ticks, ..) => i64::try_from(ticks).ok().map(i64::cast_unsigned),
            // Of what a double holds exactly, its bits say which value it is.
            _ => (number.abs() < 9e15).then(|| (number + 0.0).to_bits()),
        };
        if let Some(&id) = bits.and_then(|bits| self.found.known.get(&bits)) {
            self.found.labels.push(id);
            return Ok(());
        }
        let text = scalar.spelled();
        let is_number = !self.reading.is_spelled();
        let is_missing = is_number && self.or_missing(number).is_nan()
            || self.dialect.is_missing(text.as_bytes(), false);
        let name = self.slot.label(text.as_bytes(), is_missing)?;
        let id = name.map_or(MISSING_LABEL, |name| self.found.names.id(name));
        if let (Some(bits), false) = (bits, matches!(scalar, Scalar::Decimal(..))) {
            self.found.known.insert(bits, id);
        }
        self.found.labels.push(id);
        Ok(())
    }
}

/// The next cells of a column as they are.
///
/// # Errors
/// If the file has no more of them, or cannot be read; inside, for the first text that is none.
pub(super) fn kept(
    from: &mut ColumnReader,
    reading: Reading,
    rows: usize,
) -> ParquetResult<Result<Values, Bad>> {
    let single = |scalar: Scalar| scalar.number() as f32;
    let is_whole = matches!(reading, Reading::Plain | Reading::Unsigned);
    match from {
        ColumnReader::BoolColumnReader(from) => {
            kept_as(from, rows, |&value| Ok(value), Values::Truths)
        }
        ColumnReader::Int32ColumnReader(from) if is_whole => {
            let whole = |&value: &i32| match reading {
                Reading::Unsigned => Ok(value.cast_unsigned().into()),
                _ => Ok(value.into()),
            };
            kept_as(from, rows, whole, Values::Wholes)
        }
        ColumnReader::Int64ColumnReader(from) if reading == Reading::Plain => {
            kept_as(from, rows, |&value| Ok(value), Values::Wholes)
        }
        ColumnReader::Int32ColumnReader(from) => {
            kept_as(from, rows, |&value| Ok(reading.kept_text(value.into())), texts)
        }
        ColumnReader::Int64ColumnReader(from) => {
            kept_as(from, rows, |&value| Ok(reading.kept_text(value)), texts)
        }
        ColumnReader::Int96ColumnReader(from) => {
            kept_as(from, rows, |value| Ok(scalar::of_int96(value.data()).spelled()), texts)
        }
        ColumnReader::FloatColumnReader(from) => {
            kept_as(from, rows, |&value| Ok(value), Values::Singles)
        }
        ColumnReader::DoubleColumnReader(from) => {
            kept_as(from, rows, |&value| Ok(value), Values::Doubles)
        }
        ColumnReader::FixedLenByteArrayColumnReader(from) if reading == Reading::Half => {
            kept_as(from, rows, |value| reading.of_bytes(value.data()).map(single), Values::Singles)
        }
        ColumnReader::FixedLenByteArrayColumnReader(from) => {
            let spelled = |scalar: Scalar| scalar.spelled();
            kept_as(from, rows, |value| reading.of_bytes(value.data()).map(spelled), texts)
        }
        ColumnReader::ByteArrayColumnReader(from) => kept_as(
            from,
            rows,
            |value| match reading {
                Reading::Plain => utf8(value.data()),
                _ => reading.of_bytes(value.data()).map(Scalar::spelled),
            },
            texts,
        ),
    }
}

fn utf8(text: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(text);
    text.map(str::to_owned)
        .map_err(|_| "found a text that is not UTF-8; write it as UTF-8".to_owned())
}

fn texts(cells: Vec<Option<String>>) -> Values {
    let mut texts = Texts::default();
    cells.iter().for_each(|cell| texts.push(cell.as_deref()));
    Values::Texts(texts)
}

fn kept_as<T: DataType, V>(
    from: &mut ColumnReaderImpl<T>,
    rows: usize,
    of: impl Fn(&T::T) -> Result<V, String>,
    kept: impl FnOnce(Vec<Option<V>>) -> Values,
) -> ParquetResult<Result<Values, Bad>> {
    let mut levels = Vec::new();
    let values = values(from, rows, &mut levels)?;
    let mut cells = Vec::with_capacity(rows);
    let read = each(&values, &levels, rows, |value| {
        cells.push(value.map(&of).transpose()?);
        Ok(())
    });
    Ok(read.map(|()| kept(cells)))
}

/// The values of the next rows, without nulls; where those are, the levels say.
fn values<T: DataType>(
    from: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
) -> ParquetResult<Vec<T::T>> {
    levels.clear();
    let mut values = Vec::new();
    let (records, found, _) = from.read_records(rows, Some(levels), None, &mut values)?;
    let present = match levels.is_empty() {
        true => rows,
        false => levels.iter().filter(|&&level| level > 0).count(),
    };
    if records != rows || found != present || !(levels.is_empty() || levels.len() == rows) {
        let problem = format!("a column has {records} values where {rows} rows are left");
        return Err(ParquetError::General(problem));
    }
    Ok(values)
}

/// What the first texts of a column look like, at most so many; nothing where it has none.
pub(super) fn look(
    from: &mut ColumnReader,
    rows_max: usize,
    dialect: &Dialect,
) -> ParquetResult<Look> {
    let ColumnReader::ByteArrayColumnReader(from) = from else { return Ok(Look::Nothing) };
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    from.read_records(rows_max, Some(&mut levels), None, &mut values)?;
    let texts = values.iter().map(|value| value.data().trim_ascii());
    Ok(texts.fold(Look::Nothing, |look, text| look.and(text, dialect)))
}

/// Shows the value of each row, `None` for a null.
fn each<V>(
    values: &[V],
    levels: &[i16],
    rows: usize,
    mut see: impl FnMut(Option<&V>) -> Result<(), String>,
) -> Result<(), Bad> {
    let mut values = values.iter();
    for row in 0..rows {
        let is_there = levels.get(row).is_none_or(|&level| level > 0);
        let value = if is_there { values.next() } else { None };
        see(value).map_err(|problem| Bad { row, problem })?;
    }
    Ok(())
}
