//! Checkpoints that do not hold together, each with what is said of it.

use std::sync::Arc;

use lockstep_coordinator::policy::{Best, Watch};
use lockstep_proto::ids::{Pass, Step};

use super::*;

/// 25 rows in batches of 10: three steps and an evaluation an epoch.
fn expected() -> Expected {
    Expected {
        origin: Origin {
            run_id: "one".into(),
            tensors: vec![("layers.0.kernel".into(), vec![2, 1])],
        },
        weights: 2,
        trained: 2,
        optimizer: Optimizer::Adam { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-7, weight_decay: None },
        batches: Batches { rows: 25, shards: 4, batch_size: 10 },
        epochs: 4,
        has_validation: true,
        early_stopping: None,
        plateau: None,
        steps_per_update: 1,
        averages: false,
        sums_len: 1,
    }
}

fn at(pass: u64, step: u64, epoch: u32, epoch_rows: u64, rows: u64) -> Checkpoint {
    let sums = if epoch_rows > 0 { vec![0.5] } else { Vec::new() };
    Checkpoint {
        snapshot: Snapshot {
            pass: Pass(pass),
            step: Step(step),
            weights: vec![1.0, -1.0],
            moments: vec![vec![-0.5, 0.5], vec![0.0, f32::INFINITY]],
            average: None,
            accumulated: None,
            plateau: None,
            watch: None,
            best_weights: None,
        },
        records: RecordState { epoch_sums: sums, epoch_rows, rows, epoch, ..Default::default() },
    }
}

#[test]
fn what_a_run_writes_is_taken() {
    let expected = expected();
    for (pass, step, epoch, open, rows) in [
        (1, 1, 1, 10, 10),
        (2, 2, 1, 20, 20),
        (3, 3, 1, 25, 25),
        (4, 3, 1, 0, 25),
        (5, 4, 2, 10, 35),
        (15, 12, 4, 25, 100),
        (16, 12, 4, 0, 100),
    ] {
        assert_eq!(expected.check(&at(pass, step, epoch, open, rows)), Ok(()), "pass {pass}");
    }
}

#[test]
fn what_does_not_hold_together_is_named() {
    let expected = expected();
    let good = at(5, 4, 2, 10, 35);
    let mut altered: Vec<(Checkpoint, &str)> = vec![
        (at(5, 5, 2, 10, 35), "it says pass 5 and step 5, pass 5 is at step 4"),
        (at(17, 12, 4, 0, 100), "it is of pass 17, the job ends with pass 16"),
        (at(u64::MAX, 4, 2, 10, 35), "the job ends with pass 16"),
        (at(5, 4, 1, 10, 35), "it says epoch 1, 10 rows in it, 35 in all, wanted epoch 2"),
        (at(5, 4, 2, 20, 35), "20 rows in it"),
        (at(5, 4, 2, 10, 36), "36 in all"),
    ];
    let mut alter = |change: fn(&mut Checkpoint), message| {
        let mut changed = good.clone();
        change(&mut changed);
        altered.push((changed, message));
    };
    alter(|c| c.records.epoch_sums.clear(), "its sums or its seconds are none");
    alter(|c| c.records.seconds = -1.0, "its sums or its seconds are none");
    alter(|c| c.records.epoch_sums[0] = f64::NAN, "its sums or its seconds are none");
    alter(|c| c.snapshot.weights[1] = f32::NAN, "value 1 of its weights is NaN");
    alter(|c| c.snapshot.moments[0][1] = f32::INFINITY, "value 1 of its moments.0 is inf");
    alter(|c| c.snapshot.moments[1][0] = -1.0, "value 0 of its moments.1 is -1, wanted sums of");
    alter(|c| c.snapshot.moments[1][1] = f32::NAN, "value 1 of its moments.1 is NaN");
    for (checkpoint, message) in altered {
        let found = expected.check(&checkpoint).unwrap_err();
        assert!(found.contains(message), "{found}");
    }
    let other = Origin { run_id: "two".into(), ..expected.origin.clone() };
    let found = expected.check_origin(Some(&other)).unwrap_err();
    assert_eq!(found, "it is of run two, this is one");
}

/// After the second of the epochs, the first of which was the best.
fn watched() -> (Expected, Checkpoint) {
    let mut checkpoint = at(8, 6, 2, 0, 50);
    let best = Some(Best { epoch: 1, value: 0.5 });
    checkpoint.snapshot.watch = Some(Watch { best, wait: 1, stopped: false });
    checkpoint.snapshot.best_weights = Some(Arc::new(vec![0.5, 0.25]));
    let early_stopping = Some(EarlyStopping::new("validation_loss"));
    (Expected { early_stopping, ..expected() }, checkpoint)
}

#[test]
fn what_early_stopping_has_seen_is_held_against_the_epochs() {
    let (expected, good) = watched();
    assert_eq!(expected.check(&good), Ok(()));
    let mut stopped = good.clone();
    stopped.snapshot.watch.as_mut().unwrap().stopped = true;
    assert_eq!(expected.check(&stopped), Ok(()));
    type Change = fn(&mut Snapshot, &mut Watch);
    let changes: [(Change, &str); 8] = [
        (|s, _| s.best_weights = None, "it has no tensor best_weights"),
        (
            |s, _| s.best_weights = Some(Arc::new(vec![0.5, f32::NAN])),
            "value 1 of its best_weights",
        ),
        (|_, w| w.best = None, "its tensor best_weights is none that a run has at step 6"),
        (|_, w| w.best = Some(Best { epoch: 2, value: 0.5 }), "its tensor best_weights is none"),
        (|_, w| w.best = Some(Best { epoch: 3, value: 0.5 }), "early stopping cannot have seen"),
        (|_, w| w.best = Some(Best { epoch: 1, value: f64::NAN }), "cannot have seen"),
        (|_, w| w.wait = 3, "cannot have seen"),
        (|s, _| s.watch = None, "it does not say what early stopping has seen"),
    ];
    for (change, message) in changes {
        let mut changed = good.clone();
        let mut watch = changed.snapshot.watch.unwrap();
        change(&mut changed.snapshot, &mut watch);
        changed.snapshot.watch = changed.snapshot.watch.map(|_| watch);
        let found = expected.check(&changed).unwrap_err();
        assert!(found.contains(message), "{found}");
    }
    let without = Expected { early_stopping: None, ..expected.clone() };
    let found = without.check(&good).unwrap_err();
    assert!(found.contains("it is of a run with early stopping, which this has not"), "{found}");
    let mut inside = at(9, 7, 3, 10, 60);
    (inside.snapshot.watch, inside.snapshot.best_weights) =
        (good.snapshot.watch, good.snapshot.best_weights.clone());
    assert_eq!(expected.check(&inside), Ok(()));
    inside.snapshot.watch.as_mut().unwrap().stopped = true;
    assert!(expected.check(&inside).unwrap_err().contains("cannot have seen"));
}
