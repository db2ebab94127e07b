//! Four workers, one of them slowed to a quarter, against four alike.
//!
//! Slowing down is done by stopping a process for a part of every few milliseconds, so that all four together need
//! no more cores than there are: three run for a share of the time, the slow one for a quarter of that share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;
use crate::cluster::{Cluster, Job};

const PERIOD: Duration = Duration::from_millis(20);

/// Steps of some 0.3 s, many periods long.
const JOB: Job = Job { widths: &[784, 512, 512, 10], batch: 2048, epochs: 100_000 };

/// Time for speeds to be measured and spans to follow, and time that counts.
const SETTLING: Duration = Duration::from_secs(4);
const TIME: Duration = Duration::from_secs(8);
const TURNS: usize = 4;

pub(crate) fn measure() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get() as f64;
    // Half a core is left to the coordinator and to chance.
    let share = ((cores - 0.5) / 4.0).min(0.8);
    let mut cluster = Cluster::start(&JOB, 4)?;
    let pids = cluster.pids();
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        let mut steps = [0.0; 2];
        for (steps, slowest) in steps.iter_mut().zip([1.0, 0.25]) {
            let shares = [share, share, share, share * slowest];
            *steps = while_throttled(&pids, shares, || {
                cluster.steps_in(SETTLING)?;
                Ok(cluster.steps_in(TIME)? as f64)
            })?;
            println!(
                "uneven: {steps} steps with shares {shares:.2?} of a core: spans {}",
                cluster.newest_plan()?
            );
        }
        ratios.push(steps[1] / (steps[0] * (3.0 + 0.25) / 4.0));
    }
    let percent: Vec<String> = ratios.iter().map(|ratio| format!("{:.0}", 100.0 * ratio)).collect();
    println!(
        "uneven: with one of four at a quarter: {:.0}% of what their speeds allow (by turns: {})   aim: 85%",
        100.0 * crate::median(&mut ratios),
        percent.join(", ")
    );
    Ok(())
}

fn while_throttled<T>(
    pids: &[Pid],
    shares: [f64; 4],
    measure: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                throttled(pids, shares, Duration::from_millis(200));
            }
        });
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Lets each process run for its share of every period. They are spread over the period.
fn throttled(pids: &[Pid], shares: [f64; 4], time: Duration) {
    let started = Instant::now();
    // By process: the place in the period where its turn begins and where it ends.
    let turns: Vec<(f64, f64)> =
        (0..4).map(|i| (i as f64 / 4.0, i as f64 / 4.0 + shares[i])).collect();
    let mut runs = [true; 4];
    while started.elapsed() < time {
        let place = (started.elapsed().as_secs_f64() / PERIOD.as_secs_f64()).fract();
        for (i, &(start, end)) in turns.iter().enumerate() {
            let on = (start..end).contains(&place) || (start..end).contains(&(place + 1.0));
            if on != runs[i] {
                let signal = if on { Signal::SIGCONT } else { Signal::SIGSTOP };
                // A worker that has ended is found out by the steps that fail to come.
                let _ = kill(pids[i], signal);
                runs[i] = on;
            }
        }
        sleep(Duration::from_micros(500));
    }
    for pid in pids {
        let _ = kill(*pid, Signal::SIGCONT);
    }
}
