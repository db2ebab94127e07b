//! Four workers, one of them slowed to a quarter, against four alike.
//!
//! Slowing down is done by stopping a process for a part of every few milliseconds, so that all four together need
//! no more cores than there are: three run for a share of the time, the slow one for a quarter of that share.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;
use crate::cluster::{Cluster, Job};

const PERIOD: Duration = Duration::from_millis(20);

/// Steps of some 0.3 s, many periods long.
const JOB: Job = Job { widths: &[784, 512, 512, 10], batch: 2048, epochs: 100_000 };

const TIME: Duration = Duration::from_secs(25);

pub(crate) fn measure() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get() as f64;
    // A core is left to the coordinator and to chance.
    let share = ((cores - 0.5) / 4.0).min(0.8);
    let mut rates = Vec::new();
    for slowest in [1.0, 0.25] {
        let mut cluster = Cluster::start(&JOB, 4)?;
        let pids = cluster.pids();
        let shares = [share, share, share, share * slowest];
        // Time for the speeds to be measured.
        throttled(&pids, shares, Duration::from_secs(8));
        let stop = std::sync::atomic::AtomicBool::new(false);
        let steps = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    throttled(&pids, shares, Duration::from_millis(200));
                }
            });
            let steps = cluster.steps_in(TIME);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            steps
        })?;
        rates.push(steps as f64 / TIME.as_secs_f64());
        println!("uneven: shares of a core {shares:.2?}: spans {}", cluster.newest_plan()?);
    }
    let possible = rates[0] * (3.0 + 0.25) / 4.0;
    println!(
        "uneven: {:.2} steps/s with four alike, {:.2} with one at a quarter: {:.0}% of what their speeds allow   \
         aim: 85%",
        rates[0],
        rates[1],
        100.0 * rates[1] / possible
    );
    Ok(())
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
