//! What a model must remember about its table: columns, scaling, fill values, labels and how its files are written. Kept
//! with the model as JSON. The one place where raw cells become the network's numbers, for training and prediction alike.

mod unchecked;

use serde::{Deserialize, Serialize};

use crate::block::{Block, MISSING_LABEL, Places};
use crate::bytes::stream::shape;
use crate::dialect::Dialect;
use crate::error::{DataError, list, quote, suggest};
use crate::labels::Classes;
use crate::raw::{BadCell, RawTable};
use crate::readers::open_table::OpenTable;
use crate::rows::Rows;
use crate::selection::Selection;
use crate::spec::{Missing, Scale, TargetKind};
use crate::table_file::TableFile;

/// Rows that are turned at once.
const BLOCK_ROWS: usize = 512;

/// How one feature is scaled: `(value - offset) / divisor`, computed in f64 and rounded once to f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// What becomes 0: the mean, or the least value.
    pub offset: f64,
    /// What becomes 1 above that: the population standard deviation, or the range. 1 for a constant feature.
    pub divisor: f64,
}

impl Scaling {
    pub(crate) fn apply(self, value: f64) -> f32 {
        ((value - self.offset) / self.divisor) as f32
    }
}

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

/// How to read rows as the training rows were read. Its JSON form is stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "unchecked::Unchecked")]
pub struct Schema {
    /// Feature columns, in the order of the network's inputs.
    pub features: Vec<String>,
    /// The dimensions of an image, if the rows were images: images of other dimensions are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Vec<usize>>,
    /// Target columns, in the order of the network's outputs.
    pub targets: Vec<String>,
    /// How target cells become numbers.
    pub kind: TargetKind,
    /// Labels of each target in class order; `None` for numbers.
    pub labels: Option<Vec<Vec<String>>>,
    /// How features are scaled.
    pub scale: Scale,
    /// The scaling of each feature; `None` for [`Scale::None`].
    pub scaling: Option<Vec<Scaling>>,
    /// What to do about a missing cell.
    pub missing: Missing,
    /// What a missing cell of each feature becomes before scaling; only for [`Missing::Mean`].
    pub fill: Option<Vec<f64>>,
    /// How cells become numbers. A model predicts as it was trained.
    pub cells: Cells,
    /// How CSV files are written.
    #[serde(skip_serializing_if = "is_default")]
    pub dialect: Dialect,
}

fn is_default(dialect: &Dialect) -> bool {
    *dialect == Dialect::default()
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
    /// name, in any order; others are ignored. Rows with a missing cell are left out only with [`Missing::Drop`] and
    /// [`Want::FeaturesAndTargets`]; rows to predict are all there, in the file's order, or it is an error.
    pub fn read(&self, file: &TableFile, want: Want) -> Result<(Rows, u64), DataError> {
        let mut raw = self.open(file, want, Reader::Model)?;
        let rows = usable_rows(&raw, self.missing)?;
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

    /// Reads the file's wanted cells, raw.
    pub(crate) fn open(
        &self,
        file: &TableFile,
        want: Want,
        reader: Reader,
    ) -> Result<RawTable, DataError> {
        let opened = file.open(&self.dialect)?;
        self.check_image(&*opened)?;
        if want == Want::FeaturesAndTargets
            && let Some(problem) = opened.lacks_targets(&self.targets)
        {
            return Err(DataError::table(opened.path(), problem));
        }
        let targets = match want {
            Want::Features => &[][..],
            Want::FeaturesAndTargets => &self.targets,
        };
        let features = self.find(&*opened, &self.features, "feature")?;
        let targets = self.find(&*opened, targets, "target")?;
        let are_scaled = self.scaling.is_some() && self.cells == Cells::F64;
        let rules = Rules { kind: self.kind, missing: self.missing, are_scaled };
        RawTable::read(opened, selection(features, targets, rules, want, reader))
    }

    /// Fills, scales and encodes the rows of each part, which are in the file's order. Afterwards the raw table holds no
    /// rows.
    pub(crate) fn preprocess<const PARTS: usize>(
        &self,
        raw: &mut RawTable,
        parts: [&[u32]; PARTS],
    ) -> Result<[Rows; PARTS], DataError> {
        let width = raw.selection.width();
        let (features, targets) = (self.features.len(), raw.selection.targets.len());
        let classes = self.class_ids(raw);
        let mut values = parts.map(|rows| vec![0.0; rows.len() * width]);
        let outs = values.iter_mut().map(Vec::as_mut_slice);
        raw.turn(parts.into_iter().zip(outs).collect(), &|raw, block, places, out| {
            self.turn(raw, &classes, block, places, out)
        })?;
        Ok(values.map(|values| Rows::new(features, targets, values)))
    }

    fn turn(
        &self,
        raw: &RawTable,
        classes: &[Vec<Option<u32>>],
        block: &Block,
        places: Places<'_>,
        out: &mut [f32],
    ) -> Result<(), BadCell> {
        let width = raw.selection.width();
        let outs = out.chunks_mut(BLOCK_ROWS * width);
        for (places, out) in places.chunks(BLOCK_ROWS).zip(outs) {
            self.turn_some(raw, classes, block, places, out)?;
        }
        Ok(())
    }

    /// The same for rows that stay in a processor's cache while one column after another is turned.
    fn turn_some(
        &self,
        raw: &RawTable,
        classes: &[Vec<Option<u32>>],
        block: &Block,
        places: Places<'_>,
        out: &mut [f32],
    ) -> Result<(), BadCell> {
        let width = raw.selection.width();
        let mut bad: Option<BadCell> = None;
        let mut note = |row: usize, column: usize, problem: String| {
            let found = BadCell { row: places.rows[row], column, problem };
            if bad.as_ref().is_none_or(|bad| found.place() < bad.place()) {
                bad = Some(found);
            }
        };
        let columns = raw.selection.features.iter().chain(&raw.selection.targets);
        for (number, &column) in columns.take(block.numbers()).enumerate() {
            let is_feature = number < self.features.len();
            let mut rows = out.chunks_exact_mut(width).enumerate();
            places.each(block.number(number), |value| {
                let turned = if is_feature { self.feature(number, value) } else { value as f32 };
                let Some((at, row)) = rows.next() else { return };
                row[number] = turned;
                if !turned.is_finite() {
                    note(at, column, self.out_of_range(number, value));
                }
            });
        }
        let targets = raw.selection.targets.iter().take(raw.selection.label_width());
        for ((target, &column), classes) in targets.enumerate().zip(classes) {
            raw.each_label(block, target, places, |at, id| {
                debug_assert_ne!(id, MISSING_LABEL, "rows with a missing target are not usable");
                match classes[id as usize] {
                    Some(class) => out[at * width + block.numbers() + target] = class as f32,
                    None => note(at, column, self.unseen_label(raw, target, id)),
                }
            });
        }
        bad.map_or(Ok(()), Err)
    }

    #[inline]
    fn feature(&self, feature: usize, value: f64) -> f32 {
        let value = match self.cells {
            Cells::F32 => f64::from(value as f32),
            Cells::F64 => value,
        };
        let present = match &self.fill {
            Some(fill) if value.is_nan() => fill[feature],
            _ => value,
        };
        match &self.scaling {
            Some(scaling) => scaling[feature].apply(present),
            None => present as f32,
        }
    }

    fn out_of_range(&self, feature: usize, value: f64) -> String {
        match self.scaling.as_ref().and_then(|scaling| scaling.get(feature)) {
            Some(Scaling { offset, divisor }) => format!(
                "found {value:e}, wanted a number that is finite when scaled: ({value:e} - {offset:e}) / {divisor:e} \
                 is not"
            ),
            None => {
                format!("found {value:e}, wanted a number up to {:e}, the largest f32", f32::MAX)
            }
        }
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
        names: &[String],
        role: &str,
    ) -> Result<Vec<usize>, DataError> {
        let missing = |name: &String| {
            let is_free = |column: &&String| {
                !column.is_empty()
                    && !self.features.contains(column)
                    && !self.targets.contains(column)
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
        names.iter().map(|name| opened.find(name)?.ok_or_else(|| missing(name))).collect()
    }
}

/// The rows of a raw table that a missing-cell rule keeps.
pub(crate) fn usable_rows(raw: &RawTable, missing: Missing) -> Result<Vec<u32>, DataError> {
    let rows = match missing {
        Missing::Drop => raw.complete_rows(),
        Missing::Error | Missing::Mean => raw.all_rows(),
    };
    if rows.is_empty() {
        let problem = "every row has a missing cell, so `data.missing = \"drop\"` leaves none";
        return Err(DataError::table(raw.path(), problem));
    }
    Ok(rows)
}

/// Who reads, and so what advice an error can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A job, whose settings can still be changed.
    Job,
    /// A trained model, whose settings are fixed.
    Model,
}

/// What is done with cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) kind: TargetKind,
    pub(crate) missing: Missing,
    pub(crate) are_scaled: bool,
}

/// The columns to read and the advice that fits.
pub(crate) fn selection(
    features: Vec<usize>,
    targets: Vec<usize>,
    rules: Rules,
    want: Want,
    reader: Reader,
) -> Selection {
    let Rules { kind, missing, are_scaled } = rules;
    let missing_feature = match (missing, want, reader) {
        (Missing::Mean, _, _) | (Missing::Drop, Want::FeaturesAndTargets, _) => None,
        (Missing::Drop, Want::Features, _) => {
            Some("a row to predict is never dropped: give it a number or take the row out")
        }
        (Missing::Error, _, Reader::Job) => {
            Some("give it one, or set `data.missing` to \"mean\" or \"drop\"")
        }
        (Missing::Error, _, Reader::Model) => {
            Some("the model was trained with `data.missing = \"error\"`")
        }
    };
    let missing_target = match (missing, reader) {
        (Missing::Drop, _) => None,
        (_, Reader::Job) => Some("give it one, or set `data.missing` to \"drop\""),
        (_, Reader::Model) => Some("give it one or take the row out"),
    };
    let text_feature = match reader {
        Reader::Job => Some("encode the column as numbers, or leave it out of `data.features`"),
        Reader::Model => None,
    };
    let labels = kind != TargetKind::Numbers;
    Selection {
        features,
        targets,
        labels,
        are_scaled,
        missing_feature,
        missing_target,
        text_feature,
    }
}
