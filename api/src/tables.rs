//! Tables: files of named columns, with numbers, truth values, categories and dates.
//!
//! A [`Table`] is read as the command line reads it: what each column is is found by looking at it, texts become inputs by themselves,
//! and everything that is fitted to columns is fitted to the rows that are learned from, and kept with the model. CSV, TSV, Parquet, NPY,
//! NPZ and IDX files, plain, in gzip or in zstd; a folder or a pattern is one table in several files.
//!
//! ```
//! use lockstep::prelude::*;
//!
//! # let folder = std::env::temp_dir().join(format!("lockstep-doc-tables-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).unwrap();
//! # let path = folder.join("flights.csv");
//! # let rows = (0..60).map(|row| format!("{},{},{}\n", ["AA", "UA", "DL"][row % 3], row * 10 % 70, row % 3 * 5 + row % 2));
//! # std::fs::write(&path, "carrier,distance,delay\n".to_string() + &rows.collect::<String>()).unwrap();
//! let flights = Table::read(&path)?
//!     .target("delay")
//!     .scale(Scale::named("standard").unwrap())
//!     .column("carrier", Column::embedding(2));
//! let mut model = Sequential::new();
//! model.add(Dense::new(4).activation(Activation::Relu));
//! model.add(Dense::new(1));
//! model.compile(adam().learning_rate(0.01), Loss::Mse, &[Metric::Mae]);
//! model.fit_table(&flights, &Fit::new().epochs(5).validation_split(0.2))?;
//! assert_eq!(model.predict_table(&flights)?.values.dim(), (60, 1));
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! A table may be in memory instead, column by column; its cells are read as those of a CSV file are.
//!
//! ```
//! use lockstep::prelude::*;
//!
//! let flights = Table::of_columns([
//!     ("carrier", Cells::from(["AA", "UA", "DL", "UA"])),
//!     ("distance", Cells::from([Some(120.0), None, Some(700.0), Some(80.0)])),
//!     ("delay", Cells::from([5.0, 0.5, 11.0, 3.0])),
//! ])?
//! .target("delay")
//! .missing(Missing::Mean);
//! let mut model = Sequential::new();
//! model.add(Dense::new(1));
//! model.compile(adam(), Loss::Mse, &[]);
//! model.fit_table(&flights, &Fit::new().batch_size(4))?;
//! # Ok::<(), lockstep::Error>(())
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use lockstep_data::{
    ColumnEncoder, ColumnKind, ColumnOverride, OpenedTable, TableFile, TableSpec, Texts, Values,
};

use crate::error::{Error, Result};

pub use lockstep_data::{DateOrder, Dialect, Missing, Scale};

/// A table in a file or in memory, and what is said of its columns. The rows are read when they are needed.
#[derive(Clone, Debug)]
pub struct Table {
    spec: TableSpec,
    columns: Vec<String>,
}

impl Table {
    /// The table in this file, or in the files of this folder or pattern.
    ///
    /// # Errors
    /// If there is no file, or it is no table.
    pub fn read(path: impl AsRef<Path>) -> Result<Table> {
        Table::read_as(path, Dialect::default())
    }

    /// The same of a CSV file that is not written as most are.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_as(path: impl AsRef<Path>, dialect: Dialect) -> Result<Table> {
        Table::of(TableFile::at(path.as_ref().to_path_buf()), dialect)
    }

    /// The table whose features are in one file and whose targets are in another: images and labels in IDX files, or two NPY files. Its
    /// targets are those of the second.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_pair(features: impl Into<PathBuf>, targets: impl Into<PathBuf>) -> Result<Table> {
        let file = TableFile::guess(features.into(), Some(targets.into()));
        Table::of(file, Dialect::default())
    }

    /// The table of these columns, each with its name, which are in memory. Their cells are read as those of a CSV file are: texts that
    /// are all numbers are a column of numbers unless it is [said](Table::column) what they are, and a text that means a missing cell
    /// in a file, such as `NA`, means one here.
    ///
    /// # Errors
    /// If there are none, two have the same name, or some have more rows than others.
    pub fn of_columns<N: Into<String>>(
        columns: impl IntoIterator<Item = (N, Cells)>,
    ) -> Result<Table> {
        let columns: Vec<(String, Values)> =
            columns.into_iter().map(|(name, cells)| (name.into(), cells.0)).collect();
        let mut names = HashSet::new();
        if let Some((name, _)) = columns.iter().find(|(name, _)| !names.insert(name.trim())) {
            let problem = format!("column {name:?} is there twice, wanted a name for each");
            return Err(Error::arguments(problem));
        }
        let file = TableFile::in_memory(&columns).map_err(Error::arguments)?;
        Table::of(file, Dialect::default())
    }

    fn of(file: TableFile, dialect: Dialect) -> Result<Table> {
        let columns = OpenedTable::open(&file, &dialect)?.columns().to_vec();
        let target = file.default_target().map(str::to_string).into_iter().collect();
        let mut spec = TableSpec::new(file, target);
        spec.dialect = dialect;
        Ok(Table { spec, columns })
    }

    /// Names of the columns, in the file's order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The column that is to be predicted.
    pub fn target(self, name: &str) -> Table {
        self.targets(&[name])
    }

    /// The columns that are to be predicted, in the order of the network's outputs.
    pub fn targets(mut self, names: &[&str]) -> Table {
        self.spec.target = names.iter().map(|name| name.to_string()).collect();
        self
    }

    /// The columns to predict from; every other column unless it is told.
    pub fn features(mut self, names: &[&str]) -> Table {
        self.spec.features = Some(names.iter().map(|name| name.to_string()).collect());
        self
    }

    /// What one column is, or how it becomes inputs, in place of what is found by looking at it.
    pub fn column(mut self, name: &str, column: Column) -> Table {
        self.spec.columns.insert(name.to_string(), column.0);
        self
    }

    /// How features that are numbers are scaled; not at all unless it is told.
    pub fn scale(mut self, scale: Scale) -> Table {
        self.spec.scale = scale;
        self
    }

    /// What to do about a missing cell; an error unless it is told.
    pub fn missing(mut self, missing: Missing) -> Table {
        self.spec.missing = missing;
        self
    }

    /// The column that says how much each row counts in the loss; it is no feature then.
    pub fn sample_weight(mut self, name: &str) -> Table {
        self.spec.sample_weight = Some(name.to_string());
        self
    }

    /// Whether [`validation_split`](crate::training::Fit::validation_split) takes each class's share; so it is unless told otherwise.
    pub fn stratify(mut self, stratifies: bool) -> Table {
        self.spec.stratify = stratifies;
        self
    }

    pub(crate) fn spec(&self) -> &TableSpec {
        &self.spec
    }

    pub(crate) fn file(&self) -> &TableFile {
        &self.spec.train
    }
}

/// The cells of a column that is in memory: numbers, whole numbers, truth values or texts; or options of such, where `None` is a missing
/// one, as a number that is NaN and a text that is empty are.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells(Values);

/// Makes cells of what each cell is, there or missing.
macro_rules! cells {
    ($($of:ty => $values:ident),*) => {$(
        impl From<Vec<Option<$of>>> for Cells {
            fn from(cells: Vec<Option<$of>>) -> Cells {
                Cells(Values::$values(cells))
            }
        }

        impl From<Vec<$of>> for Cells {
            fn from(cells: Vec<$of>) -> Cells {
                Cells(Values::$values(cells.into_iter().map(Some).collect()))
            }
        }
    )*};
}

cells!(f64 => Doubles, f32 => Singles, i64 => Wholes, bool => Truths);

impl From<Vec<Option<&str>>> for Cells {
    fn from(cells: Vec<Option<&str>>) -> Cells {
        let mut texts = Texts::default();
        cells.into_iter().for_each(|cell| texts.push(cell));
        Cells(Values::Texts(texts))
    }
}

impl From<Vec<&str>> for Cells {
    fn from(cells: Vec<&str>) -> Cells {
        cells.into_iter().map(Some).collect::<Vec<_>>().into()
    }
}

impl From<Vec<String>> for Cells {
    fn from(cells: Vec<String>) -> Cells {
        cells.iter().map(String::as_str).collect::<Vec<_>>().into()
    }
}

impl From<Vec<Option<String>>> for Cells {
    fn from(cells: Vec<Option<String>>) -> Cells {
        cells.iter().map(Option::as_deref).collect::<Vec<_>>().into()
    }
}

impl<T, const N: usize> From<[T; N]> for Cells
where
    Cells: From<Vec<T>>,
{
    fn from(cells: [T; N]) -> Cells {
        Vec::from(cells).into()
    }
}

/// What a column is, or how it becomes inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Column(ColumnOverride);

impl Column {
    /// What is found by looking at it, but for what is added.
    pub fn inferred() -> Column {
        Column::default()
    }

    /// Numbers.
    pub fn number() -> Column {
        Column::of_kind(ColumnKind::Number)
    }

    /// Truth values.
    pub fn boolean() -> Column {
        Column::of_kind(ColumnKind::Boolean)
    }

    /// Categories, with an input for each: 1 where the cell is of it.
    pub fn one_hot() -> Column {
        Column::encoded(ColumnEncoder::OneHot)
    }

    /// Categories, with a vector of so many values for each, which the network learns.
    pub fn embedding(dimension: usize) -> Column {
        let Column(column) = Column::encoded(ColumnEncoder::Embedding);
        Column(ColumnOverride { dimension: Some(dimension), ..column })
    }

    /// Leaves an embedding's vectors as they are: as they are drawn, or as
    /// [`initial_weights`](crate::sequential::Sequential::initial_weights) has them. All embeddings of a model are alike in that.
    pub fn frozen(mut self) -> Column {
        self.0.trainable = Some(false);
        self
    }

    /// Dates, as their parts.
    pub fn date() -> Column {
        Column::encoded(ColumnEncoder::Date)
    }

    /// Nothing: it is left out.
    pub fn ignored() -> Column {
        Column::encoded(ColumnEncoder::Ignore)
    }

    fn of_kind(kind: ColumnKind) -> Column {
        Column(ColumnOverride { kind: Some(kind), ..ColumnOverride::default() })
    }

    fn encoded(encoder: ColumnEncoder) -> Column {
        Column(ColumnOverride { encoder: Some(encoder), ..ColumnOverride::default() })
    }

    /// Whether the day or the month comes first in its dates, where each may be read either way, as in `03/04/2024`.
    pub fn order(mut self, order: DateOrder) -> Column {
        self.0.order = Some(order);
        self
    }

    /// How its numbers are scaled. A target that is scaled is learned so; metrics and predictions are in its own unit.
    pub fn scale(mut self, scale: Scale) -> Column {
        self.0.scale = Some(scale);
        self
    }

    /// What to do about a missing cell.
    pub fn missing(mut self, missing: Missing) -> Column {
        self.0.missing = Some(missing);
        self
    }

    /// Adds an input that is 1 where the cell was missing.
    pub fn indicator(mut self) -> Column {
        self.0.indicator = true;
        self
    }
}
