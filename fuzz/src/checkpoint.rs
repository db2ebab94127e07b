//! Checkpoint files: one that a run would go on from is of this run, holds together, and written again is the same.

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::Snapshot;
use lockstep_proto::batches::Batches;
use lockstep_run::checkpoint::{Checkpoint, Expected, Origin, newest, read_weights};

use crate::budget::Budget;
use crate::weights::layout;
use crate::{input, scratch, seal};

/// The header is read whole, as JSON.
const BUDGET: Budget = Budget { fixed: 64 << 10, per_byte: 128 };

/// The step in the file's name.
const STEP: u64 = 4;

/// Reads a file as it is, and with a right checksum.
pub fn check(data: &[u8]) {
    let (mut choose, file) = input::split(data);
    let adam = Optimizer::Adam { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-7, weight_decay: None };
    let sgd = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    let expected = expected(choose.of(&[adam, sgd]), choose.of(&[true, false]));
    read(file, &expected);
    if let Some(sealed) = seal::checkpoint(file) {
        read(&sealed, &expected);
    }
}

/// 25 rows in batches of 10.
pub(crate) fn expected(optimizer: Optimizer, has_validation: bool) -> Expected {
    let layout = layout(2);
    Expected {
        origin: Origin::new("one", &layout),
        weights: layout.len(),
        trained: layout.len(),
        optimizer,
        batches: Batches { rows: 25, shards: 4, batch_size: 10 },
        epochs: 4,
        has_validation,
        early_stopping: None,
        plateau: None,
        steps_per_update: 1,
        averages: false,
        sums_len: 1,
    }
}

/// A sum of squares may have overflowed, and zeros have signs.
fn bits(checkpoint: &Checkpoint) -> Vec<Vec<u32>> {
    let Snapshot { weights, moments, .. } = &checkpoint.snapshot;
    let vectors = std::iter::once(weights).chain(moments);
    vectors.map(|vector| vector.iter().map(|value| value.to_bits()).collect()).collect()
}

fn read(file: &[u8], expected: &Expected) {
    let path = scratch::write(&format!("checkpoints/step-{STEP:012}.safetensors"), file);
    let as_weights = BUDGET.hold(file.len(), || read_weights(&path, &layout(2)));
    if let Ok(Some(weights)) = as_weights {
        assert_eq!(weights.len(), expected.weights);
    }
    let newest = || newest(&scratch::run(), expected, &mut |_| {});
    let Ok(Some(found)) = BUDGET.hold(file.len(), newest) else { return };
    let Checkpoint { snapshot, records } = &found;
    assert_eq!(snapshot.step.0, STEP);
    assert_eq!(snapshot.weights.len(), expected.weights);
    assert!(snapshot.weights.iter().all(|weight| weight.is_finite()));
    assert_eq!(snapshot.moments.len(), expected.optimizer.moment_count());
    assert!(snapshot.moments.iter().all(|moment| moment.len() == expected.weights));
    // The first batch of the second epoch, and perhaps an evaluation after the first.
    assert_eq!(snapshot.pass.0, STEP + u64::from(expected.has_validation));
    assert_eq!((records.epoch, records.epoch_rows, records.rows), (2, 10, 35));
    assert_eq!(records.epoch_sums.len(), expected.sums_len);
    assert!(records.epoch_sums.iter().all(|sum| sum.is_finite()));
    let bytes = found.to_bytes(&expected.origin).expect("a checkpoint can be written");
    std::fs::write(&path, bytes).expect("a writable folder");
    let again = newest().expect("a folder").expect("what was written");
    assert_eq!(bits(&again), bits(&found));
    assert_eq!((again.snapshot.pass, again.snapshot.step), (snapshot.pass, snapshot.step));
    assert_eq!(again.records, *records);
}
