//! Workers in one process, over loopback: what each hears of the others, and what becomes of those who are none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockstep_net::{Connector, Watched};
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{PeerContent, PeerSlices, Slice};
use lockstep_proto::ids::{Chunk, Pass, Step};
use lockstep_proto::layout::{Layout, TensorShape};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::{self, Precision};
use lockstep_proto::wire;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Values of the only chunk.
const VALUES: usize = 20_000;

fn limits() -> Limits {
    let layout = Layout::new(&[[TensorShape::new("kernel", [200, 100])]]);
    assert_eq!(layout.chunks().len(), 1);
    let batches = Batches { rows: 50, shards: 5, batch_size: 10 };
    let (tree, layout, precision) = (ShardTree::new(5), Arc::new(layout), Precision::F32);
    Limits { batches, tree, layout, precision, sums_len: 2, table_sums_len: 2 }
}

fn weights(step: u64) -> PeerMessage {
    let values = values::encode(&vec![step as f32; VALUES]);
    let content = PeerContent::Weights { step: Step(step), chunk: Chunk(0), values };
    PeerMessage { execution: 7, content }
}

fn slices(pass: u64, value: f32) -> PeerMessage {
    let node = Node { level: 0, index: 3 };
    let slice = Slice { node, chunk: Chunk(0), values: values::encode(&vec![value; VALUES]) };
    let slices = PeerSlices { pass: Pass(pass), route: 2, slices: vec![slice] };
    PeerMessage { execution: 7, content: PeerContent::Slices(slices) }
}

/// A worker that listens on loopback, and what the roster says of it.
async fn worker(name: u64) -> (Peers, Member) {
    let options = PeerOptions::default();
    let own = [127, 0, 0, 1].into();
    let (peers, listens) = Peers::begin(WorkerId(name), limits(), &options, own).await.unwrap();
    let Listens { key, addresses, .. } = listens;
    (peers, Member { worker: WorkerId(name), key, addresses })
}

/// Two workers that know each other.
async fn two() -> [(Peers, Member); 2] {
    let [mut one, mut other] = [worker(1).await, worker(2).await];
    let roster = vec![one.1.clone(), other.1.clone()];
    one.0.set_roster(roster.clone());
    other.0.set_roster(roster);
    [one, other]
}

/// Drives both until each has heard what it waits for; all that was heard.
async fn drive(
    one: &mut Peers,
    other: &mut Peers,
    mut is_enough: impl FnMut(&[Event], &[Event]) -> bool,
) -> (Vec<Event>, Vec<Event>) {
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    let driven = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_enough(&of_one, &of_other) {
            tokio::select! {
                event = one.next() => of_one.push(event),
                event = other.next() => of_other.push(event),
            }
        }
    });
    driven.await.unwrap_or_else(|_| panic!("only {of_one:?} and {of_other:?}"));
    (of_one, of_other)
}

fn is_up(events: &[Event]) -> bool {
    matches!(events, [Event::Up(_)])
}

#[tokio::test]
async fn two_workers_find_each_other_and_exchange_messages_as_they_were() {
    let [(mut one, _), (mut other, _)] = two().await;
    drive(&mut one, &mut other, |one, other| is_up(one) && is_up(other)).await;
    for is_coded in [false, true] {
        one.code(is_coded);
        one.post().put(WorkerId(2), slices(3, 0.25));
        one.post().put(WorkerId(2), weights(4));
        other.post().put(WorkerId(1), slices(5, 0.5));
        let (of_one, of_other) =
            drive(&mut one, &mut other, |one, other| one.len() == 1 && other.len() == 2).await;
        let said = |events: Vec<Event>| -> Vec<(WorkerId, PeerMessage)> {
            let said = events.into_iter().map(|event| match event {
                Event::Said(worker, message) => (worker, message),
                event => panic!("{event:?}"),
            });
            said.collect()
        };
        assert_eq!(said(of_one), [(WorkerId(2), slices(5, 0.5))]);
        let (first, second) = (slices(3, 0.25), weights(4));
        assert_eq!(said(of_other), [(WorkerId(1), first), (WorkerId(1), second)]);
    }
}

#[tokio::test]
async fn what_a_worker_says_to_itself_comes_back() {
    let (mut one, member) = worker(1).await;
    one.set_roster(vec![member]);
    one.post().put(WorkerId(1), slices(3, 1.0));
    one.post().put(WorkerId(2), slices(3, 1.0));
    let Event::Said(from, message) = one.next().await else { panic!("another event") };
    assert_eq!((from, message), (WorkerId(1), slices(3, 1.0)));
}

#[tokio::test]
async fn whoever_goes_is_missed_and_found_again() {
    let [(mut one, first), (mut other, _)] = two().await;
    drive(&mut one, &mut other, |one, other| is_up(one) && is_up(other)).await;
    drop(other);
    let Event::Down(WorkerId(2), why) = one.next().await else { panic!("another event") };
    assert!(!why.is_empty());
    let (mut again, second) = worker(3).await;
    let roster = vec![first, second];
    one.set_roster(roster.clone());
    again.set_roster(roster);
    let (of_one, _) = drive(&mut one, &mut again, |one, again| is_up(one) && is_up(again)).await;
    assert!(matches!(of_one[..], [Event::Up(WorkerId(3))]), "{of_one:?}");
}

/// A worker, and somebody who has the key of its only peer but is none.
async fn one_and_a_liar() -> (Peers, SocketAddr, Connector) {
    let (mut one, member) = worker(1).await;
    let key = PeerKey::generate().unwrap();
    let liar = Member { worker: WorkerId(2), key: key.pin().0, addresses: Vec::new() };
    one.set_roster(vec![member.clone(), liar]);
    let address = member.addresses[0].parse().unwrap();
    (one, address, Connector::between_peers(&key, Pin(member.key)).unwrap())
}

async fn lie(address: SocketAddr, connector: &Connector) -> Stream {
    let stream = Watched::new(TcpStream::connect(address).await.unwrap());
    connector.connect(stream, "").await.unwrap()
}

#[tokio::test]
async fn what_cannot_be_said_is_named_and_ends_it() {
    let nothing = wire::PeerMessage { execution: 7, kind: None };
    let short = {
        let mut short = weights(3).into_wire();
        let Some(wire::peer_message::Kind::Weights(weights)) = &mut short.kind else { panic!() };
        weights.values = weights.values.slice(4..);
        short
    };
    let framed = |message: &wire::PeerMessage| {
        let mut bytes = (message.encoded_len() as u32).to_be_bytes().to_vec();
        bytes.extend(message.encode_to_vec());
        bytes
    };
    for (bytes, wanted) in [
        (framed(&nothing), "no content"),
        (framed(&short), "values"),
        (u32::MAX.to_be_bytes().to_vec(), "a message of more than 4194304 bytes"),
        (vec![0, 0, 0, 3, 255, 255, 255], "decode"),
    ] {
        let (mut one, address, connector) = one_and_a_liar().await;
        let lying = async {
            let mut stream = lie(address, &connector).await;
            stream.write_all(&bytes).await.unwrap();
            stream.flush().await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            // Nor is it let in again.
            let mut stream = lie(address, &connector).await;
            let _ = stream.read_to_end(&mut rest).await;
        };
        let hearing = async {
            assert!(matches!(one.next().await, Event::Up(WorkerId(2))));
            let Event::Broken(WorkerId(2), what) = one.next().await else { panic!("no lie") };
            assert!(what.contains(wanted), "{what}, wanted {wanted}");
            one.next().await
        };
        tokio::select! {
            () = lying => {}
            event = hearing => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_nowhere_and_a_member_that_goes_is_none_any_more() {
    let (mut one, address, connector) = one_and_a_liar().await;
    let stranger = PeerKey::generate().unwrap();
    let known = one.links.pins().next().unwrap();
    let own = Connector::between_peers(&stranger, one.key.pin()).unwrap();
    let refused = async |connector: &Connector| {
        let mut stream = lie(address, connector).await;
        stream.read_to_end(&mut Vec::new()).await.is_err()
    };
    tokio::select! {
        is_refused = refused(&own) => assert!(is_refused),
        event = one.next() => panic!("{event:?}"),
    }
    one.set_roster(Vec::new());
    tokio::select! {
        is_refused = refused(&connector) => assert!(is_refused),
        event = one.next() => panic!("{event:?}"),
    }
    assert_ne!(known, stranger.pin());
}

/// Whoever listens at a peer's address and says nothing, or is somebody else, is left.
#[tokio::test]
async fn a_pair_that_cannot_connect_is_told_of() {
    let (mut one, member) = worker(1).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![mute.local_addr().unwrap().to_string()];
    let other = Member { worker: WorkerId(2), key: [9; 32], addresses };
    one.set_roster(vec![member, other]);
    let closing = async {
        loop {
            drop(mute.accept().await.unwrap());
        }
    };
    tokio::select! {
        event = one.next() => {
            let Event::Down(WorkerId(2), why) = event else { panic!("{event:?}") };
            assert!(why.starts_with("127.0.0.1:"), "{why}");
        }
        () = closing => {}
    }
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let (mut one, address, connector) = one_and_a_liar().await;
    let mut stream = None;
    tokio::select! {
        event = one.next() => assert!(matches!(event, Event::Up(_))),
        () = async {
            stream = Some(lie(address, &connector).await);
            std::future::pending().await
        } => {}
    }
    let Event::Down(WorkerId(2), why) = one.next().await else { panic!("another event") };
    assert_eq!(why, "it says nothing for 4.5 s");
    drop(stream);
}
