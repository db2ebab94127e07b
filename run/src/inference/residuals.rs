//! How far predicted numbers are from those of a table: residuals, in the target's own unit. Sums are in the table's order.

use lockstep_status::value::{HistogramBin, Residuals, finite};

use super::curves::thinned;

/// Ranges of the histogram, unless all residuals are equal.
const HISTOGRAM_BINS: usize = 30;

/// Of rows of a value and what is predicted for it.
pub(super) fn residuals(rows: &[(f64, f64)]) -> Residuals {
    if rows.is_empty() {
        return Residuals::default();
    }
    let all: Vec<f64> = rows.iter().map(|(actual, predicted)| actual - predicted).collect();
    let count = all.len() as f64;
    let mean = all.iter().sum::<f64>() / count;
    let square = all.iter().map(|residual| (residual - mean).powi(2)).sum::<f64>() / count;
    let mut sizes: Vec<f64> = all.iter().map(|residual| residual.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = |place: usize| sizes[place.min(sizes.len() - 1)];
    let median = (middle((sizes.len() - 1) / 2) + middle(sizes.len() / 2)) / 2.0;
    let predicted = rows.iter().map(|&(_, predicted)| predicted);
    let mut points: Vec<(f64, f64)> = predicted.zip(all.iter().copied()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Residuals {
        mean: finite(mean),
        deviation: finite(square.sqrt()),
        median_size: finite(median),
        largest: sizes.last().copied().and_then(finite),
        points: thinned(points),
        histogram: histogram(&all),
    }
}

fn histogram(values: &[f64]) -> Vec<HistogramBin> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let width = (most - least) / HISTOGRAM_BINS as f64;
    if !(width > 0.0 && width.is_finite()) {
        return vec![HistogramBin { from: least, to: most, rows: values.len() as u64 }];
    }
    let border =
        |place: usize| if place == HISTOGRAM_BINS { most } else { least + width * place as f64 };
    let mut bins: Vec<HistogramBin> = (0..HISTOGRAM_BINS)
        .map(|place| HistogramBin { from: border(place), to: border(place + 1), rows: 0 })
        .collect();
    for value in values {
        let place = bins.partition_point(|bin| bin.from <= *value);
        bins[place.max(1) - 1].rows += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_what_was_predicted() {
        let found = residuals(&[(1.0, 0.0), (2.0, 4.0), (3.0, 2.0), (4.0, 4.0)]);
        assert_eq!(
            (found.mean, found.median_size, found.largest),
            (Some(0.0), Some(1.0), Some(2.0))
        );
        assert_eq!(found.deviation, Some(1.5f64.sqrt()));
        assert_eq!(found.points.x, [0.0, 2.0, 4.0, 4.0]);
        assert_eq!(found.points.y, [1.0, 1.0, -2.0, 0.0]);
        assert_eq!(residuals(&[]), Residuals::default());
    }

    #[test]
    fn every_row_is_in_one_range() {
        let rows: Vec<(f64, f64)> = (0..1000).map(|row| (f64::from(row % 97) * 0.1, 0.3)).collect();
        let found = residuals(&rows);
        assert_eq!(found.histogram.len(), HISTOGRAM_BINS);
        assert_eq!(found.histogram.iter().map(|bin| bin.rows).sum::<u64>(), 1000);
        assert!(found.histogram.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(found.points.x.len(), 500);
        let same = residuals(&[(1.0, 0.5), (1.5, 1.0)]);
        assert_eq!(same.histogram, [HistogramBin { from: 0.5, to: 0.5, rows: 2 }]);
    }
}
