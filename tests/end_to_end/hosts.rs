//! Two hosts with a cable between them, played by network namespaces (Linux, root, iproute2). Where the system does not allow
//! that, the tests that want them skip themselves and say so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::folder::Folder;
use crate::process::{Process, through};
use crate::tools::skip;

/// The addresses of both, of either family.
pub(crate) const V4: [&str; 2] = ["10.231.7.1", "10.231.7.2"];
pub(crate) const V6: [&str; 2] = ["fd31:7::1", "fd31:7::2"];

/// An address on the cable at which nobody is, and from which nothing comes back: as behind a firewall that drops.
pub(crate) const SILENT: &str = "10.231.7.66";

/// An address on the cable that nobody has.
pub(crate) const NOBODY: &str = "10.231.7.77";

/// The ends of the cable.
const ENDS: [&str; 2] = ["va", "vb"];

/// Gone when dropped.
pub(crate) struct Hosts {
    names: [String; 2],
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Hosts {
    /// `None`, and why, if that cannot be had.
    pub(crate) fn new() -> Option<Hosts> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let names =
            ["a", "b"].map(|host| format!("lockstep-{host}-{}-{number}", std::process::id()));
        let hosts = Hosts { names };
        let [a, b] = &hosts.names;
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&[
                "-n", a, "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", b,
            ])
            && [0, 1].into_iter().all(|host| hosts.set_up(host))
            && ip(&["-n", b, "neigh", "add", SILENT, "lladdr", "02:00:00:00:00:66", "dev", "vb"]);
        if !made {
            skip("network namespaces (that takes root and iproute2)");
        }
        made.then_some(hosts)
    }

    fn set_up(&self, host: usize) -> bool {
        let (name, end) = (&self.names[host], ENDS[host]);
        // Without the wait for somebody who has the same address.
        ip(&["-n", name, "addr", "add", &format!("{}/64", V6[host]), "dev", end, "nodad"])
            && ip(&["-n", name, "addr", "add", &format!("{}/24", V4[host]), "dev", end])
            && ip(&["-n", name, "link", "set", "lo", "up"])
            && ip(&["-n", name, "link", "set", end, "up"])
    }

    /// What the names of hosts mean on one of them.
    pub(crate) fn names(&self, host: usize, lines: &str) {
        let folder = self.settings(host);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts"), lines).unwrap();
        // Nobody to ask is there, and that is found at once.
        fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    }

    /// What `ip netns exec` puts in the place of files in `/etc`.
    fn settings(&self, host: usize) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.names[host])
    }

    /// Starts the program on a host.
    pub(crate) fn start(&self, host: usize, folder: &Folder, arguments: &[&str]) -> Process {
        self.start_other(host, folder, env!("CARGO_BIN_EXE_lockstep"), arguments)
    }

    pub(crate) fn start_other(
        &self,
        host: usize,
        folder: &Folder,
        program: &str,
        arguments: &[&str],
    ) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[host], program]);
        Process::start(through(command, folder.path(), arguments))
    }

    /// A coordinator of `job.toml` on the first host.
    pub(crate) fn coordinator(&self, folder: &Folder, listen: &str, arguments: &[&str]) -> Process {
        let all = ["--log-format", "json", "coordinator", "job.toml", "--listen", listen];
        self.start(0, folder, &[&all[..], arguments].concat())
    }

    /// A worker on the second host.
    pub(crate) fn worker(&self, folder: &Folder, arguments: &[&str]) -> Process {
        self.start(1, folder, &[&["worker", "--threads", "1"][..], arguments].concat())
    }

    /// Pulls the cable at the second host, or puts it back.
    pub(crate) fn cable(&self, state: &str) {
        let [_, b] = &self.names;
        assert!(ip(&["-n", b, "link", "set", "vb", state]));
        // An address of IPv6 goes with the link, an entry for a neighbor too.
        if state == "up" {
            let _ = ip(&["-n", b, "addr", "add", &format!("{}/64", V6[1]), "dev", "vb", "nodad"]);
        }
    }

    /// Gives the first host another address in place of its own.
    pub(crate) fn renumber(&self, address: &str) {
        let [a, _] = &self.names;
        // In this order: with its first address an end loses all others of that network.
        assert!(ip(&["-n", a, "addr", "del", &format!("{}/24", V4[0]), "dev", "va"]));
        assert!(ip(&["-n", a, "addr", "add", &format!("{address}/24"), "dev", "va"]));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for (host, name) in self.names.iter().enumerate() {
            ip(&["netns", "del", name]);
            let _ = fs::remove_dir_all(self.settings(host));
        }
    }
}
