//! Fits that may stop early.

use lockstep::prelude::*;
use ndarray::Array2;

/// Rows to learn from and rows to watch, which have next to nothing to do with each other.
fn watched() -> [Array2<f32>; 4] {
    let x = |rows, seed| {
        Array2::from_shape_fn((rows, 3), |(row, column)| {
            ((seed + 5 * row + 3 * column + row * column) % 13) as f32 / 13.0
        })
    };
    let y = |rows, seed| {
        Array2::from_shape_fn((rows, 1), |(row, _)| ((seed + row * row) % 7) as f32 / 7.0)
    };
    [x(40, 0), y(40, 0), x(20, 4), y(20, 3)]
}

#[test]
fn a_fit_may_stop_early() {
    let [x, y, of_x, of_y] = watched();
    let fit = |rule: Option<EarlyStopping>, epochs, workers| {
        let mut model = Sequential::new();
        model.add(Dense::new(16).activation(Activation::Tanh));
        model.add(Dense::new(1));
        model.compile(adam().learning_rate(0.05), Loss::Mse, &[Metric::Mae]);
        let fit = Fit::new().epochs(epochs).batch_size(10).workers(workers);
        let fit = fit.validation_data(of_x.view(), of_y.view());
        let fit = match rule {
            Some(rule) => fit.early_stopping(rule),
            None => fit,
        };
        let history = model.fit(x.view(), y.view(), &fit).unwrap();
        (history, model.weights().unwrap().to_vec())
    };
    let rule = EarlyStopping::new("validation_mae").patience(4);
    let (history, weights) = fit(Some(rule.clone()), 500, 1);
    assert_eq!(fit(Some(rule.clone()), 500, 3), (history.clone(), weights.clone()));
    let best = history.best_epoch.unwrap();
    assert_eq!(history.epochs.len() as u32, best + 4);
    let values: Vec<f64> = history.epochs.iter().map(|epoch| epoch["validation_mae"]).collect();
    assert!(values.iter().all(|value| *value >= values[best as usize - 1]), "{values:?}");
    // The weights are those of a fit that ends there.
    let (shorter, until_best) = fit(None, best, 1);
    assert_eq!((shorter.best_epoch, &until_best), (None, &weights));
    assert_eq!(shorter.epochs[..], history.epochs[..best as usize]);
    let (_, last) = fit(Some(rule.restore_best_weights(false)), 500, 1);
    assert_eq!(fit(None, best + 4, 1).1, last);
    assert_ne!(last, weights);
}

#[test]
fn early_stopping_that_cannot_be() {
    let [x, y, of_x, of_y] = watched();
    let rule = EarlyStopping::new("validation_loss");
    for (rule, validation_data, message) in [
        (
            rule.clone(),
            None,
            "early_stopping watches what is measured after every epoch: set validation_split",
        ),
        (
            EarlyStopping::new("validation_mea"),
            Some((of_x.clone(), of_y.clone())),
            "metric of early_stopping: found \"validation_mea\", did you mean `validation_mae`?",
        ),
        (
            rule.clone().min_delta(-1.0),
            Some((of_x.clone(), of_y.clone())),
            "min_delta of early_stopping: found -1.0, wanted a number of at least 0",
        ),
        (
            rule.clone(),
            Some((of_x.clone(), y.clone())),
            "validation_data: x is [20, 3] and y is [40, 1], wanted as many rows of each, and 3 columns of x",
        ),
        (
            rule,
            Some((of_x.clone(), Array2::from_elem((20, 2), 0.5))),
            "validation_data: y has 2 columns, the network wants 1",
        ),
    ] {
        let mut model = Sequential::new();
        model.add(Dense::new(1));
        model.compile(sgd(0.1), Loss::Mse, &[Metric::Mae]);
        let fit = Fit::new().batch_size(10).early_stopping(rule);
        let fit = match &validation_data {
            Some((x, y)) => fit.validation_data(x.view(), y.view()),
            None => fit,
        };
        let error = model.fit(x.view(), y.view(), &fit).unwrap_err().to_string();
        assert!(error.contains(message), "no {message:?} in {error}");
    }
}
