//! Audited spans are computed twice, and by one more for every dispute.

use lockstep_proto::ids::{Pass, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Action, Event, Planned, Track, Verdict};
use super::{Bench, TRACKS, span, whole_batches};

const PAIR: Node = Node { level: 1, index: 0 };

fn audited(shards: u32, workers: u64) -> Bench {
    let mut bench = Bench::new(whole_batches(shards, 3), 1);
    bench.engine = bench.engine.auditing(1.0, 7);
    bench.gather(workers)
}

impl Bench {
    fn compares(&mut self, worker: u64) {
        let worker = WorkerId(worker);
        let verdict = self.engine.accept(self.now, worker, Pass(0), Track::Sums, PAIR);
        assert_eq!(verdict, Verdict::Compare);
    }
}

#[test]
fn every_span_goes_to_two() {
    let mut bench = audited(4, 2);
    let first = [(1, span(0, 2)), (2, span(2, 4)), (2, span(0, 2)), (1, span(2, 4))];
    assert_eq!(bench.dealt_spans(), first);
    bench.compares(1);
    bench.compares(2);
    assert!(bench.engine.agreed(Pass(0), Track::Sums, PAIR));
    assert!(!bench.engine.agreed(Pass(0), Track::Sums, PAIR));
    let next = Node { level: 1, index: 1 };
    assert!(!bench.engine.agreed(Pass(1), Track::Sums, next), "of another pass");
}

#[test]
fn a_third_is_asked_when_two_differ() {
    let mut bench = audited(4, 3);
    let dealt = bench.dealt();
    let asked: Vec<_> = dealt.iter().filter(|(_, deal)| deal.span == dealt[0].1.span).collect();
    assert_eq!(asked.len(), 2);
    bench.engine.disputed(bench.now, Node::leaf(0), 2);
    let third = bench.dealt();
    assert_eq!(third.len(), 1);
    assert!(asked.iter().all(|(worker, _)| *worker != third[0].0));
    assert_eq!(third[0].1.span, dealt[0].1.span);
    bench.engine.disputed(bench.now, Node::leaf(0), 2);
    assert_eq!(bench.deals(), [], "once is enough");
}

#[test]
fn a_dispute_of_two_waits_for_a_third_and_says_so() {
    let mut bench = audited(4, 2);
    for (worker, deal) in bench.dealt() {
        bench.done(worker, deal, std::time::Duration::ZERO);
    }
    bench.engine.disputed(bench.now, PAIR, 2);
    assert_eq!(bench.actions(), []);
    bench.wait(5_000);
    let [Action::Report(wait)] = &bench.actions()[..] else { panic!("no report") };
    let text = wait.to_string();
    assert!(text.starts_with("waiting for another worker for 5.0 s: two differ about "), "{text}");
    assert_eq!((wait.workers(), wait.limit), (vec![WorkerId(1), WorkerId(2)], None));
    bench.joined(3);
    bench.prepared(3);
    assert_eq!(bench.dealt_spans(), [(3, span(0, 2))]);
}

#[test]
fn an_answer_of_somebody_who_left_counts() {
    let mut bench = audited(4, 3);
    let dealt = bench.dealt();
    let (worker, deal) = dealt[0];
    bench.done(worker, deal, std::time::Duration::ZERO);
    bench.event(Event::Left(worker));
    let again = bench.dealt_spans();
    assert!(again.iter().all(|(_, again)| *again != deal.span), "{again:?}");
}

#[test]
fn somebody_else_takes_over_from_one_who_left_before_answering() {
    let mut bench = audited(4, 3);
    let (worker, deal) = bench.dealt()[0];
    bench.event(Event::Left(worker));
    let again = bench.dealt_spans();
    assert!(again.iter().any(|(_, again)| *again == deal.span), "{again:?}");
}

#[test]
fn one_worker_alone_has_nobody_to_compare_with() {
    let mut bench = audited(4, 1);
    let actions = bench.actions();
    let waive = Action::Waive { pass: Pass(0), span: span(0, 4), waited: false };
    assert!(actions.contains(&waive), "{actions:?}");
    for track in TRACKS {
        let verdict = bench.engine.accept(bench.now, WorkerId(1), Pass(0), track, PAIR);
        assert_eq!(verdict, Verdict::Fold);
    }
}

#[test]
fn somebody_is_waited_for_before_an_audit_is_given_up() {
    let mut bench = audited(4, 2);
    bench.actions();
    bench.event(Event::Left(WorkerId(2)));
    let actions = bench.actions();
    assert!(!actions.iter().any(|action| matches!(action, Action::Waive { .. })), "{actions:?}");
    // Somebody comes in time.
    bench.wait(9_000);
    bench.joined(3);
    bench.prepared(3);
    let dealt = bench.dealt_spans();
    assert_eq!(dealt, [(3, span(0, 2)), (3, span(2, 4))]);
    // And is gone again: not as long once more.
    bench.event(Event::Left(WorkerId(3)));
    bench.actions();
    bench.wait(999);
    assert!(!bench.actions().iter().any(|action| matches!(action, Action::Waive { .. })));
    bench.wait(1);
    let waive = |start, end| Action::Waive { pass: Pass(0), span: span(start, end), waited: true };
    assert_eq!(bench.actions(), [waive(0, 2), waive(2, 4)]);
}

#[test]
fn one_who_still_fetches_is_waited_for() {
    let mut bench = audited(4, 1);
    bench.joined(2);
    bench.actions();
    bench.commit_all();
    let actions = bench.actions();
    assert!(!actions.iter().any(|action| matches!(action, Action::Waive { .. })), "{actions:?}");
    bench.prepared(2);
    assert_eq!(bench.dealt_spans(), [(2, span(0, 4))]);
}

/// Its connection lives, so that it never leaves; it may be broken, or mean harm.
#[test]
fn one_who_never_answers_is_given_up_and_not_asked_again() {
    let mut bench = audited(4, 2);
    let dealt = bench.dealt();
    let silent = WorkerId(2);
    for &(worker, deal) in dealt.iter().filter(|(worker, _)| *worker != silent) {
        bench.wait(50);
        bench.done(worker, deal, std::time::Duration::ZERO);
    }
    // Ten times the longest answer, and as long as somebody who is gone is waited for.
    bench.wait(10_899);
    let acts = |action: &Action| matches!(action, Action::GiveUp(..) | Action::Waive { .. });
    assert!(!bench.actions().iter().any(acts));
    bench.wait(1);
    let actions = bench.actions();
    let waive = |start, end| Action::Waive { pass: Pass(0), span: span(start, end), waited: false };
    for (start, end) in [(0, 2), (2, 4)] {
        assert!(actions.contains(&Action::GiveUp(silent, span(start, end))), "{actions:?}");
        assert!(actions.contains(&waive(start, end)), "{actions:?}");
    }
    bench.outstanding.clear();
    bench.commit_all();
    let next = bench.dealt();
    assert!(next.iter().all(|(worker, _)| *worker != silent), "{next:?}");
    // It answers after all, and is asked again.
    for &(worker, deal) in dealt.iter().filter(|(worker, _)| *worker == silent) {
        bench.done(worker, deal, std::time::Duration::ZERO);
    }
    for (worker, deal) in next {
        bench.done(worker, deal, std::time::Duration::ZERO);
    }
    bench.commit_all();
    assert!(bench.dealt().iter().any(|(worker, _)| *worker == silent));
}

#[test]
fn nothing_counts_of_one_who_is_not_believed() {
    let mut bench = audited(4, 3);
    let dealt = bench.dealt();
    let (worker, deal) = dealt[0];
    bench.done(worker, deal, std::time::Duration::ZERO);
    bench.engine.expelled(bench.now, worker, &[]);
    let again = bench.dealt_spans();
    assert!(again.iter().any(|(_, again)| *again == deal.span), "{again:?}");
}

#[test]
fn the_share_is_kept() {
    let mut bench = Bench::new(whole_batches(64, 60), 1);
    bench.engine = bench.engine.auditing(0.25, 1);
    let mut bench = bench.gather(64);
    let mut deals = 0;
    for _ in 0..60 {
        deals += bench.deals().len();
        bench.outstanding.clear();
        let pass = bench.engine.next.0 - 1;
        let planned = bench.engine.schedule.planned(Pass(pass)).unwrap();
        for worker in 1..=64 {
            while let Some(&(pass, span)) =
                bench.engine.members.get(WorkerId(worker)).unwrap().owes().first()
            {
                let Planned { step, task, .. } = planned;
                let deal = super::Deal { pass, step, task, span };
                bench.done(WorkerId(worker), deal, std::time::Duration::ZERO);
            }
        }
        assert_eq!(planned.pass.0, pass);
        bench.commit_all();
    }
    let audits = deals - 60 * 64;
    assert!((800..1_120).contains(&audits), "{audits} of {}", 60 * 64);
}
