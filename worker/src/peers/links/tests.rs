//! A pair from both sides, step by step; time is made up.

use super::*;

fn key(worker: u64) -> [u8; 32] {
    [worker as u8; 32]
}

fn member(worker: u64, is_dialed: bool) -> Member {
    let addresses = if is_dialed { vec![format!("10.0.0.{worker}:7")] } else { Vec::new() };
    Member { worker: WorkerId(worker), key: key(worker), addresses }
}

fn outputs(links: &mut Links) -> Vec<Output> {
    std::iter::from_fn(|| links.poll()).collect()
}

fn links(me: u64, members: &[Member], now: Instant) -> Links {
    let listens = members.iter().any(|m| m.worker.0 == me && !m.addresses.is_empty());
    let mut links = Links::new(WorkerId(me), listens);
    links.set_roster(now, members.to_vec());
    links
}

/// The only dial that is to be made.
fn dial(links: &mut Links) -> Link {
    match &outputs(links)[..] {
        [Output::Dial(link, _)] => *link,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_lower_dials_at_once_and_decides() {
    let now = Instant::now();
    let both = [member(1, true), member(2, true)];
    let (mut low, mut high) = (links(1, &both, now), links(2, &both, now));
    let dialed = dial(&mut low);
    assert_eq!(outputs(&mut high), []);
    assert_eq!(high.poll_timeout(), Some(now + SECOND_DIAL_AFTER));
    let accepted = high.accept(now, Pin(key(1))).unwrap();
    assert_eq!(outputs(&mut high), [Output::Greet(accepted)]);
    low.dialed(now, dialed);
    let (one, two) = (WorkerId(1), WorkerId(2));
    assert_eq!(outputs(&mut low), [Output::Start(dialed, two), Output::Up(two)]);
    high.hear(now, accepted);
    assert_eq!(outputs(&mut high), [Output::Start(accepted, one), Output::Up(one)]);
    assert_eq!((low.poll_timeout(), high.poll_timeout()), (None, None));
    // Neither takes another, and nobody without a key of the roster.
    assert_eq!(low.accept(now, Pin(key(2))), None);
    assert_eq!(high.accept(now, Pin(key(1))), None);
    assert_eq!(high.accept(now, Pin(key(3))), None);
}

/// Both dial and both get through, in whichever order what was said arrives.
#[test]
fn of_two_connections_both_keep_the_same() {
    for order in 0..6 {
        let now = Instant::now();
        let both = [member(1, true), member(2, true)];
        let (mut low, mut high) = (links(1, &both, now), links(2, &both, now));
        let low_dial = dial(&mut low);
        high.time_out(now + SECOND_DIAL_AFTER);
        let high_dial = dial(&mut high);
        let mut at_high = None;
        let mut kept = None;
        let steps = [[0, 1, 2], [0, 2, 1], [2, 0, 1], [0, 1, 2], [2, 0, 1], [0, 2, 1]][order];
        for step in steps {
            match step {
                0 => at_high = high.accept(now, Pin(key(1))),
                // The greeting arrives.
                1 => low.dialed(now, low_dial),
                _ => _ = low.accept(now, Pin(key(2))),
            }
            for output in outputs(&mut low) {
                if let Output::Start(link, _) = output {
                    assert_eq!(kept.replace(link), None, "one alone");
                }
            }
        }
        // What the lower said on the one it keeps.
        match kept == Some(low_dial) {
            true => high.hear(now, at_high.unwrap()),
            false => high.dialed(now, high_dial),
        }
        let said = outputs(&mut high);
        let ups = said.iter().filter(|output| matches!(output, Output::Up(_))).count();
        assert_eq!(ups, 1, "{order}: {said:?}");
    }
}

#[test]
fn where_the_lower_cannot_get_through_the_higher_dials() {
    let now = Instant::now();
    let both = [member(1, true), member(2, true)];
    let (mut low, mut high) = (links(1, &both, now), links(2, &both, now));
    let failed = dial(&mut low);
    low.end(now, failed, "no answer".to_string());
    assert_eq!(low.poll_timeout(), Some(now + PAUSE_MIN));
    high.time_out(now + SECOND_DIAL_AFTER);
    let dialed = dial(&mut high);
    let accepted = low.accept(now + SECOND_DIAL_AFTER, Pin(key(2))).unwrap();
    let (one, two) = (WorkerId(1), WorkerId(2));
    assert_eq!(outputs(&mut low), [Output::Start(accepted, two), Output::Up(two)]);
    high.dialed(now + SECOND_DIAL_AFTER, dialed);
    assert_eq!(outputs(&mut high), [Output::Start(dialed, one), Output::Up(one)]);
    // One that cannot be dialed dials at once, whoever the other is.
    let half = [member(1, true), member(2, false)];
    let (mut low, mut high) = (links(1, &half, now), links(2, &half, now));
    assert_eq!(outputs(&mut low), []);
    dial(&mut high);
}

#[test]
fn a_pair_that_is_cut_off_is_said_once_and_tried_with_growing_pauses() {
    let begin = Instant::now();
    let both = [member(1, true), member(2, true)];
    let mut links = links(1, &both, begin);
    let mut dials = Vec::new();
    let mut downs = Vec::new();
    let mut now = begin;
    while now < begin + 60 * STEADY {
        links.time_out(now);
        for output in outputs(&mut links) {
            match output {
                Output::Dial(link, _) => {
                    dials.push(now);
                    links.end(now, link, "no answer".to_string());
                }
                Output::Down(_, why) => downs.push((now, why)),
                other => panic!("{other:?}"),
            }
        }
        now = links.poll_timeout().unwrap();
    }
    assert_eq!(downs, [(begin + CUT_OFF_AFTER, "no answer".to_string())]);
    let pauses: Vec<Duration> = dials.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.is_sorted() && pauses.ends_with(&[PAUSE_MAX, PAUSE_MAX]), "{pauses:?}");
}

#[test]
fn two_that_cannot_be_dialed_are_cut_off_at_once() {
    let now = Instant::now();
    let mut links = links(1, &[member(1, false), member(2, false)], now);
    let said = outputs(&mut links);
    let why = "neither of the two can be dialed".to_string();
    assert_eq!(said, [Output::Down(WorkerId(2), why)]);
    assert_eq!(links.poll_timeout(), None);
}

/// A connection of 1 with 2 that is up.
fn up(now: Instant, members: &[Member]) -> (Links, Link) {
    let mut links = links(1, members, now);
    let link = dial(&mut links);
    links.dialed(now, link);
    assert_eq!(outputs(&mut links).len(), 2);
    (links, link)
}

#[test]
fn a_lost_connection_is_said_and_sought_again() {
    let now = Instant::now();
    let (mut links, link) = up(now, &[member(1, true), member(2, true)]);
    links.end(now, link, "reset".to_string());
    assert_eq!(outputs(&mut links), [Output::Down(WorkerId(2), "reset".to_string())]);
    links.time_out(now + PAUSE_MIN);
    let again = dial(&mut links);
    links.dialed(now, again);
    assert_eq!(outputs(&mut links).last(), Some(&Output::Up(WorkerId(2))));
    links.give_up(now, WorkerId(2), "it takes nothing");
    let why = "it takes nothing".to_string();
    assert_eq!(outputs(&mut links), [Output::Close(again), Output::Down(WorkerId(2), why)]);
    assert_eq!(links.poll_timeout(), Some(now + 2 * PAUSE_MIN));
}

#[test]
fn whoever_leaves_the_roster_or_breaks_the_contract_is_let_go() {
    let now = Instant::now();
    let all = [member(1, true), member(2, true)];
    let (mut links, link) = up(now, &all);
    links.set_roster(now, vec![member(1, true)]);
    assert_eq!(outputs(&mut links), [Output::Close(link)]);
    assert_eq!(links.accept(now, Pin(key(2))), None);
    links.end(now, link, "closed".to_string());
    assert_eq!((outputs(&mut links).len(), links.poll_timeout()), (0, None));
    let (mut links, link) = up(now, &all);
    links.shun(WorkerId(2));
    assert_eq!(outputs(&mut links), [Output::Close(link)]);
    assert_eq!(links.accept(now, Pin(key(2))), None);
    assert_eq!(links.poll_timeout(), None);
    // The same name with another key is another.
    links.set_roster(now, vec![Member { key: key(9), ..member(2, true) }]);
    dial(&mut links);
}

#[test]
fn dials_at_once_are_few() {
    let now = Instant::now();
    let members: Vec<Member> = (1..100).map(|worker| member(worker, true)).collect();
    let mut links = links(1, &members, now);
    let first = outputs(&mut links);
    assert_eq!(first.len(), DIALS_MAX);
    let Output::Dial(link, _) = first[0] else { panic!("{first:?}") };
    links.dialed(now, link);
    outputs(&mut links);
    links.time_out(now);
    dial(&mut links);
}
