//! What early stopping, and a learning rate that is reduced on a plateau, watch: a measure of the validation table. Names are Keras',
//! but for `metric`, which Keras calls `monitor`.

use lockstep_coordinator::policy::{METRIC_DEFAULT, Mode};

use super::ModelSection;
use super::hints::unknown_name;

/// How what is measured on the validation table is called.
const PREFIX: &str = "validation_";

/// All that can be watched, with which values of it are better.
fn measures(model: &ModelSection) -> Vec<(String, Mode)> {
    let metrics = model.metrics.iter().map(|metric| {
        let mode = if metric.is_better_larger() { Mode::Max } else { Mode::Min };
        (format!("{PREFIX}{}", metric.name()), mode)
    });
    std::iter::once((METRIC_DEFAULT.to_string(), Mode::Min)).chain(metrics).collect()
}

/// The network's name of what is watched: `loss`, or a metric's.
pub(crate) fn measure(metric: &str) -> &str {
    metric.strip_prefix(PREFIX).unwrap_or(metric)
}

/// Which values of what is watched are better.
///
/// # Errors
/// What was found and wanted, if the model has no such metric.
pub fn mode(metric: &str, model: &ModelSection) -> Result<Mode, String> {
    let measures = measures(model);
    match measures.iter().find(|(name, _)| name == metric) {
        Some((_, mode)) => Ok(*mode),
        None => {
            let names: Vec<&str> = measures.iter().map(|(name, _)| name.as_str()).collect();
            Err(unknown_name(metric, &names))
        }
    }
}
