//! Models of runs that are not finished, and runs that get more epochs.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::folder::{Folder, edited};
use crate::journal::journal;
use crate::process::{Ended, Process, poll};
use crate::resume::{RESUME, folder, records, run_and_kill};

fn evaluate(folder: &Folder) -> Ended {
    folder.run(&["evaluate", "run", "--data", "train.csv"])
}

/// The step of which `evaluate` and `predict` say that the model is.
#[track_caller]
fn model_step(ended: &Ended, status: &str) -> u64 {
    ended.expect_with(0, &format!("; the run {status}\n"));
    let (_, rest) = ended.stderr.split_once("the model is that of step ").unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

#[track_caller]
fn usable(folder: &Folder, status: &str) -> u64 {
    let step = model_step(&evaluate(folder), status);
    let predicted = folder.run(&["predict", "run", "--data", "train.csv", "--output", "-"]);
    assert!(model_step(&predicted, status) >= step);
    assert_eq!(predicted.stdout.lines().count(), 101, "{predicted}");
    step
}

#[test]
fn a_run_that_goes_on_or_was_stopped_has_a_model() {
    let folder = folder();
    let job = edited(&folder.read("job.toml"), "every_steps = 7", "every_steps = 1");
    folder.write("job.toml", &edited(&job, "epochs = 400", "epochs = 100000000"));
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let ended = evaluate(&folder);
    ended.expect_with(3, "no model in this run folder");
    ended.expect_with(3, "a run has one from its first checkpoint on");
    let worker = folder.worker(&address, &[]);
    let weights = folder.path().join("run/model/weights.safetensors");
    assert!(poll(|| weights.exists()));
    // It is replaced all the time meanwhile, and is whole every time.
    let mut before = 0;
    for _ in 0..5 {
        let step = usable(&folder, "is still running, or was killed");
        assert!(step >= before);
        before = step;
    }
    coordinator.signal(Signal::SIGTERM);
    coordinator.end().expect_with(130, "stopped after step ");
    worker.signal(Signal::SIGTERM);
    worker.end().expect(130);
    let step = usable(&folder, "was stopped");
    let steps = records(&folder);
    assert_eq!(steps.iter().filter(|line| line.contains("\"kind\":\"step\"")).count() as u64, step);
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    evaluate(&folder).expect_with(3, "weights.safetensors: damaged: the hash of its weights is ");
}

#[test]
fn a_killed_run_has_a_model() {
    let folder = folder();
    run_and_kill(&folder, 100);
    let step = usable(&folder, "is still running, or was killed");
    assert!(step > 50 && step.is_multiple_of(7), "{step}");
    folder.run(&[&RESUME[..], &["--resume"]].concat()).expect(0);
    let steps = usable(&folder, "is finished");
    assert_eq!(steps, 400 * 8);
}

/// The state before the step that failed is kept.
#[test]
fn a_failed_run_has_a_model() {
    let folder = crate::bad_cluster::diverging();
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect_with(4, " is not finite at step 2 (shard ");
    let ended = folder.run(&["predict", "run", "--data", "train.csv", "--output", "-"]);
    assert_eq!(model_step(&ended, "failed"), 1);
}

const GROWING: &str = r#"
name = "growing"
seed = 3
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
test = { fraction = 0.1 }
scale = "standard"
[model]
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 3
batch_size = 10
[checkpoint]
keep = 1
[journal]
every_steps = 5
"#;

fn with_epochs(job: &str, epochs: u32) -> String {
    edited(job, "epochs = 3", &format!("epochs = {epochs}"))
}

fn growing(job: &str) -> Folder {
    Folder::with_table(job, "boston-relu-adam-mse", 100)
}

/// All that two runs wrote down, times, workers and names of folders excepted.
fn outcome(folder: &Folder) -> (String, Vec<String>, Vec<(String, String)>) {
    let text = |line: &Value, key: &str| line[key].to_string();
    let hashes = journal(folder)
        .iter()
        .map(|line| (text(line, "step"), text(line, "weights_blake3")))
        .collect();
    (folder.hash(), records(folder), hashes)
}

/// Bit for bit what a run makes that was to have as many epochs from the start.
#[test]
fn a_finished_run_gets_more_epochs() {
    let without_tables = GROWING
        .replace("validation = { fraction = 0.2 }\n", "")
        .replace("test = { fraction = 0.1 }\n", "");
    let with_clipping = GROWING
        .replace("epochs = 3\n", "epochs = 3\ngradient_clip_norm = 0.5\nprecision = \"bf16\"\n");
    for job in [GROWING, &without_tables, &with_clipping] {
        let whole = growing(&with_epochs(job, 8));
        whole.train_into("run");
        let folder = growing(job);
        folder.train_into("run");
        let resume = [
            "local",
            "job.toml",
            "--workers",
            "3",
            "--out",
            "run",
            "--log-format",
            "text",
            "--resume",
        ];
        for epochs in [5, 8] {
            let steps = journal(&folder).last().unwrap()["step"].as_u64().unwrap();
            folder.write("job.toml", &with_epochs(job, epochs));
            let ended = folder.run(&resume);
            ended.expect_with(0, &format!("continuing after step {steps}\n"));
        }
        assert_eq!(outcome(&folder), outcome(&whole));
        let model = |folder: &Folder| {
            std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap()
        };
        assert!(model(&folder) == model(&whole));
        folder.run(&["verify", "run"]).expect(0);
        folder.run(&resume).expect_with(0, "the run is already finished");
        folder.write("job.toml", &with_epochs(job, 7));
        folder.run(&resume).expect_with(
            3,
            "cannot resume: the run was begun with train.epochs = 8, the job has 7: wanted 8 or more",
        );
    }
}

/// Where its last checkpoint is lost as well as where it is there.
#[test]
fn a_run_that_gets_more_epochs_goes_on_from_what_there_is() {
    let whole = growing(&with_epochs(GROWING, 6));
    whole.train_into("run");
    let folder = growing(GROWING);
    folder.train_into("run");
    std::fs::remove_dir_all(folder.path().join("run/checkpoints")).unwrap();
    folder.write("job.toml", &with_epochs(GROWING, 6));
    let ended = folder.run(&[&RESUME[..], &["--resume"]].concat());
    ended.expect_with(0, "continuing after step 0\"");
    assert_eq!(outcome(&folder), outcome(&whole));
}

/// More epochs for a run that was stopped, or killed once it had them.
#[test]
fn a_stopped_run_gets_more_epochs() {
    let folder = folder();
    let few = folder.read("job.toml");
    let start =
        |arguments: &[&str]| -> Process { folder.start(&[&RESUME[..], arguments].concat()) };
    let running = start(&[]);
    running.report("progress", |report| report["step"].as_u64().unwrap() > 20);
    running.signal(Signal::SIGTERM);
    running.end().expect_with(130, "; continue with --resume");
    folder.write("job.toml", &edited(&few, "epochs = 400", "epochs = 500"));
    run_and_kill(&folder, 200);
    // The run has them now.
    folder.write("job.toml", &few);
    start(&["--resume"]).end().expect_with(3, "begun with train.epochs = 500, the job has 400");
    folder.write("job.toml", &edited(&few, "epochs = 400", "epochs = 500"));
    start(&["--resume"]).end().expect(0);
    let whole = crate::resume::folder();
    whole.write("job.toml", &edited(&few, "epochs = 400", "epochs = 500"));
    whole.train_into("run");
    assert_eq!((folder.hash(), records(&folder)), (whole.hash(), records(&whole)));
}
