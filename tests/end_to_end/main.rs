//! The program as people use it: real processes, real sockets, real files. Nothing here looks inside a library.

#![cfg(test)] // So that clippy knows helpers for test code.

#[cfg(target_os = "linux")]
mod altered;
mod api;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod arithmetic;
mod audit;
mod bad_cluster;
mod bad_job;
#[cfg(target_os = "linux")]
mod bad_peer;
mod bad_table;
mod bad_weights;
mod batch_norm;
mod bits;
#[cfg(target_os = "linux")]
mod browser;
#[cfg(target_os = "linux")]
mod certificates;
#[cfg(target_os = "linux")]
mod chaos;
#[cfg(target_os = "linux")]
mod class_metrics;
mod cli;
mod coding;
mod columns;
mod crews;
mod dialects;
mod documents;
#[cfg(target_os = "linux")]
mod dropout;
#[cfg(target_os = "linux")]
mod early_stopping;
#[cfg(target_os = "linux")]
mod embeddings;
#[cfg(target_os = "linux")]
mod eviction;
#[cfg(target_os = "linux")]
mod export;
#[cfg(target_os = "linux")]
mod failpoints;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod fine_tuning;
mod folder;
#[cfg(target_os = "linux")]
mod foreign;
mod formats;
#[cfg(target_os = "linux")]
mod gradients;
mod homes;
#[cfg(target_os = "linux")]
mod hostile_coordinator;
#[cfg(target_os = "linux")]
mod hostile_states;
mod hostile_text;
#[cfg(target_os = "linux")]
mod hostile_worker;
#[cfg(target_os = "linux")]
mod hosts;
mod house;
mod idx;
mod images;
mod init;
#[cfg(target_os = "linux")]
mod job_document;
#[cfg(target_os = "linux")]
mod joining;
mod journal;
mod kinds;
#[cfg(target_os = "linux")]
mod kubernetes;
mod large;
mod launch;
#[cfg(target_os = "linux")]
mod lifecycle;
#[cfg(target_os = "linux")]
mod limits;
mod log;
mod long_messages;
#[cfg(target_os = "linux")]
mod losses;
mod lying_peer;
#[cfg(target_os = "linux")]
mod netns;
mod npy;
#[cfg(target_os = "linux")]
mod own_columns;
#[cfg(target_os = "linux")]
mod page;
#[cfg(target_os = "linux")]
mod panics;
mod parity;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod plateau;
#[cfg(target_os = "linux")]
mod pods;
#[cfg(target_os = "linux")]
mod precision;
mod predict;
mod process;
#[cfg(target_os = "linux")]
mod prometheus;
mod proxy;
#[cfg(target_os = "linux")]
mod pty;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod qemu;
#[cfg(target_os = "linux")]
mod reflection;
#[cfg(target_os = "linux")]
mod relay;
mod report;
#[cfg(target_os = "linux")]
mod resume;
#[cfg(target_os = "linux")]
mod richer;
mod run_folder;
mod rust_and_cli;
#[cfg(target_os = "linux")]
mod rust_runs;
#[cfg(target_os = "linux")]
mod scaled_targets;
#[cfg(target_os = "linux")]
mod schedules;
mod sharing;
#[cfg(target_os = "linux")]
mod silence;
#[cfg(target_os = "linux")]
mod slurm;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod status_access;
#[cfg(target_os = "linux")]
mod stopping;
#[cfg(target_os = "linux")]
mod stuck;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(target_os = "linux")]
mod tensorboard;
mod terminal;
#[cfg(target_os = "linux")]
mod thresholds;
#[cfg(target_os = "linux")]
mod timeline;
#[cfg(target_os = "linux")]
mod tools;
#[cfg(target_os = "linux")]
mod unfinished;
#[cfg(target_os = "linux")]
mod updates;
#[cfg(target_os = "linux")]
mod verify;
#[cfg(target_os = "linux")]
mod weights;
