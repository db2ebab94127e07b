//! The bytes of a file, read by position from any thread. A regular file stays where it is and is read again each time;
//! what can be read only once, such as a pipe, is kept in memory, up to a limit. Knows no format.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// Most bytes of what has to be kept in memory.
const KEPT_LEN_MAX: u64 = 4 << 30;

/// An open file.
#[derive(Debug)]
pub(crate) enum Source {
    File(Handle, u64),
    Memory(Vec<u8>),
}

impl Source {
    /// # Errors
    /// What the system says.
    pub(crate) fn open(path: &Path) -> io::Result<Source> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        // Files that the system makes up as they are read say that they are empty.
        if metadata.is_file() && metadata.len() > 0 {
            return Ok(Source::File(Handle::new(file), metadata.len()));
        }
        keep(&mut file, KEPT_LEN_MAX).map(Source::Memory)
    }

    /// The file's length when it was opened.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Source::File(_, len) => *len,
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Reads these bytes in order. It is an error if the file no longer has them.
    pub(crate) fn span(&self, bytes: Range<u64>) -> Span<'_> {
        Span { source: self, bytes }
    }

    /// Some of the bytes from `at` on.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Source::File(file, _) => file.read_at(buffer, at),
            Source::Memory(bytes) => {
                let mut rest = bytes.get(at as usize..).unwrap_or_default();
                rest.read(buffer)
            }
        }
    }
}

/// All that comes, if it ends soon enough.
fn keep(from: &mut impl Read, len_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        let problem = format!(
            "more than {len_max} bytes come from what is not a regular file: write them to one, which is not kept in \
             memory"
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// A reader of a range of a file.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    source: &'a Source,
    bytes: Range<u64>,
}

impl Read for Span<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.end.saturating_sub(self.bytes.start);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let found = loop {
            match self.source.read_at(&mut buffer[..wanted], self.bytes.start) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                found => break found?,
            }
        };
        if found == 0 {
            let problem = "it became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        self.bytes.start += found as u64;
        Ok(found)
    }
}

/// A file that is read by position.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Handle(File);

#[cfg(unix)]
impl Handle {
    fn new(file: File) -> Handle {
        Handle(file)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, at)
    }
}

/// A file that is read by position; the lock keeps others from moving the place between seeking and reading.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Handle(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl Handle {
    fn new(file: File) -> Handle {
        Handle(std::sync::Mutex::new(file))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        use std::io::Seek as _;
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(io::SeekFrom::Start(at))?;
        file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(source: &Source, bytes: Range<u64>) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        source.span(bytes).read_to_end(&mut found).map(|_| found)
    }

    #[test]
    fn a_range_is_read_alike_from_file_and_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"0123456789").unwrap();
        for source in [Source::open(file.path()).unwrap(), Source::Memory(b"0123456789".to_vec())] {
            assert_eq!(source.len(), 10);
            assert_eq!(read(&source, 3..7).unwrap(), b"3456");
            assert_eq!(read(&source, 0..10).unwrap(), b"0123456789");
            assert_eq!(read(&source, 10..10).unwrap(), b"");
            let error = read(&source, 8..11).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        assert_eq!(keep(&mut &b"0123"[..], 4).unwrap(), b"0123");
        let error = keep(&mut io::repeat(b'x'), 4).unwrap_err().to_string();
        assert!(error.starts_with("more than 4 bytes come from"), "{error}");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"0123456789").unwrap();
        let source = Source::open(file.path()).unwrap();
        fs::write(file.path(), b"0123").unwrap();
        let error = read(&source, 2..source.len()).unwrap_err();
        assert_eq!(error.to_string(), "it became shorter while it was read");
    }
}
