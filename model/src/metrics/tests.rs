//! What each metric says of a few rows, by its definition, and that every sum has bounds.

use lockstep_parameters::Choice;
use serde_json::Value;

use super::*;
use crate::unit::Unit;

/// Sums of these rows, whose losses are 0.
fn sums(metrics: &[Metric], widths: (usize, usize), outputs: &[f32], targets: &[f32]) -> Vec<f64> {
    let losses = vec![0.0; targets.len() / widths.1];
    let mut sums = vec![0.0; sums_len(metrics, widths)];
    let rows = Rows { losses: &losses, outputs, targets, widths, units: &[] };
    add_rows(metrics, rows, &mut sums);
    sums
}

fn one(metric: Metric, widths: (usize, usize), outputs: &[f32], targets: &[f32]) -> f64 {
    let rows = (targets.len() / widths.1) as u64;
    let sums = sums(&[metric], widths, outputs, targets);
    report(&[metric], widths, &sums, rows)[1].1
}

#[test]
fn values() {
    let (outputs, targets) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 5.0, 4.0]);
    assert_eq!(one(Metric::Mse, (2, 2), &outputs, &targets), 2.0);
    assert_eq!(one(Metric::Rmse, (1, 1), &outputs, &targets), 2f64.sqrt());
    assert_eq!(one(Metric::Mae, (2, 2), &outputs, &targets), 1.0);
}

/// Keras 3's `R2Score` on the examples of its documentation and its corner cases.
#[test]
fn r2_is_keras() {
    let r2 = |outputs: &[f32], targets: &[f32]| one(Metric::R2, (1, 1), outputs, targets);
    assert!((r2(&[2.0, 5.0, 3.0], &[1.0, 4.0, 3.0]) - 0.571_428_571_428).abs() < 1e-9);
    assert_eq!(r2(&[1.0, 2.0], &[3.0, 3.0]), 0.0);
    assert!(r2(&[3.0, 3.0], &[3.0, 3.0]).is_nan());
    // Equal targets whose sums are rounded.
    for (target, rows) in [(0.1_f32, 1_000), (1e6, 77), (-37.3, 100_000)] {
        let outputs: Vec<f32> = (0..rows).map(|row| target + (row % 3) as f32).collect();
        assert_eq!(r2(&outputs, &vec![target; rows]), 0.0, "{target}");
    }
    // Far from 0, and not equal.
    let targets: Vec<f32> = (0..1_000).map(|row| 1e4 + (row % 5) as f32).collect();
    let near = r2(&targets.iter().map(|y| y + 0.5).collect::<Vec<_>>(), &targets);
    assert!((near - (1.0 - 0.25 / 2.0)).abs() < 1e-6, "{near}");
    // Two outputs: the mean of 1 and 0.
    let both = one(Metric::R2, (2, 2), &[1.0, 2.0, 3.0, 2.0], &[1.0, 1.0, 3.0, 3.0]);
    assert_eq!(both, 0.5);
}

#[test]
fn accuracy() {
    let outputs = [0.1, 0.8, 0.1, 0.4, 0.2, 0.4];
    assert_eq!(one(Metric::Accuracy, (3, 1), &outputs, &[1.0, 0.0]), 1.0);
    assert_eq!(one(Metric::Accuracy, (3, 1), &outputs, &[1.0, 2.0]), 0.5, "first largest");
    let binary = one(Metric::Accuracy, (2, 2), &[0.5, 0.6, 0.1, 0.9], &[0.0, 1.0, 1.0, 1.0]);
    assert_eq!(binary, 0.75);
}

#[test]
fn every_sum_has_bounds() {
    let metrics = [Metric::R2, Metric::Accuracy, Metric::Mae, Metric::Rmse];
    let (outputs, targets) = ([3e38, -3e38, 0.0, 1.0], [-3e38, 3e38, 0.0, 1.0]);
    let sums = sums(&metrics, (2, 2), &outputs, &targets);
    let bounds = sum_bounds(
        &metrics,
        &Limits { loss: (0.0, f64::from(f32::MAX)), widths: (2, 2), units: &[] },
    );
    assert_eq!(bounds.len(), sums.len());
    for (sum, (low, high, is_whole)) in sums.into_iter().zip(bounds) {
        assert!((2.0 * low..=2.0 * high).contains(&sum) && (!is_whole || sum.fract() == 0.0));
    }
}

/// Two outputs of which the first is a price in 1000s above 20,000 and the second is as it is.
#[test]
fn metrics_of_scaled_targets_are_in_their_own_unit() {
    let units = [Unit::Affine { offset: 20_000.0, factor: 1000.0 }, Unit::SAME];
    let metrics = [Metric::Mse, Metric::Mae, Metric::R2];
    let (outputs, targets) = ([1.0, 2.0, 3.0, 2.0], [1.5, 1.0, 3.0, 3.0]);
    let rows = Rows {
        losses: &[0.25, 0.5],
        outputs: &outputs,
        targets: &targets,
        widths: (2, 2),
        units: &units,
    };
    let mut found = vec![0.0; sums_len(&metrics, (2, 2))];
    add_rows(&metrics, rows, &mut found);
    let values = report(&metrics, (2, 2), &found, 2);
    let mse = (250_000.0 + 2.0) / 4.0;
    assert_eq!(values[..3], [("loss", 0.375), ("mse", mse), ("mae", 502.0 / 4.0)]);
    let each = report_each(&metrics, (2, 2), &found, 2);
    assert_eq!((each[0], each[3]), (("mse", 0, 125_000.0), ("mae", 1, 1.0)));
    // What is explained of the spread is so in any unit.
    let same = sums(&[Metric::R2], (2, 2), &outputs, &targets);
    let same = report_each(&[Metric::R2], (2, 2), &same, 2);
    assert!(each[4..].iter().zip(&same).all(|(a, b)| (a.2 - b.2).abs() < 1e-12), "{each:?}");
}

#[test]
fn sums_of_scaled_targets_have_bounds_in_their_own_unit() {
    sums_have_bounds([Unit::Affine { offset: 1e100, factor: 1e101 }, Unit::Expm1]);
    sums_have_bounds([1e101, 1e-150].map(|factor| Unit::Affine { offset: 1e100, factor }));
}

fn sums_have_bounds(units: [Unit; 2]) {
    let metrics = [Metric::R2, Metric::Mae, Metric::Rmse, Metric::Mse, Metric::Mape];
    let most = f32::MAX;
    let (outputs, targets) = ([most, -most, 0.0, 1.0], [-most, most, 0.0, 1.0]);
    let rows = Rows {
        losses: &[0.0; 2],
        outputs: &outputs,
        targets: &targets,
        widths: (2, 2),
        units: &units,
    };
    let mut sums = vec![0.0; sums_len(&metrics, (2, 2))];
    add_rows(&metrics, rows, &mut sums);
    let bounds = sum_bounds(&metrics, &Limits { loss: (0.0, 1.0), widths: (2, 2), units: &units });
    assert_eq!(bounds.len(), sums.len());
    for (sum, (low, high, _)) in sums.into_iter().zip(bounds) {
        assert!((low..=high).contains(&sum), "{sum} of {low} to {high}");
        // Over the largest table and the most outputs.
        assert!((high * 2f64.powi(31) * 2f64.powi(24)).is_finite());
    }
}

#[test]
fn metrics_keep_their_order_and_names() {
    let metrics = [Metric::R2, Metric::Mae];
    let sums = sums(&metrics, (2, 2), &[1.0, 2.0], &[0.0, 0.0]);
    assert_eq!(sums, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 4.0, 3.0, 1.0, 2.0]);
    let names: Vec<_> = report(&metrics, (2, 2), &sums, 1).into_iter().map(|m| m.0).collect();
    assert_eq!(names, ["loss", "r2", "mae"]);
}

#[test]
fn several_targets_are_measured_one_by_one_as_well() {
    let metrics = [Metric::Mae, Metric::R2, Metric::Rmse];
    let sums = sums(&metrics, (2, 2), &[1.0, 2.0, 3.0, 2.0], &[1.0, 1.0, 3.0, 3.0]);
    let each = report_each(&metrics, (2, 2), &sums, 2);
    let wanted = [("mae", [0.0, 1.0]), ("r2", [1.0, 0.0]), ("rmse", [0.0, 1.0])];
    let wanted = wanted.iter().flat_map(|(name, v)| [(*name, 0, v[0]), (*name, 1, v[1])]);
    assert_eq!(each, wanted.collect::<Vec<_>>());
    assert_eq!(report(&metrics, (2, 2), &sums, 2)[1], ("mae", 0.5));
    // One target, or one class of several, is all there is.
    for (widths, outputs) in [((1, 1), &[1.0][..]), ((3, 1), &[0.1, 0.8, 0.1])] {
        let metrics = [Metric::Accuracy];
        let sums = self::sums(&metrics, widths, outputs, &[1.0]);
        assert_eq!(report_each(&metrics, widths, &sums, 1), []);
    }
}

/// Every value that scikit-learn gave for the recorded rows (`data/values.py`).
#[test]
fn scikit_learn_agrees() {
    let cases: Value = serde_json::from_str(include_str!("data/values.json")).unwrap();
    let mut seen = 0;
    for (case, recorded) in cases.as_object().unwrap() {
        let rows: Vec<Vec<f32>> = serde_json::from_value(recorded["outputs"].clone()).unwrap();
        let width = rows[0].len();
        let flat = |value: &Value| -> Vec<f32> {
            let many = |row: &Value| match row.as_array() {
                Some(row) => row.iter().map(|y| y.as_f64().unwrap() as f32).collect(),
                None => vec![row.as_f64().unwrap() as f32],
            };
            value.as_array().unwrap().iter().flat_map(many).collect()
        };
        let (outputs, targets) = (flat(&recorded["outputs"]), flat(&recorded["targets"]));
        let widths = (width, targets.len() / rows.len());
        for (name, wanted) in recorded["values"].as_object().unwrap() {
            let found = one(Metric::named(name).unwrap(), widths, &outputs, &targets);
            let wanted = wanted.as_f64().unwrap();
            assert!((found - wanted).abs() < 1e-6, "{case}, {name}: {found}, wanted {wanted}");
            seen += 1;
        }
    }
    assert_eq!(seen, 9 + 9 + 9 + 8 + 5);
}

#[test]
fn a_label_among_the_k_largest() {
    let outputs = [0.1, 0.4, 0.3, 0.2, 0.25, 0.25, 0.25, 0.25];
    for (k, wanted) in [(1, 0.5), (2, 0.5), (3, 1.0), (4, 1.0)] {
        let found = one(Metric::TopKAccuracy { k }, (4, 1), &outputs, &[3.0, 0.0]);
        assert_eq!(found, wanted, "k {k}: equal outputs count for the label");
    }
}

#[test]
fn the_log_loss_is_the_cross_entropy() {
    let rows = Rows {
        losses: &[0.5, 0.25],
        outputs: &[0.5; 4],
        targets: &[0.0; 2],
        widths: (2, 1),
        units: &[],
    };
    let mut sums = vec![0.0; sums_len(&[Metric::LogLoss], (2, 1))];
    add_rows(&[Metric::LogLoss], rows, &mut sums);
    assert_eq!(
        report(&[Metric::LogLoss], (2, 1), &sums, 2),
        [("loss", 0.375), ("log_loss", 0.375)]
    );
}

/// A price of 20,000 and 10,000, computed in 1000s above 20,000, with errors of 1000 and 2000.
#[test]
fn percentages_are_of_the_targets_in_their_own_unit() {
    let units = [Unit::Affine { offset: 20_000.0, factor: 1000.0 }];
    let rows = Rows {
        losses: &[0.0; 2],
        outputs: &[1.0, -8.0],
        targets: &[0.0, -10.0],
        widths: (1, 1),
        units: &units,
    };
    let mut sums = vec![0.0; 2];
    add_rows(&[Metric::Mape], rows, &mut sums);
    assert_eq!(report(&[Metric::Mape], (1, 1), &sums, 2)[1], ("mape", (5.0 + 20.0) / 2.0));
    // A target of 0 has the least size.
    let near = one(Metric::Mape, (1, 1), &[1e-8], &[0.0]);
    assert!((near - 10.0).abs() < 1e-6, "{near}");
}

#[test]
fn rows_of_one_kind_cannot_be_ranked() {
    assert!(one(Metric::RocAuc, (1, 1), &[0.1, 0.9], &[1.0, 1.0]).is_nan());
    assert_eq!(one(Metric::AveragePrecision, (1, 1), &[0.1, 1.0], &[0.0, 0.0]), 0.0);
    assert_eq!(one(Metric::Precision, (1, 1), &[0.1, 0.2], &[1.0, 1.0]), 0.0);
}

#[test]
fn each_target_with_two_classes_has_its_own_values() {
    let (outputs, targets) = ([0.9, 0.1, 0.8, 0.2, 0.1, 0.9], [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    for (metric, wanted) in [
        (Metric::Precision, [0.5, 1.0]),
        (Metric::Recall, [1.0, 0.5]),
        (Metric::RocAuc, [1.0, 0.5]),
    ] {
        let sums = sums(&[metric], (2, 2), &outputs, &targets);
        let each: Vec<_> =
            report_each(&[metric], (2, 2), &sums, 3).into_iter().map(|each| each.2).collect();
        assert_eq!(each, wanted, "{metric}");
        assert_eq!(report(&[metric], (2, 2), &sums, 3)[1].1, wanted.iter().sum::<f64>() / 2.0);
    }
}

/// Sums of counts are whole numbers within their bounds, whatever the outputs and targets are.
#[test]
fn counts_have_bounds() {
    let names = ["precision", "f1_weighted", "roc_auc", "average_precision", "top_k_accuracy"];
    let metrics: Vec<Metric> = names.iter().map(|name| Metric::named(name).unwrap()).collect();
    for (outputs, targets) in [([1.0, -3.0, f32::MAX], [9.0]), ([0.0, 0.0, f32::NAN], [-1.0])] {
        let sums = sums(&metrics, (3, 1), &outputs, &targets);
        let limits = Limits { loss: (0.0, 1.0), widths: (3, 1), units: &[] };
        let bounds = sum_bounds(&metrics, &limits);
        assert_eq!(bounds.len(), sums.len());
        for (sum, (low, high, is_whole)) in sums.into_iter().zip(bounds).skip(1) {
            assert!(is_whole && sum.fract() == 0.0 && (low..=high).contains(&sum), "{sum}");
        }
    }
}

#[test]
fn scores_get_better_as_they_grow_and_errors_as_they_shrink() {
    let smaller = ["mse", "rmse", "mae", "mape", "log_loss"];
    for name in Metric::names() {
        let metric = Metric::named(name).unwrap();
        assert_eq!(metric.is_better_larger(), !smaller.contains(&name), "{name}");
    }
}
