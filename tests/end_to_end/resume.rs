//! A run whose coordinator dies goes on from its checkpoints to the same weights and the same records.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::failpoints::SLOW;
use crate::folder::Folder;
use crate::lifecycle::kill_cluster;
use crate::process::{Ended, Process, lockstep};

pub(crate) const JOB: &str = r#"
name = "resumed"
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 400
batch_size = 10
[checkpoint]
every_steps = 7
keep = 3
"#;

pub(crate) const RESUME: [&str; 8] =
    ["--log-format", "json", "local", "job.toml", "--workers", "2", "--out", "run"];

pub(crate) fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 100)
}

/// The records without the times.
pub(crate) fn records(folder: &Folder) -> Vec<String> {
    let text = folder.read("run/metrics.jsonl");
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds");
        line.to_string()
    });
    lines.collect()
}

pub(crate) fn undisturbed() -> (String, Vec<String>) {
    let folder = folder();
    folder.run(&["--quiet", "local", "job.toml", "--workers", "1", "--out", "run"]).expect(0);
    (folder.hash(), records(&folder))
}

/// Starts the job with `--resume`, with something happening at a failure point.
fn start_with(folder: &Folder, failpoint: &str) -> Process {
    let mut command = lockstep(folder.path(), &[&RESUME[..], &["--resume"]].concat());
    command.env("FAILPOINTS", failpoint);
    Process::start(command)
}

/// Starts the job with `--resume`, and kills the launcher, so everything, when a step as late as `step` is told. However
/// slow the disk is, no checkpoint is left out; however fast steps are, the run is met before its end.
pub(crate) fn run_and_kill(folder: &Folder, step: u64) {
    let launcher = start_with(folder, &format!("checkpoint:handed=return(full);{SLOW}"));
    launcher.report("progress", |report| report["step"].as_u64().unwrap() > step);
    kill_cluster(launcher);
}

/// Kills the job's run after each of these steps, has it go on to its end, and holds that against a run that nothing disturbed;
/// it verifies, too.
#[track_caller]
pub(crate) fn killed_after(steps: &[u64], folder_of_job: impl Fn() -> Folder) -> Folder {
    let (folder, undisturbed) = (folder_of_job(), folder_of_job());
    steps.iter().for_each(|&step| run_and_kill(&folder, step));
    let ended = folder.run(&[&RESUME[..], &["--resume"]].concat());
    ended.expect_with(0, "continuing after step ");
    let alone = ["--quiet", "local", "job.toml", "--workers", "1", "--out", "run"];
    undisturbed.run(&alone).expect(0);
    let job = folder.read("job.toml");
    assert_eq!(folder.hash(), undisturbed.hash(), "{job}");
    assert_eq!(records(&folder), records(&undisturbed), "{job}");
    folder.run(&["verify", "run"]).expect(0);
    folder
}

fn checkpoints(folder: &Folder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("run/checkpoints")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths
}

#[test]
fn killed_again_and_again() {
    let folder = folder();
    for step in [20, 200, 500] {
        run_and_kill(&folder, step);
    }
    let ended = folder.run(&[&RESUME[..], &["--resume"]].concat());
    ended.expect_with(0, "continuing after step ");
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
    assert_eq!(checkpoints(&folder).len(), 3);
    let again = folder.run(&[&RESUME[..], &["--resume"]].concat());
    again.expect_with(0, "the run is already finished");
}

#[test]
fn workers_find_a_coordinator_that_comes_back() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let workers = [(); 2].map(|()| folder.worker(&address, &[]));
    coordinator.report("progress", |report| report["step"].as_u64().unwrap() > 50);
    coordinator.signal(Signal::SIGKILL);
    coordinator.end();
    let again = ["coordinator", "job.toml", "--out", "run", "--listen", &address, "--resume"];
    folder.run(&again).expect_with(0, "continuing after step ");
    for worker in workers {
        worker.end().expect_with(0, "looking for it again");
    }
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    let folder = folder();
    run_and_kill(&folder, 100);
    let paths = checkpoints(&folder);
    let [.., older, newest] = &paths[..] else { panic!("{paths:?}") };
    let bytes = fs::read(newest).unwrap();
    fs::write(newest, &bytes[..bytes.len() / 2]).unwrap();
    let ended = folder.run(&[&RESUME[..], &["--resume"]].concat());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
    ended.expect_with(0, &format!("{} is skipped: cut short or altered", name(newest)));
    let step = name(older)["step-".len()..].split('.').next().unwrap().parse::<u64>().unwrap();
    ended.expect_with(0, &format!("continuing after step {step}"));
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

#[test]
fn what_cannot_be_resumed() {
    let folder = folder();
    let resume = [&RESUME[..], &["--resume"]].concat();
    let running = folder.start(&resume);
    running.report("progress", |report| report["step"].as_u64().unwrap() > 10);
    folder.run(&resume).expect_with(3, "the run folder is in use by process ");
    running.signal(Signal::SIGTERM);
    running.end().expect(130);
    folder.run(&RESUME).expect_with(3, "exists and is not empty");
    folder.write("job.toml", &JOB.replace("units = 8", "units = 9"));
    folder.run(&resume).expect_with(3, "cannot resume: the job has changed: it was ");
    folder.write("job.toml", &JOB.replace("epochs = 400", "epochs = 400\nprecision = \"bf16\""));
    folder.run(&resume).expect_with(3, "the job has changed: it was `precision = ");
    // How often it is kept does not change the run, nor does the name of the table.
    let moved = JOB.replace("every_steps = 7", "every_steps = 9").replace("train.csv", "same.csv");
    folder.write("job.toml", &moved);
    let table = folder.read("train.csv");
    folder.write("same.csv", table.trim_end().rsplit_once('\n').unwrap().0);
    folder.run(&resume).expect_with(3, "cannot resume: the tables or the initial weights");
    folder.write("same.csv", &table);
    folder.run(&resume).expect(0);
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

#[test]
fn no_place_for_checkpoints_is_a_warning() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    // A file where the folder should be: nobody, not even root, can write below it.
    folder.write("run/checkpoints", "");
    let worker = folder.worker(&address, &[]);
    coordinator.report("warning", |report| {
        report["message"].as_str().unwrap().starts_with("cannot write a checkpoint: ")
    });
    coordinator.end().expect(0);
    worker.end().expect(0);
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// The step after which a process said that it has stopped.
fn stopped_after(ended: &Ended) -> u64 {
    ended.expect_with(130, "; continue with --resume");
    let (_, rest) = ended.stderr.split_once("stopped after step ").unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

/// Asked to stop, a run ends its step, keeps it, and makes none twice.
#[test]
fn a_stopped_run_goes_on_where_it_stopped() {
    let folder = folder();
    let resume = [&RESUME[..], &["--resume"]].concat();
    let mut before = 0;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        // So slow that it cannot end before the signal comes.
        let running = start_with(&folder, "checkpoint:handed=sleep(50)");
        if before > 0 {
            running.line(&format!("continuing after step {before}\""));
        }
        running.report("progress", |report| report["step"].as_u64().unwrap() > before + 20);
        running.signal(signal);
        let step = stopped_after(&running.end());
        assert!(step > before + 20);
        let steps = records(&folder);
        let steps: Vec<_> =
            steps.iter().filter(|line| line.contains("\"kind\":\"step\"")).collect();
        assert!(steps.last().unwrap().contains(&format!("\"step\":{step}}}")), "{steps:?}");
        assert_eq!(steps.len() as u64, step);
        before = step;
    }
    folder.run(&resume).expect_with(0, &format!("continuing after step {before}\""));
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// With no worker left, or one that hangs, the step in hand cannot end: the run stops all the same, without it.
#[test]
fn a_run_that_cannot_end_its_step_is_stopped() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let worker = folder.worker(&address, &[]);
    coordinator.report("progress", |report| report["step"].as_u64().unwrap() > 20);
    worker.signal(Signal::SIGKILL);
    coordinator.report("worker_left", |_| true);
    coordinator.signal(Signal::SIGTERM);
    let ended = coordinator.end();
    ended.expect_with(130, "stopped after step ");
    worker.end();
    let resume = [&RESUME[..], &["--resume"]].concat();
    folder.run(&resume).expect_with(0, "continuing after step ");
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let worker = folder.worker(&coordinator.address(), &[]);
    coordinator.report("progress", |_| true);
    worker.signal(Signal::SIGSTOP);
    coordinator.signal(Signal::SIGTERM);
    coordinator.line("stopping after the current step");
    coordinator.signal(Signal::SIGINT);
    let ended = coordinator.end();
    ended.expect(130);
    // Nobody had the time for last words.
    assert!(!ended.stderr.contains("\"event\":\"error\""), "{ended}");
}

/// A later program's files are no damaged ones of this.
#[test]
fn files_of_a_later_format() {
    let folder = folder();
    run_and_kill(&folder, 100);
    let resume = [&RESUME[..], &["--resume"]].concat();
    let newest = checkpoints(&folder).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let (this, later) = (br#"{\"format\":1,"#, br#"{\"format\":7,"#);
    let at = bytes.windows(this.len()).position(|window| window == this).unwrap();
    let mut altered = bytes.clone();
    altered[at..at + later.len()].copy_from_slice(later);
    fs::write(&newest, altered).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    let told = "written in format 7, this program reads up to 1: use a newer lockstep";
    folder.run(&resume).expect_with(3, &format!("{name}: {told}"));
    fs::write(&newest, bytes).unwrap();
    let manifest = folder.read("run/manifest.json");
    folder.write("run/manifest.json", "{ \"format\": 7, \"runs\": [] }");
    folder.run(&resume).expect_with(3, &format!("run/manifest.json: {told}"));
    folder.write("run/manifest.json", &manifest);
    folder.run(&resume).expect(0);
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// As a power cut may leave it.
#[test]
fn records_that_are_shorter_than_the_checkpoint_says() {
    let folder = folder();
    run_and_kill(&folder, 100);
    let text = folder.read("run/metrics.jsonl");
    let whole: Vec<&str> = text.lines().take(3).collect();
    folder.write("run/metrics.jsonl", &format!("{}\n{{\"kind\":\"st", whole.join("\n")));
    let resume = [&RESUME[..], &["--resume"]].concat();
    let running = folder.start(&resume);
    running
        .line(" bytes that the checkpoint counts on are missing: lines of earlier steps are lost");
    running.report("progress", |_| true);
    running.signal(Signal::SIGTERM);
    stopped_after(&running.end());
    // What is written next fits what is there.
    let ended = folder.run(&resume);
    ended.expect(0);
    assert!(!ended.stderr.contains("are missing"), "{ended}");
    let (hash, wanted) = undisturbed();
    assert_eq!(folder.hash(), hash);
    let found = records(&folder);
    let lost = wanted.len() - found.len();
    assert!(lost > 50, "{lost}");
    assert_eq!((&found[..3], &found[3..]), (&wanted[..3], &wanted[3 + lost..]));
}
