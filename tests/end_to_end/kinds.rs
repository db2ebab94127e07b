//! A mixed table: numbers, truth values, categories and dates, without a word in the job. One model on every cluster, what
//! `check` says of it, and tables that differ from the training's.

use serde_json::Value;

use crate::folder::{Folder, edited};
use crate::resume::killed_after;

/// Every 450th row of the diamonds of ggplot2.
const DIAMONDS: &str = include_str!("diamonds.csv");

const JOB: &str = r#"
name = "diamonds"
seed = 7
[data]
train = "train.csv"
target = "price"
scale = "standard"
missing = "median"
validation = { fraction = 0.2 }
[data.columns]
price = { scale = "standard", missing = "error" }
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 10
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "b77c84c07acb3a7d10ac3377c8a17fb446b068bb290451b794785fd5b1849f57";

/// The diamonds with a day of sale, whether they are certified, and some cells missing.
fn table() -> String {
    let mut lines = DIAMONDS.lines();
    let mut text = format!("{},sold,certified\n", lines.next().unwrap());
    for (row, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let color = if row % 11 == 4 { "" } else { cells[2] };
        let sold = format!("20{:02}-{:02}-{:02}", 15 + row % 7, 1 + row % 12, 1 + row * 5 % 28);
        let sold = if row % 13 == 6 { String::new() } else { sold };
        let certified = if row % 3 == 0 { "True" } else { "False" };
        let cells = [&cells[..2], &[color], &cells[3..], &[&sold, certified]].concat();
        text.push_str(&(cells.join(",") + "\n"));
    }
    text
}

fn folder_of(job: &str) -> Folder {
    Folder::new(&[("job.toml", job), ("train.csv", &table())])
}

#[test]
fn one_hash() {
    folder_of(JOB).expect_one_hash(HASH);
}

#[test]
fn killed_resumed_and_verified() {
    let job = edited(JOB, "epochs = 10", "epochs = 120");
    killed_after(&[30, 300], || folder_of(&edited(&job, "keep = 1000", "keep = 5")));
}

/// What was inferred is written down, and makes the same model.
#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let resolved = folder.read("run/job.toml");
    for line in [
        "\"clarity\" = { kind = \"category\", encoder = \"one_hot\", missing = \"category\" }",
        "\"sold\" = { kind = \"date\", encoder = \"date\", missing = \"median\" }",
        "\"certified\" = { scale = \"standard\", missing = \"median\" }",
    ] {
        assert!(resolved.contains(line), "{resolved}");
    }
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    assert_eq!(folder.read("again/model/model.json"), folder.read("run/model/model.json"));
    let model: Value = serde_json::from_str(&folder.read("run/model/model.json")).unwrap();
    assert_eq!(model["format"], 2);
}

#[test]
fn check_says_what_each_column_is_and_why() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    for (name, wanted) in [
        ("carat", &["number", "standard", "numbers"][..]),
        ("cut", &["category", "Fair", "Very Good", "one_hot, 5 inputs", "texts"]),
        ("color", &["category", "one_hot, 8 inputs; missing: a category", "texts"]),
        ("sold", &["date", "2015-", "date, 4 inputs; missing: median", "dates as YYYY-MM-DD"]),
        ("certified", &["boolean", "standard", "truth values"]),
    ] {
        let is_row = |line: &&str| line.trim_start().starts_with(&format!("{name} "));
        let row = ended.stdout.lines().find(is_row).unwrap_or_else(|| panic!("{ended}"));
        assert!(wanted.iter().all(|wanted| row.contains(wanted)), "{row}");
    }
    let facts = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let facts: Value = serde_json::from_str(facts.stdout.trim()).unwrap();
    let cut = &facts["tables"][0]["features"][1];
    assert_eq!((&cut["kind"], &cut["why"]), (&"category".into(), &"texts".into()));
}

/// Columns in another order, more of them, and categories that training never saw.
#[test]
fn other_tables() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let row = "2016-05-04,True,55,61.5,SI1,E,CUT,0.3,4.2,4.3,2.6,x,400";
    let header = "sold,certified,table,depth,clarity,color,cut,carat,x,y,z,note,price";
    let rows = [row.replace("CUT", "Ideal"), row.replace("CUT", "Round"), row.replace("CUT", "")];
    folder.write("other.csv", &format!("{header}\n{}\n", rows.join("\n")));
    let warning =
        "warning: feature \"cut\": 1 row has a category that no training row has (\"Round\")";
    let predicted = folder.run(&["predict", "run", "--data", "other.csv", "--output", "-"]);
    predicted.expect_with(0, warning);
    let values: Vec<&str> = predicted.stdout.lines().skip(1).collect();
    // No training row lacks the cut: a missing one is as one that was never seen.
    assert_eq!((values.len(), values[1]), (3, values[2]), "{predicted}");
    assert_ne!(values[0], values[1]);
    folder.run(&["evaluate", "run", "--data", "other.csv"]).expect_with(0, warning);
    folder.write("few.csv", &format!("{header}\n{row}\n").replace("carat,", "karat,"));
    let refused = folder.run(&["predict", "run", "--data", "few.csv", "--output", "-"]);
    refused.expect_with(
        3,
        "found no column \"carat\", a feature of the model; the nearest is \"karat\"",
    );
    folder.write("text.csv", &format!("{header}\n{}\n", rows[0].replace("61.5", "deep")));
    let refused = folder.run(&["predict", "run", "--data", "text.csv", "--output", "-"]);
    refused.expect_with(
        3,
        "column 4 (depth): found \"deep\", wanted a number; the model was trained with numbers",
    );
}
