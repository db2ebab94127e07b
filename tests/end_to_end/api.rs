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
    model.compile(sgd(0.1), Loss::CrossEntropy, &[]);
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
