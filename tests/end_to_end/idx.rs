//! Tables in IDX files, from the job to predictions.

use std::fs;

use serde_json::Value;

use crate::bad_job::refused;
use crate::folder::{Folder, edited, metrics};

const JOB: &str = r#"[data]
train = { images = "images", labels = "labels" }
test = { images = "test-images", labels = "test-labels" }
scale = { divide = 255 }

[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [{ type = "dense", units = 3, activation = "softmax" }]

[train]
optimizer = "adam"
epochs = 4
batch_size = 8
"#;

pub(crate) fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
    file.extend(values);
    file
}

/// Images of 2 x 2 pixels; the brightest one is the label.
fn folder() -> Folder {
    let folder = Folder::new(&[("job.toml", JOB)]);
    for (name, rows) in [("", 60), ("test-", 12)] {
        let pixel = |row: u32, place: u32| match row % 3 == place {
            true => 255,
            false => (row * 7 + place * 13) as u8 % 100,
        };
        let pixels = (0..rows).flat_map(|row| (0..4).map(move |place| pixel(row, place)));
        let images = idx(&[rows, 2, 2], &pixels.collect::<Vec<u8>>());
        let labels = idx(&[rows], &(0..rows).map(|row| (row % 3) as u8).collect::<Vec<u8>>());
        folder.write(&format!("{name}images"), &images);
        folder.write(&format!("{name}labels"), &labels);
    }
    folder
}

#[test]
fn trained_measured_and_predicted() {
    let folder = folder();
    assert_eq!(folder.train(1, 1), folder.train(3, 2));
    folder.train_into("run");
    let last: Value = metrics(&folder.read("run/metrics.jsonl")).pop().unwrap();
    let evaluated =
        folder.run(&["evaluate", "run", "--data", "test-images", "--labels", "test-labels"]);
    evaluated.expect(0);
    for line in ["12 rows".to_string(), format!("loss {}", last["test_loss"])] {
        assert!(evaluated.stdout.lines().any(|found| found == line), "no {line:?} in {evaluated}");
    }
    let predicted = folder.run(&["predict", "run", "--data", "test-images", "--output", "-"]);
    predicted.expect(0);
    assert!(predicted.stdout.starts_with("label,label_0,label_1,label_2\n"), "{predicted}");
    assert_eq!(predicted.stdout.lines().count(), 13);
    let unlabelled = folder.run(&["evaluate", "run", "--data", "test-images"]);
    unlabelled.expect_with(3, "test-images: found images without labels");
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(checked.stdout.contains("  scale divide by 255, missing error\n"), "{checked}");
}

#[test]
fn files_and_settings_that_cannot_be() {
    for (from, to, message) in [
        ("\"labels\"", "\"test-labels\"", "test-labels: found 12 labels, wanted one for each of"),
        ("\"images\"", "\"none\"", "cannot read none: No such file or directory"),
        ("\"images\"", "\"job.toml\"", "job.toml: found 5b 64 61 74 at its beginning, wanted an"),
        (", labels = \"labels\"", "", "job.toml:2:9: `data.train.labels` is missing"),
        ("{ images = \"images\"", "{ image = \"images\"", "`data.train.image`, did you mean"),
        (
            "labels = \"test-labels\"",
            "fraction = 0.5",
            "job.toml:3:45: `data.test.fraction`: wanted",
        ),
        (
            "divide = 255",
            "divide = 0",
            "job.toml:4:20: `data.scale.divide`: found 0, wanted a number",
        ),
        ("units = 3", "units = 2", "labels: target \"label\" has 3 classes in the training rows"),
    ] {
        let folder = folder();
        folder.write("job.toml", &edited(JOB, from, to));
        refused(&folder, message);
    }
    let folder = folder();
    let path = folder.path().join("images");
    let images = fs::read(&path).unwrap();
    fs::write(path, &images[..200]).unwrap();
    refused(
        &folder,
        "images: the header says 60 x 2 x 2 of 1 byte each, but there are only 184 bytes",
    );
}
