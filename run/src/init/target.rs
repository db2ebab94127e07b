//! What a table is asked to predict: which columns, and whether they are numbers or classes. Reads no file: labels are counted
//! by whoever has the table.

use std::ops::Range;

use lockstep_data::{DataError, SeenCells, SeenColumn, SeenNumbers, Survey};
use lockstep_proto::words::count;

use super::words::{self, listed, quoted};

/// Names by which people call what they want to predict, the surest first.
const NAMES: [&str; 12] = [
    "target",
    "label",
    "labels",
    "outcome",
    "response",
    "survived",
    "churn",
    "diagnosis",
    "class",
    "saleprice",
    "price",
    EDGE_NAME,
];

/// A name that says so only of the first or the last column: elsewhere it is one of three coordinates.
const EDGE_NAME: &str = "y";

/// Most values of a target of whole numbers that are taken for classes.
const CLASSES_OF_NUMBERS_MAX: usize = 20;

/// Rows of each value, on average, from which on they are.
const ROWS_PER_CLASS_MIN: u64 = 10;

/// Most classes that there are. Each is an output of the network.
const CLASSES_MAX: usize = 1000;

/// A class with fewer rows cannot be measured.
const ROWS_OF_CLASS_MIN: u64 = 10;

/// The share of the rows below which a class is rare.
const RARE_SHARE: f64 = 0.1;

/// Size of a mean, in deviations, up to which a target with a deviation near 1 trains well as it is.
const DEVIATIONS: Range<f64> = 0.5..2.0;

/// What somebody says a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A label out of a few.
    Classification,
    /// A number.
    Regression,
}

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Numbers, one for each target.
    Regression,
    /// Which of two labels, for each target.
    Binary,
    /// Which of several labels.
    Classes(usize),
}

/// A target column.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Missing cells: their rows are left out.
    pub missing: u64,
    /// How many values differ.
    pub distinct: u64,
    /// Whether it is scaled to mean 0 and deviation 1.
    pub is_scaled: bool,
    /// Labels with the rows of each, in class order; empty for numbers.
    pub classes: Vec<(String, u64)>,
    /// What was seen, in a few words.
    pub seen: String,
}

/// Which columns are targets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    /// Places in the table.
    pub(super) columns: Vec<usize>,
    /// Why these.
    pub(super) why: String,
}

/// What the targets are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decided {
    pub(super) task: Task,
    pub(super) why: String,
    pub(super) targets: Vec<Target>,
    /// Rows that have every target.
    pub(super) rows: u64,
    pub(super) notes: Vec<String>,
}

/// Chooses the targets: those that were asked for, those that the table keeps as such, one with a name that says so, or else
/// the last column.
pub(super) fn choose(
    names: &[String],
    own: Range<usize>,
    wanted: &[String],
) -> Result<Chosen, String> {
    let place = |wanted: &String| {
        let found = |name: &String| name == wanted;
        names.iter().position(found).ok_or_else(|| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("found no column {wanted:?}, wanted by `--target`; it has {}", listed(&names))
        })
    };
    if !wanted.is_empty() {
        let columns: Result<Vec<usize>, String> = wanted.iter().map(place).collect();
        let mut columns = columns?;
        columns.dedup();
        return Ok(Chosen { columns, why: "as told by --target".to_string() });
    }
    if !own.is_empty() {
        let why = "what the table keeps as its targets".to_string();
        return Ok(Chosen { columns: own.collect(), why });
    }
    let named = NAMES.iter().find_map(|known| {
        let is_it = |(place, name): &(usize, &String)| {
            let is_edge = *place == 0 || *place + 1 == names.len();
            name.trim().eq_ignore_ascii_case(known) && (*known != EDGE_NAME || is_edge)
        };
        names.iter().enumerate().find(is_it).map(|(place, _)| place)
    });
    match (named, names.len().checked_sub(1)) {
        (Some(column), _) => Ok(Chosen { columns: vec![column], why: "by its name".to_string() }),
        (None, Some(0) | None) => {
            Err("found one column, wanted a target and at least one to predict it from".to_string())
        }
        (None, Some(last)) => {
            Ok(Chosen { columns: vec![last], why: "the last column".to_string() })
        }
    }
}

/// Decides what the targets are; `labels` counts the labels of a column.
///
/// # Errors
/// The outer one if labels cannot be counted, the inner one if there is nothing to learn.
pub(super) fn decide(
    survey: &Survey,
    columns: &[usize],
    said: Option<Kind>,
    labels: impl Fn(usize) -> Result<Vec<(String, u64)>, DataError>,
) -> Result<Result<Decided, String>, DataError> {
    let seen: Vec<&SeenColumn> = columns.iter().map(|&column| &survey.columns[column]).collect();
    let mut found = Vec::new();
    for (column, place) in seen.iter().zip(columns) {
        if is_one_number(column) && said != Some(Kind::Regression) && labels(*place)?.len() > 1 {
            // `01` and `1`.
            found.push((Kind::Classification, "texts of one number".to_string()));
            continue;
        }
        match kind_of(column, said) {
            Ok(kind) => found.push(kind),
            Err(problem) => return Ok(Err(problem)),
        }
    }
    let (kind, why) = found[0].clone();
    if let Some(at) = found.iter().position(|(other, _)| *other != kind) {
        let (one, other) = (quoted(&seen[0].name), quoted(&seen[at].name));
        return Ok(Err(format!(
            "found classes in one of the targets {one} and {other} and numbers in the other, wanted one kind; give one \
             `--target`, or say `--kind`"
        )));
    }
    let missing = seen.iter().map(|column| column.missing).max().unwrap_or(0);
    let rows = survey.rows.saturating_sub(missing);
    if kind == Kind::Regression {
        let targets = seen.iter().map(|column| number(column)).collect();
        let notes = Vec::new();
        return Ok(Ok(Decided { task: Task::Regression, why, targets, rows, notes }));
    }
    let mut targets = Vec::new();
    for (column, seen) in columns.iter().zip(&seen) {
        targets.push(classes(seen, labels(*column)?));
    }
    Ok(of_classes(targets, why, rows))
}

/// Whether a column has the same number in every row, in one spelling or several.
fn is_one_number(column: &SeenColumn) -> bool {
    column.distinct == 1 && matches!(column.cells, SeenCells::Numbers(_))
}

/// What a target is, and why.
fn kind_of(column: &SeenColumn, said: Option<Kind>) -> Result<(Kind, String), String> {
    let name = quoted(&column.name);
    let other = "give another with `--target`";
    if column.distinct == 1 {
        return Err(format!(
            "target {name} has the same value in every row: there is nothing to learn; {other}"
        ));
    }
    match &column.cells {
        SeenCells::Nothing => Err(format!("target {name} has no value in any row; {other}")),
        SeenCells::Unreadable(problem) => Err(format!("target {name} cannot be read: {problem}")),
        SeenCells::Texts(texts) => {
            let all = texts.common.iter().map(|(_, rows)| rows).sum::<u64>();
            if let Some(strays) = &texts.strays
                && said != Some(Kind::Classification)
            {
                let found = listed(&strays.common);
                let cells = count(strays.rows, "cell");
                let advice = match strays.advice {
                    Some(advice) => format!("wanted numbers {advice}"),
                    None => "write numbers there, leave the cells empty".to_string(),
                };
                return Err(format!(
                    "target {name} has numbers, and texts in {cells} ({found}); {advice}, or say `--kind classification`"
                ));
            }
            if said == Some(Kind::Regression) {
                let first = texts.common.first().map_or("", |(text, _)| text.as_str());
                return Err(format!(
                    "target {name} has texts such as {first:?}, wanted numbers for `--kind regression`; {other}"
                ));
            }
            if said.is_none() && 2 * texts.dates >= all {
                return Err(format!(
                    "target {name} has dates, which are neither numbers nor classes; {other}, or write the days from one date \
                     on as numbers"
                ));
            }
            let why = if said.is_some() { "as told by --kind" } else { "texts" };
            Ok((Kind::Classification, why.to_string()))
        }
        SeenCells::Numbers(numbers) => Ok(kind_of_numbers(column, numbers, said)),
    }
}

fn kind_of_numbers(
    column: &SeenColumn,
    numbers: &SeenNumbers,
    said: Option<Kind>,
) -> (Kind, String) {
    if let Some(kind) = said {
        return (kind, "as told by --kind".to_string());
    }
    if numbers.is_truth {
        return (Kind::Classification, "truth values".to_string());
    }
    let values = numbers.values.as_deref().unwrap_or_default();
    let present: u64 = values.iter().map(|(_, rows)| rows).sum();
    let few = !values.is_empty() && values.len() <= CLASSES_OF_NUMBERS_MAX && numbers.are_whole;
    let is_counted =
        few && values.iter().enumerate().all(|(place, (value, _))| *value == place as f64);
    let is_repeated = present >= ROWS_PER_CLASS_MIN * column.distinct;
    match () {
        () if is_counted && is_repeated => (
            Kind::Classification,
            format!(
                "the whole numbers 0 to {} are taken for classes (--kind regression: for numbers)",
                values.len() - 1
            ),
        ),
        () if few && is_repeated => (
            Kind::Regression,
            format!(
                "{} whole numbers from {} to {} are taken for numbers, as they are not 0, 1, 2 and so on (--kind \
                 classification: for classes)",
                values.len(),
                words::short(numbers.min),
                words::short(numbers.max),
            ),
        ),
        () => (Kind::Regression, "numbers".to_string()),
    }
}

/// A target of numbers.
fn number(column: &SeenColumn) -> Target {
    let (mut is_scaled, mut seen) = (true, String::new());
    if let SeenCells::Numbers(numbers) = &column.cells {
        let is_near_1 = DEVIATIONS.contains(&numbers.deviation) && numbers.mean.abs() < 1.0;
        is_scaled = !is_near_1;
        seen = words::range(numbers);
    }
    Target {
        name: column.name.clone(),
        missing: column.missing,
        distinct: column.distinct,
        is_scaled,
        classes: Vec::new(),
        seen,
    }
}

fn classes(column: &SeenColumn, classes: Vec<(String, u64)>) -> Target {
    let seen = words::classes(&classes);
    Target {
        name: column.name.clone(),
        missing: column.missing,
        distinct: classes.len() as u64,
        is_scaled: false,
        classes,
        seen,
    }
}

fn of_classes(targets: Vec<Target>, why: String, rows: u64) -> Result<Decided, String> {
    let is_binary = |target: &Target| target.classes.len() == 2;
    let first = &targets[0];
    let name = quoted(&first.name);
    let task = match targets.len() {
        _ if targets.iter().all(is_binary) => Task::Binary,
        1 => Task::Classes(first.classes.len()),
        _ => {
            let odd = targets.iter().find(|target| !is_binary(target)).unwrap_or(first);
            return Err(format!(
                "target {} has {}, wanted two of each of several targets; give one `--target`",
                quoted(&odd.name),
                count(odd.classes.len() as u64, "class")
            ));
        }
    };
    let classes = first.classes.len();
    if classes > CLASSES_MAX || 2 * classes as u64 > rows {
        return Err(format!(
            "target {name} has {} in {}, wanted at most {CLASSES_MAX}, and two rows of each at least; give another with \
             `--target`, or, if it is a number, write it as one",
            count(classes as u64, "class"),
            count(rows, "row")
        ));
    }
    let mut notes = Vec::new();
    for target in &targets {
        let few: Vec<&str> = target
            .classes
            .iter()
            .filter(|(_, rows)| *rows < ROWS_OF_CLASS_MIN)
            .map(|(label, _)| label.as_str())
            .collect();
        if !few.is_empty() {
            notes.push(format!(
                "target {}: fewer than {ROWS_OF_CLASS_MIN} rows of {}: what is measured of them is an accident; add rows, or \
                 join them with another class",
                quoted(&target.name),
                listed(&few)
            ));
        }
    }
    Ok(Decided { task, why, targets, rows, notes })
}

impl Decided {
    /// Whether a class has few of the rows.
    pub(super) fn has_rare_class(&self) -> bool {
        let is_rare = |target: &Target| {
            let all: u64 = target.classes.iter().map(|(_, rows)| rows).sum();
            target.classes.iter().any(|(_, rows)| (*rows as f64) < RARE_SHARE * all as f64)
        };
        self.targets.iter().any(is_rare)
    }
}
