//! Spans follow measured speed, where that pays.

use std::time::Duration;

use lockstep_proto::ids::{Span, WorkerId};

use super::super::schedule::Schedule;
use super::{Bench, span, whole_batches};

/// As `whole_batches`, of so many rows that what a tree node costs is nothing beside them.
fn large_batches(shards: u32, epochs: u32) -> Schedule {
    with_shard_rows(whole_batches(shards, epochs), 10_000)
}

fn with_shard_rows(mut schedule: Schedule, shard_rows: u64) -> Schedule {
    let rows = shard_rows * u64::from(schedule.tree.shards());
    schedule.train.rows = rows;
    schedule.train.batch_size = rows;
    schedule
}

impl Bench {
    /// Passes in which a worker takes so long for each shard, by worker; returns the last spans.
    fn at_pace(&mut self, passes: usize, shard_millis: &[u64]) -> Vec<(u64, Span)> {
        let mut spans = Vec::new();
        for _ in 0..passes {
            let dealt = self.dealt();
            spans = dealt.iter().map(|(worker, deal)| (worker.0, deal.span)).collect();
            let pace = |worker: WorkerId, span: Span| {
                Duration::from_millis(shard_millis[worker.0 as usize - 1] * u64::from(span.len()))
            };
            let mut answers: Vec<_> = dealt
                .into_iter()
                .map(|(worker, deal)| (pace(worker, deal.span), worker, deal))
                .collect();
            answers.sort_by_key(|&(busy, ..)| busy);
            let began = self.now;
            for (busy, worker, deal) in answers {
                self.now = began + busy;
                self.done(worker, deal, busy);
            }
            self.actions();
            self.outstanding.clear();
            self.commit_all();
        }
        spans
    }
}

fn lengths(spans: &[(u64, Span)]) -> Vec<u32> {
    spans.iter().map(|(_, span)| span.len()).collect()
}

#[test]
fn a_machine_a_quarter_as_fast_gets_a_quarter_of_the_rows() {
    let mut bench = Bench::with_workers(large_batches(16, 100), 4);
    let spans = bench.at_pace(8, &[10, 10, 40, 10]);
    assert_eq!(lengths(&spans), [5, 5, 1, 5]);
    let spans = bench.at_pace(60, &[10, 10, 10, 10]);
    assert_eq!(lengths(&spans), [4, 4, 4, 4], "it got fast again");
}

#[test]
fn a_small_difference_is_not_worth_more_nodes() {
    // 7 and 9 shards are 3 and 2 nodes; 8 and 8 are 1 and 1.
    let mut bench = Bench::with_workers(with_shard_rows(whole_batches(16, 100), 64), 2);
    assert_eq!(lengths(&bench.at_pace(20, &[17, 13])), [8, 8]);
    let mut bench = Bench::with_workers(large_batches(16, 100), 2);
    assert_eq!(lengths(&bench.at_pace(20, &[17, 13])), [7, 9]);
}

#[test]
fn noise_moves_nothing() {
    let mut bench = Bench::with_workers(large_batches(16, 100), 4);
    let even = [(1, span(0, 4)), (2, span(4, 8)), (3, span(8, 12)), (4, span(12, 16))];
    for pace in [[100, 104, 97, 100], [103, 98, 100, 96]] {
        assert_eq!(bench.at_pace(10, &pace), even);
    }
}

#[test]
fn a_machine_too_slow_for_a_shard_is_tried_again_some_day() {
    let mut bench = Bench::with_workers(large_batches(4, 1_000), 2);
    let spans = bench.at_pace(6, &[10, 1_000]);
    assert_eq!(spans, [(1, span(0, 4))]);
    bench.at_pace(600, &[10, 10]);
    assert_eq!(lengths(&bench.at_pace(1, &[10, 10])), [2, 2]);
}

#[test]
fn threads_are_the_first_guess() {
    let mut bench = Bench::new(large_batches(16, 1), 2);
    bench.engine = bench.engine.starting_with(2);
    for (worker, threads) in [(1, 6), (2, 2)] {
        let worker = WorkerId(worker);
        bench.event(super::Event::Joined { worker, threads });
    }
    bench.prepared(1);
    bench.prepared(2);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 12)), (2, span(12, 16))]);
}

#[test]
fn who_comes_takes_the_place_of_who_left() {
    let mut bench = Bench::with_workers(large_batches(16, 3), 4);
    bench.actions();
    bench.event(super::Event::Left(WorkerId(2)));
    bench.joined(5);
    let prepares = bench.actions();
    let prepare = super::Action::Prepare(WorkerId(5), span(4, 8));
    assert!(prepares.contains(&prepare), "{prepares:?}");
}

#[test]
fn rows_are_not_moved_for_a_gain_that_comes_too_late() {
    // Fetching a shard took 100 s; what is left of the run is worth less.
    let mut bench = Bench::new(large_batches(16, 20), 2);
    bench.joined(1);
    bench.joined(2);
    bench.now += Duration::from_secs(800);
    bench.prepared(1);
    bench.prepared(2);
    assert_eq!(lengths(&bench.at_pace(15, &[10, 30])), [8, 8]);
}
