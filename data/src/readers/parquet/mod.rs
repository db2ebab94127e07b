//! Parquet files as tables: a column for each flat field, read row group by row group. Nested fields, encrypted files and
//! types without a number or a text are refused by name. How pages are encoded and compressed is the `parquet` crate's
//! business.

mod batches;
mod column;
mod file;
mod pages;
mod scalar;
mod table;
mod thrift;

use std::sync::Arc;

use super::format::{Beginning, Format};
use table::Parquet;

/// Parquet: known by the ending of its files.
pub(super) static FORMAT: Format = Format {
    name: "Parquet",
    endings: &[".parquet"],
    beginnings: &[
        Beginning {
            bytes: &file::MAGIC,
            found: "a Parquet file",
            advice: "give it a name that ends in .parquet",
            is_read: true,
        },
        Beginning {
            bytes: &file::ENCRYPTED_MAGIC,
            found: "an encrypted Parquet file",
            advice: "decrypt it first",
            is_read: true,
        },
    ],
    pair: None,
    open: |request| Ok(Arc::new(Parquet::open(request)?)),
};
