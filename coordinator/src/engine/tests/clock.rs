//! A clock that jumps: times that come out of order change when waits are told, and nothing else.

use std::time::Duration;

use lockstep_proto::ids::WorkerId;

use super::super::{Action, Event, WAIT_REPORT_INTERVAL};
use super::{Bench, whole_batches};

/// One run of three epochs; after each event the clock jumps by so many seconds, back again after the next.
fn actions_with_jumps(ahead: u64, back: u64) -> Vec<Action> {
    let mut bench = Bench::new(whole_batches(4, 3), 2);
    // Far enough from the clock's own beginning to be set back.
    bench.now += Duration::from_secs(1_000_000);
    let base = bench.now;
    let mut log = Vec::new();
    let mut jumps =
        [base + Duration::from_secs(ahead), base - Duration::from_secs(back)].into_iter().cycle();
    let mut step = |bench: &mut Bench, log: &mut Vec<Action>| {
        bench.now = jumps.next().unwrap();
        bench.engine.handle_timeout(bench.now);
        let actions = bench.actions();
        log.extend(actions.iter().filter(|action| !matches!(action, Action::Report(_))).cloned());
        actions
    };
    for worker in 1..=2 {
        bench.joined(worker);
        step(&mut bench, &mut log);
    }
    for worker in 1..=2 {
        bench.prepared(worker);
    }
    while !log.contains(&Action::Finish) {
        for action in step(&mut bench, &mut log) {
            if let Action::Deal(worker, deal) = action {
                bench.answer(worker, deal);
            }
        }
        step(&mut bench, &mut log);
        if !log.contains(&Action::Finish) {
            bench.commit_all();
        }
    }
    log
}

#[test]
fn a_clock_that_jumps_changes_no_decision() {
    let steady = actions_with_jumps(0, 0);
    assert!(steady.iter().filter(|action| matches!(action, Action::Deal(..))).count() == 6);
    for (ahead, back) in [(0, 900_000), (900_000, 0), (3600, 3600)] {
        assert_eq!(actions_with_jumps(ahead, back), steady, "{ahead} s ahead, {back} s back");
    }
}

#[test]
fn a_wait_is_never_negative() {
    let mut bench = Bench::new(whole_batches(4, 1), 2);
    bench.now += Duration::from_secs(1000);
    bench.joined(1);
    bench.joined(2);
    for worker in 1..=2 {
        bench.prepared(worker);
    }
    bench.actions();
    bench.now -= Duration::from_secs(500);
    bench.engine.handle_timeout(bench.now);
    assert_eq!(bench.actions(), []);
    let deal = bench.engine.poll_timeout().unwrap();
    bench.engine.handle_timeout(deal);
    let Some(Action::Report(wait)) = bench.engine.poll_action() else { panic!("no report") };
    assert_eq!(wait.waited, WAIT_REPORT_INTERVAL);
    bench.engine.handle(bench.started, Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans().len(), 1);
}
