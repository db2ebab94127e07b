//! Order statistics of a column, as NumPy computes them. Knows nothing of what is done with them.

/// The numbers in ascending order; none is missing.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The middle number, or the mean of the two middle ones (`numpy.median`).
///
/// # Panics
/// If there is none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let above = sorted[sorted.len() / 2];
    match sorted.len().is_multiple_of(2) {
        true => (sorted[sorted.len() / 2 - 1] + above) / 2.0,
        false => above,
    }
}

/// The number below which a share of the numbers lies, by linear interpolation between the two nearest
/// (`numpy.quantile(method="linear")`, in the same operations).
///
/// # Panics
/// If there is none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (low, part) = (sorted[below as usize], place - below);
    let high = sorted[(below as usize + 1).min(sorted.len() - 1)];
    match part >= 0.5 {
        true => high - (high - low) * (1.0 - part),
        false => low + (high - low) * part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of NumPy 2.4.
    #[test]
    fn numpys_values() {
        let values = sorted(&[3.5, -1.0, 10.0, 0.25, 2.0, 8.0, 0.1]);
        assert_eq!(median(&values), 2.0);
        let shares = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0];
        let wanted = [-1.0, -0.34, 0.175, 2.0, 5.75, 8.8, 10.0];
        for (share, wanted) in shares.into_iter().zip(wanted) {
            let found = quantile(&values, share);
            assert!((found - wanted).abs() < 1e-12, "{share}: {found}");
        }
        assert_eq!((median(&[4.0]), quantile(&[4.0], 0.75)), (4.0, 4.0));
        assert_eq!(median(&[1.0, 2.0]), 1.5);
    }
}
