//! The files of a run folder, format v1.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::folder::{Folder, metrics, of_kind};

const JOB: &str = r#"
seed = 21
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.1 }
test = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
metrics = ["mae", "r2"]
layers = [
  { type = "dense", units = 6, activation = { type = "leaky_relu", slope = 0.01 } },
  { type = "dense", units = 1 },
]
[train]
optimizer = { type = "adamw", learning_rate = 0.003 }
epochs = 2
batch_size = 30
shards = 6
gradient_clip_norm = 0.7
"#;

/// 506 rows, less 102 and 41.
const TRAIN_ROWS: u64 = 363;

fn trained() -> Folder {
    let folder = Folder::with_table(JOB, "boston-relu-adam-mse", 506);
    folder.train_into("run");
    folder
}

#[track_caller]
fn keys(line: &Value, wanted: &[&str]) {
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, wanted, "{line}");
}

#[test]
fn metrics_are_lines_of_four_kinds() {
    let folder = trained();
    let text = folder.read("run/metrics.jsonl");
    let lines = metrics(&text);
    assert_eq!(lines.len(), 2 * 13 + 2 + 2 + 1);
    let (steps, epochs) = (of_kind(&lines, "step"), of_kind(&lines, "epoch"));
    assert_eq!((steps.len(), epochs.len()), (26, 2));
    let mut seconds = 0.0;
    for (place, step) in steps.iter().enumerate() {
        keys(step, &["epoch", "kind", "learning_rate", "loss", "rows", "seconds", "step"]);
        assert_eq!(step["step"], place + 1);
        assert_eq!(step["epoch"], place / 13 + 1);
        assert_eq!(step["rows"], if place % 13 == 12 { 3 } else { 30 });
        assert_eq!(step["learning_rate"].as_f64().unwrap() as f32, 0.003);
        assert!(step["seconds"].as_f64().unwrap() >= seconds, "{step}");
        seconds = step["seconds"].as_f64().unwrap();
    }
    for (gradient, step) in of_kind(&lines, "gradient").iter().zip([1, 26]) {
        keys(gradient, &["epoch", "kind", "norms", "step"]);
        assert_eq!(
            (&gradient["step"], &gradient["epoch"]),
            (&step.into(), &(1 + step / 26).into())
        );
        keys(&gradient["norms"], &["layer 0", "layer 1"]);
    }
    for (place, epoch) in epochs.iter().enumerate() {
        let values = ["epoch", "kind", "loss", "mae", "r2", "seconds"];
        keys(
            epoch,
            &[
                &values[..],
                &["validation_loss", "validation_mae", "validation_mse", "validation_r2"],
            ]
            .concat(),
        );
        assert_eq!(epoch["epoch"], place + 1);
        let sums = steps[place * 13..][..13]
            .iter()
            .map(|step| step["loss"].as_f64().unwrap() * step["rows"].as_f64().unwrap());
        let (mean, loss) = (sums.sum::<f64>() / TRAIN_ROWS as f64, epoch["loss"].as_f64().unwrap());
        assert!((loss / mean - 1.0).abs() < 1e-12, "{epoch}, steps {mean}");
    }
    let last = lines.last().unwrap();
    let values = ["kind", "seconds", "steps", "test_loss", "test_mae", "test_mse", "test_r2"];
    keys(last, &[&values[..], &["weights_blake3"]].concat());
    assert_eq!((&last["kind"], &last["steps"]), (&"final".into(), &26.into()));
    assert_eq!(last["test_loss"], last["test_mse"]);
    assert_eq!(last["weights_blake3"], folder.hash());
}

/// A number that is read and written again is the same text.
#[test]
fn floats_round_trip() {
    let text = trained().read("run/metrics.jsonl");
    for (line, values) in text.lines().zip(metrics(&text)) {
        for (key, value) in values.as_object().unwrap() {
            // The learning rate is an f32, written as short as it can be.
            assert!(line.contains(&format!("\"{key}\":{value}")), "{key}: {value} in {line}");
        }
    }
}

#[test]
fn the_manifest_says_what_was_run() {
    let folder = trained();
    let manifest: Value = serde_json::from_str(&folder.read("run/manifest.json")).unwrap();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["lockstep"], env!("CARGO_PKG_VERSION"));
    assert_eq!(manifest["name"], "job");
    assert_eq!(manifest["status"], "finished");
    assert_eq!(manifest["shards"], 6);
    assert_eq!(manifest["train_rows"], TRAIN_ROWS);
    assert_eq!(manifest["parameters"], 13 * 6 + 6 + 6 + 1);
    assert_eq!(manifest["numeric_profile"], "f32-fma-k256");
    assert_ne!(manifest["initial_weights_blake3"], manifest["weights_blake3"]);
    let mut files: Vec<_> = folder.files().into_keys().collect();
    files.retain(|path| path.is_file() && path.starts_with(folder.path().join("run")));
    let names: Vec<_> =
        files.iter().map(|path| path.strip_prefix(folder.path().join("run")).unwrap()).collect();
    let wanted = [
        "checkpoints/step-000000000026.safetensors",
        "job.toml",
        "journal.jsonl",
        "lock",
        "manifest.json",
        "metrics.jsonl",
        "model/model.json",
        "model/model.onnx",
        "model/weights.safetensors",
        "status.json",
    ];
    assert_eq!(names, wanted.map(std::path::Path::new));
}

/// Anyone can make the hash from the file: kernel and bias of each layer, little-endian, one after the other.
#[test]
fn the_hash_is_that_of_the_weights() {
    let folder = trained();
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 4);
    let mut hasher = blake3::Hasher::new();
    for (name, shape) in [
        ("layers.0.kernel", &[13, 6][..]),
        ("layers.0.bias", &[6]),
        ("layers.1.kernel", &[6, 1]),
        ("layers.1.bias", &[1]),
    ] {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.shape(), shape);
        hasher.update(tensor.data());
    }
    assert_eq!(hasher.finalize().to_hex().to_string(), folder.hash());
}

/// `job.toml` in the run folder has every default and absolute paths: it gives the same run anywhere.
#[test]
fn the_resolved_job_is_the_same_job() {
    let folder = trained();
    let elsewhere = Folder::new(&[("job.toml", &folder.read("run/job.toml"))]);
    assert_eq!(elsewhere.train(3, 1), folder.hash());
    elsewhere.train_into("run");
    assert_eq!(elsewhere.read("run/job.toml"), folder.read("run/job.toml"));
    let without_seconds = |folder: &Folder| {
        let mut lines = metrics(&folder.read("run/metrics.jsonl"));
        lines.iter_mut().for_each(|line| line["seconds"] = 0.into());
        lines
    };
    assert_eq!(without_seconds(&elsewhere), without_seconds(&folder));
}
