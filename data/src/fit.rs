//! What the training rows teach the preprocessing: fill values, scaling and labels. Sums are f64, in row order, over
//! the training rows alone. Reads no file.

use crate::error::{DataError, count, list, quote};
use crate::labels;
use crate::raw::RawTable;
use crate::schema::{Cells, Scaling, Schema};
use crate::spec::{Missing, Scale, TableSpec, TargetKind};
use crate::statistics;
use crate::summary::{NumberSummary, TableSummary};

/// Smallest divisor. Squares of what is smaller vanish, so that its deviation is not known.
const DIVISOR_MIN: f64 = 1e-150;

/// What to do about a target with one label.
const NOTHING_TO_LEARN: &str = "there is nothing to learn: give another `data.target`";

/// Fits a schema to the training rows `rows` of `raw`; `summary` is theirs.
pub(crate) fn fit(
    raw: &RawTable,
    rows: &[u32],
    summary: &TableSummary,
    kind: TargetKind,
    spec: &TableSpec,
) -> Result<Schema, DataError> {
    let names = |columns: &[usize]| -> Vec<String> {
        columns.iter().map(|&column| raw.columns()[column].clone()).collect()
    };
    let fill = match spec.missing {
        Missing::Mean => Some(fill(raw, summary)?),
        Missing::Error | Missing::Drop => None,
    };
    let scaling = match spec.scale {
        Scale::None => None,
        Scale::Standard => Some(standard(raw, rows, summary, fill.as_deref())),
        Scale::MinMax => Some(min_max(summary)),
        Scale::Divide(divisor) => {
            Some(vec![Scaling { offset: 0.0, divisor }; summary.features.len()])
        }
    };
    let labels = match kind {
        TargetKind::Numbers => None,
        TargetKind::Classes { outputs } => Some(classes(raw, rows, outputs)?),
        TargetKind::Binary { .. } => Some(binary(raw, rows)?),
    };
    Ok(Schema {
        features: names(&raw.selection.features),
        image: raw.table.image_shape().map(<[usize]>::to_vec),
        targets: names(&raw.selection.targets),
        kind,
        labels,
        scale: spec.scale,
        scaling,
        missing: spec.missing,
        fill,
        cells: Cells::F64,
        dialect: spec.dialect.clone(),
    })
}

fn fill(raw: &RawTable, summary: &TableSummary) -> Result<Vec<f64>, DataError> {
    let mut fill = Vec::with_capacity(summary.features.len());
    for feature in &summary.features {
        if feature.missing == summary.rows {
            let problem = format!(
                "feature {} has no value in any training row, so no mean to fill with; leave it out of `data.features`",
                quote(feature.name.as_bytes())
            );
            return Err(DataError::table(raw.path(), problem));
        }
        fill.push(feature.mean);
    }
    Ok(fill)
}

/// Like scikit-learn's `StandardScaler` behind its `SimpleImputer`: population standard deviation, two passes.
fn standard(
    raw: &RawTable,
    rows: &[u32],
    summary: &TableSummary,
    fill: Option<&[f64]>,
) -> Vec<Scaling> {
    let features = summary.features.len();
    let present = |feature: usize, value: f64| match fill {
        Some(fill) if value.is_nan() => fill[feature],
        _ => value,
    };
    let means = statistics::means(raw, rows, features, present);
    let squares = |feature: usize, value: f64| {
        let distance = present(feature, value) - means[feature];
        distance * distance
    };
    let variances = statistics::means(raw, rows, features, squares);
    let scaling = |feature: usize| {
        let seen = &summary.features[feature];
        if seen.is_constant() {
            return Scaling { offset: seen.min, divisor: 1.0 };
        }
        Scaling { offset: means[feature], divisor: variances[feature].sqrt().max(DIVISOR_MIN) }
    };
    (0..features).map(scaling).collect()
}

fn min_max(summary: &TableSummary) -> Vec<Scaling> {
    let scaling = |seen: &NumberSummary| {
        let range = (seen.max - seen.min).max(DIVISOR_MIN);
        Scaling { offset: seen.min, divisor: if seen.is_constant() { 1.0 } else { range } }
    };
    summary.features.iter().map(scaling).collect()
}

fn classes(raw: &RawTable, rows: &[u32], outputs: usize) -> Result<Vec<Vec<String>>, DataError> {
    let labels = labels::classes(seen_labels(raw, rows, 0));
    if labels.len() == outputs {
        return Ok(vec![labels]);
    }
    let found = format!(
        "target {} has {} in the training rows ({})",
        quote(target_name(raw, 0).as_bytes()),
        count(labels.len() as u64, "class"),
        list(&labels),
    );
    let problem = match labels.len() {
        0 | 1 => format!("{found}; {NOTHING_TO_LEARN}"),
        classes => format!(
            "{found}, but the network has {}; set the last layer's `units` to {classes}, or give another `data.target`",
            count(outputs as u64, "output"),
        ),
    };
    Err(DataError::table(raw.table.target_path(), problem))
}

fn binary(raw: &RawTable, rows: &[u32]) -> Result<Vec<Vec<String>>, DataError> {
    let labels_of = |target: usize| {
        labels::binary(seen_labels(raw, rows, target)).map_err(|found| {
            let advice = match found.len() {
                0 | 1 => NOTHING_TO_LEARN.to_owned(),
                classes => format!("use `cross_entropy` with {classes} outputs for {classes} classes"),
            };
            let problem = format!(
                "target {} has {} in the training rows ({}), wanted 2 for `binary_cross_entropy`; {advice}",
                quote(target_name(raw, target).as_bytes()),
                count(found.len() as u64, "label"),
                list(&found),
            );
            DataError::table(raw.table.target_path(), problem)
        })
    };
    (0..raw.selection.label_width()).map(labels_of).collect()
}

/// Labels that these rows have, as they first come in the file.
fn seen_labels(raw: &RawTable, rows: &[u32], target: usize) -> Vec<String> {
    let names = &raw.label_names[target];
    let mut seen = vec![false; names.len()];
    raw.visit_labels(rows, target, |_, id| seen[id as usize] = true);
    names.iter().zip(seen).filter(|(_, seen)| *seen).map(|(name, _)| name.clone()).collect()
}

fn target_name(raw: &RawTable, target: usize) -> &str {
    &raw.columns()[raw.selection.targets[target]]
}
