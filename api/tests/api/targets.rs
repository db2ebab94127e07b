//! Targets that are scaled.

use lockstep::prelude::*;
use ndarray::Array2;

/// Targets of a price and a clock, and what they are fitted from.
fn far_targets() -> (Array2<f32>, Array2<f32>) {
    let x =
        Array2::from_shape_fn((60, 2), |(row, column)| ((7 * row + 3 * column) % 11) as f32 / 11.0);
    let y = Array2::from_shape_fn((60, 2), |(row, column)| match column {
        0 => 200_000.0 + 90_000.0 * x[[row, 0]] + (row % 4) as f32 * 1000.0,
        _ => 0.001 * x[[row, 1]],
    });
    (x, y)
}

fn scaled_model(scale: Scale) -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(6).activation(Activation::Tanh));
    model.add(Dense::new(2));
    model.compile(adam().learning_rate(0.02), Loss::Mse, &[Metric::Mse, Metric::Mae, Metric::R2]);
    model.scale_targets(scale);
    model
}

/// Metrics and predictions are in the targets' own unit, the loss in that of the scaled ones; a second fit goes on.
#[test]
fn targets_may_be_scaled() {
    let (x, y) = far_targets();
    let fit = |workers| Fit::new().epochs(40).batch_size(20).workers(workers);
    for scale in
        [Scale::named("standard"), Scale::named("robust"), Scale::with_parameter("divide", 1e5)]
    {
        let mut model = scaled_model(scale.unwrap());
        model.fit(x.view(), y.view(), &fit(1)).unwrap();
        let mut other = scaled_model(scale.unwrap());
        other.fit(x.view(), y.view(), &fit(3)).unwrap();
        assert_eq!(model.weights(), other.weights());
        let predicted = model.predict(x.view()).unwrap();
        assert!(predicted.column(0).iter().all(|price| (50_000.0..500_000.0).contains(price)));
        assert_eq!(model.spec().unwrap().units.len(), 2);
        // One step that changes next to nothing measures the weights before it.
        model.compile(sgd(1e-30), Loss::Mse, &[Metric::Mse, Metric::Mae, Metric::R2]);
        let history = model.fit(x.view(), y.view(), &Fit::new().batch_size(60)).unwrap();
        let values = &history.epochs[0];
        let of = |column: usize| {
            let pairs = y.column(column).into_iter().zip(predicted.column(column));
            pairs.map(|(y, p)| (f64::from(*y), f64::from(*p))).collect::<Vec<_>>()
        };
        for (column, name) in ["y0", "y1"].into_iter().enumerate() {
            let pairs = of(column);
            let rows = pairs.len() as f64;
            let mae = pairs.iter().map(|(y, p)| (p - y).abs()).sum::<f64>() / rows;
            let found = values[&format!("mae/{name}")];
            assert!((found - mae).abs() <= 1e-5 * mae, "{name}: {found}, not {mae}");
            let squares = pairs.iter().map(|(y, p)| (p - y).powi(2)).sum::<f64>();
            let mean = pairs.iter().map(|(y, _)| y).sum::<f64>() / rows;
            let spread = pairs.iter().map(|(y, _)| (y - mean).powi(2)).sum::<f64>();
            let r2 = 1.0 - squares / spread;
            let found = values[&format!("r2/{name}")];
            assert!((found - r2).abs() < 1e-5 * r2.abs().max(1.0), "{name}: {found}, not {r2}");
        }
        assert!(values["loss"] < 10.0 && values["mse"] > 1000.0, "{values:?}");
    }
}

#[test]
fn targets_that_are_not_scaled() {
    let (x, y) = far_targets();
    let fit = Fit::new().batch_size(20);
    let mut plain = scaled_model(Scale::NONE);
    plain.fit(x.view(), y.view(), &fit).unwrap();
    assert!(plain.spec().unwrap().units.is_empty());
    let labels = Array2::from_shape_fn((60, 1), |(row, _)| (row % 2) as f32);
    let mut model = Sequential::new();
    model.add(Dense::new(2).activation(Activation::Softmax));
    model.compile(adam(), Loss::CROSS_ENTROPY, &[]);
    model.scale_targets(Scale::named("standard").unwrap());
    let error = model.fit(x.view(), labels.view(), &fit).unwrap_err().to_string();
    assert!(error.contains("targets that are labels are not scaled"), "{error}");
}
