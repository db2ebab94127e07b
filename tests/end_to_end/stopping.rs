//! A coordinator that is told to stop: no step is lost, and its workers find it again.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::folder::{Folder, edited};
use crate::process::{Ended, Process};
use crate::resume::{JOB, RESUME, folder, records, undisturbed};

fn status(folder: &Folder) -> String {
    let manifest: Value = serde_json::from_str(&folder.read("run/manifest.json")).unwrap();
    manifest["status"].as_str().unwrap().to_string()
}

/// The step after which a run said that it has stopped, and that it goes on there.
#[track_caller]
fn stopped_after(ended: &Ended) -> u64 {
    ended.expect_with(130, "; continue with --resume");
    let (_, rest) = ended.stderr.split_once("stopped after step ").unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

fn progress(coordinator: &Process, step: u64) {
    coordinator.report("progress", |report| report["step"].as_u64().unwrap() > step);
}

/// Checkpoints are rare: what is saved is saved because of the stop.
fn rarely_saved(epochs: u32) -> Folder {
    let folder = folder();
    let job = edited(JOB, "every_steps = 7", "every_seconds = 3600");
    folder.write("job.toml", &edited(&job, "epochs = 400", &format!("epochs = {epochs}")));
    folder
}

/// The worker is held up for longer than a step usually takes, by far: the step is waited for, or if the worker is taken
/// for lost, the state before it is saved.
#[test]
fn a_step_that_takes_long_is_not_lost() {
    let folder = rarely_saved(400);
    let coordinator = folder.coordinator(&[]);
    let worker = folder.worker(&coordinator.address(), &[]);
    progress(&coordinator, 20);
    worker.signal(Signal::SIGSTOP);
    coordinator.signal(Signal::SIGTERM);
    coordinator.line("stopping after the current step");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    worker.signal(Signal::SIGCONT);
    let step = stopped_after(&coordinator.end());
    assert!(step > 20);
    assert_eq!(status(&folder), "stopped");
    let steps = records(&folder);
    assert_eq!(steps.iter().filter(|line| line.contains("\"kind\":\"step\"")).count() as u64, step);
    worker.signal(Signal::SIGTERM);
    worker.end().expect(130);
    folder
        .run(&[&RESUME[..], &["--resume"]].concat())
        .expect_with(0, &format!("continuing after step {step}\""));
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// With no worker left the step in hand cannot end, and the state before it is all there is.
#[test]
fn the_state_before_a_step_without_workers_is_saved() {
    let folder = rarely_saved(400);
    let coordinator = folder.coordinator(&[]);
    let worker = folder.worker(&coordinator.address(), &[]);
    progress(&coordinator, 20);
    // It has got its deal, and nothing of its answer is on the way, but for the odd case.
    worker.signal(Signal::SIGSTOP);
    coordinator.signal(Signal::SIGTERM);
    coordinator.line("stopping after the current step");
    worker.signal(Signal::SIGKILL);
    worker.end();
    let step = stopped_after(&coordinator.end());
    assert_eq!(status(&folder), "stopped");
    folder
        .run(&[&RESUME[..], &["--resume"]].concat())
        .expect_with(0, &format!("continuing after step {step}\""));
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// With many chunks a step may be half made when its workers are gone: then nothing of it is saved, and what was saved
/// before is good.
#[test]
fn a_step_of_many_chunks_without_workers() {
    let folder = rarely_saved(60);
    let wide = "units = 400, activation = \"relu\" }, { type = \"dense\", units = 400, activation = \"relu\" }";
    let small = "units = 8, activation = \"relu\" }";
    folder.write("job.toml", &edited(&folder.read("job.toml"), small, wide));
    let mut after = 5;
    for _ in 0..3 {
        let coordinator = folder.coordinator(&["--resume"]);
        let worker = folder.worker(&coordinator.address(), &[]);
        progress(&coordinator, after);
        worker.signal(Signal::SIGSTOP);
        coordinator.signal(Signal::SIGTERM);
        coordinator.line("stopping after the current step");
        worker.signal(Signal::SIGKILL);
        worker.end();
        let ended = coordinator.end();
        ended.expect_with(130, "stopped after step ");
        assert_eq!(status(&folder), "stopped");
        after += 5;
    }
    folder.run(&[&RESUME[..], &["--resume"]].concat()).expect(0);
    let found = (folder.hash(), records(&folder));
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    folder.train_into("run");
    assert_eq!(found, (folder.hash(), records(&folder)));
}

/// As after a crash: they look for it for as long as they may, and work on when it is back.
#[test]
fn workers_find_a_coordinator_that_was_stopped() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let workers = [(); 2].map(|()| folder.worker(&address, &[]));
    let impatient = folder.worker(&address, &["--wait", "0.2"]);
    impatient.line("ready with ");
    progress(&coordinator, 50);
    coordinator.signal(Signal::SIGTERM);
    stopped_after(&coordinator.end());
    for worker in workers.iter().chain([&impatient]) {
        worker.line("it was stopped and may come back): looking for it again");
    }
    impatient.end().expect_with(5, "error: no coordinator at ");
    let again = ["coordinator", "job.toml", "--out", "run", "--listen", &address, "--resume"];
    folder.run(&again).expect_with(0, "continuing after step ");
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!((folder.hash(), records(&folder)), undisturbed());
}

/// `local` ends its own workers, and none of them says that it is looking for anybody.
#[test]
fn a_local_cluster_ends_as_a_whole() {
    let folder = rarely_saved(100_000);
    let launcher = folder.start(&RESUME);
    progress(&launcher, 20);
    launcher.signal(Signal::SIGINT);
    let ended = launcher.end();
    stopped_after(&ended);
    assert_eq!(status(&folder), "stopped");
    assert!(!ended.stderr.contains("looking for it again"), "{ended}");
    assert!(!ended.stderr.contains("ended early"), "{ended}");
}
