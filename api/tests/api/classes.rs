//! Weights of classes, and thresholds.

use lockstep::prelude::*;
use ndarray::Array2;

/// The weights after a fit of a model with these losses and last units, whose rows of class 1 are a quarter.
fn fitted_classes(
    (loss, units, activation): (Loss, usize, Activation),
    class_weights: Option<ClassWeights>,
    workers: usize,
) -> lockstep::Result<Vec<f32>> {
    let x =
        Array2::from_shape_fn((40, 3), |(row, column)| ((7 * row + 3 * column) % 11) as f32 / 11.0);
    let y = Array2::from_shape_fn((40, units.min(1)), |(row, _)| u8::from(row % 4 == 0).into());
    let mut model = Sequential::new();
    model.add(Dense::new(4).activation(Activation::Tanh));
    model.add(Dense::new(units).activation(activation));
    model.compile(adam().learning_rate(0.02), loss, &[]);
    let fit = Fit::new().epochs(3).batch_size(10).workers(workers);
    let fit = match class_weights {
        Some(weights) => fit.class_weights(weights),
        None => fit,
    };
    model.fit(x.view(), y.view(), &fit)?;
    Ok(model.weights().unwrap().to_vec())
}

fn class_weights(weights: &[(&str, f32)]) -> Option<ClassWeights> {
    let weights = weights.iter().map(|(label, weight)| (label.to_string(), *weight));
    Some(ClassWeights::Of(weights.collect()))
}

#[test]
fn classes_may_weigh_more_or_less() {
    for model in [
        (Loss::BINARY_CROSS_ENTROPY, 1, Activation::Sigmoid),
        (Loss::CROSS_ENTROPY, 2, Activation::Softmax),
    ] {
        let by = |weights: Option<ClassWeights>| {
            let one = fitted_classes(model, weights.clone(), 1).unwrap();
            assert_eq!(fitted_classes(model, weights, 3).unwrap(), one);
            one
        };
        let plain = by(None);
        assert_eq!(by(class_weights(&[("0", 1.0), ("1", 1.0)])), plain);
        assert_eq!(by(class_weights(&[])), plain, "a label that is left out weighs 1");
        // 40 rows, 10 of them of class 1.
        let balanced = by(Some(ClassWeights::Balanced));
        assert_eq!(by(class_weights(&[("0", 40.0 / 60.0), ("1", 2.0)])), balanced);
        assert_ne!(balanced, plain);
        assert_ne!(by(class_weights(&[("1", 2.0)])), balanced);
    }
}

#[test]
fn class_weights_that_cannot_be() {
    let binary = (Loss::BINARY_CROSS_ENTROPY, 1, Activation::Sigmoid);
    for (model, weights, message) in [
        (binary, class_weights(&[("2", 1.0)]), "found \"2\", wanted one of: 0, 1"),
        (
            binary,
            class_weights(&[("1", -1.0)]),
            "found -1 for \"1\", wanted a number of at least 0",
        ),
        (binary, class_weights(&[("1", f32::NAN)]), "found NaN for \"1\", wanted a number"),
        (
            (Loss::Mse, 1, Activation::Linear),
            Some(ClassWeights::Balanced),
            "found the loss `mse`, which has no classes, wanted `cross_entropy` or",
        ),
    ] {
        let error = fitted_classes(model, weights, 1).unwrap_err().to_string();
        assert!(error.contains(message), "no {message:?} in {error}");
    }
}

/// The threshold that validation rows choose is the model's; without them there is none.
#[test]
fn a_binary_model_has_a_threshold() {
    let x = Array2::from_shape_fn((200, 1), |(row, _)| (row * 37 % 100) as f32 / 50.0 - 1.0);
    let y = Array2::from_shape_fn((200, 1), |(row, _)| f32::from(x[[row, 0]] > 0.79));
    let mut model = Sequential::new();
    model.add(Dense::new(1).activation(Activation::Sigmoid));
    model.compile(adam().learning_rate(0.05), Loss::BINARY_CROSS_ENTROPY, &[]);
    let fit = Fit::new().epochs(3).batch_size(20);
    model.fit(x.view(), y.view(), &fit).unwrap();
    assert_eq!(model.threshold(), None);
    let watched = fit.validation_data(x.view(), y.view());
    model.fit(x.view(), y.view(), &watched).unwrap();
    let threshold = model.threshold().unwrap();
    let predicted = model.predict(x.view()).unwrap();
    let is_right = |(p, y): (&f32, &f32)| (f64::from(*p) > threshold) == (*y == 1.0);
    let right = predicted.iter().zip(&y).filter(|&pair| is_right(pair)).count();
    assert!(right >= 195, "{right} of 200");
}
