//! Numbers as people write them and no program reads them: with a decimal comma, between thousands, with a currency or a percent
//! sign. They are never read, for what some write for a half others write for a thousand; what to do about them is said here.

use crate::number::number;

/// Signs of currencies before or behind a number.
const CURRENCIES: [&str; 8] = ["$", "\u{20ac}", "\u{a3}", "\u{a5}", "EUR", "USD", "GBP", "CHF"];

/// What stands between thousands.
const BETWEEN: [char; 6] = [',', '.', ' ', '\'', '\u{a0}', '\u{202f}'];

/// How a text is a number for people alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// `1,5`.
    Comma,
    /// `1,500`, which is a decimal comma or one between thousands.
    CommaOrThousands,
    /// `1,234.5`, `1.234,5` or `1 234`.
    Thousands,
    /// With the sign of a currency.
    Currency,
    /// With a percent sign.
    Percent,
}

impl Written {
    /// How a text that is no number is one for people; `None` if it is none for them either.
    pub(crate) fn of(text: &str) -> Option<Written> {
        let text = text.trim();
        if let Some(rest) = text.strip_suffix('%') {
            return is_any_number(rest).then_some(Written::Percent);
        }
        let negative = text.strip_prefix('-').unwrap_or(text);
        let without = CURRENCIES
            .iter()
            .find_map(|sign| negative.strip_prefix(sign).or_else(|| negative.strip_suffix(sign)));
        if let Some(rest) = without {
            return is_any_number(rest).then_some(Written::Currency);
        }
        grouped(negative)
    }

    /// What is wrong with it and what to do, behind "a number".
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Written::Comma => "with a decimal point; for commas set `data.decimal = \",\"`",
            Written::CommaOrThousands => {
                "with a decimal point; if the comma is a decimal one, set `data.decimal = \",\"`, if it stands between thousands, \
                 write the number without"
            }
            Written::Thousands => "with nothing between thousands, such as 1234.5; write it so",
            Written::Currency => "without the sign of a currency; take that out of the table",
            Written::Percent => "without a percent sign; take that out of the table",
        }
    }
}

fn is_any_number(text: &str) -> bool {
    let text = text.trim();
    number(text.as_bytes()).is_some() || grouped(text.strip_prefix('-').unwrap_or(text)).is_some()
}

/// A number without a sign, with a comma in place of the point or something between thousands.
fn grouped(text: &str) -> Option<Written> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == ',') {
        return None;
    }
    let has_one_comma = text.matches(',').count() == 1;
    let (whole, behind) = text.split_once(',').unwrap_or((text, ""));
    if has_one_comma && number(text.replacen(',', ".", 1).as_bytes()).is_some() {
        let is_thousand =
            (1..=3).contains(&whole.len()) && behind.len() == 3 && !whole.starts_with('0');
        let are_digits = behind.bytes().all(|byte| byte.is_ascii_digit());
        return Some(match is_thousand && are_digits {
            true => Written::CommaOrThousands,
            false => Written::Comma,
        });
    }
    BETWEEN.iter().any(|between| has_thousands(text, *between)).then_some(Written::Thousands)
}

/// Whether it is digits in groups of three, and perhaps a fraction behind another sign.
fn has_thousands(text: &str, between: char) -> bool {
    let point = if between == '.' { ',' } else { '.' };
    let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(between);
    let is_first =
        groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && are_digits(first));
    let mut others = groups.peekable();
    let has_others = others.peek().is_some();
    is_first
        && has_others
        && others.all(|group| group.len() == 3 && are_digits(group))
        && are_digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_are_told_apart() {
        for (text, wanted) in [
            ("1,5", Some(Written::Comma)),
            ("-0,25", Some(Written::Comma)),
            ("12,3456", Some(Written::Comma)),
            ("0,125", Some(Written::Comma)),
            ("1,500", Some(Written::CommaOrThousands)),
            ("1,234.5", Some(Written::Thousands)),
            ("1,234,567", Some(Written::Thousands)),
            ("-1.234,5", Some(Written::Thousands)),
            ("1 234", Some(Written::Thousands)),
            ("1'234.50", Some(Written::Thousands)),
            ("1\u{202f}234", Some(Written::Thousands)),
            ("$1,234.50", Some(Written::Currency)),
            ("-$5", Some(Written::Currency)),
            ("12 \u{20ac}", Some(Written::Currency)),
            ("12.5 EUR", Some(Written::Currency)),
            ("12%", Some(Written::Percent)),
            ("-1,5 %", Some(Written::Percent)),
            ("1.2.3", None),
            ("1,2,3", None),
            ("12,34,567.8.9", None),
            ("$", None),
            ("%", None),
            ("x", None),
            ("", None),
            ("red, blue", None),
            ("EUR", None),
        ] {
            assert_eq!(Written::of(text), wanted, "{text}");
        }
    }
}
