//! Which file or files a table is read from, and in which format. Reads no table.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::dialect::Dialect;
use crate::error::DataError;
use crate::readers;
use crate::readers::format::{Format, Pair, Request};
use crate::readers::open_table::OpenTable;

/// Bytes that tell a format.
const START_LEN: u64 = 8;

/// One table on disk: a file, or one of the features and one of the targets. Paths are resolved by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    format: &'static Format,
    path: PathBuf,
    targets: Option<PathBuf>,
}

impl TableFile {
    /// A table in one file, in the format that its name says: CSV where it says none.
    pub fn at(path: PathBuf) -> TableFile {
        let format = readers::by_name(&path).unwrap_or(readers::FORMATS[0]);
        TableFile { format, path, targets: None }
    }

    /// What a job calls the two files of a table, for each format that has such: that of the features, that of the targets.
    pub fn pairs() -> impl Iterator<Item = [&'static str; 2]> {
        readers::FORMATS.iter().filter_map(|format| Some(format.pair.as_ref()?.keys))
    }

    /// A table in two files; `None` if no format has these keys.
    pub fn pair(keys: [&str; 2], features: PathBuf, targets: PathBuf) -> Option<TableFile> {
        let has = |format: &&&Format| format.pair.as_ref().is_some_and(|pair| pair.keys == keys);
        let format = readers::FORMATS.iter().find(has)?;
        Some(TableFile { format, path: features, targets: Some(targets) })
    }

    /// A table to use a model on: in the format that its name or its beginning says; in two files if `targets` are given.
    pub fn guess(path: PathBuf, targets: Option<PathBuf>) -> TableFile {
        let start = || {
            let mut start = Vec::new();
            // A file that cannot be read is told when it is opened.
            let read =
                File::open(&path).and_then(|file| file.take(START_LEN).read_to_end(&mut start));
            read.map(|_| start).unwrap_or_default()
        };
        let format = readers::by_name(&path).or_else(|| readers::by_beginning(&start()));
        let has_pair = |format: &&&Format| format.pair.is_some();
        let format = match &targets {
            None => format,
            Some(_) => format
                .filter(|format| format.pair.is_some())
                .or_else(|| readers::FORMATS.iter().find(has_pair).copied()),
        };
        TableFile { format: format.unwrap_or(readers::FORMATS[0]), path, targets }
    }

    /// The file, or that of the features.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file, with the key that a job has for it where there are two.
    pub fn files(&self) -> Vec<(Option<&'static str>, &Path)> {
        let keys = self.format.pair.as_ref().map(|pair| pair.keys);
        match (&self.targets, keys) {
            (Some(targets), Some([features_key, targets_key])) => {
                vec![(Some(features_key), &self.path), (Some(targets_key), targets)]
            }
            _ => vec![(None, &self.path)],
        }
    }

    /// What `data.target` is where a job leaves it out, if it may: all that the targets' file holds.
    pub fn default_target(&self) -> Option<&'static str> {
        self.own_targets().map(|pair| pair.target)
    }

    /// How the targets are named if they are in a file of their own.
    pub(crate) fn own_targets(&self) -> Option<&'static Pair> {
        self.format.pair.as_ref().filter(|_| self.targets.is_some())
    }

    pub(crate) fn open(&self, dialect: &Dialect) -> Result<Box<dyn OpenTable>, DataError> {
        (self.format.open)(&Request {
            path: &self.path,
            targets: self.targets.as_deref(),
            dialect,
            recognize: readers::recognize,
        })
    }
}
