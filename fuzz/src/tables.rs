//! What holds for a table of any format that was loaded: its rows, its schema, the rows that the schema reads again, and
//! the rows of the same table written as CSV.

use lockstep_data::{
    Dataset, Detail, Dialect, Rows, Scale, Schema, TableFile, TableSpec, TargetKind, Want, load,
};
use lockstep_parameters::Choice;

use crate::budget::Budget;
use crate::scratch;

/// Readers keep buffers of 64 KiB, and a block of 2 MiB where rows come in order; a header may name a column with each
/// byte, and each column has a name, a summary and statistics.
const BUDGET: Budget = Budget { fixed: 4 << 20, per_byte: 1024 };

/// Where parts of a file are compressed: a deflated byte stands for up to 1,032, each of which may be a row, and pages of
/// Parquet files are 16 MiB or more.
const PACKED_BUDGET: Budget = Budget { fixed: 64 << 20, per_byte: 64 << 10 };

/// Every scale of the job file; one that takes a number with that of a pixel.
pub(crate) fn scales() -> Vec<Scale> {
    let scale = |name| Scale::named(name).or_else(|| Scale::with_parameter(name, 255.0));
    <Scale as Choice>::names().into_iter().filter_map(scale).collect()
}

/// A table to train on, without others.
pub(crate) fn spec(train: TableFile, target: &str) -> TableSpec {
    TableSpec::new(train, vec![target.to_owned()])
}

/// Loads a table of `len` bytes; the message if it is refused.
pub(crate) fn read(spec: &TableSpec, kind: TargetKind, len: usize) -> Result<Dataset, String> {
    read_within(&BUDGET, spec, kind, len)
}

/// The same of a table that is compressed inside.
pub(crate) fn read_packed(
    spec: &TableSpec,
    kind: TargetKind,
    len: usize,
) -> Result<Dataset, String> {
    read_within(&PACKED_BUDGET, spec, kind, len)
}

fn read_within(
    budget: &Budget,
    spec: &TableSpec,
    kind: TargetKind,
    len: usize,
) -> Result<Dataset, String> {
    budget.hold(len, || load(spec, kind, 7, Detail::Usual).map_err(|error| error.to_string()))
}

/// Checks a table that was loaded with `spec`, whose tables are all of one file.
pub(crate) fn check(spec: &TableSpec, kind: TargetKind, found: &Dataset) {
    let Dataset { train, schema, .. } = found;
    check_rows(train, kind);
    let inputs = schema.inputs() + schema.embeddings().len();
    assert_eq!((inputs, schema.targets.len()), (train.features, train.targets));
    let json = serde_json::to_string(schema).expect("a schema is JSON");
    let read: Schema = serde_json::from_str(&json).expect("a schema that was written");
    assert_eq!(read, *schema);
    if spec.test.is_some() {
        return;
    }
    let (rows, left_out) =
        read.read(&spec.train, Want::FeaturesAndTargets).expect("a table that was loaded");
    assert_same(&rows, train);
    if left_out == 0 {
        let (rows, _) = read.read(&spec.train, Want::Features).expect("a table that was loaded");
        assert_eq!((rows.len(), rows.targets), (train.len(), 0));
        let features = (0..train.len()).flat_map(|row| train.features_of(row));
        assert!(features.zip(&rows.values).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    if spec.scale == Scale::NONE && schema.has_numbers_alone() {
        check_rewritten(kind, found);
    }
}

fn check_rows(rows: &Rows, kind: TargetKind) {
    assert!(!rows.is_empty());
    assert!(rows.values.iter().all(|value| value.is_finite()));
    let classes = match kind {
        TargetKind::Numbers => return,
        TargetKind::Classes { outputs } => outputs,
        TargetKind::Binary { .. } => 2,
    };
    let mut targets = (0..rows.len()).flat_map(|row| rows.targets_of(row));
    assert!(targets.all(|&class| class.fract() == 0.0 && (0.0..classes as f32).contains(&class)));
}

/// The same rows, bit for bit.
pub(crate) fn assert_same(found: &Rows, wanted: &Rows) {
    assert_eq!((found.features, found.targets), (wanted.features, wanted.targets));
    let bits = |rows: &Rows| rows.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(found), bits(wanted));
}

/// The same table as CSV, written in another way, is the same rows.
fn check_rewritten(kind: TargetKind, found: &Dataset) {
    let schema = &found.schema;
    let columns = schema.features.iter().chain(&schema.targets);
    let names: Vec<&str> = columns.map(|column| column.name()).collect();
    // Other formats have names that CSV cannot have.
    if names.iter().any(|name| name.trim() != *name || name.is_empty()) {
        return;
    }
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(";");
    for row in 0..found.train.len() {
        let cells = found.train.row(row).iter().enumerate().map(|(place, &value)| {
            let target = place.checked_sub(schema.features.len());
            match (target, &schema.labels) {
                (Some(target), Some(labels)) => quoted(&labels[target][value as usize]),
                _ => format!("{:?}", f64::from(value)),
            }
        });
        text.push('\n');
        text.push_str(&cells.collect::<Vec<_>>().join(";"));
    }
    let dialect = Dialect { delimiter: Some(';'), quote: Some('\''), ..Dialect::default() };
    let file = TableFile::at(scratch::write("rewritten.csv", text.as_bytes()));
    let spec = TableSpec {
        target: schema.targets.iter().map(|column| column.name().to_owned()).collect(),
        features: Some(schema.features.iter().map(|column| column.name().to_owned()).collect()),
        dialect,
        ..spec(file, "")
    };
    let again = read(&spec, kind, text.len()).expect("a table that was written");
    assert_same(&again.train, &found.train);
    assert_eq!(again.schema.labels, schema.labels);
}
