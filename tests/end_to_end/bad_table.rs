//! Tables that cannot be used: file, line and column of the first bad cell, and what to do.

use crate::bad_job::{JOB, TEST, TRAIN, refused, small};
use crate::folder::{Folder, edited};

/// That the job is refused with this training table.
#[track_caller]
fn check((train, message): (&str, &str)) {
    let folder = small();
    folder.write("train.csv", train);
    refused(&folder, message);
}

#[test]
fn a_file_that_is_none() {
    for row in [
        ("", "train.csv: the file is empty, wanted a header and rows"),
        ("\n\n", "train.csv: the file is empty"),
        ("a,b,y\n", "train.csv: no rows below the header, wanted at least one"),
        ("a,b,a,y\n1,2,3,4\n", "train.csv: columns 1 and 3 are both named \"a\"; rename one"),
    ] {
        check(row);
    }
}

#[test]
fn a_cell_or_row_that_cannot_be() {
    let with = |from, to| edited(TRAIN, from, to);
    for (train, message) in [
        (with("3,4,7", "3,4"), "train.csv:4: found 2 columns, wanted 3 as in the header"),
        (with("3,4,7", "3,4,7,8"), "train.csv:4: found 4 columns, wanted 3 as in the header"),
        (
            with("3,4,7", "3,x,7"),
            "train.csv:4: column 2 (b): found \"x\" on line 4 in a column of numbers (7 of 8 cells",
        ),
        (with("3,4,7", "3,4,\"7,5\""), "train.csv:4: column 3 (y): found \"7,5\""),
        (with("3,4,7", "nan,4,7"), "train.csv:4: column 1 (a): found \"nan\""),
        (with("3,4,7", "3,inf,7"), "train.csv:4: column 2 (b): found \"inf\", wanted a finite"),
        (with("3,4,7", "3,-1e39,7"), "train.csv:4: column 2 (b): found \"-1e39\""),
        (with("3,4,7", "3,,7"), "train.csv:4: column 2 (b): found an empty cell"),
        (with("3,4,7", "3,4,"), "train.csv:4: column 3 (y): found an empty cell"),
        (with("8,9,17", "8,9,\u{fffd}"), "train.csv:9: column 3 (y): found \"\u{fffd}\""),
    ] {
        check((&train, message));
    }
}

#[test]
fn a_column_that_is_not_there() {
    for (from, to, message) in [
        (
            "target = \"y\"",
            "target = \"Y\"",
            "train.csv: found no column \"Y\", wanted by `data.target`; the nearest is \"y\"",
        ),
        (
            "[\"a\", \"b\"]",
            "[\"a\", \"bb\"]",
            "found no column \"bb\", wanted by `data.features`; the nearest is \"b\"",
        ),
        (
            "[\"a\", \"b\"]",
            "[\"zebra\"]",
            "found no column \"zebra\", wanted by `data.features`; the file has \"a\", \"b\", \"y\"",
        ),
        (
            "[\"a\", \"b\"]",
            "[\"a\", \"y\"]",
            "data.features: found \"y\", which is also in `data.target`",
        ),
        ("\"train.csv\"", "\"trains.csv\"", "cannot read trains.csv: No such file or directory"),
        ("\"test.csv\"", "\"tests.csv\"", "cannot read tests.csv: No such file or directory"),
    ] {
        let folder = small();
        folder.write("job.toml", &edited(JOB, from, to));
        refused(&folder, message);
    }
}

#[test]
fn a_test_table_that_does_not_fit() {
    for (test, message) in [
        ("a,y\n1,2\n", "test.csv: found no column \"b\", a feature of the model"),
        ("a,b,y\n1,2\n", "test.csv:2: found 2 columns, wanted 3"),
        ("a,b,y\n1,2,three\n", "test.csv:2: column 3 (y): found \"three\", wanted a number"),
    ] {
        let folder = small();
        folder.write("test.csv", test);
        refused(&folder, message);
    }
}

/// The same job with classes.
fn classes(units: usize, train: &str, test: &str) -> Folder {
    let job = edited(JOB, "\"mse\"", "\"cross_entropy\"");
    let last = format!("units = {units}, activation = \"softmax\" }}");
    let job = edited(&job, "units = 1 }", &last);
    Folder::new(&[("job.toml", &job), ("train.csv", train), ("test.csv", test)])
}

const COLOURS: &str = "a,b,y\n1,2,red\n2,3,green\n3,4,blue\n4,5,red\n5,6,green\n6,7,blue\n";

#[test]
fn labels_that_do_not_fit() {
    let fitting = "a,b,y\n1,2,red\n";
    classes(3, COLOURS, fitting).run(&["check", "job.toml"]).expect(0);
    for (units, test, message) in [
        (
            3,
            "a,b,y\n1,2,red\n1,2,mauve\n",
            "test.csv:3: column 3 (y): found label \"mauve\", wanted one that the training rows have: \
             \"blue\", \"green\", \"red\"",
        ),
        (
            4,
            fitting,
            "train.csv: target \"y\" has 3 classes in the training rows (\"blue\", \"green\", \"red\"), but the network \
             has 4 outputs; set the last layer's `units` to 3",
        ),
        (2, fitting, "set the last layer's `units` to 3"),
        (1, fitting, "job.toml:12:10: layer 1: softmax over 1 unit is always 1"),
    ] {
        refused(&classes(units, COLOURS, test), message);
    }
}

#[test]
fn two_labels_for_a_binary_target() {
    let job = edited(JOB, "\"mse\"", "\"binary_cross_entropy\"");
    let job = edited(&job, "units = 1 }", "units = 1, activation = \"sigmoid\" }");
    let files = [("job.toml", &job[..]), ("train.csv", COLOURS), ("test.csv", TEST)];
    refused(&Folder::new(&files), "target \"y\" has 3 labels in the training rows");
}

/// Odd, but no reason to refuse: a warning that names it, and a model.
#[test]
fn a_constant_target_is_a_warning() {
    let folder = small();
    folder.write("train.csv", "a,b,y\n1,2,7\n2,4,7\n3,1,7\n4,5,7\n");
    let warning = "target \"y\" is always 7: there is nothing to learn";
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect_with(0, warning);
    assert!(ended.stderr.contains("warning: train table (train.csv)"), "{ended}");
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(checked.stdout.contains(warning), "{checked}");
}
