//! `train.optimizer.learning_rate`: a number, or a table with a schedule and its parameters. Which schedules there are, with
//! which parameters, is the coordinator's to say: this file knows none of them by name but the one that a number stands for.

use lockstep_coordinator::policy::{
    LearningRate, NumberRange, Parameter, ParameterValue, SCHEDULES, STEPS_MAX, Slot,
};
use lockstep_proto::words::count;

use super::reader::{JobError, Section, Value};

/// The key beside the parameters that names the schedule.
const TAG: &str = "schedule";

/// Most values of a list: more than anybody writes.
const LISTED_MAX: usize = 1 << 16;

/// What a table looks like, for messages.
pub(super) const EXAMPLE: &str =
    "{ schedule = \"cosine\", initial_learning_rate = 0.001, decay_steps = 4000 }";

/// The names of a schedule's parameters.
fn parameters_of(name: &str) -> Vec<&'static str> {
    let found = SCHEDULES.iter().find(|(known, _)| *known == name);
    let Some((_, make)) = found else { return Vec::new() };
    make().parameters().iter().map(|parameter| parameter.name).collect()
}

/// Whether it is a key of the table of any schedule.
pub(super) fn is_parameter(key: &str) -> bool {
    key == TAG || SCHEDULES.iter().any(|(name, _)| parameters_of(name).contains(&key))
}

pub(super) fn read(value: &Value<'_>) -> Result<LearningRate, JobError> {
    let wanted = NumberRange::Above0.wanted();
    if value.is_number() {
        return Ok(value.number32(wanted, |n| n > 0.0)?.into());
    }
    if !value.is_table() {
        return Err(value.wanted(format!("{wanted}, or a table such as {EXAMPLE}")));
    }
    let names: Vec<&str> = SCHEDULES.iter().map(|(name, _)| *name).collect();
    let make = |name: &str| SCHEDULES.iter().find(|(known, _)| *known == name);
    let ((_, make), section) = value.tagged(TAG, &names, make, parameters_of)?;
    let mut schedule = make();
    for parameter in schedule.parameters() {
        fill(&section, parameter)?;
    }
    schedule.check().map_err(|wrong| match section.get(wrong.parameter) {
        Some(value) => value.fail(wrong.problem),
        None => value.fail(format!("{}: {}", wrong.parameter, wrong.problem)),
    })?;
    let learning_rate = LearningRate::from(schedule);
    // Written as a number, and one, it is the same job.
    Ok(learning_rate.constant().map_or(learning_rate, LearningRate::from))
}

fn fill(section: &Section<'_>, parameter: Parameter<'_>) -> Result<(), JobError> {
    let value = match section.get(parameter.name) {
        Some(value) => value,
        None if parameter.is_required => return section.require(parameter.name).map(|_| ()),
        None => return Ok(()),
    };
    match parameter.slot {
        Slot::Number(into, range) => *into = number(&value, range)?,
        Slot::MaybeNumber(into, range) => *into = Some(number(&value, range)?),
        Slot::Numbers(into, range) => {
            *into =
                list(&value)?.iter().map(|item| number(item, range)).collect::<Result<_, _>>()?;
        }
        Slot::Steps(into, least) => *into = value.integer(least, STEPS_MAX)?,
        Slot::StepList(into) => {
            let steps = list(&value)?;
            *into =
                steps.iter().map(|item| item.integer(0, STEPS_MAX)).collect::<Result<_, _>>()?;
        }
        Slot::Flag(into) => *into = value.boolean()?,
    }
    Ok(())
}

fn number(value: &Value<'_>, range: NumberRange) -> Result<f64, JobError> {
    let wanted = format!("{}, as a 32-bit float", range.wanted());
    value.number(&wanted, |number| range.fits(number))
}

fn list<'d>(value: &Value<'d>) -> Result<Vec<Value<'d>>, JobError> {
    let items = value.list()?;
    if items.len() > LISTED_MAX {
        let found = count(items.len() as u64, "value");
        return Err(value.fail(format!("found {found}, wanted at most {LISTED_MAX}")));
    }
    Ok(items)
}

/// As a job file has it, with every parameter.
pub(super) fn to_toml(learning_rate: &LearningRate) -> String {
    if let Some(rate) = learning_rate.constant() {
        return format!("{rate:?}");
    }
    let mut text = format!("{{ {TAG} = \"{}\"", learning_rate.name());
    for (name, value) in learning_rate.values() {
        let value = match value {
            ParameterValue::Number(number) => format!("{number:?}"),
            ParameterValue::Numbers(numbers) => format!("{numbers:?}"),
            ParameterValue::Steps(steps) => steps.to_string(),
            ParameterValue::StepList(steps) => format!("{steps:?}"),
            ParameterValue::Flag(flag) => flag.to_string(),
        };
        text.push_str(&format!(", {name} = {value}"));
    }
    text + " }"
}
