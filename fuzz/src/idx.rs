//! IDX files of images and of labels: packed they are the same table as plain, and what holds for every table.

use lockstep_data::{Missing, TableFile, TableSpec};

use crate::csv::kind;
use crate::{input, scratch, tables};

/// Reads a table of two files.
pub fn check(data: &[u8]) {
    let (mut choose, files) = input::split(data);
    let kind = kind(&mut choose);
    let (images, labels) = input::two_files(files);
    let file = |images, labels| {
        let paths = (scratch::write("images", images), scratch::write("labels", labels));
        TableFile::pair(["images", "labels"], paths.0, paths.1).expect("IDX has these keys")
    };
    let spec = TableSpec {
        missing: choose.of(&[Missing::Error, Missing::Mean, Missing::Drop]),
        scale: choose.of(&tables::scales()),
        ..tables::spec(file(images, labels), "label")
    };
    let found = tables::read(&spec, kind, files.len());
    let Ok(found) = found else { return };
    tables::check(&spec, kind, &found);
    // Packing what is packed would be another file.
    if [images, labels].iter().any(|file| file.starts_with(&[0x1f, 0x8b])) {
        return;
    }
    let spec = TableSpec { train: file(&input::gzip(images), &input::gzip(labels)), ..spec };
    let packed = tables::read(&spec, kind, files.len()).expect("a table that was packed");
    tables::assert_same(&packed.train, &found.train);
    assert_eq!(packed.schema, found.schema);
}
