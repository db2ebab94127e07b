//! Which file or files a table is read from, and in which format: a file, the parts in a folder or of a pattern, two
//! files of features and targets, or none, where its columns are in memory. Reads no table.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::packing::Unpacked;
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::in_memory;
use crate::readers;
use crate::readers::format::{FilePlace, Format, Pair, Request};
use crate::readers::open_table::OpenTable;
use crate::readers::part_files;
use crate::readers::parts::Parts;
use crate::values::Values;

/// Bytes that tell a format.
const START_LEN: u64 = 8;

/// One table: a file, a folder or a pattern of parts, or a file of the features and one of the targets, or columns in
/// memory. Paths are resolved by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    choice: Choice,
    path: PathBuf,
    targets: Option<PathBuf>,
    /// A table that is in no file: as a CSV file would have it.
    memory: Option<Arc<[u8]>>,
}

/// What says a file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Its name; CSV where that says none.
    Name,
    /// Its name or its beginning; CSV where neither says one.
    NameOrBeginning,
    /// CSV, from what this process is given to read.
    StandardInput,
    Told(&'static Format),
}

impl TableFile {
    /// A table in the format that its name says: CSV where it says none.
    pub fn at(path: PathBuf) -> TableFile {
        TableFile { choice: Choice::Name, path, targets: None, memory: None }
    }

    /// The same table in the format of this name, whatever its files are called. A table in two files is of a format
    /// already.
    ///
    /// # Errors
    /// Found and wanted, if no format is named so.
    pub fn in_format(self, name: &str) -> Result<TableFile, String> {
        let is_it = |format: &&&Format| format.name.to_ascii_lowercase() == name;
        let Some(format) = readers::FORMATS.iter().find(is_it) else {
            let names: Vec<String> =
                readers::FORMATS.iter().map(|format| format.name.to_ascii_lowercase()).collect();
            return Err(format!("found {name:?}, wanted one of {}", names.join(", ")));
        };
        let choice = if self.targets.is_some() { self.choice } else { Choice::Told(format) };
        Ok(TableFile { choice, ..self })
    }

    /// The name of the format that was told.
    pub fn format(&self) -> Option<String> {
        match self.choice {
            Choice::Told(format) if self.targets.is_none() => {
                Some(format.name.to_ascii_lowercase())
            }
            _ => None,
        }
    }

    /// What a job calls the two files of a table, for each format that has such: that of the features, that of the targets.
    pub fn pairs() -> impl Iterator<Item = [&'static str; 2]> {
        readers::FORMATS.iter().filter_map(|format| Some(format.pair.as_ref()?.keys))
    }

    /// A table in two files; `None` if no format has these keys.
    pub fn pair(keys: [&str; 2], features: PathBuf, targets: PathBuf) -> Option<TableFile> {
        let has = |format: &&&Format| format.pair.as_ref().is_some_and(|pair| pair.keys == keys);
        let format = readers::FORMATS.iter().find(has)?;
        let (path, targets) = (features, Some(targets));
        Some(TableFile { choice: Choice::Told(format), path, targets, memory: None })
    }

    /// A table to use a model on: in the format that its name or its beginning says; in two files if `targets` are given.
    /// `-` is a CSV file on standard input.
    pub fn guess(path: PathBuf, targets: Option<PathBuf>) -> TableFile {
        if path == Path::new("-") && targets.is_none() {
            let (choice, path) = (Choice::StandardInput, PathBuf::from("standard input"));
            return TableFile { choice, path, targets, memory: None };
        }
        let choice = Choice::NameOrBeginning;
        let Some(targets) = targets else {
            return TableFile { choice, path, targets: None, memory: None };
        };
        let has_pair = |format: &&'static Format| format.pair.is_some();
        let format = readers::by_name(&path).or_else(|| by_beginning(&path)).filter(has_pair);
        let format = format.or_else(|| readers::FORMATS.into_iter().find(has_pair));
        let choice = format.map_or(choice, Choice::Told);
        TableFile { choice, path, targets: Some(targets), memory: None }
    }

    /// A table of these columns, each with its name, that is in memory. Their cells are read as those of a CSV file are.
    ///
    /// # Errors
    /// If there are none, or some have more rows than others.
    pub fn in_memory(columns: &[(String, Values)]) -> Result<TableFile, String> {
        let memory = Some(in_memory::as_csv(columns)?.into_bytes().into());
        Ok(TableFile { memory, ..TableFile::at(PathBuf::from("table in memory")) })
    }

    /// The file, the folder or the pattern, or the file of the features.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file, with the key that a job has for it where there are two.
    pub fn files(&self) -> Vec<(Option<&'static str>, &Path)> {
        match (&self.targets, self.own_targets()) {
            (Some(targets), Some(Pair { keys: [features_key, targets_key], .. })) => {
                vec![(Some(features_key), &self.path), (Some(targets_key), targets)]
            }
            _ => vec![(None, &self.path)],
        }
    }

    /// The files that are read for it, as far as they can be told: every part, or the one or two files.
    pub fn inputs(&self) -> Vec<PathBuf> {
        if self.memory.is_some() {
            return Vec::new();
        }
        if self.choice == Choice::StandardInput {
            return vec![PathBuf::from("/dev/stdin")];
        }
        match part_files::paths(&self.path) {
            Ok(Some(parts)) if self.targets.is_none() => parts,
            _ => std::iter::once(&self.path).chain(&self.targets).cloned().collect(),
        }
    }

    /// Whether a new file of this name would be one more part.
    pub fn would_read(&self, path: &Path) -> bool {
        self.targets.is_none()
            && self.memory.is_none()
            && self.choice != Choice::StandardInput
            && part_files::would_read(&self.path, path)
    }

    /// What `data.target` is where a job leaves it out, if it may: all that the targets' file holds.
    pub fn default_target(&self) -> Option<&'static str> {
        self.own_targets().map(|pair| pair.target)
    }

    /// How the targets are named if they are in a file of their own.
    pub(crate) fn own_targets(&self) -> Option<&'static Pair> {
        match self.choice {
            Choice::Told(format) if self.targets.is_some() => format.pair.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn open(&self, dialect: &Dialect) -> Result<Arc<dyn OpenTable>, DataError> {
        if let Some(memory) = &self.memory {
            let dialect = in_memory::dialect(dialect);
            let place = FilePlace::Memory(memory);
            return (readers::FORMATS[0].open)(&Request { place, ..request(&self.path, &dialect) });
        }
        let is_one = self.targets.is_some() || self.choice == Choice::StandardInput;
        let parts = if is_one { None } else { part_files::paths(&self.path)? };
        let Some(paths) = parts else {
            return (self.choice.of(&self.path).open)(&Request {
                place: match self.choice {
                    Choice::StandardInput => FilePlace::StandardInput,
                    _ => FilePlace::Path,
                },
                targets: self.targets.as_deref(),
                ..request(&self.path, dialect)
            });
        };
        let mut formats = paths.iter().map(|path| self.choice.of(path));
        let format = formats.next().unwrap_or(readers::FORMATS[0]);
        if let Some((path, other)) =
            paths[1..].iter().zip(formats).find(|(_, other)| *other != format)
        {
            let problem = format!(
                "found {} beside {}, wanted one format in all parts of a table; name the parts with a pattern, or say \
                 `data.format`",
                other.name, format.name
            );
            return Err(DataError::table(path, problem));
        }
        let dialect = dialect.clone();
        let open = Box::new(move |path: &Path| (format.open)(&request(path, &dialect)));
        Ok(Arc::new(Parts::open(&self.path, paths, open)?))
    }
}

impl Choice {
    /// The format of a file.
    fn of(self, path: &Path) -> &'static Format {
        let format = match self {
            Choice::Told(format) => Some(format),
            Choice::StandardInput => None,
            Choice::Name => readers::by_name(path),
            Choice::NameOrBeginning => readers::by_name(path).or_else(|| by_beginning(path)),
        };
        format.unwrap_or(readers::FORMATS[0])
    }
}

/// What is asked of a format for one file.
fn request<'a>(path: &'a Path, dialect: &'a Dialect) -> Request<'a> {
    let recognize = readers::recognize;
    Request { path, place: FilePlace::Path, targets: None, dialect, recognize }
}

/// The format that a file's beginning says.
fn by_beginning(path: &Path) -> Option<&'static Format> {
    // A file that cannot be read is told when it is opened. Nothing is taken from what can be read only once.
    if !path.is_file() {
        return None;
    }
    let mut start = Vec::new();
    let file = File::open(path).and_then(Unpacked::new).ok()?;
    file.take(START_LEN).read_to_end(&mut start).ok()?;
    readers::by_beginning(&start)
}
