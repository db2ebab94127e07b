//! Messages for sums that workers add up.

use super::*;

fn sum(level: u32, of: Vec<(Node, WorkerId)>) -> FromWorker {
    let slice = Slice { node: Node { level, index: 0 }, chunk: Chunk(1), values: frame(100) };
    FromWorker::Sum(HomeSum { pass: Pass(4), slice, of })
}

#[test]
fn words_about_sums_come_through_as_they_are() {
    let limits = limits();
    let of = vec![(Node::leaf(0), WorkerId(9)), (Node { level: 1, index: 1 }, WorkerId(0))];
    let addresses = vec!["10.0.0.1:70".to_string(), "a-host:1".to_string()];
    for word in [
        FromWorker::Listens(Listens { key: [3; 32], port: 7, addresses: addresses.clone() }),
        FromWorker::Routed(u64::MAX),
        sum(2, of),
        sum(3, Vec::new()),
        FromWorker::Overflow(Pass(4), Chunk(0)),
        FromWorker::Missing(Step(4), Chunk(1)),
        FromWorker::Reach { worker: WorkerId(3), is_up: true },
    ] {
        assert_eq!(limits.from_worker(word.clone().into_wire()).unwrap(), word);
    }
    let (worker, span) = (WorkerId(0), Span { start: 1, end: 3 });
    let spans = vec![DealtSpan { worker, span, is_apart: true }];
    let (home, digest) = (WorkerId(0), digest(&frame(100)));
    let homes = vec![Some(WorkerId(7)), None];
    for word in [
        ToWorker::Roster(vec![Member { worker, key: [1; 32], addresses }]),
        ToWorker::Route(Route { number: 2, from: Pass(3), homes: homes.clone() }),
        ToWorker::Route(Route::default()),
        ToWorker::Dealt(Dealt { pass: Pass(3), batch: 1, spans }),
        ToWorker::NamedWeights(NamedWeights { step: Step(2), chunk: Chunk(1), home, digest }),
    ] {
        assert_eq!(limits.to_worker(word.clone().into_wire()).unwrap(), word);
    }
    let slices = vec![Slice { node: Node::leaf(4), chunk: Chunk(1), values: frame(100) }];
    for content in [
        PeerContent::Slices(PeerSlices { pass: Pass(4), route: 2, slices }),
        PeerContent::Weights { step: Step(1), chunk: Chunk(1), values: frame(100) },
        PeerContent::CodedWeights { step: Step(1), chunk: Chunk(1), coded: frame(99) },
    ] {
        let word = PeerMessage { execution: 5, content };
        assert_eq!(limits.from_peer(word.clone().into_wire()).unwrap(), word);
    }
    let route = Route { number: 2, from: Pass(3), homes };
    assert_eq!(route.home(Pass(3), Chunk(0)), Some(WorkerId(7)));
    assert_eq!((route.home(Pass(2), Chunk(0)), route.home(Pass(3), Chunk(1))), (None, None));
}

#[test]
fn sums_of_what_is_not_inside_or_twice() {
    let limits = limits();
    let (pair, leaf) = (Node { level: 1, index: 0 }, Node::leaf);
    for of in [vec![leaf(4)], vec![pair, leaf(1)], vec![leaf(1), leaf(0)], vec![leaf(2), leaf(2)]] {
        let of = of.into_iter().map(|node| (node, WorkerId(1))).collect();
        refused(limits.from_worker(sum(2, of).into_wire()), "in it, or twice");
    }
    let outside = vec![(leaf(5), WorkerId(1))];
    refused(limits.from_worker(sum(3, outside).into_wire()), "not in the tree of 5 shards");
}

#[test]
fn broken_words_about_sums() {
    use coordinator_message::Kind;
    let limits = limits();
    let route =
        |homes, places| Kind::Route(wire::Route { homes, places, ..wire::Route::default() });
    let dealt = |batch, span| {
        let spans = vec![wire::DealtSpan { span, ..Default::default() }];
        Kind::Dealt(wire::Dealt { pass: 1, batch, spans })
    };
    let named = |chunk, digest: &[u8]| {
        let (home, digest) = (Some(1), digest.to_vec().into());
        Kind::Weights(wire::Weights { chunk, home, digest, ..Default::default() })
    };
    let roster = |key: &[u8], address: &str| {
        let (key, addresses) = (key.to_vec().into(), vec![address.to_string()]);
        Kind::Roster(wire::Roster { members: vec![wire::Member { worker: 1, key, addresses }] })
    };
    let whole = Some(wire::Span { start: 0, end: 5 });
    for (kind, wanted) in [
        (route(vec![1], vec![1]), "a route of 1 chunks of 2"),
        (route(vec![1], vec![1, 2]), "home 1 of 1"),
        (dealt(5, whole), "batch 5 of 5"),
        (dealt(0, None), "not which span"),
        (named(2, &[0; 32]), "chunk 2 of 2"),
        (named(1, &[0; 31]), "a digest of 31 bytes"),
        (roster(&[0; 31], "a:1"), "a key of 31 bytes"),
        (roster(&[0; 32], "a\n:1"), "an address that is none"),
        (roster(&[0; 32], ""), "an address that is none"),
    ] {
        refused(limits.to_worker(coordinator_message(kind)), wanted);
    }
    let weights = wire::Weights { chunk: 1, values: frame(99), ..Default::default() };
    let kind = Some(wire::peer_message::Kind::Weights(weights));
    refused(limits.from_peer(wire::PeerMessage { execution: 1, kind }), "wanted 100 values");
    refused(limits.from_peer(wire::PeerMessage::default()), "no content");
}
