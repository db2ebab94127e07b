//! What scores say of a class against the rest: its ROC curve, precision by recall, and how far scores are probabilities. Rows
//! are only counted, in whole numbers, so that every point is exact; of long curves some points are left out, and none is moved.

use lockstep_model::Group;
use lockstep_status::value::{CalibrationBin, Line};

/// Most points of a curve.
pub(super) const POINTS_MAX: usize = 500;

/// Ranges of scores that are held against shares.
const CALIBRATION_BINS: usize = 10;

/// The ROC curve of rows in groups of equal scores, the largest first; empty without rows of the class or others.
pub(super) fn roc(groups: &[Group]) -> Line {
    let all = total(groups);
    if all.positives == 0.0 || all.negatives == 0.0 {
        return Line::default();
    }
    let mut corners: Vec<Group> = Vec::new();
    for next in sums(groups) {
        // A point on the line between its neighbours says nothing.
        if let [.., before, last] = corners[..]
            && (last.positives - before.positives) * (next.negatives - last.negatives)
                == (next.positives - last.positives) * (last.negatives - before.negatives)
        {
            corners.pop();
        }
        corners.push(next);
    }
    let point = |at: &Group| (at.negatives / all.negatives, at.positives / all.positives);
    thinned(corners.iter().map(point).collect())
}

/// Precision by recall of the same; empty without rows of the class. Begins at no recall and full precision.
pub(super) fn precision_recall(groups: &[Group]) -> Line {
    let all = total(groups);
    if all.positives == 0.0 {
        return Line::default();
    }
    let point = |at: Group| match at.positives + at.negatives {
        0.0 => (0.0, 1.0),
        rows => (at.positives / all.positives, at.positives / rows),
    };
    thinned(sums(groups).map(point).collect())
}

/// Scores from 0 to 1 in ranges of the same width, and the mean distance of score and share over them, each by its rows.
pub(super) fn calibration(scores: &[(f32, bool)]) -> (Vec<CalibrationBin>, Option<f64>) {
    let mut bins = [(0.0, 0u64, 0u64); CALIBRATION_BINS];
    for &(score, is_of_it) in scores {
        let place = ((score * CALIBRATION_BINS as f32) as usize).min(CALIBRATION_BINS - 1);
        let (sum, positives, rows) = &mut bins[place];
        *sum += f64::from(score);
        *positives += u64::from(is_of_it);
        *rows += 1;
    }
    let bins: Vec<CalibrationBin> = bins
        .into_iter()
        .filter(|&(.., rows)| rows > 0)
        .map(|(sum, positives, rows)| {
            let of_rows = |value: f64| value / rows as f64;
            CalibrationBin { score: of_rows(sum), share: of_rows(positives as f64), rows }
        })
        .collect();
    let distance = |bin: &CalibrationBin| (bin.score - bin.share).abs() * bin.rows as f64;
    let all: f64 = bins.iter().map(distance).sum();
    let error = (!scores.is_empty()).then(|| all / scores.len() as f64);
    (bins, error)
}

fn total(groups: &[Group]) -> Group {
    sums(groups).last().unwrap_or_default()
}

/// Rows so far, before the first group and after each.
fn sums(groups: &[Group]) -> impl Iterator<Item = Group> {
    let mut sum = Group::default();
    std::iter::once(sum).chain(groups.iter().map(move |group| {
        sum.positives += group.positives;
        sum.negatives += group.negatives;
        sum
    }))
}

/// Some of the points, with the first and the last.
pub(super) fn thinned(points: Vec<(f64, f64)>) -> Line {
    let kept: Vec<(f64, f64)> = match points.len() {
        0..=POINTS_MAX => points,
        len => {
            let place = |at: usize| at * (len - 1) / (POINTS_MAX - 1);
            (0..POINTS_MAX).map(|at| points[place(at)]).collect()
        }
    };
    let (x, y) = kept.into_iter().unzip();
    Line { x, y }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(rows: &[(u32, u32)]) -> Vec<Group> {
        let group = |&(positives, negatives)| Group {
            positives: f64::from(positives),
            negatives: f64::from(negatives),
        };
        rows.iter().map(group).collect()
    }

    #[test]
    fn corners_of_a_roc_curve_are_exact() {
        // Two of the class, one other, one of the class, two others with equal scores.
        let line = roc(&groups(&[(1, 0), (1, 0), (0, 1), (1, 0), (0, 2)]));
        assert_eq!(line.x, [0.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]);
        assert_eq!(line.y, [0.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
        for one_sided in [&[][..], &[(3, 0)], &[(0, 3)]] {
            assert_eq!(roc(&groups(one_sided)), Line::default());
        }
    }

    #[test]
    fn precision_by_recall() {
        let line = precision_recall(&groups(&[(1, 0), (0, 1), (1, 2)]));
        assert_eq!(line.x, [0.0, 0.5, 0.5, 1.0]);
        assert_eq!(line.y, [1.0, 1.0, 0.5, 0.4]);
        assert_eq!(precision_recall(&groups(&[(0, 3)])), Line::default());
    }

    #[test]
    fn a_long_curve_keeps_points_that_it_has_and_both_ends() {
        let rows: Vec<(u32, u32)> = (0..20_000).map(|row| (row % 3, 1 + row % 2)).collect();
        let groups = groups(&rows);
        let line = precision_recall(&groups);
        assert_eq!(line.x.len(), POINTS_MAX);
        assert!(line.x.is_sorted());
        assert_eq!((line.x[0], line.x[POINTS_MAX - 1]), (0.0, 1.0));
        let all = total(&groups);
        let exact: Vec<f64> = sums(&groups).map(|at| at.positives / all.positives).collect();
        assert!(line.x.iter().all(|x| exact.contains(x)));
    }

    #[test]
    fn scores_that_are_shares_have_no_calibration_error() {
        let scores: Vec<_> = (0..4).map(|row| (0.25, row == 0)).chain([(1.0, true)]).collect();
        let (bins, error) = calibration(&scores);
        assert_eq!(error, Some(0.0));
        assert_eq!(bins[0], CalibrationBin { score: 0.25, share: 0.25, rows: 4 });
        assert_eq!(bins[1], CalibrationBin { score: 1.0, share: 1.0, rows: 1 });
        let (_, error) = calibration(&[(1.0, false), (0.0, true)]);
        assert_eq!((error, calibration(&[]).1), (Some(1.0), None));
    }
}
