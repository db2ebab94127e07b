//! Strangers and members that speak the real protocol and break it: every message in every state. The peer is named with
//! the reason and shut out, nothing hangs, and the run ends in the weights of an undisturbed one.

use std::time::Duration;

use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{
    Divergence, Done, Goodbye, Join, NodeSums, ResultPart, ShardRequest, Slice, Span, Ticket,
};
use nix::sys::signal::Signal;
use tonic::Code;
use tonic::metadata::BinaryMetadataValue;

use crate::faults::{HASH, JOB, folder};
use crate::folder::Folder;
use crate::process::{Process, poll};

mod peer;

pub(crate) use peer::{Peer, join};

/// What is wrong, what says it, and how the reason begins.
type Case = (&'static str, Option<Kind>, &'static str);

fn part(pass: u64, slices: Vec<Slice>, sums: Vec<NodeSums>, done: Option<Done>) -> Option<Kind> {
    Some(Kind::Part(ResultPart { pass, slices, sums, done }))
}

fn slice(pass: u64, change: impl Fn(&mut Slice)) -> Option<Kind> {
    // 506 rows of 13 columns: 8 units and their biases, then 1.
    let mut slice = Slice { values: vec![0; 4].into(), ..Slice::default() };
    change(&mut slice);
    part(pass, vec![slice], Vec::new(), None)
}

fn sums(pass: u64, change: impl Fn(&mut NodeSums)) -> Option<Kind> {
    let mut sums = NodeSums { values: vec![1.0; 2], rows: 1, ..NodeSums::default() };
    change(&mut sums);
    part(pass, Vec::new(), vec![sums], None)
}

fn done(pass: u64, span: Option<(u32, u32)>) -> Option<Kind> {
    let span = span.map(|(start, end)| Span { start, end });
    part(pass, Vec::new(), Vec::new(), Some(Done { span, busy_nanoseconds: u64::MAX }))
}

fn ticket(secret: usize, bytes: u64) -> Option<Kind> {
    let (pid, descriptor) = (std::process::id(), u32::MAX);
    Some(Kind::Share(Ticket { pid, descriptor, secret: vec![1; secret].into(), bytes }))
}

/// What no worker may say, whatever it was told.
fn never() -> Vec<Case> {
    let span = |start, end| Some(Kind::Prepared(Span { start, end }));
    let divergence = |shard| Some(Kind::Divergence(Divergence { shard, ..Divergence::default() }));
    let long = Join { host: "x".repeat(MESSAGE_BYTES_MAX + 1), ..Join::default() };
    vec![
        ("nothing", None, "broken message: no content"),
        ("a second join", Some(Kind::Join(join())), "broken message: a second join"),
        ("more than a message may hold", Some(Kind::Join(long)), "broken message: "),
        ("shards of no span", span(3, 3), "broken message: shards 3..3 of 12"),
        ("shards backwards", span(9, 2), "broken message: shards 9..2 of 12"),
        ("shards outside", span(7, u32::MAX), "broken message: shards 7..4294967295 of 12"),
        ("a node outside", slice(0, |s| s.level = 40), "broken message: "),
        ("a far node", slice(0, |s| s.index = u32::MAX), "broken message: "),
        (
            "an absent chunk",
            slice(0, |s| s.chunk = u32::MAX),
            "broken message: chunk 4294967295 of 1",
        ),
        ("a short chunk", slice(0, |_| ()), "broken message: chunk 0 with 4 bytes, wanted "),
        (
            "coded garbage",
            slice(0, |s| (s.values, s.coded) = (Default::default(), vec![9; 64].into())),
            "broken message: coded values that cannot be decoded: ",
        ),
        (
            "coded and not",
            slice(0, |s| s.coded = vec![9; 64].into()),
            "broken message: a chunk both coded and not",
        ),
        (
            "no values",
            slice(0, |s| s.values.clear()),
            "broken message: chunk 0 with 0 bytes, wanted ",
        ),
        (
            "memory that was never shared",
            slice(0, |s| {
                (s.values, s.place, s.shared_bytes) = (Default::default(), 1 << 60, u32::MAX)
            }),
            "broken message: ",
        ),
        ("no sums", sums(0, |s| s.values.clear()), "broken message: 0 sums, wanted "),
        (
            "many sums",
            sums(0, |s| s.values = vec![0.0; 1000]),
            "broken message: 1000 sums, wanted ",
        ),
        ("sums of nothing", sums(0, |s| s.rows = 0), "broken message: "),
        ("sums outside", sums(0, |s| s.index = 12), "broken message: "),
        ("done with nothing", done(0, None), "broken message: a deal is done, but not which"),
        (
            "done with what is not there",
            done(0, Some((0, 99))),
            "broken message: shards 0..99 of 12",
        ),
        (
            "a fault outside",
            divergence(12),
            "broken message: a divergence in a shard that the run does not have",
        ),
        ("a file of absurd size", ticket(16, 1 << 62), "broken message: shared memory, a file of "),
        (
            "a file without a secret",
            ticket(3, 4096),
            "broken message: shared memory, but not where",
        ),
    ]
}

/// What a worker may say only of what it was dealt.
fn unasked() -> Vec<Case> {
    let prepared = Some(Kind::Prepared(Span { start: 11, end: 12 }));
    vec![
        (
            "shards not asked for",
            prepared,
            "it said that it has shards that it was not asked to fetch",
        ),
        (
            "done with another pass",
            done(1 << 40, Some((0, 1))),
            "it says that it is done with what",
        ),
        (
            "done with the last pass",
            done(u64::MAX, Some((0, 12))),
            "it says that it is done with what",
        ),
    ]
}

/// That the peer's stream ends with this reason, and that the coordinator names it with the same.
#[track_caller]
fn is_shut_out(coordinator: &Process, case: &str, peer: &mut Peer, reason: &str) {
    let status = peer.end().expect_err(case);
    assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
    assert!(
        status.message().starts_with(reason),
        "{case}: {:?}, wanted {reason:?}",
        status.message()
    );
    let told = coordinator.report("worker_left", |left| left["reason"] == status.message());
    assert_eq!((&told["cause"], &told["host"]), (&"expelled".into(), &"hostile".into()), "{case}");
    assert_eq!(told["address"], "127.0.0.1", "{case}");
}

/// One run, which each of them leads astray alone, until an honest worker comes.
#[test]
fn every_message_in_every_state() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    for (case, kind, reason) in never().into_iter().chain(unasked()) {
        println!("{case}");
        let mut peer = Peer::joined(&address);
        peer.say(kind.clone());
        is_shut_out(&coordinator, case, &mut peer, reason);
        let (mut peer, _) = Peer::dealt(&address);
        peer.say(kind.clone());
        is_shut_out(&coordinator, case, &mut peer, reason);
        // After its goodbye nobody listens.
        let (mut peer, _) = Peer::dealt(&address);
        peer.say(Some(Kind::Goodbye(Goodbye {})));
        peer.say(kind);
        peer.end().expect(case);
    }
    // What says nothing, or nothing new, is no reason to shut anybody out: these leave by themselves.
    for harmless in [
        part(0, Vec::new(), Vec::new(), None),
        part(7, Vec::new(), Vec::new(), None),
        done(0, Some((5, 7))),
    ] {
        let (mut peer, _) = Peer::dealt(&address);
        (0..100).for_each(|_| peer.say(harmless.clone()));
        peer.say(Some(Kind::Goodbye(Goodbye {})));
        peer.say(Some(Kind::Goodbye(Goodbye {})));
        peer.end().expect("a goodbye");
    }
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

/// Beside a worker that does its part, in a run that does not end by itself: all that was made is what an undisturbed run
/// makes.
#[test]
fn beside_an_honest_worker() {
    let job = JOB.replace("epochs = 3", "epochs = 1000000");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let honest = folder.worker(&address, &[]);
    for (case, kind, reason) in unasked().into_iter().chain(never().into_iter().step_by(2)) {
        let (mut peer, _) = Peer::dealt(&address);
        peer.say(kind);
        is_shut_out(&coordinator, case, &mut peer, reason);
    }
    coordinator.signal(Signal::SIGTERM);
    coordinator.end().expect(130);
    drop(honest);
    folder.run(&["verify", "run"]).expect(0);
}

#[test]
fn strangers() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let refused = |case: &str, first: Option<Kind>, code: Code, wanted: &str| {
        let status = Peer::new(&address, first).err().expect(case);
        assert_eq!(status.code(), code, "{case}: {status}");
        assert!(status.message().contains(wanted), "{case}: {status}");
        coordinator.report("warning", |warning| {
            let message = warning["message"].as_str().unwrap();
            message.starts_with("refused a worker (") && message.contains(wanted)
        });
    };
    let first = "the first message is not a join";
    for (case, kind, _) in never().into_iter().chain(unasked()) {
        if !matches!(kind, Some(Kind::Join(_))) {
            refused(case, kind, Code::InvalidArgument, first);
        }
    }
    refused("a goodbye", Some(Kind::Goodbye(Goodbye {})), Code::InvalidArgument, first);
    let long = "x".repeat(1 << 14);
    for (case, join, code, wanted) in [
        ("a long name", Join { host: long.clone(), ..join() }, Code::InvalidArgument, "too long"),
        ("a long version", Join { version: long, ..join() }, Code::InvalidArgument, "too long"),
        (
            "half an identity",
            Join { identity: vec![0; 8].into(), ..join() },
            Code::InvalidArgument,
            "an identity of 8 bytes, wanted 16",
        ),
        (
            "another run",
            Join { run_id: "another".to_string(), ..join() },
            Code::FailedPrecondition,
            "the worker is for run another",
        ),
        (
            "another protocol",
            Join { protocol: u32::MAX, identity: Default::default(), ..join() },
            Code::FailedPrecondition,
            "(protocol 4294967295): install the same version",
        ),
        (
            "another machine",
            Join { numeric_profile: "abacus".to_string(), ..join() },
            Code::FailedPrecondition,
            "computes with profile abacus",
        ),
    ] {
        refused(case, Some(Kind::Join(join)), code, wanted);
    }
    // Nobody waits for somebody who says nothing, nor for somebody who leaves.
    drop(Peer::joined(&address));
    let mut peer = Peer::joined(&address);
    let shard =
        |run_id: &str, table, shard| ShardRequest { run_id: run_id.to_string(), table, shard };
    for (request, code) in [
        (shard("another", 1, 0), Code::FailedPrecondition),
        (shard("", 1, 0), Code::FailedPrecondition),
        (shard(&"x".repeat(1 << 20), 1, 0), Code::FailedPrecondition),
        (shard("", 9, 0), Code::InvalidArgument),
    ] {
        assert_eq!(peer.fetch(request).unwrap_err().code(), code);
    }
    // Rows are for members alone, and as long as they are.
    let mut stranger = Peer::joined(&address);
    let run_id = peer.run_id.clone();
    peer.fetch(shard(&run_id, 1, 0)).unwrap();
    let credential = stranger.credential.replace(BinaryMetadataValue::from_bytes(&[7; 16]));
    let refused = stranger.fetch(shard(&run_id, 1, 0)).unwrap_err();
    assert_eq!(
        (refused.code(), refused.message().contains("run-")),
        (Code::Unauthenticated, false)
    );
    stranger.credential = None;
    assert_eq!(stranger.fetch(shard(&run_id, 1, 0)).unwrap_err().code(), Code::Unauthenticated);
    stranger.leave();
    peer.credential = credential;
    assert!(poll(|| peer
        .fetch(shard(&run_id, 1, 0))
        .is_err_and(|e| e.code() == Code::Unauthenticated)));
    drop(peer);
    std::thread::sleep(Duration::from_millis(10));
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}
