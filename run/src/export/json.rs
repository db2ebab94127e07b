//! A model as one JSON text, and what other formats keep of it beside the weights.

use std::collections::BTreeMap;

use lockstep_data::Schema;
use lockstep_model::{NetworkSpec, Threshold};
use serde::Serialize;

use super::ExportedModel;
use crate::error::{Error, Result};

/// The format of the JSON file.
const FORMAT: u32 = 1;

/// A whole model.
#[derive(Serialize)]
struct Whole<'a> {
    format: u32,
    lockstep: &'static str,
    network: &'a NetworkSpec,
    schema: &'a Schema,
    threshold: Threshold,
    /// In the order of the flat vector.
    weights: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    shape: &'a [usize],
    /// Row by row, each as the shortest decimal that is the same `f32`.
    values: &'a [f32],
}

/// A model as a JSON file.
pub(super) fn to_bytes(model: &ExportedModel<'_>) -> Result<Vec<u8>> {
    let layout = model.network.layout();
    let weights = layout.tensors().iter().map(|found| Tensor {
        name: &found.name,
        shape: &found.shape,
        values: &model.weights[found.range.clone()],
    });
    let whole = Whole {
        format: FORMAT,
        lockstep: lockstep_proto::VERSION,
        network: model.network.spec(),
        schema: model.schema,
        threshold: model.threshold,
        weights: weights.collect(),
    };
    let mut bytes = serde_json::to_vec(&whole).map_err(unwritten)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Network, schema, labels and threshold, each as a JSON text under its name.
pub(super) fn metadata(model: &ExportedModel<'_>) -> Result<Vec<(String, String)>> {
    let json = |value: &dyn Fn() -> serde_json::Result<String>| value().map_err(unwritten);
    let mut all = vec![
        ("network".to_string(), json(&|| serde_json::to_string(model.network.spec()))?),
        ("schema".to_string(), json(&|| serde_json::to_string(model.schema))?),
    ];
    if let Some(labels) = &model.schema.labels {
        let names = model.schema.target_names();
        let by_target: BTreeMap<&String, &Vec<String>> = names.iter().zip(labels).collect();
        all.push(("labels".to_string(), json(&|| serde_json::to_string(&by_target))?));
    }
    all.push(("threshold".to_string(), json(&|| serde_json::to_string(&model.threshold))?));
    Ok(all)
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::Internal(format!("cannot write the model as JSON: {error}"))
}
