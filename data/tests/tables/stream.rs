//! Rows to predict batch by batch: the same rows, bit for bit, as the table as a whole has, whatever the format and the
//! batches. Dates of formats that know them, and parts without rows.

use std::fs;
use std::sync::Arc;

use lockstep_data::{Rows, Schema, TableFile, TargetKind, Texts, Values, Want};
use parquet::basic::Compression;
use parquet::data_type::{DoubleType, Int32Type, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::formats::{npz, parquet, rows, spec, text};
use crate::npy::{files, gzip};
use crate::{Files, load};

/// Rows and kept cells, all batches together.
fn streamed(
    schema: &Schema,
    table: &TableFile,
    keep: &[&str],
    rows_max: usize,
) -> (Rows, Vec<String>) {
    let keep: Vec<String> = keep.iter().map(|name| (*name).to_owned()).collect();
    let (mut source, encoder) = schema.stream(table, &keep, rows_max).expect("a right table");
    let (mut all, mut kept): (Option<Rows>, Vec<String>) = (None, Vec::new());
    while let Some(found) = source.next().expect("readable rows") {
        let found = encoder.encode(found).expect("right rows");
        for row in 0..found.rows.len() {
            let cells = found.passed.iter().map(|cells| cells.spelled(row).unwrap_or_default());
            kept.push(cells.collect::<Vec<_>>().join("|"));
        }
        match &mut all {
            Some(all) => all.values.extend(found.rows.values),
            None => all = Some(found.rows),
        }
    }
    (all.expect("at least one row"), kept)
}

#[test]
fn batches_of_any_size_have_the_rows_of_the_table() {
    let rows = rows();
    let csv = text(&rows, ',');
    let quoted = String::from_utf8(csv.clone()).unwrap().replace("nine", "\"nine\"");
    let stored = zip::CompressionMethod::Stored;
    let files = files(&[
        ("t.csv", csv.clone()),
        ("t.csv.gz", gzip(&csv)),
        ("quoted.csv", quoted.into_bytes()),
        ("t.npz", npz(&rows, stored)),
        ("t.parquet", parquet(&rows, 40, Compression::SNAPPY)),
    ]);
    fs::create_dir(files.path("parts")).unwrap();
    for (part, rows) in rows.chunks(70).enumerate() {
        fs::write(files.path(&format!("parts/{part}.csv")), text(rows, ',')).unwrap();
    }
    let data = load(&spec(&files, "t.csv"), TargetKind::Classes { outputs: 3 }, 3).unwrap();
    let at = |name: &str| TableFile::at(files.path(name));
    let (wanted, _) = data.schema.read(&at("t.csv"), Want::Features).unwrap();
    let (_, kept) = streamed(&data.schema, &at("t.csv"), &["class,b"], 1000);
    assert_eq!(kept[0], "10|1700000000");
    for name in ["t.csv", "t.csv.gz", "quoted.csv", "t.npz", "t.parquet", "parts"] {
        for rows_max in [1, 7, 64, 4096] {
            let found = streamed(&data.schema, &at(name), &["class", "b"], rows_max);
            assert_eq!(found.0, wanted, "{name} {rows_max}");
            assert_eq!(found.1, kept, "{name} {rows_max}");
        }
    }
}

#[test]
fn what_is_kept_is_as_it_was_written() {
    let table = "a, id ,y,x,y\n 1 ,007,  two  ,\"q,1\",3\n2,NA,,1e5,4\n";
    let files = Files::new(&[("t.csv", "x,a\n1,1\n2,3\n"), ("p.csv", table)]);
    let spec = lockstep_data::TableSpec::new(files.csv("t.csv"), vec!["x".to_owned()]);
    let data = load(&spec, TargetKind::Numbers, 3).unwrap();
    let (_, kept) = streamed(&data.schema, &files.csv("p.csv"), &["id,x"], 10);
    assert_eq!(kept, ["007|q,1", "NA|1e5"]);
    let refused = |name: &str| {
        let error = data.schema.stream(&files.csv("p.csv"), &[name.to_owned()], 10).err().unwrap();
        files.message(&error)
    };
    assert!(refused("ids").starts_with("p.csv: found no column \"ids\", wanted by `--keep`"));
    assert!(refused("y").contains("are both named \"y\""));
}

/// Days, ticks of a millisecond by no clock, ticks of a microsecond by UTC's, and a number.
type Moment = (i32, i64, i64, f64);

fn moments(rows: &[Moment]) -> Vec<u8> {
    let fields = "required int32 day (DATE); required int64 at (TIMESTAMP(MILLIS,false));
                  required int64 utc (TIMESTAMP(MICROS,true)); required double y;";
    let schema = Arc::new(
        parse_message_type(&format!("message t {{ {fields} }}")).expect("memory is writable"),
    );
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Default::default())
        .expect("memory is writable");
    if !rows.is_empty() {
        let mut group = file.next_row_group().expect("memory is writable");
        let mut column =
            group.next_column().expect("memory is writable").expect("memory is writable");
        let cells: Vec<i32> = rows.iter().map(|row| row.0).collect();
        column.typed::<Int32Type>().write_batch(&cells, None, None).expect("memory is writable");
        column.close().expect("memory is writable");
        for of in [|row: &Moment| row.1, |row: &Moment| row.2] {
            let mut column =
                group.next_column().expect("memory is writable").expect("memory is writable");
            let cells: Vec<i64> = rows.iter().map(of).collect();
            column
                .typed::<Int64Type>()
                .write_batch(&cells, None, None)
                .expect("memory is writable");
            column.close().expect("memory is writable");
        }
        let mut column =
            group.next_column().expect("memory is writable").expect("memory is writable");
        let cells: Vec<f64> = rows.iter().map(|row| row.3).collect();
        column.typed::<DoubleType>().write_batch(&cells, None, None).expect("memory is writable");
        column.close().expect("memory is writable");
        group.close().expect("memory is writable");
    }
    file.into_inner().expect("memory is writable")
}

/// What `to_csv` of pandas 3 writes of the same table.
#[test]
fn dates_of_parquet_files_are_those_of_the_same_csv() {
    let rows = [
        (19_783, 1_709_251_200_000, 1_709_296_245_500_000, 1.0),
        (-1, 1_709_337_600_000, 1_709_251_200_000_000, 2.0),
    ];
    let csv = "day,at,utc,y\n2024-03-01,2024-03-01,2024-03-01 12:30:45.500000+00:00,1.0\n\
               1969-12-31,2024-03-02,2024-03-01 00:00:00.000000+00:00,2.0\n";
    let later = (19_783, 1_709_251_201_000, 0, 3.0);
    let files = files(&[
        ("t.csv", csv.into()),
        ("t.parquet", moments(&rows)),
        ("later.parquet", moments(&[later])),
    ]);
    let loaded = |name| load(&files.spec(name), TargetKind::Numbers, 3).unwrap();
    let (wanted, found) = (loaded("t.csv"), loaded("t.parquet"));
    assert_eq!((&found.train, &found.schema), (&wanted.train, &wanted.schema));
    for schema in [&wanted.schema, &found.schema] {
        for name in ["t.csv", "t.parquet"] {
            assert_eq!(streamed(schema, &files.csv(name), &[], 1).0.values.len(), 2 * 13, "{name}");
        }
        let error = schema.read(&files.csv("later.parquet"), Want::Features).unwrap_err();
        let wanted = "column \"at\": found \"2024-03-01 00:00:01\", wanted a date as YYYY-MM-DD";
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let (_, kept) = streamed(&found.schema, &files.csv("t.parquet"), &["day", "utc"], 9);
    assert_eq!(kept[0], "2024-03-01|2024-03-01 12:30:45.500+00:00");
}

#[test]
fn a_part_may_have_no_rows_if_another_has_some() {
    let rows = [(1, 1_000, 2_000_000, 1.0), (2, 3_000, 4_000_000, 2.0)];
    let files = files(&[("t.parquet", moments(&rows)), ("e.parquet", moments(&[]))]);
    for folder in ["pqs", "csvs", "empty"] {
        fs::create_dir(files.path(folder)).unwrap();
    }
    for (part, rows) in [&[][..], &rows, &[]].into_iter().enumerate() {
        fs::write(files.path(&format!("pqs/{part}.parquet")), moments(rows)).unwrap();
    }
    for (part, rows) in ["", "True,1\nFalse,2\n", ""].iter().enumerate() {
        fs::write(files.path(&format!("csvs/{part}.csv")), format!("x,y\n{rows}")).unwrap();
    }
    fs::write(files.path("empty/0.csv"), "x,y\n").unwrap();
    let loaded = |name: &str| load(&files.spec(name), TargetKind::Numbers, 3);
    assert_eq!(loaded("pqs").unwrap().train, loaded("t.parquet").unwrap().train);
    let data = loaded("csvs").unwrap();
    assert_eq!(data.train.values, [1.0, 1.0, 0.0, 2.0]);
    assert_eq!(streamed(&data.schema, &files.csv("csvs"), &[], 1).0.values, [1.0, 0.0]);
    for (name, wanted) in [
        ("empty", "empty: no rows in any of its parts, wanted at least one"),
        ("e.parquet", "e.parquet: no rows, wanted at least one"),
        ("empty/0.csv", "empty/0.csv: no rows below the header, wanted at least one"),
    ] {
        assert_eq!(files.message(&loaded(name).unwrap_err()), wanted);
    }
    let (mut source, _) = data.schema.stream(&files.csv("empty"), &[], 9).unwrap();
    let error = source.next().err().expect("no rows");
    assert!(files.message(&error).starts_with("empty: no rows in any"), "{error}");
}

#[test]
fn missing_cells_are_no_empty_texts() {
    let mut texts = Texts::default();
    [None, Some("")].iter().for_each(|text| texts.push(*text));
    let values = Values::Texts(texts);
    assert_eq!((values.spelled(0), values.spelled(1).as_deref()), (None, Some("")));
}
