//! What people see on a terminal: epochs above a bar while the training goes on, and what was measured at its end.

use crate::bad_job::{JOB, small};
use crate::folder::{Folder, edited};
use crate::process::lockstep;
use crate::pty::{Seen, on_a_terminal};

/// With validation and a metric, and as many epochs.
fn folder(epochs: u32) -> Folder {
    let folder = small();
    let job = edited(JOB, "epochs = 2", &format!("epochs = {epochs}"));
    let job = edited(&job, "loss = \"mse\"", "loss = \"mse\"\nmetrics = [\"mae\"]");
    let job = edited(&job, "test = ", "validation = \"test.csv\"\ntest = ");
    folder.write("job.toml", &job);
    folder
}

fn train(folder: &Folder, columns: u16) -> Seen {
    let arguments = ["local", "job.toml", "--workers", "1", "--threads", "1", "--out", "run"];
    on_a_terminal(lockstep(folder.path(), &arguments), columns)
}

fn epochs(seen: &Seen) -> Vec<&String> {
    seen.lines.iter().filter(|line| line.starts_with("epoch ")).collect()
}

#[track_caller]
fn measured(folder: &Folder, columns: u16) {
    let seen = train(folder, columns);
    let text = seen.lines.join("\n");
    for (line, epoch) in epochs(&seen).iter().zip(1..) {
        let names: Vec<&str> = line.split(['/', ' ']).collect();
        assert_eq!(names[..3], ["epoch", &epoch.to_string(), "3:"], "{text}");
        let values = ["loss", "mae", "validation_loss", "validation_mae", "validation_mse"];
        assert!(values.iter().all(|name| names.contains(name)), "{text}");
    }
    assert_eq!(epochs(&seen).len(), 3, "{text}");
    let hash = format!("weights_blake3 {}", folder.hash());
    let at = seen.lines.iter().position(|line| *line == hash);
    let at = at.unwrap_or_else(|| panic!("no {hash:?} in\n{text}"));
    let result = &seen.lines[at - 5..];
    assert!(result[0].starts_with("small: 3 epochs, 6 steps in "), "{text}");
    assert_eq!(result[1].split_whitespace().collect::<Vec<_>>(), ["loss", "mae"], "{text}");
    for (line, table) in result[2..5].iter().zip(["training", "validation", "test"]) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((cells.len(), cells[0]), (3, table), "{text}");
        assert!(cells[1..].iter().all(|cell| cell.parse::<f64>().is_ok()), "{text}");
    }
    // Of the bar, nothing is left.
    assert_eq!(result[6..], ["run folder run"], "{text}");
    assert!(!text.contains("rows/s, "), "{text}");
}

#[test]
fn epochs_and_measures_are_shown() {
    for columns in [80, 200, 30] {
        measured(&folder(3), columns);
    }
}

/// There is a bar, which says how far it is; where there is no room for one, it says so in words, on one line.
#[test]
fn there_is_a_bar() {
    for (columns, has_bar) in [(80, true), (40, false)] {
        let seen = train(&folder(3), columns);
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        assert!(text.contains("epoch 1/3 ") && text.contains("loss "), "{text}");
        assert_eq!(text.contains("1/6 "), has_bar, "{text}");
    }
}

/// Of a hundred epochs about twenty are shown, on a terminal and elsewhere.
#[test]
fn not_every_epoch_of_many() {
    let folder = folder(100);
    let seen = train(&folder, 80);
    let numbers = |lines: &[&String]| -> Vec<u32> {
        let number = |line: &&String| line["epoch ".len()..].split('/').next()?.parse().ok();
        lines.iter().filter_map(number).collect()
    };
    let mut wanted: Vec<u32> = (1..=20).map(|at| at * 5).collect();
    wanted.insert(0, 1);
    assert_eq!(numbers(&epochs(&seen)), wanted);
    let plain = folder.run(&["local", "job.toml", "--out", "again"]);
    plain.expect(0);
    let lines: Vec<String> = plain
        .stderr
        .lines()
        .filter_map(|line| Some(line.split_once("Z epoch ")?.1))
        .filter(|rest| rest.contains(": loss ") && !rest.contains(" step "))
        .map(|rest| format!("epoch {rest}"))
        .collect();
    assert_eq!(numbers(&lines.iter().collect::<Vec<_>>()), wanted, "{plain}");
}

/// What the README shows of its first example is what it prints, but for the times.
#[test]
fn the_readme_shows_what_is_printed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = Folder::new(&[]);
    let job = root.join("examples/boston/job.toml");
    let ended = folder.run(&["--quiet", "local", job.to_str().unwrap()]);
    ended.expect(0);
    let timeless = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines[0] = lines[0].split(" in ").next().unwrap().to_string();
        lines
    };
    assert_eq!(timeless(&ended.stdout), timeless(shown));
}
