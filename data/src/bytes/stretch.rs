//! The bytes behind a header, so many as it says: in memory once all are needed, or where they are, some at a time. Knows no
//! format.

use std::cmp::Ordering;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::packing::unreadable;
use super::source::ByteSource;
use super::stream::{self, Stream, StreamError, cut_short, goes_on};
use crate::error::DataError;

/// So many bytes behind a header.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Bytes before it, in the file or the part of a file that it is in.
    start: u64,
    len: u64,
    /// What the header says of them, for messages.
    said: String,
    memory: OnceLock<Vec<u8>>,
}

/// What has to be there by the time that cells are asked for.
const NOT_LOADED: &str = "the bytes of a table are read before its cells are";

impl Stretch {
    /// What is behind a header that has been read. It stays where it is, unless it cannot be read again.
    ///
    /// # Errors
    /// If it is seen already that the file has more bytes than these.
    pub(crate) fn behind(
        from: &mut Stream<'_>,
        (len, said): (u64, String),
    ) -> Result<Stretch, StreamError> {
        from.ends_after(len, &said)?;
        let stretch = Stretch { start: from.at(), len, said, memory: OnceLock::new() };
        if !from.can_be_read_again() {
            let _ = stretch.memory.set(from.rest(len, &stretch.said)?);
        }
        Ok(stretch)
    }

    /// Bytes that are in memory and nowhere else.
    pub(crate) fn of(bytes: Vec<u8>) -> Stretch {
        let len = bytes.len() as u64;
        Stretch { start: 0, len, said: String::new(), memory: OnceLock::from(bytes) }
    }

    /// The bytes.
    ///
    /// # Panics
    /// If they are not in memory.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get().expect(NOT_LOADED)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.memory.get().is_some()
    }

    /// Bytes before it, and its own.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether a file or a part of one that has so many bytes, header and all, has it and no more.
    ///
    /// # Errors
    /// If it has fewer or more.
    pub(crate) fn has_length(&self, found: u64) -> Result<(), StreamError> {
        match found.cmp(&self.end()) {
            Ordering::Less => Err(cut_short(&self.said, found.saturating_sub(self.start))),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(goes_on(&self.said)),
        }
    }

    /// Reads all of it from a file, unless that is done.
    ///
    /// # Errors
    /// If the file does not have exactly these bytes.
    pub(crate) fn load(&self, path: &Path) -> Result<(), DataError> {
        match self.is_loaded() {
            true => Ok(()),
            false => stream::read(path, |from| self.load_from(from)),
        }
    }

    /// Reads all of it, from the first byte of the header on.
    pub(crate) fn load_from(&self, from: &mut Stream<'_>) -> Result<(), StreamError> {
        let header = from.up_to(self.start as usize)?;
        if (header.len() as u64) < self.start {
            return Err(cut_short(&self.said, 0));
        }
        let _ = self.memory.set(from.rest(self.len, &self.said)?);
        Ok(())
    }

    /// The same bytes where they are in a file.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn locate(&self, path: &Path) -> Result<Located, DataError> {
        if let Some(bytes) = self.memory.get() {
            // What came through a pipe does not come again.
            let source = Arc::new(ByteSource::Memory(bytes[..].into()));
            return Ok(Located { start: 0, ..self.located(path, &source, 0) });
        }
        let source = ByteSource::open(path).map_err(|cause| unreadable(path, cause))?;
        let located = self.located(path, &Arc::new(source), 0);
        Ok(Located { is_last: true, ..located })
    }

    /// The same bytes where they are in a part of a file that begins at `start`.
    pub(crate) fn located(&self, path: &Path, source: &Arc<ByteSource>, start: u64) -> Located {
        let (path, source) = (path.to_owned(), Arc::clone(source));
        let (start, said) = (start + self.start, self.said.clone());
        Located { path, source, start, len: self.len, said, is_last: false }
    }
}

/// A stretch that is read by position, from any thread.
#[derive(Debug)]
pub(crate) struct Located {
    path: PathBuf,
    source: Arc<ByteSource>,
    start: u64,
    len: u64,
    said: String,
    /// Whether the file has to end behind it.
    is_last: bool,
}

impl Located {
    /// Adds some of the bytes.
    ///
    /// # Errors
    /// If the file does not have them.
    pub(crate) fn read(&self, range: Range<usize>, to: &mut Vec<u8>) -> Result<(), DataError> {
        let at = |place: usize| self.start.saturating_add(place as u64);
        let (start, end) = (at(range.start), at(range.end));
        let unreadable = |cause| unreadable(&self.path, cause);
        let found = self.source.span(start..end).read_to_end(to).map_err(unreadable)? as u64;
        if found < end - start {
            let there = (start + found).saturating_sub(self.start);
            return Err(cut_short(&self.said, there).of(&self.path));
        }
        // Who reads the last byte also sees the checksum of what was packed.
        let is_end = self.is_last && end == self.start.saturating_add(self.len);
        if is_end && self.source.len().map_err(unreadable)? > end {
            return Err(goes_on(&self.said).of(&self.path));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T>(found: Result<T, DataError>) -> String {
        found.err().map_or("no error".to_owned(), |error| error.to_string())
    }

    #[test]
    fn the_same_bytes_are_read_whole_and_by_position() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |bytes: &[u8]| std::fs::write(file.path(), bytes).unwrap();
        for is_packed in [false, true] {
            let pack = |bytes: &[u8]| match is_packed {
                true => zstd::encode_all(bytes, 1).unwrap(),
                false => bytes.to_vec(),
            };
            write(&pack(b"head0123456789"));
            let open = || {
                stream::read(file.path(), |from| {
                    from.up_to(4)?;
                    Stretch::behind(from, (10, "ten".to_owned()))
                })
            };
            let stretch = open().unwrap();
            assert!(!stretch.is_loaded());
            let located = stretch.locate(file.path()).unwrap();
            let mut found = Vec::new();
            located.read(3..5, &mut found).unwrap();
            located.read(8..10, &mut found).unwrap();
            assert_eq!(found, b"3489");
            stretch.load(file.path()).unwrap();
            assert_eq!(stretch.bytes(), b"0123456789");
            // One byte too many, and three too few.
            write(&pack(b"head0123456789x"));
            let wanted = "the header says ten, but the file goes on after that";
            match is_packed {
                false => assert!(problem(open()).contains(wanted)),
                true => {
                    let stretch = open().unwrap();
                    assert!(problem(stretch.load(file.path())).contains(wanted));
                    let located = stretch.locate(file.path()).unwrap();
                    located.read(0..9, &mut found).unwrap();
                    assert!(problem(located.read(9..10, &mut found)).contains(wanted));
                }
            }
            if is_packed {
                write(&pack(b"head0123456"));
                let stretch = open().unwrap();
                let wanted = "the header says ten, but there are only 7 bytes for that: the file is cut short";
                assert!(problem(stretch.load(file.path())).contains(wanted));
                let located = stretch.locate(file.path()).unwrap();
                assert!(problem(located.read(5..9, &mut found)).contains(wanted));
            }
        }
    }
}
