//! A cluster that stands still says so: who is waited for, at which stage, for how long, up to which limit, and what helps; on the
//! page, in a terminal and in what the coordinator says. (That this takes five seconds at most is a rule of the engine, tested there.)

use std::net::TcpListener;
use std::process::Command;

use lockstep_net::{JoinLine, Secret};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::audit;
use crate::faults::{JOB, folder};
use crate::folder::Folder;
use crate::hosts::{Hosts, V4};
use crate::joining;
use crate::process::{Process, through};
use crate::proxy::Proxy;
use crate::relay::Relay;
use crate::status::{endless, once, page};
use crate::tools::skip;

/// That a wait, told or shown, has all five facts.
#[track_caller]
fn is_whole(wait: &Value, stage: &str, remedy: &str) {
    assert_eq!(wait["stage"], stage, "{wait}");
    assert!(wait["seconds"].is_number(), "{wait}");
    // A limit that there is not is said to be none.
    assert!(wait.as_object().unwrap().contains_key("limit_seconds"), "{wait}");
    assert!(wait.as_object().unwrap().contains_key("peer"), "{wait}");
    assert!(wait["remedy"].as_str().unwrap().contains(remedy), "{wait}");
    assert!(!wait["what"].as_str().unwrap().is_empty(), "{wait}");
}

/// The wait of a stage that the page shows, now or later.
#[track_caller]
fn shown(page: &str, stage: &str) -> Value {
    let of_stage = |status: &Value| {
        let waits = status["waits"].as_array().unwrap();
        waits.iter().find(|wait| wait["stage"] == stage).cloned()
    };
    let status = once(page, |status| of_stage(status).is_some());
    of_stage(&status).unwrap()
}

#[test]
fn no_worker_comes() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let remedy = "start one with `lockstep worker --coordinator";
    is_whole(&shown(&page(&coordinator), "workers"), "workers", remedy);
    let told = coordinator.report("waiting", |_| true);
    is_whole(&told, "workers", remedy);
    assert_eq!((&told["level"], &told["peer"]), (&"warn".into(), &Value::Null));
    let asked = folder.run(&["status", "run"]);
    asked.expect(0);
    assert!(asked.stdout.contains("WAITING (workers): "), "{asked}");
}

#[test]
fn the_only_worker_is_stopped() {
    let folder = endless();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let worker = folder.worker(&coordinator.address(), &[]);
    once(&page, |status| status["position"]["step"].as_u64().is_some_and(|step| step > 0));
    worker.signal(Signal::SIGSTOP);
    // Its silence is found before a wait is told of; on the page the wait is seen a second after it begins.
    let wait = shown(&page, "results");
    is_whole(&wait, "results", "it is let go if its connection is silent");
    assert_eq!(wait["peer"], "worker 1");
    let left = coordinator.report("worker_left", |_| true);
    assert_eq!(left["cause"], "silent", "{left}");
    is_whole(&coordinator.report("waiting", |_| true), "workers", "start one with");
    worker.signal(Signal::SIGCONT);
}

/// A worker that adds up for others stops: the others do without it, and it is named.
#[test]
fn a_home_is_stopped() {
    let job = JOB.replace("epochs = 3", "epochs = 1000000");
    let job = format!("{job}[cluster]\nhomes = \"on\"\n");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let page = page(&coordinator);
    let address = coordinator.address();
    let workers: [Process; 3] = [(); 3].map(|()| folder.worker(&address, &["--no-shared-memory"]));
    let step = |status: &Value| status["position"]["step"].as_u64().unwrap_or_default();
    once(&page, |status| step(status) > 0);
    workers[0].signal(Signal::SIGSTOP);
    let left = coordinator.report("worker_left", |_| true);
    assert_eq!((&left["cause"], &left["workers"]), (&"silent".into(), &2.into()), "{left}");
    let at = step(&once(&page, |_| true));
    once(&page, |status| step(status) > at);
    workers[0].signal(Signal::SIGCONT);
}

/// A cable between two hosts is pulled: the coordinator says who is gone and what it needs, and the worker whom it has lost.
#[test]
fn a_link_is_cut() {
    let Some(hosts) = Hosts::new() else { return };
    let folder = endless();
    let listen = format!("{}:0", V4[0]);
    let coordinator = hosts.coordinator(&folder, &listen, &["--out", "run"]);
    coordinator.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    let arguments = ["--log-format", "json", "worker", "--join-file", "run/join", "--wait", "60"];
    let worker = hosts.start(1, &folder, &arguments);
    coordinator.report("progress", |_| true);
    hosts.cable("down");
    let left = coordinator.report("worker_left", |_| true);
    assert_eq!((&left["cause"], &left["address"]), (&"silent".into(), &V4[1].into()), "{left}");
    is_whole(&coordinator.report("waiting", |_| true), "workers", "start one with");
    let told = worker.report("waiting", |_| true);
    is_whole(&told, "joining", "start the coordinator, or check where it is and what is between");
    assert!(told["peer"].as_str().unwrap().contains(V4[0]), "{told}");
    // As whoever sits at the coordinator's machine sees it.
    let ask = |arguments: &[&str]| {
        hosts.start(0, &folder, &[&["status", "run"], arguments].concat()).end()
    };
    let status: Value = serde_json::from_str(&ask(&["--json"]).stdout).unwrap();
    is_whole(&status["waits"][0], "workers", "start one with");
    assert_eq!(status["gone"][0]["cause"], "silent", "{status:#}");
    assert!(ask(&[]).stdout.contains("WAITING (workers): "));
}

/// The disk of the run folder is really full, and has room again later.
#[test]
fn a_disk_is_full_and_then_has_room() {
    let folder = endless();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let script = "mount -t tmpfs -o size=16m none disk && head -c 16500000 /dev/zero > disk/other && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    let mut probe = Command::new(command.get_program());
    probe.args(command.get_args()).arg(script).arg("true").current_dir(folder.path());
    if !probe.output().is_ok_and(|ended| ended.status.success()) {
        return skip("a disk of its own (that takes root and util-linux)");
    }
    command.arg(script).arg(env!("CARGO_BIN_EXE_lockstep"));
    let arguments = [
        &["--log-format", "json", "coordinator", "job.toml", "--out", "disk/run"][..],
        &["--listen", "127.0.0.1:0", "--checkpoint-seconds", "3600"],
    ]
    .concat();
    let coordinator = Process::start(through(command, folder.path(), &arguments));
    let page = page(&coordinator);
    let _worker = folder.worker(&coordinator.address(), &[]);
    let full = |status: &Value| {
        let waits = status["waits"].as_array().unwrap();
        waits.iter().find(|wait| wait["stage"] == "disk").cloned()
    };
    let wait = full(&once(&page, |status| full(status).is_some())).unwrap();
    is_whole(&wait, "disk", "make room on the disk of the run folder");
    assert!(wait["what"].as_str().unwrap().contains("No space left on device"), "{wait}");
    coordinator.report("warning", |warning| {
        warning["message"].as_str().unwrap().contains("No space left on device")
    });
    let step = |status: &Value| status["position"]["step"].as_u64().unwrap();
    let at = step(&once(&page, |_| true));
    once(&page, |status| step(status) > at);
    let inside = format!("/proc/{}/cwd/disk/other", coordinator.pid());
    std::fs::remove_file(inside).unwrap();
    once(&page, |status| full(status).is_none());
}

/// Two workers give different values and there is no third: both are named.
#[test]
fn answers_that_differ_wait_for_a_third_worker() {
    let folder = audit::folder();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let (page, address) = (page(&coordinator), coordinator.address());
    let relay = Relay::new(&address, audit::flipping());
    let _workers = [folder.worker(&relay.address(), &[]), folder.worker(&address, &[])];
    let wait = shown(&page, "audit");
    is_whole(&wait, "audit", "start another worker");
    let who = (&wait["peer"], &wait["limit_seconds"]);
    assert_eq!(who, (&"worker 1, worker 2".into(), &Value::Null), "{wait}");
    let told = coordinator.report("waiting", |told| told["stage"] == "audit");
    is_whole(&told, "audit", "start another worker");
    assert_eq!(told["peer"], "worker 1, worker 2", "{told}");
}

#[test]
fn a_worker_of_another_version_or_without_the_secret_is_named() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = "9".repeat(ours.len());
    let proxy = Proxy::replacing(&coordinator.address(), ours, &theirs);
    let worker = folder.worker(&proxy.address(), &[]);
    let wait = shown(&page, "joining");
    is_whole(&wait, "joining", "start that worker again with what this run wants");
    assert!(wait["what"].as_str().unwrap().contains("install the same version on both"), "{wait}");
    assert!(wait["peer"].as_str().unwrap().contains("process "), "{wait}");
    coordinator.report("warning", |warning| {
        warning["message"].as_str().unwrap().contains("install the same version on both")
    });
    worker.end().expect(6);
}

#[test]
fn a_worker_with_an_old_secret_is_named() {
    let folder = folder();
    let (coordinator, line) = joining::coordinator(&folder, &[]);
    let page = page(&coordinator);
    let other = JoinLine { secret: Secret::random().unwrap(), ..line };
    let worker = joining::join(&folder, &other.to_line());
    let wait = shown(&page, "joining");
    is_whole(&wait, "joining", "start that worker again with what this run wants");
    assert!(wait["what"].as_str().unwrap().contains("the join line's secret"), "{wait}");
    worker.end().expect(6);
}

/// Somebody takes the connection and says nothing: a worker says so before it gives up, and again with what it met.
#[test]
fn a_coordinator_that_hangs_is_named_by_its_workers() {
    let folder = folder();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let arguments = ["--log-format", "json", "worker", "--coordinator", &address, "--wait", "60"];
    let worker = folder.start(&arguments);
    let told = worker.report("waiting", |_| true);
    is_whole(&told, "joining", "start the coordinator");
    assert_eq!(told["peer"], format!("coordinator: {address}"));
    assert_eq!(told["limit_seconds"], 60.0);
    assert!(told["what"].as_str().unwrap().starts_with("waiting for an answer for "), "{told}");
    let met =
        worker.report("waiting", |told| told["what"].as_str().unwrap().starts_with("no coor"));
    assert!(met["seconds"].as_f64() > told["seconds"].as_f64(), "{met}");
}
