//! What the targets of a fit must be like, and what the network gets of them, in the words of the Rust API.

use lockstep_data::{Column, Missing, Scale, TargetKind};
use lockstep_proto::words::count;
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::error::{Error, Result};

/// That `y` `[rows, columns]` has the columns and the values that the loss wants.
pub(crate) fn check(kind: TargetKind, width: usize, y: ArrayView2<'_, f32>) -> Result<()> {
    if y.ncols() != width {
        let found = count(y.ncols() as u64, "column");
        return Err(Error::arguments(format!("y has {found}, the network wants {width}")));
    }
    let classes = match kind {
        TargetKind::Numbers => return Ok(()),
        TargetKind::Classes { outputs } => outputs,
        TargetKind::Binary { .. } => 2,
    };
    let is_class = |value: f32| value.fract() == 0.0 && value >= 0.0 && value < classes as f32;
    let Some(((row, column), value)) = y.indexed_iter().find(|(_, value)| !is_class(**value))
    else {
        return Ok(());
    };
    let wanted = match kind {
        TargetKind::Binary { .. } => "0 or 1 for Loss::BinaryCrossEntropy".to_string(),
        _ => format!(
            "a class from 0 to {} for Loss::CrossEntropy: the last layer has {}, one for each class",
            classes - 1,
            count(classes as u64, "unit")
        ),
    };
    Err(Error::arguments(format!("y[[{row}, {column}]] is {value}, wanted {wanted}")))
}

/// How the columns of `y` are scaled, as these rows say.
pub(crate) fn fit(scale: Scale, kind: TargetKind, y: ArrayView2<'_, f32>) -> Result<Vec<Column>> {
    if scale == Scale::NONE {
        return Ok((0..y.ncols()).map(as_it_is).collect());
    }
    if kind != TargetKind::Numbers {
        let problem = "targets that are labels are not scaled: leave out scale_targets";
        return Err(Error::arguments(problem));
    }
    if !scale.has_way_back() {
        let problem = format!("targets are not scaled by {scale}: there is no way back");
        return Err(Error::arguments(problem));
    }
    let column = |(place, column): (usize, ArrayView1<'_, f32>)| {
        let numbers: Vec<f64> = column.iter().map(|&number| number.into()).collect();
        Column::of_numbers(name(place), scale, &numbers)
    };
    Ok(y.columns().into_iter().enumerate().map(column).collect())
}

/// What a target that has no name is called.
fn name(place: usize) -> String {
    format!("y{place}")
}

/// A target that is not scaled.
pub(crate) fn as_it_is(place: usize) -> Column {
    Column::as_it_is(name(place), Missing::Error)
}

/// The targets as the network gets them: scaled in `f64` and rounded once.
pub(crate) fn encode(targets: &[Column], y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let mut encoded = Array2::zeros(y.raw_dim());
    let (mut filled, mut out) = (Vec::new(), Vec::new());
    for (place, target) in targets.iter().enumerate() {
        let numbers: Vec<f64> = y.column(place).iter().map(|&number| number.into()).collect();
        target.encode(&numbers, &mut filled, &mut out);
        for (row, (to, from)) in encoded.column_mut(place).iter_mut().zip(&out).enumerate() {
            *to = *from as f32;
            if !to.is_finite() {
                let found = y[[row, place]];
                return Err(Error::arguments(format!(
                    "y[[{row}, {place}]] is {found}, which is not finite when scaled"
                )));
            }
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn targets_are_what_the_loss_wants() {
        let classes = TargetKind::Classes { outputs: 3 };
        let binary = TargetKind::Binary { outputs: 2 };
        for (kind, width, y, wanted) in [
            (TargetKind::Numbers, 2, array![[-1.5, 7.0]], ""),
            (TargetKind::Numbers, 1, array![[-1.5, 7.0]], "y has 2 columns, the network wants 1"),
            (classes, 1, array![[0.0], [2.0]], ""),
            (
                classes,
                1,
                array![[0.0], [9.0]],
                "y[[1, 0]] is 9, wanted a class from 0 to 2 for Loss::CrossEntropy: the last layer has 3 units, one for \
                 each class",
            ),
            (classes, 1, array![[0.5]], "y[[0, 0]] is 0.5, wanted a class from 0 to 2 for"),
            (classes, 1, array![[-1.0]], "y[[0, 0]] is -1, wanted a class from 0 to 2 for"),
            (binary, 2, array![[0.0, 1.0]], ""),
            (
                binary,
                2,
                array![[0.0, 2.0]],
                "y[[0, 1]] is 2, wanted 0 or 1 for Loss::BinaryCrossEntropy",
            ),
        ] {
            let found = check(kind, width, y.view()).map_err(|error| error.to_string());
            match found {
                Ok(()) => assert_eq!(wanted, ""),
                Err(found) => assert!(!wanted.is_empty() && found.contains(wanted), "{found}"),
            }
        }
    }
}
