//! The Rust API in a process of its own, for what could end the process, or concerns all of it.

use std::process::Command;

use lockstep::prelude::*;
use ndarray::Array2;

use crate::process::run;

/// What the process writes before the outcome.
const OUTCOME: &str = "the fit ";

/// Asks the process for another state of its arithmetic.
pub(crate) const CONTROL: &str = "LOCKSTEP_TEST_CONTROL_REGISTER";

/// Rows and columns of the table, all in one batch, for a network of one unit. Without them it is a small table, and a
/// network of several chunks, which threads add.
const SHAPE: &str = "LOCKSTEP_TEST_SHAPE";

/// Set where this program was started to fit.
const IN_ITS_OWN_PROCESS: &str = "LOCKSTEP_TEST_FITS";

/// Fits a small network in a process with these variables, which has to end well. How the fit ended.
#[track_caller]
pub(crate) fn fit_in_a_process(variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "api::fits", "--nocapture"]);
    command.env(IN_ITS_OWN_PROCESS, "1").envs(variables.iter().copied());
    let ended = run(command);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let outcome = ended.stdout.lines().find_map(|line| line.split_once(OUTCOME));
    outcome.unwrap_or_else(|| panic!("{ended}")).1.to_string()
}

/// The process of [`fit_in_a_process`]; among the other tests it has nothing to do.
#[test]
fn fits() {
    if std::env::var_os(IN_ITS_OWN_PROCESS).is_none() {
        return;
    }
    let _failpoints = fail::FailScenario::setup();
    let shape = std::env::var(SHAPE).ok();
    let (rows, columns) = shape.as_ref().map_or((64, 4), |shape| {
        let (rows, columns) = shape.split_once('x').unwrap();
        (rows.parse().unwrap(), columns.parse().unwrap())
    });
    #[cfg(target_arch = "x86_64")]
    if let Ok(control) = std::env::var(CONTROL) {
        set_control_register(control.parse().unwrap());
    }
    let x = Array2::from_shape_fn((rows, columns), |(row, column)| ((row + column) % 7) as f32);
    let y = Array2::from_shape_fn((rows, 1), |(row, _)| (row % 3) as f32);
    let mut model = Sequential::new();
    if shape.is_none() {
        model.add(Dense::new(40_000).activation(Activation::Relu));
    }
    model.add(Dense::new(1));
    model.compile(sgd(1e-9), Loss::Mse, &[]);
    let count = if shape.is_some() { 1 } else { 2 };
    let (shards, workers) = (count as u32, count);
    let fit = Fit { batch_size: rows, shards, workers, threads: 2, ..Fit::default() };
    match model.fit(x.view(), y.view(), &fit) {
        Ok(_) => println!("{OUTCOME}went well"),
        Err(error) => println!("{OUTCOME}failed: {error}"),
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn set_control_register(flags: u32) {
    let control = 0x1f80 | flags;
    // SAFETY: it is loaded from a live variable, and holds for this thread and those that it starts.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly));
    }
}

#[test]
fn classes_that_the_last_layer_does_not_have() {
    let x = Array2::from_shape_fn((10, 2), |(row, column)| (row + column) as f32);
    let y = Array2::from_shape_fn((10, 1), |(row, _)| row as f32);
    let mut model = Sequential::new();
    model.add(Dense::new(3).activation(Activation::Softmax));
    model.compile(sgd(0.1), Loss::CROSS_ENTROPY, &[]);
    let error =
        model.fit(x.view(), y.view(), &Fit { batch_size: 5, ..Fit::default() }).unwrap_err();
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
    let fit = Fit { epochs: 4, batch_size: 4, workers, ..Fit::default() };
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
        let validation_data = Some((of_x.clone(), of_y.clone()));
        let fit = Fit {
            epochs,
            batch_size: 10,
            workers,
            validation_data,
            early_stopping: rule,
            ..Fit::default()
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
        (rule.clone(), None, "early_stopping watches the validation table: set validation_data"),
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
        let early_stopping = Some(rule);
        let fit = Fit { batch_size: 10, validation_data, early_stopping, ..Fit::default() };
        let error = model.fit(x.view(), y.view(), &fit).unwrap_err().to_string();
        assert!(error.contains(message), "no {message:?} in {error}");
    }
}

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
    let fit = Fit { epochs: 3, batch_size: 10, workers, class_weights, ..Fit::default() };
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
    let fit = |workers| Fit { epochs: 40, batch_size: 20, workers, ..Fit::default() };
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
        let history =
            model.fit(x.view(), y.view(), &Fit { batch_size: 60, ..Fit::default() }).unwrap();
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
    let fit = Fit { batch_size: 20, ..Fit::default() };
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

/// The threshold that validation rows choose is the model's; without them there is none.
#[test]
fn a_binary_model_has_a_threshold() {
    let x = Array2::from_shape_fn((200, 1), |(row, _)| (row * 37 % 100) as f32 / 50.0 - 1.0);
    let y = Array2::from_shape_fn((200, 1), |(row, _)| f32::from(x[[row, 0]] > 0.79));
    let mut model = Sequential::new();
    model.add(Dense::new(1).activation(Activation::Sigmoid));
    model.compile(adam().learning_rate(0.05), Loss::BINARY_CROSS_ENTROPY, &[]);
    let fit = Fit { epochs: 3, batch_size: 20, ..Fit::default() };
    model.fit(x.view(), y.view(), &fit).unwrap();
    assert_eq!(model.threshold(), None);
    let watched = Fit { validation_data: Some((x.clone(), y.clone())), ..fit };
    model.fit(x.view(), y.view(), &watched).unwrap();
    let threshold = model.threshold().unwrap();
    let predicted = model.predict(x.view()).unwrap();
    let is_right = |(p, y): (&f32, &f32)| (f64::from(*p) > threshold) == (*y == 1.0);
    let right = predicted.iter().zip(&y).filter(|&pair| is_right(pair)).count();
    assert!(right >= 195, "{right} of 200");
}

#[test]
fn a_fit_goes_well() {
    assert_eq!(fit_in_a_process(&[]), "went well");
}

/// More than 2^18 rows in one node of the tree.
#[test]
fn a_batch_of_very_many_rows() {
    assert_eq!(fit_in_a_process(&[(SHAPE, "300000x2")]), "went well");
}

/// A row is longer than a message may be.
#[test]
fn rows_of_very_many_columns() {
    assert_eq!(fit_in_a_process(&[(SHAPE, "3x1100000")]), "went well");
}

/// Only a fitted model goes to other programs.
#[test]
fn a_fitted_model_is_an_onnx_graph() {
    let mut model = Sequential::new();
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    assert!(model.to_onnx().unwrap_err().to_string().contains("to_onnx before fit"));
    let x = Array2::from_shape_fn((8, 2), |(row, column)| (row * 2 + column) as f32);
    let y = Array2::from_shape_fn((8, 1), |(row, _)| row as f32);
    model.fit(x.view(), y.view(), &Fit { batch_size: 4, ..Fit::default() }).unwrap();
    let bytes = model.to_onnx().unwrap();
    for name in ["numbers", "layers.0.kernel", "y0"] {
        assert!(bytes.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }
}
