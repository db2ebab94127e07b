//! File formats, one folder each behind one trait, and the one list of them.
//!
//! A format is a [`Format`] that says what its files are called and opens an [`OpenTable`], which gives columns, rows and
//! the place of an error. To add one, write it and add it to [`FORMATS`]: nothing else knows formats by name.

pub(crate) mod cell;
mod csv;
pub(crate) mod format;
mod idx;
mod names;
mod npy;
pub(crate) mod open_table;
mod parquet;
pub(crate) mod part_files;
pub(crate) mod parts;
mod windows;
pub(crate) mod written;

use std::path::Path;

use format::{Beginning, Format};

/// Every format. The first is the one of files that no other knows.
pub(crate) static FORMATS: [&Format; 6] =
    [&csv::FORMAT, &csv::TSV, &idx::FORMAT, &npy::FORMAT, &npy::NPZ, &parquet::FORMAT];

/// The format of a file by its name alone.
pub(crate) fn by_name(path: &Path) -> Option<&'static Format> {
    FORMATS.into_iter().find(|format| format.has_ending(path))
}

/// What is known of a file that begins so.
pub(crate) fn recognize(start: &[u8]) -> Option<&'static Beginning> {
    let mut beginnings = FORMATS.into_iter().flat_map(|format| format.beginnings);
    beginnings.find(|beginning| start.starts_with(beginning.bytes))
}

/// The format of a file by how it begins.
pub(crate) fn by_beginning(start: &[u8]) -> Option<&'static Format> {
    let begins = |beginning: &Beginning| beginning.is_read && start.starts_with(beginning.bytes);
    FORMATS.into_iter().find(|format| format.beginnings.iter().any(begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_can_be_told_apart() {
        for (at, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[..at] {
                assert_ne!(format, other);
                let endings = |format: &Format| format.endings.to_vec();
                assert!(endings(format).iter().all(|ending| !endings(other).contains(ending)));
                let keys = |format: &Format| format.pair.iter().flat_map(|p| p.keys).collect();
                let [keys, others]: [Vec<&str>; 2] = [keys(format), keys(other)];
                assert!(keys.iter().all(|key| !others.contains(key)));
            }
            assert!(format.endings.iter().all(|ending| ending.to_ascii_lowercase() == **ending));
        }
    }

    #[test]
    fn a_name_tells_a_format_by_its_ending_alone() {
        for (name, wanted) in [
            ("a/t.npy", Some("NPY")),
            ("t.NPY.gz", Some("NPY")),
            ("t.npy.ZST", Some("NPY")),
            ("t.npy.csv", None),
            ("npy", None),
            ("a.npy/t", None),
            ("train-images-idx3-ubyte", None),
            ("", None),
        ] {
            assert_eq!(by_name(Path::new(name)).map(|format| format.name), wanted, "{name}");
        }
    }
}
