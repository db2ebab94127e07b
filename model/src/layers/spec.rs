//! One layer as a network's description has it: a value of any of the listed types, and its JSON form.
//!
//! In JSON a layer is an object of its parameters after `type`, which the first of the list goes without. Defaults may be left
//! out, and unknown parameters are errors.

use std::any::Any;
use std::fmt;

use lockstep_parameters::{Choice, Parameter, Value, Values, values};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Map;

use super::LAYERS;
use super::layer::Layer;
use crate::json::{Json, fill_all};

/// The key that says which layer it is.
const TAG: &str = "type";

/// A layer: which of them, with its parameters.
pub struct LayerSpec(Box<dyn Layer>);

impl LayerSpec {
    pub(super) fn of(layer: impl Layer) -> LayerSpec {
        LayerSpec(Box::new(layer))
    }

    /// The same layer.
    pub(crate) fn copy_of(layer: &dyn Layer) -> LayerSpec {
        LayerSpec(layer.boxed())
    }

    /// A number of values in a row that these layers, one after another, can take where it is not known yet: what a block at the
    /// beginning needs, or 1.
    pub fn inputs_for(layers: &[LayerSpec]) -> usize {
        let fixed = layers.iter().find(|layer| layer.0.units().is_some());
        let block = fixed.filter(|layer| !layer.0.inside().is_empty());
        block.and_then(|layer| layer.0.units()).unwrap_or(1)
    }

    /// The name in a job.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Names and values of the parameters.
    pub fn values(&self) -> Values {
        values(self.clone().parameters())
    }

    /// The layer itself, if it is of that type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let layer: &dyn Any = &*self.0;
        layer.downcast_ref()
    }

    /// The name of its activation, if it has one.
    pub fn activation(&self) -> Option<&'static str> {
        self.values().into_iter().find_map(|(name, value)| match value {
            Value::Chosen(chosen) if name == "activation" => Some(chosen.name),
            _ => None,
        })
    }

    /// What a table of layers says of it in a few words.
    pub fn summary(&self) -> String {
        self.0.summary()
    }

    /// Fewest rows of a microbatch that it, and what is inside it, can learn from.
    pub fn rows_min(&self) -> u64 {
        fn rows_min(layer: &dyn Layer) -> u64 {
            let inside = layer.inside().into_iter().map(rows_min);
            inside.fold(layer.rows_min(), u64::max)
        }
        rows_min(&*self.0)
    }

    pub(crate) fn layer(&self) -> &dyn Layer {
        &*self.0
    }
}

impl Choice for LayerSpec {
    fn names() -> Vec<&'static str> {
        LAYERS.iter().map(|(name, _)| *name).collect()
    }

    fn named(name: &str) -> Option<LayerSpec> {
        LAYERS.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        self.0.parameters()
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
            map.serialize_entry(name, &Json(&value))?;
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
        fill_all(layer.parameters(), map).map_err(D::Error::custom)?;
        Ok(layer)
    }
}
