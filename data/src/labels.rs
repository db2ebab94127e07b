//! The order of labels and the class of each. Labels that are all numbers are ordered as numbers ("2" before "10")
//! and equal numbers are one label ("1" and "1.0"); others are ordered as text and differ as text. Reads no file.

use std::collections::HashMap;

/// Distinct labels in class order; of several texts for one number, the first given stays.
pub(crate) fn classes(found: Vec<String>) -> Vec<String> {
    match numbers(&found) {
        Some(numbers) => {
            let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(found).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            pairs.dedup_by(|next, kept| next.0 == kept.0);
            pairs.into_iter().map(|(_, name)| name).collect()
        }
        None => {
            let mut found = found;
            found.sort_unstable();
            found.dedup();
            found
        }
    }
}

/// The two labels of a binary target, or `None` if there are not two. A column that holds only 0, or only 1, is
/// understood to be one of the two.
pub(crate) fn binary(found: Vec<String>) -> Result<Vec<String>, Vec<String>> {
    let mut labels = classes(found);
    if let [only] = labels.as_slice() {
        match number(only) {
            Some(0.0) => labels.push("1".to_owned()),
            Some(1.0) => labels.insert(0, "0".to_owned()),
            _ => {}
        }
    }
    if labels.len() == 2 { Ok(labels) } else { Err(labels) }
}

/// Finds the class of a label.
pub(crate) struct Classes<'a> {
    by_text: HashMap<&'a str, u32>,
    by_number: HashMap<u64, u32>,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(labels: &'a [String]) -> Classes<'a> {
        let by_number = numbers(labels).unwrap_or_default();
        Classes {
            by_text: labels.iter().map(String::as_str).zip(0..).collect(),
            by_number: by_number.into_iter().map(f64::to_bits).zip(0..).collect(),
        }
    }

    pub(crate) fn find(&self, label: &str) -> Option<u32> {
        let by_number = || self.by_number.get(&number(label)?.to_bits());
        self.by_text.get(label).or_else(by_number).copied()
    }
}

fn numbers(labels: &[String]) -> Option<Vec<f64>> {
    labels.iter().map(|label| number(label)).collect()
}

/// A finite number; -0 is 0.
fn number(label: &str) -> Option<f64> {
    label.parse().ok().filter(|value: &f64| value.is_finite()).map(|value| value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    #[test]
    fn numbers_sort_as_numbers_and_text_as_text() {
        for (found, wanted) in [
            (&["10", "2", "-1"][..], &["-1", "2", "10"][..]),
            (&["1.0", "0", "1", "-0"], &["0", "1.0"]),
            (&["b", "a", "c"], &["a", "b", "c"]),
            (&["10", "2", "x"], &["10", "2", "x"]),
            (&["inf", "2"], &["2", "inf"]),
        ] {
            assert_eq!(classes(strings(found)), wanted);
        }
    }

    #[test]
    fn a_binary_target_has_two_labels() {
        for (found, wanted) in [
            (&["yes", "no"][..], Ok(strings(&["no", "yes"]))),
            (&["1", "0"], Ok(strings(&["0", "1"]))),
            (&["1.0"], Ok(strings(&["0", "1.0"]))),
            (&["0"], Ok(strings(&["0", "1"]))),
            (&["2", "1"], Ok(strings(&["1", "2"]))),
            (&["2"], Err(strings(&["2"]))),
            (&["a", "b", "c"], Err(strings(&["a", "b", "c"]))),
        ] {
            assert_eq!(binary(strings(found)), wanted);
        }
    }

    #[test]
    fn a_label_is_found_by_text_or_by_number() {
        let labels = strings(&["2", "10.0"]);
        let classes = Classes::new(&labels);
        for (label, class) in [("2", Some(0)), ("10", Some(1)), ("2.00", Some(0)), ("x", None)] {
            assert_eq!(classes.find(label), class, "{label}");
        }
        let labels = strings(&["1", "x"]);
        assert_eq!(Classes::new(&labels).find("1.0"), None);
    }
}
