//! Many seeds, each a job and a cluster that comes and goes: all end in the bits of one worker that stayed.

mod book;
mod case;
mod checkpoint;
mod coordinator;
mod lies;
mod network;
mod worker;

use rayon::prelude::*;

use book::Seen;
use case::Case;

/// How many seeds to run.
const SEEDS_VARIABLE: &str = "LOCKSTEP_SIMULATION_SEEDS";
const SEEDS: u64 = 1000;

/// The only seed to run.
const SEED_VARIABLE: &str = "LOCKSTEP_SIMULATION_SEED";

#[test]
fn any_cluster_ends_in_the_bits_of_one_worker() {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
    };
    let seeds = match number(SEED_VARIABLE) {
        Some(seed) => seed..seed + 1,
        None => 0..number(SEEDS_VARIABLE).unwrap_or(SEEDS),
    };
    let simulate = |seed| {
        let _tell = TellOnPanic(seed);
        let case = Case::drawn(seed);
        let (undisturbed, _) = network::run(&case.undisturbed());
        let (outcome, seen) = network::run(&case);
        assert_eq!(outcome, undisturbed, "{case:#?}");
        seen
    };
    let all_seen = seeds.clone().into_par_iter().map(simulate).reduce(Seen::default, Seen::and);
    println!("{} seeds: {all_seen:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= SEEDS {
        assert!(all_seen.is_enough(), "{all_seen:?}");
    }
}

#[test]
fn a_seed_runs_the_same_way_every_time() {
    let case = Case::drawn(7);
    assert_eq!(format!("{case:?}"), format!("{:?}", Case::drawn(7)));
    assert_eq!(network::run(&case).0, network::run(&case).0);
}

/// Says which seed failed and how to run it again.
struct TellOnPanic(u64);

impl Drop for TellOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; again: {SEED_VARIABLE}={seed} cargo test -p \
                 lockstep-train-coordinator any_cluster"
            );
        }
    }
}
