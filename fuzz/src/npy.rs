//! NPY files, arrays and records, one or two of them: packed they are the same table as plain, and what holds for every
//! table.

use lockstep_data::{Missing, TableFile, TableSpec};

use crate::csv::kind;
use crate::{input, scratch, tables};

/// Reads a table of one file, or of two where the input has two.
pub fn check(data: &[u8]) {
    let (mut choose, files) = input::split(data);
    let kind = kind(&mut choose);
    let (features, targets) = input::two_files(files);
    let target = match targets {
        [] => choose.of(&["0", "y", "1"]),
        _ => choose.of(&["target", "target.0", "target.1"]),
    };
    let file = |features: &[u8], targets: &[u8]| {
        let path = scratch::write("table.npy", features);
        if targets.is_empty() {
            return TableFile::at(path);
        }
        let targets = scratch::write("targets.npy", targets);
        TableFile::pair(["features", "target"], path, targets).expect("NPY has these keys")
    };
    let spec = TableSpec {
        missing: choose.of(&[Missing::Error, Missing::Mean, Missing::Drop]),
        scale: choose.of(&tables::scales()),
        ..tables::spec(file(features, targets), target)
    };
    let Ok(found) = tables::read(&spec, kind, files.len()) else { return };
    tables::check(&spec, kind, &found);
    // Packing what is packed would be another file.
    if [features, targets].iter().any(|file| file.starts_with(&[0x1f, 0x8b])) {
        return;
    }
    let pack = |file: &[u8]| if file.is_empty() { Vec::new() } else { input::gzip(file) };
    let spec = TableSpec { train: file(&pack(features), &pack(targets)), ..spec };
    let packed = tables::read(&spec, kind, files.len()).expect("a table that was packed");
    tables::assert_same(&packed.train, &found.train);
    assert_eq!(packed.schema, found.schema);
}
