//! From arrays to the rows of a network, in the words of the Rust API: features as they are, targets scaled if they are told to be.

use lockstep_data::{
    Cells, Column, ColumnKind, Dataset, Dialect, Missing, Rows, Scale, Schema, Summary, TargetKind,
    validation_split,
};
use lockstep_proto::words::count;
use lockstep_run::job::Job;
use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::targets;
use crate::training::Validation;

/// Rows `x` `[rows, features]` with targets `y` `[rows, outputs]`.
#[derive(Clone, Copy)]
pub(crate) struct Arrays<'a> {
    pub(crate) x: ArrayView2<'a, f32>,
    pub(crate) y: ArrayView2<'a, f32>,
}

/// How arrays are to be read for a fit.
pub(crate) struct Reading<'a> {
    pub(crate) validation: &'a Validation,
    pub(crate) sample_weights: Option<&'a [f32]>,
    pub(crate) target_scale: Scale,
    /// The targets of the fit before, with which this one goes on.
    pub(crate) targets: Option<Vec<Column>>,
}

impl Arrays<'_> {
    /// That there are rows, as many of each.
    pub(crate) fn check_shapes(&self) -> Result<()> {
        let Arrays { x, y } = self;
        match x.nrows() != y.nrows() || x.is_empty() || y.is_empty() {
            true => Err(Error::arguments(format!(
                "x is {:?} and y is {:?}, wanted as many rows of each, and at least one",
                x.shape(),
                y.shape()
            ))),
            false => Ok(()),
        }
    }

    /// That they hold nothing but numbers, and `y` is what the loss wants.
    pub(crate) fn check_values(&self, job: &Job) -> Result<()> {
        check_finite("x", self.x)?;
        check_finite("y", self.y)?;
        let width = job.network(self.x.ncols()).map_err(lockstep_run::Error::from)?.target_width();
        targets::check(job.target_kind(), width, self.y)
    }

    /// All that a fit needs of them, which have been checked.
    pub(crate) fn dataset(&self, job: &Job, reading: &Reading<'_>) -> Result<Dataset> {
        let (x, y) = (self.x.to_owned(), self.y.to_owned());
        let [train, held_out] = match reading.validation {
            Validation::Split(fraction) => {
                let classes = classes(job.target_kind(), self.y);
                let rows = validation_split(self.x.nrows(), classes, *fraction, job.seed)?;
                rows.map(Some)
            }
            _ => [None, None],
        };
        let pick = |rows: &Option<Vec<u32>>| match rows {
            None => (x.clone(), y.clone()),
            Some(rows) => {
                let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
                (x.select(Axis(0), &rows), y.select(Axis(0), &rows))
            }
        };
        let (train_x, train_y) = pick(&train);
        let targets = match &reading.targets {
            Some(targets) => targets.clone(),
            None => targets::fit(reading.target_scale, job.target_kind(), train_y.view())?,
        };
        let schema = schema(job.target_kind(), self.x.ncols(), targets);
        let rows =
            |x: &Array2<f32>, y: &Array2<f32>| (Arrays { x: x.view(), y: y.view() }).rows(&schema);
        let validation = match (reading.validation, &held_out) {
            (_, Some(_)) => {
                let (x, y) = pick(&held_out);
                Some(rows(&x, &y)?)
            }
            (Validation::Arrays(x, y), None) => {
                let arrays = Arrays { x: x.view(), y: y.view() };
                let read = arrays.check_like(job, &schema).and_then(|()| arrays.rows(&schema));
                Some(read.map_err(|error| error.of("validation_data"))?)
            }
            _ => None,
        };
        let mut train_rows = rows(&train_x, &train_y)?;
        if let Some(weights) = reading.sample_weights {
            check_weights(weights, self.x.nrows())?;
            let weights = match &train {
                None => weights.to_vec(),
                Some(rows) => rows.iter().map(|&row| weights[row as usize]).collect(),
            };
            train_rows = train_rows.weighted(&weights);
        }
        let (summary, warnings) = (Summary::default(), Vec::new());
        Ok(Dataset { train: train_rows, validation, test: None, schema, summary, warnings })
    }

    /// That they are like those of a fit.
    fn check_like(&self, job: &Job, schema: &Schema) -> Result<()> {
        let Arrays { x, y } = self;
        if x.nrows() != y.nrows() || x.is_empty() || x.ncols() != schema.features.len() {
            let columns = count(schema.features.len() as u64, "column");
            return Err(Error::arguments(format!(
                "x is {:?} and y is {:?}, wanted as many rows of each, and {columns} of x",
                x.shape(),
                y.shape()
            )));
        }
        self.check_values(job)
    }

    /// Rows as the network gets them: features, then targets, encoded as the schema says.
    pub(crate) fn rows(&self, schema: &Schema) -> Result<Rows> {
        let features = features(schema, self.x)?;
        let scaled = targets::encode(&schema.targets, self.y)?;
        let rows = features.rows().into_iter().zip(scaled.rows());
        let values = rows.flat_map(|(x, y)| x.into_iter().chain(y).copied()).collect();
        Ok(Rows::new(features.ncols(), scaled.ncols(), values))
    }
}

/// The class of each row, where there is one target of classes.
fn classes(kind: TargetKind, y: ArrayView2<'_, f32>) -> Option<Vec<u32>> {
    match kind {
        TargetKind::Classes { .. } | TargetKind::Binary { outputs: 1 } => {
            Some(y.column(0).iter().map(|&class| class as u32).collect())
        }
        TargetKind::Numbers | TargetKind::Binary { .. } => None,
    }
}

fn check_weights(weights: &[f32], rows: usize) -> Result<()> {
    if weights.len() != rows {
        let found = count(weights.len() as u64, "number");
        let problem = format!(
            "sample_weights: found {found} for {}, wanted one for each",
            count(rows as u64, "row")
        );
        return Err(Error::arguments(problem));
    }
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        Some(row) => Err(Error::arguments(format!(
            "sample_weights[{row}] is {}, wanted a finite number of at least 0",
            weights[row]
        ))),
        None => Ok(()),
    }
}

/// That an array, by this name in messages, holds nothing but numbers.
pub(crate) fn check_finite(name: &str, array: ArrayView2<'_, f32>) -> Result<()> {
    match array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((place, &value)) => Err(not_finite(name, place, value)),
        None => Ok(()),
    }
}

/// Columns that have no names in an array: `x0`, `x1` and so on, as they are, and targets.
pub(crate) fn schema(kind: TargetKind, features: usize, targets: Vec<Column>) -> Schema {
    let feature = |place| Column::as_it_is(format!("x{place}"), Missing::Error);
    let numbered = |classes: usize| (0..classes).map(|class| class.to_string()).collect();
    let labels = match kind {
        TargetKind::Numbers => None,
        TargetKind::Classes { outputs } => Some(vec![numbered(outputs)]),
        TargetKind::Binary { outputs } => Some(vec![numbered(2); outputs]),
    };
    Schema {
        features: (0..features).map(feature).collect(),
        image: None,
        targets,
        kind,
        labels,
        cells: Cells::F64,
        dialect: Dialect::default(),
    }
}

/// What the network gets of the features `x` `[rows, columns of the schema]`.
///
/// # Errors
/// If there are other columns, one of them is not of numbers, or a cell has no finite input.
pub(crate) fn features(schema: &Schema, x: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    if let Some(text) = schema.features.iter().find(|column| column.kind() != ColumnKind::Number) {
        return Err(Error::arguments(format!(
            "the model takes a table whose column {:?} is not of numbers, wanted no array: use the methods for tables",
            text.name()
        )));
    }
    check_columns(schema, x)?;
    let mut all = Array2::zeros((x.nrows(), schema.inputs()));
    let (mut filled, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    for ((place, column), cells) in schema.features.iter().enumerate().zip(x.columns()) {
        let may_miss = column.fill().is_some();
        let is_wrong = |cell: &f32| !(cell.is_finite() || (cell.is_nan() && may_miss));
        if let Some(row) = cells.iter().position(is_wrong) {
            return Err(not_finite("x", (row, place), cells[row]));
        }
        let numbers: Vec<f64> = cells.iter().map(|&cell| cell.into()).collect();
        column.encode(&numbers, &mut filled, &mut out);
        // All rows of an input, then those of the next.
        for inputs in out.chunks_exact(x.nrows()) {
            for (row, &input) in inputs.iter().enumerate() {
                let rounded = input as f32;
                if !rounded.is_finite() {
                    let found = cells[row];
                    return Err(Error::arguments(format!(
                        "x[[{row}, {place}]] is {found}, which is not finite when scaled"
                    )));
                }
                all[[row, at]] = rounded;
            }
            at += 1;
        }
    }
    Ok(all)
}

/// That `x` has the columns that a model was fitted on.
pub(crate) fn check_columns(schema: &Schema, x: ArrayView2<'_, f32>) -> Result<()> {
    let wanted = schema.features.len();
    match x.ncols() == wanted {
        true => Ok(()),
        false => {
            let found = count(x.ncols() as u64, "column");
            Err(Error::arguments(format!("x has {found}, the model was fitted on {wanted}")))
        }
    }
}

fn not_finite(name: &str, (row, column): (usize, usize), value: f32) -> Error {
    Error::arguments(format!("{name}[[{row}, {column}]] is {value}, wanted finite numbers"))
}
