//! Weights of rows, by a column and by class: the same bits on every cluster and through every death, what they do and do not
//! change, and jobs that ask for what cannot be.

use serde_json::Value;

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, edited, metrics, of_kind};
use crate::resume::killed_after;

/// The class 1 is the rarer one.
const JOB: &str = r#"
name = "weighted"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "binary_cross_entropy"
metrics = ["accuracy"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1, activation = "sigmoid" }]
[train]
optimizer = "adam"
epochs = 10
batch_size = 10
class_weights = { "0" = 0.5, "1" = 3.5 }
[checkpoint]
every_steps = 7
keep = 5
"#;

const BY_CLASS: &str = "90736a17eb8a1f0afa73ee134bd3bf33c64f33addcb82f7512357f4c7f3fa9ef";
const BALANCED: &str = "63a717ede47e8f315d223c7f6514529ef2577efe62fd27d13f916564fdf8ac66";
const BY_COLUMN: &str = "74a7df3428ddb362726756d48b43c36fac48ad71734c7b21cd34dea1a0293f06";
const BY_BOTH: &str = "5483fe0e88a1e0fec8834b259bd838ac9c7706a5b46e834f88f194b599f6ff50";

const CLASSES: &str = "class_weights = { \"0\" = 0.5, \"1\" = 3.5 }\n";

/// The first rows of the table, with a weight in each.
fn folder_of(job: &str) -> Folder {
    let folder = Folder::with_table(job, "cancer-class-weights", 120);
    let table = folder.read("train.csv");
    let with_weight = |(row, line): (usize, &str)| match row {
        0 => format!("w,{line}"),
        row => format!("{},{line}", [1.0, 0.25, 2.5, 0.0, 1.75][row % 5]),
    };
    let lines: Vec<String> = table.lines().enumerate().map(with_weight).collect();
    folder.write("train.csv", &lines.join("\n"));
    folder
}

fn by_class() -> String {
    // All columns but the weights.
    let names: Vec<String> = (0..30).map(|place| format!("\"x{place}\"")).collect();
    let features = format!("target = \"y\"\nfeatures = [{}]", names.join(", "));
    edited(JOB, "target = \"y\"", &features)
}

fn by_both() -> String {
    edited(JOB, "target = \"y\"", "target = \"y\"\nsample_weight = \"w\"")
}

fn by_column() -> String {
    edited(&by_both(), CLASSES, "")
}

#[test]
fn by_class_one_hash() {
    folder_of(&by_class()).expect_one_hash(BY_CLASS);
}

#[test]
fn balanced_one_hash() {
    let job = edited(&by_class(), CLASSES, "class_weights = \"balanced\"\n");
    folder_of(&job).expect_one_hash(BALANCED);
}

#[test]
fn by_column_one_hash() {
    folder_of(&by_column()).expect_one_hash(BY_COLUMN);
}

#[test]
fn by_both_one_hash() {
    folder_of(&by_both()).expect_one_hash(BY_BOTH);
}

/// Killed twice, and resumed, and verified.
#[test]
fn killed_and_resumed() {
    let job = edited(&by_both(), "epochs = 10", "epochs = 250");
    killed_after(&[30, 700], || folder_of(&job));
}

#[test]
fn everything_happens() {
    let job = edited(&by_both(), "epochs = 10", "epochs = 300");
    chaos::changes_nothing("33,kill=120,stop=90,slow=40,coordinator=120", || folder_of(&job));
}

/// The records of the first epoch.
fn first_epoch(folder: &Folder) -> Value {
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    (*of_kind(&lines, "epoch")[0]).clone()
}

/// Weights of 1 are none: the same bits, in whatever way they are said. Others change the loss of training rows, not what the
/// first weights are measured to be.
#[test]
fn what_weights_change() {
    let trained = |job: &str| {
        let folder = folder_of(job);
        folder.train_into("run");
        folder
    };
    let without = trained(&edited(&by_class(), CLASSES, ""));
    let ones = "class_weights = { \"1.0\" = 1 }\n";
    let ones = trained(&edited(&by_class(), CLASSES, ones));
    assert_eq!(ones.hash(), without.hash());
    let resolved = ones.read("run/job.toml");
    assert!(resolved.contains("\nclass_weights = { \"1.0\" = 1.0 }\n"), "{resolved}");
    assert!(trained(&by_both()).read("run/job.toml").contains("\nsample_weight = \"w\"\n"));
    // Nothing is learned: all is measured on the same weights.
    let still = |job: &str| {
        let still = edited(job, "\"adam\"", "{ type = \"sgd\", learning_rate = 1e-30 }");
        first_epoch(&trained(&still))
    };
    let (without, with) = (still(&edited(&by_class(), CLASSES, "")), still(&by_class()));
    assert_ne!(with["loss"], without["loss"]);
    for same in ["accuracy", "validation_loss", "validation_accuracy"] {
        assert_eq!(with[same], without[same], "{same}");
    }
}

#[test]
fn check_says_what_rows_weigh() {
    let folder = folder_of(&by_both());
    let ended = folder.run(&["check", "job.toml"]);
    let says =
        "  weights of rows: those of column \"w\", times by class 0 0.5, 1 3.5; at most 8.75\n";
    assert!(ended.stdout.contains(says), "{ended}");
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(checked["training"]["sample_weight"], "w");
    assert_eq!(checked["training"]["class_weights"], serde_json::json!({ "0": 0.5, "1": 3.5 }));
}

#[test]
fn weights_that_cannot_be() {
    for (weights, message) in [
        (
            "\"balanced\"",
            "job.toml:19:17: `train.class_weights`: found the loss `mse`, which has no classes, wanted `cross_entropy` or \
             `binary_cross_entropy`; `data.sample_weight` weighs rows of any loss\n",
        ),
        (
            "\"balance\"",
            "`train.class_weights`: found \"balance\", wanted \"balanced\", or a table of weights by label, such as \
             { \"yes\" = 3.0 }\n",
        ),
        (
            "{ 1 = -2 }",
            "`train.class_weights.1`: found -2, wanted a number of at least 0, as a 32-bit float\n",
        ),
        (
            "{ \"a b\" = \"x\" }",
            "`train.class_weights.\"a b\"`: found \"x\", wanted a number of at least 0",
        ),
    ] {
        let folder = bad_job::small();
        let job =
            edited(bad_job::JOB, "epochs = 2", &format!("class_weights = {weights}\nepochs = 2"));
        folder.write("job.toml", &job);
        bad_job::refused(&folder, message);
    }
    let folder = folder_of(&edited(&by_class(), "\"1\" = 3.5", "\"2\" = 3.5"));
    bad_job::refused(&folder, "`train.class_weights`: found \"2\", wanted one of: 0, 1\n");
    let folder = folder_of(&edited(&by_both(), "sample_weight = \"w\"", "sample_weight = \"v\""));
    bad_job::refused(&folder, "found no column \"v\", wanted by `data.sample_weight`; ");
}
