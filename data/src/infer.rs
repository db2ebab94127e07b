//! What kind of column each feature is, from what the job says and what the training rows hold. Reads no file: a column that
//! was taken for numbers and is none is read again by whoever asked.

use crate::block::MISSING_LABEL;
use crate::codes::{self, Code, Spelled};
use crate::columns::date_form::DateForm;
use crate::columns::{ColumnKind, DateOrder, Reading};
use crate::dialect::Dialect;
use crate::error::{DataError, column_key, count, quote};
use crate::labels;
use crate::raw::RawTable;
use crate::readers::cell::Look;
use crate::readers::written::Written;
use crate::spec::TableSpec;
use crate::statistics;

/// Cells that a message names.
const NAMED_MAX: usize = 3;

/// What a feature is taken for before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// What the job says, or what it says is for alone.
    pub(crate) said: Option<ColumnKind>,
    pub(crate) look: Look,
    /// Whether it is read as texts.
    pub(crate) is_text: bool,
    /// Why its whole numbers are codes, if they are.
    pub(crate) code: Option<Code>,
    /// Whether it is known that its numbers with zeros in front are no codes.
    takes_padding: bool,
}

impl Guess {
    pub(crate) fn new(said: Option<ColumnKind>, look: Look) -> Guess {
        let is_text = said.map_or(look == Look::Texts, ColumnKind::is_text);
        Guess { said, look, is_text, code: None, takes_padding: false }
    }

    /// Whether a text in it is no error yet, as it can be read again.
    pub(crate) fn notes_text(&self) -> bool {
        self.said.is_none() && !self.takes_padding
    }
}

/// Reads features, as `read` does, until each is read as what it holds: a text that comes late makes all texts of a column of
/// numbers, and codes are texts. `may_be_code` tells by its name whether a feature may be one of codes.
pub(crate) fn read(
    guesses: &mut [Guess],
    may_be_code: impl Fn(&str) -> bool,
    dialect: &Dialect,
    mut read: impl FnMut(&[Guess]) -> Result<RawTable, DataError>,
) -> Result<RawTable, DataError> {
    let mut raw = read(guesses)?;
    if turn_to_texts(&raw, guesses, &may_be_code) {
        raw = read(guesses)?;
    }
    if turn_to_numbers(&raw, guesses, &may_be_code, dialect) {
        raw = read(guesses)?;
    }
    Ok(raw)
}

/// Whether some features that were read as numbers have texts or codes, which are to be read as texts.
fn turn_to_texts(
    raw: &RawTable,
    guesses: &mut [Guess],
    may_be_code: impl Fn(&str) -> bool,
) -> bool {
    let (mut turns, mut place) = (false, 0);
    for (selected, guess) in raw.selection.features.iter().zip(guesses) {
        if selected.is_text() {
            continue;
        }
        let number = place;
        place += 1;
        let name = &raw.columns()[selected.column];
        let cells = || statistics::cells(raw, &raw.all_rows(), &[number]).pop().unwrap_or_default();
        if raw.noted.contains(&selected.column) {
            guess.is_text = true;
        } else if guess.said.is_none()
            && guess.look != Look::Truths
            && may_be_code(name)
            && codes::is_named(name, cells)
        {
            (guess.is_text, guess.code) = (true, Some(Code::Named));
        }
        turns |= guess.is_text;
    }
    turns
}

/// Whether some features that were read as texts, for zeros in front of their numbers, are no codes.
fn turn_to_numbers(
    raw: &RawTable,
    guesses: &mut [Guess],
    may_be_code: impl Fn(&str) -> bool,
    dialect: &Dialect,
) -> bool {
    let (mut turns, mut place) = (false, 0);
    for (selected, guess) in raw.selection.features.iter().zip(guesses) {
        if !selected.is_text() {
            continue;
        }
        let label = place;
        place += 1;
        if guess.said.is_some() || guess.code.is_some() {
            continue;
        }
        let name = &raw.columns()[selected.column];
        match codes::of_texts(name, &raw.label_counts(&raw.all_rows(), label), dialect) {
            Spelled::Codes(code) if may_be_code(name) => guess.code = Some(code),
            Spelled::Codes(_) | Spelled::Numbers => {
                (guess.is_text, guess.takes_padding, turns) = (false, true, true);
            }
            Spelled::Other => {}
        }
    }
    turns
}

/// What a feature is, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) kind: ColumnKind,
    pub(crate) why: String,
    pub(crate) reading: Reading,
    /// Missing cells in the training rows, of a column of texts.
    pub(crate) missing: u64,
    /// The numbers of the training rows' cells that are there; of dates alone.
    pub(crate) seconds: Vec<f64>,
}

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Number,
    /// A number for people alone.
    Written(Written),
    Date(DateForm),
    Text,
}

pub(crate) fn shape(text: &str, dialect: &Dialect) -> Shape {
    if dialect.number(text.as_bytes()).is_some() {
        return Shape::Number;
    }
    let date = || DateForm::of(text).map(Shape::Date);
    let written = || Written::of(text).map(Shape::Written);
    date().or_else(written).unwrap_or(Shape::Text)
}

/// A feature of numbers.
pub(crate) fn of_numbers(guess: Guess, range: Option<(f64, f64)>) -> Found {
    let is_truth =
        guess.look == Look::Truths && range.is_none_or(|(min, max)| min >= 0.0 && max <= 1.0);
    let is_boolean = guess.said == Some(ColumnKind::Boolean) || guess.said.is_none() && is_truth;
    let (kind, why) = match (guess.said, is_boolean) {
        (Some(_), true) => (ColumnKind::Boolean, "the job says so"),
        (Some(_), false) => (ColumnKind::Number, "the job says so"),
        (None, true) => (ColumnKind::Boolean, "truth values"),
        (None, false) => (ColumnKind::Number, "numbers"),
    };
    Found { kind, why: why.to_owned(), reading: Reading::Numbers, missing: 0, seconds: Vec::new() }
}

/// What a feature of texts is: column of the file `column`, whose labels are at `label` in a row.
pub(crate) fn of_texts(
    raw: &RawTable,
    rows: &[u32],
    (column, label): (usize, usize),
    guess: Guess,
    spec: &TableSpec,
) -> Result<Found, DataError> {
    let names = &raw.label_names[label];
    let (mut counts, mut missing) = (vec![0_u64; names.len()], 0);
    raw.visit_labels(rows, label, |_, id| match id {
        MISSING_LABEL => missing += 1,
        id => counts[id as usize] += 1,
    });
    let shapes: Vec<Shape> = names.iter().map(|name| shape(name, &spec.dialect)).collect();
    let cells = |wanted: &dyn Fn(Shape) -> bool| -> u64 {
        shapes
            .iter()
            .zip(&counts)
            .filter(|(shape, _)| wanted(**shape))
            .map(|(_, count)| count)
            .sum()
    };
    let all = cells(&|_| true);
    let numbers = cells(&|shape| matches!(shape, Shape::Number | Shape::Written(_)));
    let dates = cells(&|shape| matches!(shape, Shape::Date(_)));
    let name = &raw.columns()[column];
    let column = Texts { raw, rows, column, label, name, shapes: &shapes, all };
    let is_free =
        guess.said.is_none() && spec.columns.get(name).is_none_or(|own| own.encoder.is_none());
    if let Some(code) = guess.code {
        return column.codes(code, &counts, missing);
    }
    if is_free && all > 0 && 2 * numbers >= all {
        let is_written = |shape| matches!(shape, Shape::Written(_));
        if let Some((_, id)) = column.others(&is_written).first()
            && let Shape::Written(written) = shapes[*id]
        {
            let (_, found) = column.first(&is_written);
            let or_else = match written {
                Written::Comma | Written::CommaOrThousands => String::new(),
                Written::Thousands | Written::Currency | Written::Percent => format!(
                    "; if they are names of something, set `{} = {{ kind = \"category\" }}`",
                    column_key(name)
                ),
            };
            let problem = format!("{found}, wanted numbers {}{or_else}", written.advice());
            return Err(column.cell(&is_written, problem));
        }
        return Err(column.mixed("numbers", numbers, &|shape| {
            !matches!(shape, Shape::Number | Shape::Written(_))
        }));
    }
    if guess.said == Some(ColumnKind::Date) || is_free && all > 0 && 2 * dates >= all {
        let order = spec.columns.get(name).and_then(|own| own.order);
        let form = column.form(&counts, dates, guess.said, order)?;
        let seconds: Vec<f64> =
            names.iter().map(|name| form.seconds(name).unwrap_or(f64::NAN)).collect();
        let mut cells = Vec::with_capacity(all as usize);
        raw.visit_labels(rows, label, |_, id| {
            if id != MISSING_LABEL {
                cells.push(seconds[id as usize]);
            }
        });
        let why = match guess.said {
            Some(_) => "the job says so".to_owned(),
            None => format!("dates as {form}"),
        };
        let reading = Reading::Dates(form);
        return Ok(Found { kind: ColumnKind::Date, why, reading, missing, seconds: cells });
    }
    let why = match (guess.said, numbers) {
        (Some(_), _) => "the job says so".to_owned(),
        (None, 0) => "texts".to_owned(),
        (None, numbers) => format!("texts, {}% numbers", 100 * numbers / all),
    };
    column.categories(&counts, missing, why)
}

/// A feature that was read as texts, for messages.
struct Texts<'a> {
    raw: &'a RawTable,
    rows: &'a [u32],
    column: usize,
    label: usize,
    name: &'a str,
    shapes: &'a [Shape],
    /// Cells in the training rows.
    all: u64,
}

impl Texts<'_> {
    /// A column of codes.
    fn codes(&self, code: Code, counts: &[u64], missing: u64) -> Result<Found, DataError> {
        let distinct = counts.iter().filter(|count| **count > 0).count() as u64;
        let key = column_key(self.name);
        let why =
            format!("{} (`{key} = {{ kind = \"number\" }}` for a number)", code.why(distinct));
        self.categories(counts, missing, why)
    }

    fn categories(&self, counts: &[u64], missing: u64, why: String) -> Result<Found, DataError> {
        let names = self.raw.label_names[self.label].iter().zip(counts);
        let used = names.filter(|(_, count)| **count > 0).map(|(name, _)| name.clone());
        let categories = labels::categories(used.collect());
        if categories.is_empty() {
            let problem = format!(
                "feature {} has no value in any training row; leave it out of `data.features`",
                quote(self.name.as_bytes())
            );
            return Err(DataError::table(self.raw.path(), problem));
        }
        let (kind, reading) = (ColumnKind::Category, Reading::Categories(categories));
        Ok(Found { kind, why, reading, missing, seconds: Vec::new() })
    }

    /// The one form of all dates.
    fn form(
        &self,
        counts: &[u64],
        dates: u64,
        said: Option<ColumnKind>,
        order: Option<DateOrder>,
    ) -> Result<DateForm, DataError> {
        if dates < self.all {
            let is_no_date = |shape| !matches!(shape, Shape::Date(_));
            if said.is_none() {
                return Err(self.mixed("dates", dates, &is_no_date));
            }
            let (_, problem) = self.first(&is_no_date);
            return Err(self.cell(
                &is_no_date,
                format!("{problem}, wanted dates such as 2024-03-01 or 2024-03-01 12:30"),
            ));
        }
        if let Some(order) = order {
            let is_contrary = |shape| match shape {
                Shape::Date(form) => form.order().is_some_and(|own| own != order),
                _ => false,
            };
            let (_, found) = self.first(&is_contrary);
            if !self.others(&is_contrary).is_empty() {
                let first = if order == DateOrder::DayFirst { "day" } else { "month" };
                let problem =
                    format!("{found}, wanted the {first} first, as the column's `order` says");
                return Err(self.cell(&is_contrary, problem));
            }
        }
        let found = self.shapes.iter().zip(counts).filter(|(_, count)| **count > 0);
        let found = found.filter_map(|(shape, count)| match (shape, order) {
            (Shape::Date(form), Some(order)) => Some((form.ordered(order), *count)),
            (Shape::Date(form), None) => Some((*form, *count)),
            _ => None,
        });
        let forms = DateForm::together(found);
        let Some(&(most, _)) = forms.first() else {
            let problem = format!(
                "feature {} has no date in any training row; leave it out of `data.features`",
                quote(self.name.as_bytes())
            );
            return Err(DataError::table(self.raw.path(), problem));
        };
        let key = column_key(self.name);
        if forms.len() > 1 {
            let is_other = |shape| !matches!(shape, Shape::Date(form) if most.covers(form));
            let (_, found) = self.first(&is_other);
            let names: Vec<String> = forms.iter().map(|(form, _)| form.to_string()).collect();
            let problem = format!(
                "{found} where most dates are as {most}, wanted one form in the column, not {}; write all in one, or set \
                 `{key} = {{ kind = \"category\" }}`",
                names.join(" and "),
            );
            return Err(self.cell(&is_other, problem));
        }
        if most.is_ambiguous() {
            let (_, found) = self.first(&|_| true);
            let problem = format!(
                "{found}, dates as {most}, none of which tells the day from the month; say which comes first: \
                 `{key} = {{ order = \"day_first\" }}` or `{key} = {{ order = \"month_first\" }}`"
            );
            return Err(self.cell(&|_| true, problem));
        }
        Ok(most)
    }

    /// A column that is mostly of one kind, with some cells that are not.
    fn mixed(&self, kind: &str, found: u64, is_other: &dyn Fn(Shape) -> bool) -> DataError {
        let (is_one, others) = self.first(is_other);
        let (them, it) = if is_one { ("it means", "it is") } else { ("they mean", "they are") };
        let one_form = match kind {
            "dates" => "write all dates in one form, such as 2024-03-01; ",
            _ => "",
        };
        let problem = format!(
            "{others} in a column of {kind} ({found} of {} in the training rows); {one_form}if {them} a missing cell, add the text \
             to `data.missing_values`; if {it} right, set `{} = {{ kind = \"category\" }}`",
            count(self.all, "cell"),
            column_key(self.name),
        );
        self.cell(is_other, problem)
    }

    /// The first few cells of the file that are others, in words, and whether there is one alone.
    fn first(&self, is_other: &dyn Fn(Shape) -> bool) -> (bool, String) {
        let cells = self.others(is_other);
        let place = |(row, id): &(u32, usize)| {
            let text = quote(self.raw.label_names[self.label][*id].as_bytes());
            format!("{text} {}", self.raw.table.row_place(*row))
        };
        let more = if cells.len() > NAMED_MAX { ", ..." } else { "" };
        let named: Vec<String> = cells.iter().take(NAMED_MAX).map(place).collect();
        (cells.len() == 1, format!("found {}{more}", named.join(", ")))
    }

    /// Of the training rows, or where none of these has any, of the whole file.
    fn others(&self, is_other: &dyn Fn(Shape) -> bool) -> Vec<(u32, usize)> {
        let all = self.raw.all_rows();
        let find = |rows: &[u32]| {
            let mut cells = Vec::new();
            self.raw.visit_labels(rows, self.label, |at, id| {
                let is_cell = id != MISSING_LABEL && is_other(self.shapes[id as usize]);
                if is_cell && cells.len() <= NAMED_MAX {
                    cells.push((rows[at], id as usize));
                }
            });
            cells
        };
        let cells = find(self.rows);
        if cells.is_empty() { find(&all) } else { cells }
    }

    fn cell(&self, is_other: &dyn Fn(Shape) -> bool, problem: String) -> DataError {
        match self.others(is_other).first() {
            Some((row, _)) => self.raw.cell_error(*row, self.column, problem),
            None => DataError::table(self.raw.path(), problem),
        }
    }
}
