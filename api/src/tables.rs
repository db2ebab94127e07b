//! The tutorial's helpers around a model: a table from a file, a split, an error measure.

use std::path::Path;

use lockstep_data::{Detail, Rows, Schema, TableFile, TableSpec, TargetKind};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::words::count;
use ndarray::{Array2, ArrayView2, Axis};

use lockstep_run::error::{Error, Result};
use lockstep_run::job::Job;

use super::{targets, wrong};

/// Reads a CSV file of numbers, or an NPY file if its name ends so: features `[rows, columns]` and the target column
/// `[rows, 1]`. Columns of a plain array are named `0`, `1` and so on.
///
/// # Errors
/// If the file cannot be used; the message says where.
pub fn load_csv(path: impl AsRef<Path>, target: &str) -> Result<(Array2<f32>, Array2<f32>)> {
    let file = TableFile::at(path.as_ref().to_path_buf());
    let spec = TableSpec::new(file, vec![target.to_string()]);
    let rows = lockstep_data::load(&spec, TargetKind::Numbers, 0, Detail::Usual)?.train;
    let table = ArrayView2::from_shape((rows.len(), rows.width()), &rows.values)
        .map_err(|error| Error::Internal(error.to_string()))?;
    let (x, y) = table.split_at(Axis(1), rows.features);
    Ok((x.to_owned(), y.to_owned()))
}

pub(super) fn check_finite(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<()> {
    match x.iter().chain(y.iter()).all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(wrong("x or y holds a value that is not finite")),
    }
}

/// That `y` is what the loss wants.
pub(super) fn check_targets(
    job: &Job,
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
) -> Result<()> {
    targets::check(job.target_kind(), job.network(x.ncols())?.target_width(), y)
}

/// Rows to measure, as the network gets them.
pub(super) fn validation(
    job: &Job,
    schema: &Schema,
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
) -> Result<Rows> {
    if x.nrows() != y.nrows() || x.is_empty() || x.ncols() != schema.features.len() {
        let columns = count(schema.features.len() as u64, "column");
        return Err(wrong(format!(
            "x is {:?} and y is {:?}, wanted as many rows of each, and {columns} of x",
            x.shape(),
            y.shape()
        )));
    }
    check_finite(x, y)?;
    check_targets(job, x, y)?;
    rows(schema, x, y)
}

/// Rows as the network gets them: features, then targets, scaled as the schema says.
pub(super) fn rows(
    schema: &Schema,
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
) -> Result<Rows> {
    let scaled = targets::encode(&schema.targets, y)?;
    let rows = x.rows().into_iter().zip(scaled.rows());
    let values = rows.flat_map(|(x, y)| x.into_iter().chain(y).copied()).collect();
    Ok(Rows::new(x.ncols(), y.ncols(), values))
}

/// Rows shuffled by `seed` and cut in two: `[x_train, x_test, y_train, y_test]`, the test part of
/// `ceil(test_size * rows)` rows, as scikit-learn has it.
///
/// # Errors
/// If `x` and `y` differ in rows, or a part would be empty.
pub fn train_test_split(
    x: ArrayView2<'_, f32>,
    y: ArrayView2<'_, f32>,
    test_size: f64,
    seed: u64,
) -> Result<[Array2<f32>; 4]> {
    let rows = x.nrows();
    let test_rows = (test_size * rows as f64).ceil() as usize;
    if y.nrows() != rows || !(test_size > 0.0 && test_size < 1.0) || test_rows >= rows {
        return Err(Error::Arguments(format!(
            "cannot split {rows} rows of x and {} of y with test_size {test_size}",
            y.nrows()
        )));
    }
    let mut order: Vec<usize> = (0..rows).collect();
    Random::new(seed, Purpose::Split, 0, 0).shuffle(&mut order);
    let (test, train) = order.split_at(test_rows);
    let pick = |table: &ArrayView2<'_, f32>, rows: &[usize]| table.select(Axis(0), rows);
    Ok([pick(&x, train), pick(&x, test), pick(&y, train), pick(&y, test)])
}

/// The mean of the squared differences, in `f64`, row by row.
///
/// # Panics
/// If the shapes differ.
pub fn mean_squared_error(truth: ArrayView2<'_, f32>, predicted: ArrayView2<'_, f32>) -> f64 {
    assert_eq!(truth.shape(), predicted.shape(), "truth and predictions are of different shapes");
    let differences = truth.iter().zip(predicted.iter()).map(|(a, b)| f64::from(a - b));
    let sum = differences.fold(0.0, |sum, difference| sum + difference * difference);
    sum / truth.len() as f64
}
