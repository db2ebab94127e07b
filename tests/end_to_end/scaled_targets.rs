//! Scaled targets: metrics and predictions in the targets' own unit, whoever computes them, and a loss that says that it is not.

use serde_json::Value;

use crate::folder::{edited, metrics, of_kind};
use crate::own_columns::{JOB, folder_of};

/// Columns of a CSV file without quotes.
fn columns(text: &str, names: &[&str]) -> Vec<Vec<f64>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let column = |name: &&str| {
        let at = header.iter().position(|found| found == name).unwrap();
        rows.iter().map(|row| row[at].parse().unwrap()).collect()
    };
    names.iter().map(column).collect()
}

/// Metrics of predictions, each of each target and of all, as the documents define them.
fn measured(truth: &[Vec<f64>], predicted: &[Vec<f64>], names: &[&str]) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut each = Vec::new();
    for (y, p) in truth.iter().zip(predicted) {
        let errors: Vec<f64> = y.iter().zip(p).map(|(y, p)| p - y).collect();
        let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
        let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
        let spread: Vec<f64> = y.iter().map(|value| (value - mean(y)).powi(2)).collect();
        let r2 = 1.0 - mean(&squares) / mean(&spread);
        each.push([("mse", mean(&squares)), ("mae", mean(&sizes)), ("r2", r2)]);
    }
    for (target, values) in names.iter().zip(&each) {
        found.extend(values.iter().map(|(metric, value)| (format!("{metric}/{target}"), *value)));
        found.push((format!("rmse/{target}"), values[0].1.sqrt()));
    }
    for metric in 0..3 {
        let all: Vec<f64> = each.iter().map(|values| values[metric].1).collect();
        found.push((each[0][metric].0.to_string(), mean(&all)));
    }
    let mse = mean(&each.iter().map(|values| values[0].1).collect::<Vec<_>>());
    found.push(("rmse".to_string(), mse.sqrt()));
    found
}

#[track_caller]
fn agree(line: &Value, prefix: &str, wanted: &[(String, f64)]) {
    for (name, wanted) in wanted {
        let found = line[format!("{prefix}{name}")]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name} in {line}"));
        assert!(
            (found - wanted).abs() <= 1e-6 * wanted.abs(),
            "{prefix}{name}: {found}, not {wanted}"
        );
    }
}

/// What a run, `evaluate` and `predict` say is in the unit of the table; only the loss is not, and says so.
#[test]
fn metrics_are_those_of_the_predictions() {
    let folder = folder_of(JOB);
    let trained = folder.run(&["local", "job.toml", "--out", "run"]);
    trained.expect(0);
    let targets = ["price", "days"];
    let predict = |table: &str| {
        let out = folder.run(&["predict", "run", "--data", table, "--output", "-"]);
        out.expect(0);
        columns(&out.stdout, &targets)
    };
    let truth = columns(&folder.read("test.csv"), &targets);
    let predicted = predict("test.csv");
    assert!(predicted[0].iter().all(|price| *price > 50_000.0), "{predicted:?}");
    let wanted = measured(&truth, &predicted, &targets);
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    agree(lines.last().unwrap(), "test_", &wanted);
    let evaluated = folder.run(&["--log-format", "json", "evaluate", "run", "--data", "test.csv"]);
    let evaluated: Value = serde_json::from_str(&evaluated.stdout).unwrap();
    agree(&evaluated["values"], "", &wanted);
    assert_eq!(evaluated["loss_is_scaled"], true);
    // The loss is that of what the network computes.
    let scales: Vec<(f64, f64)> = {
        let model: Value = serde_json::from_str(&folder.read("run/model/model.json")).unwrap();
        assert_eq!(model["format"], 2);
        let units = model["network"]["units"].as_array().unwrap().iter();
        let number = |unit: &Value, key: &str| unit["affine"][key].as_f64().unwrap();
        units.map(|unit| (number(unit, "offset"), number(unit, "factor"))).collect()
    };
    let scaled = |all: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let columns = all.iter().zip(&scales);
        columns
            .map(|(column, (offset, factor))| {
                column.iter().map(|v| (v - offset) / factor).collect()
            })
            .collect()
    };
    let mse = measured(&scaled(&truth), &scaled(&predicted), &targets);
    let mse =
        mse.into_iter().filter(|(name, _)| name == "mse").map(|(_, mse)| ("loss".into(), mse));
    agree(lines.last().unwrap(), "test_", &mse.collect::<Vec<_>>());
    // In words.
    for text in ["loss (scaled) ", "validation_loss (scaled) "] {
        assert!(trained.stderr.contains(text), "no {text:?} in {trained}");
    }
    assert!(trained.stdout.contains("loss (scaled)"), "{trained}");
    let text = folder.run(&["evaluate", "run", "--data", "test.csv"]);
    assert!(text.stdout.contains("\nloss (scaled) 0."), "{text}");
    let epoch = of_kind(&lines, "epoch")[0];
    for name in ["loss", "mse", "r2/price", "validation_mae/days", "validation_loss"] {
        assert!(epoch[name].is_number(), "no {name} in {epoch}");
    }
    // A loss that is a metric as well goes by that name in the own unit alone.
    let job = edited(JOB, "metrics = [\"mse\", \"mae\", \"rmse\", \"r2\"]\n", "");
    let folder = folder_of(&job);
    folder.train_into("run");
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let last = lines.last().unwrap();
    assert!(last["test_loss"].is_number() && last["test_mse"].is_null(), "{last}");
}
