//! A folder for the files of the input at hand, in memory where the system has such, gone when the process ends.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = folder();
}

fn folder() -> TempDir {
    let builder = || tempfile::Builder::new().prefix("lockstep-fuzz-").to_owned();
    builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir()).expect("a writable folder")
}

/// Where a file of this name is.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes a file, in place of the one that an earlier input had there.
pub(crate) fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a writable folder");
    }
    fs::write(&path, bytes).expect("a writable folder");
    path
}

/// The folder, as a run's.
pub(crate) fn run() -> PathBuf {
    path("")
}

/// A message without the path of the file that it is about.
pub(crate) fn without(path: &Path, message: &str) -> String {
    message.replace(&path.display().to_string(), "FILE")
}
