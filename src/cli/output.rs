//! Files that the user named for results: never over what they were made from, and over another file only if told to.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use lockstep_data::TableFile;
use lockstep_run::error::{Error, Result};
use tempfile::NamedTempFile;

/// Whether the output may be written, found out before anything is computed.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn check(run: &Path, data: &TableFile, output: &Path, force: bool) -> Result<()> {
    let refused = |problem: &str| {
        Err(Error::File { path: output.to_path_buf(), problem: problem.to_string() })
    };
    let folder = fs::canonicalize(folder_of(output));
    let folder = folder.map_err(|error| Error::file(output, "write it", &error))?;
    if fs::canonicalize(run).is_ok_and(|run| folder.starts_with(run)) {
        return refused("it lies in the run folder, which only its run writes: name another place");
    }
    let Ok(there) = fs::metadata(output) else { return Ok(()) };
    let is_it = |input: PathBuf| fs::metadata(input).is_ok_and(|input| is_same(&there, &input));
    if data.inputs().into_iter().any(is_it) {
        return refused("it is the table that is read: name another file");
    }
    if there.is_file() && has(run, &there) {
        return refused("it is a file of the run folder, under another name: name another file");
    }
    if there.is_dir() {
        return refused("it is a folder: name a file");
    }
    if there.is_file() && !force {
        return Err(there_already(output));
    }
    Ok(())
}

fn there_already(output: &Path) -> Error {
    let problem = "it is there already: name another file, or replace it with --force".to_string();
    Error::File { path: output.to_path_buf(), problem }
}

/// Whether a file is one of those below a folder.
fn has(folder: &Path, file: &Metadata) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.metadata() {
        Ok(there) if there.is_dir() => has(&entry.path(), file),
        Ok(there) => is_same(&there, file),
        Err(_) => false,
    })
}

/// Whether two names are of one file.
#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A file that would be replaced is not known to be the input: it takes `--force` at least.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    false
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Writes what [`check`] let pass.
///
/// # Errors
/// If it cannot be written, or is there by now and `force` is not given. An older file stays as it was then.
pub(super) fn write(output: &Path, bytes: &[u8], force: bool) -> Result<()> {
    write_whole(output, bytes, force).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => there_already(output),
        _ => Error::file(output, "write it", &error),
    })
}

/// Writes a file whole, beside its place under a name that nobody else has, then moves it there.
fn write_whole(output: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    if fs::metadata(output).is_ok_and(|there| !there.is_file()) {
        // A pipe or a device is written to, not replaced.
        return fs::write(output, bytes);
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What any new file gets, less the user's mask.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file: NamedTempFile = builder.prefix(".predictions-").tempfile_in(folder_of(output))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match force {
        true => file.persist(output),
        // Also if it was made by somebody else meanwhile.
        false => file.persist_noclobber(output),
    }
    .map_err(|error| error.error)?;
    Ok(())
}
