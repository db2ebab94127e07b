//! Parquet files: compressed as a whole they are the same table as plain, and what holds for every table.

use std::sync::Once;

use lockstep_data::{Missing, TableFile, TableSpec};

use crate::csv::kind;
use crate::{input, scratch, tables};

/// Where the sources of the program's libraries are.
const LIBRARIES: &str = "/registry/src/";

/// The library that reads these files panics on some damaged ones; the program catches that and says what is wrong. One that
/// is not caught, or a panic of the program's own, ends the fuzzer as ever.
fn forgive_the_library() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map_or("", |place| place.file());
            if !place.contains(LIBRARIES) {
                hook(panic);
            }
        }));
    });
}

/// Reads a table with a target `y`.
pub fn check(data: &[u8]) {
    forgive_the_library();
    let (mut choose, file) = input::split(data);
    let kind = kind(&mut choose);
    let at = |file: &[u8]| TableFile::at(scratch::write("table.parquet", file));
    let spec = TableSpec {
        missing: choose.of(&[Missing::Error, Missing::Mean, Missing::Drop]),
        scale: choose.of(&tables::scales()),
        ..tables::spec(at(file), "y")
    };
    let Ok(found) = tables::read_packed(&spec, kind, file.len()) else { return };
    tables::check(&spec, kind, &found);
    if file.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let spec = TableSpec { train: at(&input::gzip(file)), ..spec };
    let packed = tables::read_packed(&spec, kind, file.len()).expect("a table that was packed");
    tables::assert_same(&packed.train, &found.train);
    assert_eq!(packed.schema, found.schema);
}
