//! A worker whose processor computes wrong without saying so: found by audits, named and shut out, and its values never
//! reach the weights.

use std::sync::Arc;

use lockstep_proto::wire::worker_message::Kind;

use crate::faults::{HASH, JOB};
use crate::folder::Folder;
use crate::relay::{Change, Relay};

const AUDITED: &str = "[cluster]\naudit_fraction = 1\n";

pub(crate) fn folder() -> Folder {
    Folder::with_table(&format!("{JOB}{AUDITED}"), "boston-relu-adam-mse", 506)
}

/// One bit of every gradient is another, as a broken register would have it.
pub(crate) fn flipping() -> Arc<Change> {
    Arc::new(|mut message| {
        if let Some(Kind::Part(part)) = &mut message.kind {
            for slice in &mut part.slices {
                let mut values = slice.values.to_vec();
                values[0] ^= 1;
                slice.values = values.into();
            }
        }
        vec![message]
    })
}

#[test]
fn honest_workers_agree() {
    for workers in [1, 2, 5] {
        assert_eq!(folder().train(workers, 1), HASH, "{workers} workers");
    }
}

#[test]
fn a_worker_that_computes_wrong_is_named_and_shut_out() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let address = coordinator.address();
    let relay = Relay::new(&address, flipping());
    let wrong = folder.worker(&relay.address(), &[]);
    let joined = coordinator.report("worker_joined", |joined| joined["worker"] == 1);
    let honest = [folder.worker(&address, &[]), folder.worker(&address, &[])];
    let left = coordinator.report("worker_left", |left| left["worker"] == 1);
    let reason = "its values differ from those of two other workers: check that machine";
    assert!(left["reason"].as_str().unwrap().starts_with(reason), "{left}");
    assert_eq!(joined["pid"], wrong.pid());
    for worker in honest {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn two_that_differ_wait_for_a_third() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let address = coordinator.address();
    let relay = Relay::new(&address, flipping());
    let _wrong = folder.worker(&relay.address(), &[]);
    let honest = folder.worker(&address, &[]);
    coordinator.report("waiting", |waiting| {
        let message = waiting["message"].as_str().unwrap();
        message.contains("two differ about ") && message.contains("a third has to settle it")
    });
    let third = folder.worker(&address, &[]);
    for worker in [honest, third] {
        worker.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}
