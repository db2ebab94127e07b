//! Seeds of messages.

use std::time::Duration;

use bytes::Bytes;
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{
    Deal, Dealt, DealtSpan, Divergence, Done, Ending, FromWorker, HomeSum, Join, Listens, Member,
    NamedWeights, NodeSums, PeerContent, PeerMessage, PeerSlices, ResultPart, Route, ShardRequest,
    Slice, ToWorker, Welcome,
};
use lockstep_proto::ids::{Chunk, Pass, Shard, Span, Step, Table, Task, WorkerId};
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use prost::Message;

use crate::{below, write};

pub(crate) fn from_worker() {
    let span = Span { start: 0, end: 3 };
    let values = |precision: Precision| precision.encode(&[0.5, -1.0, 2.0, 0.0, 1e-3, 7.0]);
    let part = |precision| {
        FromWorker::Part(ResultPart {
            pass: Pass(9),
            slices: vec![Slice { node: Node::leaf(4), chunk: Chunk(0), values: values(precision) }],
            sums: vec![NodeSums { node: Node::leaf(2), rows: 3, values: vec![1.5, 2.0] }],
            done: Some(Done { span, busy: Duration::from_millis(3) }),
        })
    };
    // A table of 6 values and a layer of 6, and row squares of the table.
    let squared = |precision: Precision| {
        let values = precision.encode_joined([&[-0.5; 12], &[0.25, 0.0, 4.0, 1e-3, 0.0, 9.0]]);
        let slices = vec![Slice { node: Node::leaf(4), chunk: Chunk(0), values }];
        FromWorker::Part(ResultPart { pass: Pass(9), slices, sums: Vec::new(), done: None })
    };
    let divergence =
        Divergence { pass: Pass(1), shard: Shard(4), layer: Some(1), in_gradient: true };
    let join = Join {
        protocol: lockstep_proto::PROTOCOL,
        version: lockstep_proto::VERSION.to_owned(),
        numeric_profile: "fma".to_owned(),
        run_id: Some("run".to_owned()),
        host: "host".to_owned(),
        pid: 7,
        threads: 8,
        identity: Some([9; 16]),
    };
    let request = ShardRequest { run_id: "run".to_owned(), table: Table::Test, shard: Shard(1) };
    let word = |word: FromWorker| below("00", word.into_wire().encode_to_vec());
    write(
        "frames_from_worker",
        [
            word(FromWorker::Prepared(span)),
            word(part(Precision::F32)),
            below("01", part(Precision::Bf16).into_wire().encode_to_vec()),
            word(FromWorker::Divergence(divergence)),
            word(FromWorker::Goodbye),
            word(FromWorker::Listens(Listens {
                key: [9; 32],
                port: 4000,
                addresses: vec!["10.0.0.1:4000".to_owned()],
            })),
            word(FromWorker::Routed(3)),
            word(FromWorker::Sum(HomeSum {
                pass: Pass(9),
                slice: Slice {
                    node: Node { level: 1, index: 0 },
                    chunk: Chunk(0),
                    values: values(Precision::F32),
                },
                of: vec![(Node::leaf(0), WorkerId(1)), (Node::leaf(1), WorkerId(2))],
            })),
            word(FromWorker::Overflow(Pass(9), Chunk(1))),
            word(FromWorker::Missing(Step(3), Chunk(1))),
            word(FromWorker::Reach { worker: WorkerId(2), is_up: true }),
            below("00", join.into_wire().encode_to_vec()),
            below("00", request.into_wire().encode_to_vec()),
            below("001", squared(Precision::F32).into_wire().encode_to_vec()),
            below("011", squared(Precision::Bf16).into_wire().encode_to_vec()),
        ],
    );
}

pub(crate) fn from_peer() {
    let values = Precision::F32.encode(&[0.5, -1.0, 2.0, 0.0, 1e-3, 7.0]);
    let slices = vec![Slice { node: Node::leaf(4), chunk: Chunk(0), values: values.clone() }];
    let word = |content| {
        let message = PeerMessage { execution: 7, content };
        below("00", message.into_wire().encode_to_vec())
    };
    write(
        "frames_from_peer",
        [
            word(PeerContent::Slices(PeerSlices { pass: Pass(9), route: 3, slices })),
            word(PeerContent::CodedWeights {
                step: Step(3),
                chunk: Chunk(0),
                coded: Bytes::from_static(&[1, 0, 7]),
            }),
            word(PeerContent::Weights { step: Step(3), chunk: Chunk(0), values }),
        ],
    );
}

pub(crate) fn to_worker() {
    let span = Span { start: 2, end: 5 };
    let deal = |task| ToWorker::Deal(Deal { pass: Pass(9), step: Step(4), task, span });
    let weights = |precision: Precision| {
        let values: Bytes = precision.encode(&[0.5, -1.0, 2.0, 0.0, 1e-3, 7.0]);
        ToWorker::Weights { step: Step(3), chunk: Chunk(0), values, pass_on: vec![WorkerId(1)] }
    };
    let welcome = Welcome {
        run_id: "run".to_owned(),
        worker: WorkerId(3),
        network: "{}".to_owned(),
        batches: Batches { rows: 404, shards: 16, batch_size: 10 },
        shuffle: true,
        seed: 1,
        validation_rows: 0,
        test_rows: 102,
        precision: Precision::F32,
        clips: true,
        is_weighted: false,
        has_row_squares: false,
        steps_per_update: 1,
        chunk_values_max: 1 << 16,
        weights: None,
        peers: true,
        execution: 7,
    };
    let word = |word: ToWorker| below("00", word.into_wire().encode_to_vec());
    write(
        "frames_to_worker",
        [
            word(ToWorker::Prepare(span)),
            word(ToWorker::Forget(vec![span, Span { start: 0, end: 1 }])),
            word(deal(Task::Train { epoch: 1, batch: 2 })),
            word(deal(Task::Evaluate { table: Table::Validation })),
            word(weights(Precision::F32)),
            below("01", weights(Precision::Bf16).into_wire().encode_to_vec()),
            word(ToWorker::SharedWeights { step: Step(3), chunk: Chunk(1) }),
            word(ToWorker::Finish(Ending::Failed("the loss is not finite".to_owned()))),
            word(ToWorker::Finish(Ending::Stopped)),
            word(ToWorker::Route(Route {
                number: 3,
                from: Pass(9),
                homes: vec![Some(WorkerId(1)), None, Some(WorkerId(2))],
            })),
            word(ToWorker::Dealt(Dealt {
                pass: Pass(9),
                batch: 2,
                spans: vec![DealtSpan { worker: WorkerId(1), span, is_apart: true }],
            })),
            word(ToWorker::NamedWeights(NamedWeights {
                step: Step(3),
                chunk: Chunk(1),
                home: WorkerId(2),
                digest: [7; 32],
            })),
            word(ToWorker::Roster(vec![Member {
                worker: WorkerId(1),
                key: [9; 32],
                addresses: vec!["10.0.0.1:4000".to_owned()],
            }])),
            below("00", welcome.into_wire().encode_to_vec()),
        ],
    );
}
