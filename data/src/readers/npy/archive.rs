//! The zip file that an NPZ file is: which arrays it has, and their bytes, in memory or where they are. Nothing is ever
//! unpacked under a name, so that an array's name is a name and no path. Knows no columns.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use lockstep_proto::panics;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::array::Array;
use super::header::{self, ZIP_MAGIC};
use crate::bytes::packing::{DEFLATE_RATIO_MAX, unreadable};
use crate::bytes::source::{ByteSource, Cursor, Spill};
use crate::bytes::stream::{Stream, StreamError, hex};
use crate::bytes::stretch::Located;
use crate::error::{DataError, quote};

/// What numpy adds to the name of each array.
const ENDING: &str = ".npy";

/// Bytes that are copied at once.
const COPIED_LEN: usize = 1 << 18;

/// An array of the file.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) array: Array,
    /// Its place among the file's entries.
    entry: usize,
}

impl Named {
    /// Another array of the same name.
    pub(super) fn with(&self, array: Array) -> Named {
        Named { name: self.name.clone(), array, entry: self.entry }
    }
}

/// An entry that has been opened.
struct Entry<'a> {
    from: &'a mut dyn Read,
    /// Its length as it is kept in the file.
    packed_len: u64,
    /// Where it begins, if it is kept as it is.
    plain_start: Option<u64>,
}

impl Entry<'_> {
    fn stream(&mut self) -> Stream<'_> {
        let left_max = self.packed_len.saturating_mul(DEFLATE_RATIO_MAX);
        Stream::new(self.from, left_max)
    }
}

/// Files that a workbook of Excel begins with, or has in it.
const WORKBOOK: [&str; 3] = ["[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"];

/// Reads the header of every array of rows, in the file's order; a single value, such as a version, is left out.
pub(super) fn open(path: &Path) -> Result<Vec<Named>, DataError> {
    let source = ByteSource::open(path).map_err(|cause| unreadable(path, cause))?;
    let mut start = Vec::new();
    let read = source.span(0..source.end().min(ZIP_MAGIC.len() as u64)).read_to_end(&mut start);
    read.map_err(|cause| unreadable(path, cause))?;
    if start != ZIP_MAGIC {
        let problem = format!(
            "found {} at its beginning, wanted an NPZ file, as numpy.savez writes it, which begins with {}; give a file \
             of another format another name",
            hex(&start),
            hex(&ZIP_MAGIC)
        );
        return Err(DataError::table(path, problem));
    }
    let length = source.len().map_err(|cause| unreadable(path, cause))?;
    let (mut arrays, mut packed) = (Vec::new(), 0_u64);
    each(path, &source, None, |place, whole, entry| {
        if WORKBOOK.contains(&whole) {
            let problem =
                "found a workbook of Excel, wanted a table: save the sheet as CSV in UTF-8";
            return Err(DataError::table(path, problem));
        }
        let Some(name) = whole.strip_suffix(ENDING) else {
            let problem = format!(
                "found {} in it, wanted arrays alone, as numpy.savez writes them; unpack it, or save its arrays again",
                quote(whole.as_bytes())
            );
            return Err(DataError::table(path, problem));
        };
        // Entries that share their bytes could hold far more together than the file can.
        packed = packed.saturating_add(entry.packed_len);
        if packed > length {
            return Err(damaged(path, "its arrays are longer than the file"));
        }
        let array = open_array(path, &mut entry.stream()).map_err(|error| of(path, name, error))?;
        arrays.extend(array.map(|array| Named { name: name.to_owned(), array, entry: place }));
        Ok(())
    })?;
    Ok(arrays)
}

fn open_array(path: &Path, from: &mut Stream<'_>) -> Result<Option<Array>, StreamError> {
    let header = header::read(from)?;
    if header.shape.is_empty() {
        return Ok(None);
    }
    Array::behind(path, header, from).map(Some)
}

/// Reads those of these arrays into memory that are not there yet.
pub(super) fn load<'a>(
    path: &Path,
    arrays: impl Iterator<Item = &'a Named>,
) -> Result<(), DataError> {
    let arrays: Vec<&Named> = arrays.filter(|named| !named.array.stretch().is_loaded()).collect();
    if arrays.is_empty() {
        return Ok(());
    }
    let source = ByteSource::open(path).map_err(|cause| unreadable(path, cause))?;
    each(path, &source, Some(&arrays[..]), |at, _, entry| {
        let Named { name, array, .. } = arrays[at];
        let loaded = array.stretch().load_from(&mut entry.stream());
        loaded.map_err(|error| of(path, name, error))
    })
}

/// Where the bytes of each of these arrays are: in the file, or, of those that are compressed, in a file without a name into
/// which they are unpacked. Every checksum is looked at.
pub(super) fn locate(path: &Path, arrays: &[Named]) -> Result<Vec<Located>, DataError> {
    let unreadable = |cause| unreadable(path, cause);
    let source = Arc::new(ByteSource::open(path).map_err(unreadable)?);
    let mut unpacked = Spill::new().map_err(unreadable)?;
    let mut places: Vec<(bool, u64)> = vec![(false, 0); arrays.len()];
    let wanted: Vec<&Named> = arrays.iter().collect();
    each(path, &source, Some(&wanted[..]), |at, _, entry| {
        let Named { name, array, .. } = &arrays[at];
        places[at] = match entry.plain_start {
            Some(start) => (true, start),
            None => (false, unpacked.len()),
        };
        let (wanted, mut found, mut buffer) = (array.stretch().end(), 0_u64, Vec::new());
        loop {
            buffer.clear();
            // One byte more, so that the end is met and the checksum seen.
            let step = wanted.saturating_add(1) - found;
            let step = step.min(COPIED_LEN as u64);
            let read = (&mut *entry.from).take(step).read_to_end(&mut buffer);
            read.map_err(|cause| of(path, name, StreamError::Io(cause)))?;
            found += buffer.len() as u64;
            if buffer.is_empty() || found > wanted {
                break;
            }
            if entry.plain_start.is_none() {
                unpacked.write(&buffer).map_err(unreadable)?;
            }
        }
        array.stretch().has_length(found).map_err(|error| of(path, name, error))
    })?;
    let unpacked = Arc::new(unpacked.source());
    let located = arrays.iter().zip(places).map(|(named, (is_plain, start))| {
        let source = if is_plain { &source } else { &unpacked };
        named.array.stretch().located(path, source, start)
    });
    Ok(located.collect())
}

/// Shows the entries of an archive with their names and their places among those shown: all, or those of `known` arrays.
fn each(
    path: &Path,
    source: &ByteSource,
    known: Option<&[&Named]>,
    mut see: impl FnMut(usize, &str, &mut Entry<'_>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let seen = panics::guard(|| {
        let mut archive = ZipArchive::new(BufReader::new(Cursor::new(source, 0)))
            .map_err(|error| unreadable_zip(path, error))?;
        let entries: Vec<usize> = match known {
            Some(known) => known.iter().map(|named| named.entry).collect(),
            None => (0..archive.len()).collect(),
        };
        for (at, place) in entries.into_iter().enumerate() {
            let mut entry = archive.by_index(place).map_err(|error| unreadable_zip(path, error))?;
            let name = entry.name().map_err(|error| unreadable_zip(path, error))?.into_owned();
            let is_it = |named: &&Named| name.strip_suffix(ENDING) == Some(&named.name[..]);
            if known.is_some_and(|known| !known.get(at).is_some_and(is_it)) {
                let problem = "the file changed while it was read; try again";
                return Err(DataError::table(path, problem));
            }
            let packed_len = entry.compressed_size();
            let plain_start =
                entry.data_start().filter(|_| entry.compression() == CompressionMethod::Stored);
            see(at, &name, &mut Entry { from: &mut entry, packed_len, plain_start })?;
        }
        Ok(())
    });
    seen.unwrap_or_else(|_| Err(damaged(path, "it contradicts itself")))
}

/// What is wrong with an array.
fn of(path: &Path, name: &str, error: StreamError) -> DataError {
    let name = quote(name.as_bytes());
    match error {
        StreamError::Problem(problem) => DataError::table(path, format!("array {name}: {problem}")),
        StreamError::Io(cause) if cause.raw_os_error().is_none() => {
            damaged(path, &format!("array {name}: {cause}"))
        }
        error => error.of(path),
    }
}

fn unreadable_zip(path: &Path, error: ZipError) -> DataError {
    match error {
        ZipError::Io(cause) if cause.raw_os_error().is_some() => unreadable(path, cause),
        ZipError::InvalidPassword => {
            DataError::table(path, "it is encrypted, wanted a plain NPZ file; save it again")
        }
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            let problem = format!(
                "found a zip file that numpy does not write ({error}); save it again with numpy.savez_compressed"
            );
            DataError::table(path, problem)
        }
        error => damaged(path, &error.to_string()),
    }
}

fn damaged(path: &Path, cause: &str) -> DataError {
    let problem =
        format!("its zip data are damaged or cut short ({cause}); save or fetch it again");
    DataError::table(path, problem)
}
