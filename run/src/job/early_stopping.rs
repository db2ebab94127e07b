//! `train.early_stopping`: what is watched, and how long a run goes on that gets no better. Names are Keras', but for `metric`,
//! which Keras calls `monitor`.

use lockstep_coordinator::policy::{EarlyStopping, Mode};

use super::Model;
use super::hints::unknown_name;
use super::reader::{JobError, Value, quoted};

/// The keys.
pub(super) const KEYS: &[&str] =
    &["metric", "patience", "min_delta", "restore_best_weights", "start_from_epoch", "baseline"];

/// What is watched, where a job does not say.
pub const METRIC_DEFAULT: &str = "validation_loss";

/// What a table looks like, for messages.
pub(super) const EXAMPLE: &str = "early_stopping = { metric = \"validation_loss\", patience = 10 }";

/// How what is measured on the validation table is called.
const PREFIX: &str = "validation_";

/// All that can be watched, with which values of it are better.
fn measures(model: &Model) -> Vec<(String, Mode)> {
    let metrics = model.metrics.iter().map(|metric| {
        let mode = if metric.is_better_larger() { Mode::Max } else { Mode::Min };
        (format!("{PREFIX}{}", metric.name()), mode)
    });
    std::iter::once((METRIC_DEFAULT.to_string(), Mode::Min)).chain(metrics).collect()
}

/// The network's name of what is watched: `loss`, or a metric's.
pub(crate) fn measure(rule: &EarlyStopping) -> &str {
    rule.metric.strip_prefix(PREFIX).unwrap_or(&rule.metric)
}

/// Which values of what is watched are better.
///
/// # Errors
/// What was found and wanted, if the model has no such metric.
pub fn mode(rule: &EarlyStopping, model: &Model) -> Result<Mode, String> {
    let measures = measures(model);
    match measures.iter().find(|(name, _)| *name == rule.metric) {
        Some((_, mode)) => Ok(*mode),
        None => {
            let names: Vec<&str> = measures.iter().map(|(name, _)| name.as_str()).collect();
            Err(unknown_name(&rule.metric, &names))
        }
    }
}

pub(super) fn read(
    value: &Value<'_>,
    model: &Model,
    has_validation: bool,
) -> Result<EarlyStopping, JobError> {
    let Some(section) = value.table(KEYS) else {
        return Err(value.wanted(format!("a table, as in `{EXAMPLE}`")));
    };
    let section = section?;
    let mut rule = EarlyStopping::new(METRIC_DEFAULT);
    if let Some(value) = section.get("metric") {
        rule.metric = value.string()?.to_string();
        mode(&rule, model).map_err(|problem| value.fail(problem))?;
    }
    if let Some(value) = section.get("patience") {
        rule.patience = value.integer(0, u32::MAX.into())? as u32;
    }
    if let Some(value) = section.get("min_delta") {
        rule.min_delta = value.number("a number of at least 0", |number| number >= 0.0)?;
    }
    if let Some(value) = section.get("restore_best_weights") {
        rule.restore_best_weights = value.boolean()?;
    }
    if let Some(value) = section.get("start_from_epoch") {
        rule.start_from_epoch = value.integer(0, u32::MAX.into())? as u32;
    }
    if let Some(value) = section.get("baseline") {
        rule.baseline = Some(value.number("a number", |_| true)?);
    }
    if !has_validation {
        return Err(value.fail(
            "there is no validation table to watch: add one in [data], such as `validation = { fraction = 0.2 }`",
        ));
    }
    Ok(rule)
}

/// As a job file has it, every default written out.
pub(super) fn to_toml(rule: &EarlyStopping) -> String {
    let EarlyStopping {
        metric,
        patience,
        min_delta,
        restore_best_weights,
        start_from_epoch,
        baseline,
    } = rule;
    let baseline = baseline.map_or(String::new(), |baseline| format!(", baseline = {baseline:?}"));
    format!(
        "{{ metric = {}, patience = {patience}, min_delta = {min_delta:?}, restore_best_weights = {restore_best_weights}, \
         start_from_epoch = {start_from_epoch}{baseline} }}",
        quoted(metric)
    )
}
