//! `precision = "bf16"`: the same promise with rounded sums and weights, half the bytes, and the `f32` weights kept.

use std::sync::atomic::Ordering;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::bad_job::small;
use crate::folder::{Folder, edited};
use crate::relay::Relay;
use crate::{chaos, faults, sharing};

const KEY: &str = "[train]\n";
const BF16: &str = "[train]\nprecision = \"bf16\"\n";

/// Bytes that a worker sends before it is killed, in about the middle of its work.
const MID_RUN_BYTES: usize = 12_000;

const SMALL_HASH: &str = "b9bfda55d917e5e5aefad22606e95ff381d14b69b991c99a6ea0573401d6cf36";
const LARGE_HASH: &str = "e1ff06bdf00f4377a05d25bb1d6e7729ce3f5b52fa08da4a6f8d553f41d36cc8";

/// One chunk, 12 shards, batches of 16 rows.
fn small_network() -> Folder {
    Folder::with_table(&edited(faults::JOB, KEY, BF16), "boston-relu-adam-mse", 506)
}

/// Several chunks, clipped, 5 shards, and steps heavy enough for threads.
fn large_network() -> Folder {
    Folder::with_table(&edited(sharing::JOB, KEY, BF16), "boston-relu-adam-mse", 200)
}

#[test]
fn workers_and_threads_do_not_matter() {
    assert_ne!(SMALL_HASH, faults::HASH);
    for (workers, threads) in [(1, 1), (1, 4), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1), (5, 2)] {
        let hash = small_network().train(workers, threads);
        assert_eq!(hash, SMALL_HASH, "{workers} workers of {threads} threads");
    }
    for (workers, threads) in [(1, 2), (2, 1), (3, 4), (5, 1)] {
        let hash = large_network().train(workers, threads);
        assert_eq!(hash, LARGE_HASH, "{workers} workers of {threads} threads, large");
    }
}

#[test]
fn shared_memory_does_not_matter() {
    assert_eq!(sharing::hash_of_both(large_network), LARGE_HASH);
}

#[test]
fn a_killed_worker_does_not_matter() {
    assert_eq!(faults::hash_with_one_killed(&small_network(), MID_RUN_BYTES), SMALL_HASH);
}

#[test]
fn audits_agree() {
    let audited = format!("{}[cluster]\naudit_fraction = 1\n", edited(faults::JOB, KEY, BF16));
    for workers in [2, 5] {
        let folder = Folder::with_table(&audited, "boston-relu-adam-mse", 506);
        assert_eq!(folder.train(workers, 1), SMALL_HASH, "{workers} workers");
    }
}

/// A coordinator that is killed goes on from its checkpoints, and `verify` finds the hashes of the `f32` weights.
#[test]
fn a_disturbed_run_can_be_verified() {
    let long = edited(&edited(faults::JOB, KEY, BF16), "epochs = 3", "epochs = 60");
    let folder = || Folder::with_table(&long, "boston-relu-adam-mse", 506);
    let wanted = folder().train(2, 1);
    let folder = folder();
    let often = "5,kill=60,stop=0,slow=0,coordinator=120";
    let arguments = ["--log-format", "json", "local", "job.toml", "--workers", "3", "--out", "run"];
    let ended = chaos::run_slowly(&folder, &[&arguments[..], &["--chaos", often]].concat());
    ended.expect_with(0, "\"event\":\"chaos\"");
    assert_eq!(folder.hash(), wanted, "{ended}");
    assert!(folder.read("run/job.toml").contains("\nprecision = \"bf16\"\n"));
    for steps in ["1..", "900.."] {
        let verified = folder.run(&["verify", "run", "--steps", steps]);
        verified.expect(0);
        assert!(verified.stdout.contains("to 1560 agree ("), "{verified}");
    }
}

/// The gradients of one worker, in the stream or not: all of it comes through the relay.
#[test]
fn half_the_bytes() {
    let bytes = [sharing::JOB.to_string(), edited(sharing::JOB, KEY, BF16)].map(|job| {
        let folder = Folder::with_table(&job, "boston-relu-adam-mse", 200);
        let coordinator = folder.coordinator(&[]);
        let (change, counts) = sharing::counting();
        let relay = Relay::new(&coordinator.address(), change);
        folder.worker(&relay.address(), &[]).end().expect(0);
        coordinator.end().expect(0);
        counts[0].load(Ordering::Relaxed) + counts[1].load(Ordering::Relaxed)
    });
    let parameters = 14 * 700 + 701 * 450 + 451;
    // 160 rows in batches of 50 are 4 steps, 3 times; one worker's span is the root.
    assert_eq!(bytes, [4, 2].map(|width| width * parameters * 4 * 3));
}

/// The saved weights are finer than what workers saw.
#[test]
fn the_model_keeps_f32() {
    let folder = small_network();
    folder.train_into("run");
    assert_eq!(folder.hash(), SMALL_HASH);
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kernel = file.tensor("layers.0.kernel").unwrap();
    assert!(kernel.data().as_chunks::<4>().0.iter().any(|value| value[..2] != [0, 0]));
    let measured = folder.read("run/metrics.jsonl");
    let last: Value = serde_json::from_str(measured.lines().last().unwrap()).unwrap();
    assert!(last["test_loss"].as_f64().unwrap() < 30.0, "{last}");
}

#[test]
fn check_counts_two_bytes() {
    let folder = small();
    let job = folder.read("job.toml");
    folder.write("job.toml", &edited(&job, KEY, BF16));
    let wanted = "a step moves for each: 34 B up (1 tree node), 34 B down, in bf16\n";
    let ended = folder.run(&["check", "job.toml", "--workers", "2"]);
    ended.expect(0);
    assert!(ended.stdout.contains(wanted), "{ended}");
}
