//! Tables out, such as predictions: which format a name means, and a table of typed columns written batch by batch. Holds no
//! more of it than the batches in hand and a row group. Says nothing of what is written, and replaces no file.

mod csv;
mod npy;
mod parquet;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::bytes::packing::Packing;
use crate::readers;
use crate::values::{ValueKind, Values};

/// A column of a table that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenColumn {
    /// Its name.
    pub name: String,
    /// What its cells are.
    pub kind: ValueKind,
    /// Whether one may be missing.
    pub may_miss: bool,
    /// Most characters of one, of texts alone, where that is known.
    pub chars_max: Option<usize>,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputFormat {
    form: Form,
    packing: Option<Packing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// With this between cells.
    Csv(u8),
    Npy,
    Parquet,
}

/// Rows that only have to be written.
#[derive(Debug)]
pub struct ReadyRows(Ready);

#[derive(Debug)]
enum Ready {
    Bytes(Vec<u8>),
    /// Columns of so many rows.
    Values(Vec<Values>, usize),
}

/// Where a table goes.
pub enum Sink {
    /// An empty file.
    File(File),
    /// Something that is written from its beginning to its end.
    Stream(Box<dyn Write + Send>),
}

/// A table that is being written.
pub struct TableWriter(Box<dyn Writer>);

/// Takes the rows of a table in their order.
trait Writer: Send {
    fn write(&mut self, rows: Ready) -> io::Result<()>;

    /// After the last row.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl OutputFormat {
    /// What goes to whoever says nothing.
    pub const CSV: OutputFormat = OutputFormat { form: Form::Csv(b','), packing: None };

    /// The format that a file's name means: CSV where it says none.
    ///
    /// # Errors
    /// Found and wanted, if nothing is written in it.
    pub fn of_name(path: &Path) -> Result<OutputFormat, String> {
        let packing = Packing::of_name(path);
        let format = readers::by_name(path).map_or("CSV", |format| format.name);
        let form = match format {
            "CSV" => Form::Csv(b','),
            "TSV" => Form::Csv(b'\t'),
            "NPY" => Form::Npy,
            "Parquet" => Form::Parquet,
            other => {
                return Err(format!(
                    "its name is that of an {other} file, wanted one that ends in .csv, .tsv, .parquet or .npy"
                ));
            }
        };
        if packing.is_some() && !matches!(form, Form::Csv(_)) {
            return Err(format!(
                "its name is that of a compressed {format} file, wanted a plain one, or one that ends in .csv.gz or .csv.zst"
            ));
        }
        Ok(OutputFormat { form, packing })
    }

    /// Whether such a table can go to what is no regular file, such as a pipe.
    pub fn can_stream(self) -> bool {
        self.form != Form::Npy
    }

    /// What is wrong with these columns in this format, if anything is.
    ///
    /// # Errors
    /// Found and wanted.
    pub fn check(self, columns: &[WrittenColumn]) -> Result<(), String> {
        match self.form {
            Form::Npy => npy::check(columns),
            Form::Csv(_) | Form::Parquet => Ok(()),
        }
    }

    /// Makes rows ready to be written, as far as that can be done without those before them.
    ///
    /// # Errors
    /// If a cell cannot be written in this format.
    pub fn ready(self, columns: &[WrittenColumn], values: Vec<Values>) -> io::Result<ReadyRows> {
        let rows = values.first().map_or(0, Values::len);
        Ok(ReadyRows(match self.form {
            Form::Csv(delimiter) => Ready::Bytes(self.pack(csv::rows(delimiter, &values, rows)?)?),
            Form::Npy => Ready::Bytes(npy::rows(columns, &values, rows)?),
            Form::Parquet => Ready::Values(values, rows),
        }))
    }

    fn pack(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.packing {
            Some(packing) => packing.pack(&bytes),
            None => Ok(bytes),
        }
    }

    /// Begins a table.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub fn begin(self, columns: &[WrittenColumn], mut to: Sink) -> io::Result<TableWriter> {
        Ok(TableWriter(match self.form {
            Form::Csv(delimiter) => {
                to.write_all(&self.pack(csv::header(delimiter, columns)?)?)?;
                Box::new(Bytes(to))
            }
            Form::Npy => Box::new(npy::NpyWriter::begin(columns, to)?),
            Form::Parquet => Box::new(parquet::ParquetWriter::begin(columns, to)?),
        }))
    }
}

impl TableWriter {
    /// Writes the next rows.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, rows: ReadyRows) -> io::Result<()> {
        self.0.write(rows.0)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// A table that is nothing but its rows, one after another.
struct Bytes(Sink);

impl Writer for Bytes {
    fn write(&mut self, rows: Ready) -> io::Result<()> {
        let Ready::Bytes(bytes) = rows else { unreachable!("such rows are bytes") };
        self.0.write_all(&bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File(file) => file.write(bytes),
            Sink::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File(file) => file.flush(),
            Sink::Stream(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_a_table_is_written() {
        let of = |name: &str| OutputFormat::of_name(Path::new(name));
        assert_eq!(of("p.csv"), Ok(OutputFormat::CSV));
        assert_eq!(of("predictions"), Ok(OutputFormat::CSV));
        assert_eq!(of("p.csv.gz").unwrap().packing, Some(Packing::Gzip));
        assert_eq!(of("p.tsv.zst").unwrap().form, Form::Csv(b'\t'));
        assert_eq!(of("p.NPY").unwrap().form, Form::Npy);
        assert_eq!(of("p.parquet").unwrap().form, Form::Parquet);
        assert!(of("p.npz").unwrap_err().starts_with("its name is that of an NPZ file, wanted"));
        assert!(of("p.npy.gz").unwrap_err().contains("a compressed NPY file"));
        assert!(!of("p.npy").unwrap().can_stream() && OutputFormat::CSV.can_stream());
    }
}
