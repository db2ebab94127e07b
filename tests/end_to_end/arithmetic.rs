//! Processes in which something has switched off subnormal numbers, or rounding to nearest: they would make other
//! bits, and take no part.

use std::path::PathBuf;
use std::process::Command;

use crate::api::{CONTROL, fit_in_a_process};
use crate::faults::{HASH, folder};
use crate::folder::Folder;
use crate::process::{Process, lockstep};

/// Flags of the control register, and how a process with them computes.
const FLAGS: [(u32, &str); 4] = [
    (1 << 15, "flush-to-zero"),
    (1 << 6, "denormals-are-zero"),
    (1 << 15 | 1 << 6, "flush-to-zero and denormals-are-zero"),
    (1 << 13, "another rounding mode"),
];

/// A library that sets the flags when it is loaded, as those built with `-ffast-math` do.
fn library(folder: &Folder, flags: u32) -> PathBuf {
    let source = format!(
        r#"__attribute__((constructor)) static void set(void) {{
    unsigned control;
    __asm__ volatile("stmxcsr %0" : "=m"(control));
    control |= {flags};
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
}}
"#
    );
    folder.write("flags.c", &source);
    let path = folder.path().join("libflags.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&path).arg(folder.path().join("flags.c"));
    assert!(compiler.status().unwrap().success(), "a C compiler is needed");
    path
}

fn start(folder: &Folder, flags: u32, arguments: &[&str]) -> Process {
    let mut command = lockstep(folder.path(), arguments);
    command.env("LD_PRELOAD", library(folder, flags));
    Process::start(command)
}

#[test]
fn a_worker_that_computes_otherwise_is_refused() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    for (flags, name) in FLAGS {
        let worker = ["worker", "--threads", "2", "--coordinator", &address];
        let worker = start(&folder, flags, &worker);
        let ended = worker.end();
        ended.expect_with(6, "the coordinator refused this worker");
        ended.expect_with(6, name);
        coordinator.report("warning", |warning| {
            let message = warning["message"].as_str().unwrap_or_default();
            message.starts_with("refused a worker") && message.contains(name)
        });
    }
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn a_coordinator_that_computes_otherwise_does_not_begin() {
    for (flags, name) in FLAGS {
        let folder = folder();
        let arguments = ["coordinator", "job.toml", "--listen", "127.0.0.1:0", "--out", "run"];
        let ended = start(&folder, flags, &arguments).end();
        ended.expect_with(5, &format!("this process computes with {name}"));
    }
}

#[test]
fn a_program_that_computes_otherwise_gets_an_error() {
    for (flags, name) in FLAGS {
        let said = fit_in_a_process(&[(CONTROL, &flags.to_string())]);
        let wanted = format!("failed: this process computes with {name}");
        assert!(said.starts_with(&wanted), "{said}");
    }
}
