//! One table in several files of one format. Their rows are the table's, one part after another, in the order in which
//! [`part_files`](super::part_files) names them. Columns are taken by name. Knows no format.
//!
//! No more files are open at a time than are being read: a part whose table keeps its file open is opened again when it is
//! needed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::cell::{Look, Names};
use super::names::NamedColumns;
use super::open_table::{Batches, Contents, Load, OpenTable, ROWS_MAX, Stored, Wanted};
use crate::block::{Block, MISSING_LABEL};
use crate::error::{DataError, list};
use crate::selection::{Selected, Selection};
use crate::values::ValueKind;

/// Opens a part.
type Open = Box<dyn Fn(&Path) -> Result<Arc<dyn OpenTable>, DataError> + Send + Sync>;

/// A table in several files.
pub(crate) struct Parts {
    /// The folder or the pattern.
    path: PathBuf,
    open: Open,
    parts: Vec<PartFile>,
    columns: Vec<String>,
    named: NamedColumns,
    image_shape: Option<Vec<usize>>,
    /// The table's row that is the first of each part, once all are read.
    firsts: OnceLock<Vec<u32>>,
}

/// One file.
struct PartFile {
    path: PathBuf,
    /// Unless it would keep its file open.
    table: Option<Arc<dyn OpenTable>>,
    /// The part's column for each of the table's.
    columns: Vec<usize>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Parts {
    /// Opens every one of these files, of which there is at least one.
    ///
    /// # Errors
    /// If one cannot be opened, or has other columns than the first.
    pub(crate) fn open(path: &Path, paths: Vec<PathBuf>, open: Open) -> Result<Parts, DataError> {
        let mut columns: Vec<String> = Vec::new();
        let mut image_shape = None;
        let mut parts: Vec<PartFile> = Vec::with_capacity(paths.len());
        for path in paths {
            let table = open(&path)?;
            let first = parts.first().map(|first| first.path.clone());
            let own = match first {
                None => {
                    columns = table.columns().to_vec();
                    image_shape = table.image_shape().map(<[usize]>::to_vec);
                    (0..columns.len()).collect()
                }
                Some(first) => places(&*table, &columns, &first)?,
            };
            let table = Some(table).filter(|table| !table.keeps_file_open());
            parts.push(PartFile { path, table, columns: own });
        }
        let named = NamedColumns::new(columns.iter().enumerate());
        let path = path.to_owned();
        Ok(Parts { path, open, parts, columns, named, image_shape, firsts: OnceLock::new() })
    }

    /// The table of a part, opened again if it is not open.
    fn table(&self, part: &PartFile) -> Result<Arc<dyn OpenTable>, DataError> {
        if let Some(table) = &part.table {
            return Ok(Arc::clone(table));
        }
        let table = (self.open)(&part.path)?;
        if part.columns.iter().any(|&column| column >= table.columns().len()) {
            let problem = "the file changed while it was read; try again";
            return Err(DataError::table(&part.path, problem));
        }
        Ok(table)
    }

    /// The part that a row is in, and the row's place there.
    fn of(&self, row: u32) -> (usize, u32) {
        let firsts = self.firsts.get().map_or(&[0][..], |firsts| firsts);
        let part = firsts.partition_point(|&first| first <= row).saturating_sub(1);
        (part, row - firsts[part])
    }
}

/// Where a part has each of the columns of the first part.
fn places(
    table: &dyn OpenTable,
    columns: &[String],
    first: &Path,
) -> Result<Vec<usize>, DataError> {
    let own = table.columns();
    if own == columns {
        return Ok((0..columns.len()).collect());
    }
    let of = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    let first = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (missing, extra) = (of(columns, own), of(own, columns));
    let differs = match (&missing[..], &extra[..]) {
        ([], []) if own.len() == columns.len() => None,
        ([], []) => Some("a name twice".to_owned()),
        (missing, []) => Some(format!("no column {}", list(missing))),
        ([], extra) => Some(format!("the column {} as well", list(extra))),
        (missing, extra) => Some(format!("no column {}, but {}", list(missing), list(extra))),
    };
    if let Some(differs) = differs {
        let problem = format!(
            "found {differs}, wanted the columns of {first}: all parts of a table have the same"
        );
        return Err(DataError::table(table.path(), problem));
    }
    let place = |name: &String| {
        let place = table.find(name)?;
        place.ok_or_else(|| DataError::table(table.path(), format!("found no column {name:?}")))
    };
    columns.iter().map(place).collect()
}

/// From the label ids of a part to those of the table.
fn rename(labels: &mut [u32], ids: &[u32]) {
    for id in labels.iter_mut().filter(|id| **id != MISSING_LABEL) {
        *id = ids[*id as usize];
    }
}

impl OpenTable for Parts {
    fn path(&self) -> &Path {
        &self.path
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.named.find(name, &self.path, "rename one")
    }

    fn image_shape(&self) -> Option<&[usize]> {
        self.image_shape.as_deref()
    }

    fn lacks_targets(&self, targets: &[String]) -> Option<&'static str> {
        self.parts.first().and_then(|first| first.table.as_ref()?.lacks_targets(targets))
    }

    /// As the first part does that has something in a column: where another differs, that is found when it is read.
    fn look(&self, columns: &[usize]) -> Vec<Look> {
        let guess = || vec![Look::Numbers; columns.len()];
        let mut looks = vec![Look::Nothing; columns.len()];
        for part in &self.parts {
            let own: Vec<usize> = columns.iter().map(|&column| part.columns[column]).collect();
            let found = self.table(part).map(|table| table.look(&own)).unwrap_or_else(|_| guess());
            let open = looks.iter_mut().zip(found).filter(|(look, _)| **look == Look::Nothing);
            open.for_each(|(look, found)| *look = found);
            if !looks.contains(&Look::Nothing) {
                break;
            }
        }
        looks
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        let width = selection.label_width();
        let mut names = vec![Names::default(); width];
        let (mut blocks, mut labels, mut may_miss) = (Vec::new(), vec![Vec::new(); width], false);
        let (mut rows, mut firsts) = (0_usize, Vec::with_capacity(self.parts.len()));
        let mut noted: Vec<usize> = Vec::new();
        for part in &self.parts {
            let selection = selection.with_columns(|column| part.columns[column]);
            let contents = self.table(part)?.read(&selection)?;
            firsts.push(rows as u32);
            let of_table = |own| part.columns.iter().position(|&column| column == own);
            noted.extend(contents.noted.into_iter().filter_map(of_table));
            rows += contents.rows;
            if rows > ROWS_MAX {
                let problem = format!("found more than {ROWS_MAX} rows, wanted at most so many");
                return Err(DataError::table(&self.path, problem));
            }
            let ids: Vec<Vec<u32>> = names
                .iter_mut()
                .zip(&contents.label_names)
                .map(|(names, found)| found.iter().map(|name| names.id(name)).collect())
                .collect();
            match contents.stored {
                Stored::Blocks(mut found) => {
                    for block in &mut found {
                        ids.iter().enumerate().for_each(|(target, ids)| {
                            rename(block.labels_mut(target), ids);
                        });
                    }
                    blocks.append(&mut found);
                }
                Stored::Open { labels: mut found, may_miss: may } => {
                    may_miss |= may;
                    for ((labels, found), ids) in labels.iter_mut().zip(&mut found).zip(&ids) {
                        rename(found, ids);
                        labels.append(found);
                    }
                }
            }
        }
        let stored = match blocks.is_empty() {
            true => Stored::Open { labels, may_miss },
            false => Stored::Blocks(blocks),
        };
        let _ = self.firsts.set(firsts);
        let label_names = names.into_iter().map(|names| names.list).collect();
        noted.sort_unstable();
        noted.dedup();
        Ok(Contents { rows, stored, label_names, noted })
    }

    fn no_rows(&self) -> &'static str {
        "no rows in any of its parts, wanted at least one"
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        // Of what no part can tell, a text can be made.
        let kind = |part: &PartFile| Some(self.table(part).ok()?.kept_kind(part.columns[column]));
        let mut kinds = self.parts.iter().filter_map(kind);
        let first = kinds.next().unwrap_or(ValueKind::Text);
        if kinds.all(|kind| kind == first) { first } else { ValueKind::Text }
    }

    fn has_times(&self, column: usize) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| self.table(part).is_ok_and(|table| table.has_times(part.columns[column])))
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        let kinds = wanted.kept.iter().map(|&column| self.kept_kind(column)).collect();
        Ok(Box::new(InTurn { table: self, wanted, kinds, next: 0, open: None }))
    }

    fn block(&self, rows: &[u32], columns: &[usize]) -> Block {
        let mut numbers = vec![Vec::with_capacity(rows.len()); columns.len()];
        let of_one_part = rows.chunk_by(|&one, &next| self.of(one).0 == self.of(next).0);
        for rows in of_one_part {
            let part = &self.parts[self.of(rows[0]).0];
            let Some(table) = &part.table else { unreachable!("such rows are kept as blocks") };
            let rows: Vec<u32> = rows.iter().map(|&row| self.of(row).1).collect();
            let own: Vec<usize> = columns.iter().map(|&column| part.columns[column]).collect();
            let block = table.block(&rows, &own);
            for (column, numbers) in numbers.iter_mut().enumerate() {
                let cells = block.number(column);
                numbers.extend((0..rows.len()).map(|row| cells.get(row)));
            }
        }
        Block::of_numbers([columns.len(), rows.len()], false, numbers.into_iter().flatten())
    }

    fn row_place(&self, row: u32) -> String {
        let (part, row) = self.of(row);
        let part = &self.parts[part];
        let place = self.table(part).map(|table| table.row_place(row));
        let place = place.unwrap_or_else(|_| format!("in row {row}"));
        format!("{place} of {}", part.path.file_name().unwrap_or_default().to_string_lossy())
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let (part, row) = self.of(row);
        let part = &self.parts[part];
        match self.table(part) {
            Ok(table) => table.cell_error(row, part.columns[column], problem),
            Err(error) => error,
        }
    }
}

/// The batches of one part after another.
struct InTurn {
    table: Arc<Parts>,
    wanted: Arc<Wanted>,
    /// What the kept columns are in all parts.
    kinds: Arc<[ValueKind]>,
    /// The part after the one that is open.
    next: usize,
    open: Option<Box<dyn Batches>>,
}

impl Batches for InTurn {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(load) = open.next()?
            {
                let kinds = Arc::clone(&self.kinds);
                return Ok(Some(Box::new(move || {
                    let mut batch = load()?;
                    let kept = std::mem::take(&mut batch.kept).into_iter().zip(&*kinds);
                    batch.kept = kept.map(|(kept, &kind)| kept.into_kind(kind)).collect();
                    Ok(batch)
                })));
            }
            self.open = None;
            let Some(part) = self.table.parts.get(self.next) else { return Ok(None) };
            self.next += 1;
            let Wanted { selection, kept, rows_max } = &*self.wanted;
            let selection = Arc::new(selection.with_columns(|column| part.columns[column]));
            let kept = kept.iter().map(|&column| part.columns[column]).collect();
            let wanted = Arc::new(Wanted { selection, kept, rows_max: *rows_max });
            self.open = Some(self.table.table(part)?.batches(wanted)?);
        }
    }
}

impl Selection {
    /// The same of a file that has its columns in other places.
    fn with_columns(&self, place: impl Fn(usize) -> usize) -> Selection {
        let moved = |one: &Selected| Selected { column: place(one.column), ..*one };
        Selection {
            features: self.features.iter().map(moved).collect(),
            targets: self.targets.iter().map(moved).collect(),
            weight: self.weight.as_ref().map(moved),
        }
    }
}
