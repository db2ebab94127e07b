//! Processes that stop and go on, crawl, or are all gone at once, and a network that swallows everything: one weights
//! hash in every case.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::faults::{LONG_HASH, long_folder as folder};
use crate::folder::Folder;
use crate::process::Process;

fn cluster(folder: &Folder, workers: usize) -> (Process, Vec<Process>) {
    let coordinator = folder.coordinator(&["--workers-start", &workers.to_string()]);
    let address = coordinator.address();
    let worker = |_| folder.worker(&address, &["--wait", "20"]);
    let workers = (0..workers).map(worker).collect();
    coordinator.report("progress", |_| true);
    (coordinator, workers)
}

#[test]
fn a_stopped_worker_holds_nobody_up() {
    let folder = folder();
    let (coordinator, workers) = cluster(&folder, 3);
    workers[1].signal(Signal::SIGSTOP);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), LONG_HASH);
    workers[1].signal(Signal::SIGCONT);
}

#[test]
fn the_only_worker_stops_and_goes_on() {
    let folder = folder();
    let (coordinator, workers) = cluster(&folder, 1);
    workers[0].signal(Signal::SIGSTOP);
    sleep(Duration::from_millis(300));
    workers[0].signal(Signal::SIGCONT);
    coordinator.end().expect(0);
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!(folder.hash(), LONG_HASH);
}

#[test]
fn a_worker_crawls() {
    let folder = folder();
    let (coordinator, workers) = cluster(&folder, 2);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        workers[0].signal(Signal::SIGSTOP);
        sleep(Duration::from_millis(15));
        workers[0].signal(Signal::SIGCONT);
        sleep(Duration::from_millis(5));
    }
    coordinator.end().expect(0);
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!(folder.hash(), LONG_HASH);
}

#[test]
fn all_workers_are_killed_at_once_and_others_come() {
    let folder = folder();
    let (coordinator, workers) = cluster(&folder, 3);
    for worker in &workers {
        worker.signal(Signal::SIGKILL);
    }
    for worker in workers {
        worker.end();
    }
    coordinator.report("worker_left", |left| left["workers"] == 0);
    let worker = folder.worker(&coordinator.address(), &[]);
    coordinator.end().expect(0);
    worker.end().expect(0);
    assert_eq!(folder.hash(), LONG_HASH);
}

/// Longer than silence is borne: the workers give the connection up and come back.
#[test]
fn the_coordinator_stops_for_longer_than_silence_is_borne() {
    let folder = folder();
    let (coordinator, workers) = cluster(&folder, 2);
    coordinator.signal(Signal::SIGSTOP);
    for worker in &workers {
        worker.line("lost the coordinator");
    }
    coordinator.signal(Signal::SIGCONT);
    coordinator.end().expect(0);
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!(folder.hash(), LONG_HASH);
}
