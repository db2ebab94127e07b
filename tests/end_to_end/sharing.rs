//! Workers on the coordinator's machine share memory with it, or do not: the same messages otherwise, and the same bits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_proto::wire::worker_message::Kind;

use crate::folder::Folder;
use crate::relay::{Change, Relay};

/// Layers of two chunks and more, clipped, so that chunks are held back and updated at once; and measured each epoch.
pub(crate) const JOB: &str = r#"
name = "shared"
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
layers = [
  { type = "dense", units = 700, activation = "relu" },
  { type = "dense", units = 450, activation = "tanh" },
  { type = "dense", units = 1 },
]
[train]
optimizer = "adam"
epochs = 3
batch_size = 50
shards = 5
gradient_clip_norm = 1.0
"#;

fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 200)
}

/// Counts the bytes of gradients in the stream and of those that it only names.
pub(crate) fn counting() -> (Arc<Change>, Arc<[AtomicU64; 2]>) {
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let counted = counts.clone();
    let change: Arc<Change> = Arc::new(move |message| {
        if let Some(Kind::Part(part)) = &message.kind {
            for slice in &part.slices {
                let shared = slice.shared_bytes > 0;
                let sent = slice.values.len() + slice.coded.len();
                assert_eq!(shared, sent == 0);
                let bytes = sent as u64 + u64::from(slice.shared_bytes);
                counted[usize::from(shared)].fetch_add(bytes, Ordering::Relaxed);
            }
        }
        vec![message]
    });
    (change, counts)
}

#[test]
fn what_is_shared_and_what_is_sent_are_the_same_bits() {
    hash_of_both(folder);
}

/// The hash of two workers that share memory with their coordinator, and of two that do not.
#[track_caller]
pub(crate) fn hash_of_both(folder: impl Fn() -> Folder) -> String {
    let mut hashes = Vec::new();
    for (arguments, shares) in [(&[][..], true), (&["--no-shared-memory"], false)] {
        let folder = folder();
        let coordinator = folder.coordinator(&["--workers-start", "2"]);
        let address = coordinator.address();
        let (change, counts) = counting();
        let relay = Relay::new(&address, change);
        // Spans of 3 and 2 shards are more than one node: more gradients than there is room for at once.
        let workers = [&relay.address(), &address].map(|at| folder.worker(at, arguments));
        for worker in workers {
            worker.end().expect(0);
        }
        coordinator.end().expect(0);
        let [sent, shared] = [0, 1].map(|at: usize| counts[at].load(Ordering::Relaxed));
        assert_eq!(shared > 0, shares && cfg!(target_os = "linux"), "{shared} shared");
        assert!(sent > 0, "small chunks are sent");
        hashes.push(folder.hash());
    }
    assert_eq!(hashes[0], hashes[1]);
    hashes.remove(0)
}

/// How long a file is follows from the layout, so that nobody can have another mapped.
#[test]
#[cfg(target_os = "linux")]
fn memory_of_another_size() {
    for more in [1, 1 << 31, u64::MAX] {
        let folder = folder();
        let coordinator = folder.coordinator(&[]);
        let address = coordinator.address();
        let change: Arc<Change> = Arc::new(move |mut message| {
            if let Some(Kind::Share(ticket)) = &mut message.kind {
                ticket.bytes = ticket.bytes.wrapping_add(more);
            }
            vec![message]
        });
        let relay = Relay::new(&address, change);
        let _cannot = folder.worker(&relay.address(), &[]);
        let left = coordinator.report("worker_left", |left| left["worker"] == 1);
        let reason = left["reason"].as_str().unwrap();
        let wanted = "broken message: shared memory, a file of ";
        assert!(reason.starts_with(wanted), "{reason}");
        folder.worker(&address, &[]).end().expect(0);
        coordinator.end().expect(0);
    }
}

/// The worker's file is gone, or another's: it is told what to do.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_cannot_be_opened() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let change: Arc<Change> = Arc::new(|mut message| {
        if let Some(Kind::Share(ticket)) = &mut message.kind {
            ticket.descriptor += 1000;
        }
        vec![message]
    });
    let relay = Relay::new(&address, change);
    let _cannot = folder.worker(&relay.address(), &[]);
    let left = coordinator.report("worker_left", |left| left["worker"] == 1);
    let reason = left["reason"].as_str().unwrap().to_string();
    assert!(reason.contains("start it with --no-shared-memory"), "{reason}");
    let worker = folder.worker(&address, &["--no-shared-memory"]);
    worker.end().expect(0);
    coordinator.end().expect(0);
}
