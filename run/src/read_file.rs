//! Files that are read whole: only ordinary files, and only up to a size that the reader names.
//!
//! A folder, a pipe or a device in a file's place is an error at once: to read one may never end. Knows nothing of what
//! is in them.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens an ordinary file to be read; also how long it is.
///
/// # Errors
/// If it cannot be opened, or is something else.
pub(crate) fn open(path: &Path) -> io::Result<(File, u64)> {
    // A pipe nobody writes to would keep whoever opens it waiting.
    let flags = nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found.len())),
        false => Err(io::Error::other(format!("it is {}, not a file", kind(found.file_type())))),
    }
}

/// The bytes of an ordinary file of at most `bytes_max`.
///
/// # Errors
/// If it cannot be read, is something else, or is longer.
pub(crate) fn bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open(path)?;
    if length > bytes_max {
        let problem = format!("it has {length} bytes, wanted at most {bytes_max}");
        return Err(io::Error::other(problem));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // It may grow meanwhile.
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`bytes`], and if it is not UTF-8.
pub(crate) fn text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, bytes_max)?)
        .map_err(|error| io::Error::other(format!("it is not text ({error})")))
}

fn kind(found: FileType) -> &'static str {
    match found {
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a pipe",
        found if found.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_size_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap(), "12345");
        let error = text(&path, 4).unwrap_err().to_string();
        assert_eq!(error, "it has 5 bytes, wanted at most 4");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(text(&path, 4).unwrap_err().to_string().starts_with("it is not text ("));
        assert_eq!(open(folder.path()).unwrap_err().to_string(), "it is a folder, not a file");
        assert_eq!(
            open(Path::new("/dev/zero")).unwrap_err().to_string(),
            "it is a device, not a file"
        );
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(open(&socket).is_err());
    }
}
