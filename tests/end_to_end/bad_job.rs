//! Job files that cannot be: each is refused with its place, before anything is made.

use crate::folder::{Folder, edited};
use crate::process::Process;

/// A job that can be run; every row below breaks it in one place.
pub(crate) const JOB: &str = r#"name = "small"
seed = 1

[data]
train = "train.csv"
test = "test.csv"
target = "y"
features = ["a", "b"]

[model]
loss = "mse"
layers = [
  { type = "dense", units = 4, activation = "relu" },
  { type = "dense", units = 1 },
]

[train]
optimizer = { type = "sgd", learning_rate = 0.001 }
epochs = 2
batch_size = 4
shards = 3
"#;

pub(crate) const TRAIN: &str =
    "a,b,y\n1,2,3\n2,3,5\n3,4,7\n4,5,9\n5,6,11\n6,7,13\n7,8,15\n8,9,17\n";
pub(crate) const TEST: &str = "a,b,y\n1.5,2.5,4\n2.5,3.5,6\n";

/// The folder of [`JOB`].
pub(crate) fn small() -> Folder {
    Folder::new(&[("job.toml", JOB), ("train.csv", TRAIN), ("test.csv", TEST)])
}

/// That `local` and `check` refuse the job with exit code 3 and one error that has this in it, and leave nothing.
#[track_caller]
pub(crate) fn refused(folder: &Folder, message: &str) {
    let before = folder.files();
    for command in [
        &["local", "job.toml", "--workers", "2", "--out", "run"][..],
        &["coordinator", "job.toml", "--listen", "127.0.0.1:0", "--out", "run"],
        &["check", "job.toml"],
    ] {
        let process: Process = folder.start(command);
        let ended = process.end();
        ended.expect_with(3, message);
        assert_eq!(ended.stdout, "", "{ended}");
        assert!(ended.stderr.starts_with("error: "), "{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert_eq!(folder.files(), before, "{ended}");
        #[cfg(target_os = "linux")]
        crate::lifecycle::no_children_of(ended.pid);
    }
}

/// That the job is refused when this one part of it is replaced.
#[track_caller]
fn check((from, to, message): (&str, &str, &str)) {
    let folder = small();
    folder.write("job.toml", &edited(JOB, from, to));
    refused(&folder, message);
}

#[test]
fn the_job_itself_is_fine() {
    small().run(&["check", "job.toml"]).expect(0);
}

#[test]
fn values_out_of_range() {
    for row in [
        (
            "batch_size = 4",
            "batch_size = 0",
            "job.toml:20:14: `train.batch_size`: found 0, wanted a whole number from 1",
        ),
        (
            "batch_size = 4",
            "batch_size = 9",
            "job.toml:20:14: `train.batch_size`: found 9, but the training table has 8 rows",
        ),
        (
            "shards = 3",
            "shards = 0",
            "job.toml:21:10: `train.shards`: found 0, wanted a whole number from 1",
        ),
        (
            "batch_size = 4\n",
            "",
            "job.toml:17:1: `train.batch_size` is not set, and its default, 32, is more than the training table has: set it \
             to at most 8 rows",
        ),
        ("epochs = 2", "epochs = 0", "job.toml:19:10: `train.epochs`: found 0"),
        ("epochs = 2", "epochs = 2.5", "job.toml:19:10: `train.epochs`: found 2.5"),
        ("epochs = 2", "epochs = \"2\"", "job.toml:19:10: `train.epochs`: found \"2\""),
        ("seed = 1", "seed = -1", "job.toml:2:8: `seed`: found -1"),
        (
            "\"test.csv\"",
            "{ fraction = 1.5 }",
            "job.toml:6:21: `data.test.fraction`: found 1.5, wanted a number above 0 and below 1",
        ),
        ("\"test.csv\"", "{ fraction = 0 }", "job.toml:6:21: `data.test.fraction`: found 0"),
        ("0.001", "-0.001", "`train.optimizer.learning_rate`: found -0.001, wanted a number above"),
        ("0.001", "inf", "job.toml:18:45: `train.optimizer.learning_rate`: found inf"),
        ("units = 4", "units = 0", "job.toml:13:29: `model.layers.0.units`: found 0"),
        ("\"small\"", "\"../small\"", "job.toml:1:8: `name`: found \"../small\""),
    ] {
        check(row);
    }
}

#[test]
fn keys_and_names() {
    for row in [
        ("epochs", "epocs", "job.toml:19:1: unknown key `train.epocs`, did you mean `epochs`?"),
        ("[model]", "[modell]", "job.toml:10:2: unknown key `modell`, did you mean `model`?"),
        (
            "learning_rate",
            "lr",
            "job.toml:18:29: unknown key `train.optimizer.lr`, did you mean `learning_rate`?",
        ),
        (
            "\"relu\"",
            "\"rleu\"",
            "job.toml:13:45: `model.layers.0.activation`: found \"rleu\", did you mean `relu`?",
        ),
        (
            "\"sgd\"",
            "\"lbfgs\"",
            "`train.optimizer.type`: found \"lbfgs\", wanted one of: sgd, adam",
        ),
        (
            "loss = \"mse\"",
            "loss = \"msle\"",
            "job.toml:11:8: `model.loss`: found \"msle\", did you mean `mse`?",
        ),
        ("target = \"y\"\n", "", "job.toml:4:1: `data.target` is missing"),
        ("target = \"y\"", "target = []", "job.toml:7:10: `data.target`: found an empty list"),
        (
            "shards = 3",
            "shards = 3\nprecision = \"bf61\"",
            "job.toml:22:13: `train.precision`: found \"bf61\", did you mean `bf16`?",
        ),
        (
            "shards = 3",
            "shards = 3\nprecision = \"float\"",
            "job.toml:22:13: `train.precision`: found \"float\", wanted one of: f32, bf16",
        ),
        (
            "shards = 3",
            "shards = 3\nprecison = \"bf16\"",
            "job.toml:22:1: unknown key `train.precison`, did you mean `precision`?",
        ),
        ("epochs = 2\n", "", "job.toml:17:1: `train.epochs` is missing"),
        (
            "epochs = 2",
            "epochs = 2\nlearning_rate = 0.1",
            "job.toml:20:1: unknown key `train.learning_rate`: wanted `learning_rate` inside the optimizer, as in [train] \
             `optimizer = { type = \"adam\", learning_rate = 0.001 }`",
        ),
        ("epochs = 2", "max_iter = 2", "unknown key `train.max_iter`, did you mean `epochs`?"),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nepochs = 3",
            "job.toml:12:1: unknown key `model.epochs`: wanted `epochs` in [train]",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nunits = 3",
            "job.toml:12:1: unknown key `model.units`: wanted `units` inside a layer",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nmetrics = [\"f2\"]",
            "job.toml:12:12: `model.metrics.0`: found \"f2\", wanted one of: mse, rmse, mae, mape, r2, accuracy, top_k_accuracy",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nmetrics = [\"roc_auc\"]",
            "job.toml:13:10: metric roc_auc does not fit loss mse: it needs cross_entropy or binary_cross_entropy",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nmetrics = [{ type = \"top_k_accuracy\", k = 0 }]",
            "`model.metrics.0.k`: found 0, wanted a whole number from 1 to 4294967295",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nmetrics = [{ type = \"mae\", k = 1 }]",
            "`model.metrics.0.k`: mae has no k, only top_k_accuracy has",
        ),
        (
            "{ type = \"dense\", units = 1 }",
            "{ type = \"lstm\", filters = 8 }",
            "job.toml:14:12: `model.layers.1.type`: found \"lstm\", wanted one of: dense, dropout, layer_norm, residual",
        ),
        (
            "loss = \"mse\"",
            "loss = { type = \"mse\", delta = 2.0 }",
            "job.toml:11:24: `model.loss.delta`: mse has no delta, only huber has",
        ),
        (
            "{ type = \"sgd\", learning_rate = 0.001 }",
            "{ type = \"sgd\", beta_1 = 0.9 }",
            "`train.optimizer.beta_1`: sgd has no beta_1, only adam, adamw have",
        ),
        ("epochs = 2", "epochs = [2]", "job.toml:19:10: `train.epochs`: found a list, wanted"),
    ] {
        check(row);
    }
}

#[test]
fn broken_toml() {
    for row in [
        ("seed = 1", "seed = ", "job.toml:2:8: broken TOML"),
        ("seed = 1", "seed 1", "job.toml:2:6: broken TOML"),
        ("\"train.csv\"", "\"train.csv", "job.toml:5:19: broken TOML"),
        ("seed = 1", "name = \"twice\"", "job.toml:2:1: broken TOML: duplicate key"),
        ("[data]", "[data", "job.toml:4:6: broken TOML"),
    ] {
        check(row);
    }
}

#[test]
fn layers_that_do_not_go_together() {
    for row in [
        (
            "units = 1 }",
            "units = 2 }",
            "job.toml:12:10: the last layer has 2 units, but there is 1 target column (y): set its units to 1",
        ),
        (
            "\"mse\"",
            "\"cross_entropy\"",
            "job.toml:12:10: loss cross_entropy needs activation softmax on the last layer, found linear",
        ),
        (
            "units = 1 }",
            "units = 1, activation = \"softmax\" }",
            "job.toml:12:10: layer 1: softmax over 1 unit is always 1; for two classes use 1 unit with sigmoid",
        ),
        (
            "\"mse\"",
            "\"binary_cross_entropy\"",
            "job.toml:12:10: loss binary_cross_entropy needs activation sigmoid on the last layer, found linear",
        ),
        (
            "loss = \"mse\"",
            "loss = \"mse\"\nmetrics = [\"accuracy\"]",
            "job.toml:13:10: metric accuracy does not fit loss mse",
        ),
        (
            "layers = [\n  { type = \"dense\", units = 4, activation = \"relu\" },\n  { type = \"dense\", units = 1 },\n]",
            "layers = []",
            "job.toml:12:10: a network needs at least one layer",
        ),
    ] {
        check(row);
    }
}

#[test]
fn a_job_file_that_is_not_there() {
    let folder = Folder::new(&[]);
    refused(&folder, "error: job.toml: cannot read the job file: No such file or directory\n");
}

/// What the command line sets is the job's, and checked like the job's.
#[test]
fn settings() {
    let folder = small();
    let by_file = {
        let folder = small();
        let job = edited(JOB, "seed = 1", "seed = 7");
        folder.write("job.toml", &edited(&job, "learning_rate = 0.001", "learning_rate = 0.002"));
        folder.train(1, 1)
    };
    let set = ["--set", "seed=7", "--set", "train.optimizer.learning_rate=0.002"];
    let local = ["--quiet", "local", "job.toml", "--out", "run"];
    folder.run(&[&local[..], &set].concat()).expect(0);
    assert_eq!(folder.hash(), by_file);
    assert!(folder.read("run/job.toml").contains("seed = 7\n"));
    folder.run(&["verify", "run"]).expect(0);
    // Another job than the run's.
    let ended = folder.run(&[&local[..], &["--resume", "--set", "seed=8"]].concat());
    ended.expect_with(3, "error: ");
    for (setting, code, message) in [
        (
            "train.epochs=x",
            3,
            "error: --set train.epochs=x: `train.epochs`: found \"x\", wanted a whole number",
        ),
        (
            "train.epoch=3",
            3,
            "error: --set train.epoch=3: unknown key `train.epoch`, did you mean `epochs`?",
        ),
        (
            "train.batch_size=9",
            3,
            "error: --set train.batch_size=9: `train.batch_size`: found 9, but the",
        ),
        ("train.epochs", 2, "wanted KEY=VALUE, such as train.epochs=20"),
    ] {
        folder.run(&["check", "job.toml", "--set", setting]).expect_with(code, message);
    }
    folder.run(&["check", "job.toml", "--set", "train.epochs=9"]).expect(0);
}
