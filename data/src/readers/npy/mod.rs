//! NPY files as tables: arrays as `numpy.save` writes them, plain or compressed. Reads no pickles, and so no objects.
//!
//! - Two dimensions, `[rows, columns]`: the columns are `0`, `1` and so on, as pandas names them.
//! - One dimension of records (a structured dtype): the columns are its fields.
//! - In two files, features and targets: features as above, or images, `[rows, ...]`, whose cells are the columns `0`, `1`
//!   and so on, the last index fastest; the targets `target`, or `target.0`, `target.1` and so on.
//! - NPZ, arrays as `numpy.savez` and `numpy.savez_compressed` write them: see `npz`.

mod archive;
mod array;
mod cells;
mod element;
mod header;
mod literal;
mod npz;
mod table;

use std::sync::Arc;

use super::format::{Beginning, Format, Pair};
use crate::error::quote;
use npz::Npz;
use table::{Npy, TARGET, is_target};

/// NPY: known by the ending of its files.
pub(super) static FORMAT: Format = Format {
    name: "NPY",
    endings: &[".npy"],
    beginnings: &[Beginning {
        bytes: &header::MAGIC,
        found: "an NPY file",
        advice: "give it a name that ends in .npy",
        is_read: true,
    }],
    pair: Some(Pair { keys: ["features", "target"], target: TARGET, target_problem }),
    open: |request| Ok(Arc::new(Npy::open(request)?)),
};

/// NPZ: arrays with names in one file.
pub(super) static NPZ: Format = Format {
    name: "NPZ",
    endings: &[".npz"],
    beginnings: &[Beginning {
        bytes: &header::ZIP_MAGIC,
        found: "a zip file",
        advice: "give an NPZ file a name that ends in .npz, and unpack others",
        is_read: true,
    }],
    pair: None,
    open: |request| Ok(Arc::new(Npz::open(request)?)),
};

fn target_problem(found: &str) -> Option<String> {
    let problem = format!(
        "found {}, wanted \"{TARGET}\", which is every column of the targets' file, or some of them, such as \
         [\"{TARGET}.0\"]; leave it out for all",
        quote(found.as_bytes())
    );
    (!is_target(found)).then_some(problem)
}
