//! Messages between coordinator and workers, as they come off the wire: what gets past the checks keeps the contract, and
//! sent again it is the same.

use std::sync::Arc;

use bytes::Bytes;
use lockstep_proto::batches::Batches;
use lockstep_proto::coding;
use lockstep_proto::frame::{
    FromWorker, HomeSum, Join, Limits, PeerContent, PeerMessage, ResultPart, ShardRequest, Slice,
    ToWorker, Welcome,
};
use lockstep_proto::ids::{Span, Task};
use lockstep_proto::layout::{Layout, TensorShape};
use lockstep_proto::tree::{Node, SHARDS_MAX, ShardTree};
use lockstep_proto::values::Precision;
use lockstep_proto::wire::{
    CoordinatorMessage, PeerMessage as WirePeerMessage, ShardRequest as WireRequest, WorkerMessage,
};
use prost::Message;

use crate::budget::Budget;
use crate::input;

/// An element of a repeated field takes two bytes on the wire and some 80 in memory, while its vector grows, and again
/// when it is checked.
const BUDGET: Budget = Budget { fixed: 64 << 10, per_byte: 256 };

/// Loss and metric sums of a node.
const SUMS_LEN: usize = 2;

/// A run with three small chunks; the last one is short. With row squares there is a table of inputs before the first layer, in
/// the same chunk.
fn limits(shards: u32, precision: Precision, has_row_squares: bool) -> Limits {
    let shape = |inputs: usize, units: usize| {
        [TensorShape::new("kernel", [inputs, units]), TensorShape::new("bias", [units])]
    };
    let layers = [shape(2, 2), shape(2, 8191), shape(8191, 1)];
    let inputs = [TensorShape::new("color.embedding", [2, 3])];
    let inputs = if has_row_squares { &inputs[..] } else { &[] };
    let layout = Layout::with_inputs(inputs, &layers).with_row_squares(has_row_squares);
    let batches = Batches { rows: 50, shards, batch_size: 10 };
    let (tree, layout) = (ShardTree::new(shards), Arc::new(layout));
    Limits { batches, tree, layout, precision, sums_len: SUMS_LEN, table_sums_len: SUMS_LEN }
}

fn limits_and_message(data: &[u8]) -> (Limits, Bytes) {
    let (mut choose, message) = input::split(data);
    let (shards, precision) =
        (choose.of(&[5, 1, 16, SHARDS_MAX]), choose.of(&[Precision::F32, Precision::Bf16]));
    let limits = limits(shards, precision, choose.of(&[false, true]));
    (limits, Bytes::copy_from_slice(message))
}

/// Sends what was accepted and takes it in again: the same bytes.
fn same<T, M: Message + Default>(
    accepted: T,
    into_wire: impl Fn(T) -> M,
    from_wire: impl Fn(M) -> T,
) {
    let sent = into_wire(accepted).encode_to_vec();
    let received = M::decode(&sent[..]).expect("what was encoded");
    assert_eq!(into_wire(from_wire(received)).encode_to_vec(), sent);
}

/// What a coordinator takes in.
pub fn from_worker(data: &[u8]) {
    let (limits, message) = limits_and_message(data);
    BUDGET.hold(message.len(), || {
        if let Ok(Ok(request)) = WireRequest::decode(message.clone()).map(ShardRequest::from_wire) {
            let again = |wire| ShardRequest::from_wire(wire).expect("accepted before");
            same(request, ShardRequest::into_wire, again);
        }
        let Ok(message) = WorkerMessage::decode(message.clone()) else { return };
        if let Ok(join) = Join::from_wire(message.clone()) {
            assert!((1..=4096).contains(&join.threads));
            let texts = [&join.version, &join.numeric_profile, &join.host];
            assert!(texts.iter().all(|text| text.len() <= 256));
            same(join, Join::into_wire, |wire| Join::from_wire(wire).expect("accepted before"));
        }
        let Ok(word) = limits.from_worker(message) else { return };
        match &word {
            FromWorker::Prepared(span) => check_span(&limits, *span),
            FromWorker::Part(part) => check_part(&limits, part),
            FromWorker::Divergence(divergence) => {
                assert!(divergence.shard.0 < limits.tree.shards());
                let layers = limits.layout.layers().len();
                assert!(divergence.layer.is_none_or(|layer| (layer as usize) < layers));
            }
            FromWorker::Sum(sum) => check_sum(&limits, sum),
            FromWorker::Overflow(_, chunk) | FromWorker::Missing(_, chunk) => {
                assert!((chunk.0 as usize) < limits.layout.chunks().len());
            }
            FromWorker::Listens(listens) => assert!(listens.addresses.len() <= 8),
            FromWorker::Routed(_) | FromWorker::Reach { .. } | FromWorker::Goodbye => {}
        }
        let again = |wire| limits.from_worker(wire).expect("accepted before");
        same(word, FromWorker::into_wire, again);
    });
}

/// What a worker takes in from another.
pub fn from_peer(data: &[u8]) {
    let (limits, message) = limits_and_message(data);
    BUDGET.hold(message.len(), || {
        let Ok(message) = WirePeerMessage::decode(message.clone()) else { return };
        let Ok(word) = limits.from_peer(message) else { return };
        match &word.content {
            PeerContent::Slices(slices) => check_slices(&limits, &slices.slices),
            PeerContent::Weights { chunk, values, .. } => {
                let known = &limits.layout.chunks()[chunk.0 as usize];
                assert_eq!(values.len(), known.range.len() * limits.precision.width());
            }
            PeerContent::CodedWeights { step, chunk, coded } => {
                let known = &limits.layout.chunks()[chunk.0 as usize];
                assert!(step.0 > 0);
                assert!(coded.len() < known.range.len() * limits.precision.width());
                check_coded(&limits, known.range.len(), coded);
            }
        }
        let again = |wire| limits.from_peer(wire).expect("accepted before");
        same(word, PeerMessage::into_wire, again);
    });
}

/// What a worker takes in.
pub fn to_worker(data: &[u8]) {
    let (limits, message) = limits_and_message(data);
    BUDGET.hold(message.len(), || {
        let Ok(message) = CoordinatorMessage::decode(message.clone()) else { return };
        if let Ok(welcome) = Welcome::from_wire(message.clone()) {
            let Batches { rows, shards, batch_size } = welcome.batches;
            assert!((1..=SHARDS_MAX).contains(&shards));
            assert!((1..=rows).contains(&batch_size) && rows <= u64::from(u32::MAX));
            assert!(welcome.batches.count() >= 1);
            let each = (0..shards).map(|shard| welcome.batches.shard_rows(shard));
            assert_eq!(each.sum::<u64>(), rows);
            let again = |wire| Welcome::from_wire(wire).expect("accepted before");
            same(welcome, Welcome::into_wire, again);
        }
        let Ok(word) = limits.to_worker(message) else { return };
        match &word {
            ToWorker::Prepare(span) => check_span(&limits, *span),
            ToWorker::Forget(spans) => spans.iter().for_each(|span| check_span(&limits, *span)),
            ToWorker::Deal(deal) => {
                check_span(&limits, deal.span);
                if let Task::Train { epoch, batch } = deal.task {
                    assert!(epoch > 0 && batch < limits.batches.count());
                }
                // What is counted on from there still fits.
                assert!(deal.pass.0.checked_add(1 << 32).is_some());
                assert!(deal.step.0.checked_add(1 << 32).is_some());
            }
            ToWorker::Weights { chunk, values, .. } => {
                let known = &limits.layout.chunks()[chunk.0 as usize];
                assert_eq!(values.len(), known.range.len() * limits.precision.width());
            }
            ToWorker::SharedWeights { chunk, .. } => {
                assert!((chunk.0 as usize) < limits.layout.chunks().len());
            }
            ToWorker::CodedWeights { step, chunk, coded, .. } => {
                let known = &limits.layout.chunks()[chunk.0 as usize];
                assert!(step.0 > 0);
                assert!(coded.len() < known.range.len() * limits.precision.width());
                check_coded(&limits, known.range.len(), coded);
            }
            ToWorker::NamedWeights(named) => {
                assert!((named.chunk.0 as usize) < limits.layout.chunks().len());
            }
            ToWorker::Route(route) => {
                let chunks = limits.layout.chunks().len();
                assert!([0, chunks].contains(&route.homes.len()));
            }
            ToWorker::Dealt(dealt) => {
                assert!(dealt.batch < limits.batches.count());
                dealt.spans.iter().for_each(|dealt| check_span(&limits, dealt.span));
            }
            ToWorker::Roster(_) | ToWorker::Code(_) | ToWorker::Finish(_) => {}
        }
        // A text that was cut short has one character more.
        let again = |wire| limits.to_worker(wire).expect("accepted before");
        same(again(word.into_wire()), ToWorker::into_wire, again);
    });
}

/// Whatever decodes is coded to something that decodes to the same, from nothing or from a base.
fn check_coded(limits: &Limits, len: usize, coded: &[u8]) {
    let precision = limits.precision;
    let mut frame = vec![0; len * precision.width()];
    if coding::decode(precision, coded, None, &mut frame).is_err() {
        return;
    }
    let base = vec![0x3f; frame.len()];
    for base in [None, Some(&base[..])] {
        let Some(again) = coding::code(precision, &frame, base) else { continue };
        let mut found = vec![0; frame.len()];
        coding::decode(precision, &again, base, &mut found).expect("coded here");
        assert_eq!(found, frame);
    }
}

fn check_slices(limits: &Limits, slices: &[Slice]) {
    for slice in slices {
        check_node(limits, slice.node);
        let known = &limits.layout.chunks()[slice.chunk.0 as usize];
        let mut values = vec![0.0; known.range.len() + known.squared];
        limits.precision.copy(&slice.values, &mut values);
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(values[known.range.len()..].iter().all(|square| square.is_sign_positive()));
    }
}

/// What was added lies in order inside the node.
fn check_sum(limits: &Limits, sum: &HomeSum) {
    check_slices(limits, std::slice::from_ref(&sum.slice));
    let span = limits.tree.span(sum.slice.node).expect("a node of the tree");
    let mut start = span.start;
    for (node, _) in &sum.of {
        let inside = limits.tree.span(*node).expect("a node of the tree");
        assert!(start <= inside.start && inside.end <= span.end);
        start = inside.end;
    }
}

fn check_part(limits: &Limits, part: &ResultPart) {
    check_slices(limits, &part.slices);
    for sums in &part.sums {
        check_node(limits, sums.node);
        assert!(sums.rows > 0 && sums.values.len() == SUMS_LEN);
        assert!(sums.values.iter().all(|value| value.is_finite()));
    }
    if let Some(done) = &part.done {
        check_span(limits, done.span);
    }
}

fn check_span(limits: &Limits, span: Span) {
    assert!(span.start < span.end && span.end <= limits.tree.shards());
    // Whoever deals it goes through its nodes.
    assert!(limits.tree.nodes(span).into_iter().all(|node| limits.tree.span(node).is_some()));
}

fn check_node(limits: &Limits, node: Node) {
    let span = limits.tree.span(node).expect("a node of the tree");
    check_span(limits, span);
}
