//! What the rules for missing cells and sizes of numbers come to where a table is read: which columns, which advice an error
//! gives, which rows are kept. Reads no file itself.

use super::Want;
use crate::columns::{ColumnSettings, Missing};
use crate::error::DataError;
use crate::raw::RawTable;
use crate::selection::{CellKind, OnText, Selected, Selection};
use crate::spec::TargetKind;

/// The rows of a raw table that the rules for missing cells keep.
pub(crate) fn usable_rows(raw: &RawTable) -> Result<Vec<u32>, DataError> {
    let rows = raw.complete_rows();
    if rows.is_empty() {
        let problem = match raw.selection.all().all(|selected| selected.drops) {
            true => "every row has a missing cell, so `data.missing = \"drop\"` leaves none",
            false => {
                "every row has a missing cell in a column whose `missing` is \"drop\", which leaves none"
            }
        };
        return Err(DataError::table(raw.path(), problem));
    }
    Ok(rows)
}

/// Who reads, and so what advice an error can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A job, whose settings can still be changed.
    Job,
    /// A trained model, whose settings are fixed.
    Model,
}

/// What is done with the cells of a column, as far as it matters where they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) missing: Missing,
    pub(crate) takes_any_size: bool,
    /// Whether a feature is read as texts; a missing one is then no error yet.
    pub(crate) is_text: bool,
    /// Whether a text among numbers is noted, and no error yet.
    pub(crate) notes_text: bool,
}

impl Rule {
    /// Of a column of numbers.
    pub(crate) fn of(settings: ColumnSettings) -> Rule {
        let ColumnSettings { scale, missing, .. } = settings;
        let takes_any_size = scale.takes_any_size();
        Rule { missing, takes_any_size, is_text: false, notes_text: false }
    }
}

/// The columns to read, each with its rule, and the advice that fits.
pub(crate) fn selection(
    features: impl Iterator<Item = (usize, Rule)>,
    targets: impl Iterator<Item = (usize, Rule)>,
    kind: TargetKind,
    want: Want,
    reader: Reader,
) -> Selection {
    let missing_feature = |missing| match (missing, want, reader) {
        (Missing::Drop, Want::FeaturesAndTargets, _) => None,
        (Missing::Drop, Want::Features, _) => {
            Some("a row to predict is never dropped: give it a number or take the row out")
        }
        (Missing::Error, _, Reader::Job) => {
            Some("give it one, or set `data.missing` to \"mean\" or \"drop\"")
        }
        (Missing::Error, _, Reader::Model) => {
            Some("the model was trained with `data.missing = \"error\"`")
        }
        // What is done about a missing text is told where it is turned.
        (Missing::Mean | Missing::Median | Missing::Constant(_) | Missing::Category, _, _) => None,
    };
    let missing_target = |missing| match (missing, reader) {
        (Missing::Drop, _) => None,
        (_, Reader::Job) => Some("give it one, or set `data.missing` to \"drop\""),
        (_, Reader::Model) => Some("give it one or take the row out"),
    };
    let selected = |(column, rule): (usize, Rule), missing: Option<&'static str>, text| Selected {
        column,
        cells: match rule.is_text {
            true => CellKind::Texts,
            false => CellKind::Numbers { takes_any_size: rule.takes_any_size, text },
        },
        missing,
        drops: rule.missing == Missing::Drop && want == Want::FeaturesAndTargets,
    };
    let text_feature = OnText::Error(match reader {
        Reader::Job => Some(
            "the job says that the column has numbers: set its `kind` to \"category\", list the text in \
             `data.missing_values`, or leave the column out of `data.features`",
        ),
        Reader::Model => Some("the model was trained with numbers here"),
    });
    let feature = |(column, rule): (usize, Rule)| {
        let missing = missing_feature(rule.missing).filter(|_| !rule.is_text);
        let text = if rule.notes_text { OnText::Note } else { text_feature };
        selected((column, rule), missing, text)
    };
    let target = |(column, rule): (usize, Rule)| {
        let rule = Rule { is_text: kind != TargetKind::Numbers, ..rule };
        selected((column, rule), missing_target(rule.missing), OnText::Error(None))
    };
    let (features, targets) = (features.map(feature).collect(), targets.map(target).collect());
    Selection { features, targets, weight: None }
}
