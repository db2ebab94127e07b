//! Tables in, shards of rows out: reads files, checks and preprocesses their rows, splits them, and says which row belongs
//! to which batch and shard.
//!
//! The only crate that knows a table's file format, and in it only `readers` does: everything else knows named columns of
//! cells. Holds no network code, no async and no clock, and decides nothing by the number of workers or threads: the same
//! files, settings and seed give the same rows in the same order, bit for bit; so does the same table in another format.
//!
//! A table is one of
//! - a UTF-8 CSV file with a header. How it is written is its [`Dialect`]: unless the job says more, cells are separated by
//!   commas, semicolons or tabs, whichever fits the first rows, and may be quoted; spaces around names, numbers and labels
//!   do not count; blank lines are skipped; cells that are empty or in [`MISSING_DEFAULT`] are missing, except that a
//!   quoted label is what it says;
//! - a TSV file: the same with tabs;
//! - a Parquet file: columns as it names them, a null is a missing cell;
//! - an NPZ file (`numpy.savez`): columns are named by its arrays;
//! - two IDX files, of images and of labels: pixels are the columns `pixel0`, `pixel1` and so on, row by
//!   row of the image, and the labels the column `label`;
//! - an NPY file (`numpy.save`), or one of features and one of targets: columns are `0`, `1` and so on, or
//!   the fields of a structured array, and targets of a file of their own `target`, or `target.0`, `target.1` and so on.
//!   NaN is a missing cell.
//!
//! Any of these files may be compressed with gzip or zstd. All but those in two files may be a folder or a pattern of parts
//! with the same columns.
//!
//! Cells are read as `f64`, filled and scaled so, and rounded once. The text of a CSV file is never in memory as a
//! whole (a compressed one is unpacked into a temporary file, and a long pipe copied there): while it is read a table takes eight bytes a cell (four where a column's numbers are
//! `f32` as they stand), afterwards its `f32` values, and a few bytes for each row and label. Rows to train on
//! of IDX, NPY and NPZ files are in memory as they stand, Parquet files are read some rows at a time. What a header claims sets no allocation, and a row, a cell and the number of columns have limits.
//!
//! Rows to predict come batch by batch ([`Schema::stream`]), and [`OutputFormat`] writes tables such as predictions.
//!
//! [`load`] makes the tables of a job; [`Schema`] is what is kept of it to read further rows the same way;
//! [`Sharded`] deals a table to its shards in the order that [`RowOrder`] fixes.

mod block;
mod bytes;
mod codes;
mod columns;
mod dialect;
mod doubles;
mod error;
mod fit;
mod in_memory;
mod infer;
mod labels;
mod leaks;
mod load;
mod number;
mod order;
mod raw;
mod readers;
mod rows;
mod schema;
mod selection;
mod sentinels;
mod sharded;
mod spec;
mod split;
mod statistics;
mod strata;
mod summary;
mod survey;
mod table_file;
mod values;
mod warnings;
mod weights;
mod writers;

pub use columns::{
    Back, Column, ColumnEncoder, ColumnKind, ColumnOverride, ColumnSettings, DateOrder, Missing,
    Scale, Scaling,
};
pub use dialect::{Dialect, MISSING_DEFAULT, MISSING_NUMBERS_DEFAULT};
pub use error::DataError;
pub use labels::class_of;
pub use leaks::{HINT_ADVICE, Hint, Repeats};
pub use load::{Dataset, load};
pub use order::RowOrder;
pub use readers::open_table::{COLUMNS_MAX, ROWS_MAX};
pub use rows::Rows;
pub use schema::{
    Cells, DescribedRows, EmbeddedColumn, EncodedRows, PassedColumn, RawRows, ReadTable,
    RowEncoder, RowSource, Schema, Unseen, Want,
};
pub use sentinels::spellings;
pub use sharded::Sharded;
pub use spec::{TableSource, TableSpec, TargetKind};
pub use split::validation_split;
pub use summary::{
    Detail, Distinct, FeatureSummary, KindFound, NumberSummary, Summary, TableSummary,
    TargetSummary, TextSummary,
};
pub use survey::{
    OpenedTable, SeenCells, SeenColumn, SeenNumbers, SeenTexts, Sentinel, Strays, Survey,
};
pub use table_file::TableFile;
pub use values::{Texts, ValueKind, Values};
pub use writers::{OutputFormat, ReadyRows, Sink, TableWriter, WrittenColumn};
