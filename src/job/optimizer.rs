//! `train.optimizer`: a name, or a table with a type and its parameters. Defaults are Keras 3's.

use lockstep_coordinator::optimizer::Optimizer;

use super::reader::{JobError, Section, Value};

/// Every name, in the order in which messages list them.
pub(super) const NAMES: &[&str] = &["sgd", "adam", "adamw", "rmsprop", "adagrad"];

/// The optimizer of that name, with Keras' defaults.
pub fn from_name(name: &str) -> Option<Optimizer> {
    let (learning_rate, epsilon) = (0.001, 1e-7);
    let adam = |weight_decay| Optimizer::Adam {
        learning_rate,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon,
        weight_decay,
    };
    Some(match name {
        "sgd" => Optimizer::Sgd { learning_rate: 0.01, momentum: 0.0, nesterov: false },
        "adam" => adam(None),
        "adamw" => adam(Some(0.004)),
        "rmsprop" => Optimizer::RmsProp { learning_rate, rho: 0.9, momentum: 0.0, epsilon },
        "adagrad" => Optimizer::Adagrad { learning_rate, initial_accumulator: 0.1, epsilon },
        _ => return None,
    })
}

pub(super) fn read(value: &Value<'_>) -> Result<Optimizer, JobError> {
    let Some(table) = value.raw_table() else { return value.name(NAMES, from_name) };
    let kind = table.get("type").and_then(|kind| kind.get_ref().as_str().map(str::to_string));
    let parameters: &[&str] = match kind.as_deref() {
        Some("sgd") => &["type", "learning_rate", "momentum", "nesterov"],
        Some("adam") => &["type", "learning_rate", "beta_1", "beta_2", "epsilon"],
        Some("adamw") => &["type", "learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay"],
        Some("rmsprop") => &["type", "learning_rate", "rho", "momentum", "epsilon"],
        Some("adagrad") => &["type", "learning_rate", "initial_accumulator", "epsilon"],
        _ => &["type"],
    };
    if kind.is_none() {
        return Err(value.fail(format!("`type` is missing, wanted one of: {}", NAMES.join(", "))));
    }
    // An unknown type is named before the keys that would go with it.
    let any: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
    let mut optimizer = value.section(&any)?.require("type")?.name(NAMES, from_name)?;
    let section = value.section(parameters)?;
    fill(&section, &mut optimizer)?;
    Ok(optimizer)
}

fn fill(section: &Section<'_>, optimizer: &mut Optimizer) -> Result<(), JobError> {
    match optimizer {
        Optimizer::Sgd { learning_rate, momentum, nesterov } => {
            positive(section, "learning_rate", learning_rate)?;
            share(section, "momentum", momentum)?;
            if let Some(value) = section.get("nesterov") {
                *nesterov = value.boolean()?;
                if *nesterov && *momentum == 0.0 {
                    return Err(value.fail("nesterov needs a momentum above 0"));
                }
            }
        }
        Optimizer::Adam { learning_rate, beta_1, beta_2, epsilon, weight_decay } => {
            positive(section, "learning_rate", learning_rate)?;
            share(section, "beta_1", beta_1)?;
            share(section, "beta_2", beta_2)?;
            positive(section, "epsilon", epsilon)?;
            if let (Some(value), Some(decay)) = (section.get("weight_decay"), weight_decay) {
                *decay = value.number32("a number of at least 0", |n| n >= 0.0)?;
            }
        }
        Optimizer::RmsProp { learning_rate, rho, momentum, epsilon } => {
            positive(section, "learning_rate", learning_rate)?;
            share(section, "rho", rho)?;
            share(section, "momentum", momentum)?;
            positive(section, "epsilon", epsilon)?;
        }
        Optimizer::Adagrad { learning_rate, initial_accumulator, epsilon } => {
            positive(section, "learning_rate", learning_rate)?;
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
