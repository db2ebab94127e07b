//! Which files a table in several files is made of: those of a folder, or all that a pattern fits, in the byte order of
//! their names. Opens none of them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{DataError, quote};

/// The files of a table, in order; `None` if the path is that of a file, or of nothing.
pub(crate) fn paths(path: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => in_folder(path)?,
        Ok(_) => return Ok(None),
        Err(_) => match pattern(path) {
            Some(pattern) => matching(path, &pattern)?,
            None => return Ok(None),
        },
    };
    Ok(Some(found))
}

/// Whether a file of this name in a folder, or one that a pattern fits, would be a part, if it were there.
pub(crate) fn would_read(path: &Path, file: &Path) -> bool {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let (Ok(folder), Some(name)) = (fs::canonicalize(folder), file.file_name()) else {
        return false;
    };
    if is_left_out(file) {
        return false;
    }
    if path.is_dir() {
        return fs::canonicalize(path).is_ok_and(|parts| parts == folder);
    }
    let (there, rest) = there(path);
    let there = if there == Path::new("") { Path::new(".").to_owned() } else { there };
    let Ok(there) = fs::canonicalize(there) else { return false };
    let text = there.to_str().map(glob::Pattern::escape);
    let whole = text.map(|there| Path::new(&there).join(rest));
    let pattern = whole.and_then(|whole| glob::Pattern::new(whole.to_str()?).ok());
    let is_it = |pattern: glob::Pattern| pattern.matches_path_with(&folder.join(name), MATCHING);
    pattern.is_some_and(is_it)
}

/// How names are compared with a pattern.
const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Names that are no part: hidden files, and what other programs leave beside parts, such as `_SUCCESS`.
fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") || name.starts_with(b"_")
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |cause| DataError::Read { path: folder.to_owned(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_left_out(&path) {
            continue;
        }
        if path.is_dir() {
            let problem = format!(
                "found the folder {} in it, wanted files alone; name the files of all folders with a pattern, such as \
                 `*/*.csv`",
                quote(path.file_name().unwrap_or_default().as_encoded_bytes())
            );
            return Err(DataError::table(folder, problem));
        }
        found.push(path);
    }
    if found.is_empty() {
        let problem = "found no file in this folder, wanted the parts of a table";
        return Err(DataError::table(folder, problem));
    }
    sort(&mut found);
    Ok(found)
}

fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| {
        let bytes = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_vec();
        bytes(a).cmp(&bytes(b))
    });
}

/// A path as a pattern, if it has a character of one. What is there as it is written, is no pattern.
fn pattern(path: &Path) -> Option<String> {
    let is_pattern = |part: &OsStr| {
        let bytes = part.as_encoded_bytes();
        bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
    };
    let (there, rest) = there(path);
    if !is_pattern(rest.as_os_str()) {
        return None;
    }
    let there = glob::Pattern::escape(there.to_str()?);
    Some(Path::new(&there).join(rest).to_str()?.to_owned())
}

/// As much of a path as is there, and the rest.
fn there(path: &Path) -> (PathBuf, PathBuf) {
    let mut there = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next_if(|part| there.join(part).exists()) {
        there.push(part);
    }
    (there, parts.collect())
}

fn matching(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let paths = glob::glob_with(pattern, MATCHING)
        .map_err(|error| DataError::table(path, format!("not a pattern of file names: {error}")))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            DataError::Read { path, cause: error.error().kind().into() }
        })?;
        if !is_left_out(&path) && !path.is_dir() {
            found.push(path);
        }
    }
    if found.is_empty() {
        let problem = "found no file of this pattern, wanted at least one; write the path from the job file's folder on";
        return Err(DataError::table(path, problem));
    }
    sort(&mut found);
    Ok(found)
}
