//! A mistake of the program's own ends the request in which it happens, with a clear message: never more than that, and
//! never the process of a program that calls the library.

use serde_json::Value;

use crate::api::fit_in_a_process;
use crate::faults::{HASH, LONG_HASH, folder, long_folder};
use crate::folder::{Folder, edited};
use crate::lifecycle::children_of;
use crate::process::{Ended, Process, lockstep};
use crate::sharing;

const TOLD: &str = "this is a bug in lockstep, please report it";

/// Starts the program with a place at which it panics.
fn start(folder: &Folder, place: &str, arguments: &[&str]) -> Process {
    let mut command = lockstep(folder.path(), arguments);
    command.env("FAILPOINTS", place);
    Process::start(command)
}

#[track_caller]
fn failed(ended: &Ended, what: &str) {
    assert_eq!(ended.code(), Some(1), "{ended}");
    for wanted in [what, TOLD] {
        assert!(ended.stderr.contains(wanted), "wanted {wanted:?} in\n{ended}");
    }
}

/// Small deals are computed on the session's thread, large ones on the pool: the others go on without this worker.
#[test]
fn a_worker_that_panics() {
    let long = edited(sharing::JOB, "epochs = 3", "epochs = 20");
    let large = Folder::with_table(&long, "boston-relu-adam-mse", 200);
    let large_hash = large.train(1, 1);
    // Long, or it may be over before a worker that is not scheduled for a while computes anything.
    for (folder, hash) in [(long_folder(), LONG_HASH), (large, &large_hash)] {
        let coordinator = folder.coordinator(&["--workers-start", "2"]);
        let address = coordinator.address();
        let worker = ["worker", "--threads", "2", "--coordinator", &address];
        let panics = start(&folder, "compute=panic(in mid-step)", &worker);
        let good = folder.worker(&address, &[]);
        failed(&panics.end(), "computing failed: ");
        for process in [good, coordinator] {
            process.end().expect(0);
        }
        assert_eq!(folder.hash(), hash);
    }
}

#[test]
fn a_coordinator_that_panics() {
    let folder = Folder::with_table(sharing::JOB, "boston-relu-adam-mse", 200);
    for (place, run) in [("fold", "first"), ("pass", "second")] {
        let arguments = ["coordinator", "job.toml", "--listen", "127.0.0.1:0", "--out", run];
        let arguments = [&["--log-format", "json"], &arguments[..]].concat();
        let coordinator = start(&folder, &format!("{place}=panic(in mid-step)"), &arguments);
        let worker = folder.worker(&coordinator.address(), &["--wait", "1"]);
        failed(&coordinator.end(), "in mid-step");
        assert!([Some(5), Some(7)].contains(&worker.end().code()));
        let manifest: Value =
            serde_json::from_str(&folder.read(&format!("{run}/manifest.json"))).unwrap();
        assert_eq!(manifest["status"], "failed");
    }
}

/// Whoever it was that said what makes the coordinator panic is shut out, and the run goes on.
#[test]
fn reading_that_panics() {
    let folder = folder();
    let arguments = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let arguments = [&arguments[..], &["--listen", "127.0.0.1:0"]].concat();
    let coordinator = start(&folder, "read=1*panic(in a message)", &arguments);
    let address = coordinator.address();
    let first = folder.worker(&address, &[]);
    let left = coordinator.report("worker_left", |_| true);
    let reason = left["reason"].as_str().unwrap();
    assert!(reason.starts_with("reading its messages failed: in a message"), "{reason}");
    let second = folder.worker(&address, &[]);
    second.end().expect(0);
    assert_eq!(coordinator.end().code(), Some(0));
    assert_eq!(folder.hash(), HASH);
    drop(first);
}

#[test]
fn a_local_cluster_whose_workers_panic() {
    let folder = folder();
    let ended = start(&folder, "compute=panic(in mid-step)", &["local", "job.toml"]).end();
    failed(&ended, "computing failed: ");
    assert!(children_of(ended.pid).is_empty(), "{ended}");
}

#[test]
fn the_rust_api_returns_an_error() {
    for place in ["compute", "fold", "pass"] {
        let said = fit_in_a_process(&[("FAILPOINTS", &format!("{place}=panic(in mid-step)"))]);
        assert!(said.starts_with("failed: ") && said.contains(TOLD), "{place}: {said}");
        assert!(said.contains("in mid-step"), "{place}: {said}");
    }
}
