//! The bytes of a file, read by position from any thread. A regular file stays where it is and is read again each time.
//! What is compressed is unpacked once, into a file of its own in the system's folder for temporary files, and only as far
//! as it is asked for: memory stays bounded, and a file that is refused at its beginning is not unpacked to its end. What
//! can be read only once, such as a pipe, is kept in memory if it is short, and else in such a file, too. Knows no format.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::packing::Unpacked;

/// Most bytes of a pipe that are kept in memory.
const KEPT_LEN_MAX: u64 = 16 << 20;

/// Bytes unpacked at once.
const UNPACKED_LEN: usize = 1 << 18;

/// An open file.
#[derive(Debug)]
pub(crate) enum ByteSource {
    File(Handle, u64),
    Memory(Arc<[u8]>),
    Packed(Packed),
}

impl ByteSource {
    /// # Errors
    /// What the system says.
    pub(crate) fn open(path: &Path) -> io::Result<ByteSource> {
        ByteSource::of_file(File::open(path)?)
    }

    /// What this process is given to read.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn standard_input() -> io::Result<ByteSource> {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd as _;
            let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let is_at_start = file.stream_position().is_ok_and(|at| at == 0);
            if is_at_start {
                return ByteSource::of_file(file);
            }
            ByteSource::of_stream(Unpacked::new(file)?, KEPT_LEN_MAX)
        }
        #[cfg(not(unix))]
        ByteSource::of_stream(Unpacked::new(io::stdin())?, KEPT_LEN_MAX)
    }

    fn of_file(file: File) -> io::Result<ByteSource> {
        let metadata = file.metadata()?;
        // Files that the system makes up as they are read say that they are empty.
        let is_regular = metadata.is_file() && metadata.len() > 0;
        let by_position = Handle::new(file.try_clone()?);
        let unpacked = Unpacked::new(file)?;
        if is_regular && !unpacked.is_packed() {
            return Ok(ByteSource::File(by_position, metadata.len()));
        }
        ByteSource::of_stream(unpacked, KEPT_LEN_MAX)
    }

    /// What can be read only once, or is compressed.
    fn of_stream(mut unpacked: Unpacked, kept_len_max: u64) -> io::Result<ByteSource> {
        if unpacked.is_packed() {
            return Packed::new(unpacked).map(ByteSource::Packed);
        }
        let mut start = Vec::new();
        (&mut unpacked).take(kept_len_max + 1).read_to_end(&mut start)?;
        if start.len() as u64 <= kept_len_max {
            return Ok(ByteSource::Memory(start.into()));
        }
        Packed::new(unpacked.behind(start)).map(ByteSource::Packed)
    }

    /// The file's length when it was opened; of a compressed one, that of what it holds.
    ///
    /// # Errors
    /// If a compressed file cannot be unpacked to its end.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            ByteSource::File(_, len) => Ok(*len),
            ByteSource::Memory(bytes) => Ok(bytes.len() as u64),
            ByteSource::Packed(packed) => packed.fill(u64::MAX),
        }
    }

    /// What no position is beyond; more than the length where a compressed file has not been read to its end.
    pub(crate) fn end(&self) -> u64 {
        match self {
            ByteSource::File(_, len) => *len,
            ByteSource::Memory(bytes) => bytes.len() as u64,
            ByteSource::Packed(packed) => packed.end(),
        }
    }

    /// Reads these bytes in order. It is an error if the file no longer has them.
    pub(crate) fn span(&self, bytes: Range<u64>) -> ByteRange<'_> {
        ByteRange { source: self, bytes }
    }

    /// Some of the bytes from `at` on.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            ByteSource::File(file, _) => file.read_at(buffer, at),
            ByteSource::Memory(bytes) => {
                let mut rest = bytes.get(at as usize..).unwrap_or_default();
                rest.read(buffer)
            }
            ByteSource::Packed(packed) => {
                packed.fill(at.saturating_add(buffer.len() as u64))?;
                packed.unpacked.read_at(buffer, at)
            }
        }
    }
}

/// A compressed file, as far as it has been unpacked; or a long pipe, as far as it has been read.
#[derive(Debug)]
pub(crate) struct Packed {
    /// What has been unpacked: a file without a name, gone when it is closed.
    unpacked: Handle,
    rest: Mutex<Rest>,
}

/// What is still to be unpacked.
#[derive(Debug)]
struct Rest {
    /// `None` at the end.
    from: Option<Unpacked>,
    to: File,
    /// Bytes unpacked so far.
    len: u64,
}

impl Packed {
    fn new(from: Unpacked) -> io::Result<Packed> {
        let to = tempfile::tempfile()?;
        let unpacked = Handle::new(to.try_clone()?);
        Ok(Packed { unpacked, rest: Mutex::new(Rest { from: Some(from), to, len: 0 }) })
    }

    /// Unpacks so many bytes of the file, or all; returns how many there are now.
    fn fill(&self, wanted: u64) -> io::Result<u64> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = Vec::new();
        while rest.len < wanted {
            let Some(from) = &mut rest.from else { break };
            buffer.clear();
            from.take(UNPACKED_LEN as u64).read_to_end(&mut buffer)?;
            if buffer.is_empty() {
                rest.from = None;
            }
            // Where it is full, the message has to say which folder is meant.
            rest.to.write_all(&buffer).map_err(no_room)?;
            rest.len += buffer.len() as u64;
        }
        Ok(rest.len)
    }

    fn end(&self) -> u64 {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.from.is_some() { u64::MAX } else { rest.len }
    }
}

/// What the system says, and which folder it means.
fn no_room(cause: io::Error) -> io::Error {
    let problem = format!(
        "there is no room for it in {} ({cause}); unpack it yourself, or set TMPDIR to a folder with more room",
        std::env::temp_dir().display()
    );
    io::Error::new(cause.kind(), problem)
}

/// Several things that are unpacked, one behind the other, in a file without a name.
#[derive(Debug)]
pub(crate) struct Spill {
    to: File,
    len: u64,
}

impl Spill {
    /// # Errors
    /// What the system says.
    pub(crate) fn new() -> io::Result<Spill> {
        Ok(Spill { to: tempfile::tempfile()?, len: 0 })
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes).map_err(no_room)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// All of them, to be read by position.
    pub(crate) fn source(self) -> ByteSource {
        ByteSource::File(Handle::new(self.to), self.len)
    }
}

/// A reader of a range of a file.
#[derive(Debug)]
pub(crate) struct ByteRange<'a> {
    source: &'a ByteSource,
    bytes: Range<u64>,
}

impl Read for ByteRange<'_> {
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
            if let ByteSource::Packed(packed) = self.source
                && self.bytes.start >= packed.end()
            {
                // Where it ends was not known before.
                return Ok(0);
            }
            let problem = "it became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        self.bytes.start += found as u64;
        Ok(found)
    }
}

/// A reader of a file from a position on, that can be moved to any other.
#[derive(Debug)]
pub(crate) struct Cursor<S> {
    source: S,
    at: u64,
}

impl<S: Deref<Target = ByteSource>> Cursor<S> {
    pub(crate) fn new(source: S, at: u64) -> Cursor<S> {
        Cursor { source, at }
    }
}

impl<S: Deref<Target = ByteSource>> Read for Cursor<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.source.span(self.at..self.source.end()).read(buffer)?;
        self.at += found as u64;
        Ok(found)
    }
}

impl<S: Deref<Target = ByteSource>> Seek for Cursor<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.source.len()?.checked_add_signed(by),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning");
        self.at = at.ok_or_else(before)?;
        Ok(self.at)
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
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(source: &ByteSource, bytes: Range<u64>) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        source.span(bytes).read_to_end(&mut found).map(|_| found)
    }

    #[test]
    fn a_range_is_read_alike_from_file_and_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"0123456789").unwrap();
        for source in
            [ByteSource::open(file.path()).unwrap(), ByteSource::Memory(b"0123456789"[..].into())]
        {
            assert_eq!(source.len().unwrap(), 10);
            assert_eq!(source.end(), 10);
            assert_eq!(read(&source, 3..7).unwrap(), b"3456");
            assert_eq!(read(&source, 0..10).unwrap(), b"0123456789");
            assert_eq!(read(&source, 10..10).unwrap(), b"");
            let error = read(&source, 8..11).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn what_is_packed_is_unpacked_as_far_as_it_is_asked_for() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = zstd::encode_all(&text[..], 1).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &whole).unwrap();
        let source = ByteSource::open(file.path()).unwrap();
        assert_eq!(source.end(), u64::MAX);
        assert_eq!(read(&source, 500_000..500_100).unwrap(), &text[500_000..500_100]);
        assert_eq!(source.end(), u64::MAX);
        assert_eq!(read(&source, 0..u64::MAX).unwrap(), text);
        assert_eq!(source.len().unwrap(), text.len() as u64);
        assert_eq!(read(&source, 7..9).unwrap(), &text[7..9]);
        // The end is damaged, and only who reads it is told.
        fs::write(file.path(), &whole[..whole.len() - 100]).unwrap();
        let source = ByteSource::open(file.path()).unwrap();
        assert_eq!(read(&source, 0..100).unwrap(), &text[..100]);
        assert!(source.len().unwrap_err().to_string().starts_with("its zstd data"));
    }

    #[test]
    fn a_long_pipe_is_kept_in_a_file() {
        for (kept_len_max, is_kept) in [(10, true), (9, false), (3, false)] {
            let unpacked = Unpacked::new(&b"0123456789"[..]).unwrap();
            let source = ByteSource::of_stream(unpacked, kept_len_max).unwrap();
            assert_eq!(matches!(source, ByteSource::Memory(_)), is_kept);
            assert_eq!(source.len().unwrap(), 10);
            assert_eq!(read(&source, 0..10).unwrap(), b"0123456789");
            assert_eq!(read(&source, 3..7).unwrap(), b"3456");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"0123456789").unwrap();
        let source = ByteSource::open(file.path()).unwrap();
        fs::write(file.path(), b"0123").unwrap();
        let error = read(&source, 2..source.end()).unwrap_err();
        assert_eq!(error.to_string(), "it became shorter while it was read");
    }
}
