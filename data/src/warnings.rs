//! What is odd about the tables, though training can go on, and what to do about it. Changes nothing.

use lockstep_proto::ids::Table;

use crate::columns::{Column, ColumnKind, Missing, Scale};
use crate::error::{column_key, count, list, quote};
use crate::schema::Schema;
use crate::summary::{
    Distinct, FeatureSummary, NumberSummary, Summary, TableSummary, TargetSummary,
};

/// Largest feature value that trains well unscaled, by rule of thumb.
const UNSCALED_VALUE_MAX: f64 = 10.0;

/// Largest quotient of two features' ranges that trains well unscaled, by rule of thumb.
const UNSCALED_RANGE_RATIO_MAX: f64 = 100.0;

/// Sizes between which targets train well, by rule of thumb: the outputs of a fresh network are about 1 in size.
const TARGET_SIZES: (f64, f64) = (1e-3, 1e3);

/// Rows from which on a value of its own in each is no accident.
const IDENTIFIER_ROWS_MIN: u64 = 50;

/// The range of numbers that number rows, in rows: some of them may be in other tables.
const IDENTIFIER_RANGE_MAX: f64 = 2.0;

/// Rows of a class below which nothing is learned of it.
const ROWS_OF_CLASS_MIN: u64 = 5;

/// The part of distinct values that may fall together without a word.
const FALLEN_PART_MAX: f64 = 0.1;

impl Summary {
    /// Advice to scale the features, where those that are not scaled are of very different sizes.
    pub fn scaling_hint(&self, schema: &Schema) -> Option<String> {
        let train = self.tables.iter().find(|table| table.table == Table::Train)?;
        let features = || {
            let all = train.numbers(schema);
            all.filter(|(_, column)| !is_scaled(column)).map(|(feature, _)| feature)
        };
        let size = |feature: &NumberSummary| feature.min.abs().max(feature.max.abs());
        let range = |feature: &NumberSummary| feature.max - feature.min;
        let largest = features().max_by(|a, b| size(a).total_cmp(&size(b)))?;
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
        let varying = || features().filter(|feature| range(feature) > 0.0);
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
    pub(crate) fn warnings(&self, schema: &Schema) -> Vec<String> {
        let mut warnings = Vec::new();
        for table in &self.tables {
            let place = format!("{} table ({})", table.table, table.path.display());
            if table.dropped > 0 && !is_asked_for(schema) {
                let dropped = count(table.dropped, "row");
                warnings.push(format!("{place}: left out {dropped} with a missing cell"));
            }
            warnings.extend(table.filled(schema).iter().map(|text| format!("{place}: {text}")));
            if table.table == Table::Train {
                let odd = [
                    table.constants(schema),
                    table.fallen_together(schema),
                    table.far_targets(schema),
                    table.identifiers(schema),
                    table.rare_classes(),
                ];
                let odd = odd.into_iter().flatten();
                warnings.extend(odd.map(|text| format!("{place}: {text}")));
            }
        }
        warnings
    }
}

/// Whether rows are left out for a missing target alone, which teaches nothing: only a target's own rule does that.
fn is_asked_for(schema: &Schema) -> bool {
    let drops = |column: &Column| column.settings().missing == Missing::Drop;
    schema.targets.iter().any(drops) && !schema.features.iter().any(drops)
}

/// Whether a column is more than rounded.
fn is_scaled(column: &Column) -> bool {
    column.settings().scale != Scale::NONE
}

impl TableSummary {
    /// Cells that were filled, rule by rule.
    fn filled(&self, schema: &Schema) -> Vec<String> {
        let gaps: Vec<(&NumberSummary, Missing)> = self
            .numbers(schema)
            // The network is told of those that have an indicator, which somebody asked for.
            .filter(|(feature, column)| feature.missing > 0 && !column.settings().indicator)
            .map(|(feature, column)| (feature, column.settings().missing))
            .filter(|(_, rule)| rule.fills())
            .collect();
        let mut rules: Vec<Missing> = Vec::new();
        for &(_, rule) in &gaps {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        let text = |rule: &Missing| {
            let gaps = gaps.iter().filter(|(_, other)| other == rule).map(|(feature, _)| feature);
            let cells = count(gaps.clone().map(|feature| feature.missing).sum(), "missing cell");
            let names: Vec<&str> = gaps.map(|feature| feature.name.as_str()).collect();
            let with = match rule {
                Missing::Constant(number) => number.to_string(),
                learned => format!("the training {learned}"),
            };
            format!("filled {cells} with {with} in {}", list(&names))
        };
        rules.iter().map(text).collect()
    }

    fn constants(&self, schema: &Schema) -> Vec<String> {
        let mut found = Vec::new();
        // Pixels at the border may well be; it is no harm unless their scaling comes from what they were in training.
        let is_harmless = |column: &Column| self.images && !column.settings().scale.is_learned();
        let advice = match self.images {
            true => {
                "; other rows may differ there and are then not scaled: `data.scale = { divide = 255 }` scales every pixel alike"
            }
            false => "",
        };
        let features = self.features.iter().zip(&schema.features);
        let is_constant = |feature: &FeatureSummary| match feature {
            FeatureSummary::Number(number) => number.is_constant(),
            FeatureSummary::Text(text) => text.distinct == 1 && text.missing == 0,
        };
        let constant: Vec<&str> = features
            .filter(|(feature, column)| is_constant(feature) && !is_harmless(column))
            .map(|(feature, _)| feature.name())
            .collect();
        match constant.as_slice() {
            [] => {}
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

    /// Columns with a value of its own in every row, or nearly: what can be learned of them is of no use for other rows.
    fn identifiers(&self, schema: &Schema) -> Vec<String> {
        if self.images || self.rows < IDENTIFIER_ROWS_MIN {
            return Vec::new();
        }
        let text = |(feature, column): (&FeatureSummary, &Column)| {
            let name = feature.name();
            let has_own = match feature {
                FeatureSummary::Text(text) => {
                    column.kind() == ColumnKind::Category && text.distinct == self.rows
                }
                FeatureSummary::Number(number) => {
                    let is_own = number.distinct.is_some_and(|found| found.values == self.rows);
                    // One after another, as rows are numbered, whether or not some are in another table.
                    let is_run = number.max - number.min < IDENTIFIER_RANGE_MAX * self.rows as f64;
                    is_own && is_run && number.min.fract() == 0.0 && number.max.fract() == 0.0
                }
            };
            has_own.then(|| {
                format!(
                    "feature {} has a value of its own in every row, like an identifier: other rows will have others; leave it \
                     out (`{} = {{ encoder = \"ignore\" }}`)",
                    quote(name.as_bytes()),
                    column_key(name),
                )
            })
        };
        self.features.iter().zip(&schema.features).filter_map(text).collect()
    }

    /// Classes with too few rows to learn from.
    fn rare_classes(&self) -> Vec<String> {
        let text = |target: &TargetSummary| {
            let TargetSummary::Classes { name, counts } = target else { return None };
            let used = || counts.iter().filter(|(_, rows)| *rows > 0);
            let name = quote(name.as_bytes());
            let classes = used().count() as u64;
            // That there is one alone is told already.
            if classes < 2 {
                return None;
            }
            if self.rows < ROWS_OF_CLASS_MIN * classes {
                return Some(format!(
                    "target {name} has {} in {}, too few rows of each to learn from: add rows, or join classes",
                    count(classes, "class"),
                    count(self.rows, "row"),
                ));
            }
            let few: Vec<&String> = used()
                .filter(|(_, rows)| *rows < ROWS_OF_CLASS_MIN)
                .map(|(label, _)| label)
                .collect();
            (!few.is_empty()).then(|| {
                format!(
                    "target {name}: fewer than {ROWS_OF_CLASS_MIN} rows to learn from of {}: what is predicted and measured of them \
                     is an accident; add rows, or join them with another class",
                    list(&few),
                )
            })
        };
        self.targets.iter().filter_map(text).collect()
    }

    /// Columns of which many values become one for the network.
    fn fallen_together(&self, schema: &Schema) -> Vec<String> {
        let numbers = self.targets.iter().filter_map(|target| match target {
            TargetSummary::Numbers(numbers) => Some(("target", numbers)),
            TargetSummary::Classes { .. } => None,
        });
        let features =
            self.features.iter().filter_map(|feature| Some(("feature", feature.number()?)));
        let text = |((role, number), column): ((&str, &NumberSummary), &Column)| {
            let Distinct { values, kept } = number.distinct?;
            if (kept as f64) >= (1.0 - FALLEN_PART_MAX) * values as f64 {
                return None;
            }
            let advice = match (role, column.settings().scale.is_learned()) {
                ("feature", false) => {
                    "`data.scale = \"standard\"` scales before it rounds".to_owned()
                }
                ("target", false) => {
                    let key = column_key(&number.name);
                    format!("`{key} = {{ scale = \"standard\" }}` scales before it rounds")
                }
                _ => "subtract what all values have in common in the table".to_owned(),
            };
            Some(format!(
                "{role} {}: {} become {kept} as the network sees them (in f32): {advice}",
                quote(number.name.as_bytes()),
                count(values, "distinct value"),
            ))
        };
        let columns = schema.features.iter().filter(|column| !column.kind().is_text());
        let columns = columns.chain(&schema.targets);
        features.chain(numbers).zip(columns).filter_map(text).collect()
    }

    /// Targets that are numbers of a size that trains badly, and not scaled.
    fn far_targets(&self, schema: &Schema) -> Vec<String> {
        let text = |(target, column): (&TargetSummary, &Column)| {
            let TargetSummary::Numbers(numbers) = target else { return None };
            let size = numbers.min.abs().max(numbers.max.abs());
            // A constant one is told already.
            if is_scaled(column) || numbers.is_constant() || !size.is_finite() {
                return None;
            }
            let problem = match () {
                () if size > TARGET_SIZES.1 => "far above 1 in size",
                () if size < TARGET_SIZES.0 => "far below 1 in size",
                () => return None,
            };
            Some(format!(
                "target {} lies between {} and {}: targets {problem} are learned slowly or not at all; set \
                 `{} = {{ scale = \"standard\" }}` (predictions and metrics stay in the table's unit)",
                quote(numbers.name.as_bytes()),
                numbers.min,
                numbers.max,
                column_key(&numbers.name),
            ))
        };
        self.targets.iter().zip(&schema.targets).filter_map(text).collect()
    }
}
