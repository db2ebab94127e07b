//! Columns with a scale and a rule for missing cells of their own, and scaled targets: one model on every cluster, the same for
//! every way of saying it, and what cannot be said.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::bad_job;
use crate::folder::{Folder, edited};
use crate::resume::killed_after;

/// Every scale and every rule, on features and on targets.
pub(crate) const JOB: &str = r#"
name = "columns"
seed = 5
[data]
train = "train.csv"
test = "test.csv"
validation = { fraction = 0.2 }
target = ["price", "days"]
scale = "standard"
missing = "mean"
[data.columns]
size = { scale = "robust", missing = "median", indicator = true }
"net area" = { scale = { divide = 50 }, missing = { constant = 0 } }
year = { scale = "minmax", missing = "drop" }
train = { scale = "none", missing = "error" }
price = { scale = "standard" }
days = { scale = "robust", missing = "drop" }
[model]
loss = "mse"
metrics = ["mse", "mae", "rmse", "r2"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 2 }]
[train]
optimizer = "adam"
epochs = 10
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "ec5dc40b6f40ffb084b61c3442297cd9428530c81e8213afa431dcc07a5620b1";

/// Rows of a table of houses; the training table has missing cells.
fn table(rows: std::ops::Range<u32>, has_gaps: bool) -> String {
    let mut text = "train,size,net area,rooms,year,price,days\n".to_string();
    for row in rows {
        let gap = |every: u32, value: String| {
            if has_gaps && row % every == every / 2 { String::new() } else { value }
        };
        let (size, rooms) = (40 + row * 37 % 160, 1 + row * 13 % 7);
        let (year, price) = (1900 + row * 29 % 120, 150_000 + 3_000 * size + 40_000 * rooms);
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            f64::from(row % 3) / 2.0,
            gap(9, size.to_string()),
            gap(7, format!("{}.5", size * 4 / 5)),
            gap(11, rooms.to_string()),
            gap(13, year.to_string()),
            price + row * 7919 % 9001,
            gap(17, format!("{}", 10 + row * row % 83)),
        );
    }
    text
}

pub(crate) fn folder_of(job: &str) -> Folder {
    let (train, test) = (table(0..110, true), table(200..231, false));
    Folder::new(&[("job.toml", job), ("train.csv", &train), ("test.csv", &test)])
}

#[test]
fn one_hash() {
    folder_of(JOB).expect_one_hash(HASH);
}

#[test]
fn killed_and_resumed() {
    let job = edited(JOB, "epochs = 10", "epochs = 150");
    let job = edited(&job, "keep = 1000", "keep = 5");
    killed_after(&[30, 400], || folder_of(&job));
}

/// The run folder's job says of every column what is done to it, and is the same job.
#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let resolved = folder.read("run/job.toml");
    let wanted = r#"
[data.columns]
"days" = { scale = "robust", missing = "drop" }
"net area" = { scale = { divide = 50.0 }, missing = { constant = 0.0 } }
"price" = { scale = "standard", missing = "error" }
"rooms" = { scale = "standard", missing = "mean" }
"size" = { scale = "robust", missing = "median", indicator = true }
"train" = { scale = "none", missing = "error" }
"year" = { scale = "minmax", missing = "drop" }

[model]
"#;
    assert!(resolved.contains(wanted), "{resolved}");
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    assert_eq!(folder.read("again/model/model.json"), folder.read("run/model/model.json"));
    folder.run(&["verify", "run"]).expect_with(0, "verifying steps 1 to ");
    folder
        .run(&["verify", "run", "--steps", "50.."])
        .expect_with(0, "from the checkpoint at step ");
    // A column called `train` is no table's name, which may change.
    let other = edited(JOB, "train = { scale = \"none\"", "train = { scale = \"minmax\"");
    folder.write("job.toml", &other);
    let resume = folder.run(&["local", "job.toml", "--out", "run", "--resume"]);
    resume.expect_with(3, "it was `\"train\" = { scale = \"none\"");
    let later = folder.read("run/model/model.json").replacen("\"format\": 2", "\"format\": 4", 1);
    folder.write("run/model/model.json", &later);
    let refused = folder.run(&["predict", "run", "--data", "test.csv", "--output", "-"]);
    refused.expect_with(3, "written in format 4, this program reads up to 3: use a newer lockstep");
}

/// What is said of every column may be said of the table, and of some of them again: one hash, and one model.json, which is
/// what it was before columns could be told anything, so that earlier versions read it.
#[test]
fn the_same_said_in_two_ways() {
    let plain = edited(JOB, JOB.split("[data.columns]").nth(1).unwrap(), "\n");
    let rest = JOB.split("[model]").nth(1).unwrap();
    let plain = edited(&plain, "[data.columns]\n", &format!("[model]{rest}"));
    let said = |scale: &str, missing: &str, only: &[&str]| {
        let all = ["train", "size", "\"net area\"", "rooms", "year"]
            .iter()
            .filter(|name| only.is_empty() || only.contains(name));
        let columns: String = all
            .map(|name| format!("{name} = {{ scale = {scale}, missing = {missing} }}\n"))
            .collect();
        edited(&plain, "[model]", &format!("[data.columns]\n{columns}[model]"))
    };
    let job =
        |table: &str, job: &str| edited(job, "scale = \"standard\"\nmissing = \"mean\"\n", table);
    for (scale, missing) in [
        ("\"standard\"", "\"mean\""),
        ("\"robust\"", "\"median\""),
        ("{ divide = 3 }", "{ constant = 1 }"),
    ] {
        let drop = |job: &str| {
            // Targets may lack cells, too, which is said of them alone.
            let target = "days = { missing = \"drop\" }\n";
            match job.contains("[data.columns]\n") {
                true => edited(job, "[data.columns]\n", &format!("[data.columns]\n{target}")),
                false => edited(job, "[model]", &format!("[data.columns]\n{target}[model]")),
            }
        };
        let table = format!("scale = {scale}\nmissing = {missing}\n");
        let ways = [
            job(&table, &plain),
            job("", &said(scale, missing, &[])),
            job(&table, &said(scale, missing, &["size", "\"net area\""])),
        ];
        let made = ways.map(|way| {
            let folder = folder_of(&drop(&way));
            folder.train_into("run");
            (folder.hash(), folder.read("run/model/model.json"))
        });
        assert!(made.iter().all(|one| *one == made[0]), "{scale} {missing}");
        let model: Value = serde_json::from_str(&made[0].1).unwrap();
        // A target that drops rows while features are filled takes the form of columns.
        assert_eq!(model["format"], 2);
    }
    let complete = |job: &str| {
        let folder = folder_of(job);
        folder.write("train.csv", &table(0..110, false));
        folder.train_into("run");
        let model: Value = serde_json::from_str(&folder.read("run/model/model.json")).unwrap();
        (folder.hash(), model)
    };
    let (hash, model) = complete(&plain);
    assert_eq!(model["format"], 1);
    assert_eq!(model["schema"]["scale"], "standard");
    assert_eq!(complete(&job("", &said("\"standard\"", "\"mean\"", &[]))), (hash, model));
}

#[test]
fn check_says_what_is_done_to_every_column() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    let row = |name: &str| {
        let is_it = |line: &&str| line.trim_start().starts_with(name) && !line.contains(" table: ");
        ended.stdout.lines().find(is_it).unwrap_or_else(|| panic!("{ended}")).to_string()
    };
    for (name, becomes) in [
        ("train ", "as it is"),
        ("size ", "robust; missing: median "),
        ("size ", ", and an indicator"),
        ("net area ", "divide by 50; missing: 0"),
        ("rooms ", "standard; missing: mean "),
        ("year ", "minmax; missing: row dropped"),
        ("price ", "standard"),
        ("days ", "robust; missing: row dropped"),
        ("scale standard, missing mean", ", unless the column has its own"),
        ("network: 6 inputs", ", loss mse in units of the scaled targets"),
    ] {
        assert!(row(name).contains(becomes), "no {becomes:?} in {:?}", row(name));
    }
    // Targets are one below the other.
    let place = |name: &str, word: &str| row(name).find(word).unwrap();
    assert_eq!(place("price ", "standard"), place("target ", "becomes"));
    assert_eq!(place("days ", "robust"), place("target ", "becomes"));
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&checked["network"]["inputs"], &checked["network"]["loss_is_scaled"]),
        (&json!(6), &json!(true))
    );
    let train = &checked["tables"][0];
    assert_eq!(train["features"][1]["name"], "size");
    let becomes = &train["features"][1]["becomes"];
    assert_eq!((&becomes["scale"], &becomes["missing"]), (&json!("robust"), &json!("median")));
    assert_eq!((&becomes["indicator"], &becomes["width"]), (&json!(true), &json!(2)));
    assert!(becomes["fill"].is_number(), "{becomes}");
    assert_eq!(train["targets"][1]["becomes"]["scale"], "robust");
}

/// The command line sets a column, or a key of it; a name may need quotes.
#[test]
fn settings() {
    let folder = folder_of(JOB);
    let by_file = {
        let job = edited(JOB, "size = { scale = \"robust\"", "size = { scale = \"minmax\"");
        let job = edited(&job, "{ constant = 0 }", "{ constant = 3.5 }");
        folder_of(&edited(&job, "price = {", "rooms = { scale = \"none\" }\nprice = {")).train(1, 1)
    };
    let set = [
        "data.columns.size.scale=minmax",
        "data.columns.\"net area\".missing={ constant = 3.5 }",
        "data.columns.rooms={ scale = \"none\" }",
    ];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
    folder.run(&[&["--quiet", "local", "job.toml", "--out", "run"][..], &set].concat()).expect(0);
    assert_eq!(folder.hash(), by_file);
    let refused =
        folder.run(&["check", "job.toml", "--set", "data.columns.\"net area\".scale=robst"]);
    refused.expect_with(
        3,
        "error: --set data.columns.\"net area\".scale=robst: `data.columns.\"net area\".scale`: found \"robst\", did you mean \
         `robust`? There are: none, standard, minmax, robust, log1p, quantile\n",
    );
}

#[test]
fn what_cannot_be_said() {
    for (columns, message) in [
        (
            "a = 3",
            "job.toml:9:5: `data.columns.a`: found 3, wanted a table, as in `price = { scale",
        ),
        ("a = \"robust\"", "job.toml:9:5: `data.columns.a`: found \"robust\", wanted a table"),
        (
            "a = { scal = 1 }",
            "job.toml:9:7: unknown key `data.columns.a.scal`, did you mean `scale`?",
        ),
        ("a = { normalize = 1 }", "unknown key `data.columns.a.normalize`, did you mean `scale`?"),
        ("a = { epochs = 1 }", "unknown key `data.columns.a.epochs`: wanted `epochs` in [train]"),
        (
            "\"net a\" = { scale = \"robsut\" }",
            "`data.columns.\"net a\".scale`: found \"robsut\", did you mean `robust`? There are: none, standard, minmax, robust, log1p, quantile",
        ),
        (
            "a = { scale = 2 }",
            "job.toml:9:15: `data.columns.a.scale`: found 2, wanted a text in quotes",
        ),
        ("a = { scale = {} }", "`data.columns.a.scale.divide` is missing"),
        (
            "a = { scale = { divide = -1 } }",
            "`data.columns.a.scale.divide`: found -1, wanted a number above 0",
        ),
        (
            "a = { scale = \"divide\" }",
            "`data.columns.a.scale`: found \"divide\", wanted one of: none, standard",
        ),
        (
            "a = { missing = \"medain\" }",
            "`data.columns.a.missing`: found \"medain\", did you mean `median`? There are: error, mean, median, drop",
        ),
        (
            "a = { missing = { constant = nan } }",
            "`data.columns.a.missing.constant`: found nan, wanted a number",
        ),
        (
            "a = { missing = { value = 1 } }",
            "unknown key `data.columns.a.missing.value`, wanted one of: constant",
        ),
        ("a = { indicator = 1 }", "`data.columns.a.indicator`: found 1, wanted true or false"),
        (
            "a = { indicator = true }",
            "data.columns.a: found `indicator = true` where no missing cell is filled; set",
        ),
        (
            "c = {}",
            "train.csv: found no column \"c\", wanted by `data.columns`; the file has \"a\", \"b\", \"y\"",
        ),
        (
            "A = {}",
            "train.csv: found no column \"A\", wanted by `data.columns`; the nearest is \"a\"",
        ),
        (
            "y = { missing = \"mean\" }",
            "data.columns.y: found a rule that fills a target's missing cells, wanted",
        ),
        ("y = { indicator = true }", "data.columns.y: found an indicator for a target"),
    ] {
        let folder = bad_job::small();
        let job = edited(bad_job::JOB, "\n[model]", &format!("[data.columns]\n{columns}\n[model]"));
        folder.write("job.toml", &edited(&job, "features = [\"a\", \"b\"]\n", ""));
        bad_job::refused(&folder, message);
    }
    let folder = bad_job::small();
    let job = edited(
        bad_job::JOB,
        "[\"a\", \"b\"]",
        "[\"a\"]\n[data.columns]\nb = { scale = \"robust\" }",
    );
    folder.write("job.toml", &job);
    bad_job::refused(
        &folder,
        "data.columns.b: found a column that is neither a feature nor a target; add it to",
    );
}

/// The same columns by their names in an NPY file.
#[test]
fn arrays_have_columns_too() {
    let rows = 0..48;
    let x = |row: u32| [f64::from(row * 37 % 101), 1e6 + f64::from(row * 53 % 97)];
    let y = |row: u32| 1e5 + x(row)[0] * 300.0;
    let job = |train: &str, target: &str, a: &str| {
        format!(
            "seed = 3\n[data]\ntrain = {train}\ntarget = \"{target}\"\nmissing = \"median\"\n[data.columns]\n\
             {a} = {{ scale = \"robust\", indicator = true }}\n{target} = {{ scale = \"standard\" }}\n[model]\n\
             loss = \"mse\"\nlayers = [{{ type = \"dense\", units = 1 }}]\n[train]\noptimizer = \"adam\"\nepochs = 2\n\
             batch_size = 8\n"
        )
    };
    let gap = |row: u32| row % 5 == 2;
    let csv = Folder::new(&[("job.toml", &job("\"t.csv\"", "target", "0"))]);
    let cell = |row: u32| if gap(row) { String::new() } else { x(row)[0].to_string() };
    let line = |row| format!("{},{},{}\n", cell(row), x(row)[1], y(row));
    csv.write("t.csv", &format!("0,1,target\n{}", rows.clone().map(line).collect::<String>()));
    let npy = Folder::new(&[(
        "job.toml",
        &job("{ features = \"x.npy\", target = \"y.npy\" }", "target", "0"),
    )]);
    let features = rows.clone().flat_map(|row| {
        let [a, b] = x(row);
        [if gap(row) { f64::NAN } else { a }, b]
    });
    let file = |shape: &str, values| crate::npy::npy("'<f8'", shape, &crate::npy::doubles(values));
    fs::write(npy.path().join("x.npy"), file("(48, 2)", features.collect::<Vec<_>>())).unwrap();
    fs::write(npy.path().join("y.npy"), file("(48,)", rows.map(y).collect())).unwrap();
    assert_eq!(csv.train(2, 1), npy.train(1, 2));
}
