//! `evaluate` and `predict` on finished models.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::folder::{Folder, metrics, parity};

/// Cells of a CSV file without quotes, its header first.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

/// What `evaluate` prints: names and values.
fn evaluated(folder: &Folder, data: &str) -> BTreeMap<String, f64> {
    let ended = folder.run(&["evaluate", "run", "--data", data]);
    ended.expect(0);
    let mut lines = ended.stdout.lines();
    assert!(lines.next().unwrap().ends_with(" rows"), "{ended}");
    let value = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap();
        (name.to_string(), value.parse().unwrap())
    };
    // Tables of classes follow on an empty line.
    lines.take_while(|line| !line.is_empty()).map(value).collect()
}

fn predicted(folder: &Folder, data: &str) -> String {
    let ended = folder.run(&["predict", "run", "--data", data, "--output", "-"]);
    ended.expect(0);
    ended.stdout
}

/// A job on a parity case's table, its last `test_rows` rows kept apart in `test.csv`.
fn trained(table: &str, test_rows: usize, model: &str) -> Folder {
    let text = std::fs::read_to_string(parity(table).join("train.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (train, test) = lines.split_at(lines.len() - test_rows);
    let job = format!(
        "[data]\ntrain = \"train.csv\"\ntest = \"test.csv\"\ntarget = \"y\"\nscale = \"standard\"\n\
         [model]\n{model}\n[train]\noptimizer = \"adam\"\nepochs = 2\n"
    );
    let folder = Folder::new(&[("job.toml", &job), ("train.csv", &train.join("\n"))]);
    folder.write("test.csv", &[&lines[..1], test].concat().join("\n"));
    folder.train_into("run");
    let last: Value = metrics(&folder.read("run/metrics.jsonl")).pop().unwrap();
    // The run's own measure, to the last bit.
    for (name, value) in evaluated(&folder, "test.csv") {
        assert_eq!(last[format!("test_{name}")].as_f64(), Some(value), "{name}");
    }
    folder
}

/// The target of each row of `test.csv`.
fn targets(folder: &Folder) -> Vec<String> {
    let text = folder.read("test.csv");
    let cells = cells(&text);
    let column = cells[0].iter().position(|name| *name == "y").unwrap();
    cells[1..].iter().map(|row| row[column].to_string()).collect()
}

#[test]
fn regression() {
    let model = "loss = \"mse\"\nmetrics = [\"mae\"]\nlayers = [{ type = \"dense\", units = 1 }]";
    let folder = trained("boston-relu-adam-mse", 100, model);
    let text = predicted(&folder, "test.csv");
    let rows = cells(&text);
    assert_eq!((rows.len(), &rows[0][..]), (101, &["y"][..]));
    let errors = rows[1..].iter().zip(targets(&folder)).map(|(row, target)| {
        let (found, wanted): (f64, f64) = (row[0].parse().unwrap(), target.parse().unwrap());
        (found - wanted).abs()
    });
    // The rows are in the table's order: in any other the error would be another.
    let (mae, wanted) = (errors.sum::<f64>() / 100.0, evaluated(&folder, "test.csv")["mae"]);
    assert!((mae / wanted - 1.0).abs() < 1e-5, "{mae}, wanted {wanted}");
}

#[test]
fn many_classes() {
    let model = "loss = \"cross_entropy\"\nmetrics = [\"accuracy\"]\n\
                 layers = [{ type = \"dense\", units = 10, activation = \"softmax\" }]";
    let folder = trained("digits-gelu-adam-clip", 64, model);
    let text = predicted(&folder, "test.csv");
    let rows = cells(&text);
    let header: Vec<String> =
        ["y".to_string()].into_iter().chain((0..10).map(|class| format!("y_{class}"))).collect();
    assert_eq!(
        (rows.len(), &rows[0][..]),
        (65, &header.iter().map(String::as_str).collect::<Vec<_>>()[..])
    );
    let mut right = 0.0;
    for (row, target) in rows[1..].iter().zip(targets(&folder)) {
        let shares: Vec<f32> = row[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
        let label: usize = row[0].parse().unwrap();
        assert!(shares.iter().all(|&share| share <= shares[label]), "{row:?}");
        right += f64::from(u8::from(row[0] == target));
    }
    assert_eq!(right / 64.0, evaluated(&folder, "test.csv")["accuracy"]);
}

#[test]
fn two_classes() {
    let model = "loss = \"binary_cross_entropy\"\nmetrics = [\"accuracy\"]\n\
                 layers = [{ type = \"dense\", units = 1, activation = \"sigmoid\" }]";
    let folder = trained("cancer-sigmoid-nesterov-binary", 60, model);
    let text = predicted(&folder, "test.csv");
    let rows = cells(&text);
    assert_eq!((rows.len(), &rows[0][..]), (61, &["y", "y_1"][..]));
    let mut right = 0.0;
    for (row, target) in rows[1..].iter().zip(targets(&folder)) {
        let probability: f32 = row[1].parse().unwrap();
        assert!((0.0..=1.0).contains(&probability));
        assert_eq!(row[0] == "1", probability > 0.5, "{row:?}");
        right += f64::from(u8::from(row[0] == target));
    }
    assert_eq!(right / 60.0, evaluated(&folder, "test.csv")["accuracy"]);
}

/// Columns are found by name; others, the target among them, are not needed.
#[test]
fn columns_in_any_order() {
    let model = "loss = \"mse\"\nlayers = [{ type = \"dense\", units = 1 }]";
    let folder = trained("boston-relu-adam-mse", 20, model);
    let text = folder.read("test.csv");
    let reversed = cells(&text).into_iter().map(|mut row| {
        row.pop();
        row.push("nonsense");
        row.reverse();
        row.join(",")
    });
    assert!(text.lines().next().unwrap().ends_with(",y"));
    folder.write("reversed.csv", &reversed.collect::<Vec<_>>().join("\r\n"));
    assert_eq!(predicted(&folder, "reversed.csv"), predicted(&folder, "test.csv"));
    let ended = folder.run(&["predict", "run", "--data", "test.csv", "--output", "out.csv"]);
    ended.expect_with(0, "20 predictions in out.csv");
    assert_eq!(ended.stdout, "");
    assert_eq!(folder.read("out.csv"), predicted(&folder, "test.csv"));
}

/// Nothing that the predictions are made from is written over, by whatever name; another file only with `--force`.
#[test]
#[cfg(unix)]
fn what_is_there_stays() {
    use std::os::unix::fs::symlink;
    let model = "loss = \"mse\"\nlayers = [{ type = \"dense\", units = 1 }]";
    let folder = trained("boston-relu-adam-mse", 20, model);
    let at = |name: &str| folder.path().join(name);
    symlink("test.csv", at("link.csv")).unwrap();
    std::fs::hard_link(at("test.csv"), at("hard.csv")).unwrap();
    std::fs::hard_link(at("run/model/model.json"), at("model.json")).unwrap();
    symlink("run", at("same-run")).unwrap();
    for file in ["out.csv", "pred.csv", "pred.partial"] {
        folder.write(file, "as it was");
    }
    let before = folder.files();
    let (table, inside) = ("it is the table that is read", "it lies in the run folder");
    for (output, message) in [
        ("test.csv", table),
        ("./run/../test.csv", table),
        ("link.csv", table),
        ("hard.csv", table),
        ("run/model/weights.safetensors", inside),
        ("same-run/new.csv", inside),
        ("model.json", "it is a file of the run folder, under another name"),
        ("run", "it is a folder"),
        ("nowhere/out.csv", "cannot write it: No such file or directory"),
    ] {
        let arguments = ["predict", "run", "--data", "test.csv", "--force", "--output", output];
        let ended = folder.run(&arguments);
        ended.expect_with(3, &format!("error: {output}: {message}"));
        assert_eq!(folder.files(), before, "{output}");
    }
    let arguments = ["predict", "run", "--data", "test.csv", "--output", "out.csv"];
    folder.run(&arguments).expect_with(3, "error: out.csv: it is there already: name another file");
    assert_eq!(folder.files(), before);
    folder.run(&[&arguments[..], &["--force"]].concat()).expect(0);
    assert_eq!(folder.read("out.csv"), predicted(&folder, "test.csv"));
    // Somebody else's file of a name that we might use stays.
    std::fs::remove_file(at("pred.csv")).unwrap();
    let arguments = ["predict", "run", "--data", "test.csv", "--output", "pred.csv"];
    folder.run(&arguments).expect(0);
    assert_eq!(folder.read("pred.partial"), "as it was");
    assert_eq!(folder.files().len(), before.len());
}
