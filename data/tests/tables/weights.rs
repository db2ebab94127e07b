//! The column with the weights of training rows: no feature, in no other table, and what it may not hold.

use lockstep_data::{Missing, TableSource, TableSpec, TargetKind};

use crate::{Files, load, load_one, names};

const TABLE: &str = "a,w,y\n1,0.5,2\n3,0,4\n5,7,6\n7,1,8\n";

fn weighted(spec: &mut TableSpec) {
    spec.sample_weight = Some("w".to_owned());
}

#[test]
fn a_row_ends_with_its_weight() {
    let data = load_one(TABLE, TargetKind::Numbers, weighted).unwrap();
    assert_eq!(names(&data.schema.features), ["a"]);
    let wanted = [1.0, 2.0, 0.5, 3.0, 4.0, 0.0, 5.0, 6.0, 7.0, 7.0, 8.0, 1.0];
    assert_eq!((data.train.is_weighted, &data.train.values[..]), (true, &wanted[..]));
    let without = load_one(TABLE, TargetKind::Numbers, |_| {}).unwrap();
    assert_eq!(names(&without.schema.features), ["a", "w"]);
    assert!(!without.train.is_weighted);
}

/// Rows that are dropped or held out take their weights with them; tables of their own need none.
#[test]
fn other_rows_have_no_weights() {
    let table = "a,w,y\n1,1,10\n,2,20\n3,3,30\n4,4,40\n5,5,50\n6,6,60\n";
    let files = Files::new(&[("t.csv", table), ("test.csv", "a,y\n1,2\n")]);
    let mut spec = files.spec("t.csv");
    weighted(&mut spec);
    spec.missing = Missing::Drop;
    spec.validation = Some(TableSource::Fraction(0.4));
    spec.test = files.file("test.csv");
    let data = load(&spec, TargetKind::Numbers, 3).unwrap();
    assert_eq!(data.train.len(), 3);
    for row in 0..3 {
        assert_eq!(data.train.weight_of(row), Some(data.train.features_of(row)[0]));
    }
    let validation = data.validation.unwrap();
    assert_eq!((validation.len(), validation.is_weighted, validation.width()), (2, false, 2));
    assert_eq!(data.test.unwrap().width(), 2);
}

#[test]
fn what_cannot_be_a_weight() {
    for (table, wanted) in [
        (
            "a,w,y\n1,1,2\n3,,4\n",
            "t.csv:3: column 2 (w): found an empty cell, wanted a number; give it one: a number of at least 0",
        ),
        (
            "a,w,y\n1,1,2\n3,-0.5,4\n",
            "t.csv:3: column 2 (w): found the weight -0.5, wanted at least 0",
        ),
        (
            "a,w,y\n1,1,2\n3,heavy,4\n",
            "t.csv:3: column 2 (w): found \"heavy\", wanted a number; a weight is a number of at least 0",
        ),
        (
            "a,ww,y\n1,1,2\n",
            "t.csv: found no column \"w\", wanted by `data.sample_weight`; the nearest is \"ww\"",
        ),
    ] {
        let found = load_one(table, TargetKind::Numbers, weighted).unwrap_err();
        assert_eq!(found, wanted);
    }
    let found = load_one(TABLE, TargetKind::Numbers, |spec| {
        spec.sample_weight = Some("y".to_owned());
    });
    let wanted =
        "data.sample_weight: found \"y\", which is also in `data.target`; take it out of one";
    assert_eq!(found.unwrap_err(), wanted);
    let found = load_one(TABLE, TargetKind::Numbers, |spec| {
        weighted(spec);
        spec.features = Some(vec!["a".to_owned(), "w".to_owned()]);
    });
    let wanted =
        "data.sample_weight: found \"w\", which is also in `data.features`; take it out of one";
    assert_eq!(found.unwrap_err(), wanted);
}
