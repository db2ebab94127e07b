//! What is late is dealt to the idle as well, and who is late is spared until it answers.

use std::time::Duration;

use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Event, Track, Verdict};
use super::{Bench, span, whole_batches};

impl Bench {
    fn after(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Runs the engine's own timeouts up to now.
    fn catch_up(&mut self) {
        while let Some(timeout) = self.engine.poll_timeout().filter(|&at| at <= self.now) {
            self.engine.handle_timeout(timeout);
            assert!(self.engine.poll_timeout().is_none_or(|next| next > timeout), "no progress");
        }
    }

    fn dealt_after(&mut self, millis: u64) -> Vec<(u64, Span)> {
        self.after(millis);
        self.catch_up();
        self.dealt_spans()
    }

    /// All but one answer after a time, without a word to the engine's clock in between.
    fn all_but(&mut self, silent: u64, millis: u64) {
        let dealt = self.dealt();
        self.after(millis);
        for (worker, deal) in dealt.into_iter().filter(|(worker, _)| worker.0 != silent) {
            self.answer(worker, deal);
        }
        assert_eq!(self.deals(), []);
    }
}

#[test]
fn a_late_span_is_shared_out_to_the_idle() {
    let mut bench = Bench::with_workers(whole_batches(8, 2), 4);
    bench.all_but(2, 100);
    // 1.5 x 100 ms and 25 ms after the deal.
    assert_eq!(bench.dealt_after(74), []);
    assert_eq!(bench.dealt_after(1), [(1, span(2, 3)), (3, span(3, 4))]);
    assert_eq!(bench.dealt_after(4_000), [(4, span(2, 3))], "the helper is late as well");
    bench.commit_all();
}

#[test]
fn both_answers_are_taken_and_one_is_folded() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 2);
    bench.all_but(2, 10);
    assert_eq!(bench.dealt_after(100), [(1, span(2, 4))]);
    let accept = |bench: &mut Bench, worker| {
        let node = Node { level: 1, index: 1 };
        bench.engine.accept(bench.now, WorkerId(worker), Pass(0), Track::Sums, node)
    };
    assert_eq!(accept(&mut bench, 2), Verdict::Fold);
    assert_eq!(accept(&mut bench, 1), Verdict::Drop);
}

#[test]
fn who_is_late_is_dealt_nothing_until_it_answers() {
    let mut bench = Bench::with_workers(whole_batches(4, 9), 2);
    let slow = bench.dealt()[1];
    bench.outstanding.clear();
    let first = super::Deal { span: span(0, 2), ..slow.1 };
    bench.after(10);
    bench.answer(WorkerId(1), first);
    assert_eq!(bench.dealt_after(100), [(1, span(2, 4))]);
    bench.commit_all();
    // The rows are where they were fetched to; one span, not two.
    assert_eq!(bench.dealt_spans(), [(1, span(0, 4))]);
    bench.done(slow.0, slow.1, Duration::ZERO);
    assert_eq!(bench.deals(), []);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 2)), (2, span(2, 4))]);
}

#[test]
fn a_pass_that_everybody_is_late_for_waits_for_one() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 1);
    let (worker, deal) = bench.dealt()[0];
    bench.outstanding.clear();
    bench.commit_all();
    assert_eq!(bench.deals(), []);
    bench.done(worker, deal, Duration::ZERO);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 4))]);
}

#[test]
fn what_a_lost_helper_had_taken_on_is_late_again() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 3);
    assert_eq!(bench.dealt_spans().len(), 3);
    let mut bench = Bench::with_workers(whole_batches(4, 1), 4);
    bench.all_but(2, 10);
    let helper = bench.dealt_after(100)[0].0;
    bench.event(Event::Left(WorkerId(helper)));
    let next = bench.dealt_after(1);
    assert!(next.len() == 1 && next[0].0 != helper && next[0].1 == span(1, 2), "{next:?}");
}

#[test]
fn nobody_idle_is_nobody_woken() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 2);
    bench.actions();
    assert_eq!(bench.engine.poll_timeout(), Some(bench.started + Duration::from_secs(5)));
}

#[test]
fn what_was_usual_counts_before_the_first_answer() {
    // One worker has the only span, the other is a spare.
    let mut bench = Bench::with_workers(whole_batches(1, 2), 2);
    let (worker, deal) = bench.dealt()[0];
    bench.after(200);
    bench.answer(worker, deal);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 1))]);
    assert_eq!(bench.dealt_after(324), []);
    assert_eq!(bench.dealt_after(1), [(2, span(0, 1))]);
}

#[test]
fn moving_rows_is_waited_for_as_long_as_it_would_take() {
    let mut bench = Bench::new(whole_batches(4, 1), 2);
    bench.joined(1);
    bench.joined(2);
    bench.after(1_000);
    // Two shards in a second each: half a second a shard.
    bench.prepared(1);
    bench.prepared(2);
    bench.all_but(2, 100);
    assert_eq!(bench.dealt_after(75 + 999), []);
    assert_eq!(bench.dealt_after(1), [(1, span(2, 4))]);
}
