//! Tables in, shards of rows out: reads CSV and IDX files, checks and preprocesses them, splits them, and says which row
//! belongs to which batch and shard.
//!
//! The only crate that knows a table's file format. Holds no network code, no async and no clock, and decides
//! nothing by the number of workers or threads: the same files, settings and seed give the same rows in the same
//! order, bit for bit.
//!
//! A table is a UTF-8 CSV file with a header, or two IDX files, of images and of labels, plain or in gzip: pixels are
//! the columns `pixel0`, `pixel1` and so on, row by row of the image, and the labels the column `label`. A CSV file's
//! delimiter is a comma; a header without one may use semicolons or tabs. Cells may be quoted; spaces around names,
//! numbers and labels do not count; blank lines are skipped. A cell that is empty, `NA`, `NaN`, `null` or `?` (in any
//! case) is missing.
//!
//! The text of a CSV file is never in memory as a whole, unless it is a pipe: a table takes its `f32` values there,
//! the smaller parts of a split one twice while it is read, and a few bytes for each row and label. IDX files are read
//! whole.
//!
//! [`load`] makes the tables of a job; [`Schema`] is what is kept of it to read further rows the same way;
//! [`Sharded`] deals a table to its shards in the order that [`RowOrder`] fixes.

mod cells;
mod error;
mod fit;
mod idx;
mod images;
mod labels;
mod load;
mod order;
mod parse;
mod raw;
mod rows;
mod scan;
mod schema;
mod sharded;
mod source;
mod spec;
mod split;
mod summary;
mod text;

pub use error::DataError;
pub use load::{Dataset, load};
pub use order::RowOrder;
pub use rows::Rows;
pub use schema::{Scaling, Schema, Want};
pub use sharded::Sharded;
pub use spec::{Missing, Scale, Source, TableFile, TableSpec, TargetKind};
pub use summary::{NumberSummary, Summary, TableSummary, TargetSummary};
pub use text::{COLUMNS_MAX, ROWS_MAX};
