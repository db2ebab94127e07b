//! Coordinators that break the contract, against a real worker: it ends with the right exit code and a message that says
//! what it met, or looks elsewhere for as long as it was told. It never hangs, never panics, and takes no memory on a
//! stranger's word.

use std::sync::atomic::Ordering;

use lockstep_proto::wire::coordinator_message::Kind;
use lockstep_proto::wire::{Deal, Finish, Precision, Span, Table, Weights, Welcome};
use tonic::Status;

use crate::bad_job::small;

mod script;

pub(crate) use script::{Act, Rows, Script};

const NETWORK: &str = r#"{"inputs":2,"layers":[{"units":1}],"loss":"mse","metrics":[]}"#;

/// A network of a number and a column that is embedded in a table of these sides.
fn embedding(rows: u64, dimension: u64) -> String {
    let column = format!(r#"{{"column":"c","rows":{rows},"dimension":{dimension}}}"#);
    let embeddings = format!(r#""embeddings":[{column}]"#);
    format!(r#"{{"inputs":1,{embeddings},"layers":[{{"units":1}}],"loss":"mse","metrics":[]}}"#)
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        steps_per_update: 1,
        chunk_values_max: 1 << 16,
        run_id: "run".to_string(),
        worker: 1,
        network: NETWORK.to_string(),
        shards: 2,
        batch_size: 4,
        seed: 7,
        train_rows: 8,
        precision: Precision::F32 as i32,
        ..Welcome::default()
    }
}

pub(crate) fn prepare(start: u32, end: u32) -> Kind {
    Kind::Prepare(Span { start, end })
}

pub(crate) fn deal(step: u64, span: Option<(u32, u32)>) -> Deal {
    let span = span.map(|(start, end)| Span { start, end });
    Deal { step, table: Table::Train as i32, epoch: 1, span, ..Deal::default() }
}

/// So many bytes instead of values.
fn coded(step: u64, bytes: usize) -> Kind {
    Kind::Weights(Weights { step, coded: vec![7; bytes].into(), ..Weights::default() })
}

pub(crate) fn weights(step: u64, chunk: u32, values: usize) -> Weights {
    Weights { step, chunk, values: vec![0; 4 * values].into(), ..Weights::default() }
}

/// A worker of this coordinator, which looks for one no longer than `wait`, ends like this.
#[track_caller]
fn ends(case: &str, acts: Vec<Act>, rows: Rows, code: i32, fragment: &str) -> usize {
    let script = Script::new(acts, rows);
    let ended = small().worker(&script.address.to_string(), &["--wait", "0"]).end();
    println!("{case}");
    ended.expect_with(code, fragment);
    assert!(ended.stderr.len() < 16 << 10, "{case}: {} bytes", ended.stderr.len());
    script.joins.load(Ordering::Relaxed)
}

/// After a welcome.
#[track_caller]
fn after_welcome(case: &str, kinds: Vec<Kind>, rows: Rows, code: i32, fragment: &str) {
    let kinds = kinds.into_iter().map(Act::Say);
    let acts = [Act::Say(Kind::Welcome(welcome()))].into_iter().chain(kinds).chain([Act::Hold]);
    ends(case, acts.collect(), rows, code, fragment);
}

const BROKEN: &str = "error: the coordinator broke the protocol: broken message: ";

#[test]
fn welcomes_that_cannot_be() {
    type Case = (&'static str, fn(&mut Welcome), &'static str);
    let broken: [Case; 10] = [
        ("no shards", |w| w.shards = 0, "0 shards, wanted 1 to 4096"),
        ("many shards", |w| w.shards = u32::MAX, "4294967295 shards, wanted 1 to 4096"),
        ("no rows", |w| w.train_rows = 0, "batches of 4 from 0 rows"),
        ("many rows", |w| w.train_rows = u64::MAX, "batches of 4 from 18446744073709551615 rows"),
        ("no batch", |w| w.batch_size = 0, "batches of 0 from 8 rows"),
        ("a long batch", |w| w.batch_size = u64::MAX, "batches of 18446744073709551615 from"),
        ("many test rows", |w| w.test_rows = 1 << 40, "a table of more than 2^32 rows"),
        ("no precision", |w| w.precision = 9, "precision 9 is unknown"),
        ("no run", |w| w.run_id = String::new(), "a run id of 0 bytes"),
        ("a long run", |w| w.run_id = "x".repeat(1 << 20), "a run id of 1048576 bytes"),
    ];
    for (case, change, fragment) in broken {
        let mut welcome = welcome();
        change(&mut welcome);
        let acts = vec![Act::Say(Kind::Welcome(welcome)), Act::Hold];
        ends(case, acts, Rows::Good, 5, &format!("{BROKEN}{fragment}"));
    }
    let first = format!("{BROKEN}the first message is not a welcome");
    for act in [Act::Say(prepare(0, 2)), Act::Say(Kind::Finish(Finish::default())), Act::SayNothing]
    {
        ends("no welcome", vec![act, Act::Hold], Rows::Good, 5, &first);
    }
    let status = |status: Status| vec![Act::End(status)];
    let foreign = "another server of gRPC or HTTP/2 listens there (it says \"who are you\")";
    ends("another service", status(Status::unimplemented("who are you")), Rows::Good, 5, foreign);
    let refused = "error: the coordinator refused this worker: not today";
    ends("a refusal", status(Status::failed_precondition("not today")), Rows::Good, 6, refused);
}

#[test]
fn networks_that_cannot_be() {
    let layer = |inputs: u64, layers: &str| {
        format!(r#"{{"inputs":{inputs},"layers":[{layers}],"loss":"mse","metrics":[]}}"#)
    };
    let many = "the network has more than 4294967296 parameters, reached at layer 0";
    for (network, fragment) in [
        (String::new(), "EOF while parsing"),
        ("[".repeat(1 << 20), "invalid type: sequence"),
        (layer(2, &"[".repeat(1 << 20)), "invalid type: sequence"),
        (layer(2, ""), "a network needs at least one layer"),
        (layer(0, r#"{"units":1}"#), "a network needs at least one input column"),
        (
            layer(2, &format!(r#"{{"units":1,"activation":"{}"}}"#, "x".repeat(1 << 20))),
            "unknown variant `xxxxxxxx",
        ),
        (layer(2, r#"{"units":0}"#), "layer 0: `units`: found 0, wanted a whole number from 1"),
        (layer(2, r#"{"units":-1}"#), "invalid value"),
        (layer(2, r#"{"units":1e400}"#), "number out of range"),
        (layer(1 << 63, r#"{"units":2}"#), many),
        (layer(256, r#"{"units":16777216}"#), many),
        (layer(2, r#"{"units":18446744073709551615}"#), "layer 0: `units`: found 184467"),
        (layer(2, r#"{"type":"conv3d","units":1}"#), "unknown layer type \"conv3d\", expected"),
        (layer(2, r#"{"type":"dropout","rate":1.0},{"units":1}"#), "layer 0: `rate`: found 1,"),
        (layer(2, r#"{"type":"dropout","rate":0.5}"#), "layer 0: dropout cannot be the last"),
        (embedding(0, 2), "the embedding of column \"c\": rows: found 0, wanted 1 to 16777216"),
        (embedding(3, 1 << 40), "the embedding of column \"c\": dimension: found 1099511627776"),
        (
            embedding(1 << 24, 1 << 24),
            "the network has more than 4294967296 parameters, reached in its embeddings",
        ),
    ] {
        let welcome = Welcome { network, ..welcome() };
        let acts = vec![Act::Say(Kind::Welcome(welcome)), Act::Hold];
        let fragment =
            format!("error: the coordinator broke the protocol: the run's network: {fragment}");
        ends(&fragment, acts, Rows::Good, 5, &fragment);
    }
    // As large as any may be, and larger than this machine, if it is not a very large one.
    let network = layer(256, r#"{"units":16777216,"use_bias":false}"#);
    let acts = vec![Act::Say(Kind::Welcome(Welcome { network, ..welcome() }))];
    let ended = {
        let script = Script::new(acts, Rows::Good);
        small().worker(&script.address.to_string(), &["--wait", "0"]).end()
    };
    ended.expect_with(5, "error: the ");
    let is_small = ended
        .stderr
        .contains("the run's network of 4294967296 parameters takes 48.0 GiB of memory");
    assert!(is_small || ended.stderr.contains("ended before it gave any work"), "{ended}");
}

#[test]
fn words_that_cannot_be() {
    let dealt = |deal: Deal| vec![prepare(0, 2), Kind::Weights(weights(0, 0, 3)), Kind::Deal(deal)];
    let table = |table: i32| Deal { table, ..deal(0, Some((0, 2))) };
    for (case, kinds, fragment) in [
        ("a second welcome", vec![Kind::Welcome(welcome())], "a second welcome"),
        ("an empty span", vec![prepare(1, 1)], "shards 1..1 of 2"),
        ("a span outside", vec![prepare(0, u32::MAX)], "shards 0..4294967295 of 2"),
        ("a deal of nothing", dealt(deal(0, None)), "a deal without a span"),
        ("a deal outside", dealt(deal(0, Some((1, 3)))), "shards 1..3 of 2"),
        ("an epoch 0", dealt(Deal { epoch: 0, ..deal(0, Some((0, 2))) }), "epoch 0"),
        ("a batch outside", dealt(Deal { batch: 2, ..deal(0, Some((0, 2))) }), "batch 2 of 2"),
        ("a step beyond", dealt(deal(u64::MAX, Some((0, 2)))), "step 18446744073709551615"),
        ("an unknown table", dealt(table(9)), "table 9 is unknown"),
        ("an absent chunk", vec![Kind::Weights(weights(0, 1, 3))], "chunk 1 of 1"),
        ("a short chunk", vec![Kind::Weights(weights(0, 0, 2))], "chunk 0 with 8 bytes, wanted 3"),
        ("a late step", vec![Kind::Weights(weights(u64::MAX, 0, 3))], "weights of step 1844674"),
        ("coded first weights", vec![coded(0, 4)], "4 bytes of coded weights of step 0 for 12"),
        ("long coded weights", vec![coded(1, 12)], "12 bytes of coded weights of step 1 for 12"),
    ] {
        after_welcome(case, kinds, Rows::Good, 5, &format!("{BROKEN}{fragment}"));
    }
    let protocol = "error: the coordinator broke the protocol: ";
    let shared = Weights { shared: true, ..Weights::default() };
    let garbage = vec![prepare(0, 2), Kind::Weights(weights(0, 0, 3)), coded(1, 4)];
    let deals = vec![Kind::Deal(deal(5, Some((0, 2)))); 1100];
    for (case, kinds, fragment) in [
        ("a table that is not there", dealt(table(2)), "this run has no validation table"),
        (
            "memory never shared",
            vec![Kind::Weights(shared)],
            "weights in shared memory that it does",
        ),
        ("coded weights of nothing", vec![coded(1, 4)], "coded weights of step 1, but step 0 is"),
        ("coded garbage", garbage, "broken message: coded values that cannot be decoded: "),
        ("deals before weights", deals, "more than 1024 deals at once"),
        (
            "a long message",
            vec![Kind::Weights(weights(0, 0, 2 << 20))],
            "Error, decoded message length",
        ),
    ] {
        after_welcome(case, kinds, Rows::Good, 5, &format!("{protocol}{fragment}"));
    }
}

#[test]
fn weights_of_rows_that_cannot_be() {
    for weight in [-0.5, f32::NAN, f32::INFINITY] {
        let welcome = Welcome { is_weighted: true, ..welcome() };
        let acts = vec![Act::Say(Kind::Welcome(welcome)), Act::Say(prepare(0, 2)), Act::Hold];
        let fragment = format!(
            "error: the coordinator broke the protocol: a row of weight {weight} in train shard 0, wanted a number of at \
             least 0"
        );
        ends("a weight", acts, Rows::Weighted(weight), 5, &fragment);
    }
}

#[test]
fn shards_that_cannot_be() {
    let wanted = "of train shard 0, wanted 4 rows of 3";
    for (case, rows, fragment) in [
        ("no rows", Rows::None, format!("only 0 values {wanted}")),
        ("few rows", Rows::Short, format!("only 6 values {wanted}")),
        ("many rows", Rows::Long, format!("more values than there can be {wanted}")),
        ("half a value", Rows::Odd, format!("a part of 47 bytes {wanted}")),
        ("endless parts", Rows::Empty, format!("more parts than there can be {wanted}")),
        ("a huge part", Rows::Huge, "Error, decoded message length too large".to_string()),
        ("rows refused", Rows::Refused, "there are no rows".to_string()),
    ] {
        let fragment = format!("error: the coordinator broke the protocol: {fragment}");
        after_welcome(case, vec![prepare(0, 2)], rows, 5, &fragment);
    }
}

/// A table of three rows has none in place 7: nothing is computed on such a shard.
#[test]
fn rows_with_a_place_that_is_none() {
    let welcome = Welcome { network: embedding(3, 2), ..welcome() };
    let acts = vec![Act::Say(Kind::Welcome(welcome)), Act::Say(prepare(0, 2)), Act::Hold];
    let fragment = "error: the coordinator broke the protocol: train shard 0: row 0: found 7 in column \"c\", wanted a \
                    whole number from 0 to 2";
    ends("a place", acts, Rows::Sevens, 5, fragment);
}

/// Pings are answered, but the rows do not come.
#[test]
fn shards_that_never_come() {
    let fragment = "no more rows of train shard 0 came for 30.0 s";
    after_welcome("no part", vec![prepare(0, 2)], Rows::Never, 5, fragment);
}

#[test]
fn ends_of_a_run() {
    let finish = |error: String| vec![Kind::Finish(Finish { error, stopped: false })];
    after_welcome("the end", finish(String::new()), Rows::Good, 0, "the run is finished");
    let failed = "error: the run failed: too bad";
    after_welcome("a failure", finish("too bad".to_string()), Rows::Good, 7, failed);
    let long = "error: the run failed: xxxxxxxxxx";
    after_welcome("a long story", finish("x".repeat(4_000_000)), Rows::Good, 7, long);
    let expelled = Act::End(Status::invalid_argument("it counts wrong"));
    let acts = vec![Act::Say(Kind::Welcome(welcome())), expelled];
    ends(
        "expelled",
        acts,
        Rows::Good,
        6,
        "error: the coordinator expelled this worker: it counts wrong",
    );
}

/// However it ends, a coordinator that lets a worker in and gives it nothing to do is not looked for any longer than one
/// that is not there.
#[test]
fn welcomes_without_work() {
    let welcome = Act::Say(Kind::Welcome(welcome()));
    let unmet = [
        Act::Say(prepare(0, 2)),
        Act::Say(Kind::Deal(deal(3, Some((0, 2))))),
        Act::Say(Kind::Weights(weights(0, 0, 3))),
    ];
    for (case, acts) in [
        ("a welcome and an end", vec![welcome.clone()]),
        ("a welcome and a status", vec![welcome.clone(), Act::End(Status::unavailable("away"))]),
        ("a deal without its weights", [&[welcome][..], &unmet].concat()),
    ] {
        let script = Script::new(acts, Rows::Good);
        let ended = small().worker(&script.address.to_string(), &["--wait", "2"]).end();
        ended.expect_with(5, "let this worker in again and again (");
        assert!(ended.stderr.contains("and ended before it gave any work"), "{case}: {ended}");
        // Pauses grow to 2 s; without, there were 24 a second.
        let joins = script.joins.load(Ordering::Relaxed);
        assert!((2..=16).contains(&joins), "{case}: {joins} joins");
    }
}
