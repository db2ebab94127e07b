//! What a model must remember about its table: columns, scaling, fill values, labels and how its files are written. Kept
//! with the model as JSON. The one place where raw cells become the network's numbers, for training and prediction alike.

mod kept;
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::block::{Block, MISSING_LABEL, Places};
use crate::bytes::stream::shape;
use crate::columns::{Column, ColumnOverride, ColumnSettings, Scale};
use crate::dialect::Dialect;
use crate::error::{DataError, list, quote, suggest};
use crate::labels::Classes;
use crate::raw::{BadCell, RawTable};
use crate::readers::open_table::OpenTable;
use crate::rows::Rows;
use crate::spec::TargetKind;
use crate::table_file::TableFile;
pub(crate) use rules::{Reader, Rule, selection, usable_rows};

/// Rows that are turned at once.
const BLOCK_ROWS: usize = 512;

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
    /// Feature columns, in the order of the network's inputs.
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
        let mut raw = self.open(file, want, Reader::Model)?;
        let rows = usable_rows(&raw)?;
        let left_out = (raw.rows - rows.len()) as u64;
        let [rows] = self.preprocess(&mut raw, [&rows])?;
        Ok((rows, left_out))
    }

    /// The name of class `class` of target `target`.
    ///
    /// # Panics
    /// If the targets are numbers, or there is no such target or class.
    pub fn label(&self, target: usize, class: usize) -> &str {
        &self.labels.as_ref().expect("targets that are numbers have no labels")[target][class]
    }

    /// Network inputs of a row.
    pub fn inputs(&self) -> usize {
        self.features.iter().map(Column::width).sum()
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
        let labels = self.labels.is_some();
        let feature = |column: &Column| (column.name().to_owned(), column.settings(), true);
        let target = |column: &Column| (column.name().to_owned(), column.settings(), !labels);
        let all = self.features.iter().map(feature).chain(self.targets.iter().map(target));
        all.map(|(name, settings, is_number)| {
            let ColumnSettings { scale, missing, indicator } = settings;
            let scale = is_number.then_some(scale);
            (name, ColumnOverride { scale, missing: Some(missing), indicator })
        })
        .collect()
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
        self.check_image(&*opened)?;
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
        let features = self.find(&*opened, &self.features, "feature")?;
        let targets = self.find(&*opened, targets, "target")?;
        let rule = |column: &Column| Rule {
            missing: column.settings().missing,
            takes_any_size: column.takes_any_size() && self.cells == Cells::F64,
            is_text: false,
        };
        let selection = selection(
            features.into_iter().zip(self.features.iter().map(rule)),
            targets.into_iter().zip(self.targets.iter().map(rule)),
            self.kind,
            want,
            reader,
        );
        RawTable::read(opened, selection)
    }

    /// Fills, scales and encodes the rows of each part, which are in the file's order. Afterwards the raw table holds no
    /// rows.
    pub(crate) fn preprocess<const PARTS: usize>(
        &self,
        raw: &mut RawTable,
        parts: [&[u32]; PARTS],
    ) -> Result<[Rows; PARTS], DataError> {
        let (inputs, targets) = (self.inputs(), raw.selection.targets.len());
        let width = inputs + targets;
        let classes = self.class_ids(raw);
        let mut values = parts.map(|rows| vec![0.0; rows.len() * width]);
        let outs = values.iter_mut().map(Vec::as_mut_slice);
        raw.turn(parts.into_iter().zip(outs).collect(), width, &|raw, block, places, out| {
            let mut scratch = Scratch::default();
            let outs = out.chunks_mut(BLOCK_ROWS * width);
            for (places, out) in places.chunks(BLOCK_ROWS).zip(outs) {
                let to = Turned { out, inputs, width };
                self.turn(raw, &classes, block, places, to, &mut scratch)?;
            }
            Ok(())
        })?;
        Ok(values.map(|values| Rows::new(inputs, targets, values)))
    }

    /// Turns rows that stay in a processor's cache while one column after another is turned.
    fn turn(
        &self,
        raw: &RawTable,
        classes: &[Vec<Option<u32>>],
        block: &Block,
        places: Places<'_>,
        to: Turned<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), BadCell> {
        let Turned { out, inputs, width } = to;
        let mut bad: Option<BadCell> = None;
        let mut note = |row: usize, column: usize, problem: String| {
            let found = BadCell { row: places.rows[row], column, problem };
            if bad.as_ref().is_none_or(|bad| found.place() < bad.place()) {
                bad = Some(found);
            }
        };
        let Scratch { cells, filled, encoded } = scratch;
        let columns = self.features.iter().chain(&self.targets);
        let mut first = 0;
        for ((number, column), selected) in columns.enumerate().zip(raw.selection.all()) {
            if number == block.numbers() {
                break;
            }
            cells.clear();
            match self.cells {
                Cells::F32 => {
                    places.each(block.number(number), |cell| cells.push(f64::from(cell as f32)));
                }
                Cells::F64 => places.each(block.number(number), |cell| cells.push(cell)),
            }
            column.encode(cells, filled, encoded);
            for (output, encoded) in encoded.chunks_exact(cells.len()).enumerate() {
                let rows = out.chunks_exact_mut(width).zip(encoded);
                for (at, (row, encoded)) in rows.enumerate() {
                    let value = *encoded as f32;
                    row[first + output] = value;
                    if !value.is_finite() {
                        note(at, selected.column, out_of_range(column, cells[at]));
                    }
                }
            }
            first += column.width();
        }
        debug_assert!(first >= inputs, "every feature is a number");
        let targets = raw.selection.targets.iter().take(raw.selection.label_width());
        for ((target, selected), classes) in targets.enumerate().zip(classes) {
            raw.each_label(block, target, places, |at, id| {
                debug_assert_ne!(id, MISSING_LABEL, "rows with a missing target are not usable");
                match classes[id as usize] {
                    Some(class) => out[at * width + inputs + target] = class as f32,
                    None => note(at, selected.column, self.unseen_label(raw, target, id)),
                }
            });
        }
        bad.map_or(Ok(()), Err)
    }

    /// For each target, the class of each label of the raw table; `None` where training never saw it.
    fn class_ids(&self, raw: &RawTable) -> Vec<Vec<Option<u32>>> {
        let labels = self.labels.iter().flatten();
        raw.label_names
            .iter()
            .zip(labels)
            .map(|(names, labels)| {
                let classes = Classes::new(labels);
                names.iter().map(|name| classes.find(name)).collect()
            })
            .collect()
    }

    fn unseen_label(&self, raw: &RawTable, target: usize, id: u32) -> String {
        let known = self.labels.as_ref().map(|labels| list(&labels[target])).unwrap_or_default();
        let label = quote(raw.label_names[target][id as usize].as_bytes());
        format!("found label {label}, wanted one that the training rows have: {known}")
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

/// Where turned rows go.
struct Turned<'a> {
    /// Whole rows.
    out: &'a mut [f32],
    /// Network inputs of a row, and all values of one.
    inputs: usize,
    width: usize,
}

/// Memory that serves for one column after another.
#[derive(Default)]
struct Scratch {
    cells: Vec<f64>,
    filled: Vec<f64>,
    encoded: Vec<f64>,
}

fn out_of_range(column: &Column, cell: f64) -> String {
    match column.formula(cell) {
        Some(formula) => {
            format!("found {cell:e}, wanted a number that is finite when scaled: {formula} is not")
        }
        None => format!("found {cell:e}, wanted a number up to {:e}, the largest f32", f32::MAX),
    }
}
