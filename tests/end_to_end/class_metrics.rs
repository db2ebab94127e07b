//! Metrics of classes on real clusters: the same records whatever computes or dies, and what `evaluate` says of classes.

use std::fs;

use serde_json::Value;

use crate::folder::{Folder, edited};
use crate::resume::{killed_after, records};

/// Eight epochs of 10 steps, and every metric of two classes.
const JOB: &str = r#"
name = "classes"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "binary_cross_entropy"
metrics = ["accuracy", "precision", "precision_weighted", "recall", "recall_weighted", "f1", "f1_weighted", "roc_auc",
  "average_precision", "log_loss", "mse"]
layers = [
  { type = "dense", units = 8, activation = "relu" },
  { type = "dense", units = 1, activation = "sigmoid" },
]
[train]
optimizer = "adam"
epochs = 8
batch_size = 12
[checkpoint]
every_steps = 7
keep = 5
"#;

fn of_two() -> Folder {
    Folder::with_table(JOB, "cancer-sigmoid-nesterov-binary", 150)
}

fn of_ten() -> Folder {
    let job = edited(JOB, "binary_cross_entropy", "cross_entropy");
    let job =
        edited(&job, "units = 1, activation = \"sigmoid\"", "units = 10, activation = \"softmax\"");
    let job = edited(&job, "\"mse\"]", "\"top_k_accuracy\"]");
    Folder::with_table(&job, "digits-tanh-sgd-cross-entropy", 150)
}

#[test]
fn workers_and_threads_do_not_matter() {
    for folder in [of_two(), of_ten()] {
        let mut first = None;
        for (workers, threads) in
            [("1", "1"), ("1", "2"), ("3", "1"), ("3", "2"), ("8", "1"), ("8", "2")]
        {
            let local =
                ["--quiet", "local", "job.toml", "--workers", workers, "--threads", threads];
            folder.run(&[&local[..], &["--out", "run"]].concat()).expect(0);
            let found = (folder.hash(), records(&folder));
            let wanted = first.get_or_insert_with(|| found.clone());
            assert_eq!(*wanted, found, "{workers} workers of {threads} threads");
            folder.run(&["verify", "run"]).expect(0);
            fs::remove_dir_all(folder.path().join("run")).unwrap();
        }
    }
}

#[test]
fn killed_and_resumed() {
    let job = edited(JOB, "epochs = 8", "epochs = 200");
    killed_after(&[30], || {
        let folder = of_two();
        folder.write("job.toml", &job);
        folder
    });
}

#[test]
fn evaluate_tells_classes_apart() {
    let folder = of_two();
    folder.train_into("run");
    let evaluate = ["evaluate", "run", "--data", "train.csv", "--output", "found.json"];
    let ended = folder.run(&evaluate);
    ended.expect(0);
    for wanted in ["true, predicted:", "1 where its probability is above:", "      0.5  "] {
        assert!(ended.stdout.contains(wanted), "no {wanted:?} in\n{ended}");
    }
    let found: Value = serde_json::from_str(&folder.read("found.json")).unwrap();
    let (values, of) = (&found["values"], &found["classes"][0]);
    assert_eq!((&of["target"], &of["classes"][1]["label"]), (&"y".into(), &"1".into()));
    // What counts say is what the metrics' sums say, and 0.5 is where labels change.
    for name in ["precision", "recall", "f1"] {
        assert_eq!(values[name], of["classes"][1][name], "{name}");
        assert_eq!(values[name], of["thresholds"][4][name], "{name}");
    }
    let cells = of["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(), 150);
    assert!(values["roc_auc"].as_f64().unwrap() > 0.9);
    // Never over what is there, and never over its own input.
    folder.run(&evaluate).expect_with(3, "it is there already");
    folder.run(&[&evaluate[..], &["--force"]].concat()).expect(0);
    let over = ["evaluate", "run", "--data", "train.csv", "--output", "train.csv", "--force"];
    folder.run(&over).expect_with(3, "it is the table that is read");
}

#[test]
fn metrics_that_do_not_fit() {
    let of = |metrics: &str, wanted: &str| {
        let folder = of_ten();
        let job = edited(&folder.read("job.toml"), "\"top_k_accuracy\"]", &format!("{metrics}]"));
        folder.write("job.toml", &job);
        folder.run(&["check", "job.toml"]).expect_with(3, wanted);
    };
    of(
        "{ type = \"top_k_accuracy\", k = 11 }",
        "k is 11 and there are 10 classes, set k to a number",
    );
    of("{ type = \"top_k_accuracy\", k = 0 }", "found 0, wanted a whole number from 1 to");
    of("\"mape\"", "metric mape does not fit loss cross_entropy: a class label has no distance");
    of("\"f1\"", "metric f1 is listed twice");
}
