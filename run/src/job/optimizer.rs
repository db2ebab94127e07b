//! `train.optimizer`: a name, or a table with a type and its parameters. Defaults are Keras 3's.

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::policy::LearningRate;

use super::learning_rate;
use super::reader::{JobError, Place, Section, Value};

/// Every name, in the order in which messages list them.
pub(super) const NAMES: &[&str] = &["sgd", "adam", "adamw", "rmsprop", "adagrad"];

/// The optimizer of that name and its learning rate, with Keras' defaults.
pub fn from_name(name: &str) -> Option<(Optimizer, LearningRate)> {
    let epsilon = 1e-7;
    let adam = |weight_decay| Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon, weight_decay };
    let optimizer = match name {
        "sgd" => Optimizer::Sgd { momentum: 0.0, nesterov: false },
        "adam" => adam(None),
        "adamw" => adam(Some(0.004)),
        "rmsprop" => Optimizer::RmsProp { rho: 0.9, momentum: 0.0, epsilon },
        "adagrad" => Optimizer::Adagrad { initial_accumulator: 0.1, epsilon },
        _ => return None,
    };
    let learning_rate = if name == "sgd" { 0.01f32 } else { 0.001 };
    Some((optimizer, learning_rate.into()))
}

/// Every parameter of any optimizer.
pub(super) const PARAMETERS: &[&str] = &[
    "learning_rate",
    "momentum",
    "nesterov",
    "beta_1",
    "beta_2",
    "epsilon",
    "weight_decay",
    "rho",
    "initial_accumulator",
];

/// The parameters of the optimizer of that name.
fn parameters_of(name: &str) -> &'static [&'static str] {
    match name {
        "sgd" => &["learning_rate", "momentum", "nesterov"],
        "adam" => &["learning_rate", "beta_1", "beta_2", "epsilon"],
        "adamw" => &["learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"],
        "rmsprop" => &["learning_rate", "rho", "momentum", "epsilon"],
        "adagrad" => &["learning_rate", "initial_accumulator", "epsilon"],
        _ => &[],
    }
}

/// The optimizer and its learning rate; and where the latter stands, or the former if it does not say.
pub(super) fn read(value: &Value<'_>) -> Result<(Optimizer, LearningRate, Place), JobError> {
    let ((mut optimizer, mut rate), section) = value.kind(NAMES, from_name, parameters_of)?;
    let mut place = value.place();
    if let Some(section) = section {
        if let Some(value) = section.get("learning_rate") {
            rate = learning_rate::read(&value)?;
            place = value.place();
        }
        fill(&section, &mut optimizer)?;
    }
    Ok((optimizer, rate, place))
}

fn fill(section: &Section<'_>, optimizer: &mut Optimizer) -> Result<(), JobError> {
    match optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            share(section, "momentum", momentum)?;
            if let Some(value) = section.get("nesterov") {
                *nesterov = value.boolean()?;
                if *nesterov && *momentum == 0.0 {
                    return Err(value.fail("nesterov needs a momentum above 0"));
                }
            }
        }
        Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay } => {
            share(section, "beta_1", beta_1)?;
            share(section, "beta_2", beta_2)?;
            positive(section, "epsilon", epsilon)?;
            if let (Some(value), Some(decay)) = (section.get("weight_decay"), weight_decay) {
                *decay = value.number32("a number of at least 0", |n| n >= 0.0)?;
            }
        }
        Optimizer::RmsProp { rho, momentum, epsilon } => {
            share(section, "rho", rho)?;
            share(section, "momentum", momentum)?;
            positive(section, "epsilon", epsilon)?;
        }
        Optimizer::Adagrad { initial_accumulator, epsilon } => {
            positive(section, "initial_accumulator", initial_accumulator)?;
            positive(section, "epsilon", epsilon)?;
        }
    }
    Ok(())
}

fn positive(section: &Section<'_>, key: &'static str, into: &mut f32) -> Result<(), JobError> {
    if let Some(value) = section.get(key) {
        *into = value.number32("a number above 0", |n| n > 0.0)?;
    }
    Ok(())
}

fn share(section: &Section<'_>, key: &'static str, into: &mut f32) -> Result<(), JobError> {
    if let Some(value) = section.get(key) {
        *into = value.number32("a number from 0 to below 1", |n| (0.0..1.0).contains(&n))?;
    }
    Ok(())
}
