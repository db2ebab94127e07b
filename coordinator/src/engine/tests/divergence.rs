//! Words that something is not finite: whose is taken, and who is shut out for it.

use std::time::Duration;

use lockstep_proto::frame::Divergence;
use lockstep_proto::ids::{Pass, Shard, WorkerId};
use lockstep_proto::tree::Node;

use super::super::checking::COMPANY_WAIT_MAX;
use super::super::{Action, Event, Schedule, Track, Verdict};
use super::{Bench, TRACKS, span, whole_batches};

fn divergence(pass: u64, shard: u32) -> Divergence {
    Divergence { pass: Pass(pass), shard: Shard(shard), layer: None, in_gradient: false }
}

impl Bench {
    fn says(&mut self, worker: u64, pass: u64, shard: u32) -> bool {
        self.engine.diverged(self.now, WorkerId(worker), divergence(pass, shard))
    }

    /// A worker gives all values of a span, to be compared.
    fn gives(&mut self, worker: u64, start: u32, end: u32) {
        let tree = self.engine.schedule.tree;
        for track in TRACKS {
            for node in tree.nodes(span(start, end)) {
                self.engine.accept(self.now, WorkerId(worker), Pass(0), track, node);
            }
        }
        let done = super::Done { span: span(start, end), busy: Duration::ZERO };
        let answered = self.engine.answered(self.now, WorkerId(worker), Pass(0), done);
        assert_eq!(answered, super::Answered::Noted);
    }

    /// Two gave the same values of a span.
    fn agree(&mut self, start: u32, end: u32) {
        let tree = self.engine.schedule.tree;
        for track in TRACKS {
            for node in tree.nodes(span(start, end)) {
                assert!(self.engine.agreed(Pass(0), track, node));
            }
        }
    }
}

#[test]
fn nobody_is_believed_about_what_it_was_not_dealt() {
    let schedule = Schedule { test_rows: Some(4), ..whole_batches(4, 2) };
    let mut bench = Bench::with_workers(schedule, 2);
    bench.actions();
    for (worker, pass, shard) in [(1, 0, 2), (2, 0, 0), (1, 1, 0), (1, 2, 0), (1, u64::MAX, 0)] {
        assert!(!bench.says(worker, pass, shard), "{worker} {pass} {shard}");
    }
    assert_eq!(bench.actions(), []);
    bench.gives(1, 0, 2);
    assert!(!bench.says(1, 0, 0), "it said that it is done");
}

#[test]
fn a_shard_without_rows_has_no_loss() {
    let train = lockstep_proto::batches::Batches { rows: 3, shards: 4, batch_size: 3 };
    let mut bench = Bench::with_workers(Schedule { train, ..whole_batches(4, 1) }, 1);
    assert!(!bench.says(1, 0, 3));
    assert!(bench.says(1, 0, 2));
}

#[test]
fn one_worker_alone_is_believed_at_once() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 1);
    bench.actions();
    assert!(bench.says(1, 0, 3));
    assert_eq!(bench.actions(), [Action::Diverged(divergence(0, 3))]);
}

#[test]
fn a_word_waits_for_a_second_that_says_the_same() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 3);
    bench.actions();
    assert!(bench.says(1, 0, 1));
    assert!(bench.says(1, 0, 1), "once more changes nothing");
    let asked = bench.dealt_spans();
    let [(second, asked)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(asked, span(0, 2), "the whole span");
    assert!(second != 1 && bench.says(second, 0, 1));
    assert_eq!(bench.actions(), [Action::Diverged(divergence(0, 1))]);
}

#[test]
fn a_third_settles_it_and_the_pass_ends_without_the_liar() {
    let mut bench = Bench::with_workers(whole_batches(6, 2), 3);
    bench.actions();
    bench.gives(2, 2, 4);
    bench.gives(3, 4, 6);
    assert!(bench.says(1, 0, 1));
    assert_eq!(bench.dealt_spans(), [(2, span(0, 2))]);
    let node = Node { level: 1, index: 0 };
    let verdict = bench.engine.accept(bench.now, WorkerId(2), Pass(0), Track::Sums, node);
    assert_eq!(verdict, Verdict::Compare, "not on one word");
    bench.gives(2, 0, 2);
    assert_eq!(bench.dealt_spans(), [(3, span(0, 2))]);
    bench.gives(3, 0, 2);
    bench.agree(0, 2);
    TRACKS.iter().for_each(|&track| bench.event(Event::Committed(track)));
    let actions = bench.actions();
    assert_eq!(actions[0], Action::Refute(WorkerId(1), divergence(0, 1)));
    assert!(matches!(actions[1], Action::EndPass(_)), "{actions:?}");
    let to_it = |action: &Action| matches!(action, Action::Deal(WorkerId(1), _));
    assert!(!actions.iter().any(to_it), "{actions:?}");
}

#[test]
fn a_third_may_say_that_the_first_was_right() {
    let mut bench = Bench::with_workers(whole_batches(6, 2), 3);
    bench.actions();
    assert!(bench.says(1, 0, 1));
    bench.gives(2, 0, 2);
    assert!(bench.says(3, 0, 1));
    assert!(bench.actions().contains(&Action::Diverged(divergence(0, 1))));
}

/// The finite values cannot end the run.
#[test]
fn of_two_the_finite_values_are_taken() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    bench.actions();
    bench.gives(2, 2, 4);
    assert!(bench.says(1, 0, 0));
    assert_eq!(bench.dealt_spans(), [(2, span(0, 2))]);
    bench.gives(2, 0, 2);
    let waive = Action::Waive { pass: Pass(0), span: span(0, 2), waited: false };
    assert_eq!(bench.actions(), [waive]);
}

#[test]
fn a_word_of_one_who_left_is_worth_nothing() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 3);
    bench.actions();
    assert!(bench.says(1, 0, 0));
    bench.actions();
    bench.event(Event::Left(WorkerId(1)));
    let waive = Action::Waive { pass: Pass(0), span: span(0, 2), waited: false };
    assert_eq!(bench.actions(), [waive]);
    assert!(bench.says(2, 0, 0) || bench.says(3, 0, 0));
    assert!(!bench.actions().iter().any(|action| matches!(action, Action::Diverged(_))));
}

#[test]
fn a_worker_that_is_alone_since_a_moment_ago_is_not_believed_yet() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    bench.actions();
    bench.event(Event::Left(WorkerId(2)));
    bench.actions();
    bench.gives(1, 2, 4);
    assert!(bench.says(1, 0, 0));
    assert_eq!(bench.actions(), []);
    bench.wait(COMPANY_WAIT_MAX.as_millis() as u64 - 1);
    let actions = bench.actions();
    let [Action::Report(wait)] = &actions[..] else { panic!("{actions:?}") };
    assert!(wait.to_string().contains("nobody is there to check shards 0..2"), "{wait}");
    let left = wait.limit.map(|limit| limit - wait.waited);
    assert_eq!(left, Some(Duration::from_millis(1)));
    assert_eq!(wait.workers(), [WorkerId(1)]);
    bench.joined(3);
    bench.actions();
    bench.wait(1);
    assert_eq!(bench.actions(), [Action::Diverged(divergence(0, 0))], "however many come and go");
}

#[test]
fn a_late_word_is_dropped() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    bench.actions();
    bench.commit_all();
    bench.actions();
    assert!(bench.says(1, 0, 0) && bench.says(2, 0, 0));
    assert_eq!(bench.actions(), []);
}

/// It is done with the whole of what it was dealt first, while a part of that is compared.
#[test]
fn values_that_are_compared_count_for_every_deal_that_they_are_of() {
    let mut bench = Bench::with_workers(whole_batches(8, 2), 2);
    let mut dealt = bench.dealt();
    assert_eq!(dealt.len(), 2);
    let (slow, whole) = dealt.pop().unwrap();
    bench.gives(1, 0, 4);
    let give = |bench: &mut Bench, start, end| {
        let tree = bench.engine.schedule.tree;
        for (track, node) in TRACKS.into_iter().flat_map(|track| {
            tree.nodes(span(start, end)).into_iter().map(move |node| (track, node))
        }) {
            bench.engine.accept(bench.now, slow, Pass(0), track, node);
        }
    };
    give(&mut bench, 4, 6);
    bench.wait(1_000);
    assert_eq!(bench.dealt_spans(), [(1, span(6, 8))], "what is late goes to the other as well");
    assert!(bench.says(1, 0, 7));
    assert_eq!(bench.dealt_spans(), [(slow.0, span(6, 8))], "and is compared from now on");
    give(&mut bench, 6, 8);
    let done = super::Done { span: whole.span, busy: Duration::ZERO };
    let answered = bench.engine.answered(bench.now, slow, Pass(0), done);
    assert_eq!(answered, super::Answered::Noted);
}
