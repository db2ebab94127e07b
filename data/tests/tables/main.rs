//! Real files through the public interface: values, splits, schemas, and the message of every error.

mod columns;
mod dialects;
mod errors;
mod formats;
mod idx;
mod kinds;
mod npy;
mod npy_errors;
mod schema;
mod splits;
mod stream;
mod survey;
mod values;
mod weights;

use std::fs;
use std::path::PathBuf;

use lockstep_data::{
    Back, Column, ColumnOverride, DataError, Dataset, Detail, Scale, Scaling, TableFile,
    TableSource, TableSpec, TargetKind,
};
use tempfile::TempDir;

/// A folder with tables, gone when dropped.
struct Files(TempDir);

impl Files {
    /// Files by name and content.
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = Files(tempfile::tempdir().expect("a temporary folder"));
        for (name, content) in files {
            fs::write(folder.path(name), content).expect("a writable temporary folder");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn csv(&self, name: &str) -> TableFile {
        TableFile::at(self.path(name))
    }

    /// A spec with target `y`, no scaling and no other table.
    fn spec(&self, train: &str) -> TableSpec {
        TableSpec::new(self.csv(train), vec!["y".to_owned()])
    }

    fn file(&self, name: &str) -> Option<TableSource> {
        Some(TableSource::File(self.csv(name)))
    }

    /// The whole message, file names without their folder.
    fn message(&self, error: &DataError) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// Loads what a run needs.
fn load(spec: &TableSpec, kind: TargetKind, seed: u64) -> Result<Dataset, DataError> {
    lockstep_data::load(spec, kind, seed, Detail::Usual)
}

/// Loads `train` as `t.csv` with `spec` adjusted.
fn load_one(
    train: &str,
    kind: TargetKind,
    adjust: impl FnOnce(&mut TableSpec),
) -> Result<Dataset, String> {
    let files = Files::new(&[("t.csv", train)]);
    let mut spec = files.spec("t.csv");
    adjust(&mut spec);
    load(&spec, kind, 42).map_err(|error| files.message(&error))
}

/// A scale by its name alone.
fn scale_named(name: &str) -> Scale {
    Scale::named(name).expect("a scale")
}

fn divide(divisor: f64) -> Scale {
    Scale::with_parameter("divide", divisor).expect("a divisor")
}

/// Names of columns.
fn names(columns: &[Column]) -> Vec<&str> {
    columns.iter().map(Column::name).collect()
}

/// What a linear scale has learned.
fn scaling(column: &Column) -> Scaling {
    let Some(Back::Affine(scaling)) = column.back() else { panic!("{column:?}") };
    scaling
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What the job says of single columns.
fn with(columns: &[(&str, ColumnOverride)]) -> impl FnOnce(&mut TableSpec) {
    let columns = columns.iter().map(|(name, said)| (name.to_string(), *said)).collect();
    |spec: &mut TableSpec| spec.columns = columns
}

/// A table of numbers to learn, with that said of its columns.
fn loaded(content: &str, columns: &[(&str, ColumnOverride)]) -> Dataset {
    load_one(content, TargetKind::Numbers, with(columns)).expect("a right table")
}
