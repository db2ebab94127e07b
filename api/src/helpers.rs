//! Helpers around a model: a table as arrays, a split, an error measure.

use std::path::Path;

use lockstep_data::{Detail, TableFile, TableSpec, TargetKind};
use lockstep_proto::random::{Purpose, Random};
use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};

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
        .map_err(|error| lockstep_run::Error::Internal(error.to_string()))?;
    let (x, y) = table.split_at(Axis(1), rows.features);
    Ok((x.to_owned(), y.to_owned()))
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
        return Err(Error::arguments(format!(
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
