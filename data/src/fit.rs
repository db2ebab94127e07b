//! What the training rows teach the preprocessing: fill values, scaling and labels. Sums are f64, in row order, over
//! the training rows alone. Reads no file.

mod texts;

use rayon::prelude::*;

use crate::columns::{Column, ColumnSettings, Looks, Missing, Seen};
use crate::error::{DataError, column_key, count, list, quote};
use crate::infer::Found;
use crate::labels;
use crate::raw::RawTable;
use crate::schema::{Cells, Schema};
use crate::spec::{TableSpec, TargetKind};
use crate::statistics;
use crate::summary::{FeatureSummary, NumberSummary, TableSummary, TargetSummary};

/// Cells that are in memory at once while columns are fitted, about: 128 MiB.
const CELLS_AT_ONCE: usize = 1 << 24;

/// Columns that are fitted at once, at most: a row of them is a few cache lines of an image.
const COLUMNS_AT_ONCE: usize = 64;

/// What to do about a target with one label.
const NOTHING_TO_LEARN: &str = "there is nothing to learn: give another `data.target`";

/// Fits a schema to the training rows `rows` of `raw`; `summary` is theirs, and so is what each feature was found to be.
pub(crate) fn fit(
    raw: &RawTable,
    rows: &[u32],
    summary: &TableSummary,
    found: Vec<Found>,
    kind: TargetKind,
    spec: &TableSpec,
) -> Result<Schema, DataError> {
    let numbers = summary.features.iter().filter_map(FeatureSummary::number);
    let numbers: Vec<(&NumberSummary, ColumnSettings)> =
        numbers.map(|seen| (seen, spec.feature(&seen.name))).collect();
    let number_features = numbers.len();
    let mut numbers = columns(raw, rows, 0, &numbers)?.into_iter();
    let mut features = Vec::with_capacity(found.len());
    for (feature, found) in summary.features.iter().zip(found) {
        match feature {
            FeatureSummary::Number(_) => features.extend(numbers.next()),
            FeatureSummary::Text(seen) => features.push(texts::fit(raw, seen, found, spec)?),
        }
    }
    let labels = match kind {
        TargetKind::Numbers => None,
        TargetKind::Classes { outputs } => Some(classes(raw, rows, outputs)?),
        TargetKind::Binary { .. } => Some(binary(raw, rows)?),
    };
    let targets = match labels {
        None => {
            let numbers = summary.targets.iter().filter_map(|target| match target {
                TargetSummary::Numbers(seen) => Some((seen, spec.target(&seen.name))),
                TargetSummary::Classes { .. } => None,
            });
            columns(raw, rows, number_features, &numbers.collect::<Vec<_>>())?
        }
        Some(_) => {
            let name = |target| target_name(raw, target);
            let label = |name| Column::as_it_is(name, spec.target(name).missing);
            (0..raw.selection.targets.len()).map(name).map(label).collect()
        }
    };
    Ok(Schema {
        features,
        image: raw.table.image_shape().map(<[usize]>::to_vec),
        targets,
        kind,
        labels,
        cells: Cells::F64,
        dialect: spec.dialect.clone(),
    })
}

/// Fits columns of numbers, the first of which is number `first` of a row. Their cells are in memory some columns at a time.
fn columns(
    raw: &RawTable,
    rows: &[u32],
    first: usize,
    wanted: &[(&NumberSummary, ColumnSettings)],
) -> Result<Vec<Column>, DataError> {
    let at_once = (CELLS_AT_ONCE / rows.len().max(1)).clamp(1, COLUMNS_AT_ONCE);
    let mut fitted = Vec::with_capacity(wanted.len());
    for (group, wanted) in wanted.chunks(at_once).enumerate() {
        let first = first + group * at_once;
        let has_to_be_seen = |(_, (_, settings)): &(usize, &(&NumberSummary, ColumnSettings))| {
            settings.scale.looks() == Looks::Values || settings.missing == Missing::Median
        };
        let places: Vec<usize> =
            (first..).zip(wanted).filter(has_to_be_seen).map(|(place, _)| place).collect();
        let mut cells = statistics::cells(raw, rows, &places).into_iter();
        let cells: Vec<Vec<f64>> = (first..)
            .zip(wanted)
            .map(|(place, _)| match places.contains(&place) {
                true => cells.next().unwrap_or_default(),
                false => Vec::new(),
            })
            .collect();
        let column = |(&(seen, settings), cells)| column(raw, rows.len(), seen, settings, cells);
        fitted.par_extend(wanted.par_iter().zip(cells).map(column));
    }
    // The first error, in the order of the columns.
    fitted.into_iter().collect()
}

/// Fits one column to its cells, which are there where anybody looks at them: like scikit-learn's scalers behind its
/// `SimpleImputer`, what is missing is filled before the scale looks.
fn column(
    raw: &RawTable,
    rows: usize,
    seen: &NumberSummary,
    settings: ColumnSettings,
    mut cells: Vec<f64>,
) -> Result<Column, DataError> {
    let wrong = |problem: String| Err(DataError::table(raw.path(), problem));
    let name = quote(seen.name.as_bytes());
    if settings.indicator && !settings.missing.fills() {
        let problem = "found `indicator = true` where no missing cell is filled; set `missing` to \"mean\", \"median\" or \
                       { constant = 0 } as well, or take the indicator out";
        return Err(DataError::Column { name: seen.name.clone(), problem: problem.to_owned() });
    }
    if settings.missing.is_learned() && seen.missing == rows as u64 {
        let rule = settings.missing;
        return wrong(format!(
            "feature {name} has no value in any training row, so no {rule} to fill with; leave it out of `data.features`"
        ));
    }
    let present = || cells.iter().copied().filter(|cell| !cell.is_nan()).collect();
    let fill = settings.missing.fill(seen.mean, present);
    let (mut min, mut max) = (seen.min, seen.max);
    if let Some(fill) = fill.filter(|_| seen.missing > 0) {
        cells.iter_mut().filter(|cell| cell.is_nan()).for_each(|cell| *cell = fill);
        // What is learned lies between them, but for its rounding. The least of a number and NaN, where no cell is there, is
        // the number.
        if !settings.missing.is_learned() {
            (min, max) = (min.min(fill), max.max(fill));
        }
    }
    let fitted = settings.scale.fit(&Seen { min, max, values: &cells });
    let column = Column::new(seen.name.clone(), settings, fill, fitted);
    let mut filled = Vec::new();
    column.encode(&[f64::NAN], &mut Vec::new(), &mut filled);
    if fill.is_some() && !filled.iter().all(|value| (*value as f32).is_finite()) {
        return wrong(format!(
            "feature {name}: its missing cells become {}, wanted a number that is finite when it is scaled and rounded to \
             f32; set `{}.missing` to another rule, or scale the column",
            settings.missing,
            column_key(&seen.name),
        ));
    }
    Ok(column)
}

fn classes(raw: &RawTable, rows: &[u32], outputs: usize) -> Result<Vec<Vec<String>>, DataError> {
    let labels = labels::classes(seen_labels(raw, rows, raw.selection.target_labels().start));
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
    let labels_of = |(target, column): (usize, usize)| {
        labels::binary(seen_labels(raw, rows, column)).map_err(|found| {
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
    raw.selection.target_labels().enumerate().map(labels_of).collect()
}

/// Labels that these rows have in a column of texts, as they first come in the file.
fn seen_labels(raw: &RawTable, rows: &[u32], column: usize) -> Vec<String> {
    let names = &raw.label_names[column];
    let mut seen = vec![false; names.len()];
    raw.visit_labels(rows, column, |_, id| seen[id as usize] = true);
    names.iter().zip(seen).filter(|(_, seen)| *seen).map(|(name, _)| name.clone()).collect()
}

fn target_name(raw: &RawTable, target: usize) -> &str {
    &raw.columns()[raw.selection.targets[target].column]
}
