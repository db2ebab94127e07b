//! `verify`: whoever has the tables finds out whether the weights are those that the run wrote down.

use serde_json::Value;

use crate::bad_job;
use crate::folder::{Folder, edited};
use crate::journal::journal;
use crate::process::Ended;
use crate::resume::run_and_kill;

const JOB: &str = r#"
name = "verified"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
test = { fraction = 0.1 }
scale = "standard"
[model]
loss = "mse"
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 10
batch_size = 10
gradient_clip_norm = 5.0
[checkpoint]
every_steps = 4
keep = 1000
[journal]
every_steps = 5
"#;

/// 100 rows, less 10 and 18: 8 steps an epoch, the last of 2 rows.
const STEPS: u64 = 80;

fn trained() -> Folder {
    trained_by(JOB)
}

fn trained_by(job: &str) -> Folder {
    let folder = Folder::with_table(job, "boston-relu-adam-mse", 100);
    folder.train_into("run");
    folder
}

fn verify(folder: &Folder, arguments: &[&str]) -> Ended {
    folder.run(&[&["verify", "run"], arguments].concat())
}

/// That it agrees and says this, and leaves everything as it was.
#[track_caller]
fn agrees(folder: &Folder, arguments: &[&str], from: &str, result: &str) {
    let before = folder.files();
    let ended = verify(folder, arguments);
    ended.expect_with(0, &format!(", from {from}\n"));
    assert_eq!(ended.stdout, format!("{result}\n"), "{ended}");
    assert_eq!(folder.files(), before, "{ended}");
}

/// Changes the hash that the journal has of a step; the one it had.
fn alter(folder: &Folder, step: u64) -> String {
    let lines = journal(folder);
    let line = lines.iter().find(|line| line["step"] == step).unwrap();
    let hash = line["weights_blake3"].as_str().unwrap();
    let text = folder.read("run/journal.jsonl");
    folder.write("run/journal.jsonl", &edited(&text, hash, &"0".repeat(64)));
    hash.to_string()
}

#[test]
fn a_good_run() {
    let folder = trained();
    let hashes = journal(&folder).len();
    // Every 5 steps and every 8.
    assert_eq!(hashes, 16 + 10 - 2);
    let beginning = "the beginning";
    agrees(&folder, &[], beginning, "steps 1 to 80 agree (24 hashes compared)");
    let arguments = ["--steps", "..20", "--threads", "3"];
    agrees(&folder, &arguments, beginning, "steps 1 to 20 agree (6 hashes compared)");
    let quiet = verify(&folder, &["--quiet"]);
    quiet.expect(0);
    let result = "steps 1 to 80 agree (24 hashes compared)\n";
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), (result, ""));
    let one = verify(&folder, &["--quiet", "--steps", "5"]);
    one.expect(0);
    assert_eq!(one.stdout, "step 5 agrees (1 hash compared)\n");
    let json = folder.run(&["--log-format", "json", "verify", "run", "--steps", "9.."]);
    json.expect(0);
    let last: Value = serde_json::from_str(&json.stdout).unwrap();
    let fields = ["event", "first", "last", "hashes"].map(|key| last[key].to_string());
    assert_eq!(fields, ["\"verified\"", "9", "80", "22"]);
}

/// The run's checkpoints: steps and files. Which steps have one depends on how fast they are written.
fn checkpoints(folder: &Folder) -> Vec<(u64, std::path::PathBuf)> {
    let entries = std::fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
    let checkpoint = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name["step-".len()..].split('.').next().unwrap().parse().unwrap(), entry.path())
    };
    entries.map(checkpoint).collect()
}

/// Where a verification from this step on starts.
fn start_before(folder: &Folder, first: u64) -> String {
    let steps = checkpoints(folder).into_iter().map(|(step, _)| step);
    match steps.filter(|&step| step < first).max() {
        Some(step) => format!("the checkpoint at step {step}"),
        None => "the beginning".to_string(),
    }
}

#[test]
fn from_a_checkpoint() {
    let folder = trained();
    assert_ne!(start_before(&folder, 57), "the beginning");
    for (steps, first, result) in [
        ("50..60", 50, "steps 50 to 60 agree (4 hashes compared)"),
        ("56", 56, "step 56 agrees (1 hash compared)"),
        ("57..", 57, "steps 57 to 80 agree (7 hashes compared)"),
        ("80", 80, "step 80 agrees (1 hash compared)"),
        ("77..9999", 77, "steps 77 to 80 agree (1 hash compared)"),
    ] {
        agrees(&folder, &["--steps", steps], &start_before(&folder, first), result);
    }
}

/// A checkpoint is looked at as well where the journal has its step.
#[test]
fn a_checkpoint_that_differs() {
    let folder = trained_by(&edited(JOB, "every_steps = 5", "every_steps = 1"));
    let from = start_before(&folder, 80);
    let step: u64 = from.rsplit_once(' ').unwrap().1.parse().unwrap();
    let hash = alter(&folder, step);
    let says = format!(
        "error: step {step} differs: the checkpoint's weights have hash {hash}, the journal says 0000"
    );
    verify(&folder, &["--steps", "80"]).expect_with(8, &says);
}

#[test]
fn a_step_that_differs() {
    let folder = trained();
    // One of that very step would be found to differ itself, before the steps after it.
    for (_, file) in checkpoints(&folder).into_iter().filter(|(step, _)| *step == 25) {
        std::fs::remove_file(file).unwrap();
    }
    let hash = alter(&folder, 25);
    let zeros = "0".repeat(64);
    let differs = format!(
        "error: step 25 differs: the journal says {zeros}, this machine computed {hash}; the last step that agrees is "
    );
    verify(&folder, &[]).expect_with(8, &format!("{differs}24\n"));
    verify(&folder, &["--steps", "20..40"]).expect_with(8, &format!("{differs}24\n"));
    let first = verify(&folder, &["--steps", "25"]);
    first.expect_with(8, "; no step before it was compared\n");
    // What comes before and after is as it was.
    agrees(
        &folder,
        &["--steps", "1..24"],
        "the beginning",
        "steps 1 to 24 agree (7 hashes compared)",
    );
    let from = start_before(&folder, 29);
    agrees(&folder, &["--steps", "29..40"], &from, "steps 29 to 40 agree (4 hashes compared)");
}

#[test]
fn other_things_that_differ() {
    let folder = trained();
    let (text, manifest) = (folder.read("run/journal.jsonl"), folder.read("run/manifest.json"));
    folder.write("run/manifest.json", &edited(&manifest, &folder.hash(), &"1".repeat(64)));
    let ended = verify(&folder, &["--steps", "70.."]);
    ended.expect_with(8, "error: step 80 differs: the manifest says 1111");
    assert!(ended.stderr.contains("; the last step that agrees is 75\n"), "{ended}");
    folder.write("run/manifest.json", &manifest);
    folder.write(
        "run/journal.jsonl",
        &edited(&text, "\"rows\":50,\"rows_total\":50,", "\"rows\":49,\"rows_total\":50,"),
    );
    let says = "step 5 differs: the journal says 49 rows in epoch 1, 50 in all, this machine counted 50 rows";
    verify(&folder, &["--steps", "1..10"]).expect_with(8, says);
    folder.write("run/journal.jsonl", &text);
}

#[test]
fn nothing_to_compare() {
    let folder = trained();
    for (steps, message) in [
        (
            "11..14",
            "no step from 11 to 14 is in the journal, which goes from step 5 to 80; the nearest there: 10 and 15",
        ),
        (
            "81..",
            "no step from 81 on is in the journal, which goes from step 5 to 80; the nearest there: 80",
        ),
        (
            "49",
            "step 49 is not in the journal, which goes from step 5 to 80; the nearest there: 48 and 50",
        ),
    ] {
        verify(&folder, &["--steps", steps]).expect_with(3, message);
    }
    for (steps, message) in [
        ("9..3", "it ends before it begins: wanted A..B, A.., ..B or N"),
        ("0..3", "there is no step 0"),
        ("some", "\"some\" is no step"),
        ("..", "it names no step"),
    ] {
        verify(&folder, &["--steps", steps]).expect_with(2, message);
    }
    folder.run(&["verify", "elsewhere"]).expect_with(3, "is this a run folder?");
    let text = folder.read("run/journal.jsonl");
    let next = (STEPS + 1).to_string();
    folder.write(
        "run/journal.jsonl",
        &edited(&text, "{\"step\":80,", &format!("{{\"step\":{next},")),
    );
    verify(&folder, &[]).expect_with(3, "journal.jsonl: it has step 81, but the job ends at 80");
    folder.write("run/journal.jsonl", &edited(&text, "{\"step\":5,", "{\"stop\":5,"));
    verify(&folder, &[]).expect_with(3, "journal.jsonl: line 1 is damaged: ");
    folder.write("run/journal.jsonl", "");
    verify(&folder, &["--steps", "..70"])
        .expect_with(3, "no step from 1 to 70 is in the journal: it is empty");
}

#[test]
fn a_table_that_has_changed() {
    let folder = trained();
    let table = folder.read("train.csv");
    let (all, _) = table.trim_end().rsplit_once(',').unwrap();
    folder.write("train.csv", &format!("{all},77\n"));
    let ended = verify(&folder, &[]);
    ended.expect_with(
        3,
        "cannot verify: the tables have changed since the run began: their data_blake3 is ",
    );
    std::fs::remove_file(folder.path().join("train.csv")).unwrap();
    verify(&folder, &[]).expect_with(3, "train.csv: ");
    folder.write("train.csv", &table);
    let job = folder.read("run/job.toml");
    folder.write("run/job.toml", &edited(&job, "units = 8", "units = 9"));
    verify(&folder, &[]).expect_with(3, "makes other initial weights than the run began with");
}

#[test]
fn a_killed_run() {
    let folder = crate::resume::folder();
    run_and_kill(&folder, 50);
    let text = folder.read("run/journal.jsonl") + "{\"step\":123456,\"weig";
    folder.write("run/journal.jsonl", &text);
    let lines: Vec<&str> = text.lines().collect();
    let last: Value = serde_json::from_str(lines[lines.len() - 2]).unwrap();
    let result = format!("steps 1 to {} agree ({} hashes compared)", last["step"], lines.len() - 1);
    agrees(&folder, &[], "the beginning", &result);
}

#[test]
fn a_run_that_diverged() {
    let folder = bad_job::small();
    let job = edited(bad_job::JOB, "0.001", "1e20") + "[journal]\nevery_steps = 1\n";
    folder.write("job.toml", &job);
    folder.run(&["--quiet", "local", "job.toml", "--out", "run"]).expect(4);
    agrees(&folder, &[], "the beginning", "step 1 agrees (1 hash compared)");
}

/// What the cluster that trained had to be is nothing that this machine has to be.
#[test]
fn a_run_of_many_workers_is_verified_by_one() {
    let job = format!("{JOB}[cluster]\nworkers_min = 2\naudit_fraction = 0.5\n");
    let folder = trained_by(&job);
    agrees(&folder, &[], "the beginning", "steps 1 to 80 agree (24 hashes compared)");
    let few = folder.run(&["local", "job.toml", "--workers", "1", "--out", "other"]);
    few.expect_with(2, "--workers 1 is less than the job's cluster.workers_min, 2");
}

/// Lines that should be there and are not.
#[test]
fn a_journal_with_gaps() {
    let folder = trained();
    let text = folder.read("run/journal.jsonl");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |left_out: &dyn Fn(usize) -> bool| {
        let kept = lines.iter().enumerate().filter(|(place, _)| !left_out(*place));
        kept.map(|(_, line)| *line).collect::<String>()
    };
    for (altered, message) in [
        (
            String::new(),
            "journal.jsonl: 24 of the 24 lines are missing that the run was to write from step 1 to 80, the \
                         first that of step 5",
        ),
        (without(&|place| place == 3), "1 of the 24 line is missing"),
        (without(&|place| place > 9), "14 of the 24 lines are missing"),
        (without(&|place| place == 23), "the first that of step 80"),
        (text.clone() + lines[23], "line 25 is damaged: step 80 comes after step 80"),
        (lines[1].to_string() + lines[0], "line 2 is damaged: step 5 comes after step 8"),
        (
            text.clone() + &lines[23].replace("\"step\":80", "\"step\":90"),
            "it has step 90, but the job ends at 80",
        ),
    ] {
        folder.write("run/journal.jsonl", &altered);
        verify(&folder, &[]).expect_with(3, message);
    }
    // What is there can be verified.
    folder.write("run/journal.jsonl", &without(&|place| place > 9));
    let last = "steps 1 to 32 agree (10 hashes compared)";
    agrees(&folder, &["--steps", "..32"], "the beginning", last);
}

/// A run that went on with another cadence has the lines of both.
#[test]
fn a_journal_whose_cadence_changed() {
    let folder = trained();
    let job = edited(JOB, "[journal]\nevery_steps = 5", "[journal]\nevery_steps = 3");
    folder.write("job.toml", &edited(&job, "epochs = 10", "epochs = 12"));
    folder.run(&["--quiet", "local", "job.toml", "--out", "run", "--resume"]).expect(0);
    // Of steps 81 to 96: 81, 84, 87, 88, 90, 93, 96.
    agrees(&folder, &[], "the beginning", "steps 1 to 96 agree (31 hashes compared)");
}

/// The model that is used has to be the one that is verified.
#[test]
fn a_model_of_another_step() {
    let folder = trained();
    let last = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let job = edited(JOB, "epochs = 10", "epochs = 11");
    folder.write("job.toml", &job);
    folder.run(&["--quiet", "local", "job.toml", "--out", "run", "--resume"]).expect(0);
    agrees(&folder, &["--steps", "..8"], "the beginning", "steps 1 to 8 agree (2 hashes compared)");
    folder.write("run/model/weights.safetensors", &last);
    let says = "error: model/weights.safetensors is of step 80 and has hash ";
    verify(&folder, &["--steps", "..8"]).expect_with(8, says);
    let says = "weights.safetensors: damaged: the hash of its weights is ";
    folder.run(&["evaluate", "run", "--data", "train.csv"]).expect_with(3, says);
}
