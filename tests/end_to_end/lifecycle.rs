//! What `local` leaves behind, however it ends: nothing.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bad_job::{JOB, small};
use crate::folder::{Folder, edited};
use crate::process::{Process, poll};

/// The processes that a launcher started and that still run.
pub(crate) fn children_of(launcher: u32) -> Vec<u32> {
    let launcher = launcher.to_string();
    let is_child = |pid: &u32| {
        let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let arguments: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
        arguments.windows(2).any(|pair| pair == [b"--child-of", launcher.as_bytes()])
    };
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}

/// That no child of an ended launcher is left, or will be soon.
#[track_caller]
pub(crate) fn no_children_of(launcher: u32) {
    let none = poll(|| children_of(launcher).is_empty());
    assert!(none, "{:?} are left of {launcher}", children_of(launcher));
}

/// Kills a launcher and waits until its whole cluster has ended, all files closed. (A dying process has lost its
/// command line, by which children are found, before it closes its files.)
#[track_caller]
pub(crate) fn kill_cluster(launcher: Process) {
    let pid = launcher.pid();
    let mut children = children_of(pid);
    assert!(!children.is_empty(), "{pid} has no children");
    launcher.signal(Signal::SIGKILL);
    launcher.end();
    // One of them may have been killed before, and replaced.
    children.extend(children_of(pid));
    let ended = poll(|| children.iter().all(|&child| has_ended(child)));
    assert!(ended, "some of {children:?} do not end");
}

/// Whether a process is gone, or only its number is left.
fn has_ended(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    let is_zombie = stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'));
    // The first thread may be a zombie while others still end.
    let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
    is_zombie && threads <= 1
}

/// A job that does not end by itself.
fn endless() -> Folder {
    let folder = small();
    folder.write("job.toml", &edited(JOB, "epochs = 2", "epochs = 100000000"));
    folder
}

/// Starts it on three workers and waits until it is at work.
fn start(folder: &Folder) -> Process {
    let arguments = ["--log-format", "json", "local", "job.toml", "--workers", "3", "--out", "run"];
    let launcher = folder.start(&arguments);
    launcher.report("progress", |_| true);
    assert_eq!(children_of(launcher.pid()).len(), 4);
    launcher
}

#[test]
fn nothing_is_left_after_success() {
    let folder = small();
    let ended = folder.run(&["local", "job.toml", "--workers", "3", "--out", "run"]);
    ended.expect(0);
    assert!(children_of(ended.pid).is_empty());
}

#[test]
fn nothing_is_left_after_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = endless();
        let launcher = start(&folder);
        launcher.signal(signal);
        let ended = launcher.end();
        ended.expect_with(130, "stopped after step ");
        assert!(children_of(ended.pid).is_empty(), "{signal}");
        let manifest: Value = serde_json::from_str(&folder.read("run/manifest.json")).unwrap();
        assert_eq!(manifest["status"], "stopped");
    }
}

#[test]
fn nothing_is_left_after_the_launcher_is_killed() {
    let folder = endless();
    let launcher = start(&folder);
    launcher.signal(Signal::SIGKILL);
    let ended = launcher.end();
    assert_eq!(ended.code(), None);
    no_children_of(ended.pid);
}

/// A stopped child can do nothing about its end; it is killed.
#[test]
fn nothing_is_left_of_a_stopped_child() {
    let folder = endless();
    let launcher = start(&folder);
    for child in children_of(launcher.pid()) {
        kill(Pid::from_raw(child as i32), Signal::SIGSTOP).unwrap();
    }
    launcher.signal(Signal::SIGKILL);
    no_children_of(launcher.end().pid);
}

#[test]
fn a_killed_coordinator_ends_the_run() {
    let folder = endless();
    let launcher = start(&folder);
    let workers: Vec<u32> = (1..=3)
        .map(|worker| {
            let joined = launcher.report("worker_joined", |report| report["worker"] == worker);
            joined["pid"].as_u64().unwrap() as u32
        })
        .collect();
    let children = children_of(launcher.pid());
    let coordinator = children.iter().find(|child| !workers.contains(child)).unwrap();
    kill(Pid::from_raw(*coordinator as i32), Signal::SIGKILL).unwrap();
    let ended = launcher.end();
    ended.expect_with(5, "the coordinator ended early (signal: 9 (SIGKILL))");
    assert!(children_of(ended.pid).is_empty());
}
