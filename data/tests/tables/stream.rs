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
use crate::npy::{files, floats, gzip, npy};
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
        ("packed.npz", npz(&rows, zip::CompressionMethod::Deflated)),
        ("gz.npz", gzip(&npz(&rows, stored))),
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
    let names =
        ["t.csv", "t.csv.gz", "quoted.csv", "t.npz", "packed.npz", "gz.npz", "t.parquet", "parts"];
    for name in names {
        for rows_max in [1, 7, 64, 4096] {
            let found = streamed(&data.schema, &at(name), &["class", "b"], rows_max);
            assert_eq!(found.0, wanted, "{name} {rows_max}");
            assert_eq!(found.1, kept, "{name} {rows_max}");
        }
    }
}

/// Arrays in either order, plain and packed, alone and in parts: read by position.
#[test]
fn batches_of_arrays_have_the_rows_of_the_table() {
    let cell = |row: usize, column: usize| (row * 37 + column * 11 % 13) as f64 / 8.0;
    let by_row: Vec<f64> = (0..100).flat_map(|row| (0..6).map(move |c| cell(row, c))).collect();
    let by_column: Vec<u8> =
        (0..6).flat_map(|c| (0..100).flat_map(move |row| cell(row, c).to_be_bytes())).collect();
    let plain = floats("(100, 6)", &by_row);
    let files = files(&[
        ("t.npy", plain.clone()),
        ("t.npy.gz", gzip(&plain)),
        ("f.npy", npy("'>f8'", "True", "(100, 6)", &by_column)),
        ("f.npy.gz", gzip(&npy("'>f8'", "True", "(100, 6)", &by_column))),
    ]);
    fs::create_dir(files.path("parts")).unwrap();
    for (part, rows) in by_row.chunks(6 * 30).enumerate() {
        let shape = format!("({}, 6)", rows.len() / 6);
        fs::write(files.path(&format!("parts/{part}.npy")), floats(&shape, rows)).unwrap();
    }
    let spec = lockstep_data::TableSpec { target: vec!["5".to_owned()], ..files.spec("t.npy") };
    let data = load(&spec, TargetKind::Numbers, 3).unwrap();
    let (wanted, _) = data.schema.read(&files.csv("t.npy"), Want::Features).unwrap();
    for name in ["t.npy", "t.npy.gz", "f.npy", "f.npy.gz", "parts"] {
        for rows_max in [1, 7, 64, 4096] {
            let (found, kept) = streamed(&data.schema, &files.csv(name), &["3"], rows_max);
            assert_eq!(found, wanted, "{name} {rows_max}");
            assert_eq!(kept[99], cell(99, 3).to_string(), "{name} {rows_max}");
        }
    }
}

/// The place of an error is that in the file, and what is missing at its end is told.
#[test]
fn what_is_wrong_with_a_row_of_an_array_is_told_with_its_place() {
    let good: Vec<f64> = (0..80).map(f64::from).collect();
    let bad: Vec<f64> = (0..80).map(|n| if n == 71 { f64::INFINITY } else { n.into() }).collect();
    let whole = gzip(&floats("(40, 2)", &good));
    let files = files(&[
        ("t.npy", floats("(40, 2)", &good)),
        ("bad.npy", floats("(40, 2)", &bad)),
        ("cut.npy.gz", whole[..whole.len() - 9].to_vec()),
        ("long.npy.gz", gzip(&[&floats("(40, 2)", &good)[..], b"x"].concat())),
    ]);
    let spec = lockstep_data::TableSpec { target: vec!["0".to_owned()], ..files.spec("t.npy") };
    let data = load(&spec, TargetKind::Numbers, 3).unwrap();
    let error = |name: &str| {
        let (mut source, encoder) = data.schema.stream(&files.csv(name), &[], 8).unwrap();
        let mut next = || source.next()?.map(|found| encoder.encode(found)).transpose();
        loop {
            match next() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return files.message(&error),
            }
        }
    };
    assert_eq!(error("t.npy"), "");
    let found = error("bad.npy");
    assert!(
        found.starts_with("bad.npy: element [35, 1]: found \"inf\", wanted a finite"),
        "{found}"
    );
    let found = error("cut.npy.gz");
    assert!(found.starts_with("cut.npy.gz: its gzip data are damaged or cut short"), "{found}");
    let found = error("long.npy.gz");
    assert!(found.contains("but the file goes on after that"), "{found}");
}

/// Images and their labels, of which the labels are not needed.
#[test]
fn batches_of_images_have_the_rows_of_the_table() {
    let idx = |dimensions: &[u32], values: &[u8]| {
        let mut file = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
        [&file[..], values].concat()
    };
    let pixels: Vec<u8> = (0..50 * 6).map(|n| (n * 7 % 256) as u8).collect();
    let labels: Vec<u8> = (0..50).map(|n| n % 2).collect();
    let files = files(&[
        ("i", idx(&[50, 2, 3], &pixels)),
        ("i.gz", gzip(&idx(&[50, 2, 3], &pixels))),
        ("l", idx(&[50], &labels)),
    ]);
    let pair =
        |name: &str| TableFile::pair(["images", "labels"], files.path(name), files.path("l"));
    let spec = lockstep_data::TableSpec {
        train: pair("i").unwrap(),
        target: vec!["label".to_owned()],
        ..files.spec("i")
    };
    let data = load(&spec, TargetKind::Classes { outputs: 2 }, 3).unwrap();
    let (wanted, _) = data.schema.read(&pair("i").unwrap(), Want::Features).unwrap();
    for name in ["i", "i.gz"] {
        for rows_max in [1, 7, 4096] {
            for table in [TableFile::guess(files.path(name), None), pair(name).unwrap()] {
                assert_eq!(
                    streamed(&data.schema, &table, &["pixel3"], rows_max).0,
                    wanted,
                    "{name}"
                );
            }
        }
    }
}

/// What `to_csv` of pandas 3 writes of the same arrays.
#[test]
fn dates_of_arrays_are_those_of_the_same_csv() {
    let csv = "day,at,y\n2024-03-01,2024-03-01 12:30:45.500,1.0\n,2024-03-01 00:00:00.000,2.0\n\
               1969-12-31,2024-03-02 00:00:00.000,3.0\n";
    let ticks =
        |ticks: &[i64]| ticks.iter().flat_map(|ticks| ticks.to_le_bytes()).collect::<Vec<_>>();
    let days = ticks(&[19_783, i64::MIN, -1]);
    let times =
        ticks(&[1_709_296_245_500_000_000, 1_709_251_200_000_000_000, 1_709_337_600_000_000_000]);
    let zipped =
        |arrays: &[(&str, Vec<u8>)]| crate::formats::zipped(arrays, zip::CompressionMethod::Stored);
    let y = ("y.npy", floats("(3,)", &[1.0, 2.0, 3.0]));
    let at = ("at.npy", npy("'<M8[ns]'", "False", "(3,)", &times));
    let files = files(&[
        ("t.csv", csv.into()),
        ("t.npz", zipped(&[("day.npy", npy("'<M8[D]'", "False", "(3,)", &days)), at, y])),
    ]);
    let spec = |name| lockstep_data::TableSpec {
        missing: lockstep_data::Missing::Median,
        ..files.spec(name)
    };
    let loaded = |name| load(&spec(name), TargetKind::Numbers, 3).unwrap();
    let (wanted, found) = (loaded("t.csv"), loaded("t.npz"));
    assert_eq!((&found.train, &found.schema), (&wanted.train, &wanted.schema));
    let rows = |name: &str| streamed(&found.schema, &files.csv(name), &["day", "at"], 2);
    assert_eq!(rows("t.npz").0, rows("t.csv").0);
    assert_eq!(
        rows("t.npz").1,
        [
            "2024-03-01|2024-03-01 12:30:45.500",
            "|2024-03-01 00:00:00",
            "1969-12-31|2024-03-02 00:00:00"
        ]
    );
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
