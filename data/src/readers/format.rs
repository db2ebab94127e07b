//! What a file format says of itself: what its files are called, how they begin, and how a table in it is opened. Knows no
//! format by name.

use std::path::Path;
use std::sync::Arc;

use super::open_table::OpenTable;
use crate::bytes::packing::unpacked_name;
use crate::dialect::Dialect;
use crate::error::DataError;

/// A file format. There is one of each; two are the same if their names are.
#[derive(Debug)]
pub(crate) struct Format {
    /// As people call it.
    pub(crate) name: &'static str,
    /// How names of its files end, in lower case and without the ending of a packing; none where a name tells nothing.
    pub(crate) endings: &'static [&'static str],
    /// How its files begin; none where that tells nothing.
    pub(crate) beginnings: &'static [Beginning],
    /// Where features and targets may be two files.
    pub(crate) pair: Option<Pair>,
    /// Opens a table.
    pub(crate) open: fn(&Request<'_>) -> Result<Arc<dyn OpenTable>, DataError>,
}

/// How a file may begin that some format knows.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) bytes: &'static [u8],
    /// What such a file is.
    pub(crate) found: &'static str,
    /// What to do if it was taken for a file of another format.
    pub(crate) advice: &'static str,
    /// Whether a file that begins so is read in this format where a job does not say which it is.
    pub(crate) is_read: bool,
}

/// A table of two files.
#[derive(Debug)]
pub(crate) struct Pair {
    /// A job's keys of the two: the file of the features and the one of the targets.
    pub(crate) keys: [&'static str; 2],
    /// What `data.target` is where a job leaves it out: stands for every column of the targets' file.
    pub(crate) target: &'static str,
    /// What is wrong with a target of this name, if anything is.
    pub(crate) target_problem: fn(&str) -> Option<String>,
}

/// Where the bytes of a file are. If they are not at its path, that is for messages alone.
#[derive(Clone, Copy)]
pub(crate) enum FilePlace<'a> {
    Path,
    /// What this process is given to read.
    StandardInput,
    Memory(&'a Arc<[u8]>),
}

/// What to open.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The file, or that of the features.
    pub(crate) path: &'a Path,
    /// Where its bytes are.
    pub(crate) place: FilePlace<'a>,
    /// The file of the targets, where it is another.
    pub(crate) targets: Option<&'a Path>,
    /// How texts are written.
    pub(crate) dialect: &'a Dialect,
    /// Tells a file of any format by how it begins.
    pub(crate) recognize: fn(&[u8]) -> Option<&'static Beginning>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl Format {
    pub(crate) fn has_ending(&self, path: &Path) -> bool {
        let path = unpacked_name(path);
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
        name.is_some_and(|name| self.endings.iter().any(|ending| name.ends_with(ending)))
    }
}
