//! A schema outlives its run: it reads raw rows in any column order, and its JSON stays readable.

use std::fs;

use lockstep_data::{Cells, Dataset, Missing, Rows, Scale, Schema, TargetKind, Want};

use crate::{Files, load, load_one, scale_named, scaling};

/// JSON as written by the first version. Later versions must read it.
const FROZEN: &str = include_str!("schema-v1.json");

/// The same as written since cells are `f64` until they are scaled.
const FROZEN_F64: &str = include_str!("schema-v2.json");

fn classes(missing: Missing) -> Dataset {
    load_one("a,b,y\n1,0,no\n3,10,yes\n", TargetKind::Classes { outputs: 2 }, |spec| {
        spec.scale = scale_named("minmax");
        spec.missing = missing;
    })
    .expect("a right table")
}

#[test]
fn json_goes_both_ways_and_the_first_version_stays_readable() {
    let schema = classes(Missing::Mean).schema;
    let json = serde_json::to_string_pretty(&schema).unwrap();
    assert_eq!(json, FROZEN_F64.trim_end());
    assert_eq!(serde_json::from_str::<Schema>(FROZEN_F64).unwrap(), schema);
    let first = serde_json::from_str::<Schema>(FROZEN).unwrap();
    assert_eq!(first, Schema { cells: Cells::F32, ..schema });
    for kind in [TargetKind::Numbers, TargetKind::Binary { outputs: 1 }] {
        let content = "a,y\n0.1,0\n0.7,1\n1e-30,0\n";
        let schema =
            load_one(content, kind, |spec| spec.scale = scale_named("standard")).unwrap().schema;
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }
}

/// A model predicts as it was trained: those of the first version rounded a cell before they scaled it.
#[test]
fn a_model_of_the_first_version_goes_on_rounding_first() {
    let files = Files::new(&[("p.csv", "a,b\n1,16777217\n")]);
    let read = |json: &str| {
        let schema: Schema = serde_json::from_str(json).unwrap();
        schema.read(&files.csv("p.csv"), Want::Features).unwrap().0.values[1]
    };
    assert_eq!((read(FROZEN), read(FROZEN_F64)), (1_677_721.6, 1_677_721.8));
    let rounded = FROZEN.replacen("\"divisor\": 2.0", "\"divisor\": 0.1", 1);
    let schema: Schema = serde_json::from_str(&rounded).unwrap();
    assert_eq!(scaling(&schema.features[0]).divisor, f64::from(0.1_f32));
}

#[test]
fn a_damaged_schema_is_refused() {
    for (from, to) in [
        ("\"divisor\": 2.0", "\"divisor\": 0.0"),
        ("\"outputs\": 2", "\"outputs\": 3"),
        ("\"minmax\"", "\"none\""),
        ("\"mean\"", "\"drop\""),
        ("\"b\"\n", "\"b\", \"c\"\n"),
        ("\"y\"\n", "\"y\", \"z\"\n"),
    ] {
        let damaged = FROZEN.replacen(from, to, 1);
        assert_ne!(damaged, FROZEN, "{from}");
        let error = serde_json::from_str::<Schema>(&damaged).unwrap_err().to_string();
        assert!(error.starts_with("the model's schema is damaged: "), "{from}: {error}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let files = Files::new(&[
        ("features.csv", "extra;b;a\nx;5;2\n;-10;\n"),
        ("both.csv", "y,b,id,a\nyes,5,7,1\nno,10,8,3\n"),
    ]);
    let schema = classes(Missing::Mean).schema;
    let rows = schema.read(&files.csv("features.csv"), Want::Features).unwrap().0;
    assert_eq!(rows, Rows::new(2, 0, vec![0.5, 0.5, 0.5, -1.0]));
    let rows = schema.read(&files.csv("both.csv"), Want::FeaturesAndTargets).unwrap().0;
    assert_eq!(rows, Rows::new(2, 1, vec![0.0, 0.5, 1.0, 1.0, 1.0, 0.0]));
    let rows = schema.read(&files.csv("both.csv"), Want::Features).unwrap().0;
    assert_eq!(rows, Rows::new(2, 0, vec![0.0, 0.5, 1.0, 1.0]));
}

#[test]
fn reading_the_training_file_again_gives_the_training_rows() {
    let mut content = "a,b,y\n".to_owned();
    for row in 0..50 {
        content.push_str(&format!("{}.{row},{},{}\n", row * 7 % 13, row * row, row % 3));
    }
    for kind in [TargetKind::Numbers, TargetKind::Classes { outputs: 3 }] {
        for scale in [Scale::NONE, scale_named("standard"), scale_named("minmax")] {
            let files = Files::new(&[("t.csv", &content)]);
            let mut spec = files.spec("t.csv");
            spec.scale = scale;
            let data = load(&spec, kind, 7).unwrap();
            let rows = data.schema.read(&spec.train, Want::FeaturesAndTargets).unwrap();
            assert_eq!(rows, (data.train, 0));
        }
    }
}

#[test]
fn a_row_to_predict_is_never_dropped() {
    let files = Files::new(&[("p.csv", "a,b,y\n1,2,no\n\n1,,yes\n2,3,\n")]);
    let path = files.csv("p.csv");
    let message = |schema: &Schema, want| files.message(&schema.read(&path, want).unwrap_err());
    let schema = classes(Missing::Drop).schema;
    let (rows, left_out) = schema.read(&path, Want::FeaturesAndTargets).unwrap();
    assert_eq!((rows.len(), left_out), (1, 2));
    assert_eq!(
        message(&schema, Want::Features),
        "p.csv:4: column 2 (b): found an empty cell, wanted a number; \
         a row to predict is never dropped: give it a number or take the row out"
    );
    let schema = classes(Missing::Error).schema;
    assert_eq!(
        message(&schema, Want::Features),
        "p.csv:4: column 2 (b): found an empty cell, wanted a number; \
         the model was trained with `data.missing = \"error\"`"
    );
    let schema = classes(Missing::Mean).schema;
    assert_eq!(schema.read(&path, Want::Features).unwrap().0.len(), 3);
    assert_eq!(
        message(&schema, Want::FeaturesAndTargets),
        "p.csv:5: column 3 (y): found an empty cell, wanted a label; \
         give it one or take the row out"
    );
}

#[test]
fn reading_says_what_is_missing_or_unknown() {
    let schema = classes(Missing::Error).schema;
    for (content, want, wanted) in [
        (
            "A,b,c\n1,2,3\n",
            Want::Features,
            "p.csv: found no column \"a\", a feature of the model; the nearest is \"A\"",
        ),
        (
            "a,y\n1,no\n",
            Want::Features,
            "p.csv: found no column \"b\", a feature of the model; the file has \"a\", \"y\"",
        ),
        (
            "a,b\n1,2\n",
            Want::FeaturesAndTargets,
            "p.csv: found no column \"y\", a target of the model; the file has \"a\", \"b\"",
        ),
        (
            "a,b,y\n1,2,no\n1,2,maybe\n",
            Want::FeaturesAndTargets,
            "p.csv:3: column 3 (y): found label \"maybe\", wanted one that the training rows have: \"no\", \"yes\"",
        ),
        ("a,b\n", Want::Features, "p.csv: no rows below the header, wanted at least one"),
        (
            "a,b\n1,x\n",
            Want::Features,
            "p.csv:2: column 2 (b): found \"x\", wanted a number; the model was trained with numbers here",
        ),
    ] {
        let files = Files::new(&[("p.csv", content)]);
        let error = schema.read(&files.csv("p.csv"), want).unwrap_err();
        assert_eq!(files.message(&error), wanted, "{content:?}");
    }
}

#[test]
fn a_value_that_scales_out_of_range_is_refused() {
    let schema = load_one("a,y\n0,1\n1e-20,2\n", TargetKind::Numbers, |spec| {
        spec.scale = scale_named("minmax");
    })
    .unwrap()
    .schema;
    let files = Files::new(&[]);
    fs::write(files.path("p.csv"), "a\n5e-21\n1e30\n").unwrap();
    let error = schema.read(&files.csv("p.csv"), Want::Features).unwrap_err();
    assert_eq!(
        files.message(&error),
        "p.csv:3: column 1 (a): found 1e30, wanted a number that is finite when scaled: \
         (1e30 - 0e0) / 1e-20 is not"
    );
}
