//! Peers that know where the coordinator is and break the contract: they are named with the reason and shut out, and the
//! run goes on with the others to the same weights.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{Join, ResultPart, Span, WorkerMessage};

use crate::faults::{HASH, folder};
use crate::relay::{Change, Relay};

/// Changes the first results of a worker; what comes later passes.
fn first_part(change: impl Fn(ResultPart) -> Vec<Kind> + Send + Sync + 'static) -> Arc<Change> {
    let is_changed = AtomicBool::new(false);
    Arc::new(move |message| match message.kind {
        Some(Kind::Part(part)) if !is_changed.swap(true, Ordering::Relaxed) => {
            change(part).into_iter().map(|kind| WorkerMessage { kind: Some(kind) }).collect()
        }
        _ => vec![message],
    })
}

/// The first results without their sums, the gradient changed.
fn gradient(change: impl Fn(&mut ResultPart) + Send + Sync + 'static) -> Arc<Change> {
    first_part(move |mut part| {
        assert!(!part.slices.is_empty());
        part.sums.clear();
        change(&mut part);
        vec![Kind::Part(part)]
    })
}

/// Two workers share the run, the first of which is changed. Returns why it was shut out, if it was.
#[track_caller]
fn run_with(change: Arc<Change>) -> Option<String> {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let address = coordinator.address();
    let relay = Relay::new(&address, change);
    let _bad = folder.worker(&relay.address(), &[]);
    coordinator.report("worker_joined", |joined| joined["worker"] == 1);
    let good = folder.worker(&address, &[]);
    good.end().expect(0);
    let ended = coordinator.end();
    ended.expect(0);
    assert_eq!(folder.hash(), HASH, "{ended}");
    let reports = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    let left = |report: &serde_json::Value| {
        report["event"] == "worker_left" && report["worker"] == 1 && report["cause"] == "expelled"
    };
    let left: Option<serde_json::Value> = reports.into_iter().find(left);
    left.map(|left| left["reason"].as_str().unwrap().to_string())
}

#[track_caller]
fn shut_out(change: Arc<Change>, reason: &str) {
    let told = run_with(change).expect("it is shut out");
    assert!(told.starts_with(reason), "{told:?}, wanted {reason:?}");
}

#[test]
fn a_gradient_that_nobody_asked_for() {
    let reason = "it sent a gradient that it was not asked for";
    // A pass that has not begun.
    shut_out(gradient(|part| part.pass += 1), reason);
    shut_out(gradient(|part| part.pass = u64::MAX), reason);
    // The last of 12 shards is the other worker's.
    shut_out(gradient(|part| (part.slices[0].level, part.slices[0].index) = (0, 11)), reason);
    let foreign_sums = |mut part: ResultPart| {
        part.slices.clear();
        (part.sums[0].level, part.sums[0].index) = (0, 11);
        // The batch has one row there.
        part.sums[0].rows = 1;
        vec![Kind::Part(part)]
    };
    shut_out(first_part(foreign_sums), "it sent sums that it was not asked for");
}

#[test]
fn a_gradient_that_cannot_be_one() {
    let cut = |part: &mut ResultPart| part.slices[0].values.truncate(8);
    shut_out(gradient(cut), "broken message: chunk 0 with 8 bytes, wanted ");
    let chunk = |part: &mut ResultPart| part.slices[0].chunk = 9;
    shut_out(gradient(chunk), "broken message: chunk 9 of 1");
    let node = |part: &mut ResultPart| part.slices[0].index = 4000;
    shut_out(gradient(node), "broken message: ");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let not_finite = move |part: &mut ResultPart| {
            let mut values = part.slices[0].values.to_vec();
            let at = values.len() - 4;
            values[at..].copy_from_slice(&bad.to_le_bytes());
            part.slices[0].values = values.into();
        };
        shut_out(gradient(not_finite), "broken message: a gradient that is not finite, for ");
    }
    let sums = |mut part: ResultPart| {
        part.sums[0].values[0] = f64::NAN;
        vec![Kind::Part(part)]
    };
    shut_out(first_part(sums), "broken message: sums that are not finite");
}

#[test]
fn messages_that_cannot_be() {
    let instead = |kind: Kind| first_part(move |part| vec![kind.clone(), Kind::Part(part)]);
    let prepared = Kind::Prepared(Span { start: 0, end: 6 });
    let reason = "it said that it has shards that it was not asked to fetch";
    shut_out(instead(prepared.clone()), reason);
    shut_out(first_part(move |_| vec![prepared.clone(); 5000]), reason);
    let span = Kind::Prepared(Span { start: 7, end: 99 });
    shut_out(instead(span), "broken message: shards 7..99 of 12");
    shut_out(instead(Kind::Join(Join::default())), "broken message: a second join");
    let long = Kind::Join(Join { host: "x".repeat(5 << 20), ..Join::default() });
    shut_out(instead(long), "broken message: Error, decoded message length too large");
    let nothing: Arc<Change> = Arc::new(|message| match message.kind {
        Some(Kind::Part(_)) => vec![WorkerMessage { kind: None }],
        _ => vec![message],
    });
    shut_out(nothing, "broken message: no content");
}

/// What comes again is dropped: nobody is shut out for it.
#[test]
fn everything_twice_and_thousands_of_times() {
    let twice: Arc<Change> = Arc::new(|message| match message.kind {
        Some(Kind::Part(_)) => vec![message.clone(), message],
        _ => vec![message],
    });
    let many = first_part(|part| vec![Kind::Part(part); 5000]);
    for change in [twice, many] {
        assert_eq!(run_with(change), None);
    }
}

/// Whoever talks something else to the port is not answered, and changes nothing.
#[test]
fn noise_on_the_port() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let address = coordinator.address();
    let connect = || TcpStream::connect(&address).unwrap();
    let first = folder.worker(&address, &[]);
    let _silent = connect();
    for noise in [
        b"GET / HTTP/1.1\r\nHost: lockstep\r\n\r\n".to_vec(),
        vec![0xff; 1 << 16],
        vec![0; 1 << 16],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then something else".to_vec(),
    ] {
        let mut peer = connect();
        // The coordinator may hang up in the middle of it.
        let _ = peer.write_all(&noise);
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let _ = peer.read_to_end(&mut Vec::new());
    }
    let second = folder.worker(&address, &[]);
    for process in [first, second, coordinator] {
        process.end().expect(0);
    }
    assert_eq!(folder.hash(), HASH);
}
