//! What the recorder asks of disks: nothing that makes the run wait, and no copy that is thrown away.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;

use lockstep_coordinator::WeightFrames;
use lockstep_data::{Cells, Column, Dataset, Dialect, Missing, Rows, Schema, Summary};
use lockstep_proto::ids::{Pass, Step};

use super::*;
use crate::job::Job;
use crate::journal::Due;
use crate::line_file::Written;
use crate::report::Silent;

/// So many steps in one epoch.
const STEPS: u64 = 5000;

const JOB: &str = r#"
[data]
train = "none.csv"
target = "y"
[model]
loss = "mse"
layers = [{ type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 1
batch_size = 1
shards = 1
"#;

fn plan() -> Plan {
    let job = Job::parse(Path::new("job.toml"), JOB.to_string(), &[]).unwrap();
    let schema = Schema {
        features: vec![Column::as_it_is("x", Missing::Error)],
        image: None,
        targets: vec![Column::as_it_is("y", Missing::Error)],
        kind: job.target_kind(),
        labels: None,
        cells: Cells::F64,
        dialect: Dialect::default(),
    };
    let dataset = Dataset {
        train: Rows::new(1, 1, vec![1.0; 2 * STEPS as usize]),
        validation: None,
        test: None,
        schema,
        summary: Summary::default(),
        warnings: Vec::new(),
    };
    Plan::with_dataset(job, dataset).unwrap()
}

fn silent() -> SharedReporter {
    crate::report::shared(Silent)
}

fn recorder(
    metrics: Option<LineFile>,
    journal: Option<Journal>,
    writer: Writer,
) -> (Recorder, Records) {
    let address = "127.0.0.1:1".parse().unwrap();
    let (writer, every) = (Some(writer), Every::Steps(1));
    let to = Destination {
        metrics,
        journal,
        writer,
        every,
        address,
        reporter: silent(),
        watch: Watch::default(),
        epoch_end: None,
    };
    Recorder::new(&plan(), to, RecordState::default(), 0)
}

fn observe_step(recorder: &mut Recorder, step: u64) {
    recorder.observe(RunEvent::Step {
        epoch: 1,
        step,
        rows: 1,
        sums: &[0.5],
        learning_rate: 0.1,
        seconds: 1.0,
        deals: &[],
        recomputed: 0,
        weights: WeightFrames(&Vec::new),
        norms: &[],
        silent: &[],
    });
}

fn empty(pass: Pass, step: Step) -> Snapshot {
    let (weights, moments) = (Vec::new(), Vec::new());
    Snapshot {
        pass,
        step,
        weights,
        moments,
        average: None,
        accumulated: None,
        plateau: None,
        watch: None,
        best_weights: None,
    }
}

/// Does what the run does after a pass; whether it had to copy everything.
fn end_pass(recorder: &mut Recorder, step: u64, is_last: bool) -> bool {
    let wants = recorder.wants_snapshot(is_last);
    if wants {
        let (pass, step) = (Pass(step), Step(step));
        recorder.take_snapshot(empty(pass, step));
    }
    wants
}

/// While a checkpoint is being written none is copied; those that are copied are all written.
#[test]
fn as_many_copies_as_checkpoints() {
    let (written_tx, written) = sync_channel(STEPS as usize);
    let (go, may_go) = sync_channel::<()>(0);
    let writer = Writer::handing_on(Arc::new(AtomicU64::new(0)), move |handed| {
        written_tx.send(handed.checkpoint.snapshot.step.0).unwrap();
        let _ = may_go.recv();
    });
    let (mut recorder, records) = recorder(None, None, writer);
    let mut copied = Vec::new();
    let mut step = 0;
    let mut make_steps = |recorder: &mut Recorder, count: u64| {
        for _ in 0..count {
            step += 1;
            observe_step(recorder, step);
            copied.extend(end_pass(recorder, step, false).then_some(step));
        }
        copied.clone()
    };
    assert_eq!(make_steps(&mut recorder, 1000), [1]);
    assert_eq!(written.recv().unwrap(), 1);
    go.send(()).unwrap();
    // As soon as the first is written, which is on another thread, the next is taken.
    let started = Instant::now();
    while make_steps(&mut recorder, 1).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    let copied = make_steps(&mut recorder, 500);
    assert_eq!(copied.len(), 2);
    assert_eq!(written.recv().unwrap(), copied[1]);
    // The last one does not have to wait until the writer is free, nor does the run.
    assert!(end_pass(&mut recorder, step, true));
    assert!(!end_pass(&mut recorder, step, true));
    drop(go);
    records.flush();
    assert_eq!(written.iter().collect::<Vec<_>>(), [step]);
}

/// Files that take nothing in for as long as the run goes on: it goes on all the same.
#[test]
fn no_step_waits_for_a_disk() {
    let stuck = |name| {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        (reader, LineFile::start(Path::new(name), file, Written::hashed(), silent()))
    };
    let ((metrics_reader, metrics), (journal_reader, lines)) = (stuck("metrics"), stuck("journal"));
    let journal = Journal::writing(Due::Every { steps: 1, steps_per_epoch: STEPS }, 4, lines);
    let (settled_tx, settled) = sync_channel(STEPS as usize);
    let writer = Writer::handing_on(Arc::new(AtomicU64::new(0)), move |handed| {
        let mut state = RecordState::default();
        (handed.settle)(&mut state);
        settled_tx.send(handed.checkpoint.snapshot.step.0).unwrap();
    });
    let (mut recorder, records) = recorder(Some(metrics), Some(journal), writer);
    let mut copies = 0;
    for step in 1..=STEPS {
        observe_step(&mut recorder, step);
        copies += u64::from(end_pass(&mut recorder, step, false));
    }
    // Of some that were settled while there was room, and the last.
    assert!(copies < STEPS, "{copies}");
    drop((metrics_reader, journal_reader));
    records.flush();
    assert_eq!(settled.iter().last(), Some(STEPS));
}
