//! Whose word is taken for what.

use std::time::Duration;

use lockstep_proto::batches::Batches;
use lockstep_proto::frame::Done;
use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Answered, Event, Schedule, Track, Verdict};
use super::{Bench, TRACKS, span, whole_batches};

const GRADIENT: Track = Track::Chunk(Chunk(0));
const PAIR: Node = Node { level: 1, index: 0 };

impl Bench {
    fn check(&mut self, worker: u64, pass: u64, track: Track, node: Node, wanted: Verdict) {
        let found = self.engine.accept(self.now, WorkerId(worker), Pass(pass), track, node);
        assert_eq!(found, wanted, "worker {worker}, pass {pass}, {track:?}, {node}");
    }
}

#[test]
fn what_was_never_dealt_is_foreign() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    let outside_tree = Node { level: 0, index: 4 };
    let above_root = Node { level: 3, index: 0 };
    let next_pair = Node { level: 1, index: 1 };
    for (worker, pass, track, node) in [
        (1, 0, GRADIENT, Node::leaf(2)),
        (1, 0, Track::Sums, next_pair),
        (1, 0, GRADIENT, Node { level: 2, index: 0 }),
        (2, 0, GRADIENT, PAIR),
        (3, 0, GRADIENT, Node::leaf(0)),
        (1, 0, Track::Chunk(Chunk(2)), Node::leaf(0)),
        (1, 0, GRADIENT, outside_tree),
        (1, 0, GRADIENT, above_root),
        (1, 1, GRADIENT, Node::leaf(0)),
        (1, u64::MAX, Track::Sums, Node::leaf(0)),
    ] {
        bench.check(worker, pass, track, node, Verdict::Foreign);
    }
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Fold);
    bench.check(2, 0, GRADIENT, next_pair, Verdict::Fold);
}

#[test]
fn before_the_first_pass_every_word_is_foreign() {
    let mut bench = Bench::new(whole_batches(4, 1), 1);
    bench.joined(1);
    bench.check(1, 0, Track::Sums, Node::leaf(0), Verdict::Foreign);
}

#[test]
fn a_node_is_folded_while_any_of_its_leaves_is_missing() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 1);
    bench.check(1, 0, GRADIENT, Node::leaf(0), Verdict::Fold);
    bench.check(1, 0, GRADIENT, Node::leaf(0), Verdict::Drop);
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Fold);
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Drop);
    bench.check(1, 0, GRADIENT, Node::leaf(1), Verdict::Drop);
    bench.check(1, 0, Track::Chunk(Chunk(1)), PAIR, Verdict::Fold);
    bench.check(1, 0, Track::Sums, PAIR, Verdict::Fold);
}

#[test]
fn leaves_without_rows_add_nothing() {
    let train = Batches { rows: 3, shards: 4, batch_size: 3 };
    let mut bench = Bench::with_workers(Schedule { train, ..whole_batches(4, 1) }, 2);
    bench.check(2, 0, GRADIENT, Node::leaf(3), Verdict::Drop);
    bench.check(2, 0, GRADIENT, Node { level: 1, index: 1 }, Verdict::Fold);
    bench.check(2, 0, GRADIENT, Node::leaf(2), Verdict::Drop);
}

#[test]
fn a_pass_that_is_over_is_dropped() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 1);
    let deal = bench.deals()[0];
    bench.answer(WorkerId(1), deal);
    bench.commit_all();
    for track in TRACKS {
        bench.check(1, 0, track, Node::leaf(0), Verdict::Drop);
        bench.check(2, 0, track, Node::leaf(9), Verdict::Drop);
        bench.check(1, 1, track, Node::leaf(0), Verdict::Fold);
    }
}

#[test]
fn between_passes_the_last_one_is_dropped_and_the_next_is_foreign() {
    let mut bench = Bench::new(whole_batches(4, 2), 2).gather(2);
    for (worker, deal) in bench.dealt() {
        bench.answer(worker, deal);
    }
    bench.event(Event::Left(WorkerId(2)));
    bench.commit_all();
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Drop);
    bench.check(1, 1, GRADIENT, PAIR, Verdict::Foreign);
}

#[test]
fn a_measurement_has_no_gradient() {
    let schedule = Schedule { test_rows: Some(4), ..whole_batches(4, 0) };
    let mut bench = Bench::with_workers(schedule, 1);
    bench.check(1, 0, GRADIENT, Node::leaf(0), Verdict::Foreign);
    bench.check(1, 0, Track::Sums, Node::leaf(0), Verdict::Fold);
}

#[test]
fn a_lost_workers_deal_is_no_longer_its_own() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    bench.event(Event::Left(WorkerId(1)));
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Foreign);
    bench.check(2, 0, GRADIENT, PAIR, Verdict::Fold);
}

#[test]
fn the_word_that_a_deal_is_done() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    let says = |bench: &mut Bench, worker, pass, start, end| {
        let done = Done { span: span(start, end), busy: Duration::from_millis(1) };
        bench.engine.answered(bench.now, WorkerId(worker), Pass(pass), done)
    };
    let (foreign, noted, lacking) = (Answered::Foreign, Answered::Noted, Answered::Lacking);
    assert_eq!(says(&mut bench, 1, 0, 2, 4), foreign, "another's");
    assert_eq!(says(&mut bench, 1, 1, 0, 2), foreign, "not begun");
    assert_eq!(says(&mut bench, 1, u64::MAX, 0, 2), foreign, "never");
    assert_eq!(says(&mut bench, 9, 0, 0, 2), noted, "gone by now");
    assert_eq!(says(&mut bench, 2, 0, 2, 4), lacking, "without a value");
    bench.check(1, 0, Track::Sums, PAIR, Verdict::Fold);
    bench.check(1, 0, GRADIENT, PAIR, Verdict::Fold);
    bench.check(1, 0, Track::Chunk(Chunk(1)), Node::leaf(0), Verdict::Fold);
    bench.check(1, 0, Track::Chunk(Chunk(1)), Node::leaf(1), Verdict::Fold);
    assert_eq!(says(&mut bench, 1, 0, 0, 2), noted);
    assert_eq!(says(&mut bench, 1, 0, 0, 2), noted, "twice is no harm");
}
