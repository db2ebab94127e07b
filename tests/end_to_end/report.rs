//! Reports: how well a model does, which columns it needs, runs side by side; in the file and in a browser.

use std::fs;

use serde_json::Value;

use crate::browser::{Browser, is_there};
use crate::folder::{Folder, edited};
use crate::page::expect_accessible;
use crate::tools::skip;

/// Two classes, four columns, of which `noise` says nothing, with names that a page must not run.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
const JOB: &str = r#"
name = "examined"
seed = 3
[data]
train = "train.csv"
target = "kind"
test = { fraction = 0.25 }
validation = { fraction = 0.1 }
scale = "standard"
[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [
  { type = "dense", units = 8, activation = "relu" },
  { type = "dense", units = 3, activation = "softmax" },
]
[train]
optimizer = { type = "adam", learning_rate = 0.01 }
epochs = 12
batch_size = 16
"#;

/// Rows whose class, one of three, follows from `color` and a column with a hostile name.
fn of_classes() -> Folder {
    let mut text = format!("\"{HOSTILE}\",color,noise,kind\n");
    for row in 0..240_u32 {
        let number = row * 37 % 101;
        let color = ["red", "green", "blue"][(row % 3) as usize];
        let kind = match (number > 50, color) {
            (_, "red") => "plain",
            (true, _) => "<b>large</b>",
            (false, _) => "small",
        };
        text += &format!("{number},{color},{},{kind}\n", row * 53 % 17);
    }
    Folder::new(&[("job.toml", JOB), ("train.csv", &text)])
}

/// A number that follows from one of two columns.
fn of_numbers() -> Folder {
    let job = edited(JOB, "cross_entropy", "mse");
    let job = edited(&job, "[\"accuracy\"]", "[\"mae\"]");
    let job = edited(&job, "units = 3, activation = \"softmax\"", "units = 1");
    let job = edited(
        &job,
        "scale = \"standard\"",
        "scale = \"standard\"\ncolumns.kind = { scale = \"standard\" }",
    );
    let rows = (0..240_u32)
        .map(|row| format!("{},{},{}\n", row * 37 % 101, row * 53 % 17, 3 * (row * 37 % 101)));
    let text = format!("number,noise,kind\n{}", rows.collect::<String>());
    Folder::new(&[("job.toml", &job), ("train.csv", &text)])
}

fn report(folder: &Folder, arguments: &[&str]) -> Value {
    let all = [&["report"], arguments, &["--output", "report.json", "--force"]].concat();
    folder.run(&all).expect(0);
    serde_json::from_str(&folder.read("report.json")).unwrap()
}

#[test]
fn a_report_measures_the_model_as_the_run_did() {
    for folder in [of_classes(), of_numbers()] {
        folder.train_into("run");
        let status = report(&folder, &["run"]);
        let evaluation = &status["evaluation"];
        assert_eq!((&evaluation["table"], &evaluation["rows"]), (&"test".into(), &60.into()));
        let values = evaluation["values"].as_object().unwrap();
        assert!(values.len() >= 2);
        for (name, value) in values {
            let of_run = &status["result"]["values"][format!("test_{name}")];
            assert_eq!(value, of_run, "{name}");
        }
        assert_eq!(evaluation["importance"], Value::Null);
    }
}

#[test]
fn classes_have_a_matrix_curves_and_calibration() {
    let folder = of_classes();
    folder.train_into("run");
    let status = report(&folder, &["run"]);
    let target = &status["evaluation"]["targets"][0];
    assert_eq!((&target["target"], &target["residuals"]), (&"kind".into(), &Value::Null));
    let classes = &target["classes"];
    let labels: Vec<_> =
        classes["classes"].as_array().unwrap().iter().map(|of| &of["label"]).collect();
    assert_eq!(labels, ["<b>large</b>", "plain", "small"]);
    assert_eq!(classes["confusion"], status["result"]["confusion"][0]["rows"]);
    let curves = classes["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 3);
    for curve in curves {
        let ends = |line: &Value| {
            let x = line["x"].as_array().unwrap();
            (x[0].as_f64().unwrap(), x[x.len() - 1].as_f64().unwrap())
        };
        assert_eq!(
            (ends(&curve["roc"]), ends(&curve["precision_recall"])),
            ((0.0, 1.0), (0.0, 1.0))
        );
        let rows = curve["calibration"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin["rows"].as_u64().unwrap());
        assert_eq!(rows.sum::<u64>(), 60);
        assert!(curve["roc_auc"].as_f64().unwrap() > 0.5);
    }
}

#[test]
fn numbers_have_residuals_in_their_own_unit() {
    let folder = of_numbers();
    folder.train_into("run");
    let residuals = &report(&folder, &["run"])["evaluation"]["targets"][0]["residuals"];
    assert_eq!(residuals["points"]["x"].as_array().unwrap().len(), 60);
    let rows =
        residuals["histogram"].as_array().unwrap().iter().map(|bin| bin["rows"].as_u64().unwrap());
    assert_eq!(rows.sum::<u64>(), 60);
    // What `predict` says of the largest of them is as far away.
    assert!(residuals["largest"].as_f64().unwrap() > 0.5);
}

#[test]
fn the_importance_of_columns_does_not_depend_on_threads() {
    let folder = of_classes();
    folder.train_into("run");
    let mut first = None;
    for threads in ["1", "3"] {
        let mut command =
            crate::process::lockstep(folder.path(), &["report", "run", "--importance"]);
        command.args(["--output", "report.json", "--force"]).env("RAYON_NUM_THREADS", threads);
        crate::process::run(command).expect(0);
        let status: Value = serde_json::from_str(&folder.read("report.json")).unwrap();
        let found = status["evaluation"]["importance"].clone();
        assert_eq!(found["metric"], "accuracy");
        let worse = |name: &str| {
            let columns = found["columns"].as_array().unwrap();
            let column = columns.iter().find(|column| column["column"] == name);
            column.unwrap()["worse"].as_f64().unwrap()
        };
        assert!(worse("color") > 0.1 && worse("color") > worse("noise"), "{found}");
        assert_eq!(found["columns"].as_array().unwrap().len(), 3);
        assert_eq!(*first.get_or_insert(found.clone()), found);
    }
}

#[test]
fn what_cannot_be_measured_is_said_and_the_rest_is_shown() {
    let folder = of_classes();
    folder.train_into("run");
    fs::rename(folder.path().join("train.csv"), folder.path().join("moved.csv")).unwrap();
    let ended = folder.run(&["report", "run", "--importance", "--output", "a.json"]);
    ended.expect(0);
    assert!(
        ended.stderr.contains("the report does without an evaluation of the model: "),
        "{ended}"
    );
    let status: Value = serde_json::from_str(&folder.read("a.json")).unwrap();
    assert!(status["evaluation_missing"].as_str().unwrap().contains("train.csv"), "{status}");
    assert_eq!(status["run"]["state"], "finished");
    let changed = folder.read("moved.csv").replacen("red", "green", 1);
    folder.write("train.csv", &changed);
    folder.run(&["report", "run", "--output", "b.json"]).expect(0);
    assert!(folder.read("b.json").contains("its tables have changed since it began"));
    // Nobody has to read them.
    let ended = folder.run(&["report", "run", "--no-evaluation", "--output", "c.json"]);
    ended.expect(0);
    assert!(!ended.stderr.contains("warning"), "{ended}");
    let both = ["report", "run", "--no-evaluation", "--importance", "--output", "d.json"];
    folder.run(&both).expect_with(2, "cannot be used with");
}

#[test]
fn runs_are_compared_by_what_their_jobs_differ_in() {
    let folder = of_classes();
    folder.train_into("one");
    let other = ["--quiet", "local", "job.toml", "--out", "two", "--set", "train.epochs=6"];
    folder.run(&[&other[..], &["--set", "model.layers.0.units=4"]].concat()).expect(0);
    let found = report(&folder, &["one", "two"]);
    let keys: Vec<_> = found["keys"].as_array().unwrap().iter().map(|key| &key["key"]).collect();
    assert_eq!(keys, ["model.layers.0.units", "train.epochs"]);
    assert_eq!(found["keys"][1]["values"], serde_json::json!(["12", "6"]));
    let epochs = |run: usize| found["runs"][run]["epochs"].as_array().unwrap().len();
    assert_eq!((epochs(0), epochs(1)), (12, 6));
    assert!(found["runs"][1]["weights_blake3"].is_string());
    folder
        .run(&["report", "one", "two", "--importance", "--output", "x.html"])
        .expect_with(2, "--importance is for the report of one run");
    folder
        .run(&[&["report", "--output", "x.html"][..], &["one"; 9]].concat())
        .expect_with(2, "found 9 runs, wanted 8 at most");
    folder.run(&["report", "one", "two", "--output", "two/x.html"]).expect_with(3, "run folder");
}

/// What is shown of a file in a browser: nothing of it runs, everybody can read it, and nothing is asked of anybody.
fn shown(folder: &Folder, name: &str, is_there: &str) -> Browser {
    let browser = Browser::start();
    for (kind, is_dark, width) in
        [("light", false, 1200), ("dark", true, 1200), ("phone", false, 390)]
    {
        browser.is_dark(is_dark);
        browser.size(width, 900);
        browser.open(&format!("file://{}/{name}", folder.path().display()));
        browser.wait(is_there);
        browser.picture(&format!("{name}-{kind}"));
        expect_accessible(&browser, &format!("{name}, {kind}"));
        let fits = browser.value("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(fits, true, "{name}, {kind}: the page is wider than its window");
    }
    assert_eq!(
        browser
            .value("document.querySelectorAll('img, #evaluation b, #runs b, main script').length"),
        0
    );
    assert_eq!(browser.said(), [""; 0]);
    assert!(browser.asked().iter().all(|url| url.starts_with("file://")), "{:?}", browser.asked());
    browser
}

#[test]
fn a_report_is_read_in_a_browser() {
    if !is_there() {
        return skip("chromium");
    }
    let folder = of_classes();
    folder.train_into("run");
    folder.run(&["report", "run", "--importance", "--output", "classes.html"]).expect(0);
    let browser = shown(
        &folder,
        "classes.html",
        "document.querySelectorAll('#evaluation canvas').length === 9",
    );
    // The matrix of the test table is there once.
    let matrices = "[...document.querySelectorAll('th')].filter((cell) => cell.textContent.startsWith('label \\\\')).length";
    assert_eq!(browser.value(matrices), 1);
    let text = browser.value("document.getElementById('evaluation').innerText");
    for words in [HOSTILE, "<b>large</b>", "60 rows of the test table", "Which columns it needs"] {
        assert!(text.as_str().unwrap().contains(words), "{words}: {text}");
    }
    let said =
        browser.value("document.querySelector('#evaluation .plot').getAttribute('aria-label')");
    assert!(said.as_str().unwrap().contains("The area below the curve is "), "{said}");
    // What is plotted can be had as numbers.
    browser.value("document.querySelector('#evaluation figure details').open = true; 0");
    browser.wait("document.querySelectorAll('#evaluation figure tbody tr').length > 1");
    let folder = of_numbers();
    folder.train_into("run");
    folder.run(&["report", "run", "--output", "numbers.html"]).expect(0);
    shown(&folder, "numbers.html", "document.querySelectorAll('#evaluation canvas').length === 2");
}

/// The axis of a plot around a curve that never changes: of its size, whatever that is, and with figures that differ.
#[test]
fn a_curve_that_never_changes_has_an_axis() {
    let folder = of_classes();
    folder.train_into("run");
    std::fs::remove_file(folder.path().join("run/status.json")).unwrap();
    let constant = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line["kind"] == "epoch" {
            (line["loss"], line["validation_loss"]) = (0.002.into(), 0.002.into());
        }
        format!("{line}\n")
    };
    let lines: String = folder.read("run/metrics.jsonl").lines().map(constant).collect();
    folder.write("run/metrics.jsonl", &lines);
    folder.run(&["plot", "run", "--output", "constant.svg"]).expect(0);
    let svg = folder.read("constant.svg");
    let texts: Vec<&str> = svg.lines().filter(|line| line.starts_with("0.00")).collect();
    assert!(texts.contains(&"0.001") && texts.contains(&"0.003"), "{texts:?}");
    assert!(texts.iter().all(|text| texts.iter().filter(|other| other == &text).count() == 1));
    if !is_there() {
        return skip("chromium");
    }
    folder.run(&["report", "run", "--output", "constant.html"]).expect(0);
    let browser = Browser::start();
    browser.open(&format!("file://{}/constant.html", folder.path().display()));
    browser.wait("document.querySelectorAll('#rate canvas').length === 1");
    for (value, wanted) in [("0.001", "[0.0005,0.0015]"), ("0", "[-1,1]"), ("-40", "[-60,-20]")] {
        browser.value(&format!(
            "(() => {{
                const frame = document.createElement('figure');
                document.body.append(frame);
                globalThis.shown = new lockstep.Plot(frame, 'x');
                shown.show('step', [['a', 'blue', [1, 2, 3], [{value}, {value}, {value}]]]);
                return 0;
            }})()"
        ));
        let axis = "JSON.stringify([shown.plot.scales.y.min, shown.plot.scales.y.max])";
        browser.wait("shown.plot.scales.y.min !== null");
        assert_eq!(browser.value(axis), wanted, "{value}");
    }
    assert_eq!(browser.said(), [""; 0]);
}

#[test]
fn a_comparison_is_read_in_a_browser() {
    if !is_there() {
        return skip("chromium");
    }
    let folder = of_classes();
    folder.train_into("one");
    let other = ["--quiet", "local", "job.toml", "--out", "<img src=x>", "--set", "train.epochs=6"];
    folder.run(&other).expect(0);
    folder.run(&["report", "one", "<img src=x>", "--output", "both.html"]).expect(0);
    let browser =
        shown(&folder, "both.html", "document.querySelectorAll('#curves canvas').length === 4");
    assert_eq!(browser.value("document.querySelectorAll('#legend line').length"), 2);
    let dashes = "document.querySelectorAll('#legend line')[1].getAttribute('stroke-dasharray')";
    assert_eq!(browser.value(dashes), "6 3");
    let text = browser.value("document.body.innerText");
    assert!(text.as_str().unwrap().contains("train.epochs"), "{text}");
}

#[test]
fn a_plot_is_one_picture() {
    let folder = of_classes();
    folder.train_into("one");
    folder.run(&["plot", "one", "--output", "one.svg"]).expect(0);
    let svg = folder.read("one.svg");
    for words in ["examined", "epoch", "validation_loss"] {
        assert!(svg.contains(words), "{words}");
    }
    assert!(svg.starts_with("<svg ") && !svg.contains("href"), "{svg}");
    let other = ["--quiet", "local", "job.toml", "--out", "<b>two", "--set", "train.epochs=6"];
    folder.run(&other).expect(0);
    let both = ["plot", "one", "<b>two", "--metric", "validation_accuracy", "--output", "both.svg"];
    folder.run(&both).expect(0);
    assert!(folder.read("both.svg").contains("&lt;b&gt;two"));
    let png = ["plot", "one", "<b>two", "--output", "both.png"];
    let ended = folder.run(&png);
    ended.expect(0);
    assert!(ended.stderr.contains("the picture in both.png, "), "{ended}");
    assert!(fs::read(folder.path().join("both.png")).unwrap().starts_with(b"\x89PNG"));
    folder.run(&png).expect_with(3, "it is there already");
    folder
        .run(&["plot", "one", "--metric", "mae", "--output", "x.svg"])
        .expect_with(2, "found no values of it; wanted one of accuracy, loss, validation_accuracy");
    folder.run(&["plot", "one", "--output", "x.gif"]).expect_with(2, "ends in .svg or .png");
    folder.run(&["plot", "one", "--output", "one/x.svg"]).expect_with(3, "run folder");
}
