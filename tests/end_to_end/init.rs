//! `init`: a table in, a job out that trains as it is and that `check` has nothing to say of.

use serde_json::Value;

use crate::folder::Folder;

/// Every 450th row of the diamonds of ggplot2.
const DIAMONDS: &str = include_str!("diamonds.csv");

/// A number without a pattern, from 0 to 1.
fn noise(row: usize) -> f64 {
    (((row as f64 + 1.0) * 12.9898).sin() * 43_758.547).rem_euclid(1.0)
}

fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{header}\n{}\n", rows.join("\n"))
}

/// Texts of two classes, with holes, an index without a name, and columns that teach nothing.
fn classes() -> String {
    table(",size,color,const,answer,class", 240, |row| {
        let is_large = noise(row) > 0.5;
        let size = if row % 9 == 4 { String::new() } else { noise(row).to_string() };
        let class = if is_large { "large" } else { "small" };
        let color = ["red", "green", "blue"][row % 3];
        format!("{row},{size},{color},1,{},{class}", u8::from(is_large))
    })
}

/// The last value of a run's figures of this name.
fn last(folder: &Folder, run: &str, name: &str) -> f64 {
    let text = folder.read(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<f64> = lines.filter_map(|line| line[name].as_f64()).collect();
    *found.last().unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Writes a job for a table, checks it, and trains it as it is.
fn trained(folder: &Folder, arguments: &[&str]) {
    let ended = folder.run(&[&["init"], arguments].concat());
    ended.expect(0);
    assert!(ended.stdout.contains("lockstep local job.toml --workers 4"), "{ended}");
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(!checked.stdout.contains("warning:"), "{checked}");
    folder.run(&["--quiet", "local", "job.toml", "--workers", "2", "--out", "run"]).expect(0);
}

/// The table of examples/diamonds, compressed: a job that `check` has nothing to say of.
#[test]
fn the_diamonds_example_needs_nothing_more() {
    let folder = Folder::new(&[]);
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/diamonds/diamonds.csv.gz");
    std::fs::copy(table, folder.path().join("diamonds.csv.gz")).unwrap();
    folder.run(&["init", "diamonds.csv.gz", "--target", "price"]).expect(0);
    let checked = folder.run(&["check", "job.toml"]);
    checked.expect(0);
    assert!(!checked.stdout.contains("warning:"), "{checked}");
    let job = folder.read("job.toml");
    assert!(job.contains("clarity = { encoder = \"embedding\", dimension = 3 }"), "{job}");
}

/// A price in another currency, rounded, is told of and left in.
#[test]
fn a_column_that_nearly_gives_the_target_away_is_told_of() {
    let csv = table("size,euros,price", 200, |row| {
        let price = 1e5 + 4e5 * noise(row) + 1e5 * noise(row + 300);
        format!("{},{:.0},{price:.2}", noise(row), 0.9 * price / 1e4)
    });
    let folder = Folder::new(&[("homes.csv", &csv)]);
    for (arguments, what) in [(["init", "homes.csv"], "column"), (["check", "job.toml"], "feature")]
    {
        let ended = folder.run(&arguments);
        ended.expect(0);
        let wanted = "\"euros\" nearly gives target \"price\" away: a straight line of it leaves ";
        assert!(ended.stdout.contains(&format!("{what} {wanted}")), "{ended}");
        assert!(!ended.stdout.contains("\"size\""), "{ended}");
    }
}

#[test]
fn numbers_are_learned_from_a_mixed_table() {
    let folder = Folder::new(&[("diamonds.csv", DIAMONDS)]);
    trained(&folder, &["diamonds.csv"]);
    // A constant guess has 0.
    assert!(last(&folder, "run", "test_r2") > 0.8);
    let job = folder.read("job.toml");
    assert!(job.contains("target = \"price\"  # by its name"), "{job}");
}

#[test]
fn classes_are_learned_and_what_gives_them_away_is_left_out() {
    let folder = Folder::new(&[("table.csv", &classes())]);
    trained(&folder, &["table.csv"]);
    assert!(last(&folder, "run", "test_accuracy") > 0.8);
    let job = folder.read("job.toml");
    for line in [
        "\"\" = { encoder = \"ignore\" }",
        "const = { encoder = \"ignore\" }",
        "answer = { encoder = \"ignore\" }",
        "size = { indicator = true }",
        "stratif",
    ] {
        assert_eq!(job.contains(line), line != "stratif", "{line}: {job}");
    }
}

#[test]
fn a_job_that_is_there_is_never_written_over() {
    let folder = Folder::new(&[("table.csv", &classes()), ("job.toml", "mine")]);
    let ended = folder.run(&["init", "table.csv"]);
    ended.expect_with(3, "job.toml: it is there already, and is not written over");
    assert!(ended.stderr.contains("--output"), "{ended}");
    assert_eq!(folder.read("job.toml"), "mine");
    folder.run(&["init", "table.csv", "--output", "other.toml"]).expect(0);
    folder.run(&["check", "other.toml"]).expect(0);
}

#[test]
fn what_the_options_say_is_what_is_written() {
    let folder = Folder::new(&[("table.csv", &classes()), ("test.csv", &classes())]);
    let options =
        ["init", "table.csv", "--target", "size", "--test", "test.csv", "--name", "sizes"];
    let ended = folder.run(&options);
    ended.expect(0);
    assert!(ended.stdout.contains("predict runs/sizes"), "{ended}");
    let job = folder.read("job.toml");
    for line in
        ["name = \"sizes\"", "test = \"test.csv\"", "target = \"size\"", "missing = \"drop\""]
    {
        assert!(job.contains(line), "{line}: {job}");
    }
    // Every row of the one table is in the other.
    folder.run(&["check", "job.toml"]).expect_with(0, "");
    let checked = folder.run(&["check", "job.toml"]);
    assert!(checked.stdout.contains("warning: test table:"), "{checked}");
    folder
        .run(&["init", "table.csv", "--target", "sise", "--output", "a.toml"])
        .expect_with(3, "found no column \"sise\", wanted by `--target`");
    let facts = folder.run(&["--log-format", "json", "init", "table.csv", "--output", "b.toml"]);
    let facts: Value = serde_json::from_str(facts.stdout.trim()).unwrap();
    assert_eq!(
        (&facts["event"], &facts["task"]),
        (&"initialized".into(), &"binary_classification".into())
    );
}

#[test]
fn a_folder_of_parts_has_its_job_beside_it() {
    let text = classes();
    let half = text.len() / 2 + text[text.len() / 2..].find('\n').unwrap() + 1;
    let header = text.lines().next().unwrap();
    let folder = Folder::new(&[]);
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    folder.write("parts/a.csv", &text[..half]);
    folder.write("parts/b.csv", &format!("{header}\n{}", &text[half..]));
    folder.run(&["init", "parts"]).expect(0);
    assert!(folder.read("job.toml").contains("train = \"parts\""));
    folder.run(&["check", "job.toml"]).expect(0);
}

/// With codes, days before months, decimal commas, and a number for missing cells.
#[test]
fn a_table_as_spreadsheets_write_it_trains() {
    let csv = table("zip;day;size;price", 400, |row| {
        let comma = |value: f64| format!("{value:.3}").replace('.', ",");
        let size = if row % 20 == 7 { "-999".to_string() } else { comma(noise(row)) };
        let price = comma(100.0 * noise(row) + 50.0 * (row % 3) as f64);
        let zip = [501, 2_134, 10_001][row % 3];
        format!("{zip:05};{:02}/{:02}/2024;{size};{price}", row % 28 + 1, row % 12 + 1)
    });
    let folder = Folder::new(&[("homes.csv", &csv)]);
    trained(&folder, &["homes.csv"]);
    let job = folder.read("job.toml");
    for line in ["decimal = \",\"", "missing_values = [\"-999\", \"-999.0\""] {
        assert!(job.contains(line), "{job}");
    }
    let checked = folder.run(&["check", "job.toml"]).stdout;
    for why in ["codes: 3 different values", "dates as DD/MM/YYYY"] {
        assert!(checked.contains(why), "{checked}");
    }
    assert!(last(&folder, "run", "test_r2") > 0.5);
}
