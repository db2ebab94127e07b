//! What becomes of each column that is no target. Reads no file: what the columns hold is shown to it.

mod numbers;

use std::collections::HashMap;
use std::ops::Range;

use lockstep_data::{
    ColumnEncoder, ColumnKind, ColumnOverride, HINT_ADVICE, Hint, SeenCells, SeenColumn, SeenTexts,
    Survey,
};
use lockstep_proto::words::count;

use super::target::Target;
use super::training::Inputs;
use super::words;

/// Rows from which on a value of its own in each is no accident.
const IDENTIFIER_ROWS_MIN: u64 = 50;

/// Rows that differ from all others below which a column may be constant in the training rows.
const ODD_ROWS_MIN: u64 = 5;

/// Rows of each text, on average, below which texts are names rather than categories.
const ROWS_PER_CATEGORY_MIN: f64 = 4.0;

/// Texts among numbers that may be another way to write a missing cell, at most.
const STRAYS_MAX: u64 = 3;

/// Among so many cells one may be a number for people alone, such as `1,234.5`, and be taken for missing.
const STRAYS_SHARE: u64 = 20;

/// Most categories that become an input each, as where a job does not say.
const ONE_HOT_MAX: u64 = 16;

/// Categories from which on a vector of a few values is learned better than an input for each, with many rows.
const EMBEDDED_MIN: u64 = 5;

/// Rows from which on that is so.
const EMBEDDED_ROWS_MIN: u64 = 10_000;

/// Greatest dimension of an embedding.
const DIMENSION_MAX: u64 = 16;

/// Dimension of one with few rows of each category, which would know the training rows by heart.
const DIMENSION_FEW: u64 = 2;

/// Categories from which on, and rows of each below which, that is so.
const FEW: (u64, u64) = (100, 100);

/// A column, and what a job says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What its cells are; `None` if there is none to tell from.
    pub kind: Option<ColumnKind>,
    /// Missing cells.
    pub missing: u64,
    /// How many values differ.
    pub distinct: u64,
    /// What the job says of it; nothing where what goes for all columns is right.
    pub said: ColumnOverride,
    /// Why it says that.
    pub why: Option<String>,
    /// What was seen, in a few words.
    pub seen: String,
    /// Texts that mean a missing cell here.
    pub missing_values: Vec<String>,
    /// How it nearly gives a target away, and the target's place among them.
    pub(super) hint: Option<(usize, Hint)>,
    /// Whether its cells cannot be read.
    pub(super) is_unreadable: bool,
}

impl Feature {
    /// Whether it is left out.
    pub fn is_ignored(&self) -> bool {
        self.said.encoder == Some(ColumnEncoder::Ignore)
    }

    /// Whether the job fills missing cells of it.
    pub(super) fn is_filled(&self) -> bool {
        let has_numbers = self.kind.is_some_and(|kind| kind != ColumnKind::Category);
        self.missing > 0 && has_numbers && !self.is_ignored()
    }

    /// What it becomes, in a few words.
    pub fn becomes(&self) -> String {
        let filled = if self.is_filled() { ", holes filled, with an indicator" } else { "" };
        match self.kind {
            _ if self.is_ignored() => "left out".to_string(),
            None => "left out".to_string(),
            Some(ColumnKind::Category) => match self.embedding() {
                Some((_, dimension)) => format!("embedding of {dimension}"),
                None => count(self.places(), "input"),
            },
            Some(ColumnKind::Date) => format!("parts of a date{filled}"),
            Some(ColumnKind::Number | ColumnKind::Boolean) => {
                let scale =
                    self.said.scale.map_or("standard".to_string(), |scale| scale.to_string());
                format!("{scale}{filled}")
            }
        }
    }

    /// Categories, a missing one among them.
    fn places(&self) -> u64 {
        self.distinct + u64::from(self.missing > 0)
    }

    /// Rows and dimension of its embedding, if it has one.
    fn embedding(&self) -> Option<(u64, u64)> {
        let is_embedded = self.kind == Some(ColumnKind::Category)
            && (self.places() > ONE_HOT_MAX || self.said.dimension.is_some());
        let dimension =
            self.said.dimension.map_or(self.places().div_ceil(2).min(50), |own| own as u64);
        (is_embedded && !self.is_ignored()).then_some((self.places() + 1, dimension))
    }
}

/// What the network gets of them.
pub(super) fn inputs(features: &[Feature]) -> Inputs {
    let mut inputs = Inputs { numbers: 0, embedded: 0 };
    for feature in features.iter().filter(|feature| !feature.is_ignored()) {
        let indicator = usize::from(feature.is_filled());
        match (feature.kind, feature.embedding()) {
            (_, Some((_, dimension))) => inputs.embedded += dimension as usize,
            (Some(ColumnKind::Category), None) => inputs.numbers += feature.places() as usize,
            (Some(ColumnKind::Date), None) => inputs.numbers += 5 + indicator,
            _ => inputs.numbers += 1 + indicator,
        }
    }
    inputs
}

/// Decides what becomes of every column that is no target.
pub(super) fn decide(survey: &Survey, targets: &[usize], own: Range<usize>) -> Vec<Feature> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    survey.columns.iter().for_each(|column| *uses.entry(&column.name).or_default() += 1);
    let is_feature = |place: &usize| !targets.contains(place) && !own.contains(place);
    let mut features: Vec<Feature> = Vec::new();
    for place in (0..survey.columns.len()).filter(is_feature) {
        let column = &survey.columns[place];
        let is_first = features.iter().all(|other| other.name != column.name);
        let feature = match uses[column.name.as_str()] {
            1 => feature(column, survey),
            _ if is_first => ignored(column, None, "two columns have this name".to_string()),
            _ => continue,
        };
        features.push(feature);
    }
    features
}

/// What becomes of a column.
fn feature(column: &SeenColumn, survey: &Survey) -> Feature {
    let rows = survey.rows;
    let kind = kind_of(column);
    if let Some(repeats) = column.repeats {
        return ignored(column, kind, format!("it {} in every row", repeats.words()));
    }
    if column.distinct == 1 && column.missing == 0 {
        let only = words::seen(column);
        return ignored(column, kind, format!("every row has the same value ({only})"));
    }
    if let Some(odd) = odd_rows(column, rows).filter(|odd| *odd < ODD_ROWS_MIN) {
        let why = format!("all rows but {odd} have the same value");
        return ignored(column, kind, why);
    }
    match &column.cells {
        SeenCells::Nothing => ignored(column, None, "it has no value in any row".to_string()),
        SeenCells::Unreadable(problem) => ignored(column, None, problem.clone()),
        SeenCells::Numbers(numbers) => numbers::decide(column, numbers, survey),
        SeenCells::Texts(texts) => of_texts(column, texts, rows),
    }
}

/// Of a column with cells in all of many rows, those that have not the most frequent value.
fn odd_rows(column: &SeenColumn, rows: u64) -> Option<u64> {
    let most = match &column.cells {
        SeenCells::Numbers(numbers) => {
            numbers.values.as_ref()?.iter().map(|(_, rows)| *rows).max()?
        }
        SeenCells::Texts(texts) => texts.common.first()?.1,
        SeenCells::Nothing | SeenCells::Unreadable(_) => return None,
    };
    (column.missing == 0 && rows >= IDENTIFIER_ROWS_MIN).then_some(rows - most)
}

fn kind_of(column: &SeenColumn) -> Option<ColumnKind> {
    match &column.cells {
        SeenCells::Nothing | SeenCells::Unreadable(_) => None,
        SeenCells::Numbers(numbers) if numbers.is_truth => Some(ColumnKind::Boolean),
        SeenCells::Numbers(_) => Some(ColumnKind::Number),
        SeenCells::Texts(_) => Some(ColumnKind::Category),
    }
}

/// A column that nothing is said of.
fn plain(column: &SeenColumn, kind: Option<ColumnKind>) -> Feature {
    Feature {
        name: column.name.clone(),
        kind,
        missing: column.missing,
        distinct: column.distinct,
        said: ColumnOverride::default(),
        why: None,
        seen: words::seen(column),
        missing_values: Vec::new(),
        hint: column.hint,
        is_unreadable: matches!(column.cells, SeenCells::Unreadable(_)),
    }
}

/// What somebody should know of columns that cannot be read, or nearly give a target away.
pub(super) fn notes(features: &[Feature], targets: &[Target]) -> Vec<String> {
    let used = features.iter().filter(|feature| !feature.is_ignored());
    let note = |feature: &Feature| {
        let (place, hint) = feature.hint?;
        let (name, target) =
            (words::quoted(&feature.name), words::quoted(&targets.get(place)?.name));
        Some(format!("column {name} {}; {HINT_ADVICE}, leave it out", hint.words(&target)))
    };
    let unreadable = features.iter().filter(|feature| feature.is_unreadable);
    let left_out = |feature: &Feature| {
        let why = feature.why.as_deref().unwrap_or_default();
        format!("column {} is left out, as it cannot be read: {why}", words::quoted(&feature.name))
    };
    unreadable.map(left_out).chain(used.filter_map(note)).collect()
}

fn ignored(column: &SeenColumn, kind: Option<ColumnKind>, why: String) -> Feature {
    let said = ColumnOverride { encoder: Some(ColumnEncoder::Ignore), ..ColumnOverride::default() };
    Feature { said, why: Some(why), ..plain(column, kind) }
}

fn of_texts(column: &SeenColumn, texts: &SeenTexts, rows: u64) -> Feature {
    let present = rows - column.missing;
    let is_date = 2 * texts.dates >= present;
    if is_date && texts.dates == present && texts.date_forms.len() == 1 {
        if texts.dates_are_ambiguous {
            let why = format!(
                "dates as {}: say which comes first to use them, {{ order = \"day_first\" }} or {{ order = \"month_first\" }}",
                texts.date_forms[0]
            );
            return ignored(column, Some(ColumnKind::Date), why);
        }
        let mut feature = plain(column, Some(ColumnKind::Date));
        if column.missing > 0 {
            feature.said.indicator = true;
            feature.why = Some(format!("{} missing", count(column.missing, "cell")));
        }
        return feature;
    }
    if let Some(strays) = &texts.strays {
        let is_missing = strays.distinct <= STRAYS_MAX && column.distinct > 2 * ONE_HOT_MAX;
        // Some of a number's cells are for people alone: not worth a column where they are few, and categories where all texts are.
        let are_few = is_missing && strays.rows * STRAYS_SHARE <= present;
        if let Some(advice) = strays.advice.filter(|_| !are_few && column.distinct > ONE_HOT_MAX) {
            let found = words::listed(&strays.common[..1.min(strays.common.len())]);
            let why = format!("numbers, and some as {found}: wanted each {advice}");
            return ignored(column, Some(ColumnKind::Number), why);
        }
        if is_missing {
            let mut feature = plain(column, Some(ColumnKind::Number));
            feature.missing += strays.rows;
            feature.distinct -= strays.distinct;
            feature.said.indicator = true;
            feature.missing_values.clone_from(&strays.common);
            let texts = words::listed(&strays.common);
            let cells = count(feature.missing, "cell");
            feature.why = Some(format!("numbers, but for {texts}, taken for missing: {cells}"));
            return feature;
        }
    }
    let per_text = present as f64 / column.distinct as f64;
    if present >= IDENTIFIER_ROWS_MIN && per_text < ROWS_PER_CATEGORY_MIN && is_date {
        let why =
            format!("{}: write all in one form, such as 2024-03-01, to use them", odd_dates(texts));
        return ignored(column, Some(ColumnKind::Date), why);
    }
    if present >= IDENTIFIER_ROWS_MIN && per_text < ROWS_PER_CATEGORY_MIN {
        let why = format!(
            "{} in {}: names rather than categories, and other rows will have others",
            count(column.distinct, "text"),
            count(present, "row")
        );
        return ignored(column, Some(ColumnKind::Category), why);
    }
    category(column, texts, is_date, rows)
}

/// A column of categories, whether or not they look like something else.
fn category(column: &SeenColumn, texts: &SeenTexts, is_date: bool, rows: u64) -> Feature {
    let mut feature = plain(column, Some(ColumnKind::Category));
    let mut why = Vec::new();
    // Codes with holes would be read as numbers first, to which a hole is a fault.
    let have_holes = texts.codes.is_some() && column.missing > 0;
    if is_date || texts.strays.is_some() || have_holes {
        feature.said.kind = Some(ColumnKind::Category);
    }
    if is_date || texts.strays.is_some() {
        let found = match (&texts.strays, is_date) {
            (Some(strays), _) => {
                format!("numbers, and texts such as {}", words::listed(&strays.common))
            }
            _ => odd_dates(texts),
        };
        why.push(found);
    }
    why.extend(texts.codes.clone());
    let places = feature.places();
    if places > ONE_HOT_MAX || rows >= EMBEDDED_ROWS_MIN && places >= EMBEDDED_MIN {
        feature.said.encoder = Some(ColumnEncoder::Embedding);
        feature.said.dimension = Some(dimension(places, rows) as usize);
        why.push(count(column.distinct, "category"));
    }
    feature.why = (!why.is_empty()).then(|| why.join("; "));
    feature
}

/// Dates that are no column of dates, in words.
fn odd_dates(texts: &SeenTexts) -> String {
    match texts.date_forms.len() {
        2.. => format!("dates in more than one form ({})", texts.date_forms.join(" and ")),
        _ => "dates, and other texts".to_string(),
    }
}

/// Values of an embedding's vector: about the square root of the categories.
fn dimension(places: u64, rows: u64) -> u64 {
    match (places, rows / places) {
        (places, each) if places >= FEW.0 && each < FEW.1 => DIMENSION_FEW,
        (places, _) => ((places as f64).sqrt().ceil() as u64).clamp(2, DIMENSION_MAX),
    }
}
