//! What faults cost: real processes, hit on purpose, beside the undisturbed step of the same run.
//!
//! `cargo bench --bench recovery` measures, for each kind of fault, the time from the fault to the next committed
//! step; then the throughput under many faults a minute; then the throughput with one worker of four slowed to a
//! quarter. A word after `--` picks the parts whose name holds it: `cargo bench --bench recovery -- uneven`.

#![allow(clippy::print_stdout)]

mod cluster;
mod uneven;

use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use cluster::{Cluster, Job};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Times that each fault is tried.
const TRIES: usize = 9;

/// Steps of some 50 ms.
const JOB: Job = Job { widths: &[784, 512, 512, 10], batch: 1024, epochs: 100_000 };

type Fault = fn(&mut Cluster) -> Result<Instant>;

fn main() -> Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let picked = |name: &str| wanted.iter().all(|word| name.contains(word.as_str()));
    let faults: [(&str, &str, Fault); 4] = [
        ("worker killed", "1 step + 100 ms", kill_worker),
        ("worker stopped", "2 steps + hedging delay", stop_worker),
        ("worker asked to leave", "1 step + 100 ms", dismiss_worker),
        ("coordinator killed", "2 s", kill_coordinator),
    ];
    println!("{:<24} {:>10} {:>10} {:>10}   aim", "fault", "usual ms", "median ms", "worst ms");
    for (name, aim, fault) in faults.into_iter().filter(|(name, ..)| picked(name)) {
        let (usual, mut times) = recovery_times(fault)?;
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{name:<24} {:>10.1} {:>10.1} {:>10.1}   under {aim}",
            usual * 1e3,
            median * 1e3,
            worst * 1e3
        );
    }
    if picked("throughput") {
        throughput()?;
    }
    if picked("uneven") {
        uneven::measure()?;
    }
    Ok(())
}

/// The usual step's seconds, and those from each fault to the next step.
fn recovery_times(fault: Fault) -> Result<(f64, Vec<f64>)> {
    let mut cluster = Cluster::start(&JOB, 3)?;
    cluster.wait_for_steps(20)?;
    let usual = cluster.median_step(15);
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let at = fault(&mut cluster)?;
        times.push(cluster.next_step_after(at)?.as_secs_f64());
        cluster.heal()?;
        cluster.wait_for_steps(10)?;
    }
    Ok((usual, times))
}

fn kill_worker(cluster: &mut Cluster) -> Result<Instant> {
    cluster.signal_worker(Signal::SIGKILL)
}

fn stop_worker(cluster: &mut Cluster) -> Result<Instant> {
    cluster.signal_worker(Signal::SIGSTOP)
}

fn dismiss_worker(cluster: &mut Cluster) -> Result<Instant> {
    cluster.signal_worker(Signal::SIGTERM)
}

fn kill_coordinator(cluster: &mut Cluster) -> Result<Instant> {
    let at = cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    Ok(at)
}

/// Steps in the same time with faults, twenty a minute, and without. A worker is replaced at once, one that is stopped
/// goes on after a second.
fn throughput() -> Result<()> {
    const TIME: Duration = Duration::from_secs(36);
    const PAUSE: Duration = Duration::from_secs(3);
    const STOP: Duration = Duration::from_secs(1);
    let mut cluster = Cluster::start(&JOB, std::thread::available_parallelism()?.get())?;
    cluster.wait_for_steps(20)?;
    let calm = cluster.steps_in(TIME)?;
    let (mut faults, mut stormy) = (0_usize, 0);
    while faults * 3 < TIME.as_secs() as usize {
        let before = cluster.steps_made();
        let started = Instant::now();
        match faults % 4 {
            0 | 2 => kill_worker(&mut cluster)?,
            1 => {
                let at = stop_worker(&mut cluster)?;
                sleep(STOP);
                at
            }
            _ => kill_coordinator(&mut cluster)?,
        };
        cluster.heal()?;
        sleep(PAUSE.saturating_sub(started.elapsed()));
        stormy += cluster.steps_made() - before;
        faults += 1;
    }
    println!(
        "throughput with 20 faults a minute (worker killed, stopped, killed, coordinator killed): {:.0}% of \
         undisturbed   aim: over 80%",
        100.0 * stormy as f64 / calm as f64
    );
    Ok(())
}
