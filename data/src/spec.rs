//! What to read and how to treat it, as the caller has already checked it. Reads no table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::columns::{ColumnKind, ColumnOverride, ColumnSettings, Missing, Scale};
use crate::dialect::Dialect;
use crate::table_file::TableFile;

/// Where the test or the validation table comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TableSource {
    /// A table of its own.
    File(TableFile),
    /// This share of the training file's rows, above 0 and below 1.
    Fraction(f64),
}

/// The tables of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// The training table.
    pub train: TableFile,
    /// Measured once, at the end.
    pub test: Option<TableSource>,
    /// Measured after every epoch. A fraction is taken from what the test fraction left.
    pub validation: Option<TableSource>,
    /// Target columns, in the order of the network's outputs; [`TableFile::default_target`] alone stands for all that the
    /// training table's file of targets holds.
    pub target: Vec<String>,
    /// Feature columns, in the order of the network's inputs; `None`: every column that is no target, in file order.
    pub features: Option<Vec<String>>,
    /// The column with the weights of training rows; it is no feature.
    pub sample_weight: Option<String>,
    /// Height, width and channels of the image that a row's numbers are, where that is not for the table to say. For the network:
    /// no table is read otherwise for it.
    pub image: Option<[usize; 3]>,
    /// How features are scaled.
    pub scale: Scale,
    /// What to do about a missing cell.
    pub missing: Missing,
    /// What goes for single columns, by their names, in place of that; the only way to have a target scaled.
    pub columns: BTreeMap<String, ColumnOverride>,
    /// Whether fractions of a table of classes have each class's share of them.
    pub stratify: bool,
    /// How CSV files are written.
    pub dialect: Dialect,
}

impl TableSpec {
    /// A training table alone, all of whose other columns are features, as they are and none missing.
    pub fn new(train: TableFile, target: Vec<String>) -> TableSpec {
        TableSpec {
            train,
            test: None,
            validation: None,
            target,
            features: None,
            sample_weight: None,
            image: None,
            scale: Scale::NONE,
            missing: Missing::Error,
            columns: BTreeMap::new(),
            stratify: true,
            dialect: Dialect::default(),
        }
    }

    /// What is done to a feature of this name.
    pub(crate) fn feature(&self, name: &str) -> ColumnSettings {
        let own = self.columns.get(name).copied().unwrap_or_default();
        ColumnSettings {
            scale: own.scale.unwrap_or(self.scale),
            missing: own.missing.unwrap_or(self.missing),
            indicator: own.indicator,
        }
    }

    /// What is done to a feature of this name about a missing cell if it has texts: of a category, a missing one is a category
    /// of its own, unless it is told to drop the row or to be an error.
    pub(crate) fn missing_of_text(&self, name: &str, kind: ColumnKind) -> Missing {
        let own = self.columns.get(name).and_then(|own| own.missing);
        match (own, kind) {
            (Some(own), _) => own,
            (None, ColumnKind::Category) if self.missing != Missing::Drop => Missing::Category,
            (None, _) => self.missing,
        }
    }

    /// What is done to a target of this name: scaled only if it is told so itself, and never filled.
    pub(crate) fn target(&self, name: &str) -> ColumnSettings {
        let own = self.columns.get(name).copied().unwrap_or_default();
        let missing = match own.missing.unwrap_or(self.missing) {
            Missing::Drop => Missing::Drop,
            Missing::Error
            | Missing::Mean
            | Missing::Median
            | Missing::Constant(_)
            | Missing::Category => Missing::Error,
        };
        ColumnSettings { scale: own.scale.unwrap_or(Scale::NONE), missing, indicator: false }
    }
}

/// How target cells become numbers; follows from the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// Numbers as they are.
    Numbers,
    /// One column of labels, kept as the class index. Labels that are numbers come first, ordered as numbers, then
    /// others, byte by byte.
    Classes {
        /// Outputs of the network: the number of classes wanted.
        outputs: usize,
    },
    /// Columns of two labels each, kept as 0 and 1 in the same order as classes.
    Binary {
        /// Outputs of the network: the number of target columns wanted.
        outputs: usize,
    },
}
