//! Many seeds, each a job and a cluster that comes and goes: all end in the bits of one worker that stayed. And each a worker
//! whose coordinator lies.

use std::ops::Range;

use lockstep_simulation::{Case, Fate, Seen, run, serve_a_liar};
use rayon::prelude::*;

/// How many seeds to run.
const SEEDS_VARIABLE: &str = "LOCKSTEP_SIMULATION_SEEDS";
const SEEDS: u64 = 1000;

/// The only seed to run.
const SEED_VARIABLE: &str = "LOCKSTEP_SIMULATION_SEED";

fn seeds() -> Range<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
    };
    match number(SEED_VARIABLE) {
        Some(seed) => seed..seed + 1,
        None => 0..number(SEEDS_VARIABLE).unwrap_or(SEEDS),
    }
}

#[test]
fn any_cluster_ends_in_the_bits_of_one_worker() {
    let simulate = |seed| {
        let _tell = TellOnPanic(seed);
        let case = Case::drawn(seed);
        let (undisturbed, _) = run(&case.undisturbed());
        let (outcome, seen) = run(&case);
        assert_eq!(outcome, undisturbed, "{case:#?}");
        seen
    };
    let seeds = seeds();
    let all_seen = seeds.clone().into_par_iter().map(simulate).reduce(Seen::default, Seen::and);
    println!("{} seeds: {all_seen:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= SEEDS {
        assert!(all_seen.is_enough(), "{all_seen:?}");
    }
}

#[test]
fn no_lie_of_a_coordinator_breaks_a_worker() {
    let simulate = |seed| {
        let _tell = TellOnPanic(seed);
        serve_a_liar(seed)
    };
    let seeds = seeds();
    let fate = seeds.clone().into_par_iter().map(simulate).reduce(Fate::default, Fate::and);
    println!("{} seeds: {fate:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= SEEDS {
        assert!(fate.is_enough(), "{fate:?}");
    }
}

#[test]
fn a_seed_runs_the_same_way_every_time() {
    let case = Case::drawn(7);
    assert_eq!(format!("{case:?}"), format!("{:?}", Case::drawn(7)));
    let (one, other) = (run(&case), run(&case));
    assert_eq!(one.0, other.0);
    assert_eq!(format!("{:?}", one.1), format!("{:?}", other.1));
}

/// Says which seed failed and how to run it again.
struct TellOnPanic(u64);

impl Drop for TellOnPanic {
    #[expect(clippy::print_stderr, reason = "a test's output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; again: {SEED_VARIABLE}={seed} cargo test -p \
                 lockstep-train-simulation"
            );
        }
    }
}
