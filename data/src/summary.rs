//! What the tables look like before scaling, for people: counts, ranges and class sizes. Changes nothing.

use std::path::PathBuf;

use lockstep_proto::ids::Table;

use rayon::prelude::*;

use crate::block::MISSING_LABEL;
use crate::columns::{Column, ColumnKind};
use crate::raw::RawTable;
use crate::rows::Rows;
use crate::schema::Schema;
use crate::selection::Selected;
use crate::statistics::{self, Range};

/// Steps of f32 between a column's least and greatest value below which its values may fall together in numbers that
/// matter, so that a run counts them, too. Scaled columns have more.
const SUSPICIOUS_STEPS_MAX: f64 = (1 << 20) as f64;

/// The tables of a job: train first, then validation and test where there are such.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// One entry for each table.
    pub tables: Vec<TableSummary>,
    /// What each feature is, in the network's order.
    pub kinds: Vec<KindFound>,
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
    /// Whether rows are images.
    pub images: bool,
    /// The features, in the network's order.
    pub features: Vec<FeatureSummary>,
    /// The targets, in the network's order.
    pub targets: Vec<TargetSummary>,
}

/// A feature.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureSummary {
    /// Numbers.
    Number(NumberSummary),
    /// Categories or dates.
    Text(TextSummary),
}

impl FeatureSummary {
    /// Of numbers.
    pub fn number(&self) -> Option<&NumberSummary> {
        match self {
            FeatureSummary::Number(number) => Some(number),
            FeatureSummary::Text(_) => None,
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            FeatureSummary::Number(NumberSummary { name, .. })
            | FeatureSummary::Text(TextSummary { name, .. }) => name,
        }
    }
}

/// A column of texts as it is in the file, missing cells apart.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSummary {
    /// The column's name.
    pub name: String,
    /// Missing cells.
    pub missing: u64,
    /// How many texts differ.
    pub distinct: u64,
    /// The first of them byte by byte; empty if there is none.
    pub first: String,
    /// The last of them.
    pub last: String,
}

/// What a feature is, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindFound {
    /// What its cells are.
    pub kind: ColumnKind,
    /// How that is known, in a few words.
    pub why: String,
}

/// A column of numbers as it is in the file, missing cells apart.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberSummary {
    /// The column's name.
    pub name: String,
    /// Least value; NaN if every cell is missing.
    pub min: f64,
    /// Greatest value; NaN if every cell is missing.
    pub max: f64,
    /// Mean; NaN if every cell is missing.
    pub mean: f64,
    /// Missing cells.
    pub missing: u64,
    /// How many values differ, where that was counted.
    pub distinct: Option<Distinct>,
}

/// Distinct values of a column of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distinct {
    /// In the file.
    pub values: u64,
    /// As the network sees them: scaled, and rounded to f32.
    pub kept: u64,
}

/// How closely to look at the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// As far as a run needs it: distinct values are counted where many may fall together.
    Usual,
    /// Distinct values of every column of the training table are counted.
    Full,
}

impl NumberSummary {
    /// Whether every value present is the same.
    pub fn is_constant(&self) -> bool {
        self.min == self.max
    }

    /// Whether so few `f32` lie between the least and the greatest value that some may fall together.
    fn is_suspicious(&self, column: &Column) -> bool {
        let mut ends = Vec::new();
        column.encode(&[self.min, self.max], &mut Vec::new(), &mut ends);
        let (least, greatest) = (ends[0], ends[1]);
        let step = least.abs().max(greatest.abs()) * f64::from(f32::EPSILON);
        greatest > least && greatest - least < step * SUSPICIOUS_STEPS_MAX
    }
}

impl TextSummary {
    /// Of the column at this place among the labels of a row.
    fn new(raw: &RawTable, rows: &[u32], label: usize) -> TextSummary {
        let names = &raw.label_names[label];
        let (mut missing, mut is_used) = (0, vec![false; names.len()]);
        raw.visit_labels(rows, label, |_, id| match id {
            MISSING_LABEL => missing += 1,
            id => is_used[id as usize] = true,
        });
        let used = || names.iter().zip(&is_used).filter(|(_, used)| **used).map(|(name, _)| name);
        TextSummary {
            name: raw.label_column_name(label).to_owned(),
            missing,
            distinct: used().count() as u64,
            first: used().min().cloned().unwrap_or_default(),
            last: used().max().cloned().unwrap_or_default(),
        }
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

impl TableSummary {
    /// Summary of the features and the numbers among the targets; labels follow in
    /// [`TableSummary::count_labels`], once their order is known.
    pub(crate) fn new(table: Table, raw: &RawTable, rows: &[u32], dropped: u64) -> TableSummary {
        let number = |(selected, range): (&Selected, Range)| NumberSummary {
            name: raw.columns()[selected.column].clone(),
            min: range.min,
            max: range.max,
            mean: range.mean,
            missing: range.missing,
            distinct: None,
        };
        let numbers = raw.selection.all().filter(|selected| !selected.is_text());
        let mut numbers = numbers.zip(statistics::ranges(raw, rows)).map(number);
        let mut labels = 0..;
        let feature = |selected: &Selected| match selected.is_text() {
            true => {
                let label = labels.next().unwrap_or_default();
                Some(FeatureSummary::Text(TextSummary::new(raw, rows, label)))
            }
            false => numbers.next().map(FeatureSummary::Number),
        };
        let features = raw.selection.features.iter().filter_map(feature).collect();
        let targets = raw.selection.targets.iter().filter(|selected| !selected.is_text()).count();
        let targets: Vec<NumberSummary> = numbers.take(targets).collect();
        TableSummary {
            table,
            path: raw.path().to_owned(),
            rows: rows.len() as u64,
            dropped,
            images: raw.table.image_shape().is_some(),
            features,
            targets: targets.into_iter().map(TargetSummary::Numbers).collect(),
        }
    }

    /// The features that are numbers, each with its column.
    pub fn numbers<'a>(
        &'a self,
        schema: &'a Schema,
    ) -> impl Iterator<Item = (&'a NumberSummary, &'a Column)> {
        let all = self.features.iter().zip(&schema.features);
        all.filter_map(|(feature, column)| Some((feature.number()?, column)))
    }

    /// Adds the class sizes; `values` are preprocessed rows.
    pub(crate) fn count_labels(&mut self, schema: &Schema, values: &Rows) {
        for (target, labels) in schema.labels.iter().flatten().enumerate() {
            let mut counts: Vec<(String, u64)> =
                labels.iter().map(|label| (label.clone(), 0)).collect();
            for row in 0..values.len() {
                counts[values.targets_of(row)[target] as usize].1 += 1;
            }
            let name = schema.targets[target].name().to_owned();
            self.targets.push(TargetSummary::Classes { name, counts });
        }
    }

    /// Counts distinct values. Pixels are not looked at: they are whole numbers from 0 to 255.
    pub(crate) fn count_distinct(
        &mut self,
        raw: &RawTable,
        rows: &[u32],
        schema: &Schema,
        detail: Detail,
    ) {
        if self.images {
            return;
        }
        let targets = self.targets.iter_mut().filter_map(|target| match target {
            TargetSummary::Numbers(numbers) => Some(numbers),
            TargetSummary::Classes { .. } => None,
        });
        let features = self.features.iter_mut().filter_map(|feature| match feature {
            FeatureSummary::Number(number) => Some(number),
            FeatureSummary::Text(_) => None,
        });
        let mut numbers: Vec<&mut NumberSummary> = features.chain(targets).collect();
        let features = schema.features.iter().filter(|column| !column.kind().is_text());
        let columns: Vec<&Column> = features.chain(&schema.targets).collect();
        numbers.par_iter_mut().zip(columns).enumerate().for_each(|(place, (number, column))| {
            if detail == Detail::Full || number.is_suspicious(column) {
                let (values, kept) = statistics::distinct(raw, rows, place, column);
                number.distinct = Some(Distinct { values, kept });
            }
        });
    }
}
