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
    let fit = Fit::new().batch_size(rows).shards(shards).workers(workers).threads(2);
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
