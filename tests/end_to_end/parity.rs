//! Against Keras 3: the same data, initial weights and row order give its losses at every step and its final weights.
//!
//! A case is a folder of `tests/parity`, made with Keras on TensorFlow, or, by `tests/weights/make_keras.py`, on PyTorch: `job.toml`,
//! tables, `expected.json`, `expected.safetensors`.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::folder::{Folder, cases, metrics, of_kind};

const LOSS_RELATIVE_MAX: f64 = 1e-4;
const LOSS_ABSOLUTE_MAX: f64 = 1e-5;
const WEIGHT_ABSOLUTE_MAX: f32 = 1e-3;
/// Of the largest rate.
const RATE_RELATIVE_MAX: f64 = 1e-6;

#[test]
fn training_is_keras_training() {
    let mut folders: Vec<_> =
        std::fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 29, "{folders:?}");
    for (place, case) in folders.iter().enumerate() {
        check(case, 1 + place % 4);
        let folder = with_dropouts_of_rate_0(case);
        check(folder.path(), 1 + (place + 1) % 4);
    }
}

/// Layers of images in the cases.
const OF_IMAGES: [&str; 6] =
    ["conv2d", "max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "flatten"];

/// The case with a dropout of rate 0 before every layer: what was layer `i` is `2 i + 1`.
fn with_dropouts_of_rate_0(case: &Path) -> Folder {
    let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap();
    let mut job = read("job.toml");
    let layers = ["dense", "layer_norm", "batch_norm", "residual"].into_iter().chain(OF_IMAGES);
    for layer in layers {
        let layer = format!("{{ type = \"{layer}\"");
        job = job.replace(&layer, &format!("{{ type = \"dropout\", rate = 0 }}, {layer}"));
    }
    let expected = read("expected.json");
    let folder = Folder::new(&[
        ("job.toml", &job),
        ("train.csv", &read("train.csv")),
        ("expected.json", &expected),
    ]);
    if let Ok(table) = std::fs::read(case.join("validation.csv")) {
        folder.write("validation.csv", &table);
    }
    for name in ["init.safetensors", "expected.safetensors"] {
        let bytes = std::fs::read(case.join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let moved = |name: &str| {
            if !name.starts_with("layers.") {
                return name.to_string();
            }
            let moved = |part: &str| match part.parse::<usize>() {
                Ok(layer) => (2 * layer + 1).to_string(),
                Err(_) => part.to_string(),
            };
            name.split('.').map(moved).collect::<Vec<_>>().join(".")
        };
        let tensors = file.iter().map(|(name, tensor)| (moved(name), tensor));
        let bytes = safetensors::serialize(tensors, None).unwrap();
        folder.write(name, &bytes);
    }
    folder
}

fn check(case: &Path, workers: usize) {
    let folder = Folder::new(&[]);
    let job = case.join("job.toml");
    let (job, workers) = (job.to_str().unwrap(), workers.to_string());
    folder.run(&["--quiet", "local", job, "--workers", &workers, "--out", "run"]).expect(0);

    let expected = std::fs::read_to_string(case.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let wanted = expected["step_loss"].as_array().unwrap();
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let steps = of_kind(&lines, "step");
    assert_eq!(steps.len(), wanted.len(), "{job}");
    for (step, wanted) in steps.iter().zip(wanted) {
        let (loss, wanted) = (step["loss"].as_f64().unwrap(), wanted.as_f64().unwrap());
        let difference_max = wanted.abs() * LOSS_RELATIVE_MAX + LOSS_ABSOLUTE_MAX;
        assert!((loss - wanted).abs() <= difference_max, "{job}: wanted {wanted} in {step}");
    }
    // Cases with a schedule have Keras' learning rate of every step, which it computes in `f32`.
    if let Some(wanted) = expected["learning_rate"].as_array() {
        assert_eq!(steps.len(), wanted.len(), "{job}");
        let rates = wanted.iter().map(|rate| rate.as_f64().unwrap());
        let largest = rates.clone().fold(0.0, f64::max);
        for (step, wanted) in steps.iter().zip(rates) {
            let rate = step["learning_rate"].as_f64().unwrap();
            let difference_max = largest * RATE_RELATIVE_MAX;
            assert!((rate - wanted).abs() <= difference_max, "{job}: wanted {wanted} in {step}");
        }
    }

    let found = weights(&folder.path().join("run/model/weights.safetensors"));
    let wanted = weights(&case.join("expected.safetensors"));
    let names = |weights: &[(String, Vec<usize>, Vec<f32>)]| -> Vec<(String, Vec<usize>)> {
        weights.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect()
    };
    assert_eq!(names(&found), names(&wanted), "{job}");
    for ((name, _, found), (_, _, wanted)) in found.iter().zip(&wanted) {
        for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            let difference = (found - wanted).abs();
            assert!(
                difference <= WEIGHT_ABSOLUTE_MAX,
                "{job}: {name}[{at}]: found {found}, wanted {wanted}"
            );
        }
    }
}

/// Names, shapes and values, in order of names.
fn weights(path: &Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut weights: Vec<_> = file
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.data().as_chunks().0;
            let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            (name.to_string(), tensor.shape().to_vec(), values)
        })
        .collect();
    weights.sort_by(|a: &(String, _, _), b| a.0.cmp(&b.0));
    weights
}
