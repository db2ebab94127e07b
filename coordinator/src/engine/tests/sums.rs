//! Sums of homes: each counts once, and what is late is asked for once it takes far longer than usual.

use std::time::Duration;

use lockstep_proto::frame::Done;
use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Action, Answered, Event, Track};
use super::{Bench, TRACKS, whole_batches};

/// Of the first chunk, which worker 1 adds up.
const HOME: [Option<WorkerId>; 2] = [Some(WorkerId(1)), None];
const HELD: Chunk = Chunk(0);

impl Bench {
    /// All answer after a time, with all but what is the home's.
    fn answer_but_sums(&mut self, millis: u64) {
        let dealt = self.dealt();
        self.engine.route(self.now, &HOME, []);
        self.now += Duration::from_millis(millis);
        for (worker, deal) in dealt {
            self.outstanding.retain(|outstanding| *outstanding != (worker, deal));
            for node in self.engine.schedule.tree.nodes(deal.span) {
                for track in [Track::Sums, Track::Chunk(Chunk(1))] {
                    self.engine.accept(self.now, worker, deal.pass, track, node);
                }
            }
            let done = Done { span: deal.span, busy: Duration::ZERO };
            let answered = self.engine.answered(self.now, worker, deal.pass, done);
            assert_eq!(answered, Answered::Noted);
        }
    }

    fn sum(&mut self, pass: u64, node: Node) -> bool {
        self.engine.accept_sum(self.now, Pass(pass), HELD, node)
    }

    /// What is asked for anew after a time.
    fn late_after(&mut self, millis: u64) -> Vec<Vec<Chunk>> {
        self.wait(millis);
        let late = |action| match action {
            Action::LateSums(chunks) => Some(chunks),
            _ => None,
        };
        self.actions().into_iter().filter_map(late).collect()
    }

    /// After this time the sum of the first chunk is asked for, and not a millisecond before.
    fn is_late_after(&mut self, millis: u64) {
        assert_eq!(self.late_after(millis - 1), [] as [Vec<Chunk>; 0]);
        assert_eq!(self.late_after(1), [vec![HELD]]);
        assert_eq!(self.late_after(1_000), [] as [Vec<Chunk>; 0], "it is asked for once");
    }
}

#[test]
fn a_sum_counts_once_and_only_in_its_pass() {
    let mut bench = Bench::with_workers(whole_batches(4, 2), 2);
    let root = bench.engine.schedule.tree.root();
    bench.answer_but_sums(10);
    assert!(!bench.sum(1, root) && bench.sum(0, Node { level: 1, index: 0 }));
    assert!(bench.sum(0, root), "some of it is new");
    assert!(!bench.sum(0, root));
}

#[test]
fn sums_are_late_after_four_times_what_is_usual() {
    let mut bench = Bench::with_workers(whole_batches(4, 3), 2);
    let root = bench.engine.schedule.tree.root();
    bench.answer_but_sums(100);
    bench.wait(200);
    assert!(bench.sum(0, root));
    for track in TRACKS {
        bench.event(Event::Committed(track));
    }
    bench.answer_but_sums(100);
    // 4 x (100 ms and 200 ms) and 25 ms.
    bench.is_late_after(1_225);
}

#[test]
fn the_first_sums_have_more_time() {
    let mut bench = Bench::with_workers(whole_batches(4, 3), 2);
    bench.answer_but_sums(100);
    // 1.5 x (100 ms and 10 s) and 25 ms.
    bench.is_late_after(15_175);
}
