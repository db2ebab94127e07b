//! Fits on arrays: what goes together, and learning rates.

use lockstep::prelude::*;
use ndarray::Array2;

#[test]
fn classes_that_the_last_layer_does_not_have() {
    let x = Array2::from_shape_fn((10, 2), |(row, column)| (row + column) as f32);
    let y = Array2::from_shape_fn((10, 1), |(row, _)| row as f32);
    let mut model = Sequential::new();
    model.add(Dense::new(3).activation(Activation::Softmax));
    model.compile(sgd(0.1), Loss::CROSS_ENTROPY, &[]);
    let error = model.fit(x.view(), y.view(), &Fit::new().batch_size(5)).unwrap_err();
    let wanted = "y[[3, 0]] is 3, wanted a class from 0 to 2 for Loss::CrossEntropy";
    assert!(error.to_string().contains(wanted), "{error}");
}

/// The weights after a fit of 32 steps with this optimizer.
fn fitted(optimizer: Optimizer, workers: usize) -> lockstep::Result<Vec<f32>> {
    let x = Array2::from_shape_fn((32, 2), |(row, column)| ((3 * row + column) % 7) as f32 / 7.0);
    let y = Array2::from_shape_fn((32, 1), |(row, _)| (row % 5) as f32 / 5.0);
    let mut model = Sequential::new();
    model.add(Dense::new(4).activation(Activation::Tanh));
    model.add(Dense::new(1));
    model.compile(optimizer, Loss::Mse, &[]);
    let fit = Fit::new().epochs(4).batch_size(4).workers(workers);
    model.fit(x.view(), y.view(), &fit)?;
    Ok(model.weights().unwrap().to_vec())
}

#[test]
fn learning_rates_that_change() {
    let by = |optimizer: Optimizer| {
        let weights = fitted(optimizer.clone(), 1).unwrap();
        assert_eq!(fitted(optimizer, 3).unwrap(), weights);
        weights
    };
    let default = by(adam());
    assert_eq!(by(adam().learning_rate(0.001)), default);
    assert_eq!(by(adam().learning_rate(0.001f32)), default);
    assert_eq!(by(adam().learning_rate(ConstantRate::new(0.001))), default);
    assert_eq!(by(sgd(0.1)), by(Optimizer::new(Rule::Sgd { momentum: 0.0, nesterov: false }, 0.1)));
    let mut all = vec![
        default,
        by(adam().learning_rate(ConstantRate::new(0.001).warmup(10))),
        by(adam().learning_rate(CosineDecay::new(0.0, 20).warmup(10, 0.001))),
        by(adam().learning_rate(ExponentialDecay::new(0.001, 5, 0.5).staircase())),
        by(adam().learning_rate(PiecewiseConstantDecay::new([10, 20], [0.001, 0.0005, 0.0001]))),
    ];
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all.dedup();
    assert_eq!(all.len(), 5, "{all:?}");
    // As long as the rate is the same, so are the weights.
    let late = PiecewiseConstantDecay::new([31], [0.001, 0.5]);
    assert_eq!(by(adam().learning_rate(late)), by(adam()));
}

#[test]
fn learning_rates_that_cannot_be() {
    for (optimizer, message) in [
        (sgd(0.0), "the learning rate: found 0.0, wanted a number above 0"),
        (sgd(f32::NAN), "the learning rate: found NaN, wanted a number above 0"),
        (adam().learning_rate(-0.1), "the learning rate: found -0.1"),
        (
            adam().learning_rate(ExponentialDecay::new(0.1, 0, 0.5)),
            "decay_steps of the learning rate: found 0, wanted a whole number from 1 to",
        ),
        (
            adam().learning_rate(PiecewiseConstantDecay::new([5, 3], [0.1, 0.2, 0.3])),
            "boundaries of the learning rate: found 3 after 5, wanted each above the one before it",
        ),
        (
            adam().learning_rate(PiecewiseConstantDecay::new([5], [0.1])),
            "values of the learning rate: found 1 for 1 in boundaries, wanted 2",
        ),
        (
            adam().learning_rate(CosineDecay { warmup_steps: 5, ..CosineDecay::new(0.1, 9) }),
            "warmup_steps of the learning rate: found 5 without warmup_target",
        ),
        (
            adam().learning_rate(CosineDecay::new(0.0, 20)),
            "the learning rate over the 32 steps of this fit: it is 0 at every step of the run",
        ),
        (
            adam().learning_rate(ExponentialDecay::new(0.1, 1, 1e10)),
            "the learning rate over the 32 steps of this fit: it grows beyond all 32-bit floats",
        ),
    ] {
        let error = fitted(optimizer, 1).unwrap_err().to_string();
        assert!(error.contains(message), "no {message:?} in {error}");
    }
}
