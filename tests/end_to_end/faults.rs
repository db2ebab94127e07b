//! Workers that die, leave, come late or lose their connection in mid-run: one weights hash in every case.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::folder::Folder;
use crate::proxy::Proxy;

pub(crate) const JOB: &str = r#"
name = "faults"
seed = 8
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.1 }
test = { fraction = 0.1 }
scale = "standard"
[model]
loss = "mae"
layers = [{ type = "dense", units = 10, activation = "tanh" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 3
batch_size = 16
shards = 12
"#;

pub(crate) const HASH: &str = "d90581d2ef0a11a5296de7781f06bf769a99106d851666d88444282eaa6c247f";

/// Bytes that a worker sends before the network stops: some dozen steps of the 78.
const MID_RUN_BYTES: usize = 20_000;

pub(crate) fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 506)
}

/// Long enough to be met in mid-run without being held: seconds, where a test needs a hundredth of one.
pub(crate) fn long_folder() -> Folder {
    let long = JOB.replace("epochs = 3", "epochs = 250");
    Folder::with_table(&long, "boston-relu-adam-mse", 506)
}

pub(crate) const LONG_HASH: &str =
    "35d58daa0c1defed4be6b6f2e034f5fc8d23fe7a43183e3d11fc8aeb63f187d2";

#[test]
fn without_a_fault() {
    assert_eq!(folder().train(1, 1), HASH);
    assert_eq!(long_folder().train(1, 1), LONG_HASH);
}

#[test]
fn a_worker_joins_in_mid_run() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--threads", "3"]);
    let address = coordinator.address();
    let proxy = Proxy::holding(&address, MID_RUN_BYTES);
    let first = folder.worker(&proxy.address(), &[]);
    proxy.wait_held();
    coordinator.report("progress", |_| true);
    let second = folder.worker(&address, &[]);
    second.line("ready with ");
    proxy.release();
    for process in [first, second, coordinator] {
        process.end().expect(0);
    }
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn a_worker_says_goodbye_in_mid_run() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let address = coordinator.address();
    // Both, or the other would do the rest alone before it hears the signal.
    let proxies = [(); 2].map(|()| Proxy::holding(&address, MID_RUN_BYTES));
    let [held, leaving] = proxies.each_ref().map(|proxy| folder.worker(&proxy.address(), &[]));
    proxies.iter().for_each(Proxy::wait_held);
    leaving.signal(Signal::SIGTERM);
    proxies[1].release();
    leaving.end().expect_with(130, "stopped: said goodbye to the coordinator");
    coordinator.report("worker_left", |left| left["cause"] == "goodbye" && left["workers"] == 1);
    proxies[0].release();
    held.end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

/// The only worker: the run waits for it, and it comes back by itself.
#[test]
fn a_connection_breaks_in_mid_run() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let proxy = Proxy::holding(&coordinator.address(), MID_RUN_BYTES);
    let worker = folder.worker(&proxy.address(), &[]);
    proxy.wait_held();
    proxy.cut();
    let ended = worker.end();
    ended.expect_with(0, "warning: lost the coordinator (");
    assert!(ended.stderr.contains("looking for it again"), "{ended}");
    let ended = coordinator.end();
    ended.expect(0);
    assert_eq!(ended.stderr.matches("\"event\":\"worker_joined\"").count(), 2, "{ended}");
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn a_worker_is_killed_in_mid_run() {
    assert_eq!(hash_with_one_killed(&folder(), MID_RUN_BYTES), HASH);
}

/// The hash of three workers, the first of which is killed when it has sent so much.
#[track_caller]
pub(crate) fn hash_with_one_killed(folder: &Folder, bytes: usize) -> String {
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let address = coordinator.address();
    let proxy = Proxy::holding(&address, bytes);
    let killed = folder.worker(&proxy.address(), &[]);
    // The others too, or they would do the rest alone before it is killed.
    let others = [(); 2].map(|()| Proxy::holding(&address, bytes));
    let left = others.each_ref().map(|proxy| folder.worker(&proxy.address(), &[]));
    proxy.wait_held();
    others.iter().for_each(Proxy::wait_held);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end().code(), None);
    // As a dead machine would leave it: bytes on the way get lost.
    proxy.cut();
    coordinator.report("worker_left", |left| left["workers"] == 2);
    others.iter().for_each(Proxy::release);
    for process in left {
        process.end().expect(0);
    }
    coordinator.end().expect(0);
    folder.hash()
}

/// The same in a local cluster, long enough to be met in mid-run; stopped first, so that it is.
#[test]
fn a_worker_of_a_local_cluster_is_killed() {
    let folder = long_folder();
    let arguments = ["--log-format", "json", "local", "job.toml", "--workers", "3", "--out", "run"];
    let launcher = folder.start(&arguments);
    launcher.report("progress", |_| true);
    let joined = launcher.report("worker_joined", |report| report["worker"] == 2);
    let pid = Pid::from_raw(joined["pid"].as_i64().unwrap() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    let ended = launcher.end();
    ended.expect_with(0, "ended early (signal: 9 (SIGKILL))");
    let left = "\"event\":\"worker_left\"";
    let left = ended.stderr.lines().find(|line| line.contains(left)).unwrap();
    assert!(left.contains("\"worker\":2") && left.contains("\"workers\":2"), "{ended}");
    assert_eq!(folder.hash(), LONG_HASH);
}

/// Nobody comes back: the worker gives up in time and says so.
#[test]
fn a_killed_coordinator_is_looked_for_in_vain() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let proxy = Proxy::holding(&address, MID_RUN_BYTES);
    let worker = folder.worker(&proxy.address(), &["--wait", "0.2"]);
    proxy.wait_held();
    coordinator.signal(Signal::SIGKILL);
    coordinator.end();
    drop(proxy);
    let ended = worker.end();
    ended.expect_with(5, "warning: lost the coordinator (");
    assert!(ended.stderr.contains("error: no coordinator at "), "{ended}");
}
