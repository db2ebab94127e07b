//! `train.class_weights`: what a row's loss is multiplied with, by the row's class.

use std::collections::BTreeMap;

use lockstep_parameters::Range;

use super::error::JobError;
use super::hints::unknown_name;
use super::reader::{Value, quoted};

/// The name of the weights that follow from how many rows each class has.
const BALANCED: &str = "balanced";

/// How much the rows of each class count.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// All classes count alike together: scikit-learn's `balanced`.
    Balanced,
    /// By label; a label that is left out weighs 1.
    Of(BTreeMap<String, f32>),
}

impl ClassWeights {
    /// The weight of each class, of which these are the labels and the numbers of training rows.
    ///
    /// # Errors
    /// What was found and wanted, if a label is none of them, or is named twice, or a weight is no weight.
    pub fn by_class(&self, labels: &[String], counts: &[u64]) -> Result<Vec<f32>, String> {
        let given = match self {
            ClassWeights::Balanced => return Ok(balanced(counts)),
            ClassWeights::Of(given) => given,
        };
        let mut weights = vec![None; labels.len()];
        for (label, &weight) in given {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(format!("found {weight} for {label:?}, wanted a number of at least 0"));
            }
            let Some(class) = lockstep_data::class_of(labels, label) else {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                return Err(unknown_name(label, &labels));
            };
            if weights[class].replace(weight).is_some() {
                return Err(format!("found the label {:?} twice, wanted it once", labels[class]));
            }
        }
        Ok(weights.into_iter().map(|weight| weight.unwrap_or(1.0)).collect())
    }
}

/// `rows / (classes * rows of the class)`, of the classes that have rows.
fn balanced(counts: &[u64]) -> Vec<f32> {
    let rows: u64 = counts.iter().sum();
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &u64| match count {
        0 => 1.0,
        count => (rows as f64 / (classes as f64 * count as f64)) as f32,
    };
    counts.iter().map(weight).collect()
}

pub(super) fn read(value: &Value<'_>) -> Result<ClassWeights, JobError> {
    if !value.is_table() {
        let wanted = "\"balanced\", or a table of weights by label, such as { \"yes\" = 3.0 }";
        return match value.string() {
            Ok(BALANCED) => Ok(ClassWeights::Balanced),
            _ => Err(value.wanted(wanted)),
        };
    }
    let mut weights = BTreeMap::new();
    for (label, weight) in value.open_section()?.entries() {
        let weight = weight.number(Range::AT_LEAST_0_F32)?;
        weights.insert(label.to_string(), weight as f32);
    }
    Ok(ClassWeights::Of(weights))
}

/// As a job file has it.
pub(super) fn to_toml(weights: &ClassWeights) -> String {
    let weights = match weights {
        ClassWeights::Balanced => return quoted(BALANCED),
        ClassWeights::Of(weights) => weights,
    };
    let weight = |(label, weight): (&String, &f32)| format!("{} = {weight:?}", quoted(label));
    match weights.is_empty() {
        true => "{}".to_string(),
        false => format!("{{ {} }}", weights.iter().map(weight).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_is_scikit_learns() {
        // `compute_class_weight("balanced", ...)` of 6, 3 and 1 rows.
        let labels = ["a", "b", "c"].map(String::from);
        let weights = ClassWeights::Balanced.by_class(&labels, &[6, 3, 1]).unwrap();
        assert_eq!(weights, [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0].map(|weight: f64| weight as f32));
        // A class that no row has.
        assert_eq!(ClassWeights::Balanced.by_class(&labels, &[4, 0, 4]).unwrap(), [1.0; 3]);
    }

    #[test]
    fn labels_are_found_in_any_spelling_and_once() {
        let labels = ["0", "1", "x"].map(String::from);
        let of = |weights: &[(&str, f32)]| {
            let weights = weights.iter().map(|(label, weight)| (label.to_string(), *weight));
            ClassWeights::Of(weights.collect()).by_class(&labels, &[1, 1, 1])
        };
        assert_eq!(of(&[("1.0", 3.5)]).unwrap(), [1.0, 3.5, 1.0]);
        assert_eq!(of(&[]).unwrap(), [1.0; 3]);
        let twice = of(&[("1", 2.0), ("1.0", 3.0)]).unwrap_err();
        assert!(twice.starts_with("found the label \"1\" twice"), "{twice}");
        for bad in [-1.0, f32::NAN, f32::INFINITY] {
            let error = of(&[("1", bad)]).unwrap_err();
            assert_eq!(error, format!("found {bad} for \"1\", wanted a number of at least 0"));
        }
        let unknown = of(&[("y", 2.0)]).unwrap_err();
        assert_eq!(unknown, "found \"y\", wanted one of: 0, 1, x");
    }
}
