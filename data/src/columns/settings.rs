//! What a job says of single columns, over what it says of all. Knows no table: whether such columns are there, and what they
//! may be told, is for whoever opens it.

use super::{Missing, Scale};

/// What a job says of one column; what it does not say is as for the whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnOverride {
    /// How its numbers are scaled.
    pub scale: Option<Scale>,
    /// What to do about a missing cell.
    pub missing: Option<Missing>,
    /// Whether there is an input that says where a cell was missing.
    pub indicator: bool,
}

/// What is done to a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColumnSettings {
    /// How its numbers are scaled.
    pub scale: Scale,
    /// What to do about a missing cell.
    pub missing: Missing,
    /// Whether an input is added after the column's own that is 1 where the cell was missing, 0 elsewhere.
    pub indicator: bool,
}
