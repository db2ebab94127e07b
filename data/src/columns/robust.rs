//! `robust`: `(x - median) / (q3 - q1)`, as scikit-learn's `RobustScaler`, so that a few extreme values change little. An
//! interquartile range of 0 only shifts.

use super::quantiles::{median, quantile, sorted};
use super::{Encoder, Looks, affine};

pub(super) static ROBUST: Encoder = Encoder {
    name: "robust",
    parameter: None,
    looks: Looks::Values,
    takes_any_size: true,
    fit: |_, seen| {
        let values = sorted(seen.values);
        affine::fitted(median(&values), quantile(&values, 0.75) - quantile(&values, 0.25))
    },
    restore: affine::restore,
};

#[cfg(test)]
mod tests {
    use crate::columns::{Back, Scale, Scaling, Seen};

    /// scikit-learn 1.9: `RobustScaler().fit(x)` has these `center_` and `scale_`.
    #[test]
    fn scikit_learns_values() {
        for (values, offset, divisor) in [
            (&[1.0, 2.0, 3.0, 4.0, 100.0][..], 3.0, 2.0),
            (&[4.0, 1.0, 3.0, 2.0], 2.5, 1.5),
            (&[-2.5, 7.25, 0.5, 11.0, -3.75, 2.0], 1.25, 7.6875),
            (&[5.0, 5.0, 5.0, 5.0, 9.0], 5.0, 1.0),
            (&[7.0], 7.0, 1.0),
            (&[1.0, 2.0], 1.5, 0.5),
        ] {
            let fitted = Scale::named("robust").unwrap().fit(&Seen::of(values));
            assert_eq!(
                fitted.back(),
                Some(Back::Affine(Scaling { offset, divisor })),
                "{values:?}"
            );
        }
    }
}
