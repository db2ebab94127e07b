//! What is odd about the tables, though training can go on, and what to do about it. Changes nothing.

use lockstep_proto::ids::Table;

use crate::error::{count, list, quote};
use crate::spec::{Missing, Scale};
use crate::summary::{Distinct, NumberSummary, Summary, TableSummary, TargetSummary};

/// Largest feature value that trains well unscaled, by rule of thumb.
const UNSCALED_VALUE_MAX: f64 = 10.0;

/// Largest quotient of two features' ranges that trains well unscaled, by rule of thumb.
const UNSCALED_RANGE_RATIO_MAX: f64 = 100.0;

/// Sizes between which targets train well, by rule of thumb: the outputs of a fresh network are about 1 in size.
const TARGET_SIZES: (f64, f64) = (1e-3, 1e3);

/// The part of distinct values that may fall together without a word.
const FALLEN_PART_MAX: f64 = 0.1;

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
                let odd = [
                    table.constants(self.scale),
                    table.fallen_together(self.scale),
                    table.far_targets(),
                ];
                let odd = odd.into_iter().flatten();
                warnings.extend(odd.map(|text| format!("{place}: {text}")));
            }
        }
        warnings
    }
}

impl TableSummary {
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

    /// Columns of which many values become one for the network.
    fn fallen_together(&self, scale: Scale) -> Vec<String> {
        let numbers = self.targets.iter().filter_map(|target| match target {
            TargetSummary::Numbers(numbers) => Some(("target", numbers)),
            TargetSummary::Classes { .. } => None,
        });
        let features = self.features.iter().map(|feature| ("feature", feature));
        let text = |(role, number): (&str, &NumberSummary)| {
            let Distinct { values, kept } = number.distinct?;
            if (kept as f64) >= (1.0 - FALLEN_PART_MAX) * values as f64 {
                return None;
            }
            let advice = match (role, scale) {
                ("feature", Scale::None | Scale::Divide(_)) => {
                    "`data.scale = \"standard\"` scales before it rounds"
                }
                _ => "subtract what all values have in common in the table",
            };
            Some(format!(
                "{role} {}: {} become {kept} as the network sees them (in f32): {advice}",
                quote(number.name.as_bytes()),
                count(values, "distinct value"),
            ))
        };
        features.chain(numbers).filter_map(text).collect()
    }

    /// Targets that are numbers of a size that trains badly.
    fn far_targets(&self) -> Vec<String> {
        let text = |target: &TargetSummary| {
            let TargetSummary::Numbers(numbers) = target else { return None };
            let size = numbers.min.abs().max(numbers.max.abs());
            let range = numbers.max - numbers.min;
            // A constant one is told already.
            if numbers.is_constant() || !size.is_finite() {
                return None;
            }
            let problem = match () {
                () if size > TARGET_SIZES.1 => "far above 1 in size",
                () if size < TARGET_SIZES.0 => "far below 1 in size",
                () => return None,
            };
            let unit = power_of_ten(range);
            let what = match numbers.mean.abs() > 10.0 * range {
                true => format!(
                    "subtract about {} and divide by {unit}",
                    power_rounded(numbers.mean, unit)
                ),
                false => format!("divide by {unit}"),
            };
            Some(format!(
                "target {} lies between {} and {}: targets {problem} are learned slowly or not at all; {what} in the \
                 table (targets are not scaled; predictions then come in that unit, too)",
                quote(numbers.name.as_bytes()),
                numbers.min,
                numbers.max
            ))
        };
        self.targets.iter().filter_map(text).collect()
    }
}

/// The power of ten that makes a range about 1, written out.
fn power_of_ten(range: f64) -> f64 {
    let exponent = range.log10().round() as i32;
    // Powers that are parsed are exact where they can be.
    format!("1e{exponent}").parse().unwrap_or(range)
}

/// A number to the precision of a unit.
fn power_rounded(number: f64, unit: f64) -> f64 {
    (number / unit).round() * unit
}
