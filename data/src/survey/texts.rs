//! What a column of texts holds: categories, dates, or numbers with strays among them. Knows no table but for counting.

use std::collections::BTreeMap;

use crate::block::MISSING_LABEL;
use crate::infer::{Shape, shape};
use crate::raw::RawTable;

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
    /// What is no number where at least half of the cells are.
    pub strays: Option<Strays>,
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
    /// Whether one of them is a number with a comma in place of the point.
    pub has_comma: bool,
}

/// The texts of a column at this place among the labels of a row, with the rows of each.
pub(super) fn counts(raw: &RawTable, rows: &[u32], place: usize) -> Vec<(String, u64)> {
    let names = &raw.label_names[place];
    let mut counts = vec![0; names.len()];
    raw.visit_labels(rows, place, |_, id| {
        if id != MISSING_LABEL {
            counts[id as usize] += 1;
        }
    });
    names.iter().cloned().zip(counts).filter(|(_, rows)| *rows > 0).collect()
}

impl SeenTexts {
    /// Of distinct texts with their rows.
    pub(super) fn of(mut found: Vec<(String, u64)>) -> SeenTexts {
        found.sort_unstable_by(|(a, a_rows), (b, b_rows)| b_rows.cmp(a_rows).then(a.cmp(b)));
        let shapes: Vec<Shape> = found.iter().map(|(text, _)| shape(text)).collect();
        let of = |wanted: &dyn Fn(&Shape) -> bool| {
            let among = found.iter().zip(&shapes).filter(|(_, shape)| wanted(shape));
            among.map(|((_, rows), _)| rows).sum::<u64>()
        };
        let all = of(&|_| true);
        let numbers = of(&|shape| matches!(shape, Shape::Number));
        let commas = of(&|shape| matches!(shape, Shape::Comma));
        let mut forms: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, rows), shape) in found.iter().zip(&shapes) {
            if let Shape::Date(form) = shape {
                *forms.entry(form.to_string()).or_default() += rows;
            }
        }
        let mut forms: Vec<(String, u64)> = forms.into_iter().collect();
        forms.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        let is_mostly_numbers = 2 * (numbers + commas) >= all;
        let strays = is_mostly_numbers.then(|| {
            let strays = found.iter().zip(&shapes).filter(|(_, shape)| **shape != Shape::Number);
            let texts: Vec<&(String, u64)> = strays.map(|(text, _)| text).collect();
            Strays {
                distinct: texts.len() as u64,
                rows: texts.iter().map(|(_, rows)| rows).sum(),
                common: texts.iter().take(STRAYS_MAX).map(|(text, _)| text.clone()).collect(),
                has_comma: commas > 0,
            }
        });
        SeenTexts {
            rows_of_rarest: found.last().map_or(0, |(_, rows)| *rows),
            numbers,
            dates: forms.iter().map(|(_, rows)| rows).sum(),
            date_forms: forms.into_iter().map(|(form, _)| form).collect(),
            strays,
            common: found.into_iter().take(COMMON_MAX).collect(),
        }
    }
}
