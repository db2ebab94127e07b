//! Waits are told every five seconds, with who is waited for.

use std::time::Duration;

use lockstep_proto::frame::Done;
use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::tree::Node;

use super::super::{Action, Answered, Event, Track};
use super::{Bench, whole_batches};

impl Bench {
    /// What is reported when the engine's own timeout comes, and how long after the start that is.
    fn next_report(&mut self) -> (Duration, Option<String>) {
        self.actions();
        let timeout = self.engine.poll_timeout().unwrap();
        self.engine.handle_timeout(timeout - Duration::from_nanos(1));
        assert_eq!(self.actions(), []);
        self.now = timeout;
        self.engine.handle_timeout(timeout);
        let report = match &self.actions()[..] {
            [] => None,
            [Action::Report(wait)] => Some(wait.to_string()),
            [Action::Deal(..)] => return self.next_report(),
            other => panic!("{other:?}"),
        };
        (timeout - self.started, report)
    }

    fn reports(&mut self, seconds: u64, text: &str) {
        let (after, report) = self.next_report();
        assert_eq!((after, report.as_deref()), (Duration::from_secs(seconds), Some(text)));
    }
}

#[test]
fn too_few_workers_are_reported_every_five_seconds() {
    let mut bench = Bench::new(whole_batches(4, 1), 2);
    bench.reports(5, "waiting for workers for 5.0 s: 0 workers connected, 2 needed");
    bench.joined(1);
    bench.reports(10, "waiting for workers for 10.0 s: 1 worker connected, 2 needed");
    bench.reports(15, "waiting for workers for 15.0 s: 1 worker connected, 2 needed");
}

#[test]
fn the_first_pass_reports_how_many_it_wants() {
    let mut bench = Bench::new(whole_batches(4, 1), 1);
    bench.engine = bench.engine.starting_with(3);
    bench.joined(1);
    bench.reports(5, "waiting for workers for 5.0 s: 1 worker connected, 3 needed");
}

#[test]
fn workers_that_fetch_are_named() {
    let mut bench = Bench::new(whole_batches(4, 1), 2);
    bench.joined(1);
    bench.joined(2);
    bench.prepared(1);
    bench.reports(5, "waiting for worker 2 for 5.0 s: it is fetching its shards");
}

#[test]
fn a_worker_that_owes_results_is_named_with_its_span() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 2);
    let deal = bench.deals()[0];
    bench.reports(
        5,
        "waiting for worker 1 for 5.0 s: no result for shards 0..2 on the weights of step 0",
    );
    bench.answer(WorkerId(1), deal);
    bench.reports(
        10,
        "waiting for worker 2 for 5.0 s: no result for shards 2..4 on the weights of step 0",
    );
}

#[test]
fn values_put_the_report_off() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 1);
    bench.wait(4_000);
    bench.engine.accept(bench.now, WorkerId(1), Pass(0), Track::Sums, Node::leaf(0));
    assert_eq!(bench.engine.poll_timeout(), Some(bench.started + Duration::from_secs(9)));
    bench.reports(
        9,
        "waiting for worker 1 for 5.0 s: no result for shards 0..4 on the weights of step 0",
    );
}

#[test]
fn a_pass_that_all_have_left_waits_for_as_many_as_a_new_one() {
    let mut bench = Bench::new(whole_batches(4, 1), 2).gather(2);
    bench.event(Event::Left(WorkerId(1)));
    bench.event(Event::Left(WorkerId(2)));
    bench.reports(5, "waiting for workers for 5.0 s: 0 workers connected, 2 needed");
    bench.joined(3);
    bench.reports(10, "waiting for workers for 10.0 s: 1 worker connected, 2 needed");
    bench.joined(4);
    bench.reports(15, "waiting for worker 3 for 15.0 s: it is fetching its shards");
}

#[test]
fn threads_that_fold_are_a_wait_for_no_worker() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 1);
    let deal = bench.deals()[0];
    bench.answer(WorkerId(1), deal);
    bench.reports(5, "adding for 5.0 s: all results of the step are there");
}

#[test]
fn a_home_that_does_not_send_its_sum_is_named_until_it_is_late() {
    let mut bench = Bench::with_workers(whole_batches(4, 1), 2);
    let home = WorkerId(1);
    bench.engine.route(bench.now, &[Some(home), None], []);
    for (worker, deal) in bench.dealt() {
        for track in [Track::Sums, Track::Chunk(Chunk(1))] {
            for node in bench.engine.schedule.tree.nodes(deal.span) {
                bench.engine.accept(bench.now, worker, deal.pass, track, node);
            }
        }
        let done = Done { span: deal.span, busy: Duration::ZERO };
        let answered = bench.engine.answered(bench.now, worker, deal.pass, done);
        assert_eq!(answered, Answered::Noted);
    }
    bench.wait(5_000);
    let actions = bench.actions();
    let [Action::Report(wait)] = &actions[..] else { panic!("{actions:?}") };
    let text = "waiting for worker 1 for 5.0 s: it adds up chunk 0 of the gradient on the weights of step 0";
    assert_eq!((wait.to_string().as_str(), wait.workers()), (text, vec![home]));
    // A first sum may take half as long again as a first answer is taken to need.
    let limit = wait.limit.expect("it is late some time");
    assert_eq!(limit, Duration::from_millis(15_025));
    bench.wait(10_025);
    let actions = bench.actions();
    assert_eq!(actions[0], Action::LateSums(vec![Chunk(0)]), "{actions:?}");
}
