//! What becomes of a column of numbers: identifiers, numbers that stand for missing cells, and how others are scaled. Reads no
//! file.

use lockstep_data::{
    ColumnKind, ColumnOverride, Scale, SeenCells, SeenColumn, SeenNumbers, Sentinel, Survey,
    spellings,
};
use lockstep_proto::words::count;

use super::super::words;
use super::{Feature, IDENTIFIER_ROWS_MIN, ignored, kind_of, plain};

/// The range of numbers that number rows, in rows.
const IDENTIFIER_RANGE_MAX: f64 = 2.0;

/// Names of columns that number rows or things, as whole names or after a `_`, a space or a point.
const IDENTIFIER_NAMES: [&str; 8] =
    ["id", "index", "uuid", "guid", "rowid", "rownum", "rownames", "key"];

/// Skewness from which on numbers have a few values far from all others.
const SKEWNESS_MAX: f64 = 10.0;

/// Decides what becomes of a column of numbers.
pub(super) fn decide(column: &SeenColumn, numbers: &SeenNumbers, survey: &Survey) -> Feature {
    match &numbers.sentinel {
        Some(sentinel) if stands_for_nothing_else(sentinel.value, survey) => {
            with_sentinel(column, sentinel, survey.rows)
        }
        _ => of_numbers(column, numbers, survey.rows),
    }
}

fn of_numbers(column: &SeenColumn, numbers: &SeenNumbers, rows: u64) -> Feature {
    let kind = kind_of(column);
    let present = rows - column.missing;
    let has_own = present >= IDENTIFIER_ROWS_MIN && column.distinct == present;
    let is_run = numbers.max - numbers.min < IDENTIFIER_RANGE_MAX * rows as f64;
    if has_own && numbers.are_whole && (is_run || is_identifier_name(&column.name)) {
        let why = "a whole number of its own in every row, like an identifier: other rows will have others";
        return ignored(column, kind, why.to_string());
    }
    if column.distinct == 1 {
        // A number that is there or not is a category of one, and none.
        let said = ColumnOverride { kind: Some(ColumnKind::Category), ..ColumnOverride::default() };
        let why = format!(
            "always {} or missing: which of the two is what it says",
            words::short(numbers.min)
        );
        return Feature { said, why: Some(why), ..plain(column, Some(ColumnKind::Category)) };
    }
    let mut feature = plain(column, kind);
    let mut why = Vec::new();
    if let Some(scale) = scale_of(numbers).filter(|_| kind == Some(ColumnKind::Number)) {
        feature.said.scale = Some(scale);
        why.push(format!(
            "very uneven: {}, median {}",
            words::range(numbers),
            words::short(numbers.quartiles[1])
        ));
    }
    if column.missing > 0 {
        feature.said.indicator = true;
        why.push(format!("{} missing", count(column.missing, "cell")));
    }
    feature.why = (!why.is_empty()).then(|| why.join("; "));
    feature
}

/// Whether no other column has a number that one of them has in place of missing cells.
fn stands_for_nothing_else(value: f64, survey: &Survey) -> bool {
    survey.columns.iter().all(|column| match &column.cells {
        SeenCells::Numbers(numbers) => match &numbers.sentinel {
            Some(own) if own.value == value => true,
            _ => !(numbers.min..=numbers.max).contains(&value),
        },
        SeenCells::Texts(texts) => {
            let spelled = spellings(value);
            !texts.common.iter().any(|(text, _)| spelled.contains(text))
        }
        _ => true,
    })
}

/// Numbers, one of which stands for missing cells.
fn with_sentinel(column: &SeenColumn, sentinel: &Sentinel, rows: u64) -> Feature {
    let others = SeenColumn {
        missing: column.missing + sentinel.rows,
        distinct: column.distinct - 1,
        cells: SeenCells::Numbers((*sentinel.others).clone()),
        ..column.clone()
    };
    let mut feature = of_numbers(&others, &sentinel.others, rows);
    if !feature.is_ignored() {
        feature.missing_values = spellings(sentinel.value);
        let cells = count(sentinel.rows, "cell");
        let what = format!("{} is taken for missing: {cells}", words::short(sentinel.value));
        feature.why = Some(feature.why.map_or(what.clone(), |why| format!("{what}; {why}")));
    }
    feature
}

/// The scale of numbers that are too uneven for that of all columns.
fn scale_of(numbers: &SeenNumbers) -> Option<Scale> {
    (numbers.skewness.abs() > SKEWNESS_MAX).then(|| Scale::named("quantile")).flatten()
}

fn is_identifier_name(name: &str) -> bool {
    let name = name.trim();
    let lower = name.to_lowercase();
    let last = lower.rsplit(['_', ' ', '.', '-']).next().unwrap_or(&lower);
    lower.is_empty()
        || lower.starts_with("unnamed")
        || IDENTIFIER_NAMES.contains(&last)
        || name.ends_with("Id")
        || name.ends_with("ID")
}
