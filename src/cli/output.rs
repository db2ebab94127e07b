//! Files that the user named for results: never over what they were made from, and over another file only if told to.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use lockstep_data::{Sink, TableFile};
use lockstep_run::error::{Error, Result};
use tempfile::NamedTempFile;

/// Whether the output may be written, found out before anything is computed.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn check(
    run: &Path,
    data: Option<&TableFile>,
    output: &Path,
    force: bool,
) -> Result<()> {
    let refused = |problem: &str| {
        Err(Error::File { path: output.to_path_buf(), problem: problem.to_string() })
    };
    let folder = fs::canonicalize(folder_of(output));
    let folder = folder.map_err(|error| Error::file(output, "write it", &error))?;
    if fs::canonicalize(run).is_ok_and(|run| folder.starts_with(run)) {
        return refused("it lies in the run folder, which only its run writes: name another place");
    }
    let there = fs::metadata(output).ok();
    let is_read = |there: &Metadata| data.is_some_and(|data| is_input(data, there));
    if there.as_ref().is_some_and(is_read) {
        return refused("it is the table that is read: name another file");
    }
    if data.is_some_and(|data| data.would_read(output)) {
        return refused(
            "it would be one more part of the table that is read, the next time: name another folder",
        );
    }
    let Some(there) = there else { return Ok(()) };
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

/// Whether a folder, which may not be there yet, lies outside of the run folder.
///
/// # Errors
/// If it lies in it.
pub(super) fn check_folder(run: &Path, folder: &Path) -> Result<()> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let there = absolute.ancestors().find_map(|above| fs::canonicalize(above).ok());
    match (there, fs::canonicalize(run)) {
        (Some(there), Ok(run)) if there.starts_with(&run) => Err(Error::File {
            path: folder.to_path_buf(),
            problem: "it lies in the run folder, which only its run writes: name another place"
                .to_string(),
        }),
        _ => Ok(()),
    }
}

/// The same of standard output, which may have been led to a file.
///
/// # Errors
/// If that is the table.
pub(super) fn check_standard_output(data: &TableFile) -> Result<()> {
    let there = fs::metadata("/dev/stdout").ok().filter(Metadata::is_file);
    if !there.is_some_and(|there| is_input(data, &there)) {
        return Ok(());
    }
    let problem = "it is the table that is read: name another file".to_owned();
    Err(Error::File { path: "standard output".into(), problem })
}

/// Whether a file is one that is read.
fn is_input(data: &TableFile, there: &Metadata) -> bool {
    let is_it = |input: PathBuf| fs::metadata(input).is_ok_and(|input| is_same(there, &input));
    data.inputs().into_iter().any(is_it)
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
    let (pending, mut sink) = Pending::begin(output)?;
    sink.write_all(bytes).map_err(|error| Error::file(output, "write it", &error))?;
    drop(sink);
    pending.replace(force)
}

/// A file that is written beside its place, under a name that nobody else has, and moved there when it is whole. What is
/// dropped before leaves nothing.
pub(super) struct Pending {
    output: PathBuf,
    /// `None` for a pipe or a device, which is written to and not replaced.
    file: Option<NamedTempFile>,
}

impl Pending {
    /// Begins what [`check`] let pass.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn begin(output: &Path) -> Result<(Pending, Sink)> {
        let begun = Pending::new(output);
        begun.map_err(|error| Error::file(output, "write it", &error))
    }

    fn new(output: &Path) -> io::Result<(Pending, Sink)> {
        let name = output.to_path_buf();
        if fs::metadata(output).is_ok_and(|there| !there.is_file()) {
            let stream = File::options().write(true).open(output)?;
            return Ok((Pending { output: name, file: None }, Sink::Stream(Box::new(stream))));
        }
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // What any new file gets, less the user's mask.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.prefix(".predictions-").tempfile_in(folder_of(output))?;
        let sink = Sink::File(file.as_file().try_clone()?);
        Ok((Pending { output: name, file: Some(file) }, sink))
    }

    /// The unfinished file, which is to be removed if this process ends early.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(NamedTempFile::path)
    }

    /// Moves the whole file to its place.
    ///
    /// # Errors
    /// If that cannot be done, or a file is there by now and `force` is not given. An older file stays as it was then.
    pub(super) fn replace(self, force: bool) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let synced = file.as_file().sync_all();
        let moved = synced.and_then(|()| {
            match force {
                true => file.persist(&self.output),
                // Also if it was made by somebody else meanwhile.
                false => file.persist_noclobber(&self.output),
            }
            .map_err(|error| error.error)
        });
        match moved {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(there_already(&self.output))
            }
            Err(error) => Err(Error::file(&self.output, "write it", &error)),
        }
    }
}
