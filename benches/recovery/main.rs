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
        let (median, worst) = (median(&mut times), times[times.len() - 1]);
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

/// Steps with faults, twenty a minute, against as long without, by turns. A worker is replaced at once, one that is
/// stopped goes on after a second.
fn throughput() -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(3);
    const STOP: Duration = Duration::from_secs(1);
    const TURNS: usize = 4;
    let mut cluster = Cluster::start(&JOB, std::thread::available_parallelism()?.get())?;
    cluster.wait_for_steps(20)?;
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        let calm = cluster.steps_in(4 * PAUSE)?;
        let before = cluster.steps_made();
        let faults: [(Fault, Duration); 4] = [
            (kill_worker, Duration::ZERO),
            (stop_worker, STOP),
            (kill_worker, Duration::ZERO),
            (kill_coordinator, Duration::ZERO),
        ];
        for (fault, lasts) in faults {
            let started = Instant::now();
            fault(&mut cluster)?;
            sleep(lasts);
            cluster.heal()?;
            sleep(PAUSE.saturating_sub(started.elapsed()));
        }
        ratios.push((cluster.steps_made() - before) as f64 / calm as f64);
    }
    let percent: Vec<String> = ratios.iter().map(|ratio| format!("{:.0}", 100.0 * ratio)).collect();
    println!(
        "throughput with 20 faults a minute (worker killed, stopped, killed, coordinator killed): {:.0}% of \
         undisturbed (by turns: {})   aim: over 80%",
        100.0 * median(&mut ratios),
        percent.join(", ")
    );
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
