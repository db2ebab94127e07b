//! Tables in NPY files, from the job to predictions: the same model as from CSV.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::bad_job::refused;
use crate::folder::{Folder, edited, metrics};
use crate::idx::idx;

/// A regression with holes, scaled, with a part of the rows kept for validation.
const NUMBERS: &str = r#"seed = 5
[data]
train = "train.csv"
test = "test.csv"
validation = { fraction = 0.2 }
target = "3"
scale = "standard"
missing = "mean"

[model]
loss = "mse"
metrics = ["mae"]
layers = [
  { type = "dense", units = 5, activation = "tanh" },
  { type = "dense", units = 1 },
]

[train]
optimizer = "adam"
epochs = 3
batch_size = 16
"#;

/// The same rows, and classes.
const CLASSES: &str = r#"seed = 5
[data]
train = "train.csv"
test = "test.csv"
validation = { fraction = 0.2 }
target = "class"
scale = "minmax"
missing = "drop"

[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [{ type = "dense", units = 3, activation = "softmax" }]

[train]
optimizer = "adam"
epochs = 3
batch_size = 16
"#;

/// An NPY file as `numpy.save` writes it.
pub(crate) fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
    let padding = (64 - (10 + text.len() + 1) % 64) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), bytes].concat()
}

pub(crate) fn doubles(values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    values.into_iter().flat_map(f64::to_le_bytes).collect()
}

/// Three features, one of them with holes, and a target.
fn row(row: u32) -> [f64; 4] {
    let a = f64::from(row * 37 % 101) / 7.0;
    let b = 1e6 + f64::from(row * 53 % 97);
    let c = if row % 11 == 3 { f64::NAN } else { f64::from(row * 29 % 89) * 1e-4 };
    [a, b, c, a - 100.0 * c.max(0.0) + (b - 1e6) / 10.0]
}

/// In an order that is neither that of the first rows nor of texts.
fn class(row: u32) -> &'static str {
    ["10", "9", "nine"][(row * row % 7 % 3) as usize]
}

/// The rows from `first` on as CSV, and as arrays of two forms: `name.csv`, `name.npy`, and with classes.
fn write(folder: &Folder, name: &str, rows: std::ops::Range<u32>) {
    let mut csv = "0,1,2,3\n".to_string();
    let mut classes = "a,b,c,class\n".to_string();
    let mut records = Vec::new();
    for index in rows.clone() {
        let [a, b, c, y] = row(index);
        let hole = if c.is_nan() { String::new() } else { c.to_string() };
        writeln!(csv, "{a},{b},{hole},{y}").unwrap();
        writeln!(classes, "{a},{b},{hole},{}", class(index)).unwrap();
        records.extend(doubles([a, b, c]));
        let text = class(index).chars().chain("\0\0\0\0".chars()).take(4);
        records.extend(text.flat_map(|c| (c as u32).to_le_bytes()));
    }
    let count = rows.len();
    folder.write(&format!("{name}.csv"), csv.as_bytes());
    folder.write(&format!("{name}-classes.csv"), classes.as_bytes());
    let all = doubles(rows.clone().flat_map(row));
    folder.write(&format!("{name}.npy"), &npy("'<f8'", &format!("({count}, 4)"), &all));
    let fields = "[('a', '<f8'), ('b', '<f8'), ('c', '<f8'), ('class', '<U4')]";
    folder.write(&format!("{name}-classes.npy"), &npy(fields, &format!("({count},)"), &records));
    let x = doubles(rows.clone().flat_map(|index| row(index)[..3].to_vec()));
    folder.write(&format!("{name}-x.npy"), &npy("'<f8'", &format!("({count}, 3)"), &x));
    let y = doubles(rows.map(|index| row(index)[3]));
    folder.write(&format!("{name}-y.npy"), &npy("'<f8'", &format!("({count},)"), &y));
}

fn folder(job: &str) -> Folder {
    let folder = Folder::new(&[("job.toml", job)]);
    write(&folder, "train", 0..150);
    write(&folder, "test", 150..190);
    folder
}

/// The hash of a job's weights with one worker, which has to be that with three.
fn hash(folder: &Folder, job: &str) -> String {
    folder.write("job.toml", job);
    let hash = folder.train(1, 1);
    assert_eq!(folder.train(3, 2), hash, "{job}");
    hash
}

#[test]
fn the_same_weights_as_from_csv() {
    let folder = folder(NUMBERS);
    let csv = hash(&folder, NUMBERS);
    let array = NUMBERS.replace(".csv\"", ".npy\"");
    assert_eq!(hash(&folder, &array), csv);
    let pair = edited(
        &edited(
            &edited(
                NUMBERS,
                "\"train.csv\"",
                "{ features = \"train-x.npy\", target = \"train-y.npy\" }",
            ),
            "\"test.csv\"",
            "{ target = \"test-y.npy\", features = \"test-x.npy\" }",
        ),
        "target = \"3\"\n",
        "",
    );
    assert_eq!(hash(&folder, &pair), csv);
    let classes = CLASSES.replace(".csv\"", "-classes.csv\"");
    let csv = hash(&folder, &classes);
    assert_eq!(hash(&folder, &CLASSES.replace(".csv\"", "-classes.npy\"")), csv);
}

#[test]
fn measured_and_predicted() {
    let folder = folder(&NUMBERS.replace(".csv\"", ".npy\""));
    folder.train_into("run");
    let last: Value = metrics(&folder.read("run/metrics.jsonl")).pop().unwrap();
    let predicted = |data: &str| {
        let ended = folder.run(&["predict", "run", "--data", data, "--output", "-"]);
        ended.expect(0);
        ended.stdout
    };
    for data in ["test.npy", "test.csv"] {
        let evaluated = folder.run(&["evaluate", "run", "--data", data]);
        evaluated.expect(0);
        let line = format!("loss {}", last["test_loss"]);
        assert!(evaluated.stdout.lines().any(|found| found == line), "{line:?} {evaluated}");
        assert_eq!(predicted(data), predicted("test-x.npy"));
    }
    assert!(predicted("test.npy").starts_with("3\n"));
    assert_eq!(predicted("test.npy").lines().count(), 41);

    folder.write("job.toml", &CLASSES.replace(".csv\"", "-classes.npy\""));
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    let lines = ["train-classes.npy", "scale minmax, missing drop", "with a missing cell"];
    assert!(lines.iter().all(|line| checked.stdout.contains(line)), "{checked}");
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    folder.train_into("run");
    let text = "class,class_9,class_10,class_nine\n";
    folder.write("job.toml", &folder.read("run/job.toml"));
    let complete = "a,b,c\n1,1000001,0.002\n";
    folder.write("new.csv", complete);
    assert!(predicted("new.csv").starts_with(text));
    folder.run(&["verify", "run"]).expect(0);
}

#[test]
fn the_api_reads_either() {
    let folder = Folder::new(&[]);
    write(&folder, "t", 4..10);
    let read = |name: &str| lockstep::prelude::load_csv(folder.path().join(name), "3").unwrap();
    assert_eq!(read("t.npy"), read("t.csv"));
}

#[test]
fn images_with_targets_of_their_own() {
    let job = r#"[data]
train = { features = "images.npy", target = "labels.npy.gz" }
scale = { divide = 255 }
[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [{ type = "dense", units = 3, activation = "softmax" }]
[train]
optimizer = "adam"
epochs = 2
batch_size = 8
"#;
    let idx_job = edited(
        job,
        "features = \"images.npy\", target = \"labels.npy.gz\"",
        "images = \"images\", labels = \"labels\"",
    );
    let folder = Folder::new(&[("job.toml", job)]);
    let pixels: Vec<u8> = (0..60 * 4).map(|pixel| (pixel * 7 % 251) as u8).collect();
    let labels: Vec<u8> = (0..60).map(|row| row % 3).collect();
    folder.write("images.npy", &npy("'|u1'", "(60, 2, 2)", &pixels));
    // Told by its beginning whether it is packed.
    folder.write("labels.npy.gz", &npy("'|u1'", "(60,)", &labels));
    folder.write("images", &idx(&[60, 2, 2], &pixels));
    folder.write("labels", &idx(&[60], &labels));
    assert_eq!(hash(&folder, job), hash(&folder, &idx_job));
    folder.write("job.toml", job);
    folder.train_into("run");
    let arguments = ["evaluate", "run", "--data", "images.npy"];
    let evaluated = folder.run(&[&arguments[..], &["--labels", "labels.npy.gz"]].concat());
    evaluated.expect(0);
    folder.run(&arguments).expect_with(3, "images.npy: found features without targets");
    let predicted = folder.run(&["predict", "run", "--data", "images.npy", "--output", "p.csv"]);
    predicted.expect(0);
    assert!(folder.read("p.csv").starts_with("target,target_0,target_1,target_2\n"));
}

#[test]
fn files_and_settings_that_cannot_be() {
    let array = NUMBERS.replace(".csv\"", ".npy\"");
    let pair = "{ features = \"train-x.npy\", target = \"train-y.npy\" }";
    for (from, to, message) in [
        ("\"train.npy\"", "\"none.npy\"", "cannot read none.npy: No such file or directory"),
        ("\"train.npy\"", "\"train-x.npy\"", "train-x.npy: found no column \"3\", wanted by"),
        (
            "\"train.npy\"",
            "\"job.npy\"",
            "job.npy: found 61 2c 62 0a 31 2c at its beginning, wanted an",
        ),
        ("\"train.npy\"", "\"objects.npy\"", "objects.npy: found dtype \"|O\", objects of Python"),
        (
            "\"train.npy\"",
            "\"cut.npy\"",
            "cut.npy: the header says 150 x 4 of 8 bytes each, but there",
        ),
        (
            "\"train.npy\"",
            "{}",
            "job.toml:3:9: `data.train`: found an empty table, wanted a path, or {",
        ),
        (
            "\"train.npy\"",
            "{ features = \"train-x.npy\" }",
            "job.toml:3:9: `data.train.target` is missing",
        ),
        (
            "\"train.npy\"",
            "{ features = \"train-x.npy\", labels = \"train-y.npy\" }",
            "job.toml:3:9: `data.train`: found `labels`, `features`, wanted a path, or { images = ",
        ),
        (
            "\"test.npy\"",
            "{ target = \"test-y.npy\", fraction = 0.5 }",
            "`data.test.fraction`: wanted either a fraction or a table of its own, not both",
        ),
        (
            "\"train.npy\"",
            pair,
            "data.target: found \"3\", wanted \"target\", which is every column",
        ),
    ] {
        let folder = folder(&edited(&array, from, to));
        folder.write("job.npy", "a,b\n1,2\n");
        folder.write("objects.npy", &npy("'|O'", "(2,)", b"\x80\x04"));
        let whole = fs::read(folder.path().join("train.npy")).unwrap();
        folder.write("cut.npy", &whole[..whole.len() - 100]);
        refused(&folder, message);
    }
}
