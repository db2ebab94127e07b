//! The end of a file of lines: appending to it, and cutting it to whole lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::failpoints::in_file;

/// Bytes of a file that are looked at together for its last line.
const LOOK_BYTES: u64 = 1 << 16;

/// The whole lines that a file has: how many bytes, and, if somebody will ask, which.
#[derive(Clone)]
pub(crate) struct Written {
    bytes: u64,
    hasher: Option<blake3::Hasher>,
}

impl Written {
    /// Nothing yet; the lines are hashed as they are written.
    pub(crate) fn hashed() -> Written {
        Written { bytes: 0, hasher: Some(blake3::Hasher::new()) }
    }

    /// Nothing yet; only the bytes are counted.
    pub(crate) fn counted() -> Written {
        Written { bytes: 0, hasher: None }
    }

    /// Length of the lines.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// BLAKE3 hash of the lines, in hexadecimal, if they are hashed.
    pub(crate) fn blake3(&self) -> Option<String> {
        self.hasher.as_ref().map(|hasher| hasher.finalize().to_hex().to_string())
    }

    fn add(&mut self, lines: &[u8]) {
        self.bytes += lines.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(lines);
        }
    }
}

/// The end of a file.
pub(super) struct Tail {
    path: PathBuf,
    file: File,
    written: Written,
}

impl Tail {
    /// Of a file whose next byte goes behind what is `written`.
    pub(super) fn new(path: &Path, file: File, written: Written) -> Tail {
        Tail { path: path.to_path_buf(), file, written }
    }

    pub(super) fn written(&self) -> &Written {
        &self.written
    }

    /// Appends whole lines; if that fails, how many bytes of whole lines are there, and why.
    pub(super) fn append(&mut self, lines: &[u8]) -> std::result::Result<(), (usize, io::Error)> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut written = 0;
        let mut write = || {
            in_file(&self.path, "line")?;
            while written < lines.len() {
                match self.file.write(&lines[written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(bytes) => written += bytes,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let result = write();
        let whole = lines[..written].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.written.add(&lines[..whole]);
        result.map_err(|error| {
            // What was begun is written over; if it cannot be cut off, whoever reads it leaves out a torn line.
            let _ = self.file.set_len(self.written.bytes());
            let _ = self.file.seek(SeekFrom::Start(self.written.bytes()));
            (whole, error)
        })
    }
}

/// Opens a file of lines to be written on; it is made if it is not there.
///
/// # Errors
/// If it cannot be opened, or is a device, a pipe or a folder: to read such a thing may never end.
pub(crate) fn open(path: &Path) -> Result<File> {
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
    {
        let problem = "it is no ordinary file: remove it".to_string();
        return Err(Error::File { path: path.to_path_buf(), problem });
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| Error::file(path, "write it", &error))
}

/// Cuts a file to its first `bytes`, or where it is shorter to its whole lines. What it has then, counted on from `nothing`.
pub(crate) fn cut(file: &mut File, bytes: u64, nothing: Written) -> io::Result<Written> {
    let length = file.metadata()?.len();
    let kept = if length < bytes { whole_lines(file, length)? } else { bytes };
    file.set_len(kept)?;
    let mut written = nothing;
    match &mut written.hasher {
        Some(hasher) => {
            file.seek(SeekFrom::Start(0))?;
            hasher.update_reader(&mut *file)?;
        }
        None => _ = file.seek(SeekFrom::Start(kept))?,
    }
    written.bytes = kept;
    Ok(written)
}

/// The length of the whole lines in the first `length` bytes of a file.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let (mut end, mut block) = (length, Vec::new());
    while end > 0 {
        let start = end.saturating_sub(LOOK_BYTES);
        block.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_to_its_whole_lines_wherever_the_last_begins() {
        let mut file = tempfile::tempfile().unwrap();
        let long = "x".repeat(3 * LOOK_BYTES as usize);
        for (text, bytes, wanted) in [
            ("one\ntwo\nthree".to_string(), 8, 8),
            ("one\ntwo\nthree".to_string(), 99, 8),
            ("one".to_string(), 99, 0),
            (String::new(), 5, 0),
            (format!("one\n{long}"), u64::MAX, 4),
            (format!("one\n{long}\n{long}"), u64::MAX, 4 + 3 * LOOK_BYTES + 1),
        ] {
            file.set_len(0).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let written = cut(&mut file, bytes, Written::hashed()).unwrap();
            assert_eq!(written.bytes(), wanted);
            let kept = &text.as_bytes()[..wanted as usize];
            assert_eq!(written.blake3(), Some(blake3::hash(kept).to_hex().to_string()));
            assert_eq!(file.metadata().unwrap().len(), wanted);
            assert_eq!(file.stream_position().unwrap(), wanted);
            let counted = cut(&mut file, bytes, Written::counted()).unwrap();
            assert_eq!((counted.bytes(), counted.blake3()), (wanted, None));
            assert_eq!(file.stream_position().unwrap(), wanted);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_file_is_not_read() {
        let error = open(Path::new("/dev/full")).unwrap_err().to_string();
        assert!(error.contains("/dev/full: it is no ordinary file"), "{error}");
    }
}
