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

/// The same, for those who can do something about it.
///
/// # Errors
/// As [`write_whole`], with what the system said.
pub(crate) fn try_write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(PARTIAL);
    write_through(path, &temporary, bytes).inspect_err(|_| {
        // A part of a file must not take up what little room there may be; it fails where there is none.
        let _ = fs::remove_file(&temporary);
    })
}

fn write_through(path: &Path, temporary: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    in_file(path, "create")?;
    let mut file = File::create(temporary)?;
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
