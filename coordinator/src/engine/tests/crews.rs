//! Short passes are dealt to those with whom they are shortest, and everybody else is there when that is needed.

use std::time::Duration;

use lockstep_proto::ids::{Pass, WorkerId};

use super::super::look::MemberState;
use super::super::{Event, Schedule, Track};
use super::{Bench, span, whole_batches};
use crate::spec::CrewRule;

const WORKERS: u64 = 4;

/// Four workers that look for a crew.
fn bench(schedule: Schedule) -> Bench {
    let mut bench = Bench::new(schedule, 1);
    bench.engine = bench.engine.choosing_crews(Some(CrewRule::default()));
    bench.gather(WORKERS)
}

impl Bench {
    /// Makes a pass that takes half a millisecond for everybody who is dealt to; who that is. The next one is begun.
    fn slower_with_each(&mut self) -> Vec<u64> {
        let dealt = self.dealt_spans();
        self.now += Duration::from_micros(500 * dealt.len() as u64);
        self.commit_all();
        dealt.into_iter().map(|(worker, _)| worker).collect()
    }

    /// Until one worker is dealt everything, and nothing else is tried.
    fn find_one(&mut self) {
        let mut alone = 0;
        for _ in 0..200 {
            alone = if self.slower_with_each().len() == 1 { alone + 1 } else { 0 };
        }
        assert!(alone > 50, "{alone}");
    }

    fn states(&self) -> Vec<MemberState> {
        self.engine.look(self.now).into_iter().map(|view| view.state).collect()
    }
}

#[test]
fn steps_that_one_makes_sooner_are_dealt_to_one() {
    let mut bench = bench(whole_batches(8, 1000));
    assert_eq!(bench.slower_with_each(), [1, 2, 3, 4]);
    bench.find_one();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 8))]);
    let spare = MemberState::Spare;
    assert_eq!(bench.states(), [MemberState::Computing, spare, spare, spare]);
    let takes_part = [1, 2, 3, 4].map(|worker| bench.engine.takes_part(WorkerId(worker)));
    assert_eq!(takes_part, [true, false, false, false]);
}

#[test]
fn whoever_is_no_member_of_the_crew_takes_what_is_late() {
    let mut bench = bench(whole_batches(8, 1000));
    bench.find_one();
    let first = bench.dealt();
    bench.wait(200);
    let others = bench.dealt_spans();
    assert_eq!(others, [(2, span(0, 3)), (3, span(3, 6)), (4, span(6, 8))]);
    // The late one owes its answer: nothing more before that, and no crew without it.
    let (worker, deal) = first[0];
    bench.outstanding.retain(|&(owing, _)| owing != worker);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), others);
    assert_eq!(bench.states()[0], MemberState::Late);
    assert!(bench.engine.takes_part(worker));
    bench.done(worker, deal, Duration::ZERO);
    bench.commit_all();
    assert_eq!(bench.dealt_spans(), [(1, span(0, 8))]);
}

#[test]
fn when_members_change_all_are_dealt_to_again() {
    let mut bench = bench(whole_batches(8, 1000));
    bench.find_one();
    bench.deals();
    bench.event(Event::Left(WorkerId(1)));
    assert_eq!(bench.dealt_spans(), [(2, span(0, 3)), (3, span(3, 6)), (4, span(6, 8))]);
    bench.commit_all();
    assert_eq!(bench.dealt_spans().len(), 3);
    bench.commit_all();
    bench.find_one();
    bench.deals();
    bench.joined(5);
    bench.prepared(5);
    bench.commit_all();
    assert_eq!(bench.slower_with_each(), [5, 2, 3, 4]);
}

#[test]
fn steps_and_measures_have_a_crew_each() {
    let mut schedule = whole_batches(8, 1000);
    schedule.validation_rows = Some(8);
    let mut bench = bench(schedule);
    // Every other pass is a measure.
    for pass in 0..400 {
        let planned = bench.engine.schedule.planned(Pass(pass)).unwrap();
        let dealt = bench.dealt_spans().len() as u64;
        let is_step = pass % 2 == 0;
        bench.now += Duration::from_micros(if is_step { 100 * dealt } else { 2000 / dealt });
        if pass > 200 {
            assert_eq!(dealt, if is_step { 1 } else { WORKERS }, "{planned:?}");
        }
        if is_step {
            bench.commit_all();
            continue;
        }
        for (worker, deal) in std::mem::take(&mut bench.outstanding) {
            bench.done(worker, deal, Duration::ZERO);
        }
        bench.event(Event::Committed(Track::Sums));
    }
}

#[test]
fn where_spans_are_audited_all_are_dealt_to() {
    let mut bench = Bench::new(whole_batches(8, 1000), 1);
    let rule = Some(CrewRule::default());
    bench.engine = bench.engine.auditing(1e-9, 7).choosing_crews(rule);
    let mut bench = bench.gather(WORKERS);
    for _ in 0..200 {
        assert_eq!(bench.slower_with_each().len(), 4);
    }
}
