//! A cut between two hosts, played by network namespaces: nothing arrives and nobody is told. Skips itself where the
//! system does not allow that.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::faults::{LONG_HASH, long_folder};
use crate::folder::Folder;
use crate::process::{Process, through};
use crate::tools::skip;

/// Two hosts with a cable between them; gone when dropped.
struct Hosts {
    names: [String; 2],
}

const ADDRESS: &str = "10.231.7.1";

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Hosts {
    /// `None`, and why, if that cannot be had.
    fn new() -> Option<Hosts> {
        let names = ["a", "b"].map(|host| format!("lockstep-{host}-{}", std::process::id()));
        let hosts = Hosts { names };
        let [a, b] = &hosts.names;
        let cable = ["va", "peer", "name", "vb"];
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(
                &[&["-n", a, "link", "add"], &cable[..1], &["type", "veth"], &cable[1..]].concat()
            )
            && ip(&["-n", a, "link", "set", "vb", "netns", b])
            && ip(&["-n", a, "addr", "add", &format!("{ADDRESS}/24"), "dev", "va"])
            && ip(&["-n", b, "addr", "add", "10.231.7.2/24", "dev", "vb"])
            && ip(&["-n", a, "link", "set", "va", "up"])
            && ip(&["-n", b, "link", "set", "vb", "up"]);
        if !made {
            skip("network namespaces (that takes root and iproute2)");
        }
        made.then_some(hosts)
    }

    fn start(&self, host: usize, folder: &Folder, arguments: &[&str]) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[host], env!("CARGO_BIN_EXE_lockstep")]);
        Process::start(through(command, folder.path(), arguments))
    }

    fn cable(&self, state: &str) {
        assert!(ip(&["-n", &self.names[1], "link", "set", "vb", state]));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

#[test]
fn a_cable_is_pulled_and_put_back() {
    let Some(hosts) = Hosts::new() else { return };
    let folder = long_folder();
    let listen = format!("{ADDRESS}:0");
    let coordinator = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let coordinator = [&coordinator[..], &["--listen", &listen, "--workers-start", "2"]].concat();
    let coordinator = hosts.start(0, &folder, &coordinator);
    assert!(coordinator.address().starts_with(ADDRESS));
    let worker = ["worker", "--threads", "1", "--join-file", "run/join"];
    let workers = [hosts.start(1, &folder, &worker), hosts.start(1, &folder, &worker)];
    coordinator.report("progress", |_| true);
    // Nothing ends while the cable is being pulled.
    coordinator.signal(Signal::SIGSTOP);
    hosts.cable("down");
    coordinator.signal(Signal::SIGCONT);
    let left = coordinator.report("worker_left", |left| left["workers"] == 0);
    assert_eq!((&left["cause"], &left["address"]), (&"silent".into(), &"10.231.7.2".into()));
    assert!(
        left["reason"].as_str().unwrap().ends_with("or its machine or the network between is down")
    );
    for worker in &workers {
        worker.line("lost the coordinator (no answer for ");
    }
    hosts.cable("up");
    let ended = coordinator.end();
    ended.expect(0);
    assert_eq!(ended.stderr.matches("\"event\":\"worker_joined\"").count(), 4, "{ended}");
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!(folder.hash(), LONG_HASH);
}
