//! A table in NPY files: one array of rows, or one of features and one of targets. Says which columns there are; cells are
//! read elsewhere. Scales and splits nothing.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::array::Array;
use super::cells::{self, Cells};
use crate::block::Block;
use crate::bytes::stream::shape;
use crate::bytes::stretch::Located;
use crate::error::{DataError, count, quote};
use crate::readers::cell::Look;
use crate::readers::format::Request;
use crate::readers::names::NamedColumns;
use crate::readers::open_table::{Batches, COLUMNS_MAX, Contents, OpenTable, Wanted};
use crate::readers::windows::{self, Windowed};
use crate::selection::Selection;
use crate::values::{ValueKind, Values};

/// Name of the target where there is one, and what the names of several begin with.
pub(super) const TARGET: &str = "target";

/// One array, or two of as many rows.
#[derive(Debug)]
pub(super) struct Npy {
    features: Array,
    targets: Option<Array>,
    /// Those of the first array: fields by their names, others by their place in a row, `0`, `1` and so on. Then those of
    /// the second: `target`, or `target.0`, `target.1` and so on, or `target.` and a field's name.
    columns: Arc<Vec<String>>,
    named: Arc<NamedColumns>,
    cells: Arc<Cells>,
}

/// The same table where it is in its files.
struct InFiles {
    table: Arc<Npy>,
    features: Located,
    targets: Option<Located>,
}

impl Npy {
    pub(super) fn open(request: &Request<'_>) -> Result<Npy, DataError> {
        let features = Array::open(request.path)?;
        let mut columns = match features.field_names() {
            Some(names) => names.map(str::to_owned).collect(),
            None => (0..features.width()).map(|place| place.to_string()).collect::<Vec<_>>(),
        };
        let targets = match request.targets {
            None => None,
            Some(path) => {
                let targets = Array::open(path)?;
                columns.extend(target_names(&targets, &features)?);
                Some(targets)
            }
        };
        if columns.len() > COLUMNS_MAX {
            let problem = format!("found {} columns, wanted at most {COLUMNS_MAX}", columns.len());
            return Err(DataError::table(request.path, problem));
        }
        let named = Arc::new(NamedColumns::new(columns.iter().enumerate()));
        let cells = Arc::new(Cells::new(request.dialect));
        Ok(Npy { features, targets, columns: Arc::new(columns), named, cells })
    }

    /// Reads both arrays into memory, unless that is done.
    fn load(&self) -> Result<(), DataError> {
        self.features.load()?;
        self.targets.as_ref().map_or(Ok(()), Array::load)
    }

    /// The array that a column is of, and its place there.
    fn of(&self, column: usize) -> (&Array, usize) {
        match &self.targets {
            Some(targets) if column >= self.features.width() => {
                (targets, column - self.features.width())
            }
            _ => (&self.features, column),
        }
    }
}

/// Names of the columns of an array of targets, which has to have a row for each of the features.
fn target_names(targets: &Array, features: &Array) -> Result<Vec<String>, DataError> {
    if targets.rows() != features.rows() {
        let problem = format!(
            "found {}, wanted one for each of the {} in {}; give two files of one set",
            count(targets.rows() as u64, "row"),
            count(features.rows() as u64, "row"),
            features.path().display()
        );
        return Err(DataError::table(targets.path(), problem));
    }
    if let Some(names) = targets.field_names() {
        return Ok(names.map(|name| format!("{TARGET}.{name}")).collect());
    }
    // Also where each is in brackets of its own, [rows, 1].
    if targets.width() == 1 {
        return Ok(vec![TARGET.to_owned()]);
    }
    if targets.row_shape().len() > 1 {
        let found = shape(targets.row_shape());
        let problem = format!(
            "found rows of {found}, wanted one target for each row, or a list of targets; give the file of the targets"
        );
        return Err(DataError::table(targets.path(), problem));
    }
    Ok((0..targets.width()).map(|place| format!("{TARGET}.{place}")).collect())
}

/// Whether a column of this name is of a targets' file.
pub(super) fn is_target(name: &str) -> bool {
    name.strip_prefix(TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl OpenTable for Npy {
    fn path(&self) -> &Path {
        self.features.path()
    }

    fn target_path(&self) -> &Path {
        self.targets.as_ref().map_or(self.path(), Array::path)
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn find(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.named.find(name, self.path(), "rename one")
    }

    fn targets(&self) -> Range<usize> {
        self.features.width()..self.columns.len()
    }

    fn lacks_targets(&self, targets: &[String]) -> Option<&'static str> {
        let is_lacking = |name: &String| is_target(name) && self.named.get(name).is_none();
        (self.targets.is_none() && targets.iter().any(is_lacking)).then_some(
            "found features without targets, wanted their targets too; give the targets' file with `--labels`",
        )
    }

    fn image_shape(&self) -> Option<&[usize]> {
        let shape = self.features.row_shape();
        (shape.len() > 1).then_some(shape)
    }

    fn look(&self, columns: &[usize]) -> Vec<Look> {
        // What is wrong with a file is told when it is read.
        if self.load().is_err() {
            return vec![Look::Numbers; columns.len()];
        }
        let look = |&column: &usize| {
            let (array, column) = self.of(column);
            self.cells.look(array, column)
        };
        columns.iter().map(look).collect()
    }

    fn read(&self, selection: &Selection) -> Result<Contents, DataError> {
        for (array, column) in selection.all().map(|selected| self.of(selected.column)) {
            if let Some(problem) = array.problem(column) {
                let place = array.field_names().and_then(|mut names| names.nth(column));
                let name = quote(place.unwrap_or_default().as_bytes());
                let problem =
                    format!("field {name}: {problem}, or leave it out of `data.features`");
                return Err(DataError::table(array.path(), problem));
            }
        }
        self.load()?;
        let rows = self.features.rows();
        // Whatever is a text was seen by `look`: it is an error here.
        let found = self.cells.read(rows, selection, |column| self.of(column));
        found.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn batches(self: Arc<Self>, wanted: Arc<Wanted>) -> Result<Box<dyn Batches>, DataError> {
        let locate = |array: &Array| array.stretch().locate(array.path());
        let features = locate(&self.features)?;
        let targets = self.targets.as_ref().map(locate).transpose()?;
        Ok(windows::batches(InFiles { table: self, features, targets }, wanted))
    }

    fn kept_kind(&self, column: usize) -> ValueKind {
        let (array, place) = self.of(column);
        array.element(place).kept_kind()
    }

    fn has_times(&self, column: usize) -> bool {
        let (array, place) = self.of(column);
        array.element(place).has_time()
    }

    fn kept(&self, rows: Range<u32>, column: usize) -> Result<Values, DataError> {
        let (array, place) = self.of(column);
        let kept = cells::kept(array, rows, (column, place));
        kept.map_err(|bad| self.cell_error(bad.row, bad.column, bad.problem))
    }

    fn block(&self, rows: &[u32], columns: &[usize]) -> Block {
        self.cells.block(rows, columns, |column| self.of(column))
    }

    fn cell_error(&self, row: u32, column: usize, problem: String) -> DataError {
        let (array, column) = self.of(column);
        let place = format!("element {}", array.place(row, column));
        DataError::Item { path: array.path().to_owned(), place, problem }
    }
}

impl Windowed for InFiles {
    fn rows(&self) -> usize {
        self.table.features.rows()
    }

    fn row_len(&self) -> usize {
        self.table.features.row_len() + self.table.targets.as_ref().map_or(0, Array::row_len)
    }

    fn window(&self, rows: Range<usize>) -> Result<Arc<dyn OpenTable>, DataError> {
        let Npy { features, targets, columns, named, cells } = &*self.table;
        let both = targets.as_ref().zip(self.targets.as_ref());
        let targets = both.map(|(array, from)| array.window(from, rows.clone())).transpose()?;
        Ok(Arc::new(Npy {
            features: features.window(&self.features, rows)?,
            targets,
            columns: Arc::clone(columns),
            named: Arc::clone(named),
            cells: Arc::clone(cells),
        }))
    }
}
