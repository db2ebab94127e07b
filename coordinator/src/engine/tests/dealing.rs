//! Who is told to do what, and when passes begin and end.

use lockstep_proto::batches::Batches;
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Action, Event, Schedule, Track, Verdict};
use super::{Bench, CHUNKS, TRACKS, span, whole_batches};

#[test]
fn a_pass_begins_when_enough_are_prepared_and_is_dealt_to_them() {
    let mut bench = Bench::new(whole_batches(4, 1), 2);
    bench.joined(1);
    assert_eq!(bench.actions(), []);
    bench.joined(2);
    let prepares =
        [Action::Prepare(WorkerId(1), span(0, 2)), Action::Prepare(WorkerId(2), span(2, 4))];
    assert_eq!(bench.actions(), prepares);
    bench.prepared(2);
    assert_eq!(bench.actions(), []);
    bench.prepared(1);
    let planned = bench.engine.schedule.planned(Pass(0)).unwrap();
    let actions = bench.actions();
    assert_eq!(actions[0], Action::BeginPass(planned));
    let deals: Vec<_> = actions[1..]
        .iter()
        .map(|action| match action {
            Action::Deal(worker, deal) => (worker.0, deal.span),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(deals, [(1, span(0, 2)), (2, span(2, 4))]);
}

#[test]
fn the_first_pass_may_want_more_workers_than_later_ones() {
    let mut bench = Bench::new(whole_batches(4, 2), 1);
    bench.engine = bench.engine.starting_with(2);
    bench.joined(1);
    assert_eq!(bench.actions(), []);
    bench.joined(2);
    bench.prepared(1);
    assert_eq!(bench.deals(), []);
    bench.prepared(2);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 2)), (2, span(2, 4))]);
    bench.event(Event::Left(WorkerId(2)));
    assert_eq!(bench.dealt_spans(), [(1, span(2, 4))]);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 4))]);
}

#[test]
fn a_lost_workers_span_goes_to_the_others_at_once() {
    let mut bench = Bench::with_workers(whole_batches(8, 1), 4);
    assert_eq!(bench.deals().len(), 4);
    bench.joined(5);
    bench.actions();
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(2, span(0, 1)), (3, span(1, 2))]);
}

#[test]
fn only_what_is_missing_is_dealt_again() {
    let mut bench = Bench::with_workers(whole_batches(8, 1), 4);
    bench.actions();
    for track in TRACKS {
        bench.engine.accept(bench.now, WorkerId(1), Pass(0), track, Node::leaf(0));
    }
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(2, span(1, 2))]);
}

#[test]
fn what_is_missing_in_one_track_is_dealt_again() {
    for kept in TRACKS {
        let mut bench = Bench::with_workers(whole_batches(8, 1), 4);
        bench.actions();
        for track in TRACKS.into_iter().filter(|&track| track != kept) {
            bench.engine.accept(bench.now, WorkerId(1), Pass(0), track, Node::leaf(0));
            bench.engine.accept(bench.now, WorkerId(1), Pass(0), track, Node::leaf(1));
        }
        bench.event(Event::Left(WorkerId(1)));
        let dealt: u32 = bench.deals().iter().map(|deal| deal.span.len()).sum();
        assert_eq!(dealt, 2, "{kept:?}");
    }
}

#[test]
fn a_worker_that_had_answered_leaves_nothing_to_deal() {
    let mut bench = Bench::with_workers(whole_batches(8, 1), 4);
    let (worker, deal) = bench.dealt()[1];
    bench.answer(worker, deal);
    bench.event(Event::Left(worker));
    assert_eq!(bench.actions(), []);
    bench.event(Event::Left(worker));
    bench.event(Event::Left(WorkerId(99)));
    assert_eq!(bench.actions(), []);
}

#[test]
fn a_member_with_nothing_to_do_is_dealt_to_first() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 4);
    let (worker, deal) = bench.dealt()[2];
    bench.answer(worker, deal);
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(worker.0, span(0, 1))]);
}

#[test]
fn a_spare_takes_over() {
    let mut bench = Bench::with_workers(whole_batches(2, 2), 3);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 1)), (2, span(1, 2))]);
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(3, span(0, 1))]);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(2, span(0, 1)), (3, span(1, 2))]);
}

#[test]
fn a_pass_that_all_have_left_waits_for_the_next_to_prepare() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 2);
    bench.actions();
    for track in TRACKS {
        bench.engine.accept(bench.now, WorkerId(2), Pass(0), track, Node::leaf(3));
    }
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(2, span(0, 2))]);
    bench.event(Event::Left(WorkerId(2)));
    bench.joined(3);
    assert_eq!(bench.actions(), [Action::Prepare(WorkerId(3), span(0, 4))]);
    bench.prepared(3);
    assert_eq!(bench.dealt_spans(), [(3, span(0, 3))]);
}

#[test]
fn a_joiner_is_dealt_work_from_the_next_pass_on() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 1);
    bench.actions();
    bench.joined(2);
    bench.prepared(2);
    assert_eq!(bench.actions(), [Action::Prepare(WorkerId(2), span(2, 4))]);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 2)), (2, span(2, 4))]);
}

#[test]
fn spans_without_rows_are_not_dealt() {
    let train = Batches { rows: 8, shards: 4, batch_size: 2 };
    let mut bench = Bench::with_workers(Schedule { train, ..whole_batches(4, 1) }, 4);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 1)), (2, span(1, 2))]);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(3, span(2, 3)), (4, span(3, 4))]);
}

#[test]
fn a_pass_ends_with_its_last_track_and_the_run_with_its_last_pass() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 1);
    let deal = bench.deals()[0];
    bench.answer(WorkerId(1), deal);
    for track in TRACKS.into_iter().rev() {
        assert_eq!(bench.actions(), []);
        bench.event(Event::Committed(track));
    }
    let planned = bench.engine.schedule.planned(Pass(0)).unwrap();
    assert_eq!(bench.actions(), [Action::EndPass(planned), Action::Finish]);
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.event(Event::Left(WorkerId(1)));
    bench.wait(60_000);
    assert_eq!(bench.actions(), []);
    let late = bench.engine.accept(bench.now, WorkerId(1), Pass(0), Track::Sums, Node::leaf(0));
    assert_eq!(late, Verdict::Drop);
}

#[test]
fn the_update_waits_until_all_chunks_are_held() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 1);
    for _ in 0..2 {
        bench.actions();
        for _ in 1..CHUNKS {
            bench.event(Event::Held);
            assert_eq!(bench.actions(), []);
        }
        bench.event(Event::Held);
        assert_eq!(bench.actions(), [Action::Update]);
        bench.commit_all();
    }
}

/// A member that was alone has all rows; what the others have now it keeps only as far as it may be needed again.
#[test]
fn rows_that_are_no_longer_dealt_to_a_member_are_let_go() {
    let mut bench = Bench::with_workers(whole_batches(16, 99), 1);
    assert_eq!(bench.dealt_spans(), [(1, span(0, 16))]);
    for worker in 2..=4 {
        bench.joined(worker);
        bench.prepared(worker);
    }
    bench.actions();
    bench.commit_all();
    let let_go = |actions: Vec<Action>| -> Vec<(u64, Vec<Span>)> {
        let let_go = actions.into_iter().filter_map(|action| match action {
            Action::Forget(worker, spans) => Some((worker.0, spans)),
            _ => None,
        });
        let_go.collect()
    };
    // They were dealt 4 shards each, and twice as many stay. The second had half of all to begin with.
    let wanted = [(1, vec![span(4, 12)]), (2, vec![span(8, 12)])];
    assert_eq!(let_go(bench.actions()), wanted);
    bench.commit_all();
    assert_eq!(let_go(bench.actions()), []);
    // Others come and go, again and again: nobody ends up with all rows.
    for worker in 5..20 {
        bench.event(Event::Left(WorkerId(2 + worker % 3)));
        bench.event(Event::Left(WorkerId(worker - 1)));
        bench.actions();
        bench.commit_all();
        for joiner in [worker, 2 + worker % 3] {
            bench.joined(joiner);
            bench.prepared(joiner);
        }
        bench.actions();
        bench.commit_all();
        bench.actions();
        let members = bench.engine.members.iter();
        let most = members.map(|(_, member)| member.holdings().count()).max();
        assert!(most <= Some(8), "{most:?} of 16 with 4 members");
    }
}

/// Whatever else it was dealt, a member keeps what it has in hand.
#[test]
fn what_is_in_hand_is_not_let_go() {
    let mut bench = Bench::with_workers(whole_batches(16, 9), 1);
    let (worker, deal) = bench.dealt()[0];
    for track in TRACKS {
        bench.engine.accept(bench.now, worker, deal.pass, track, Node { level: 4, index: 0 });
    }
    for worker in 2..=4 {
        bench.joined(worker);
        bench.prepared(worker);
    }
    // The pass is over, but the first has not said that it is done.
    for track in TRACKS {
        bench.event(Event::Committed(track));
    }
    let lets_go = |actions: &[Action]| {
        actions.iter().any(|a| matches!(a, Action::Forget(forgetful, _) if *forgetful == worker))
    };
    assert!(!lets_go(&bench.actions()));
    bench.commit_all();
    assert!(lets_go(&bench.actions()));
}
