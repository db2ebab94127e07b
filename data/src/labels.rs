//! The order of labels and the class of each. Labels are text: "01" and "1" are two. Only a whole number that is spelled
//! as people or pandas spell it ("7", "-3", "7.0") is the same label in both spellings. Reads no file.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Distinct labels in class order: numbers first, in the order of numbers ("2" before "10"), then all others, byte by
/// byte. Of two spellings of one label, the first given stays.
pub(crate) fn classes(mut found: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(found.len());
    found.retain(|label| seen.insert(identity(label).to_owned()));
    found.sort_by(|a, b| order(a, b));
    found
}

/// Distinct categories in their order, each in its plain spelling: numbers in the order of numbers if all are whole numbers,
/// or else byte by byte.
pub(crate) fn categories(found: Vec<String>) -> Vec<String> {
    let plain: HashSet<&str> = found.iter().map(|label| identity(label)).collect();
    let mut categories: Vec<String> = plain.into_iter().map(str::to_owned).collect();
    match categories.iter().all(|label| is_plain(label)) {
        true => categories.sort_unstable_by(|a, b| order(a, b)),
        false => categories.sort_unstable(),
    }
    categories
}

/// The greatest size up to which an `f64` has every whole number.
pub(crate) const EXACT_MAX: i64 = 1 << 53;

/// Categories as the whole numbers that they are, in their plain spelling, if all are that, and exact in `f64`.
pub(crate) fn whole_numbers(categories: &[String]) -> Option<Vec<i64>> {
    let number = |label: &String| {
        let number = label.parse::<i64>().ok().filter(|_| is_plain(label));
        number.filter(|number| number.unsigned_abs() <= EXACT_MAX.unsigned_abs())
    };
    categories.iter().map(number).collect()
}

/// The two labels of a binary target, or all of them if there are not two. A column that holds only 0, or only 1, is
/// understood to be one of the two.
pub(crate) fn binary(found: Vec<String>) -> Result<Vec<String>, Vec<String>> {
    let mut labels = classes(found);
    if let [only] = labels.as_slice() {
        match identity(only) {
            "0" => labels.push("1".to_owned()),
            "1" => labels.insert(0, "0".to_owned()),
            _ => {}
        }
    }
    if labels.len() == 2 { Ok(labels) } else { Err(labels) }
}

/// The class that a label names among those of a target, in any of its spellings.
pub fn class_of(labels: &[String], label: &str) -> Option<usize> {
    Classes::new(labels).find(label).map(|class| class as usize)
}

/// Finds the class of a label.
pub(crate) struct Classes<'a> {
    by_text: HashMap<&'a str, u32>,
    by_identity: HashMap<&'a str, u32>,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(labels: &'a [String]) -> Classes<'a> {
        let texts = labels.iter().map(String::as_str);
        Classes {
            by_text: texts.clone().zip(0..).collect(),
            by_identity: texts.map(identity).zip(0..).collect(),
        }
    }

    pub(crate) fn find(&self, label: &str) -> Option<u32> {
        self.by_text.get(label).or_else(|| self.by_identity.get(identity(label))).copied()
    }
}

/// What makes two labels the same: a whole number's digits without the ".0" that pandas adds to a column with holes, or
/// the text as it is.
pub(crate) fn identity(label: &str) -> &str {
    let whole = match label.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|c| c == b'0') => whole,
        Some(_) => return label,
        None => label,
    };
    match (whole, is_plain(whole)) {
        ("-0", _) => "0",
        (_, true) => whole,
        (_, false) => label,
    }
}

/// Whether it is a whole number without a needless digit or sign.
pub(crate) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let are_digits = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    are_digits && (text == "0" || !digits.starts_with('0'))
}

fn order(a: &str, b: &str) -> Ordering {
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| near(a, b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// The order of labels whose numbers are the same, or too long for an f64 to tell apart.
fn near(a: &str, b: &str) -> Ordering {
    let (x, y) = (identity(a), identity(b));
    match (is_plain(x), is_plain(y)) {
        (true, true) => {
            let away_from_zero = (x.len(), x).cmp(&(y.len(), y));
            if x.starts_with('-') { away_from_zero.reverse() } else { away_from_zero }
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
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
    fn labels_are_text_and_numbers_sort_first() {
        for (found, wanted) in [
            (&["10", "2", "-1"][..], &["-1", "2", "10"][..]),
            (&["1.0", "0", "1", "-0"], &["0", "1.0"]),
            (&["10.0", "2.0", "0.0", "0"], &["0.0", "2.0", "10.0"]),
            (&["b", "a", "c"], &["a", "b", "c"]),
            (&["x", "10", "2"], &["2", "10", "x"]),
            (&["inf", "2"], &["2", "inf"]),
            (&["1", "01", "001", "1.00"], &["1", "001", "01"]),
            (&["0.5", "10.5", "2.5", ".5"], &[".5", "0.5", "2.5", "10.5"]),
            (
                &["20000000000000000001", "20000000000000000000", "9999999999999999999"],
                &["9999999999999999999", "20000000000000000000", "20000000000000000001"],
            ),
            (
                &["10000000000000000000", "9999999999999999999"],
                &["9999999999999999999", "10000000000000000000"],
            ),
            (
                &["-9007199254740992", "-9007199254740993"],
                &["-9007199254740993", "-9007199254740992"],
            ),
            (&["02134", "2134", "10001"], &["2134", "02134", "10001"]),
        ] {
            assert_eq!(classes(strings(found)), wanted);
        }
    }

    #[test]
    fn categories_are_in_byte_order_or_that_of_numbers() {
        for (found, wanted) in [
            (&["b", "a", "B", "b"][..], &["B", "a", "b"][..]),
            (&["10", "2.0", "-1", "2"], &["-1", "2", "10"]),
            (&["10", "2", "x"], &["10", "2", "x"]),
            (&["01", "1", "1.0"], &["01", "1"]),
            (&["2.5", "10.0"], &["10", "2.5"]),
        ] {
            assert_eq!(categories(strings(found)), wanted);
            assert_eq!(categories(strings(wanted)), wanted);
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
            (&["01", "1"], Ok(strings(&["1", "01"]))),
            (&["2"], Err(strings(&["2"]))),
            (&["a", "b", "c"], Err(strings(&["a", "b", "c"]))),
        ] {
            assert_eq!(binary(strings(found)), wanted);
        }
    }

    #[test]
    fn a_label_is_found_in_its_spelling_or_in_that_of_pandas() {
        let labels = strings(&["2", "10.0"]);
        let classes = Classes::new(&labels);
        for (label, class) in [
            ("2", Some(0)),
            ("10", Some(1)),
            ("2.00", Some(0)),
            ("02", None),
            ("2.5", None),
            ("x", None),
        ] {
            assert_eq!(classes.find(label), class, "{label}");
        }
        let labels = strings(&["1", "01"]);
        let classes = Classes::new(&labels);
        assert_eq!(["1.0", "01", "001"].map(|label| classes.find(label)), [Some(0), Some(1), None]);
    }
}
