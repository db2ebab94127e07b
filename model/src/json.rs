//! The JSON form of what is chosen by name, stable since the first version: `"relu"`, or `{"elu":{"alpha":1.0}}`. Parameters
//! with a default may be left out, and unknown ones are errors. Ranges are not looked at: a network is checked as a whole.

use lockstep_parameters::{AnyChoice, Chosen, Parameter, Slot, Value};
use serde::de::Error as _;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Error, Map, Result};

/// A parameter's value, to be written.
pub(crate) struct Json<'a>(pub(crate) &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::Flag(flag) => flag.serialize(serializer),
            Value::Whole(number) => number.serialize(serializer),
            Value::Number(number) => number.serialize(serializer),
            Value::Number32(number) => number.serialize(serializer),
            Value::Text(text) => text.serialize(serializer),
            Value::List(values) => serializer.collect_seq(values.iter().map(Json)),
            Value::Chosen(Chosen { name, values, .. }) if values.is_empty() => {
                name.serialize(serializer)
            }
            Value::Chosen(Chosen { name, values, .. }) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(name, &Json(&Value::Table(values.clone())))?;
                map.end()
            }
            Value::Table(values) => {
                serializer.collect_map(values.iter().map(|(name, value)| (name, Json(value))))
            }
        }
    }
}

/// Chooses what the JSON says.
pub(crate) fn choose(choice: &mut dyn AnyChoice, json: serde_json::Value) -> Result<()> {
    let (name, own) = match json {
        serde_json::Value::String(name) => (name, Map::new()),
        serde_json::Value::Object(map) if map.len() == 1 => {
            let (name, own) = map.into_iter().next().unwrap_or_default();
            (name, serde_json::from_value(own)?)
        }
        other => return Err(Error::custom(format!("found {other}, expected a name"))),
    };
    if !choice.choose(&name) {
        let names = choice.names().join(", ");
        return Err(Error::custom(format!("unknown variant `{name}`, expected one of: {names}")));
    }
    fill_all(choice.parameters(), own)
}

/// Sets parameters to what an object has, all of it.
pub(crate) fn fill_all(
    parameters: Vec<Parameter<'_>>,
    mut own: Map<String, serde_json::Value>,
) -> Result<()> {
    let mut names = Vec::new();
    for parameter in parameters {
        names.push(parameter.name);
        match own.remove(parameter.name) {
            Some(value) => fill(parameter.slot, value)?,
            None if parameter.is_required => return Err(Error::missing_field(parameter.name)),
            None => {}
        }
    }
    let Some(unknown) = own.keys().next() else { return Ok(()) };
    let names = names.join(", ");
    Err(Error::custom(format!("unknown field `{unknown}`, expected one of: {names}")))
}

fn fill(slot: Slot<'_>, json: serde_json::Value) -> Result<()> {
    use serde_json::from_value;
    match slot {
        Slot::Flag(into) => into.set(from_value(json)?),
        Slot::Whole(into, ..) => into.set(from_value(json)?),
        Slot::Wholes(into, ..) => into.set(from_value(json)?),
        Slot::Sides(into, ..) => into.set(match json.is_array() {
            true => from_value(json)?,
            false => [from_value(json)?; 2],
        }),
        Slot::Number(into, _) => into.set(from_value(json)?),
        Slot::Numbers(into, _) => into.set(from_value(json)?),
        Slot::Number32(into, _) => into.set(from_value(json)?),
        Slot::Text(into) => into.set(from_value(json)?),
        Slot::Texts(into) => into.set(from_value(json)?),
        Slot::Choice(choice) => choose(choice, json)?,
        Slot::Choices(choices, _) => {
            choices.empty();
            let items: Vec<serde_json::Value> = from_value(json)?;
            items.into_iter().try_for_each(|item| choose(choices.add(), item))?;
        }
        Slot::Table(table) => fill_all(table.open(), from_value(json)?)?,
    }
    Ok(())
}
