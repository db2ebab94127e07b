//! What kind of column each feature is, from what the job says and what the training rows hold. Reads no file: a column that
//! was taken for numbers and is none is read again by whoever asked.

use std::collections::BTreeMap;

use crate::block::MISSING_LABEL;
use crate::columns::date_form::DateForm;
use crate::columns::{ColumnKind, Reading};
use crate::error::{DataError, column_key, count, quote};
use crate::labels;
use crate::raw::RawTable;
use crate::readers::cell::{Look, number};
use crate::spec::TableSpec;

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
}

impl Guess {
    pub(crate) fn new(said: Option<ColumnKind>, look: Look) -> Guess {
        let is_text = said.map_or(look == Look::Texts, ColumnKind::is_text);
        Guess { said, look, is_text }
    }
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
    /// A number with a comma in place of the point.
    Comma,
    Date(DateForm),
    Text,
}

pub(crate) fn shape(text: &str) -> Shape {
    if number(text.as_bytes()).is_some() {
        return Shape::Number;
    }
    if let Some((form, _)) = DateForm::parse(text) {
        return Shape::Date(form);
    }
    match text.contains(',') && number(text.replacen(',', ".", 1).as_bytes()).is_some() {
        true => Shape::Comma,
        false => Shape::Text,
    }
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
    let shapes: Vec<Shape> = names.iter().map(|name| shape(name)).collect();
    let cells = |wanted: &dyn Fn(Shape) -> bool| -> u64 {
        shapes
            .iter()
            .zip(&counts)
            .filter(|(shape, _)| wanted(**shape))
            .map(|(_, count)| count)
            .sum()
    };
    let all = cells(&|_| true);
    let numbers = cells(&|shape| matches!(shape, Shape::Number | Shape::Comma));
    let dates = cells(&|shape| matches!(shape, Shape::Date(_)));
    let name = &raw.columns()[column];
    let column = Texts { raw, rows, column, label, name, shapes: &shapes, all };
    let is_free =
        guess.said.is_none() && spec.columns.get(name).is_none_or(|own| own.encoder.is_none());
    if is_free && all > 0 && 2 * numbers >= all {
        if shapes.contains(&Shape::Comma) {
            let first = column.others(&|shape| shape == Shape::Comma).first().map(|(_, id)| *id);
            let found = quote(first.map_or(&[], |id| names[id].as_bytes()));
            let problem = format!("found {found}, wanted a number with a decimal point");
            return Err(column.cell(&|shape| shape == Shape::Comma, problem));
        }
        return Err(column
            .mixed("numbers", numbers, &|shape| !matches!(shape, Shape::Number | Shape::Comma)));
    }
    let used = names.iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(name, _)| name);
    if guess.said == Some(ColumnKind::Date) || is_free && all > 0 && 2 * dates >= all {
        let form = column.form(&counts, dates, guess.said)?;
        let seconds: Vec<f64> =
            names.iter().map(|name| DateForm::parse(name).map_or(f64::NAN, |(_, at)| at)).collect();
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
    let categories = labels::categories(used.cloned().collect());
    if categories.is_empty() {
        let problem = format!(
            "feature {} has no value in any training row; leave it out of `data.features`",
            quote(name.as_bytes())
        );
        return Err(DataError::table(raw.path(), problem));
    }
    let why = match (guess.said, numbers) {
        (Some(_), _) => "the job says so".to_owned(),
        (None, 0) => "texts".to_owned(),
        (None, numbers) => format!("texts, {}% numbers", 100 * numbers / all),
    };
    let reading = Reading::Categories(categories);
    Ok(Found { kind: ColumnKind::Category, why, reading, missing, seconds: Vec::new() })
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
    /// The one form of all dates.
    fn form(
        &self,
        counts: &[u64],
        dates: u64,
        said: Option<ColumnKind>,
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
        let mut forms: BTreeMap<String, (DateForm, u64)> = BTreeMap::new();
        for (shape, count) in self.shapes.iter().zip(counts).filter(|(_, count)| **count > 0) {
            if let Shape::Date(form) = shape {
                forms.entry(form.to_string()).or_insert((*form, 0)).1 += count;
            }
        }
        let Some(&(most, _)) = forms.values().max_by_key(|(_, count)| *count) else {
            let problem = format!(
                "feature {} has no date in any training row; leave it out of `data.features`",
                quote(self.name.as_bytes())
            );
            return Err(DataError::table(self.raw.path(), problem));
        };
        if forms.len() > 1 {
            let is_other = move |shape| shape != Shape::Date(most);
            let (_, found) = self.first(&is_other);
            let names: Vec<&str> = forms.keys().map(String::as_str).collect();
            let problem = format!(
                "{found} where most dates are as {most}, wanted one form in the column, not {}; write all in one, or set \
                 `{} = {{ kind = \"category\" }}`",
                names.join(" and "),
                column_key(self.name),
            );
            return Err(self.cell(&is_other, problem));
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
