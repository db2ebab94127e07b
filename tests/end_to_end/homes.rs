//! Workers that add up each other's gradients: the same bits as ever, whoever dies and whoever cannot reach whom, and nothing
//! readable on the way.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_proto::tree::ShardTree;
use lockstep_proto::wire::worker_message::Kind;
use nix::sys::signal::Signal;

use crate::faults::JOB;
use crate::folder::{Folder, edited};
use crate::hosts::{Hosts, V4};
use crate::netns::{readable, weights};
use crate::process::poll;
use crate::relay::{Change, Relay};
use crate::sharing;
use crate::tools::skip;

const TABLE: &str = "boston-relu-adam-mse";
const ALONE: &[&str] = &["--no-shared-memory"];
const THREE: &[&str] = &["--workers-start", "3"];

fn homes(job: &str, coding: &str) -> Folder {
    let cluster = format!("[cluster]\nhomes = \"on\"\ncoding = \"{coding}\"\n");
    Folder::with_table(&format!("{job}{cluster}"), TABLE, 506)
}

/// A job of several chunks, each with another home, and its weights without any.
fn long(coding: &str) -> (Folder, String) {
    let job = edited(sharing::JOB, "gradient_clip_norm = 1.0\n", "");
    let job = edited(&job, "epochs = 3", "epochs = 20");
    (homes(&job, coding), Folder::with_table(&job, TABLE, 506).train(1, 1))
}

/// Counts sums that a worker says it added up.
fn counting() -> (Arc<Change>, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let change: Arc<Change> = Arc::new(move |message| {
        if let Some(Kind::Sum(_)) = &message.kind {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        vec![message]
    });
    (change, count)
}

#[test]
fn with_homes_the_bits_are_the_same() {
    let bf16 = edited(sharing::JOB, "[train]\n", "[train]\nprecision = \"bf16\"\n");
    let unclipped = edited(sharing::JOB, "gradient_clip_norm = 1.0\n", "");
    let penalized = edited(sharing::JOB, "units = 450,", "units = 450, kernel_l1 = 0.001,");
    for (job, coding) in [
        (JOB, "on"),
        (&penalized[..], "on"),
        (sharing::JOB, "off"),
        (sharing::JOB, "on"),
        (&bf16[..], "on"),
        (&unclipped[..], "auto"),
        (&unclipped[..], "on"),
    ] {
        let wanted = Folder::with_table(job, TABLE, 506).train(1, 1);
        let folder = homes(job, coding);
        let coordinator = folder.coordinator(THREE);
        let address = coordinator.address();
        let workers = [ALONE, ALONE, ALONE].map(|arguments| folder.worker(&address, arguments));
        for worker in workers {
            worker.end().expect(0);
        }
        coordinator.end().expect(0);
        assert_eq!(folder.hash(), wanted, "{job}, coding = {coding}");
        folder.run(&["verify", "run"]).expect(0);
    }
}

#[test]
fn a_home_is_killed_and_another_comes() {
    let (folder, wanted) = long("on");
    let coordinator = folder.coordinator(THREE);
    let address = coordinator.address();
    let (change, sums) = counting();
    let relay = Relay::new(&address, change);
    let killed = folder.worker(&relay.address(), ALONE);
    let left = [ALONE, ALONE].map(|arguments| folder.worker(&address, arguments));
    assert!(poll(|| sums.load(Ordering::Relaxed) > 0), "it is home to nothing");
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end().code(), None);
    coordinator.report("worker_left", |left| left["workers"] == 2);
    let late = folder.worker(&address, ALONE);
    for worker in left.into_iter().chain([late]) {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), wanted);
}

/// A worker that shares memory with the coordinator sends its nodes to homes as the others do, so that these make whole sums.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_on_the_coordinators_machine_sends_to_homes() {
    let (folder, wanted) = long("on");
    let coordinator = folder.coordinator(THREE);
    let address = coordinator.address();
    let wholes = Arc::new(AtomicU64::new(0));
    let counted = wholes.clone();
    let root = ShardTree::new(5).root();
    let change: Arc<Change> = Arc::new(move |message| {
        if let Some(Kind::Sum(sum)) = &message.kind
            && sum.slice.as_ref().is_some_and(|slice| slice.level == root.level)
        {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        vec![message]
    });
    let relay = Relay::new(&address, change);
    let workers = [
        folder.worker(&address, &[]),
        folder.worker(&address, ALONE),
        folder.worker(&relay.address(), ALONE),
    ];
    for worker in workers {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), wanted);
    assert!(wholes.load(Ordering::Relaxed) > 0, "the first worker's nodes never came to a home");
}

/// Two workers whose ports are closed to each other, and a third that both reach.
#[test]
fn a_pair_that_is_cut_off_goes_through_the_coordinator() {
    if Command::new("iptables").arg("--version").output().is_err() {
        return skip("iptables");
    }
    let Some(hosts) = Hosts::new() else { return };
    let (folder, wanted) = long("on");
    for port in ["7101", "7102"] {
        let rule = ["-A", "INPUT", "-p", "tcp", "--dport", port, "-j", "DROP"];
        let ended = hosts.start_other(1, &folder, "iptables", &rule).end();
        if ended.code() != Some(0) {
            return skip("rules of iptables");
        }
    }
    let arguments = [&["--out", "run"][..], THREE].concat();
    let coordinator = hosts.coordinator(&folder, &format!("{}:0", V4[0]), &arguments);
    coordinator.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    let workers = ["7101", "7102", "7103"].map(|port| {
        let listen = format!("{}:{port}", V4[1]);
        let own = ["--join-file", "run/join", "--listen", &listen];
        hosts.worker(&folder, &[&own[..], ALONE].concat())
    });
    for worker in workers {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), wanted);
}

/// Between workers, too: what they say is on the loopback of their host.
#[test]
fn nothing_that_workers_say_to_each_other_is_readable() {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        return skip("tcpdump");
    }
    let Some(hosts) = Hosts::new() else { return };
    // What is coded would not be readable anyway.
    let (folder, wanted) = long("off");
    let file = "between.pcap";
    let capture = ["-i", "lo", "-Z", "root", "-U", "--immediate-mode", "-w", file];
    let capture = hosts.start_other(1, &folder, "tcpdump", &capture);
    capture.line("listening on lo");
    let arguments = [&["--out", "run", "--insecure"][..], THREE].concat();
    let coordinator = hosts.coordinator(&folder, &format!("{}:0", V4[0]), &arguments);
    let address = coordinator.address();
    let open = [&["--coordinator", &address, "--insecure"][..], ALONE].concat();
    let worker = || hosts.worker(&folder, &open);
    let workers = [worker(), worker(), worker()];
    for worker in workers {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    capture.signal(Signal::SIGINT);
    capture.end();
    let captured = std::fs::read(folder.path().join(file)).unwrap();
    assert!(captured.len() > 1_000_000, "{} bytes between workers", captured.len());
    // What the run ended with was passed on by homes, for the last evaluation.
    assert_eq!(readable(&captured, &weights(&folder, "run")), 0);
    assert_eq!(folder.hash(), wanted);
}
