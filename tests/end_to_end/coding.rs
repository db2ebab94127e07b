//! Gradients and weights that are coded on their way are the same values: one hash with and without, whatever dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_proto::wire::worker_message::Kind;
use nix::sys::signal::Signal;

use crate::folder::{Folder, edited};
use crate::proxy::Proxy;
use crate::relay::{Change, Relay};
use crate::{faults, sharing};

const ALONE: &[&str] = &["--no-shared-memory"];

fn coded(job: &str, coding: &str) -> Folder {
    let job = format!("{job}[cluster]\ncoding = \"{coding}\"\n");
    Folder::with_table(&job, "boston-relu-adam-mse", 200)
}

/// Counts slices that came as they are and coded, and the bytes of these.
fn counting() -> (Arc<Change>, Arc<[AtomicU64; 3]>) {
    let counts: Arc<[AtomicU64; 3]> = Arc::default();
    let counted = counts.clone();
    let change: Arc<Change> = Arc::new(move |message| {
        if let Some(Kind::Part(part)) = &message.kind {
            for slice in &part.slices {
                let is_coded = !slice.coded.is_empty();
                counted[usize::from(is_coded)].fetch_add(1, Ordering::Relaxed);
                counted[2].fetch_add(slice.coded.len() as u64, Ordering::Relaxed);
            }
        }
        vec![message]
    });
    (change, counts)
}

#[test]
fn coded_or_not_the_bits_are_the_same() {
    let bf16 = edited(sharing::JOB, "[train]\n", "[train]\nprecision = \"bf16\"\n");
    let unclipped = edited(sharing::JOB, "gradient_clip_norm = 1.0\n", "");
    for job in [sharing::JOB, &bf16, &unclipped] {
        let wanted = Folder::with_table(job, "boston-relu-adam-mse", 200).train(1, 1);
        for coding in ["on", "off"] {
            let folder = coded(job, coding);
            let coordinator = folder.coordinator(&["--workers-start", "3"]);
            let address = coordinator.address();
            let (change, counts) = counting();
            let relay = Relay::new(&address, change);
            // One of them shares memory, and is sent nothing coded.
            let workers = [(&relay.address(), ALONE), (&address, ALONE), (&address, &[])];
            let workers = workers.map(|(address, arguments)| folder.worker(address, arguments));
            for worker in workers {
                worker.end().expect(0);
            }
            coordinator.end().expect(0);
            assert_eq!(folder.hash(), wanted, "{coding}");
            let [plain, coded, bytes] =
                [0, 1, 2].map(|at: usize| counts[at].load(Ordering::Relaxed));
            assert_eq!(coded > plain, coding == "on", "{plain} as they are, {coded} coded");
            assert!(bytes <= coded * 200_000, "{coded} coded in {bytes} bytes");
            folder.run(&["verify", "run"]).expect(0);
        }
    }
}

/// A worker is killed with half of its gradients on their way, another comes: it is sent whole weights first.
#[test]
fn workers_that_come_and_go() {
    for (job, bytes) in [(faults::JOB, 12_000), (sharing::JOB, 3_000_000)] {
        let wanted = Folder::with_table(job, "boston-relu-adam-mse", 200).train(1, 1);
        let folder = coded(job, "on");
        let coordinator = folder.coordinator(&["--workers-start", "2"]);
        let address = coordinator.address();
        let proxies = [(); 2].map(|()| Proxy::holding(&address, bytes));
        let [killed, left] = proxies.each_ref().map(|proxy| folder.worker(&proxy.address(), ALONE));
        proxies.iter().for_each(Proxy::wait_held);
        killed.signal(Signal::SIGKILL);
        assert_eq!(killed.end().code(), None);
        proxies[0].cut();
        coordinator.report("worker_left", |left| left["workers"] == 1);
        let late = folder.worker(&address, ALONE);
        coordinator.report("worker_joined", |joined| joined["worker"] == 3);
        proxies[1].release();
        for worker in [left, late] {
            worker.end().expect(0);
        }
        coordinator.end().expect(0);
        assert_eq!(folder.hash(), wanted);
    }
}
