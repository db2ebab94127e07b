//! The bytes of a Parquet file, for the `parquet` crate, and what that cannot read in words. Knows no column.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length, SerializedFileReader};
use bytes::Bytes;
use lockstep_proto::panics;

use super::pages;
use super::thrift::encrypted_columns;
use crate::bytes::packing::unreadable;
use crate::bytes::source::{ByteSource, Cursor};
use crate::bytes::stream::hex;
use crate::error::DataError;

/// How a Parquet file begins and ends.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";

/// How one begins and ends whose footer is encrypted.
pub(super) const ENCRYPTED_MAGIC: [u8; 4] = *b"PARE";

/// What follows the footer: its length, and how the file ends.
const FOOTER_END_LEN: u64 = 8;

/// A file whose footer has been read.
pub(super) struct File {
    pub(super) reader: SerializedFileReader<Chunks>,
    /// Leaves of the schema that are encrypted.
    pub(super) encrypted: Vec<usize>,
}

/// Opens a file and reads its footer.
pub(super) fn open(path: &Path) -> Result<File, DataError> {
    let source = ByteSource::open(path).map_err(|cause| unreadable(path, cause))?;
    let mut start = Vec::new();
    let read = source.span(0..source.end().min(MAGIC.len() as u64)).read_to_end(&mut start);
    read.map_err(|cause| unreadable(path, cause))?;
    if start == ENCRYPTED_MAGIC {
        return Err(DataError::table(path, ENCRYPTED));
    }
    if start != MAGIC {
        let problem = format!(
            "found {} at its beginning, wanted a Parquet file, which begins with {}; give a file of another format \
             another name",
            hex(&start),
            hex(&MAGIC)
        );
        return Err(DataError::table(path, problem));
    }
    source.len().map_err(|cause| unreadable(path, cause))?;
    let source = Arc::new(source);
    let reader = guard(path, || SerializedFileReader::new(Chunks(Arc::clone(&source))))?;
    let encrypted = encrypted_columns(&footer(&source).map_err(|cause| unreadable(path, cause))?);
    Ok(File { reader, encrypted })
}

/// The footer of a file, which the `parquet` crate has read before.
fn footer(source: &ByteSource) -> io::Result<Vec<u8>> {
    let read = |range| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        source.span(range).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let behind = source.end().saturating_sub(FOOTER_END_LEN);
    let end = read(behind..source.end())?;
    let len = end.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
    read(behind.saturating_sub(len.into())..behind)
}

const ENCRYPTED: &str = "the file is encrypted, wanted a plain one; decrypt it first";

/// Does something with the `parquet` crate, which may also panic where a file is damaged.
pub(super) fn guard<T>(
    path: &Path,
    what: impl FnOnce() -> ParquetResult<T>,
) -> Result<T, DataError> {
    match panics::guard(what) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(ParquetError::External(cause))) => match cause.downcast::<io::Error>() {
            Ok(cause) => Err(unreadable(path, *cause)),
            Err(cause) => Err(damaged(path, &cause.to_string())),
        },
        Ok(Err(error)) => Err(damaged(path, &error.to_string())),
        Err(_) => Err(damaged(path, "they contradict themselves")),
    }
}

/// The error of a file that is no whole Parquet file.
pub(super) fn damaged(path: &Path, cause: &str) -> DataError {
    if cause.contains("encrypt") {
        return DataError::table(path, ENCRYPTED);
    }
    let cause = cause.trim_start_matches("Parquet error: ");
    let problem = format!(
        "its Parquet data are damaged, cut short or not understood ({cause}); write or fetch it again"
    );
    DataError::table(path, problem)
}

/// A file by position.
pub(super) struct Chunks(Arc<ByteSource>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.end()
    }
}

impl ChunkReader for Chunks {
    type T = Cursor<Arc<ByteSource>>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let end = self.0.end();
        // What is read like this is the header of a page, or the end of the file, which is no longer than its own length.
        if end.saturating_sub(start) > FOOTER_END_LEN {
            let mut header = Vec::new();
            let range = start..end.min(start.saturating_add(pages::HEADER_LEN));
            self.0.span(range).read_to_end(&mut header)?;
            pages::check_header(&header)?;
        }
        Ok(Cursor::new(Arc::clone(&self.0), start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64).filter(|&end| end <= self.0.end());
        let Some(end) = end else {
            return Err(ParquetError::EOF("it points beyond the file's end".to_owned()));
        };
        let mut bytes = Vec::with_capacity(length);
        self.0.span(start..end).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
