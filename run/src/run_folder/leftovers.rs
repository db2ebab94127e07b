//! What may be in a folder that is to be made a run folder: nothing, or what this program left when it was killed before
//! the run had begun. And taking it away again when a run is stopped before its first step.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::identity::FILES;
use super::shown;
use crate::error::{Error, Result};

/// That a folder may be made a run folder; with `resume`, one that was being made may be made again.
pub(super) fn check_free(path: &Path, resume: bool) -> Result<()> {
    let names = entries(path);
    let problem = match names.iter().find(|name| !(resume && is_ours(path, &names, name))) {
        None => return Ok(()),
        Some(found) if resume => format!(
            "the run folder exists and is not empty, and it is no run to go on with ({found}, but no \
             manifest.json): remove it, or choose another with --out"
        ),
        Some(_) => {
            "the run folder exists and is not empty: remove it, or choose another with --out".into()
        }
    };
    Err(Error::File { path: path.to_path_buf(), problem })
}

/// Whether it is one of what is made before a run has a manifest, in the order in which it is made.
fn is_ours(folder: &Path, names: &[String], name: &str) -> bool {
    match name {
        "model" => entries(&folder.join(name)).is_empty(),
        "lock" => true,
        // Without a lock it is somebody's own job.
        "job.toml" | "job.partial" | "manifest.partial" => names.iter().any(|name| name == "lock"),
        _ => false,
    }
}

/// Removes what a run has that has made no step, and `with_folder` the folder itself. In such an order that what is left
/// where that is interrupted can be gone on with.
pub(super) fn remove(path: &Path, with_folder: bool) -> Result<()> {
    let files = ["metrics.jsonl", "journal.jsonl", "manifest.json", "job.toml"];
    let without = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let failed = |at: &Path, error| Error::file(at, "remove it", &error);
    let remove = |name: &str, remove: fn(&Path) -> std::io::Result<()>| {
        let at = path.join(name);
        without(remove(&at)).map_err(|error| failed(&at, error))
    };
    // Only empty ones: nothing of anybody's is lost.
    remove("checkpoints", |at| fs::remove_dir(at))?;
    for name in files.into_iter().chain(FILES).chain(shown::FILES) {
        remove(name, |at| fs::remove_file(at))?;
    }
    remove("model", |at| fs::remove_dir(at))?;
    remove("lock", |at| fs::remove_file(at))?;
    match with_folder {
        true => without(fs::remove_dir(path)).map_err(|error| failed(path, error)),
        false => Ok(()),
    }
}

/// The names in a folder; none, if it is none.
fn entries(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten();
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Some(entry.ok()?.file_name().to_string_lossy().into_owned())
    };
    entries.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused among these names; those that end in `/` are folders.
    fn refused(names: &[&str], resume: bool) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => fs::create_dir_all(folder.path().join(name)).unwrap(),
                None => fs::write(folder.path().join(name), "").unwrap(),
            }
        }
        check_free(folder.path(), resume).err().map(|error| error.to_string())
    }

    #[test]
    fn only_our_own_is_written_over_and_only_on_request() {
        let left = ["model/", "lock", "job.toml", "manifest.partial"];
        for count in 0..=left.len() {
            assert_eq!(refused(&left[..count], true), None, "{count}");
            assert_eq!(refused(&left[..count], false).is_some(), count > 0, "{count}");
        }
        for (foreign, named) in [
            (&["job.toml"][..], "job.toml"),
            (&["model/", "model/weights.safetensors"], "model"),
            (&["lock", "notes.txt"], "notes.txt"),
            (&["lock", "train.partial"], "train.partial"),
            (&["checkpoints/"], "checkpoints"),
        ] {
            let error = refused(foreign, true).unwrap();
            assert!(error.contains(&format!("({named}, but no manifest.json)")), "{error}");
        }
    }
}
