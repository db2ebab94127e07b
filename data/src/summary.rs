//! What the tables look like before scaling, for people: counts, ranges, class sizes, and what is odd about them.
//! Changes nothing.

use std::path::PathBuf;

use lockstep_proto::ids::Table;

use crate::error::{count, list, quote};
use crate::raw::RawTable;
use crate::rows::Rows;
use crate::schema::Schema;
use crate::spec::{Missing, Scale};

/// Largest feature value that trains well unscaled, by rule of thumb.
const UNSCALED_VALUE_MAX: f32 = 10.0;

/// Largest quotient of two features' ranges that trains well unscaled, by rule of thumb.
const UNSCALED_RANGE_RATIO_MAX: f32 = 100.0;

/// The tables of a job: train first, then validation and test where there are such.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// One entry for each table.
    pub tables: Vec<TableSummary>,
    /// How features will be scaled.
    pub scale: Scale,
}

/// One table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSummary {
    /// Which one.
    pub table: Table,
    /// The file that its rows come from.
    pub path: PathBuf,
    /// Rows, dropped ones not counted.
    pub rows: u64,
    /// Rows of the file left out because of a missing cell. Counted for the training table alone where a fraction
    /// of its file is another table: rows are dropped before they are split.
    pub dropped: u64,
    /// Whether rows are images of an IDX file.
    pub images: bool,
    /// The features, in the network's order.
    pub features: Vec<NumberSummary>,
    /// The targets, in the network's order.
    pub targets: Vec<TargetSummary>,
}

/// A column of numbers as it is in the file, missing cells apart.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberSummary {
    /// The column's name.
    pub name: String,
    /// Least value; NaN if every cell is missing.
    pub min: f32,
    /// Greatest value; NaN if every cell is missing.
    pub max: f32,
    /// Mean; NaN if every cell is missing.
    pub mean: f64,
    /// Missing cells.
    pub missing: u64,
}

impl NumberSummary {
    /// Whether every value present is the same.
    pub fn is_constant(&self) -> bool {
        self.min == self.max
    }

    fn add(&mut self, value: f32) {
        if value.is_nan() {
            self.missing += 1;
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.mean += f64::from(value);
    }
}

/// A target column.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSummary {
    /// Numbers.
    Numbers(NumberSummary),
    /// Labels.
    Classes {
        /// The column's name.
        name: String,
        /// Each label with its rows, in class order; labels without a row are there with 0.
        counts: Vec<(String, u64)>,
    },
}

impl Summary {
    /// Advice to scale the features, where they are of very different sizes and not scaled.
    pub fn scaling_hint(&self) -> Option<String> {
        let train = self.tables.iter().find(|table| table.table == Table::Train)?;
        if self.scale != Scale::None {
            return None;
        }
        let size = |feature: &NumberSummary| feature.min.abs().max(feature.max.abs());
        let range = |feature: &NumberSummary| feature.max - feature.min;
        let largest = train.features.iter().max_by(|a, b| size(a).total_cmp(&size(b)))?;
        let advice = match train.images {
            true => "`data.scale = { divide = 255 }` usually trains faster and to a lower loss",
            false => "`data.scale = \"standard\"` usually trains faster and to a lower loss",
        };
        if size(largest) > UNSCALED_VALUE_MAX {
            let name = quote(largest.name.as_bytes());
            return Some(format!(
                "feature {name} lies between {} and {} and is not scaled: {advice}",
                largest.min, largest.max
            ));
        }
        let varying = || train.features.iter().filter(|feature| range(feature) > 0.0);
        let widest = varying().max_by(|a, b| range(a).total_cmp(&range(b)))?;
        let narrowest = varying().min_by(|a, b| range(a).total_cmp(&range(b)))?;
        if range(widest) / range(narrowest) > UNSCALED_RANGE_RATIO_MAX {
            return Some(format!(
                "feature {} has a range of {} and {} one of {}, and they are not scaled: {advice}",
                quote(widest.name.as_bytes()),
                range(widest),
                quote(narrowest.name.as_bytes()),
                range(narrowest),
            ));
        }
        None
    }

    /// What is odd about the tables, though training can go on.
    pub(crate) fn warnings(&self, missing: Missing) -> Vec<String> {
        let mut warnings = Vec::new();
        for table in &self.tables {
            let place = format!("{} table ({})", table.table, table.path.display());
            if table.dropped > 0 {
                let dropped = count(table.dropped, "row");
                warnings.push(format!("{place}: left out {dropped} with a missing cell"));
            }
            let gaps: Vec<_> =
                table.features.iter().filter(|feature| feature.missing > 0).collect();
            if missing == Missing::Mean && !gaps.is_empty() {
                let cells = count(gaps.iter().map(|feature| feature.missing).sum(), "missing cell");
                let names: Vec<&str> = gaps.iter().map(|feature| feature.name.as_str()).collect();
                let names = list(&names);
                warnings.push(format!("{place}: filled {cells} with the training mean in {names}"));
            }
            if table.table == Table::Train {
                let constants = table.constants(self.scale);
                warnings.extend(constants.into_iter().map(|text| format!("{place}: {text}")));
            }
        }
        warnings
    }
}

impl TableSummary {
    /// Summary of the features and the numbers among the targets; labels follow in
    /// [`TableSummary::count_labels`], once their order is known.
    pub(crate) fn new(table: Table, raw: &RawTable, rows: &[u32], dropped: u64) -> TableSummary {
        let names = raw.selection.features.iter().chain(&raw.selection.targets);
        let mut numbers: Vec<NumberSummary> = names
            .take(raw.number_width())
            .map(|&column| NumberSummary {
                name: raw.columns()[column].clone(),
                min: f32::INFINITY,
                max: f32::NEG_INFINITY,
                mean: 0.0,
                missing: 0,
            })
            .collect();
        let mut scratch = Vec::new();
        for &row in rows {
            for (summary, &value) in numbers.iter_mut().zip(raw.numbers_of(row, &mut scratch)) {
                summary.add(value);
            }
        }
        for summary in &mut numbers {
            let present = rows.len() as u64 - summary.missing;
            summary.mean /= present as f64;
            if present == 0 {
                (summary.min, summary.max) = (f32::NAN, f32::NAN);
            }
        }
        let targets = numbers.split_off(raw.selection.features.len());
        TableSummary {
            table,
            path: raw.path().to_owned(),
            rows: rows.len() as u64,
            dropped,
            images: raw.opened.image_shape().is_some(),
            features: numbers,
            targets: targets.into_iter().map(TargetSummary::Numbers).collect(),
        }
    }

    /// Adds the class sizes; `values` are preprocessed rows.
    pub(crate) fn count_labels(&mut self, schema: &Schema, values: &Rows) {
        for (target, labels) in schema.labels.iter().flatten().enumerate() {
            let mut counts: Vec<(String, u64)> =
                labels.iter().map(|label| (label.clone(), 0)).collect();
            for row in 0..values.len() {
                counts[values.targets_of(row)[target] as usize].1 += 1;
            }
            let name = schema.targets[target].clone();
            self.targets.push(TargetSummary::Classes { name, counts });
        }
    }

    fn constants(&self, scale: Scale) -> Vec<String> {
        let mut found = Vec::new();
        // Pixels at the border may well be; it is no harm unless their scaling comes from what they were in training.
        let is_fitted = matches!(scale, Scale::Standard | Scale::MinMax);
        let advice = match self.images {
            true => {
                "; other rows may differ there and are then not scaled: `data.scale = { divide = 255 }` scales every pixel alike"
            }
            false => "",
        };
        let is_constant = |feature: &&NumberSummary| feature.is_constant();
        let constant: Vec<&str> =
            self.features.iter().filter(is_constant).map(|feature| feature.name.as_str()).collect();
        match constant.as_slice() {
            [] => {}
            _ if self.images && !is_fitted => {}
            [one] => found.push(format!("feature {} is constant{advice}", quote(one.as_bytes()))),
            many => {
                let names = list(many);
                found.push(format!("{} features are constant: {names}{advice}", many.len()));
            }
        }
        for target in &self.targets {
            let (name, only) = match target {
                TargetSummary::Numbers(numbers) if numbers.is_constant() => {
                    (&numbers.name, numbers.min.to_string())
                }
                TargetSummary::Classes { name, counts } => {
                    let mut used = counts.iter().filter(|(_, rows)| *rows > 0);
                    match (used.next(), used.next()) {
                        (Some((label, _)), None) => (name, quote(label.as_bytes())),
                        _ => continue,
                    }
                }
                TargetSummary::Numbers(_) => continue,
            };
            let name = quote(name.as_bytes());
            found.push(format!("target {name} is always {only}: there is nothing to learn"));
        }
        found
    }
}
