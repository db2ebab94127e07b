//! `standard`: to mean 0 and population standard deviation 1, as scikit-learn's `StandardScaler`: two passes, each a sum row
//! after row. A constant column is only shifted.

use std::sync::Arc;

use super::{Encoder, Fitted, Looks, Scaling, Seen, affine};

pub(super) static STANDARD: Encoder = Encoder {
    name: "standard",
    parameter: None,
    looks: Looks::Values,
    takes_any_size: true,
    fit: |_, seen| {
        let Scaling { offset, divisor } = standard(seen);
        affine::exactly(offset, divisor) as Arc<dyn Fitted>
    },
    restore: affine::restore,
};

/// The scaling of these numbers.
pub(super) fn standard(seen: &Seen<'_>) -> Scaling {
    if seen.is_constant() {
        // The mean of equal numbers may be another by rounding.
        return affine::scaling(seen.min, 0.0);
    }
    let mean = mean(seen.values.iter().copied());
    let squares = seen.values.iter().map(|value| (value - mean) * (value - mean));
    // Never 0 here, but that squares of what is tiny vanish.
    affine::scaling(mean, self::mean(squares).sqrt().max(f64::MIN_POSITIVE))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let rows = values.len() as f64;
    values.fold(0.0, |sum, value| sum + value) / rows
}

#[cfg(test)]
mod tests {
    use crate::columns::{Back, Scale, Scaling, Seen};

    /// scikit-learn 1.9: `StandardScaler().fit(x)` has these `mean_` and `scale_`.
    #[test]
    fn scikit_learns_values() {
        let scaling = |values: &[f64]| match Scale::named("standard")
            .unwrap()
            .fit(&Seen::of(values))
            .back()
        {
            Some(Back::Affine(scaling)) => scaling,
            other => panic!("{other:?}"),
        };
        let found = scaling(&[1.0, 2.0, 4.0, 7.0]);
        assert_eq!((found.offset, found.divisor), (3.5, 5.25_f64.sqrt()));
        assert_eq!(scaling(&[0.1; 7]), Scaling { offset: 0.1, divisor: 1.0 });
        assert_eq!(scaling(&[0.0, 1e-200]).divisor, 1e-150);
    }
}
