use super::*;
use crate::value::SPARE;

fn point(step: u64) -> Point {
    Point {
        step,
        loss: 1.0 / step as f64,
        learning_rate: 0.1,
        rows: 10,
        seconds: step as f64 * 0.1,
    }
}

fn book(epochs: u32, steps_per_epoch: u64) -> Book {
    Book::new(Run::default(), Job::default(), epochs, steps_per_epoch)
}

fn joined(worker: u64) -> Joined {
    Joined { worker, host: format!("host {worker}"), threads: 2, ..Joined::default() }
}

fn seen(worker: u64, rows_per_second: f64) -> Seen {
    Seen { worker, state: "idle", rows_per_second: Some(rows_per_second), ..Seen::default() }
}

#[test]
fn a_long_run_takes_no_more_room_than_its_limits() {
    let mut book = book(20_000, 50);
    for step in 1..=200_000 {
        let epoch = (step / 50) as u32 + 1;
        book.step(epoch, point(step));
        if step % 50 == 0 {
            drop(book.epoch(epoch - 1, step as f64, [("loss".to_string(), Some(0.5))].into()));
        }
        if step % 100 == 0 {
            book.joined(0.0, joined(step), format!("worker {step} joined"));
            book.left(0.0, step, "vanished", "gone", format!("worker {step} left"));
        }
    }
    let status = book.status(1.0);
    let sizes =
        [status.epochs.len(), status.events.len(), status.gone.len(), status.curve.step.len()];
    assert!(
        sizes.iter().zip([EPOCHS_MAX, EVENTS_MAX, GONE_MAX, 1024]).all(|(len, max)| *len <= max)
    );
    assert!(status.epochs.len() > EPOCHS_MAX / 2);
    assert_eq!(status.epochs.last().unwrap().epoch, 4000);
    assert!(status.epochs.is_sorted_by_key(|epoch| epoch.epoch));
    assert_eq!((status.counts.joined, status.counts.lost), (2000, 2000));
    assert!(serde_json::to_string(&status).unwrap().len() < 400_000);
}

#[test]
fn the_pace_is_that_of_the_last_seconds() {
    let mut book = book(1, 1000);
    for step in 1..=500 {
        let seconds = if step <= 300 { step as f64 * 0.01 } else { 3.0 + (step - 300) as f64 };
        book.step(1, Point { seconds, ..point(step) });
    }
    let now = book.status(0.0).now;
    // A step a second, of 10 rows.
    assert!((now.rows_per_second.unwrap() - 10.0).abs() < 0.1, "{now:?}");
    assert!((now.seconds_left.unwrap() - 500.0).abs() < 5.0, "{now:?}");
    book.look(&[], None, Some(Wait { what: "results".to_string(), ..Wait::default() }));
    let status = book.status(0.0);
    assert_eq!((status.run.state, status.waits.len()), (State::Waiting, 1));
    assert_eq!((status.now.rows_per_second, status.now.seconds_left), (Some(0.0), None));
    book.step(1, point(501));
    assert_eq!(book.status(0.0).run.state, State::Training);
}

#[test]
fn a_worker_that_lags_or_computes_less_is_called_slow_and_one_that_left_says_why() {
    let mut book = book(1, 1000);
    (1..=4).for_each(|worker| book.joined(0.0, joined(worker), format!("worker {worker} joined")));
    for step in 1..=20 {
        let answered = |worker: u64| Some(if worker == 3 { 0.5 } else { 0.1 });
        let share = |worker| Share { worker, busy: 0.1, answered: answered(worker) };
        book.passed(format!("step {step}"), 0.5, (1..=4).map(share).collect());
    }
    let all: Vec<Seen> =
        [(1, 100.0), (2, 100.0), (3, 100.0), (4, 20.0)].map(|(w, r)| seen(w, r)).into();
    book.look(&all, None, None);
    book.left(9.0, 2, "vanished", "its process was killed", "worker 2 left".to_string());
    let status = book.status(10.0);
    let states: Vec<_> =
        status.members.iter().map(|member| (member.worker, member.state.as_str())).collect();
    assert_eq!(states, [(1, "idle"), (3, "slow"), (4, "slow")]);
    assert!(status.members[1].reason.contains("5.0 times as long"), "{:?}", status.members);
    assert!(status.members[2].reason.contains("20 % of the rows"), "{:?}", status.members);
    assert_eq!(
        (status.gone[0].worker, status.gone[0].reason.as_str()),
        (2, "its process was killed")
    );
    assert_eq!(status.strip.rows.iter().find(|row| row.worker == 2).unwrap().host, "host 2");
}

/// Spare workers computed in other times, and say nothing of how fast one is.
#[test]
fn the_worker_that_works_is_not_slow_beside_spare_ones() {
    let mut book = book(1, 1000);
    (1..=3).for_each(|worker| book.joined(0.0, joined(worker), format!("worker {worker} joined")));
    let share = |worker| Share { worker, busy: 0.1, answered: Some(0.1) };
    book.passed("step 1".to_string(), 0.1, (1..=3).map(share).collect());
    let spare = |worker| Seen { state: SPARE, ..seen(worker, 900.0) };
    book.look(&[seen(1, 100.0), spare(2), spare(3)], None, None);
    let members = book.status(1.0).members;
    let found: Vec<_> =
        members.iter().map(|member| (member.state.as_str(), member.rows_per_second)).collect();
    assert_eq!(found, [("idle", Some(100.0)), (SPARE, None), (SPARE, None)]);
}

#[test]
fn a_worker_that_is_late_again_and_again_is_called_slow_for_a_while() {
    let mut book = book(1, 1000);
    (1..=2).for_each(|worker| book.joined(0.0, joined(worker), format!("worker {worker} joined")));
    let share = |worker| Share { worker, busy: 0.1, answered: Some(0.1) };
    book.passed("step 1".to_string(), 0.1, (1..=2).map(share).collect());
    book.look(&[seen(1, 100.0), seen(2, 100.0)], None, None);
    let state = |book: &Book, at| book.status(at).members[1].state.clone();
    for at in [1.0, 2.0, 3.0] {
        assert_eq!(state(&book, at), "idle");
        book.hedged(at, 2, format!("worker 2 is late at {at}"));
        book.dealt_again(at, 1, "worker 1 computes the same".to_string());
    }
    assert_eq!([3.5, 11.0, 11.5].map(|at| state(&book, at)), ["slow", "slow", "idle"]);
    let events = book.status(4.0).events;
    let kinds: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.times)).collect();
    assert_eq!(kinds, [("joined", 1), ("joined", 1), ("hedged", 3), ("dealt_again", 3)]);
}

#[test]
fn who_is_not_let_in_is_among_the_waits_for_a_while() {
    let mut book = book(1, 10);
    for again in 0..20 {
        book.refused(
            f64::from(again),
            "node9".to_string(),
            "refused a worker (node9): another version".to_string(),
        );
    }
    let waits = book.status(20.0).waits;
    assert_eq!((waits.len(), waits[0].stage.as_str(), waits[0].seconds), (1, "joining", 1.0));
    assert!(book.status(60.0).waits.is_empty());
    book.joined(21.0, joined(1), String::new());
    assert!(book.status(21.0).waits.is_empty());
}

#[test]
fn what_happens_again_and_again_pushes_nothing_out() {
    let mut book = book(1, 10);
    book.joined(0.0, joined(1), "worker 1 joined".to_string());
    for step in 0..1000 {
        book.event(f64::from(step), "checkpoint", format!("checkpoint of step {step}"));
    }
    let status = book.status(0.0);
    assert_eq!(
        (status.events.len(), status.events[1].times, status.counts.checkpoints),
        (2, 1000, 1000)
    );
    assert_eq!(status.events[1].text, "checkpoint of step 999");
}

#[test]
fn numbers_that_are_none_are_null_and_read_back() {
    let mut book = book(1, 10);
    book.step(1, Point { loss: f64::NAN, ..point(1) });
    let status = book.status(0.0);
    assert_eq!(status.now.loss, None);
    let json = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    // A later version says more, an earlier one less.
    assert_eq!(serde_json::from_str::<Status>("{\"format\":1,\"more\":[]}").unwrap().format, 1);
}
