//! What is done to a column between the table and the network: which cells are missing ones' stand-ins, how numbers are
//! scaled, and how many network inputs come of it.
//!
//! A scale is an [`Encoder`] that learns from the training rows alone and makes a [`Fitted`] one, which turns cells into
//! network inputs for training, evaluation and prediction alike, and says how a target goes back into its own unit. To add
//! one, write it in a file of its own beside the others and add it to [`SCALES`]: job files, the kept schema, `check` and
//! messages follow. Refuses randomness, and any look at rows that are not the training's.
//!
//! Encoders see numbers only. A column of texts reaches them as `f64` too ([`Reading`]): categories as places in a list that
//! is frozen with the column, as the labels of a target are, dates as seconds. Their encoders are the [`ENCODERS`].

mod affine;
pub(crate) mod calendar;
mod column;
mod date;
pub(crate) mod date_form;
mod described;
mod divide;
pub(crate) mod embedding;
mod encoder;
mod kind;
mod log1p;
mod math;
mod minmax;
mod missing;
mod none;
pub(crate) mod one_hot;
mod quantile;
pub(crate) mod quantiles;
mod robust;
mod scale;
mod settings;
mod standard;

pub use column::Column;
pub(crate) use column::{KeptColumn, Lookup, Reading};
pub use date_form::DateOrder;
pub(crate) use described::{CellsRead, DescribedColumns, describe_linear};
pub use encoder::{Back, Scaling};
pub(crate) use encoder::{Encoder, Fitted, Looks, Seen, State, StateValue};
pub use kind::{ColumnEncoder, ColumnKind};
pub use missing::Missing;
pub use scale::Scale;
pub use settings::{ColumnOverride, ColumnSettings};

/// Every scale, in the order in which messages list them. The first leaves numbers as they are.
pub(crate) static SCALES: [&Encoder; 7] = [
    &none::NONE,
    &standard::STANDARD,
    &minmax::MINMAX,
    &robust::ROBUST,
    &log1p::LOG1P,
    &quantile::QUANTILE,
    &divide::DIVIDE,
];

/// What columns that are no numbers are encoded with: categories with the first two, dates with the last.
pub(crate) static ENCODERS: [&Encoder; 3] = [&one_hot::ONE_HOT, &embedding::EMBEDDING, &date::DATE];

#[cfg(test)]
mod tests {
    use super::*;

    /// What every scale has to hold to, whatever its formula.
    #[test]
    fn every_scale_can_be_named_kept_and_undone() {
        let values = [3.0, -0.5, 0.25, 8.0, 2.0, 1e6];
        for (at, encoder) in SCALES.iter().enumerate() {
            assert!(SCALES[..at].iter().all(|other| other.name != encoder.name));
            let scale = match encoder.parameter {
                None => Scale::named(encoder.name).unwrap(),
                Some(_) => Scale::with_parameter(encoder.name, 2.5).unwrap(),
            };
            let fitted = scale.fit(&Seen::of(&values));
            let kept = serde_json::to_string(&fitted.state()).unwrap();
            let again = scale.restore(&serde_json::from_str(&kept).unwrap()).unwrap();
            assert_eq!(again.state(), fitted.state(), "{scale}");
            let mut turned = [0.0; 6];
            for output in 0..fitted.outputs() {
                again.encode(&values, output, &mut turned);
                assert!(turned.iter().all(|value| value.is_finite()), "{scale}");
            }
            assert_eq!(fitted.back().is_some(), scale.has_way_back(), "{scale}");
            let undo = |turned: f64| match fitted.back()? {
                Back::Affine(Scaling { offset, divisor }) => Some(turned * divisor + offset),
                Back::Expm1 => Some(turned.exp_m1()),
            };
            for (turned, value) in turned.into_iter().zip(values) {
                let back = undo(turned).unwrap_or(value);
                assert!((back - value).abs() <= 1e-12 * value.abs().max(1.0), "{scale}: {back}");
            }
            let unknown: State = [("no such key".to_owned(), StateValue::Number(1.0))].into();
            assert!(scale.restore(&unknown).is_none(), "{scale}");
        }
    }
}
