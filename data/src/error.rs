//! What can be wrong with a table, said with its place. Every `Display` is a whole message: place, what was found,
//! what was wanted, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use lockstep_proto::words::count;

/// A table that cannot be used, or settings that do not fit it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file could not be read.
    #[error("cannot read {}: {}", path.display(), without_code(cause))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said. Part of the message, so not a `source`.
        cause: io::Error,
    },
    /// A setting that no table could satisfy.
    #[error("{key}: {problem}")]
    Spec {
        /// The setting's name in the job file.
        key: &'static str,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// What is said of a column that it cannot be told.
    #[error("{}: {problem}", column_key(name))]
    Column {
        /// The column's name.
        name: String,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// A file that does not fit as a whole: its header, its columns, its classes.
    #[error("{}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// A row that does not fit the header.
    #[error("{}:{line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line on which the row begins, from 1.
        line: u64,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// A cell that cannot be used.
    #[error("{}:{line}: column {column} ({name}): {problem}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line on which the row begins, from 1.
        line: u64,
        /// Column of the file, from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// A cell that cannot be used, of a file without lines.
    #[error("{}: {place}: {problem}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 0 as the format's users do.
        place: String,
        /// Found, wanted, what to do.
        problem: String,
    },
    /// A kept schema that contradicts itself.
    #[error("the model's schema is damaged: {0}; export the model again")]
    Schema(String),
}

impl DataError {
    pub(crate) fn table(path: &Path, problem: impl Into<String>) -> DataError {
        DataError::Table { path: path.to_owned(), problem: problem.into() }
    }
}

/// That a table lacks a column which a key of the job names; `columns` are those that may have been meant.
pub(crate) fn no_column<S: AsRef<str>>(
    path: &Path,
    name: &str,
    key: &str,
    columns: &[S],
) -> DataError {
    let (near, name) = (suggest(name, columns), quote(name.as_bytes()));
    DataError::table(path, format!("found no column {name}, wanted by `{key}`; {near}"))
}

/// Longest cell that a message quotes whole, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// Most names that a message lists.
const LISTED_MAX: usize = 8;

/// A cell for a message: quoted, escaped and short.
pub(crate) fn quote(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell);
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The key of a job that says what is done to a column, its name quoted where TOML wants that.
pub(crate) fn column_key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => format!("data.columns.{name}"),
        false => format!("data.columns.{name:?}"),
    }
}

/// Names for a message: all of a short list, both ends of a long one.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted = |names: &[S]| {
        names.iter().map(|name| quote(name.as_ref().as_bytes())).collect::<Vec<_>>().join(", ")
    };
    match names {
        [] => "none".to_owned(),
        [head @ .., last] if names.len() > LISTED_MAX => {
            format!("{}, … {}", quoted(&head[..LISTED_MAX - 1]), quote(last.as_ref().as_bytes()))
        }
        _ => quoted(names),
    }
}

/// "the nearest is ..." where a candidate is like `name`, the list of candidates otherwise.
pub(crate) fn suggest<S: AsRef<str>>(name: &str, candidates: &[S]) -> String {
    let folded = name.to_lowercase();
    let nearest = candidates
        .iter()
        .map(|candidate| {
            let candidate = candidate.as_ref();
            let likeness =
                strsim::normalized_damerau_levenshtein(&folded, &candidate.to_lowercase());
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.4)
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    match nearest {
        Some((_, nearest)) => format!("the nearest is {}", quote(nearest.as_bytes())),
        None => format!("the file has {}", list(candidates)),
    }
}

fn without_code(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_quote_briefly() {
        assert_eq!(quote(b"a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quote("é".repeat(50).as_bytes()), format!("\"{}\"…", "é".repeat(40)));
        assert_eq!(list(&["a", "b"]), r#""a", "b""#);
        let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        assert_eq!(list(&many), r#""0", "1", "2", "3", "4", "5", "6", … "19""#);
    }

    #[test]
    fn keys_of_columns_are_quoted_as_toml_wants() {
        assert_eq!(column_key("net_price-2"), "data.columns.net_price-2");
        assert_eq!(column_key("net price"), "data.columns.\"net price\"");
        assert_eq!(column_key(""), "data.columns.\"\"");
    }

    #[test]
    fn suggestions_ignore_case_and_give_up_on_strangers() {
        assert_eq!(suggest("MEDV", &["age", "medv"]), r#"the nearest is "medv""#);
        assert_eq!(suggest("mdev", &["age", "medv"]), r#"the nearest is "medv""#);
        assert_eq!(suggest("price", &["x", "y"]), r#"the file has "x", "y""#);
    }
}
