//! The Rust API beside the command line: the same bits of the same job, models that either has made used by the other, one cluster of
//! both; and the examples.

use std::thread;

use lockstep::prelude::*;
use serde_json::Value;

use crate::folder::{Folder, parity};

#[allow(dead_code)] // Its `main` is the example's.
#[path = "../../examples/diamonds.rs"]
mod diamonds;
#[allow(dead_code)] // Its `main` is the example's.
#[path = "../../examples/digits.rs"]
mod digits;

pub(crate) const JOB: &str = r#"
seed = 3
[data]
train = "train.csv"
target = "price"
validation = { fraction = 0.2 }
scale = "standard"
[data.columns]
cut = { encoder = "embedding", dimension = 2 }
price = { scale = "standard" }
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dropout", rate = 0.1 }, { type = "dense", units = 1 }]
[train]
optimizer = { type = "adam", learning_rate = 0.01, use_ema = true, ema_momentum = 0.9 }
epochs = 4
batch_size = 20
"#;

/// Numbers and three columns of texts, one of them embedded.
pub(crate) fn folder_of(job: &str) -> Folder {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/diamonds.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().take(201).collect();
    Folder::new(&[("job.toml", job), ("train.csv", &lines.join("\n"))])
}

/// The job's table in Rust.
pub(crate) fn table_of(folder: &Folder) -> Table {
    let standard = Scale::named("standard").unwrap();
    let table = Table::read(folder.path().join("train.csv")).unwrap();
    let table = table.target("price").scale(standard).column("cut", Column::embedding(2));
    table.column("price", Column::inferred().scale(standard))
}

/// The job's network in Rust.
pub(crate) fn network() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation(Activation::Relu));
    model.add(Dropout::new(0.1));
    model.add(Dense::new(1));
    model.compile(adam().learning_rate(0.01).average_weights(0.9), Loss::Mse, &[Metric::Mae]);
    model
}

/// The job's words in Rust.
fn of_the_job(
    folder: &Folder,
    cluster: Option<&Cluster>,
    workers: usize,
) -> (Sequential, Table, History) {
    let (table, mut model) = (table_of(folder), network());
    let fit = Fit::new().epochs(4).batch_size(20).seed(3).validation_split(0.2);
    let fit = match cluster {
        Some(cluster) => fit.cluster(cluster),
        None => fit.workers(workers),
    };
    let history = model.fit_table(&table, &fit).unwrap();
    (model, table, history)
}

#[test]
fn the_same_bits_and_the_same_models() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let (model, table, _) = of_the_job(&folder, None, 3);
    assert_eq!(model.weights_hash().unwrap(), folder.hash_of("run"));

    // What either has made, the other uses.
    model.save(folder.path().join("saved")).unwrap();
    let loaded = Sequential::load(folder.path().join("run")).unwrap();
    assert_eq!(loaded.predict_table(&table).unwrap(), model.predict_table(&table).unwrap());
    let evaluated = |run: &str| {
        let arguments = ["--log-format", "json", "evaluate", run, "--data", "train.csv"];
        let ended = folder.run(&arguments);
        ended.expect(0);
        let report: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
        report["values"].clone()
    };
    let values = evaluated("saved");
    assert_eq!(values, evaluated("run"));
    let here = loaded.evaluate_table(&table).unwrap();
    assert_eq!(serde_json::to_value(&here.values).unwrap(), values);
    for run in ["saved", "run"] {
        let output = format!("{run}.csv");
        folder.run(&["predict", run, "--data", "train.csv", "--output", &output]).expect(0);
    }
    assert_eq!(folder.read("saved.csv"), folder.read("run.csv"));
    let printed: Vec<f64> =
        folder.read("run.csv").lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let predicted = model.predict_table(&table).unwrap().values;
    assert_eq!(printed.len(), predicted.len());
    assert!(printed.iter().zip(&predicted).all(|(a, b)| *a as f32 == *b));
    folder.run(&["export", "saved", "--output", "saved.onnx"]).expect(0);
    let onnx = std::fs::read(folder.path().join("saved.onnx")).unwrap();
    assert_eq!(onnx, model.export(ExportFormat::Onnx).unwrap());
    folder.run(&["verify", "saved"]).expect_with(3, "its weights were imported");
}

/// A worker of the command line and one of the API, for a coordinator of the API.
#[test]
fn one_cluster_of_both() {
    let folder = folder_of(JOB);
    let alone = of_the_job(&folder, None, 1).0.weights_hash();
    let cluster = Cluster::listen("127.0.0.1:0").unwrap().workers_min(2);
    let line = cluster.join_line().to_string();
    let process = folder.start(&["worker", &line]);
    let worker = thread::spawn(move || Worker::new(line).run());
    let (model, ..) = of_the_job(&folder, Some(&cluster), 0);
    worker.join().unwrap().unwrap();
    process.end().expect(0);
    assert_eq!(model.weights_hash(), alone);
}

/// Models of arrays, whose columns have no names.
#[test]
fn arrays_in_the_command_line() {
    let table = parity("boston-relu-adam-mse").join("train.csv");
    // Its columns are called as those of arrays are.
    let (x, y) = load_csv(&table, "y").unwrap();
    let mut model = Sequential::new();
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    model.fit(x.view(), y.view(), &Fit::new()).unwrap();
    let folder = Folder::new(&[]);
    folder.write("x.csv", &std::fs::read(table).unwrap());
    model.save(folder.path().join("saved")).unwrap();
    folder.run(&["predict", "saved", "--data", "x.csv", "--output", "y.csv"]).expect(0);
    let printed: Vec<f32> =
        folder.read("y.csv").lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(printed, model.predict(x.view()).unwrap().into_raw_vec_and_offset().0);
}

#[test]
fn the_digits_example() {
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/digits/digits.csv");
    let (model, test) = digits::train(table, 3).unwrap();
    assert!(test["accuracy"] > 0.8, "{test:?}");
    assert_eq!((test.classes[0].confusion.len(), model.weights().unwrap().len()), (10, 4810));
}

#[test]
fn the_diamonds_example() {
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/diamonds/diamonds.csv.gz");
    let cluster = Cluster::listen("127.0.0.1:0").unwrap();
    let line = cluster.join_line().to_string();
    let worker = thread::spawn(move || Worker::new(line).run());
    let (model, table) = diamonds::train(table, &cluster, 1).unwrap();
    worker.join().unwrap().unwrap();
    assert!(model.evaluate_table(&table).unwrap()["mae"] > 0.0);
}
