//! Every message that does not keep the contract is told apart from those that do, and no bytes at all panic.

mod peers;
mod precision;
mod row_squares;
mod words;

use prost::Message;

use super::check::{Checked, NAME_BYTES_MAX, TEXT_CHARS_MAX};
use super::encode::{coordinator_message, worker_message};
use super::*;
use crate::coding;
use crate::layout::TensorShape;
use crate::random::{Purpose, Random};
use crate::tree::SHARDS_MAX;
use crate::wire::{coordinator_message, worker_message};
use crate::{values, wire};

const SUMS_LEN: usize = 2;

/// 5 shards; chunks of 20,000 and 100 values.
fn limits() -> Limits {
    let shape = |inputs: usize, units: usize| [TensorShape::new("kernel", [inputs, units])];
    let layout = Layout::new(&[shape(200, 100), shape(100, 1)]);
    assert_eq!(layout.chunks().len(), 2);
    let batches = Batches { rows: 50, shards: 5, batch_size: 10 };
    let (tree, layout, precision) = (ShardTree::new(5), Arc::new(layout), Precision::F32);
    Limits { batches, tree, layout, precision, sums_len: SUMS_LEN, table_sums_len: SUMS_LEN + 2 }
}

fn frame(values: usize) -> Bytes {
    values::encode(&vec![0.5; values])
}

fn refused<T: std::fmt::Debug>(found: Checked<T>, wanted: &str) {
    let text = found.expect_err(wanted).to_string();
    assert!(text.starts_with("broken message: ") && text.contains(wanted), "{text:?}: {wanted:?}");
}

#[test]
fn broken_words_of_a_worker() {
    use worker_message::Kind;
    let span = |start, end| Kind::Prepared(wire::Span { start, end });
    let divergence = |shard| Kind::Divergence(wire::Divergence { shard, ..Default::default() });
    let slice = |level, index, chunk, values| {
        let good = wire::Slice { index: 4, chunk: 1, values: frame(100), ..Default::default() };
        let slices = vec![good, wire::Slice { level, index, chunk, values, ..Default::default() }];
        Kind::Part(wire::ResultPart { slices, ..Default::default() })
    };
    let done = |span| {
        let done = Some(wire::Done { span, busy_nanoseconds: u64::MAX });
        Kind::Part(wire::ResultPart { done, ..Default::default() })
    };
    let sums = |level, index, len| {
        let sums = vec![wire::NodeSums { level, index, values: vec![1.0; len], rows: 1 }];
        Kind::Part(wire::ResultPart { sums, ..Default::default() })
    };
    let none = wire::NodeSums { index: 1, values: vec![1.0; SUMS_LEN], ..Default::default() };
    let no_rows = Kind::Part(wire::ResultPart { sums: vec![none], ..Default::default() });
    let long = frame(20_000).slice(1..);
    let code =
        |values: &[f32]| coding::code(Precision::F32, &values::encode(values), None).unwrap();
    let (long_coded, coded_nan) = (code(&[0.5; 20_000]), code(&[f32::NAN; 20_000]));
    let coded_slice = |chunk, coded: &[u8]| wire::Slice {
        chunk,
        coded: Bytes::copy_from_slice(coded),
        ..Default::default()
    };
    let coded = |chunk, bytes: &[u8]| {
        let slices = vec![coded_slice(chunk, bytes)];
        Kind::Part(wire::ResultPart { slices, ..Default::default() })
    };
    let bomb = vec![coded_slice(0, &long_coded); 53];
    let bomb = Kind::Part(wire::ResultPart { slices: bomb, ..Default::default() });
    let both = vec![wire::Slice { values: frame(20_000), ..coded_slice(0, &long_coded) }];
    let both = Kind::Part(wire::ResultPart { slices: both, ..Default::default() });
    let spoilt = |bad| values::encode(&[&[0.5; 99][..], &[bad]].concat());
    for (kind, wanted) in [
        (span(0, 0), "shards 0..0 of 5"),
        (span(3, 2), "shards 3..2 of 5"),
        (span(4, 6), "shards 4..6 of 5"),
        (span(u32::MAX, u32::MAX), "of 5"),
        (done(None), "a deal is done, but not which"),
        (done(Some(wire::Span { start: 4, end: 6 })), "shards 4..6 of 5"),
        (slice(0, 5, 1, frame(100)), "node 0:5 is not in the tree of 5 shards"),
        (slice(3, 1, 1, frame(100)), "node 3:1 is not in the tree of 5 shards"),
        (slice(4, 0, 1, frame(100)), "node 4:0 is not in the tree of 5 shards"),
        (slice(u32::MAX, 0, 1, frame(100)), "is not in the tree"),
        (slice(2, u32::MAX, 1, frame(100)), "is not in the tree"),
        (slice(0, 0, 2, frame(100)), "chunk 2 of 2"),
        (
            slice(0, 2, 1, spoilt(f32::NAN)),
            "a gradient that is not finite, for node 0:2 of chunk 1",
        ),
        (slice(0, 2, 1, spoilt(f32::NEG_INFINITY)), "a gradient that is not finite"),
        (slice(0, 0, u32::MAX, frame(100)), "chunk 4294967295 of 2"),
        (slice(0, 0, 1, frame(99)), "chunk 1 with 396 bytes, wanted 100 values of 4 bytes"),
        (slice(0, 0, 0, frame(100)), "chunk 0 with 400 bytes, wanted 20000 values of 4 bytes"),
        (slice(0, 0, 0, long), "chunk 0 with 79999 bytes"),
        (slice(0, 0, 1, Bytes::new()), "chunk 1 with 0 bytes"),
        (coded(0, &long_coded[..9]), "coded values that cannot be decoded: "),
        (coded(1, &long_coded), "coded values that cannot be decoded: "),
        (coded(2, &long_coded), "chunk 2 of 2"),
        (bomb, "coded values for more than 4194304 bytes"),
        (both, "a chunk both coded and not"),
        (coded(0, &coded_nan), "a gradient that is not finite, for node 0:0 of chunk 0"),
        (sums(0, 5, SUMS_LEN), "node 0:5 is not in the tree"),
        (sums(0, 0, SUMS_LEN + 1), "3 sums, wanted 2 of a step or 4 of a table"),
        (sums(0, 0, 0), "0 sums, wanted 2 of a step or 4 of a table"),
        (no_rows, "sums over no rows in node 0:1"),
        (divergence(5), "a divergence in a shard that the run does not have"),
        (Kind::Join(wire::Join::default()), "a second join"),
    ] {
        refused(limits().from_worker(worker_message(kind)), wanted);
    }
    refused(limits().from_worker(wire::WorkerMessage { kind: None }), "no content");
}

#[test]
fn broken_words_of_a_coordinator() {
    use coordinator_message::Kind;
    let deal = |table, span: Option<(u32, u32)>| {
        let span = span.map(|(start, end)| wire::Span { start, end });
        Kind::Deal(wire::Deal { table, span, epoch: 1, ..Default::default() })
    };
    let batch = |epoch, batch| {
        let (table, span) = (wire::Table::Train as i32, Some(wire::Span { start: 0, end: 5 }));
        Kind::Deal(wire::Deal { table, span, epoch, batch, ..Default::default() })
    };
    let train = wire::Table::Train as i32;
    let forget = |spans: [(u32, u32); 2]| {
        let spans = spans.map(|(start, end)| wire::Span { start, end });
        Kind::Forget(wire::Spans { spans: spans.to_vec() })
    };
    let coded = |step, chunk, bytes| {
        let coded = Bytes::from(vec![0; bytes]);
        Kind::Weights(wire::Weights { step, chunk, coded, ..Default::default() })
    };
    let weights =
        |chunk, values| Kind::Weights(wire::Weights { chunk, values, ..Default::default() });
    for (kind, wanted) in [
        (Kind::Prepare(wire::Span { start: 1, end: 1 }), "shards 1..1 of 5"),
        (Kind::Prepare(wire::Span { start: 0, end: 6 }), "shards 0..6 of 5"),
        (forget([(0, 1), (2, 2)]), "shards 2..2 of 5"),
        (forget([(0, 6), (2, 3)]), "shards 0..6 of 5"),
        (deal(train, None), "a deal without a span"),
        (deal(train, Some((0, 6))), "shards 0..6 of 5"),
        (deal(train, Some((2, 1))), "shards 2..1 of 5"),
        (batch(0, 0), "epoch 0"),
        (batch(1, 5), "batch 5 of 5"),
        (batch(1, u64::MAX), "batch 18446744073709551615 of 5"),
        (deal(0, Some((0, 5))), "table 0 is unknown"),
        (deal(4, Some((0, 5))), "table 4 is unknown"),
        (deal(-1, Some((0, 5))), "table -1 is unknown"),
        (weights(2, frame(100)), "chunk 2 of 2"),
        (coded(1, 2, 9), "chunk 2 of 2"),
        (coded(0, 1, 9), "9 bytes of coded weights of step 0 for 400"),
        (coded(1, 1, 400), "400 bytes of coded weights of step 1 for 400"),
        (weights(1, frame(101)), "chunk 1 with 404 bytes, wanted 100 values of 4 bytes"),
        (
            Kind::Weights(wire::Weights { step: u64::MAX, ..Default::default() }),
            "weights of step 18446744073709551615",
        ),
        (
            Kind::Deal(wire::Deal {
                pass: u64::MAX,
                span: Some(wire::Span { start: 0, end: 1 }),
                ..Default::default()
            }),
            "step 0 in pass 18446744073709551615",
        ),
        (Kind::Welcome(wire::Welcome::default()), "a second welcome"),
    ] {
        refused(limits().to_worker(coordinator_message(kind)), wanted);
    }
    refused(limits().to_worker(wire::CoordinatorMessage { kind: None }), "no content");
}

#[test]
fn a_long_story_is_cut_short() {
    for (chars, kept) in [(TEXT_CHARS_MAX, TEXT_CHARS_MAX), (1 << 20, TEXT_CHARS_MAX + 1)] {
        let error = "ü".repeat(chars);
        let finish = wire::Finish { error, stopped: false };
        let heard =
            limits().to_worker(coordinator_message(coordinator_message::Kind::Finish(finish)));
        let text = format!("{:?}", heard.unwrap());
        assert_eq!(text.chars().filter(|c| "ü…".contains(*c)).count(), kept);
    }
}

#[test]
fn a_layer_that_the_run_does_not_have_is_left_out_of_a_fault() {
    for (layer, wanted) in [(None, None), (Some(1), Some(1)), (Some(2), None)] {
        let divergence = wire::Divergence { layer, ..Default::default() };
        let found =
            limits().from_worker(worker_message(worker_message::Kind::Divergence(divergence)));
        let Ok(FromWorker::Divergence(divergence)) = found else { panic!("{found:?}") };
        assert_eq!(divergence.layer, wanted);
    }
}

fn join() -> Join {
    Join {
        protocol: 1,
        version: "0.1.0".to_string(),
        numeric_profile: "fma".to_string(),
        run_id: Some("run".to_string()),
        host: "host".to_string(),
        pid: 7,
        threads: 8,
        identity: Some([9; 16]),
    }
}

#[test]
fn joins() {
    for run_id in [None, Some("run".to_string())] {
        let join = Join { run_id, ..join() };
        assert_eq!(Join::from_wire(join.clone().into_wire()), Ok(join));
    }
    let longest = "x".repeat(NAME_BYTES_MAX);
    assert!(Join::from_wire(Join { host: longest.clone(), ..join() }.into_wire()).is_ok());
    let too_long = longest + "x";
    for join in [
        Join { version: too_long.clone(), ..join() },
        Join { numeric_profile: too_long.clone(), ..join() },
        Join { run_id: Some(too_long.clone()), ..join() },
        Join { host: too_long, ..join() },
    ] {
        refused(Join::from_wire(join.into_wire()), "a text of a join is too long");
    }
    for (threads, believed) in [(0, 1), (1, 1), (4096, 4096), (u32::MAX, 4096)] {
        let join = Join { threads, ..join() };
        assert_eq!(Join::from_wire(join.into_wire()).unwrap().threads, believed);
    }
    for bytes in [1, 15, 17, 1000] {
        let mut message = join().into_wire();
        if let Some(wire::worker_message::Kind::Join(join)) = &mut message.kind {
            join.identity = vec![0; bytes].into();
        }
        refused(Join::from_wire(message), &format!("an identity of {bytes} bytes, wanted 16"));
    }
    let first = "the first message is not a join";
    refused(Join::from_wire(FromWorker::Goodbye.into_wire()), first);
    refused(Join::from_wire(wire::WorkerMessage { kind: None }), first);
}

fn welcome() -> Welcome {
    Welcome {
        run_id: "run".to_string(),
        worker: WorkerId(3),
        network: "{}".to_string(),
        batches: Batches { rows: 404, shards: 16, batch_size: 10 },
        shuffle: true,
        seed: u64::MAX,
        validation_rows: 0,
        test_rows: 102,
        precision: Precision::F32,
        clips: true,
        is_weighted: false,
        has_row_squares: false,
        steps_per_update: 7,
        chunk_values_max: 1 << 15,
        weights: Some(Ticket { pid: 1, descriptor: 2, secret: [3; 16], bytes: 4 }),
        peers: true,
        execution: 7,
    }
}

#[test]
fn welcomes() {
    let with = |rows, shards, batch_size| {
        let batches = Batches { rows, shards, batch_size };
        Welcome::from_wire(Welcome { batches, ..welcome() }.into_wire())
    };
    for flag in 0..3 {
        let [clips, is_weighted, has_row_squares] = [0, 1, 2].map(|of| of == flag);
        let welcome = Welcome { clips, is_weighted, has_row_squares, ..welcome() };
        assert_eq!(Welcome::from_wire(welcome.clone().into_wire()), Ok(welcome));
    }
    let never = Welcome { steps_per_update: 0, ..welcome() };
    refused(Welcome::from_wire(never.into_wire()), "updates of 0 steps, wanted at least 1");
    for chunk_values_max in [0, 1, 1 << 13, (1 << 14) + 1, 1 << 17, u32::MAX] {
        let wanted =
            format!("chunks of up to {chunk_values_max} values, wanted 2^14, 2^15 or 2^16");
        refused(Welcome::from_wire(Welcome { chunk_values_max, ..welcome() }.into_wire()), &wanted);
    }
    let most = u64::from(u32::MAX);
    for (rows, shards, batch_size) in [(1, 1, 1), (404, SHARDS_MAX, 404), (most, 1, most)] {
        assert_eq!(with(rows, shards, batch_size).unwrap().batches.rows, rows);
    }
    for (rows, shards, batch_size, wanted) in [
        (404, 0, 10, "0 shards, wanted 1 to 4096"),
        (404, SHARDS_MAX + 1, 10, "4097 shards, wanted 1 to 4096"),
        (0, 16, 0, "batches of 0 from 0 rows"),
        (0, 16, 1, "batches of 1 from 0 rows"),
        (404, 16, 0, "batches of 0 from 404 rows"),
        (404, 16, 405, "batches of 405 from 404 rows"),
        (most + 1, 16, 10, "batches of 10 from 4294967296 rows"),
    ] {
        refused(with(rows, shards, batch_size), wanted);
    }
    for run_id in [String::new(), "x".repeat(NAME_BYTES_MAX + 1)] {
        let wanted = format!("a run id of {} bytes", run_id.len());
        refused(Welcome::from_wire(Welcome { run_id, ..welcome() }.into_wire()), &wanted);
    }
    let first = "the first message is not a welcome";
    refused(Welcome::from_wire(ToWorker::Finish(Ending::Finished).into_wire()), first);
    refused(Welcome::from_wire(wire::CoordinatorMessage { kind: None }), first);
}

#[test]
fn shard_requests() {
    for table in [Table::Train, Table::Validation, Table::Test] {
        let request = ShardRequest { run_id: "run".to_string(), table, shard: Shard(15) };
        assert_eq!(ShardRequest::from_wire(request.clone().into_wire()), Ok(request));
    }
    for table in [0, 4, -1, i32::MIN] {
        let request = wire::ShardRequest { run_id: String::new(), table, shard: 0 };
        let wanted = format!("table {table} is unknown");
        refused(ShardRequest::from_wire(request), &wanted);
    }
}
