//! NPZ files: what holds for every table.

use lockstep_data::{Missing, TableFile, TableSpec};

use crate::csv::kind;
use crate::{input, scratch, tables};

/// Reads a table of arrays.
pub fn check(data: &[u8]) {
    let (mut choose, file) = input::split(data);
    let kind = kind(&mut choose);
    let spec = TableSpec {
        missing: choose.of(&[Missing::Error, Missing::Mean, Missing::Drop]),
        scale: choose.of(&tables::scales()),
        ..tables::spec(TableFile::at(scratch::write("table.npz", file)), "y")
    };
    let Ok(found) = tables::read_packed(&spec, kind, file.len()) else { return };
    tables::check(&spec, kind, &found);
}
