//! The lines of `metrics.jsonl`. No I/O.

use std::collections::BTreeMap;

use lockstep_model::Threshold;
use serde::{Serialize, Serializer};

use crate::report::Values;

/// One line of `metrics.jsonl`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    Step {
        epoch: u32,
        step: u64,
        rows: u64,
        loss: f64,
        learning_rate: f32,
        seconds: f64,
    },
    Gradient {
        epoch: u32,
        step: u64,
        norms: Named<'a>,
    },
    Epoch {
        epoch: u32,
        #[serde(flatten)]
        values: &'a Values,
        seconds: f64,
    },
    Final {
        #[serde(flatten)]
        values: &'a BTreeMap<String, f64>,
        steps: u64,
        seconds: f64,
        /// Where early stopping watches them.
        #[serde(skip_serializing_if = "Option::is_none")]
        best_epoch: Option<u32>,
        /// Where one was chosen.
        #[serde(skip_serializing_if = "Option::is_none")]
        threshold: Option<Threshold>,
        weights_blake3: &'a str,
    },
}

/// Values by name, in this order.
pub(super) struct Named<'a>(pub(super) &'a [(String, f64)]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
