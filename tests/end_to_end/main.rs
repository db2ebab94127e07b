//! The program as people use it: real processes, real sockets, real files. Nothing here looks inside a library.

#![cfg(test)] // So that clippy knows helpers for test code.

mod bad_cluster;
mod bad_job;
mod bad_table;
mod bad_weights;
mod bits;
mod cli;
#[cfg(target_os = "linux")]
mod faults;
mod folder;
mod idx;
#[cfg(target_os = "linux")]
mod lifecycle;
mod parity;
mod predict;
mod process;
mod proxy;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod qemu;
#[cfg(target_os = "linux")]
mod resume;
mod run_folder;
