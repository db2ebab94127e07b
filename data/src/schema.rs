//! What a model must remember about its table: columns, scaling, categories, fill values, labels and how its files are written. Kept
//! with the model as JSON. The one place where raw cells become the network's numbers, for training and prediction alike.

mod described;
mod kept;
mod rules;
mod stream;
mod turn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes::stream::shape;
use crate::columns::{Column, ColumnKind, ColumnOverride, Scale};
use crate::dialect::Dialect;
use crate::error::{DataError, count, list, quote, suggest};
use crate::raw::RawTable;
use crate::readers::open_table::OpenTable;
use crate::rows::Rows;
use crate::selection::Selection;
use crate::spec::TargetKind;
use crate::table_file::TableFile;
pub use described::DescribedRows;
pub(crate) use rules::{Reader, Rule, selection, usable_rows};
pub use stream::{EncodedRows, PassedColumn, RawRows, RowEncoder, RowSource};

/// How cells become numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cells {
    /// As the first version did: rounded to f32 before they are filled and scaled.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// Read, filled and scaled in f64, and rounded once.
    #[serde(rename = "f64")]
    F64,
}

/// How to read rows as the training rows were read: the one definition that training, evaluation and prediction share. Its
/// JSON form is stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "kept::Found", into = "kept::Kept")]
pub struct Schema {
    /// Feature columns, in the order of the network's inputs; the places of embedded ones come after all numbers.
    pub features: Vec<Column>,
    /// The dimensions of an image, if the rows were images: images of other dimensions are refused.
    pub image: Option<Vec<usize>>,
    /// Target columns, in the order of the network's outputs.
    pub targets: Vec<Column>,
    /// How target cells become numbers.
    pub kind: TargetKind,
    /// Labels of each target in class order; `None` for numbers.
    pub labels: Option<Vec<Vec<String>>>,
    /// How cells become numbers. A model predicts as it was trained.
    pub cells: Cells,
    /// How CSV files are written.
    pub dialect: Dialect,
}

/// A column whose categories the network embeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedColumn {
    /// Its name.
    pub name: String,
    /// Rows of the table of vectors: row 0 for a category that training never saw, then one for each category.
    pub rows: usize,
    /// Values of a vector.
    pub dimension: usize,
}

/// A table, read as the training rows were.
#[derive(Clone, Debug)]
pub struct ReadTable {
    /// Its rows.
    pub rows: Rows,
    /// Rows of the file that are left out.
    pub left_out: u64,
    /// Features in which rows have a category that training never saw.
    pub unseen: Vec<Unseen>,
}

/// Categories of a feature that training never saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The feature.
    pub feature: String,
    /// Rows that have one.
    pub rows: u64,
    /// Some of them, as they first come.
    pub categories: Vec<String>,
}

/// Most categories that are remembered where there is no end of them.
const CATEGORIES_MAX: usize = 1000;

impl Unseen {
    /// Counts more rows in, which come after these.
    pub fn add(all: &mut Vec<Unseen>, more: Vec<Unseen>) {
        for mut found in more {
            let Some(own) = all.iter_mut().find(|own| own.feature == found.feature) else {
                found.categories.truncate(CATEGORIES_MAX);
                all.push(found);
                continue;
            };
            own.rows += found.rows;
            found.categories.retain(|category| !own.categories.contains(category));
            own.categories.extend(found.categories);
            own.categories.truncate(CATEGORIES_MAX);
        }
    }
}

impl std::fmt::Display for Unseen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unseen { feature, rows, categories } = self;
        let (rows, have) = (count(*rows, "row"), if *rows == 1 { "has" } else { "have" });
        let feature = quote(feature.as_bytes());
        write!(
            f,
            "feature {feature}: {rows} {have} a category that no training row has ({})",
            list(categories)
        )
    }
}

/// Which columns of a file are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Rows to predict: every row of the file is kept, in order.
    Features,
    /// Rows to measure.
    FeaturesAndTargets,
}

impl Schema {
    /// Reads raw rows as the training rows were read, and says how many of the file are left out. Columns are found by
    /// name, in any order; others are ignored. A row is left out only with [`Want::FeaturesAndTargets`], where a cell is
    /// missing of a column whose rule drops rows; rows to predict are all there, in the file's order, or it is an error.
    pub fn read(&self, file: &TableFile, want: Want) -> Result<(Rows, u64), DataError> {
        self.read_counted(file, want).map(|table| (table.rows, table.left_out))
    }

    /// The same, with the categories that training never saw.
    pub fn read_counted(&self, file: &TableFile, want: Want) -> Result<ReadTable, DataError> {
        let mut raw = self.open(file, want, Reader::Model)?;
        let rows = usable_rows(&raw)?;
        let left_out = (raw.rows - rows.len()) as u64;
        let lookups = self.lookups();
        let unseen = lookups.unseen(&raw, &rows);
        let [rows] = self.preprocess(&lookups, &mut raw, [&rows])?;
        Ok(ReadTable { rows, left_out, unseen })
    }

    /// The name of class `class` of target `target`.
    ///
    /// # Panics
    /// If the targets are numbers, or there is no such target or class.
    pub fn label(&self, target: usize, class: usize) -> &str {
        &self.labels.as_ref().expect("targets that are numbers have no labels")[target][class]
    }

    /// Numbers that the network gets of a row.
    pub fn inputs(&self) -> usize {
        self.features.iter().map(Column::width).sum()
    }

    /// Columns whose categories the network embeds, in the order of the features: in a row of it, the places of their categories
    /// come after the numbers.
    pub fn embeddings(&self) -> Vec<EmbeddedColumn> {
        let embedded = |column: &Column| {
            let (rows, dimension) = column.embedding()?;
            Some(EmbeddedColumn { name: column.name().to_owned(), rows, dimension })
        };
        self.features.iter().filter_map(embedded).collect()
    }

    /// Names of the targets, in the order of the network's outputs.
    pub fn target_names(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.name().to_owned()).collect()
    }

    /// Whether the network computes targets that are numbers in another unit than the table's.
    pub fn has_scaled_targets(&self) -> bool {
        self.targets.iter().any(|target| target.settings().scale != Scale::NONE)
    }

    /// What is done to every column, as a job says it.
    pub fn settings(&self) -> BTreeMap<String, ColumnOverride> {
        let has_labels = self.labels.is_some();
        let targets = self.targets.iter().map(|column| {
            let said = column.said();
            let scale = said.scale.filter(|_| !has_labels);
            (column.name().to_owned(), ColumnOverride { scale, ..said })
        });
        let features = self.features.iter().map(|column| (column.name().to_owned(), column.said()));
        features.chain(targets).collect()
    }

    /// Whether every feature is a number.
    pub fn has_numbers_alone(&self) -> bool {
        self.features.iter().all(|column| column.kind() == ColumnKind::Number)
    }

    /// Whether versions before there were columns can read what is kept of it.
    pub fn is_of_the_first_form(&self) -> bool {
        kept::first_form(self).is_some()
    }

    /// Reads the file's wanted cells, raw.
    pub(crate) fn open(
        &self,
        file: &TableFile,
        want: Want,
        reader: Reader,
    ) -> Result<RawTable, DataError> {
        let opened = file.open(&self.dialect)?;
        let selection = self.select(&*opened, want, reader)?;
        RawTable::read(opened, selection)
    }

    /// The wanted columns of a file.
    fn select(
        &self,
        opened: &dyn OpenTable,
        want: Want,
        reader: Reader,
    ) -> Result<Selection, DataError> {
        self.check_image(opened)?;
        let target_names = self.target_names();
        if want == Want::FeaturesAndTargets
            && let Some(problem) = opened.lacks_targets(&target_names)
        {
            return Err(DataError::table(opened.path(), problem));
        }
        let targets = match want {
            Want::Features => &[][..],
            Want::FeaturesAndTargets => &self.targets,
        };
        let features = self.find(opened, &self.features, "feature")?;
        let targets = self.find(opened, targets, "target")?;
        let rule = |column: &Column| Rule {
            missing: column.settings().missing,
            takes_any_size: column.takes_any_size() && self.cells == Cells::F64,
            is_text: column.kind().is_text(),
            notes_text: false,
        };
        let selected = selection(
            features.into_iter().zip(self.features.iter().map(rule)),
            targets.into_iter().zip(self.targets.iter().map(rule)),
            self.kind,
            want,
            reader,
        );
        Ok(selected)
    }

    fn check_image(&self, opened: &dyn OpenTable) -> Result<(), DataError> {
        let (Some(wanted), Some(found)) = (&self.image, opened.image_shape()) else {
            return Ok(());
        };
        if wanted == found {
            return Ok(());
        }
        let (found, wanted) = (shape(found), shape(wanted));
        let problem = format!("found images of {found}, wanted {wanted} as in the training table");
        Err(DataError::table(opened.path(), problem))
    }

    fn find(
        &self,
        opened: &dyn OpenTable,
        columns: &[Column],
        role: &str,
    ) -> Result<Vec<usize>, DataError> {
        let missing = |name: &str| {
            let is_free = |column: &&String| {
                let mut own = self.features.iter().chain(&self.targets);
                !column.is_empty() && !own.any(|own| own.name() == *column)
            };
            let free: Vec<&String> = opened.columns().iter().filter(is_free).collect();
            let near = if free.is_empty() {
                format!("the file has {}", list(opened.columns()))
            } else {
                suggest(name, &free)
            };
            let name = quote(name.as_bytes());
            let problem = format!("found no column {name}, a {role} of the model; {near}");
            DataError::table(opened.path(), problem)
        };
        let find = |name| opened.find(name)?.ok_or_else(|| missing(name));
        columns.iter().map(Column::name).map(find).collect()
    }
}
