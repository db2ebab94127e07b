//! Early stopping: a run ends when it gets no better, with the weights of its best epoch, in the same bits on every cluster and
//! through every death; what is written down of it, and jobs that ask for what cannot be.

use serde_json::Value;

use crate::folder::{Folder, edited, metrics, of_kind};
use crate::resume::{RESUME, killed_after, records};
use crate::{bad_job, chaos, failpoints};

/// Epochs of 8 steps, of which the first few are the best ones.
const JOB: &str = r#"
name = "stopped"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
test = "test.csv"
scale = "standard"
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = { type = "adam", learning_rate = 0.05 }
epochs = 400
early_stopping = { patience = 5 }
batch_size = 10
[checkpoint]
every_steps = 7
keep = 5
"#;

const HASH: &str = "48e0c66b7f5f7739e5626bb4c960dd3a150cd29e61590c8ea713c983efb6c890";

const STEPS_PER_EPOCH: u64 = 8;

fn folder_of(job: &str) -> Folder {
    let folder = Folder::with_table(job, "boston-relu-adam-mse", 100);
    let table = folder.read("train.csv");
    let rows: Vec<&str> = table.lines().collect();
    folder.write("test.csv", &[&rows[..1], &rows[60..90]].concat().join("\n"));
    folder
}

fn with(early_stopping: &str) -> String {
    edited(JOB, "{ patience = 5 }", early_stopping)
}

#[test]
fn one_hash() {
    folder_of(JOB).expect_one_hash(HASH);
}

/// What the manifest says of early stopping.
fn manifest(folder: &Folder) -> Value {
    let manifest: Value = serde_json::from_str(&folder.read("run/manifest.json")).unwrap();
    manifest["early_stopping"].clone()
}

/// By epoch, what `metrics.jsonl` says of it.
fn epochs(folder: &Folder) -> Vec<Value> {
    of_kind(&metrics(&folder.read("run/metrics.jsonl")), "epoch").into_iter().cloned().collect()
}

/// Trains, verifies, and returns the result.
#[track_caller]
fn trained(folder: &Folder) -> Value {
    let ended = folder.run(&["--log-format", "json", "local", "job.toml", "--out", "run"]);
    ended.expect(0);
    folder.run(&["verify", "run"]).expect(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The hash of the weights after each epoch that the journal has.
fn journaled(folder: &Folder, epoch: u64) -> String {
    let lines = metrics(&folder.read("run/journal.jsonl"));
    let step = epoch * STEPS_PER_EPOCH;
    let line = lines.iter().find(|line| line["step"] == step).unwrap();
    line["weights_blake3"].as_str().unwrap().to_string()
}

/// The best epoch's weights are the model, the test table is measured with them, and all that is said is of them.
#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    let result = trained(&folder);
    let epochs = epochs(&folder);
    let loss = |epoch: &Value| epoch["validation_loss"].as_f64().unwrap();
    let least = epochs.iter().map(loss).fold(f64::INFINITY, f64::min);
    let best = 1 + epochs.iter().position(|epoch| loss(epoch) == least).unwrap() as u64;
    let last = epochs.len() as u64;
    assert_eq!(last, best + 5);
    let wanted = serde_json::json!({
        "epochs": last, "stopped": true, "metric": "validation_loss", "best_epoch": best, "best_value": least, "restored": true,
    });
    assert_eq!(manifest(&folder), wanted);
    assert_eq!(result["early_stopping"], wanted);
    assert_eq!((&result["epochs"], &result["steps"]), (&last.into(), &(8 * last).into()));
    assert_eq!(folder.hash(), journaled(&folder, best));
    assert_eq!(result["weights_blake3"], folder.hash());
    let of_best = &epochs[best as usize - 1];
    assert_eq!(result["training"]["loss"], of_best["loss"]);
    assert_eq!(result["validation"]["mae"], of_best["validation_mae"]);
    let measured = folder.run(&["--log-format", "json", "evaluate", "run", "--data", "test.csv"]);
    let measured: Value = serde_json::from_str(&measured.stdout).unwrap();
    assert_eq!(result["test"]["loss"], measured["values"]["loss"]);
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let end = lines.last().unwrap();
    assert_eq!((&end["kind"], &end["best_epoch"]), (&"final".into(), &best.into()));
    assert_eq!(end["steps"], 8 * last);
    let written = "early_stopping = { metric = \"validation_loss\", patience = 5, min_delta = 0.0, \
                   restore_best_weights = true, start_from_epoch = 0 }\n";
    assert!(folder.read("run/job.toml").contains(written));
    // Nothing is left to do, whatever the epochs.
    let again = ["local", "job.toml", "--out", "run", "--resume"];
    folder.run(&again).expect_with(0, "run: the run is already finished\n");
    let more = [&again[..], &["--set", "train.epochs=900"]].concat();
    let over = format!(
        "run: the run is already finished: it stopped early after epoch {last}, whatever train.epochs is from there on\n"
    );
    folder.run(&more).expect_with(0, &over);
    let patient = [&again[..], &["--set", "train.early_stopping.patience=9"]].concat();
    folder
        .run(&patient)
        .expect_with(3, "cannot resume: the job has changed: it was `early_stopping");
    assert_eq!(folder.hash(), journaled(&folder, best));
}

#[test]
fn what_the_terminal_says() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["local", "job.toml", "--out", "run"]);
    ended.expect(0);
    let found = manifest(&folder);
    let (last, best) = (&found["epochs"], &found["best_epoch"]);
    let value = found["best_value"].as_f64().unwrap();
    let says = format!(
        "\nstopped early after epoch {last}, best epoch {best} (validation_loss {value:.4}), whose weights are kept\n"
    );
    assert!(ended.stdout.contains(&says), "{ended}");
    let ended = folder.run(&["check", "job.toml"]);
    let says = "\n  early stopping: after 5 epochs without a better validation_loss; the weights of the best epoch are kept\n";
    assert!(ended.stdout.contains(says), "{ended}");
}

#[test]
fn the_last_weights_are_kept_where_that_is_asked() {
    let folder = folder_of(&with("{ patience = 5, restore_best_weights = false }"));
    let result = trained(&folder);
    let (found, epochs) = (manifest(&folder), epochs(&folder));
    assert_eq!((&found["restored"], &found["stopped"]), (&false.into(), &true.into()));
    let last = epochs.len() as u64;
    assert_eq!(found["epochs"], last);
    assert_eq!(found["best_epoch"], last - 5);
    assert_eq!(folder.hash(), journaled(&folder, last));
    assert_eq!(result["validation"]["loss"], epochs[last as usize - 1]["validation_loss"]);
}

/// A metric of which larger values are better, an improvement that counts, and the epochs that are not watched.
#[test]
fn other_keys() {
    let job = edited(
        &with(
            "{ metric = \"validation_r2\", patience = 3, min_delta = 0.01, start_from_epoch = 4 }",
        ),
        "metrics = [\"mae\"]",
        "metrics = [\"r2\"]",
    );
    let folder = folder_of(&job);
    trained(&folder);
    let (found, epochs) = (manifest(&folder), epochs(&folder));
    let (mut best, mut best_epoch) = (f64::NEG_INFINITY, 0);
    for (epoch, value) in epochs.iter().enumerate().skip(4) {
        let value = value["validation_r2"].as_f64().unwrap();
        if value - 0.01 > best {
            (best, best_epoch) = (value, epoch + 1);
        }
    }
    assert_eq!((&found["best_epoch"], &found["best_value"]), (&best_epoch.into(), &best.into()));
    assert_eq!(epochs.len(), best_epoch + 3);
}

/// A run that makes all of its epochs ends with the best weights, too. With more epochs it goes on from the last.
#[test]
fn all_epochs_are_made_and_then_more() {
    let job = with("{ patience = 500 }");
    let folder = folder_of(&job);
    let train = |folder: &Folder, epochs: &str, more: &[&str]| {
        let epochs = format!("train.epochs={epochs}");
        let all = ["--quiet", "local", "job.toml", "--out", "run", "--set", &epochs];
        folder.run(&[&all[..], more].concat()).expect(0);
        folder.run(&["verify", "run"]).expect(0);
    };
    train(&folder, "100", &[]);
    let found = manifest(&folder);
    assert_eq!((&found["epochs"], &found["stopped"]), (&100.into(), &false.into()));
    let best = found["best_epoch"].as_u64().unwrap();
    assert!(best < 100);
    assert_eq!(folder.hash(), journaled(&folder, best));
    train(&folder, "150", &["--resume"]);
    let at_once = folder_of(&job);
    train(&at_once, "150", &[]);
    assert_eq!(folder.hash(), at_once.hash());
    assert_eq!(manifest(&folder), manifest(&at_once));
}

/// Killed before the best epoch, and between it and the end, twice.
#[test]
fn killed_and_resumed() {
    let folder = killed_after(&[20, 600, 1200], || folder_of(&with("{ patience = 200 }")));
    let found = manifest(&folder);
    let best = found["best_epoch"].as_u64().unwrap();
    assert!((3..75).contains(&best) && found["stopped"] == true, "{found}");
    // From the newest checkpoint but the last: the end is compared there as well.
    let late = format!("{}..", 8 * found["epochs"].as_u64().unwrap() - 6);
    let ended = folder.run(&["verify", "run", "--steps", &late]);
    ended.expect_with(0, "from the checkpoint at step ");
}

/// Killed when the best weights were restored and the test table measured, but nothing of that was written.
#[test]
fn killed_after_the_end() {
    let folder = folder_of(JOB);
    failpoints::train(&folder, &[], Some(("manifest.json:create", 2, "die"))).expect(5);
    folder.run(&[&RESUME[..], &["--resume"]].concat()).expect_with(0, "continuing after step ");
    assert_eq!(folder.hash(), HASH);
    let undisturbed = folder_of(JOB);
    undisturbed.train_into("run");
    assert_eq!(records(&folder), records(&undisturbed));
    assert_eq!(manifest(&folder), manifest(&undisturbed));
    folder.run(&["verify", "run"]).expect(0);
}

/// The coordinator is killed as often as can be.
#[test]
fn the_coordinator_is_killed() {
    let job = with("{ patience = 150 }");
    let wanted = folder_of(&job).train(1, 1);
    let folder = folder_of(&job);
    let often = "0,kill=0,stop=0,slow=0,coordinator=6000";
    let arguments = ["local", "job.toml", "--workers", "3", "--out", "run", "--chaos", often];
    let ended = chaos::run_slowly(&folder, &arguments);
    ended.expect_with(0, "chaos: killed the coordinator");
    assert_eq!(folder.hash(), wanted, "{ended}");
    folder.run(&["verify", "run"]).expect(0);
}

/// A manifest that says another end, though its own hash is right.
#[test]
fn an_end_that_was_not_is_found_out() {
    let folder = folder_of(JOB);
    trained(&folder);
    let text = folder.read("run/manifest.json");
    let found = manifest(&folder);
    let (last, best) = (found["epochs"].as_u64().unwrap(), found["best_epoch"].as_u64().unwrap());
    for (key, value, message) in
        [("epochs", last - 1, "step"), ("best_epoch", best + 1, "differs: the manifest says ")]
    {
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["early_stopping"][key] = value.into();
        folder.write("run/manifest.json", &serde_json::to_string_pretty(&manifest).unwrap());
        let ended = folder.run(&["verify", "run"]);
        assert_ne!(ended.code(), Some(0), "{ended}");
        assert!(ended.stderr.contains(message), "{ended}");
    }
}

#[test]
fn early_stopping_that_cannot_be() {
    for (early_stopping, message) in [
        (
            "{}",
            "job.toml:19:18: `train.early_stopping`: there is no validation table to watch: add one in [data], such as \
             `validation = { fraction = 0.2 }`\n",
        ),
        (
            "true",
            "job.toml:19:18: `train.early_stopping`: found true, wanted a table, as in `early_stopping = { metric = ",
        ),
        (
            "{ metric = \"val_loss\" }",
            "`train.early_stopping.metric`: found \"val_loss\", wanted one of: validation_loss\n",
        ),
        (
            "{ metric = \"validation_los\" }",
            "`train.early_stopping.metric`: found \"validation_los\", did you mean `validation_loss`?",
        ),
        (
            "{ monitor = \"x\" }",
            "unknown key `train.early_stopping.monitor`, did you mean `metric`?",
        ),
        (
            "{ patience = -1 }",
            "`train.early_stopping.patience`: found -1, wanted a whole number from 0 to",
        ),
        (
            "{ min_delta = -0.5 }",
            "`train.early_stopping.min_delta`: found -0.5, wanted a number of at least 0",
        ),
        ("{ baseline = \"x\" }", "`train.early_stopping.baseline`: found \"x\", wanted a number"),
    ] {
        let folder = bad_job::small();
        let job = edited(
            bad_job::JOB,
            "epochs = 2",
            &format!("early_stopping = {early_stopping}\nepochs = 2"),
        );
        folder.write("job.toml", &job);
        bad_job::refused(&folder, message);
    }
    let folder = bad_job::small();
    folder.write("job.toml", &edited(bad_job::JOB, "epochs = 2", "patience = 3\nepochs = 2"));
    bad_job::refused(
        &folder,
        "unknown key `train.patience`: wanted `patience` inside early stopping, as in [train] `early_stopping = { metric = ",
    );
}
