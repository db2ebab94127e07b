//! One layer as a network's description has it: a value of any of the listed types, and its JSON form.
//!
//! In JSON a layer is an object of its parameters after `type`, which the first of the list goes without. Defaults may be left
//! out, and unknown parameters are errors.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::LAYERS;
use super::layer::Layer;
use super::parameter::{Parameter, ParameterValue, Slot};

/// The key that says which layer it is.
const TAG: &str = "type";

/// A layer: which of them, with its parameters.
pub struct LayerSpec(Box<dyn Layer>);

impl LayerSpec {
    pub(super) fn of(layer: impl Layer) -> LayerSpec {
        LayerSpec(Box::new(layer))
    }

    /// The names of all layers, in the order in which messages list them.
    pub fn names() -> Vec<&'static str> {
        LAYERS.iter().map(|(name, _)| *name).collect()
    }

    /// The layer of that name. Parameters that have no default are still to be filled in.
    pub fn named(name: &str) -> Option<LayerSpec> {
        LAYERS.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
    }

    /// The name in a job.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The parameters, in the order in which they are written.
    pub fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.0.parameters()
    }

    /// Names and values of the parameters.
    pub fn values(&self) -> Vec<(&'static str, ParameterValue)> {
        let mut copy = self.clone();
        let parameters = copy.parameters().into_iter();
        parameters.map(|found| (found.name, found.slot.value())).collect()
    }

    /// What a table of layers says of it in a few words.
    pub fn summary(&self) -> String {
        self.0.summary()
    }

    pub(crate) fn layer(&self) -> &dyn Layer {
        &*self.0
    }

    /// What is wrong with a parameter by itself.
    pub(crate) fn problem(&self) -> Option<String> {
        self.clone().parameters().iter().find_map(Parameter::problem)
    }
}

impl Clone for LayerSpec {
    fn clone(&self) -> LayerSpec {
        LayerSpec(self.0.boxed())
    }
}

impl fmt::Debug for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for LayerSpec {
    fn eq(&self, other: &LayerSpec) -> bool {
        self.name() == other.name() && self.values() == other.values()
    }
}

impl Serialize for LayerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.name() != LAYERS[0].0 {
            map.serialize_entry(TAG, self.name())?;
        }
        for (name, value) in self.values() {
            match value {
                ParameterValue::Count(count) => map.serialize_entry(name, &count)?,
                ParameterValue::Number(number) => map.serialize_entry(name, &number)?,
                ParameterValue::Flag(flag) => map.serialize_entry(name, &flag)?,
                ParameterValue::Activation(activation) => map.serialize_entry(name, &activation)?,
                ParameterValue::Initializer(how) => map.serialize_entry(name, &how)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LayerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LayerSpec, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        let mut layer = match map.remove(TAG) {
            None => (LAYERS[0].1)(),
            Some(name) => name.as_str().and_then(LayerSpec::named).ok_or_else(|| {
                let names = LayerSpec::names().join(", ");
                D::Error::custom(format!("unknown layer type {name}, expected one of: {names}"))
            })?,
        };
        let mut names = Vec::new();
        for parameter in layer.parameters() {
            names.push(parameter.name);
            match map.remove(parameter.name) {
                Some(value) => fill(parameter.slot, value).map_err(D::Error::custom)?,
                None if parameter.is_required => {
                    return Err(D::Error::missing_field(parameter.name));
                }
                None => {}
            }
        }
        match map.keys().next() {
            None => Ok(layer),
            Some(unknown) => Err(D::Error::custom(format!(
                "unknown field `{unknown}`, expected one of: {}",
                names.join(", ")
            ))),
        }
    }
}

fn fill(slot: Slot<'_>, value: Value) -> serde_json::Result<()> {
    match slot {
        Slot::Count(into, _) => *into = serde_json::from_value(value)?,
        Slot::Number(into, _) => *into = serde_json::from_value(value)?,
        Slot::Flag(into) => *into = serde_json::from_value(value)?,
        Slot::Activation(into) => *into = serde_json::from_value(value)?,
        Slot::Initializer(into) => *into = serde_json::from_value(value)?,
    }
    Ok(())
}
