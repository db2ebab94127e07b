//! The threshold of a binary model: chosen once, the same on every cluster and through every death, checked by `verify`, and used
//! by whatever uses the model. And what a run says of classes at its end, which is what `evaluate` says.

use std::fs;

use serde_json::Value;

use crate::folder::{Folder, edited, metrics};
use crate::lifecycle::kill_cluster;
use crate::process::{Process, lockstep, poll};
use crate::resume::{RESUME, killed_after, records};

/// Of 20 rows one is ill, and after so few epochs the model is sure of none.
const JOB: &str = r#"
name = "rare"
seed = 1
[data]
train = "train.csv"
validation = "valid.csv"
test = "test.csv"
target = "ill"
scale = "standard"
[model]
loss = "binary_cross_entropy"
metrics = ["accuracy", "f1", "precision_weighted", "roc_auc"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1, activation = "sigmoid" }]
[train]
optimizer = "adam"
epochs = 6
[checkpoint]
every_steps = 7
keep = 5
"#;

const HASH: &str = "882585cafe3d569270563fb827fe6b02cf7ac25128c621c628fe662d6041c05a";

/// Numbers that are always the same.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / f64::from(1 << 24)
    }

    /// Nearly normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn table(seed: u64, rows: usize) -> String {
    let mut numbers = Numbers(seed);
    let mut text = "a,b,c,ill\n".to_string();
    for _ in 0..rows {
        let is_ill = numbers.uniform() < 0.05;
        let shift = if is_ill { 3.3 } else { 0.0 };
        let cells = [shift, shift, 0.0].map(|shift| format!("{:.4}", numbers.normal() + shift));
        text += &format!("{},{}\n", cells.join(","), if is_ill { "yes" } else { "no" });
    }
    text
}

fn folder_of(job: &str) -> Folder {
    let [train, valid, test] =
        [(1, 2000), (2, 1000), (3, 2000)].map(|(seed, rows)| table(seed, rows));
    let tables = [("train.csv", &*train), ("valid.csv", &valid), ("test.csv", &test)];
    Folder::new(&[&[("job.toml", job)][..], &tables].concat())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Trains into `run`, and what the run says at its end.
#[track_caller]
fn trained(folder: &Folder) -> Value {
    let ended = folder.run(&["--log-format", "json", "local", "job.toml", "--out", "run"]);
    ended.expect(0);
    json(&ended.stdout)
}

#[track_caller]
fn evaluated(folder: &Folder) -> Value {
    let ended = folder.run(&["--log-format", "json", "evaluate", "run", "--data", "test.csv"]);
    ended.expect(0);
    json(&ended.stdout)
}

#[test]
fn one_threshold_and_one_hash() {
    let folder = folder_of(JOB);
    let mut first = None;
    for (workers, threads) in
        [("1", "1"), ("1", "2"), ("3", "1"), ("3", "2"), ("8", "1"), ("8", "2")]
    {
        let local = ["--quiet", "local", "job.toml", "--workers", workers, "--threads", threads];
        folder.run(&[&local[..], &["--out", "run"]].concat()).expect(0);
        let found = (folder.hash(), folder.read("run/model/model.json"), records(&folder));
        assert_eq!(found.0, HASH, "{workers} workers of {threads} threads");
        let wanted = first.get_or_insert_with(|| found.clone());
        assert_eq!(*wanted, found, "{workers} workers of {threads} threads");
        folder.run(&["verify", "run"]).expect(0);
        fs::remove_dir_all(folder.path().join("run")).unwrap();
    }
    assert_eq!(json(&first.unwrap().1)["threshold"], THRESHOLD);
}

const THRESHOLD: f64 = 442.0 / 1024.0;

#[test]
fn killed_and_resumed() {
    let job = edited(JOB, "epochs = 6", "epochs = 40");
    let job = edited(&job, "[checkpoint]", "early_stopping = { patience = 30 }\n[checkpoint]");
    let folder = killed_after(&[500, 900], || folder_of(&job));
    let model = json(&folder.read("run/model/model.json"));
    assert!(model["threshold"].is_f64() && model["format"] == 3, "{model}");
}

/// The execution that ends the run has measured no validation table: its coordinator was killed where the test table's turn came.
#[test]
fn killed_before_the_last_table() {
    let folder = folder_of(JOB);
    let steps = 6 * 63;
    let mut command = lockstep(folder.path(), &[&RESUME[..], &["--resume"]].concat());
    let passes = steps + 6;
    command.env("FAILPOINTS", format!("pass={passes}*off->pause"));
    let launcher = Process::start(command);
    let last = folder.path().join(format!("run/checkpoints/step-{steps:012}.safetensors"));
    let is_there = || {
        let bytes = fs::read(&last).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&format!("\\\"pass\\\":{passes},"))
    };
    assert!(poll(is_there));
    kill_cluster(launcher);
    let ended = folder.run(&[&RESUME[..], &["--resume"]].concat());
    ended.expect_with(0, &format!("continuing after step {steps}"));
    assert_eq!(json(&ended.stdout)["threshold"]["value"], THRESHOLD);
    assert_eq!(json(&folder.read("run/model/model.json"))["threshold"], THRESHOLD);
    folder.run(&["verify", "run"]).expect(0);
    let undisturbed = folder_of(JOB);
    trained(&undisturbed);
    assert_eq!(records(&folder), records(&undisturbed));
}

/// Where 0.5 finds half of the rare class, the threshold finds most of it; whatever uses the model uses it.
#[test]
fn a_rare_class_is_found() {
    let folder = folder_of(JOB);
    let (run, evaluated) = (trained(&folder), { evaluated(&folder) });
    let of = &evaluated["classes"][0];
    let f1 = |of: &Value| of["f1"].as_f64().unwrap();
    assert!(f1(&evaluated["values"]) >= 0.8 && f1(&of["thresholds"][5]) < 0.7, "{evaluated}");
    assert_eq!(
        (&of["thresholds"][5]["threshold"], &of["threshold"]),
        (&0.5.into(), &THRESHOLD.into())
    );
    assert_eq!(of["thresholds"][4]["f1"], of["classes"][1]["f1"]);
    assert_eq!(run["threshold"]["value"], THRESHOLD);
    // What the cluster counted is what all outputs say; only ranks come from bins.
    for name in ["accuracy", "f1", "loss", "precision_weighted"] {
        assert_eq!(run["test"][name], evaluated["values"][name], "{name}");
    }
    for name in ["target", "classes", "confusion", "threshold"] {
        assert_eq!(run["classes"][0][name], of[name], "{name}");
    }
    // Epochs go on being measured as Keras does.
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let (end, epoch) = (lines.last().unwrap(), &lines[lines.len() - 2]);
    assert_eq!((&end["threshold"], &end["test_f1"]), (&THRESHOLD.into(), &run["test"]["f1"]));
    assert_eq!(run["validation"]["f1"], epoch["validation_f1"]);
    assert!(
        f1(&run["validation"])
            < f1(&json(&run["threshold"].to_string().replace("validation_f1", "f1")))
    );
    let predicted =
        folder.run(&["--quiet", "predict", "run", "--data", "test.csv", "--output", "-"]);
    let mut found = 0;
    for line in predicted.stdout.lines().skip(1) {
        let (label, probability) = line.split_once(',').unwrap();
        assert_eq!(label == "yes", probability.parse::<f64>().unwrap() > THRESHOLD, "{line}");
        found += u64::from(label == "yes");
    }
    assert_eq!(
        found,
        [0, 1].map(|row| of["confusion"][row][1].as_u64().unwrap()).iter().sum::<u64>()
    );
    let text = folder.run(&["evaluate", "run", "--data", "test.csv"]);
    assert!(
        text.stdout.contains("yes is predicted where its probability is above 0.4316\n"),
        "{text}"
    );
}

/// What people see of the run.
#[test]
fn the_end_of_a_run_has_tables() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["--quiet", "local", "job.toml", "--out", "run"]);
    ended.expect(0);
    for wanted in [
        "\nthreshold 0.4316, with the largest F1 on the validation table (0.8444); the row of test is with it, the others \
         with 0.5\n\ntest table:\nill  precision  recall      f1  rows\nno ",
        "\nyes is predicted where its probability is above 0.4316\n\ntrue, predicted:    no  yes\nno ",
    ] {
        assert!(ended.stdout.contains(wanted), "no {wanted:?} in\n{ended}");
    }
}

#[test]
fn where_none_is_chosen() {
    let without = edited(JOB, "validation = \"valid.csv\"\n", "");
    let folder = folder_of(&without);
    assert_eq!(trained(&folder)["threshold"], Value::Null);
    let model = json(&folder.read("run/model/model.json"));
    assert_eq!((&model["threshold"], &model["format"]), (&Value::Null, &1.into()));
    assert_eq!(evaluated(&folder)["classes"][0]["threshold"], 0.5);
    folder.run(&["verify", "run"]).expect(0);
    // A table of one class does not say.
    let folder = folder_of(JOB);
    let table = folder.read("valid.csv");
    let healthy: Vec<&str> = table.lines().filter(|line| !line.ends_with("yes")).collect();
    folder.write("valid.csv", &healthy.join("\n"));
    assert_eq!(trained(&folder)["threshold"], Value::Null);
    let model = json(&folder.read("run/model/model.json"));
    assert_eq!((&model["threshold"], &model["format"]), (&Value::Null, &3.into()));
    assert_eq!(evaluated(&folder)["classes"][0]["threshold"], 0.5);
    folder.run(&["verify", "run"]).expect(0);
}

#[test]
fn a_threshold_that_was_altered() {
    let folder = folder_of(JOB);
    trained(&folder);
    let evaluate = ["evaluate", "run", "--data", "test.csv"];
    let (model, manifest) = (folder.read("run/model/model.json"), folder.read("run/manifest.json"));
    let (was, other) = ("\"threshold\": 0.431640625", "\"threshold\": 0.25");
    for (to, wanted) in [
        (
            other,
            "run/model/model.json: altered: it has threshold 0.25, manifest.json threshold 0.431640625; put it back",
        ),
        (
            "\"threshold\": 0.3",
            "found the threshold 0.3, wanted a multiple of 1/1024 between 0 and 1",
        ),
        ("\"threshold\": 2", "found the threshold 2.0, wanted"),
    ] {
        folder.write("run/model/model.json", &edited(&model, was, to));
        folder.run(&evaluate).expect_with(3, wanted);
    }
    folder.write("run/model/model.json", &edited(&model, &format!(",\n  {was}"), ""));
    folder
        .run(&evaluate)
        .expect_with(3, "altered: it has no threshold, manifest.json threshold 0.43");
    folder.write("run/model/model.json", &edited(&model, "\"format\": 3", "\"format\": 4"));
    folder.run(&evaluate).expect_with(3, "written in format 4, this program reads up to 3");
    // Whoever seals the manifest anew is found out by the tables.
    folder.write("run/model/model.json", &edited(&model, was, other));
    folder.write("run/manifest.json", &sealed(&edited(&manifest, was, other)));
    folder.run(&evaluate).expect(0);
    let differs = "the end of the run differs: the manifest says that it is not watched, threshold 0.25, this machine found that \
                   it is not watched, threshold 0.431640625";
    folder.run(&["verify", "run"]).expect_with(8, differs);
    // Steps before the end say nothing of it.
    folder.run(&["verify", "run", "--steps", "..100"]).expect(0);
}

/// A manifest with a right seal.
fn sealed(manifest: &str) -> String {
    let (body, _) = manifest.rsplit_once(",\n  \"manifest_blake3\"").unwrap();
    let seal = blake3::hash(format!("{body}\n}}\n").as_bytes()).to_hex();
    format!("{body},\n  \"manifest_blake3\": \"{seal}\"\n}}\n")
}

/// A run that goes on with more epochs has no threshold until it ends again.
#[test]
fn more_epochs_choose_anew() {
    let folder = folder_of(JOB);
    trained(&folder);
    let more =
        ["--quiet", "local", "job.toml", "--out", "run", "--resume", "--set", "train.epochs=7"];
    folder.run(&more).expect(0);
    let undisturbed = folder_of(&edited(JOB, "epochs = 6", "epochs = 7"));
    trained(&undisturbed);
    assert_eq!(folder.read("run/model/model.json"), undisturbed.read("run/model/model.json"));
    assert_eq!(folder.hash(), undisturbed.hash());
    folder.run(&["verify", "run"]).expect(0);
}

/// A model that says the same of every row is told so, by the run and by whoever measures it.
#[test]
fn no_better_than_a_guess() {
    let rows = |of: fn(usize) -> String| (0..200).map(of).collect::<String>();
    let classes = rows(|row| format!("7,{}\n", if row % 5 == 0 { "yes" } else { "no" }));
    let numbers = rows(|row| format!("7,{}\n", row % 10));
    let binary =
        edited(JOB, "validation = \"valid.csv\"\ntest = \"test.csv\"\n", "test = \"test.csv\"\n");
    let binary = edited(&binary, "scale = \"standard\"\n", "");
    let mse = edited(&binary, "binary_cross_entropy", "mse");
    let mse = edited(&mse, "\"accuracy\", \"f1\", \"precision_weighted\", \"roc_auc\"", "\"mae\"");
    let mse = edited(&mse, ", activation = \"sigmoid\"", "");
    let try_this = "try scaled features (`data.scale = \"standard\"`), ";
    for (job, table, wanted) in [
        (
            binary,
            &classes,
            "always guessing \"no\" for \"ill\" (accuracy 0.8000, a share of 0.8000 of the rows are \"no\"): ",
        ),
        (mse, &numbers, "always guessing the mean of \"ill\" (r2 -"),
    ] {
        let table = format!("a,ill\n{table}");
        let folder =
            Folder::new(&[("job.toml", &*job), ("train.csv", &table), ("test.csv", &table)]);
        let ended = folder.run(&["local", "job.toml", "--out", "run"]);
        ended.expect_with(
            0,
            &format!("warning: on the test table the model is no better than {wanted}"),
        );
        assert!(ended.stderr.contains(try_this), "{ended}");
        let ended = folder.run(&["evaluate", "run", "--data", "test.csv"]);
        ended
            .expect_with(0, &format!("warning: on the table the model is no better than {wanted}"));
    }
    // One that is better is not.
    let folder = folder_of(JOB);
    let ended = folder.run(&["local", "job.toml", "--out", "run"]);
    assert!(!ended.stderr.contains("no better than"), "{ended}");
}
