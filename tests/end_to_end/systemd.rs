//! The units in deploy/systemd: that systemd takes them, and that a run goes through with their own command lines.

use std::path::Path;
use std::process::Command;

use crate::faults::{HASH, folder};
use crate::folder::Folder;
use crate::process::{Process, lockstep, poll};
use crate::tools::{free_ports, skip};

const PROGRAM: &str = "/usr/local/bin/lockstep";

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The value of a key that is there once.
#[track_caller]
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(values.next(), None, "{key} is there twice");
    value
}

/// Starts what a unit starts, in a folder that stands for the system's own.
fn start(folder: &Folder, unit: &str, settings: &[(&str, &str)]) -> Process {
    let line = value(unit, "ExecStart").strip_prefix(PROGRAM).unwrap();
    let place = folder.path().display().to_string();
    let line = line.replace("%i", "faults").replace("%S", &place);
    let line = line.replace("/etc/lockstep/faults", &place);
    let line = line.replace("${CREDENTIALS_DIRECTORY}", &format!("{place}/secrets"));
    let set = |line: String, (key, value): &(&str, &str)| {
        line.replace(&format!("${{{key}}}"), value).replace(&format!("${key}"), value)
    };
    let line = settings.iter().fold(line, set);
    assert!(!line.contains(['%', '$']), "{line}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = lockstep(folder.path(), &words);
    command.env("LOCKSTEP_LOG_FORMAT", "json");
    Process::start(command)
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd-analyze (systemd)");
    }
    let folder = Folder::new(&[]);
    let program = env!("CARGO_BIN_EXE_lockstep");
    let names = [
        ("lockstep-coordinator@.service", "lockstep-coordinator@faults.service"),
        ("lockstep-worker.service", "lockstep-worker.service"),
    ];
    for (name, instance) in names {
        folder.write(instance, &unit(name).replace(PROGRAM, program));
        let mut verify = Command::new("systemd-analyze");
        let verify = verify.args(["verify", "--man=no"]).arg(folder.path().join(instance));
        let output = verify.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Units of this machine that it meets on the way may have troubles of their own.
        let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("lockstep")).collect();
        assert!(output.status.success() && of_ours.is_empty(), "{name}: {said}");
    }
}

/// As docs/output.md has the exit codes: whatever is not listed is tried again.
#[test]
fn what_would_end_in_the_same_way_is_not_started_again() {
    let coordinator = unit("lockstep-coordinator@.service");
    let worker = unit("lockstep-worker.service");
    for unit in [&coordinator, &worker] {
        assert_eq!((value(unit, "Restart"), value(unit, "SuccessExitStatus")), ("always", "130"));
        assert_eq!(value(unit, "DynamicUser"), "yes");
    }
    assert_eq!(value(&coordinator, "RestartPreventExitStatus"), "0 1 2 3 4");
    assert_eq!(value(&worker, "RestartPreventExitStatus"), "0 2 6 7");
}

#[test]
fn a_run_goes_through_with_the_units_own_lines() {
    let folder = folder();
    let [port] = free_ports();
    let address = format!("127.0.0.1:{port}");
    folder.run(&["token", "secrets", "--new", "--address", &address]).expect(0);
    // As StateDirectory= makes it.
    std::fs::create_dir_all(folder.path().join("lockstep/faults")).unwrap();
    let coordinator = unit("lockstep-coordinator@.service");
    let settings = [("LISTEN", &address[..]), ("WORKERS_START", "1"), ("ARGUMENTS", "")];
    let coordinator = start(&folder, &coordinator, &settings);
    let asks = ["health", "--join-file", "secrets/join"];
    assert!(poll(|| folder.run(&asks).code() == Some(0)));
    // Loopback or not, who has an identity demands its secret.
    folder
        .run(&["worker", "--coordinator", &address, "--wait", "0.5"])
        .expect_with(5, "something behind TLS listens there");
    let settings = [("WAIT", "60"), ("ARGUMENTS", "--threads 1")];
    start(&folder, &unit("lockstep-worker.service"), &settings).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash_of("lockstep/faults"), HASH);
    folder.run(&asks).expect_with(5, "nothing listens there");
}
