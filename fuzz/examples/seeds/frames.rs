//! Seeds of messages.

use std::time::Duration;

use bytes::Bytes;
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{
    Deal, Divergence, Done, Ending, FromWorker, Join, NodeSums, ResultPart, ShardRequest, Slice,
    ToWorker, Welcome,
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
            below("00", join.into_wire().encode_to_vec()),
            below("00", request.into_wire().encode_to_vec()),
            below("001", squared(Precision::F32).into_wire().encode_to_vec()),
            below("011", squared(Precision::Bf16).into_wire().encode_to_vec()),
        ],
    );
}

pub(crate) fn to_worker() {
    let span = Span { start: 2, end: 5 };
    let deal = |task| ToWorker::Deal(Deal { pass: Pass(9), step: Step(4), task, span });
    let weights = |precision: Precision| {
        let values: Bytes = precision.encode(&[0.5, -1.0, 2.0, 0.0, 1e-3, 7.0]);
        ToWorker::Weights { step: Step(3), chunk: Chunk(0), values }
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
        weights: None,
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
            below("00", welcome.into_wire().encode_to_vec()),
        ],
    );
}
