//! `model.layers`: a list of tables with a type and its parameters. Which layers there are, with which parameters, is the
//! model's to say: this file knows none of them by name.

use lockstep_model::{
    Activation, Initializer, LayerSpec, NumberRange, Parameter, ParameterValue, Slot,
};

use super::reader::{JobError, Section, Value};

/// The key beside the parameters that names the layer.
const TAG: &str = "type";

/// Most layers that a job may ask for.
const LAYERS_MAX: usize = 1024;

/// What a layer looks like, for messages.
pub(super) const EXAMPLE: &str = "{ type = \"dense\", units = 10, activation = \"relu\" }";

/// The names of a layer's parameters.
fn parameters_of(name: &str) -> Vec<&'static str> {
    let Some(mut layer) = LayerSpec::named(name) else { return Vec::new() };
    layer.parameters().iter().map(|parameter| parameter.name).collect()
}

/// Whether it is a key of any layer's table.
pub(super) fn is_parameter(key: &str) -> bool {
    LayerSpec::names().into_iter().any(|name| parameters_of(name).contains(&key))
}

pub(super) fn read(value: &Value<'_>) -> Result<Vec<LayerSpec>, JobError> {
    let listed = value.list()?;
    if listed.len() > LAYERS_MAX {
        return Err(
            value.fail(format!("found {} layers, wanted at most {LAYERS_MAX}", listed.len()))
        );
    }
    listed.iter().map(layer).collect()
}

fn layer(value: &Value<'_>) -> Result<LayerSpec, JobError> {
    let names = LayerSpec::names();
    if !value.is_table() {
        let name = value.name(&names, |name| names.contains(&name).then_some(name.to_string()))?;
        let problem = format!("found \"{name}\" alone, wanted a table such as {EXAMPLE}");
        return Err(value.fail(problem));
    }
    let (mut layer, section) = value.tagged(TAG, &names, LayerSpec::named, parameters_of)?;
    for parameter in layer.parameters() {
        fill(&section, parameter)?;
    }
    Ok(layer)
}

fn fill(section: &Section<'_>, parameter: Parameter<'_>) -> Result<(), JobError> {
    let value = match section.get(parameter.name) {
        Some(value) => value,
        None if parameter.is_required => return section.require(parameter.name).map(|_| ()),
        None => return Ok(()),
    };
    match parameter.slot {
        Slot::Count(into, most) => *into = value.integer(1, most)? as usize,
        Slot::Number(into, range) => *into = number(&value, range)?,
        Slot::Flag(into) => *into = value.boolean()?,
        Slot::Activation(into) => *into = activation(&value)?,
        Slot::Initializer(into) => {
            *into = value.name(Initializer::NAMES, Initializer::from_name)?
        }
    }
    Ok(())
}

fn number(value: &Value<'_>, range: NumberRange) -> Result<f32, JobError> {
    value.number32(range.wanted(), |number| range.fits(number))
}

fn activation(value: &Value<'_>) -> Result<Activation, JobError> {
    let keys_of = |name: &str| -> &'static [&'static str] {
        match name {
            "leaky_relu" => &["slope"],
            "elu" => &["alpha"],
            _ => &[],
        }
    };
    let (mut activation, section) =
        value.kind(Activation::NAMES, Activation::from_name, keys_of)?;
    let Some(section) = section else { return Ok(activation) };
    let finite = |value: Value<'_>| value.number32("a number of at least 0", |n| n >= 0.0);
    match (&mut activation, section.get("slope"), section.get("alpha")) {
        (Activation::LeakyRelu { slope }, Some(value), _) => *slope = finite(value)?,
        (Activation::Elu { alpha }, _, Some(value)) => *alpha = finite(value)?,
        _ => {}
    }
    Ok(activation)
}

/// As a job file has it, with every parameter.
pub(super) fn to_toml(layer: &LayerSpec) -> String {
    let mut text = format!("{{ {TAG} = \"{}\"", layer.name());
    for (name, value) in layer.values() {
        let value = match value {
            ParameterValue::Count(count) => count.to_string(),
            ParameterValue::Number(number) => format!("{number:?}"),
            ParameterValue::Flag(flag) => flag.to_string(),
            ParameterValue::Activation(activation) => activation_to_toml(activation),
            ParameterValue::Initializer(initializer) => format!("\"{initializer}\""),
        };
        text.push_str(&format!(", {name} = {value}"));
    }
    text + " }"
}

fn activation_to_toml(activation: Activation) -> String {
    match activation {
        Activation::LeakyRelu { slope } => {
            format!("{{ type = \"leaky_relu\", slope = {slope:?} }}")
        }
        Activation::Elu { alpha } => format!("{{ type = \"elu\", alpha = {alpha:?} }}"),
        activation => format!("\"{activation}\""),
    }
}
