//! Files that are there whole or not at all: temporary file, fsync, rename, fsync of the folder.
//!
//! Knows nothing of what is in them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::failpoints::in_file;

/// The extension of a file that is being written.
pub(crate) const PARTIAL: &str = "partial";

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// If it cannot be written; nothing of it is left then, except where only the folder could not be synced.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    try_write_whole(path, bytes).map_err(|error| Error::file(path, "write it", &error))
}

/// The same of a file that nobody but its owner may read, whoever may read the one that it takes the place of.
///
/// # Errors
/// As [`write_whole`].
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(path, bytes, Readers::Owner).map_err(|error| Error::file(path, "write it", &error))
}

/// The same as [`write_whole`], for those who can do something about it.
///
/// # Errors
/// As [`write_whole`], with what the system said.
pub(crate) fn try_write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, bytes, Readers::All)
}

/// Who may read a file that is made.
#[derive(Clone, Copy)]
enum Readers {
    /// Whoever the system lets.
    All,
    Owner,
}

fn write_as(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let temporary = path.with_extension(PARTIAL);
    write_through(path, &temporary, bytes, readers).inspect_err(|_| {
        // A part of a file must not take up what little room there may be; it fails where there is none.
        let _ = fs::remove_file(&temporary);
    })
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if let Readers::Owner = readers {
        use std::os::unix::fs::OpenOptionsExt as _;
        // One that was left there may be everybody's to read.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => options.create_new(true).mode(0o600),
        };
    }
    options.open(path)
}

fn write_through(
    path: &Path,
    temporary: &PathBuf,
    bytes: &[u8],
    readers: Readers,
) -> io::Result<()> {
    in_file(path, "create")?;
    let mut file = create(temporary, readers)?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    in_file(path, "half")?;
    file.write_all(second)?;
    in_file(path, "written")?;
    file.sync_all()?;
    in_file(path, "synced")?;
    fs::rename(temporary, path)?;
    in_file(path, "renamed")?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all()?,
        _ => File::open(".")?.sync_all()?,
    }
    in_file(path, "done")
}
