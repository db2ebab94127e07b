//! One process at a time writes a run folder.
//!
//! The folder itself is locked: no other can take its place unnoticed, and it cannot be deleted while there is something in
//! it. The file `lock` in it is locked as well, for file systems that lock no folders (NFS), and says to people who has it.
//! Whether both are still what was locked is looked at before every file that counts is written.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Longest holder that is shown.
const HOLDER_BYTES_MAX: u64 = 300;

/// A run folder that is this process's; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    run: PathBuf,
    folder: File,
    file: File,
    /// Whether the folder could be locked.
    is_whole: bool,
}

impl Lock {
    /// Takes a folder for this process.
    ///
    /// # Errors
    /// If another has it, or it cannot be locked.
    pub(super) fn take(run: &Path) -> Result<Lock> {
        let failed = |error: io::Error| Error::file(run, "lock it", &error);
        let folder = File::open(run).map_err(failed)?;
        let is_whole = match folder.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(in_use(run)),
            // This file system locks no folders.
            Err(TryLockError::Error(_)) => false,
        };
        let path = run.join("lock");
        let mut file = open(&path).map_err(|error| Error::file(&path, "open the lock", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(run)),
            Err(TryLockError::Error(error)) => return Err(Error::file(&path, "lock it", &error)),
        }
        let holder = format!("process {} on host {}\n", std::process::id(), crate::host_name());
        let write = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        write.map_err(|error| Error::file(&path, "write the lock", &error))?;
        let lock = Lock { run: run.to_path_buf(), folder, file, is_whole };
        // Another may have replaced it between the two.
        lock.check()?;
        Ok(lock)
    }

    /// That nobody else can have come to hold what this process writes.
    ///
    /// # Errors
    /// If the folder was moved away or replaced, or, where only that can be locked, the file in it.
    pub(super) fn check(&self) -> Result<()> {
        let moved = !is_same(&self.folder, &self.run);
        if moved || !self.is_whole && !is_same(&self.file, &self.run.join("lock")) {
            let what = if moved { "it" } else { "its lock" };
            let problem = format!(
                "{what} was moved, removed or replaced while this process writes there: another may be doing so as well; \
                 stop both, put it back and continue with --resume"
            );
            return Err(Error::File { path: self.run.clone(), problem });
        }
        Ok(())
    }
}

/// Whether what was opened is what stands at a path.
fn is_same(opened: &File, path: &Path) -> bool {
    let place = |found: Metadata| (found.dev(), found.ino());
    match (opened.metadata(), std::fs::metadata(path)) {
        (Ok(opened), Ok(there)) => place(opened) == place(there),
        _ => false,
    }
}

/// Opens the lock, which is made if it is not there: an ordinary file.
fn open(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no ordinary file: remove it")),
    }
}

/// Which process leads a run, if the folder says so and that process is there, as far as this machine can tell. Nothing is
/// locked: it is for people.
pub fn led_by(run: &Path) -> Option<String> {
    let mut holder = String::new();
    let (file, _) = crate::read_file::open(&run.join("lock")).ok()?;
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder).ok()?;
    let (process, host) = holder.trim().strip_prefix("process ")?.split_once(" on host ")?;
    let process: i32 = process.parse().ok()?;
    let is_there = || {
        let found = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None);
        !matches!(found, Err(nix::errno::Errno::ESRCH))
    };
    (host != crate::host_name() || is_there()).then(|| holder.trim().to_string())
}

/// That another process has it; who, if it says so.
fn in_use(run: &Path) -> Error {
    let mut holder = Vec::new();
    // What the holder wrote is for people only.
    if let Ok(file) = open(&run.join("lock")) {
        let _ = file.take(HOLDER_BYTES_MAX).read_to_end(&mut holder);
    }
    let holder = String::from_utf8_lossy(&holder);
    let holder = match holder.trim() {
        "" => "another process",
        holder => holder,
    };
    let problem = format!("the run folder is in use by {holder}: stop that first");
    Error::File { path: run.to_path_buf(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_that_is_deleted_still_holds() {
        let run = tempfile::tempdir().unwrap();
        let held = Lock::take(run.path()).unwrap();
        let refused = || Lock::take(run.path()).unwrap_err().to_string();
        let by = format!("in use by process {} on host ", std::process::id());
        assert!(refused().contains(&by), "{}", refused());
        fs::remove_file(run.path().join("lock")).unwrap();
        assert!(refused().contains("in use by another process"), "{}", refused());
        held.check().unwrap();
        drop(held);
        Lock::take(run.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let (run, moved) = (parent.path().join("run"), parent.path().join("moved"));
        fs::create_dir(&run).unwrap();
        let held = Lock::take(&run).unwrap();
        fs::rename(&run, &moved).unwrap();
        let gone = held.check().unwrap_err().to_string();
        assert!(gone.contains("it was moved, removed or replaced"), "{gone}");
        fs::create_dir(&run).unwrap();
        held.check().unwrap_err();
        let other = Lock::take(&run).unwrap();
        other.check().unwrap();
        let file_only = Lock { is_whole: false, ..other };
        fs::remove_file(run.join("lock")).unwrap();
        let gone = file_only.check().unwrap_err().to_string();
        assert!(gone.contains("its lock was moved"), "{gone}");
    }

    #[test]
    fn only_an_ordinary_file_is_a_lock() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("lock");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        Lock::take(run.path()).unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        Lock::take(run.path()).unwrap_err();
    }
}
