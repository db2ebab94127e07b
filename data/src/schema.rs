//! What a model must remember about its table: columns, scaling, fill values and labels. Kept with the model as
//! JSON. The one place where raw cells become the network's numbers, for training and prediction alike.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, list, quote, suggest};
use crate::idx::shape;
use crate::labels::Classes;
use crate::raw::{MISSING_LABEL, Opened, RawTable, Selection};
use crate::rows::Rows;
use crate::spec::{Missing, Scale, TableFile, TargetKind};

/// How one feature is scaled: `(value - offset) / divisor`, computed in f64 and rounded once to f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// What becomes 0: the mean, or the least value.
    pub offset: f32,
    /// What becomes 1 above that: the population standard deviation, or the range. 1 for a constant feature.
    pub divisor: f32,
}

impl Scaling {
    fn apply(self, value: f32) -> f32 {
        ((f64::from(value) - f64::from(self.offset)) / f64::from(self.divisor)) as f32
    }
}

/// How to read rows as the training rows were read. Its JSON form is stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
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
    pub fill: Option<Vec<f32>>,
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
    /// Reads raw rows as the training rows were read. Columns are found by name, in any order; others are ignored.
    /// Rows with a missing cell are left out only with [`Missing::Drop`] and [`Want::FeaturesAndTargets`]; rows to
    /// predict are all there, in the file's order, or it is an error.
    pub fn read(&self, file: &TableFile, want: Want) -> Result<Rows, DataError> {
        let mut raw = self.open(file, want, Reader::Model)?;
        let rows = self.usable_rows(&raw)?;
        let [values] = raw.take([&rows]);
        self.preprocess(&raw, &rows, values)
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
        let opened = Opened::new(file)?;
        self.check_image(&opened)?;
        if want == Want::FeaturesAndTargets && opened.lacks_labels() {
            let problem = "found images without labels, wanted their labels too; give the labels' file with `--labels`";
            return Err(DataError::table(opened.path(), problem));
        }
        let targets = match want {
            Want::Features => &[][..],
            Want::FeaturesAndTargets => &self.targets,
        };
        let features = self.find(&opened, &self.features, "feature")?;
        let targets = self.find(&opened, targets, "target")?;
        let selection = selection(features, targets, self.kind, self.missing, want, reader);
        opened.read(selection)
    }

    /// The rows that the missing-cell rule keeps.
    pub(crate) fn usable_rows(&self, raw: &RawTable) -> Result<Vec<u32>, DataError> {
        usable_rows(raw, self.missing)
    }

    /// Fills, scales and encodes these rows of a raw table, in place: `values` are theirs, taken out of it.
    pub(crate) fn preprocess(
        &self,
        raw: &RawTable,
        rows: &[u32],
        mut values: Vec<f32>,
    ) -> Result<Rows, DataError> {
        let features = self.features.len();
        let number_width = raw.number_width();
        let classes = self.class_ids(raw);
        for (&row, values) in rows.iter().zip(values.chunks_exact_mut(raw.selection.width())) {
            for (feature, value) in values[..features].iter_mut().enumerate() {
                *value = self.feature(raw, row, feature, *value)?;
            }
            let labels = raw.labels_of(row).iter().zip(&mut values[number_width..]);
            for (target, (&id, value)) in labels.enumerate() {
                debug_assert_ne!(id, MISSING_LABEL, "rows with a missing target are not usable");
                let class = classes[target][id as usize]
                    .ok_or_else(|| self.unseen_label(raw, row, target, id))?;
                *value = class as f32;
            }
        }
        Ok(Rows::new(features, raw.selection.targets.len(), values))
    }

    #[inline]
    fn feature(
        &self,
        raw: &RawTable,
        row: u32,
        feature: usize,
        value: f32,
    ) -> Result<f32, DataError> {
        let present = match &self.fill {
            Some(fill) if value.is_nan() => fill[feature],
            _ => value,
        };
        let Some(scaling) = &self.scaling else { return Ok(present) };
        let scaled = scaling[feature].apply(present);
        if scaled.is_finite() {
            return Ok(scaled);
        }
        let problem = format!(
            "found {value:e}, wanted a number that is finite when scaled: ({value:e} - {:e}) / {:e} is not",
            scaling[feature].offset, scaling[feature].divisor
        );
        Err(raw.cell_error(row, raw.selection.features[feature], problem))
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

    fn unseen_label(&self, raw: &RawTable, row: u32, target: usize, id: u32) -> DataError {
        let known = self.labels.as_ref().map(|labels| list(&labels[target])).unwrap_or_default();
        let problem = format!(
            "found label {}, wanted one that the training rows have: {known}",
            quote(raw.label_names[target][id as usize].as_bytes())
        );
        raw.cell_error(row, raw.selection.targets[target], problem)
    }

    fn check_image(&self, opened: &Opened) -> Result<(), DataError> {
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

    fn find(&self, opened: &Opened, names: &[String], role: &str) -> Result<Vec<usize>, DataError> {
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
        names.iter().map(|name| opened.find(name).ok_or_else(|| missing(name))).collect()
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

/// The columns to read and the advice that fits.
pub(crate) fn selection(
    features: Vec<usize>,
    targets: Vec<usize>,
    kind: TargetKind,
    missing: Missing,
    want: Want,
    reader: Reader,
) -> Selection {
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
    Selection { features, targets, labels, missing_feature, missing_target, text_feature }
}

/// A schema as it comes out of a file.
#[derive(Deserialize)]
struct Unchecked {
    features: Vec<String>,
    image: Option<Vec<usize>>,
    targets: Vec<String>,
    kind: TargetKind,
    labels: Option<Vec<Vec<String>>>,
    scale: Scale,
    scaling: Option<Vec<Scaling>>,
    missing: Missing,
    fill: Option<Vec<f32>>,
}

impl TryFrom<Unchecked> for Schema {
    type Error = DataError;

    fn try_from(found: Unchecked) -> Result<Schema, DataError> {
        let Unchecked { features, image, targets, kind, labels, scale, scaling, missing, fill } =
            found;
        let fault = |problem: &str| Err(DataError::Schema(problem.to_owned()));
        if features.is_empty() || targets.is_empty() {
            return fault("found no feature or no target, wanted at least one of each");
        }
        let counts = match (kind, &labels) {
            (TargetKind::Numbers, None) => true,
            (TargetKind::Numbers, Some(_)) | (_, None) => false,
            (TargetKind::Classes { outputs }, Some(labels)) => {
                targets.len() == 1 && labels.len() == 1 && labels[0].len() == outputs
            }
            (TargetKind::Binary { outputs }, Some(labels)) => {
                targets.len() == outputs
                    && labels.len() == outputs
                    && labels.iter().all(|labels| labels.len() == 2)
            }
        };
        if !counts {
            return fault("the labels do not fit the targets");
        }
        let is_scaling = |scaling: &Scaling| {
            scaling.offset.is_finite() && scaling.divisor.is_finite() && scaling.divisor > 0.0
        };
        let scaling_fits = match &scaling {
            None => scale == Scale::None,
            Some(all) => {
                let fits = |scaling: &Scaling| match scale {
                    Scale::None => false,
                    Scale::Standard | Scale::MinMax => true,
                    Scale::Divide(divisor) => *scaling == Scaling { offset: 0.0, divisor },
                };
                let mut each = all.iter();
                all.len() == features.len() && each.all(|one| is_scaling(one) && fits(one))
            }
        };
        if !scaling_fits {
            return fault("the scaling does not fit the features");
        }
        let fill_fits = match &fill {
            None => missing != Missing::Mean,
            Some(all) => {
                missing == Missing::Mean
                    && all.len() == features.len()
                    && all.iter().all(|value| value.is_finite())
            }
        };
        if !fill_fits {
            return fault("the fill values do not fit the features");
        }
        Ok(Schema { features, image, targets, kind, labels, scale, scaling, missing, fill })
    }
}
