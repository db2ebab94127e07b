//! Other CPUs, played by QEMU: older ones make the same bits, those without fused multiply-add slowly.

use std::process::Command;

use crate::folder::Folder;
use crate::process::{Process, run, through};
use crate::tools::skip;

/// The first version that plays AVX2 and FMA.
const QEMU_MIN: (u32, u32) = (7, 2);

/// Work for one thread, and work for the pool.
const JOBS: [(&str, &str); 2] = [
    (
        "digits-gelu-adam-clip",
        r#"
name = "small"
[data]
train = "train.csv"
target = "y"
[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [
  { type = "dense", units = 24, activation = "gelu" },
  { type = "dense", units = 12, activation = "tanh" },
  { type = "dense", units = 10, activation = "softmax" },
]
[train]
optimizer = "adam"
epochs = 1
batch_size = 25
gradient_clip_norm = 0.5
"#,
    ),
    (
        "boston-relu-adam-mse",
        r#"
name = "wide"
[data]
train = "train.csv"
target = "y"
scale = "standard"
[model]
loss = "huber"
layers = [
  { type = "dense", units = 300, activation = "silu" },
  { type = "dense", units = 30, activation = "softplus" },
  { type = "dense", units = 1, activation = "linear" },
]
[train]
optimizer = { type = "sgd", learning_rate = 0.01, momentum = 0.9 }
epochs = 1
batch_size = 200
"#,
    ),
];

/// Whether there is a QEMU that can do it; says so if not.
fn is_here() -> bool {
    let version = Command::new("qemu-x86_64").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let found = version.as_ref().ok().and_then(|text| {
        let number = text.split_whitespace().nth(2)?;
        let mut parts = number.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    let is_here = found.is_some_and(|found| found >= QEMU_MIN);
    if !is_here {
        skip(&format!(
            "qemu-x86_64 {QEMU_MIN:?} or newer (Debian package qemu-user), found {found:?}"
        ));
    }
    is_here
}

fn worker(folder: &Folder, cpu: &str, address: &str) -> Process {
    let mut qemu = Command::new("qemu-x86_64");
    qemu.args(["-cpu", cpu, env!("CARGO_BIN_EXE_lockstep")]);
    let arguments = ["worker", "--coordinator", address, "--threads", "2"];
    Process::start(through(qemu, folder.path(), &arguments))
}

#[test]
fn a_cluster_of_different_cpus_makes_the_same_bits() {
    if !is_here() {
        return;
    }
    for (table, job) in JOBS {
        let folder = Folder::with_table(job, table, 320);
        let wanted = folder.train(1, 1);
        let coordinator = folder.coordinator(&["--workers-start", "3"]);
        let address = coordinator.address();
        let workers = [
            folder.worker(&address, &[]),
            worker(&folder, "Haswell", &address),
            worker(&folder, "Nehalem", &address),
        ];
        for process in workers.into_iter().chain([coordinator]) {
            process.end().expect(0);
        }
        assert_eq!(folder.hash(), wanted, "{job}");
    }
}

/// Tables are read and models used on any CPU that runs the program at all.
#[test]
fn a_job_is_checked_on_any_cpu() {
    if !is_here() {
        return;
    }
    let (table, job) = JOBS[0];
    let folder = Folder::with_table(job, table, 320);
    let mut qemu = Command::new("qemu-x86_64");
    qemu.args(["-cpu", "Nehalem", env!("CARGO_BIN_EXE_lockstep")]);
    run(through(qemu, folder.path(), &["check", "job.toml"])).expect(0);
}
