//! `journal.jsonl`: every row of every epoch counts once, whatever happened to the workers, and the same lines come of a
//! run that was killed.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::folder::{Folder, metrics};
use crate::proxy::Proxy;
use crate::resume;

const JOB: &str = r#"
name = "journal"
seed = 8
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.1 }
scale = "standard"
[model]
loss = "mae"
layers = [{ type = "dense", units = 10, activation = "tanh" }, { type = "dense", units = 1 }]
[train]
optimizer = "adam"
epochs = 3
batch_size = 16
shards = 12
[journal]
every_steps = 4
"#;

/// 506 rows, less 51.
const ROWS: u64 = 455;
const STEPS: u64 = ROWS.div_ceil(16);
const SHARDS: u64 = 12;

/// Bytes that a worker sends before the network stops: some dozen steps of the 87.
const MID_RUN_BYTES: usize = 20_000;

fn folder() -> Folder {
    Folder::with_table(JOB, "boston-relu-adam-mse", 506)
}

pub(crate) fn journal(folder: &Folder) -> Vec<Value> {
    metrics(&folder.read("run/journal.jsonl"))
}

/// What does not depend on workers.
fn without_plans(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        line.remove("plan").unwrap();
        line.remove("recomputed").unwrap();
    }
    lines
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {line}"))
}

/// That every row counted once in every epoch, by the lines themselves.
#[track_caller]
fn check_rows(lines: &[Value]) {
    let mut before = 0;
    for epoch in 1..=3 {
        let steps = lines.iter().filter(|line| number(line, "epoch") == epoch);
        let steps: Vec<_> = steps.collect();
        let made = (epoch - 1) * STEPS;
        let wanted: Vec<u64> =
            (made + 1..=made + STEPS).filter(|step| step % 4 == 0 || step % STEPS == 0).collect();
        assert_eq!(steps.iter().map(|line| number(line, "step")).collect::<Vec<_>>(), wanted);
        for line in &steps {
            let (step, rows) = (number(line, "step") - made, number(line, "rows"));
            assert_eq!(rows, (step * 16).min(ROWS), "{line}");
            assert_eq!(number(line, "rows_total"), before + rows, "{line}");
            let dealt: u64 = line["plan"].as_array().unwrap().iter().map(shards).sum();
            let in_step = rows - (step - 1) * 16;
            assert!(dealt >= in_step.min(SHARDS), "{line}");
        }
        before += ROWS;
        assert_eq!(number(steps[steps.len() - 1], "rows_total"), epoch * ROWS);
    }
}

fn shards(dealt: &Value) -> u64 {
    dealt[2].as_u64().unwrap() - dealt[1].as_u64().unwrap()
}

#[test]
fn an_undisturbed_run() {
    let folder = folder();
    folder.train_into("run");
    let lines = journal(&folder);
    check_rows(&lines);
    assert!(lines.iter().all(|line| line["recomputed"] == 0));
    assert_eq!(lines[lines.len() - 1]["weights_blake3"], folder.hash());
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["epoch", "plan", "recomputed", "rows", "rows_total", "step", "weights_blake3"]
    );
    let spans = |line: &Value| line["plan"].as_array().unwrap().iter().map(shards).sum::<u64>();
    assert!(lines.iter().any(|line| spans(line) == SHARDS));
}

#[test]
fn rows_add_up_when_workers_are_killed() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let address = coordinator.address();
    let proxies = [(); 2].map(|()| Proxy::holding(&address, MID_RUN_BYTES));
    let killed = [0, 1].map(|place: usize| folder.worker(&proxies[place].address(), &[]));
    // Held as well, or it would do the rest alone before the others are killed.
    let last = Proxy::holding(&address, MID_RUN_BYTES);
    let left = folder.worker(&last.address(), &[]);
    for (worker, proxy) in killed.into_iter().zip(&proxies) {
        proxy.wait_held();
        worker.signal(Signal::SIGKILL);
        worker.end();
        proxy.cut();
    }
    last.release();
    left.end().expect(0);
    coordinator.end().expect(0);
    let disturbed = journal(&folder);
    check_rows(&disturbed);
    let again = disturbed.iter().map(|line| number(line, "recomputed"));
    assert!(again.clone().any(|again| again > 0), "{:?}", again.collect::<Vec<_>>());
    let undisturbed = self::folder();
    undisturbed.train_into("run");
    assert_eq!(without_plans(disturbed), without_plans(journal(&undisturbed)));
}

#[test]
fn a_killed_and_resumed_run_has_the_same_journal() {
    let folder = resume::folder();
    for step in [20, 300] {
        resume::run_and_kill(&folder, step);
        // As if the machine had stopped within a line.
        let torn = folder.read("run/journal.jsonl") + "{\"step\":999999,\"epo";
        folder.write("run/journal.jsonl", &torn);
    }
    folder.run(&[&resume::RESUME[..], &["--resume"]].concat()).expect(0);
    let undisturbed = resume::folder();
    undisturbed.train_into("run");
    assert_eq!(without_plans(journal(&folder)), without_plans(journal(&undisturbed)));
}

#[test]
fn its_section_of_the_job() {
    for (lines, message) in [
        ("every_steps = 0", "`journal.every_steps`: found 0, wanted a whole number from 1"),
        ("every_step = 5", "unknown key `journal.every_step`, did you mean `every_steps`?"),
    ] {
        let folder = folder();
        folder.write("job.toml", &JOB.replace("every_steps = 4", lines));
        let ended = folder.run(&["check", "job.toml"]);
        ended.expect_with(3, message);
    }
}
