//! Dropout on real clusters: one hash whatever computes, dies or goes on, nothing dropped where nothing is learned, and jobs
//! that cannot be.

use serde_json::{Value, json};

use lockstep::prelude::*;
use ndarray::Array2;

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited, metrics, of_kind};
use crate::resume::{killed_after, records};
use crate::sharing;

/// Ten epochs of 8 steps, dropping values of the rows themselves and of a layer.
const JOB: &str = r#"
name = "dropping"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
metrics = ["mae"]
layers = [
  { type = "dropout", rate = 0.05 },
  { type = "dense", units = 16, activation = "relu" },
  { type = "dropout", rate = 0.25 },
  { type = "dense", units = 1 },
]
[train]
optimizer = "adam"
epochs = 10
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "6058a0cbf21b50e0011d9d3eb872bfa7f5ecec962652b817349ccc3b0e3c8f84";
const CLIPPED_BF16_HASH: &str = "189fe3435a432af30aa5eb9202290ff9070b2893908f2668dce1ca4566965a08";
const LARGE_HASH: &str = "1befc22daaf7578a9e8c9a41162422a6c498b1b1dad67a0e5d39220aad2e221e";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "boston-relu-adam-mse", 100)
}

/// Layers of several chunks, clipped, and steps heavy enough for threads and for running ahead; dropouts everywhere.
fn large() -> Folder {
    let layers = r#"layers = [
  { type = "dropout", rate = 0.05 },
  { type = "dense", units = 700, activation = "relu" },
  { type = "dropout", rate = 0.5 },
  { type = "dropout", rate = 0.1 },
  { type = "dense", units = 450, activation = "tanh" },
  { type = "dropout", rate = 0.2 },
  { type = "dense", units = 1 },
]"#;
    let (before, rest) = sharing::JOB.split_once("layers = [").unwrap();
    let (_, after) = rest.split_once("\n]").unwrap();
    let job = format!("{before}{layers}{after}");
    Folder::with_table(&job, "boston-relu-adam-mse", 200)
}

#[test]
fn workers_and_threads_do_not_matter() {
    let clipped = clipped_bf16(JOB);
    for (job, wanted) in [(JOB, HASH), (&clipped, CLIPPED_BF16_HASH)] {
        folder_of(job).expect_one_hash(wanted);
    }
    for (workers, threads) in [(1, 1), (2, 2), (5, 1)] {
        let hash = large().train(workers, threads);
        assert_eq!(hash, LARGE_HASH, "{workers} workers of {threads} threads, large");
    }
}

#[test]
fn shared_memory_does_not_matter() {
    assert_eq!(sharing::hash_of_both(large), LARGE_HASH);
}

#[test]
fn audits_agree() {
    let folder = folder_of(&format!("{JOB}[cluster]\naudit_fraction = 1\n"));
    for workers in [2, 5] {
        assert_eq!(folder.train(workers, 1), HASH, "{workers} workers");
    }
}

/// Spans are dealt anew, and steps computed by others, ahead and again.
#[test]
fn chaos_does_not_matter() {
    for job in [JOB.to_string(), clipped_bf16(JOB)] {
        let job = edited(&job, "epochs = 10", "epochs = 200");
        let job = edited(&job, "keep = 1000", "keep = 5");
        chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
    }
}

#[test]
fn killed_and_resumed() {
    let job = edited(&edited(JOB, "epochs = 10", "epochs = 250"), "keep = 1000", "keep = 5");
    let folder = killed_after(&[30, 700], || folder_of(&job));
    let late = folder.run(&["verify", "run", "--steps", "1999.."]);
    late.expect_with(0, "from the checkpoint at step ");
}

/// With rate 0 it is the run without the layer, wherever it is put, to the last bit of what is recorded, but for the places of layers.
#[test]
fn rate_0_is_no_layer() {
    for job in [JOB.to_string(), clipped_bf16(JOB)] {
        let zero = job.replace("rate = 0.05", "rate = 0").replace("rate = 0.25", "rate = 0.0");
        let lines = job.lines().filter(|line| !line.contains("dropout"));
        let without = lines.map(|line| format!("{line}\n")).collect::<String>();
        let [a, b] = [zero, without].map(|job| {
            let folder = folder_of(&job);
            folder.train_into("run");
            let mut lines = records(&folder);
            lines.retain(|line| !line.contains("\"kind\":\"gradient\""));
            (folder.hash(), lines)
        });
        assert_eq!(a, b);
        assert_ne!(a.0, HASH);
    }
}

/// What is measured has no dropout: workers in the run, `evaluate` and `predict` find the same, however often.
#[test]
fn nothing_is_dropped_where_nothing_is_learned() {
    let job = edited(JOB, "validation = { fraction = 0.2 }", "test = \"train.csv\"");
    let folder = folder_of(&job);
    folder.train_into("run");
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let test = lines.last().unwrap();
    let evaluate = ["--log-format", "json", "evaluate", "run", "--data", "train.csv"];
    for _ in 0..2 {
        let ended = folder.run(&evaluate);
        ended.expect(0);
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(found["values"]["loss"], test["test_loss"]);
        assert_eq!(found["values"]["mae"], test["test_mae"]);
    }
    // In training there is dropout, and the loss is larger for it.
    let epochs = of_kind(&lines, "epoch");
    let (last, measured) = (&epochs[9]["loss"], &test["test_loss"]);
    assert!(last.as_f64() > measured.as_f64(), "{last} with, {measured} without");
    let predicted = ["a.csv", "b.csv"].map(|out| {
        folder.run(&["predict", "run", "--data", "train.csv", "--output", out]).expect(0);
        folder.read(out)
    });
    assert_eq!(predicted[0], predicted[1]);
    let rows = predicted[0].lines().skip(1).map(|row| row.parse::<f64>().unwrap());
    let table = folder.read("train.csv");
    let target = table.lines().next().unwrap().split(',').position(|name| name == "y").unwrap();
    let cell = |row: &str| row.split(',').nth(target).unwrap().parse::<f64>().unwrap();
    let errors = rows.zip(table.lines().skip(1)).map(|(found, row)| (found - cell(row)).abs());
    let (mae, wanted) = (errors.sum::<f64>() / 100.0, test["test_mae"].as_f64().unwrap());
    assert!((mae / wanted - 1.0).abs() < 1e-5, "{mae}, wanted {wanted}");
}

/// Names count every layer; a description of dense layers alone is what the first version wrote.
#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let resolved = folder.read("run/job.toml");
    assert!(resolved.contains("\n  { type = \"dropout\", rate = 0.05 },\n"), "{resolved}");
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    let model: Value = serde_json::from_str(&folder.read("run/model/model.json")).unwrap();
    assert_eq!(model["network"]["layers"][2], json!({ "type": "dropout", "rate": 0.25 }));
    let dense = json!({
        "units": 16, "activation": "relu", "use_bias": true,
        "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros",
    });
    assert_eq!(model["network"]["layers"][1], dense);
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = weights.names();
    names.sort();
    let wanted = ["layers.1.bias", "layers.1.kernel", "layers.3.bias", "layers.3.kernel"];
    assert_eq!(names, wanted);
    // The weights are a start for the same network.
    let job = edited(JOB, "loss = \"mse\"\n", "loss = \"mse\"\ninitial_weights = \"run\"\n");
    folder.write("next.toml", &job);
    folder.run(&["--quiet", "local", "next.toml", "--out", "next"]).expect(0);
}

#[test]
fn check_shows_every_layer() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    for line in [
        "  layer          output  parameters  activation\n",
        "  0 dropout  [rows, 13]           0  rate 0.05\n",
        "  1 dense    [rows, 16]         224  relu\n",
        "  2 dropout  [rows, 16]           0  rate 0.25\n",
        "  3 dense     [rows, 1]          17  linear\n",
        "                                241  in all\n",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{ended}");
    }
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    let wanted = json!({ "type": "dropout", "units": 16, "parameters": 0 });
    assert_eq!(checked["network"]["layers"][2], wanted);
    let set = ["check", "job.toml", "--set", "model.layers.2.rate=0.5"];
    assert!(folder.run(&set).stdout.contains("2 dropout  [rows, 16]           0  rate 0.5\n"));
}

/// A job with this as its first layer, in line 13, is refused.
#[track_caller]
fn refused(layer: &str, message: &str) {
    let folder = bad_job::small();
    let first = "{ type = \"dense\", units = 4, activation = \"relu\" }";
    folder.write("job.toml", &edited(bad_job::JOB, first, layer));
    bad_job::refused(&folder, message);
}

#[test]
fn dropouts_that_cannot_be() {
    for (layer, message) in [
        ("{ type = \"dropout\" }", "job.toml:13:3: `model.layers.0.rate` is missing"),
        (
            "{ type = \"dropout\", rate = 1 }",
            "job.toml:13:30: `model.layers.0.rate`: found 1, wanted a number from 0 to below 1, as a 32-bit float",
        ),
        (
            "{ type = \"dropout\", rate = 0.999999999 }",
            "`model.layers.0.rate`: found 0.999999999, wanted a number from 0 to below 1, as a 32-bit float",
        ),
        ("{ type = \"dropout\", rate = -0.1 }", "found -0.1, wanted a number from 0 to below 1"),
        (
            "{ type = \"dropout\", rate = \"x\" }",
            "job.toml:13:30: `model.layers.0.rate`: found \"x\", wanted a number from 0 to below 1",
        ),
        (
            "{ type = \"dropuot\", rate = 0.5 }",
            "job.toml:13:12: `model.layers.0.type`: found \"dropuot\", did you mean `dropout`? There are: dense, dropout, layer_norm, residual",
        ),
        (
            "{ type = \"dropout\", p = 0.5 }",
            "job.toml:13:23: unknown key `model.layers.0.p`, did you mean `rate`?",
        ),
        (
            "{ type = \"dropout\", rate = 0.5, units = 3 }",
            "`model.layers.0.units`: dropout has no units, only dense has",
        ),
        (
            "{ type = \"dense\", units = 3, rate = 0.5 }",
            "`model.layers.0.rate`: dense has no rate, only dropout has",
        ),
        (
            "{ rate = 0.5 }",
            "`model.layers.0`: `type` is missing, wanted one of: dense, dropout, layer_norm, residual",
        ),
        (
            "\"dropout\"",
            "job.toml:13:3: `model.layers.0`: found \"dropout\" alone, wanted a table such as { type = \"dense\", units = 10,",
        ),
    ] {
        refused(layer, message);
    }
    let folder = bad_job::small();
    let last = "{ type = \"dense\", units = 1 },\n  { type = \"dropout\", rate = 0.5 }";
    folder.write("job.toml", &edited(bad_job::JOB, "{ type = \"dense\", units = 1 }", last));
    let message = "job.toml:12:10: layer 2: dropout cannot be the last layer: the network's outputs would be dropped";
    bad_job::refused(&folder, message);
    let rate = "rate = 0.5\nloss = \"mse\"";
    folder.write("job.toml", &edited(bad_job::JOB, "loss = \"mse\"", rate));
    let message = "unknown key `model.rate`: wanted `rate` inside a layer, as in [model] `layers = [{ type = \"dense\",";
    bad_job::refused(&folder, message);
}

/// The weights after a fit with a dropout of this rate, if any.
fn fitted(rate: Option<f32>, workers: usize) -> Vec<f32> {
    let x = Array2::from_shape_fn((32, 2), |(row, column)| ((3 * row + column) % 7) as f32 / 7.0);
    let y = Array2::from_shape_fn((32, 1), |(row, _)| (row % 5) as f32 / 5.0);
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation(Activation::Tanh));
    if let Some(rate) = rate {
        model.add(Dropout::new(rate));
    }
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    let fit = Fit::new().epochs(4).batch_size(4).workers(workers);
    model.fit(x.view(), y.view(), &fit).unwrap();
    let outputs = model.predict(x.view()).unwrap();
    assert_eq!(model.predict(x.view()).unwrap(), outputs);
    model.weights().unwrap().to_vec()
}

#[test]
fn from_rust() {
    let weights = fitted(Some(0.4), 1);
    assert_eq!(fitted(Some(0.4), 3), weights);
    let without = fitted(None, 1);
    assert_ne!(without, weights);
    assert_eq!(fitted(Some(0.0), 2), without);
    let mut model = Sequential::new();
    model.add(Dense::new(1));
    model.add(Dropout::new(1.0));
    model.compile(adam(), Loss::Mse, &[]);
    let (x, y) = (Array2::zeros((8, 2)), Array2::zeros((8, 1)));
    let fit = Fit::new().batch_size(4);
    let error = model.fit(x.view(), y.view(), &fit).unwrap_err().to_string();
    let wanted = "layer 1: `rate`: found 1, wanted a number from 0 to below 1";
    assert!(error.contains(wanted), "{error}");
}
