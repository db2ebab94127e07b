//! What columns hold: numbers whose spread is small beside their size, labels that look like numbers, rare classes,
//! targets of any size, several targets.

use serde_json::Value;

use crate::folder::{Folder, metrics, of_kind};

const REGRESSION: &str = "[model]\nloss = \"mse\"\nmetrics = [\"mae\", \"r2\"]\nlayers = [{ type = \"dense\", units = 1 }]\n\
                          [train]\noptimizer = \"sgd\"\nepochs = 1\n";

fn job(data: &str, model: &str) -> String {
    format!("[data]\ntrain = \"train.csv\"\n{data}\n{model}")
}

fn classes(units: usize) -> String {
    format!(
        "[model]\nloss = \"cross_entropy\"\nmetrics = [\"accuracy\"]\n\
         layers = [{{ type = \"dense\", units = {units}, activation = \"softmax\" }}]\n\
         [train]\noptimizer = \"sgd\"\nepochs = 1\nbatch_size = 4\n"
    )
}

/// A clock in seconds, of which 128 in a row are one `f32`.
fn clock() -> String {
    let row = |row: u32| format!("{},{}\n", 1_700_000_001 + row, f64::from(row) / 100.0);
    format!("clock,y\n{}", (0..200).map(row).collect::<String>())
}

#[test]
fn a_clock_in_seconds_keeps_every_second_when_it_is_scaled() {
    for scale in ["standard", "minmax"] {
        let data = format!("target = \"y\"\nscale = \"{scale}\"");
        let folder = Folder::new(&[("job.toml", &job(&data, REGRESSION)), ("train.csv", &clock())]);
        folder.train_into("run");
        let predicted = folder.run(&["predict", "run", "--data", "train.csv", "--output", "-"]);
        predicted.expect(0);
        let mut values: Vec<&str> = predicted.stdout.lines().skip(1).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 200, "{predicted}");
        let checked = folder.run(&["check", "job.toml"]);
        checked.expect(0);
        let row = checked.stdout.lines().find(|line| line.trim().starts_with("clock ")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            (cells[2], cells[3], cells[6..].join(" ")),
            ("1700000001", "1700000200", format!("200 {scale} numbers"))
        );
        assert!(!checked.stdout.contains("constant"), "{checked}");
    }
}

#[test]
fn cells_that_fall_together_are_told_by_check_and_by_the_run() {
    let folder =
        Folder::new(&[("job.toml", &job("target = \"y\"", REGRESSION)), ("train.csv", &clock())]);
    let warning = "feature \"clock\": 200 distinct values become 3 as the network sees them (in f32): \
                   `data.scale = \"standard\"` scales before it rounds";
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(
        checked.stdout.contains(warning) && checked.stdout.contains("200 (3 in f32)"),
        "{checked}"
    );
    let job = job("target = \"y\"", REGRESSION).replace("\"sgd\"", "\"adam\"");
    folder.write("job.toml", &job);
    folder.run(&["local", "job.toml", "--out", "run"]).expect_with(0, warning);
}

#[test]
fn labels_are_text() {
    let long = ["20000000000000000001", "20000000000000000002"];
    let labels = ["01", "1", "2", "10", "x", long[0], long[1]];
    let row = |row: usize| format!("{row},{}\n", labels[row % labels.len()]);
    let train = format!("a,y\n{}", (0..70).map(row).collect::<String>());
    let data = "target = \"y\"\nscale = \"standard\"";
    let folder = Folder::new(&[("job.toml", &job(data, &classes(7))), ("train.csv", &train)]);
    folder.train_into("run");
    let predicted = folder.run(&["predict", "run", "--data", "train.csv", "--output", "-"]);
    predicted.expect(0);
    let header: Vec<String> =
        ["1", "01", "2", "10", long[0], long[1], "x"].map(|l| format!("y_{l}")).into();
    assert_eq!(predicted.stdout.lines().next().unwrap(), format!("y,{}", header.join(",")));
    let evaluated = folder.run(&["evaluate", "run", "--data", "train.csv"]);
    evaluated.expect(0);
}

#[test]
fn what_pandas_writes_for_whole_numbers_with_holes_is_the_same_label() {
    let train = "a,y\n1,0.0\n2,1.0\n3,0.0\n4,1.0\n";
    let data = "target = \"y\"";
    let folder = Folder::new(&[("job.toml", &job(data, &classes(2))), ("train.csv", train)]);
    folder.write("test.csv", "a,y\n1,0\n2,1\n");
    folder.train_into("run");
    let predicted = folder.run(&["predict", "run", "--data", "test.csv", "--output", "-"]);
    assert_eq!(predicted.stdout.lines().next(), Some("y,y_0.0,y_1.0"), "{predicted}");
    folder.run(&["evaluate", "run", "--data", "test.csv"]).expect(0);
}

#[test]
fn a_rare_class_is_told_alike_whatever_the_seed() {
    let label = |row: usize| if row == 17 { "rare" } else { ["p", "q"][row % 2] };
    let row = |row: usize| format!("{row},{}\n", label(row));
    let train = format!("a,y\n{}", (0..40).map(row).collect::<String>());
    let folder = Folder::new(&[("train.csv", &train)]);
    for seed in 0..6 {
        let data = "target = \"y\"\ntest = { fraction = 0.25 }";
        folder.write("job.toml", &format!("seed = {seed}\n{}", job(data, &classes(3))));
        let checked = folder.run(&["check", "job.toml"]);
        checked.expect(0);
        let warning =
            "class \"rare\" of target \"y\" has 1 row, and `data.test` takes none of them";
        assert!(checked.stdout.contains(warning), "{checked}");
        folder.write("job.toml", &format!("seed = {seed}\n{}", job(data, &classes(2))));
        folder.run(&["check", "job.toml"]).expect_with(3, "set the last layer's `units` to 3");
    }
}

#[test]
fn a_target_far_from_one_is_told_by_check_and_by_the_run() {
    let row = |row: usize| format!("{},{}\n", row % 7, 200_000 + 31_337 * (row % 32));
    let train = format!("a,price\n{}", (0..64).map(row).collect::<String>());
    let data = "target = \"price\"\nscale = \"standard\"";
    let model = REGRESSION.replace("\"sgd\"", "\"adam\"");
    let folder = Folder::new(&[("job.toml", &job(data, &model)), ("train.csv", &train)]);
    let warning = "target \"price\" lies between 200000 and 1171447: targets far above 1 in size are learned slowly \
                   or not at all; set `data.columns.price = { scale = \"standard\" }` (predictions and metrics stay in \
                   the table's unit)";
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(checked.stdout.contains(warning), "{checked}");
    folder.run(&["local", "job.toml", "--out", "run"]).expect_with(0, warning);
}

#[test]
fn several_targets_are_measured_one_by_one_as_well() {
    let row = |row: i32| format!("{},{},{}\n", row % 5, f64::from(row % 5) / 2.0, 3 - row % 3);
    let train = format!("a,height,width\n{}", (0..60).map(row).collect::<String>());
    let data =
        "target = [\"height\", \"width\"]\nvalidation = { fraction = 0.2 }\ntest = \"test.csv\"";
    let model = REGRESSION.replace("units = 1", "units = 2");
    let folder = Folder::new(&[("job.toml", &job(data, &model)), ("train.csv", &train)]);
    folder.write("test.csv", &train.lines().take(12).collect::<Vec<_>>().join("\n"));
    folder.train_into("run");
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let value = |line: &Value, name: &str| {
        line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"))
    };
    let epoch = of_kind(&lines, "epoch")[0];
    let last = lines.last().unwrap();
    for (line, prefix) in [(epoch, ""), (epoch, "validation_"), (last, "test_")] {
        let each = ["height", "width"].map(|target| value(line, &format!("{prefix}mae/{target}")));
        let all = value(line, &format!("{prefix}mae"));
        assert!((each.iter().sum::<f64>() / 2.0 - all).abs() < 1e-12, "{line}");
        value(line, &format!("{prefix}r2/width"));
    }
    let evaluated = folder.run(&["evaluate", "run", "--data", "test.csv"]);
    evaluated.expect(0);
    let wanted = format!("mae/height {}", value(last, "test_mae/height"));
    assert!(evaluated.stdout.lines().any(|line| line == wanted), "{evaluated}");
}
