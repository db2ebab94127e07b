//! What a column of texts holds: categories, dates, or numbers with strays among them. Knows no table but for counting.

use crate::codes::Code;
use crate::columns::date_form::DateForm;
use crate::dialect::Dialect;
use crate::infer::{Shape, shape};
use crate::readers::written::Written;

/// Texts that are listed with their rows, at most.
const COMMON_MAX: usize = 100;

/// Strays that are listed, at most.
const STRAYS_MAX: usize = 20;

/// Texts, missing ones left out.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenTexts {
    /// The most frequent, with the rows of each, at most 100; equally frequent ones byte by byte.
    pub common: Vec<(String, u64)>,
    /// Rows of the rarest.
    pub rows_of_rarest: u64,
    /// Cells that are numbers.
    pub numbers: u64,
    /// Cells that are dates.
    pub dates: u64,
    /// The forms of the dates, the most frequent first.
    pub date_forms: Vec<String>,
    /// Whether no date tells the day from the month.
    pub dates_are_ambiguous: bool,
    /// What is no number where at least half of the cells are.
    pub strays: Option<Strays>,
    /// Why they are codes, if they are whole numbers that are.
    pub codes: Option<String>,
}

/// Texts among numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strays {
    /// How many differ.
    pub distinct: u64,
    /// Their cells.
    pub rows: u64,
    /// The most frequent of them.
    pub common: Vec<String>,
    /// Whether one of them can only be a number with a decimal comma.
    pub has_comma: bool,
    /// What to do about those that are numbers for people alone, such as `1,234.5`, behind "a number"; `None` if there is none.
    pub advice: Option<&'static str>,
}

impl SeenTexts {
    /// Of distinct texts with their rows.
    pub(super) fn of(
        mut found: Vec<(String, u64)>,
        code: Option<Code>,
        dialect: &Dialect,
    ) -> SeenTexts {
        found.sort_unstable_by(|(a, a_rows), (b, b_rows)| b_rows.cmp(a_rows).then(a.cmp(b)));
        let shapes: Vec<Shape> = found.iter().map(|(text, _)| shape(text, dialect)).collect();
        let of = |wanted: &dyn Fn(&Shape) -> bool| {
            let among = found.iter().zip(&shapes).filter(|(_, shape)| wanted(shape));
            among.map(|((_, rows), _)| rows).sum::<u64>()
        };
        let all = of(&|_| true);
        let numbers = of(&|shape| matches!(shape, Shape::Number));
        let written = of(&|shape| matches!(shape, Shape::Written(_)));
        let has_comma = shapes.contains(&Shape::Written(Written::Comma));
        let date = |((_, rows), shape): (&(String, u64), &Shape)| match shape {
            Shape::Date(form) => Some((*form, *rows)),
            _ => None,
        };
        let forms = DateForm::together(found.iter().zip(&shapes).filter_map(date));
        let first_advice = shapes.iter().find_map(|shape| match shape {
            Shape::Written(written) => Some(written.advice()),
            _ => None,
        });
        let is_mostly_numbers = code.is_none() && 2 * (numbers + written) >= all;
        let strays = is_mostly_numbers.then(|| {
            let strays = found.iter().zip(&shapes).filter(|(_, shape)| **shape != Shape::Number);
            let texts: Vec<&(String, u64)> = strays.map(|(text, _)| text).collect();
            Strays {
                distinct: texts.len() as u64,
                rows: texts.iter().map(|(_, rows)| rows).sum(),
                common: texts.iter().take(STRAYS_MAX).map(|(text, _)| text.clone()).collect(),
                has_comma,
                advice: first_advice,
            }
        });
        SeenTexts {
            codes: code.map(|code| code.why(found.len() as u64)),
            rows_of_rarest: found.last().map_or(0, |(_, rows)| *rows),
            numbers,
            dates: forms.iter().map(|(_, rows)| rows).sum(),
            dates_are_ambiguous: forms.iter().any(|(form, _)| form.is_ambiguous()),
            date_forms: forms.into_iter().map(|(form, _)| form.to_string()).collect(),
            strays,
            common: found.into_iter().take(COMMON_MAX).collect(),
        }
    }
}
