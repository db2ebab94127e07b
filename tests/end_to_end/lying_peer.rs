//! Members that keep to the form of the contract and lie: about losses that are not finite, about work that is done, about
//! sums. None of them ends a run, stops it or gets into its records: they are named and shut out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{Divergence, ResultPart, WorkerMessage};

use crate::faults::{HASH, JOB};
use crate::folder::Folder;
use crate::process::Ended;
use crate::relay::{Change, Relay};

/// Of the job: 26 steps and a validation in each of 3 epochs, then the test table.
const TEST_PASS: u64 = 81;

/// Says something else instead of one of the results of a worker; the others pass.
fn once(
    applies: impl Fn(&ResultPart) -> bool + Send + Sync + 'static,
    change: impl Fn(ResultPart) -> Vec<Kind> + Send + Sync + 'static,
) -> Arc<Change> {
    let is_changed = AtomicBool::new(false);
    Arc::new(move |message| match message.kind {
        Some(Kind::Part(part)) if applies(&part) && !is_changed.swap(true, Ordering::Relaxed) => {
            change(part).into_iter().map(|kind| WorkerMessage { kind: Some(kind) }).collect()
        }
        _ => vec![message],
    })
}

/// Sends a divergence instead of the first results of training.
fn divergence(
    divergence: impl Fn(&ResultPart) -> Divergence + Send + Sync + 'static,
) -> Arc<Change> {
    once(|part| !part.slices.is_empty(), move |part| vec![Kind::Divergence(divergence(&part))])
}

/// Several workers share the run, the first of which lies. It ends well; why the liar was shut out, and the records.
#[track_caller]
fn run_with(audited: bool, workers: usize, change: Arc<Change>) -> (String, Ended) {
    let audits = if audited { "[cluster]\naudit_fraction = 1\n" } else { "" };
    let folder = Folder::with_table(&format!("{JOB}{audits}"), "boston-relu-adam-mse", 506);
    let coordinator = folder.coordinator(&["--workers-start", &workers.to_string()]);
    let address = coordinator.address();
    let relay = Relay::new(&address, change);
    let _liar = folder.worker(&relay.address(), &[]);
    coordinator.report("worker_joined", |joined| joined["worker"] == 1);
    let honest: Vec<_> = (1..workers).map(|_| folder.worker(&address, &[])).collect();
    honest.into_iter().for_each(|worker| worker.end().expect(0));
    let ended = coordinator.end();
    ended.expect(0);
    assert_eq!(folder.hash(), HASH, "{ended}");
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    assert!(!metrics.contains("null"), "{metrics}");
    let reports = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
    let is_it = |report: &serde_json::Value| {
        report["event"] == "worker_left" && report["worker"] == 1 && report["host"] != ""
    };
    let left = reports.into_iter().find(is_it);
    let left = left.unwrap_or_else(|| panic!("it is not shut out: {ended}"));
    (left["reason"].as_str().unwrap().to_string(), ended)
}

#[track_caller]
fn shut_out(audited: bool, workers: usize, change: Arc<Change>, reason: &str) {
    let (told, _) = run_with(audited, workers, change);
    assert!(told.starts_with(reason), "{told:?}, wanted {reason:?}");
}

#[test]
fn a_fault_in_the_test_table_in_mid_run() {
    let reason = "it reported a loss or gradient that is not finite in shard 0 of pass 81, which it was not dealt";
    for audited in [false, true] {
        shut_out(
            audited,
            2,
            divergence(|_| Divergence { pass: TEST_PASS, ..Divergence::default() }),
            reason,
        );
    }
}

#[test]
fn a_fault_in_what_it_was_not_dealt() {
    let reason = "it reported a loss or gradient that is not finite in shard ";
    // The last of 12 shards is the other worker's.
    shut_out(
        false,
        2,
        divergence(|part| Divergence { pass: part.pass, shard: 11, ..Divergence::default() }),
        reason,
    );
    let validation =
        |part: &ResultPart| Divergence { pass: part.pass + 26, ..Divergence::default() };
    shut_out(false, 2, divergence(validation), reason);
    shut_out(
        false,
        2,
        divergence(|_| Divergence { pass: u64::MAX, ..Divergence::default() }),
        reason,
    );
}

#[test]
fn a_fault_that_others_do_not_find() {
    let reason = "it reported a loss or gradient that is not finite in shard 0 of pass 0, where others computed finite \
                  ones: check that machine";
    let own = || {
        divergence(|part| Divergence {
            pass: part.pass,
            in_gradient: true,
            ..Divergence::default()
        })
    };
    for (audited, workers) in [(false, 2), (false, 3), (true, 2), (true, 3)] {
        shut_out(audited, workers, own(), reason);
    }
}

#[test]
fn a_fault_in_a_table_that_others_measure() {
    for pass in [26, TEST_PASS] {
        let measured = once(
            move |part| part.pass == pass,
            |part| vec![Kind::Divergence(Divergence { pass: part.pass, ..Divergence::default() })],
        );
        let (reason, ended) = run_with(false, 3, measured);
        let wanted = format!(
            "it reported a loss or gradient that is not finite in shard 0 of pass {pass}, where "
        );
        assert!(reason.starts_with(&wanted), "{reason}");
        assert!(!ended.stderr.contains("the loss of the "), "{ended}");
    }
}

#[test]
fn done_without_values() {
    let reason = "it said that it is done with shards 0..";
    let empty = |mut part: ResultPart| {
        part.slices.clear();
        part.sums.clear();
        vec![Kind::Part(part)]
    };
    let half = |mut part: ResultPart| {
        part.slices.clear();
        vec![Kind::Part(part)]
    };
    for audited in [false, true] {
        shut_out(audited, 3, once(|part| part.done.is_some(), empty), reason);
        shut_out(audited, 3, once(|part| part.done.is_some(), half), reason);
    }
}

#[test]
fn sums_that_cannot_be() {
    for (sum, wanted) in [
        (1.7e308, "it sent a sum of 1.7e308 over "),
        (-5e6, "it sent a sum of -5000000.0 over "),
        (-f64::MIN_POSITIVE, "it sent a sum of -2.2250738585072014e-308 over "),
    ] {
        let spoil = move |mut part: ResultPart| {
            part.sums[0].values[0] = sum;
            vec![Kind::Part(part)]
        };
        shut_out(false, 2, once(|part| !part.sums.is_empty(), spoil), wanted);
    }
}
