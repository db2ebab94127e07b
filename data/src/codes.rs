//! Which columns of whole numbers are codes, such as zip codes: names of things, whose size says nothing. Reads no table.

use crate::dialect::Dialect;
use crate::error::count;
use crate::readers::cell::{is_padded, truth};

/// Rows of each value, on average, below which there is nothing to learn of single codes.
const ROWS_PER_CODE_MIN: u64 = 10;

/// Values below which a number says as much as a category.
const CODES_MIN: u64 = 3;

/// Ends of the last words of names that say so: `zip`, `ZipCode`, `post_code`, `store id`.
const WORDS: [&str; 5] = ["zip", "code", "codes", "plz", "postal"];

/// Why a column is one of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Its texts are digits, equally many in each, with zeros in front.
    Padded,
    /// Its name says so, and it has few values.
    Named,
}

impl Code {
    /// How that is known, in a few words, of a column with so many different values.
    pub(crate) fn why(self, distinct: u64) -> String {
        let values = count(distinct, "different value");
        match self {
            Code::Padded => {
                format!("codes: {values} of equally many digits, with zeros in front")
            }
            Code::Named => format!("codes by its name: whole numbers, {values}"),
        }
    }
}

/// What texts are as far as codes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelled {
    /// Codes, and why.
    Codes(Code),
    /// Numbers, some of which have zeros in front and are no codes for that.
    Numbers,
    /// Anything else.
    Other,
}

/// Of the different texts of a column of this name, with the rows of each.
pub(crate) fn of_texts(name: &str, texts: &[(&str, u64)], dialect: &Dialect) -> Spelled {
    let all = |is: &dyn Fn(&[u8]) -> bool| texts.iter().all(|(text, _)| is(text.as_bytes()));
    // Among numbers, what stands for a missing one or for a truth value is no other text.
    let is_of_numbers = |text: &[u8]| {
        dialect.number(text).is_some() || dialect.is_missing(text, true) || truth(text).is_some()
    };
    if all(&|text| !is_padded(text)) || !all(&is_of_numbers) {
        return Spelled::Other;
    }
    let rows = texts.iter().map(|(_, rows)| rows).sum();
    if !has_few(texts.len() as u64, rows) || !all(&|text| text.iter().all(u8::is_ascii_digit)) {
        return Spelled::Numbers;
    }
    match all(&|text| text.len() == texts[0].0.len()) {
        true => Spelled::Codes(Code::Padded),
        false if is_code_name(name) => Spelled::Codes(Code::Named),
        false => Spelled::Numbers,
    }
}

/// Whether a column of this name with these numbers, of which NaN is a missing one, is one of codes.
pub(crate) fn is_named(name: &str, cells: impl FnOnce() -> Vec<f64>) -> bool {
    if !is_code_name(name) {
        return false;
    }
    let mut values = cells();
    values.retain(|value| !value.is_nan());
    let rows = values.len() as u64;
    if !values.iter().all(|value| value.fract() == 0.0 && *value >= 0.0) {
        return false;
    }
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    has_few(values.len() as u64, rows)
}

fn has_few(distinct: u64, rows: u64) -> bool {
    distinct >= CODES_MIN && rows >= ROWS_PER_CODE_MIN * distinct
}

fn is_code_name(name: &str) -> bool {
    let name = name.trim();
    let lower = name.to_lowercase();
    let word = lower.rsplit(|letter: char| !letter.is_alphanumeric()).next().unwrap_or(&lower);
    // As in `StoreId` and `storeID`; not in `COVID`.
    let before = name.strip_suffix("Id").or_else(|| name.strip_suffix("ID"));
    let is_id = word == "id" || before.is_some_and(|before| before.ends_with(char::is_lowercase));
    is_id || WORDS.iter().any(|end| word.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_codes() {
        for name in [
            "zip",
            "ZIPCODE",
            "zip_code",
            "PostalCode",
            "post code",
            "store_id",
            "id",
            "StoreId",
            "storeID",
            "PLZ",
        ] {
            assert!(is_code_name(name), "{name}");
        }
        for name in [
            "year",
            "zipped",
            "coded",
            "paid",
            "PAID",
            "COVID",
            "bid",
            "width",
            "code_count",
            "grid",
            "",
        ] {
            assert!(!is_code_name(name), "{name}");
        }
    }

    #[test]
    fn codes_have_one_length_and_rows_enough() {
        for (texts, wanted) in [
            (&[("02134", 20), ("10001", 20), ("00501", 20)][..], Spelled::Codes(Code::Padded)),
            (
                &[("02134", 20), ("10001", 20), ("00501", 5), ("00502", 1)],
                Spelled::Codes(Code::Padded),
            ),
            (&[("02134", 9), ("10001", 9), ("00501", 9)], Spelled::Numbers),
            (&[("02134", 20), ("10001", 20)], Spelled::Numbers),
            (&[("02134", 20), ("2134", 20), ("00501", 20)], Spelled::Numbers),
            (&[("021.4", 20), ("10001", 20), ("00501", 20)], Spelled::Numbers),
            (&[("10001", 20), ("20001", 20), ("30001", 20)], Spelled::Other),
            (&[("02134", 20), ("10001", 20), ("north", 20)], Spelled::Other),
            (&[("00", 20), ("01", 20), ("02", 20), ("-", 20)], Spelled::Numbers),
            (&[("00", 20), ("01", 20), ("02", 20), ("True", 20)], Spelled::Numbers),
        ] {
            assert_eq!(of_texts("count", texts, &Dialect::default()), wanted, "{texts:?}");
        }
        let uneven = [("02134", 20), ("2134", 20), ("00501", 20)];
        assert_eq!(of_texts("zip", &uneven, &Dialect::default()), Spelled::Codes(Code::Named));
    }

    #[test]
    fn numbers_are_codes_by_name_where_few_differ() {
        let cells =
            |different: usize| move || (0..100).map(|row| (row % different) as f64).collect();
        assert!(is_named("zip", cells(10)) && !is_named("zip", cells(11)));
        assert!(!is_named("count", cells(10)) && !is_named("zip", cells(2)));
        assert!(!is_named("zip", || vec![0.5; 100]) && !is_named("zip", || vec![f64::NAN; 100]));
        let negative = || (0..100).map(|row| f64::from(row % 10) - 1.0).collect();
        assert!(!is_named("id", negative));
    }
}
