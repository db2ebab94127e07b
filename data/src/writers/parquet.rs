//! A table as a Parquet file. Rows are gathered until they make a row group. How pages are encoded and compressed is the
//! `parquet` crate's business.

use std::io::{self, Write as _};
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type,
};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;

use super::{Ready, Sink, Writer, WrittenColumn};
use crate::values::{ValueKind, Values};

/// Cells of a row group.
const GROUP_CELLS: usize = 1 << 20;

/// A file that is being written.
pub(super) struct ParquetWriter {
    file: SerializedFileWriter<Sink>,
    columns: Vec<WrittenColumn>,
    /// Batches of the next row group, each with its columns.
    waiting: Vec<Vec<Values>>,
    rows: usize,
}

impl ParquetWriter {
    pub(super) fn begin(columns: &[WrittenColumn], to: Sink) -> io::Result<ParquetWriter> {
        let field = |column: &WrittenColumn| {
            let (physical, logical) = match column.kind {
                ValueKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                ValueKind::Whole => (Physical::INT64, None),
                ValueKind::Single => (Physical::FLOAT, None),
                ValueKind::Double => (Physical::DOUBLE, None),
                ValueKind::Truth => (Physical::BOOLEAN, None),
            };
            let repetition =
                if column.may_miss { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let field = Type::primitive_type_builder(&column.name, physical)
                .with_logical_type(logical)
                .with_repetition(repetition);
            field.build().map(Arc::new)
        };
        let fields = columns.iter().map(field).collect::<ParquetResult<_>>().map_err(told)?;
        let schema = Type::group_type_builder("table").with_fields(fields).build().map_err(told)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties));
        let (file, columns) = (file.map_err(told)?, columns.to_vec());
        Ok(ParquetWriter { file, columns, waiting: Vec::new(), rows: 0 })
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (place, column) in self.columns.iter().enumerate() {
            let Some(mut to) = group.next_column()? else { break };
            for batch in &self.waiting {
                write(&mut to, &batch[place], column.may_miss)?;
            }
            to.close()?;
        }
        group.close()?;
        self.waiting.clear();
        self.rows = 0;
        Ok(())
    }
}

impl Writer for ParquetWriter {
    fn write(&mut self, rows: Ready) -> io::Result<()> {
        let Ready::Values(values, rows) = rows else { unreachable!("such rows are values") };
        self.waiting.push(values);
        self.rows += rows;
        if self.rows * self.columns.len() >= GROUP_CELLS {
            self.write_group().map_err(told)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_group().map_err(told)?;
        self.file.into_inner().map_err(told)?.flush()
    }
}

/// Writes the cells of some rows of a column.
fn write(
    to: &mut SerializedColumnWriter<'_>,
    values: &Values,
    may_miss: bool,
) -> ParquetResult<()> {
    match values {
        Values::Texts(texts) => {
            let cells = (0..texts.len()).map(|row| texts.get(row).map(ByteArray::from));
            cells_of::<ByteArrayType>(to, cells, may_miss)
        }
        Values::Wholes(cells) => cells_of::<Int64Type>(to, cells.iter().copied(), may_miss),
        Values::Singles(cells) => cells_of::<FloatType>(to, cells.iter().copied(), may_miss),
        Values::Doubles(cells) => cells_of::<DoubleType>(to, cells.iter().copied(), may_miss),
        Values::Truths(cells) => cells_of::<BoolType>(to, cells.iter().copied(), may_miss),
    }
}

fn cells_of<T: DataType>(
    to: &mut SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = Option<T::T>>,
    may_miss: bool,
) -> ParquetResult<()> {
    let (mut levels, mut present) = (Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(cell.is_some()));
        present.extend(cell);
    }
    let levels = may_miss.then_some(&levels[..]);
    to.typed::<T>().write_batch(&present, levels, None)?;
    Ok(())
}

/// What the system said, where it was that.
fn told(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    }
}
