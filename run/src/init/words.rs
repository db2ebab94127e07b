//! What was seen, in a few words: for comments of a job and for tables on a terminal.

use lockstep_data::{SeenCells, SeenColumn, SeenNumbers};

use super::features::Feature;

/// Names that are listed before the rest is only counted.
const LISTED_MAX: usize = 5;

/// Longest text that is shown, in characters.
const TEXT_CHARS_MAX: usize = 24;

/// A name in quotes, short, with nothing in it that breaks a line.
pub(super) fn quoted(name: &str) -> String {
    match name.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{:?}", format!("{}…", &name[..end])),
        None => format!("{name:?}"),
    }
}

/// A few names, and how many more there are.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let some: Vec<String> =
        names.iter().take(LISTED_MAX).map(|name| quoted(name.as_ref())).collect();
    match names.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", some.join(", ")),
        _ => some.join(", "),
    }
}

/// Labels with their rows.
pub(super) fn classes(classes: &[(String, u64)]) -> String {
    let one = |(label, rows): &(String, u64)| format!("{} ({rows})", quoted(label));
    let some: Vec<String> = classes.iter().take(LISTED_MAX).map(one).collect();
    match classes.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", some.join(", ")),
        _ => some.join(", "),
    }
}

/// A number in a few digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 && size < 1e12 => value.to_string(),
        size if !(1e-3..1e7).contains(&size) => format!("{value:.3e}"),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// The range of numbers.
pub(super) fn range(numbers: &SeenNumbers) -> String {
    let SeenNumbers { min, max, mean, .. } = numbers;
    if min == max {
        return short(*min);
    }
    format!("{} to {}, mean {}", short(*min), short(*max), short(*mean))
}

/// What a column holds.
pub(super) fn seen(column: &SeenColumn) -> String {
    match &column.cells {
        SeenCells::Nothing => "nothing".to_string(),
        SeenCells::Unreadable(problem) => problem.clone(),
        SeenCells::Numbers(numbers) => range(numbers),
        SeenCells::Texts(texts) => {
            let common: Vec<&str> = texts.common.iter().map(|(text, _)| text.as_str()).collect();
            let distinct = column.distinct as usize;
            let some: Vec<String> =
                common.iter().take(LISTED_MAX).map(|text| quoted(text)).collect();
            match distinct > some.len() {
                true => format!("{} and {} more", some.join(", "), distinct - some.len()),
                false => some.join(", "),
            }
        }
    }
}

/// Why columns are left out.
pub(super) fn reasons(features: &[Feature]) -> String {
    let reason = |feature: &Feature| {
        let why = feature.why.as_deref().unwrap_or("it is left out");
        format!("{}: {why}", quoted(&feature.name))
    };
    let some: Vec<String> = features.iter().take(LISTED_MAX).map(reason).collect();
    match features.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => format!("{}; and {more} more", some.join("; ")),
        _ => some.join("; "),
    }
}
