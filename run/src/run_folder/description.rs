//! `model/model.json`: the network and the columns of a model, and how they are told apart from another's.

use std::borrow::Cow;
use std::path::Path;

use lockstep_data::{Schema, TargetKind};
use lockstep_model::{Embedding, Network, NetworkSpec, Threshold};
use lockstep_proto::tree::SHARDS_MAX;
use lockstep_proto::words::count;
use serde::{Deserialize, Serialize};

use super::manifest::hash;
use super::{Manifest, Status, json};
use crate::error::{Error, Result};
use crate::format::{FORMAT, FORMAT_OF_COLUMNS, FORMAT_OF_THRESHOLDS};
use crate::job::target_kind;
use crate::plan::{Plan, embeddings, units};

/// The file, in a run folder.
pub(super) const DESCRIPTION: &str = "model/model.json";

/// Longest that is read; it has every feature and label.
pub(super) const DESCRIPTION_BYTES_MAX: u64 = 256 << 20;

/// With the weights, all that is needed to use the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelDescription {
    /// [`FORMAT`], or [`FORMAT_OF_COLUMNS`] or [`FORMAT_OF_THRESHOLDS`] where it has to be.
    pub format: u32,
    /// The network.
    pub network: NetworkSpec,
    /// How raw rows become rows of the network.
    pub schema: Schema,
    /// `S`: tables are measured in the same tree as in the run.
    pub shards: u32,
    /// Of a model with one output and two classes, where one was chosen: a line of its own, the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
}

impl ModelDescription {
    /// The network, the schema and `S`, which fit each other: whatever row the schema reads has a value for each input and
    /// target of the network, and a threshold is one of a model that has one.
    ///
    /// # Errors
    /// What was found and wanted, if they do not.
    pub(super) fn fitting(self) -> std::result::Result<(Network, Schema, u32), String> {
        let ModelDescription { network, schema, shards, threshold, .. } = self;
        let network = Network::new(network).map_err(|error| error.to_string())?;
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(format!("{shards} shards, wanted 1 to {SHARDS_MAX}"));
        }
        let wanted = target_kind(network.spec().loss, network.outputs());
        let found = [schema.inputs(), schema.targets.len()];
        let inputs = network.spec().inputs;
        if found != [inputs, network.target_width()] || schema.kind != wanted {
            let [features, targets] = found;
            return Err(format!(
                "the schema has {}, {} and kind {:?}, the network wants {}, {} and {wanted:?}",
                count(features as u64, "input"),
                count(targets as u64, "target"),
                schema.kind,
                inputs,
                network.target_width(),
            ));
        }
        let embedded = network.spec().embeddings.iter();
        let embedded = embedded.map(|found| Embedding { trainable: None, ..found.clone() });
        if network.spec().units != units(&schema) || !embedded.eq(embeddings(&schema)) {
            return Err("its network and its columns do not go together".to_string());
        }
        if threshold.is_some() && wanted != (TargetKind::Binary { outputs: 1 }) {
            return Err("it has a threshold, and not one target with two classes".to_string());
        }
        Ok((network, schema, shards))
    }
}

/// The text of `model.json`: the same through the whole run, but for the line with the threshold.
pub(super) fn description(
    path: &Path,
    plan: &Plan,
    threshold: Option<Threshold>,
) -> Result<String> {
    let description = Description {
        network: &plan.network,
        schema: &plan.schema,
        shards: plan.job.train.shards,
        chooses_threshold: plan.chooses_threshold(),
        threshold,
    };
    description.text(path)
}

/// What `model.json` is made of.
pub(super) struct Description<'a> {
    pub(super) network: &'a Network,
    pub(super) schema: &'a Schema,
    pub(super) shards: u32,
    pub(super) chooses_threshold: bool,
    pub(super) threshold: Option<Threshold>,
}

impl Description<'_> {
    pub(super) fn text(&self, path: &Path) -> Result<String> {
        let is_as_ever = self.schema.is_of_the_first_form() && !self.network.has_units();
        let description = ModelDescription {
            format: match (self.chooses_threshold, is_as_ever) {
                (true, _) => FORMAT_OF_THRESHOLDS,
                (false, true) => FORMAT,
                (false, false) => FORMAT_OF_COLUMNS,
            },
            network: self.network.spec().clone(),
            schema: self.schema.clone(),
            shards: self.shards,
            threshold: self.threshold,
        };
        json(path, &description)
    }
}

/// The text of `model.json` without the line of its threshold.
fn without_threshold(text: &str) -> Cow<'_, str> {
    match text.rfind(",\n  \"threshold\": ") {
        Some(at) => Cow::Owned(format!("{}\n}}\n", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// The hash of what a plan's `model.json` is to be, apart from a threshold.
pub(super) fn description_hash(run: &Path, plan: &Plan) -> Result<String> {
    Ok(hash(description(&run.join(DESCRIPTION), plan, None)?.as_bytes()))
}

/// That the description, which has this threshold, is the one that the manifest names.
pub(super) fn check_description(
    path: &Path,
    text: &str,
    threshold: Option<Threshold>,
    manifest: &Manifest,
) -> Result<()> {
    let fail = |problem: String| Err(Error::File { path: path.to_path_buf(), problem });
    match &manifest.files {
        Some(files) if files.model_blake3 != hash(without_threshold(text).as_bytes()) => fail(
            "altered, or of another run: its hash is not the one that manifest.json names; put it back"
                .to_string(),
        ),
        // Before that, the model may be there and the manifest not say so yet.
        Some(_) if manifest.status == Status::Finished && manifest.threshold != threshold => {
            let text = |threshold: Option<Threshold>| {
                threshold.map_or("no threshold".to_string(), |of| format!("threshold {}", f64::from(of)))
            };
            let (found, wanted) = (text(threshold), text(manifest.threshold));
            fail(format!("altered: it has {found}, manifest.json {wanted}; put it back"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features, a target, and a network for them.
    const FITTING: &str = r#"{"format": 1, "shards": 16,
        "network": {"inputs": 2, "layers": [{"units": 3, "activation": "softmax"}], "loss": "cross_entropy"},
        "schema": {"features": ["a", "b"], "targets": ["y"], "kind": {"classes": {"outputs": 3}},
            "labels": [["x", "y", "z"]], "scale": "none", "missing": "error"}}"#;

    #[test]
    fn a_description_is_the_same_without_its_threshold() {
        let base = "{\n  \"format\": 3,\n  \"shards\": 16\n}\n";
        let with = base.replace("16\n", "16,\n  \"threshold\": 0.25\n");
        assert_ne!(with, base);
        assert_eq!(without_threshold(&with), base);
        assert_eq!(without_threshold(base), base);
    }

    #[test]
    fn a_description_holds_together_or_is_refused() {
        let inputs =
            "the schema has 2 inputs, 1 target and kind Classes { outputs: 3 }, the network wants ";
        for (from, to, wanted) in [
            ("", "", ""),
            ("\"shards\": 16", "\"shards\": 4096", ""),
            ("\"shards\": 16", "\"shards\": 0", "0 shards, wanted 1 to 4096"),
            ("\"shards\": 16", "\"shards\": 4097", "4097 shards, wanted 1 to 4096"),
            ("\"inputs\": 2", "\"inputs\": 3", inputs),
            ("\"units\": 3", "\"units\": 4", inputs),
            ("\"softmax\"}], \"loss\": \"cross_entropy\"", "\"relu\"}], \"loss\": \"mse\"", inputs),
            ("\"units\": 3", "\"units\": 0", "layer 0: `units`: found 0"),
            (
                "\"inputs\": 2",
                "\"inputs\": 2, \"embeddings\": [{\"column\": \"b\", \"rows\": 9, \"dimension\": 1}]",
                "its network and its columns do not go together",
            ),
            (
                "\"shards\": 16",
                "\"shards\": 16, \"threshold\": 0.25",
                "it has a threshold, and not one target with two classes",
            ),
        ] {
            let text = FITTING.replacen(from, to, 1);
            let description: ModelDescription = serde_json::from_str(&text).unwrap();
            match description.fitting() {
                Ok(_) => assert_eq!(wanted, "", "{text}"),
                Err(problem) => {
                    assert!(!wanted.is_empty() && problem.starts_with(wanted), "{problem}");
                }
            }
        }
    }
}
