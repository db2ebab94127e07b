//! Tables in NPY files: the same rows as from CSV, whatever their layout and type.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lockstep_data::{
    Detail, Missing, Rows, Scale, TableFile, TableSource, TableSpec, TargetKind, Want,
};

use crate::{Files, divide, load, names, scale_named, strings};

pub(crate) const NUMBERS: TargetKind = TargetKind::Numbers;
pub(crate) const TWO_CLASSES: TargetKind = TargetKind::Classes { outputs: 2 };

/// A file of format 1.0 with this header and these bytes.
pub(crate) fn npy(descr: &str, order: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    file.extend(bytes);
    file
}

/// An array of `<f8`.
pub(crate) fn floats(shape: &str, values: &[f64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("'<f8'", "False", shape, &bytes)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory is writable");
    encoder.finish().expect("memory is writable")
}

/// A table of these files.
pub(crate) fn files(named: &[(&str, Vec<u8>)]) -> Files {
    let files = Files::new(&[]);
    for (name, bytes) in named {
        fs::write(files.path(name), bytes).expect("a writable temporary folder");
    }
    files
}

/// Features in `x.npy`, targets in `y.npy`.
fn pair(files: &Files) -> TableFile {
    let file = TableFile::pair(["features", "target"], files.path("x.npy"), files.path("y.npy"));
    file.expect("a form of tables")
}

/// `t.npy` with target column `target`.
pub(crate) fn alone(files: &Files, target: &str) -> TableSpec {
    TableSpec { target: strings(&[target]), ..files.spec("t.npy") }
}

/// The pair, its targets as they are by default.
pub(crate) fn of_pair(files: &Files) -> TableSpec {
    TableSpec { train: pair(files), ..alone(files, "target") }
}

#[test]
fn the_same_rows_as_from_csv() {
    let rows = [
        [1.5, 1e10 / 3.0, -2.0, 0.1],
        [f64::NAN, 1_700_000_001.0, 3.0, 0.2],
        [-0.0, 1e-40, f64::NAN, 0.3],
        [0.1 + 0.2, 5.0, 16_777_217.0, f64::NAN],
        [2.5e-9, 7.0, 8.0, 0.5],
    ];
    let text = |value: &f64| if value.is_nan() { String::new() } else { format!("{value:?}") };
    let lines = rows.iter().map(|row| row.each_ref().map(text).join(","));
    let csv = format!("0,1,2,3\n{}\n", lines.collect::<Vec<_>>().join("\n"));
    let by_row = rows.concat();
    let by_column: Vec<f64> = (0..4).flat_map(|column| rows.map(|row| row[column])).collect();
    let bytes: Vec<u8> = by_column.iter().flat_map(|value| value.to_be_bytes()).collect();
    let fields = "[('0', '<f8'), ('1', '<f8'), ('2', '<f8'), ('3', '<f8')]";
    let record: Vec<u8> = by_row.iter().flat_map(|value| value.to_le_bytes()).collect();
    for bytes in [
        floats("(5, 4)", &by_row),
        npy("'>f8'", "True", "(5, 4)", &bytes),
        npy(fields, "False", "(5,)", &record),
        gzip(&floats("(5, 4)", &by_row)),
    ] {
        let files = files(&[("t.csv", csv.clone().into_bytes()), ("t.npy", bytes)]);
        for scale in [Scale::NONE, scale_named("standard"), scale_named("minmax"), divide(3.0)] {
            for missing in [Missing::Mean, Missing::Drop] {
                let spec = |train| TableSpec {
                    train: files.csv(train),
                    // A hole in a target is no mean.
                    target: strings(&[if missing == Missing::Drop { "3" } else { "1" }]),
                    scale,
                    missing,
                    test: Some(TableSource::Fraction(0.3)).filter(|_| missing == Missing::Mean),
                    ..files.spec("")
                };
                let csv = load(&spec("t.csv"), NUMBERS, 1).unwrap();
                let npy = load(&spec("t.npy"), NUMBERS, 1).unwrap();
                let bits =
                    |rows: &Rows| rows.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&npy.train), bits(&csv.train), "{scale:?} {missing:?}");
                assert_eq!(npy.test.as_ref().map(bits), csv.test.as_ref().map(bits));
                assert_eq!(npy.schema, csv.schema);
            }
        }
    }
}

#[test]
fn large_tables_are_read_in_parts_in_order() {
    // More rows than are made a block, or checked, at once.
    let rows = 10_000;
    let values: Vec<f64> = (0..rows).flat_map(|row| [f64::from(row), f64::from(row % 7)]).collect();
    let lines = values.chunks(2).map(|row| format!("{},{}\n", row[0], row[1]));
    let csv = format!("0,1\n{}", lines.collect::<String>());
    let files =
        files(&[("t.csv", csv.into_bytes()), ("t.npy", floats(&format!("({rows}, 2)"), &values))]);
    let spec = |train| TableSpec {
        train: files.csv(train),
        scale: scale_named("standard"),
        test: Some(TableSource::Fraction(0.25)),
        ..alone(&files, "1")
    };
    for kind in [NUMBERS, TargetKind::Classes { outputs: 7 }] {
        let load = |train| lockstep_data::load(&spec(train), kind, 3, Detail::Full).unwrap();
        let (csv, npy) = (load("t.csv"), load("t.npy"));
        assert_eq!((npy.train, npy.test, npy.schema), (csv.train, csv.test, csv.schema));
        assert_eq!(npy.summary.tables[0].features, csv.summary.tables[0].features);
        assert_eq!(npy.summary.tables[0].targets, csv.summary.tables[0].targets);
    }
    let mut bad = values;
    bad[2 * 7_777] = f64::INFINITY;
    bad[2 * 9_999 + 1] = f64::NAN;
    fs::write(files.path("t.npy"), floats(&format!("({rows}, 2)"), &bad)).unwrap();
    let error = load(&spec("t.npy"), TargetKind::Classes { outputs: 7 }, 3).unwrap_err();
    assert_eq!(
        files.message(&error),
        "t.npy: element [7777, 0]: found \"inf\", wanted a finite number"
    );
}

#[test]
fn numbers_of_every_type_are_read() {
    let of = |values: [i64; 2], size: usize, is_big: bool| -> Vec<u8> {
        let bytes = |value: i64| {
            let bytes = if is_big { value.to_be_bytes() } else { value.to_le_bytes() };
            if is_big { bytes[8 - size..].to_vec() } else { bytes[..size].to_vec() }
        };
        values.into_iter().flat_map(bytes).collect()
    };
    for size in [1, 2, 4, 8] {
        for (kind, values) in [("i", [-2, 100]), ("u", [7, 200])] {
            for (order, is_big) in [("<", false), (">", true)] {
                let descr = format!("[('a', '{order}{kind}{size}'), ('y', '|b1')]");
                let bytes = of(values, size, is_big);
                let (first, second) = bytes.split_at(size);
                let record = [first, &[1], second, &[0]].concat();
                let files = files(&[("t.npy", npy(&descr, "False", "(2,)", &record))]);
                let data = load(&alone(&files, "y"), NUMBERS, 1).unwrap();
                let [a, b] = values.map(|value| value as f32);
                assert_eq!(data.train.values, [a, 1.0, b, 0.0], "{descr}");
            }
        }
    }
    let halves = npy("'<f2'", "False", "(1, 2)", &[0x00, 0x3e, 0x00, 0xc0]);
    let data = load(&alone(&files(&[("t.npy", halves)]), "1"), NUMBERS, 1).unwrap();
    assert_eq!(data.train.values, [1.5, -2.0]);
    let singles: Vec<u8> = [0.1_f32, 3.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    let singles = npy("'>f4'", "False", "(1, 2)", &singles);
    let data = load(&alone(&files(&[("t.npy", singles)]), "1"), NUMBERS, 1).unwrap();
    assert_eq!(data.train.values, [0.1, 3.0]);
}

#[test]
fn labels_are_spelled_as_in_csv() {
    let long = [9_007_199_254_740_993_i64, 9_007_199_254_740_992, -3, 9_007_199_254_740_993];
    let long: Vec<u8> = long.iter().flat_map(|value| value.to_le_bytes()).collect();
    let fixed: Vec<u8> = ["b", "10", " 9 ", "b"]
        .iter()
        .flat_map(|text| text.chars().chain("\0\0\0".chars()).take(3).collect::<Vec<char>>())
        .flat_map(|c| (c as u32).to_le_bytes())
        .collect();
    let floats: Vec<u8> =
        [0.5, -0.0, 10.0, 0.0].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    for (descr, bytes, wanted, classes) in [
        ("'<i8'", long, &["-3", "9007199254740992", "9007199254740993"][..], [2.0, 1.0, 0.0, 2.0]),
        ("'<U3'", fixed, &["9", "10", "b"], [2.0, 1.0, 0.0, 2.0]),
        (
            "'|S2'",
            [*b"b\0", *b"10", *b" 9", *b"b\0"].concat(),
            &["9", "10", "b"],
            [2.0, 1.0, 0.0, 2.0],
        ),
        ("'<f8'", floats, &["0", "0.5", "10"], [1.0, 0.0, 2.0, 0.0]),
        ("'|b1'", vec![1, 0, 0, 1], &["False", "True"], [1.0, 0.0, 0.0, 1.0]),
    ] {
        let x = npy("'|i1'", "False", "(4, 1)", &[1, 2, 3, 4]);
        for shape in ["(4,)", "(4, 1)"] {
            let files =
                files(&[("x.npy", x.clone()), ("y.npy", npy(descr, "False", shape, &bytes))]);
            let kind = TargetKind::Classes { outputs: wanted.len() };
            let data = load(&of_pair(&files), kind, 1).unwrap();
            assert_eq!(data.schema.labels, Some(vec![strings(wanted)]), "{descr}");
            let found: Vec<f32> = (0..4).map(|row| data.train.targets_of(row)[0]).collect();
            assert_eq!(found, classes, "{descr}");
        }
    }
}

#[test]
fn missing_cells_are_those_of_csv() {
    // A text that says so, an empty one, NaN, and what the job lists.
    let fields = "[('a', '|S4'), ('b', '<f4'), ('c', '<i2'), ('y', '|S3')]";
    let row = |a: &[u8; 4], b: f32, c: i16, y: &[u8; 3]| {
        [&a[..], &b.to_le_bytes(), &c.to_le_bytes(), y].concat()
    };
    let rows = [
        row(b"1.5\0", 1.0, 1, b"no\0"),
        row(b" NA\0", 2.0, 2, b"yes"),
        row(b"\0\0\0\0", f32::NAN, -9, b"yes"),
        row(b"True", 4.0, 4, b"n/a"),
        row(b"2\0\0\0", 5.0, -9, b"yes"),
    ];
    let files = files(&[("t.npy", npy(fields, "False", "(5,)", &rows.concat()))]);
    let mut spec = alone(&files, "y");
    spec.missing = Missing::Drop;
    let data = load(&spec, TWO_CLASSES, 1).unwrap();
    assert_eq!(data.train.values, [1.5, 1.0, 1.0, 0.0, 2.0, 5.0, -9.0, 1.0]);
    spec.dialect.missing_values = Some(strings(&["-9", "n/a"]));
    spec.features = Some(strings(&["b", "c"]));
    let data = load(&spec, TWO_CLASSES, 1).unwrap();
    assert_eq!(data.train.values, [1.0, 1.0, 0.0, 2.0, 2.0, 1.0]);
    spec.missing = Missing::Error;
    let error = files.message(&load(&spec, TWO_CLASSES, 1).unwrap_err());
    assert_eq!(
        error,
        "t.npy: element [2][\"b\"]: found \"NaN\", which means a missing cell, wanted a number; give it one, or set \
         `data.missing` to \"mean\" or \"drop\""
    );
    spec.features = Some(strings(&["c"]));
    let error = files.message(&load(&spec, TWO_CLASSES, 1).unwrap_err());
    assert!(error.starts_with("t.npy: element [2][\"c\"]: found \"-9\", which means"), "{error}");
    spec.missing = Missing::Mean;
    let error = files.message(&load(&spec, TWO_CLASSES, 1).unwrap_err());
    assert!(error.starts_with("t.npy: element [3][\"y\"]: found \"n/a\", which means"), "{error}");
}

#[test]
fn a_pair_is_features_and_targets_of_its_own() {
    let x = floats("(2, 2, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let files = files(&[("x.npy", x), ("y.npy", floats("(2, 2)", &[0.5, 1.5, 2.5, 3.5]))]);
    let data = load(&of_pair(&files), NUMBERS, 1).unwrap();
    let wanted = [1.0, 2.0, 3.0, 4.0, 0.5, 1.5, 5.0, 6.0, 7.0, 8.0, 2.5, 3.5];
    assert_eq!(data.train, Rows::new(4, 2, wanted.to_vec()));
    assert_eq!(names(&data.schema.features), ["0", "1", "2", "3"]);
    assert_eq!(names(&data.schema.targets), ["target.0", "target.1"]);
    assert_eq!(data.schema.image, Some(vec![2, 2]));
    assert!(data.summary.tables[0].images);

    let unlabelled = TableFile::guess(files.path("x.npy"), None);
    let rows = data.schema.read(&unlabelled, Want::Features).unwrap().0;
    assert_eq!(rows.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let labelled = TableFile::guess(files.path("x.npy"), Some(files.path("y.npy")));
    assert_eq!(labelled, pair(&files));
    assert_eq!(data.schema.read(&labelled, Want::FeaturesAndTargets).unwrap().0, data.train);
    assert_eq!(
        files.message(&data.schema.read(&unlabelled, Want::FeaturesAndTargets).unwrap_err()),
        "x.npy: found features without targets, wanted their targets too; give the targets' file with `--labels`"
    );
    let flat = floats("(1, 4)", &[1.0, 2.0, 3.0, 4.0]);
    fs::write(files.path("x.npy"), flat).unwrap();
    let rows = data.schema.read(&unlabelled, Want::Features).unwrap().0;
    assert_eq!(rows.values, [1.0, 2.0, 3.0, 4.0]);
    fs::write(files.path("x.npy"), floats("(1, 1, 4)", &[1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(
        files.message(&data.schema.read(&unlabelled, Want::Features).unwrap_err()),
        "x.npy: found images of 1 x 4, wanted 2 x 2 as in the training table"
    );
}

#[test]
fn some_targets_of_a_pair_may_be_left_out() {
    let x = floats("(2,)", &[1.0, 2.0]);
    let files = files(&[("x.npy", x), ("y.npy", floats("(2, 2)", &[0.5, 1.5, 2.5, 3.5]))]);
    let mut spec = TableSpec { target: strings(&["target.1"]), ..of_pair(&files) };
    let data = load(&spec, NUMBERS, 1).unwrap();
    assert_eq!(data.train.values, [1.0, 1.5, 2.0, 3.5]);
    assert_eq!(names(&data.schema.features), ["0"]);
    let message = |spec: &TableSpec, kind| files.message(&load(spec, kind, 1).unwrap_err());
    spec.target = strings(&["0"]);
    assert_eq!(
        message(&spec, NUMBERS),
        "data.target: found \"0\", wanted \"target\", which is every column of the targets' file, or some of them, such \
         as [\"target.0\"]; leave it out for all"
    );
    spec.target = strings(&["target.2"]);
    assert!(message(&spec, NUMBERS).contains("found no column \"target.2\""));
    spec.target = strings(&["target"]);
    assert_eq!(
        message(&spec, TWO_CLASSES),
        "data.target: found 2 columns, wanted one column of labels for `cross_entropy`"
    );
    spec.features = Some(strings(&["0", "target.1"]));
    assert_eq!(
        message(&spec, NUMBERS),
        "data.features: found \"target.1\", which is also in `data.target`; take it out of one"
    );
}
