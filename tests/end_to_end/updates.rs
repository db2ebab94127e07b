//! Averages of weights, and updates of several steps, on real clusters: one hash whatever computes, dies or goes on; what a run writes
//! down; and jobs that cannot be.

use serde_json::Value;

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited, metrics, of_kind};
use crate::resume::killed_after;

/// Ten epochs of 8 steps.
const JOB: &str = r#"
name = "updates"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
test = "test.csv"
scale = "standard"
[model]
loss = "mse"
layers = [
  { type = "dense", units = 16, activation = "relu", kernel_l2 = 0.01 },
  { type = "dropout", rate = 0.25 },
  { type = "dense", units = 1 },
]
[train]
optimizer = { type = "adam", learning_rate = 0.01, use_ema = true, ema_momentum = 0.9 }
epochs = 10
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
[journal]
every_steps = 1
"#;

const AVERAGES: &str = "use_ema = true, ema_momentum = 0.9";
const OVERWRITING: &str = "use_ema = true, ema_overwrite_frequency = 5";
const ACCUMULATING: &str = "gradient_accumulation_steps = 3";
const BOTH: &str = "use_ema = true, ema_momentum = 0.9, gradient_accumulation_steps = 3";

/// By what the optimizer does besides, in `f32`, and clipped in `bf16`.
const HASHES: [(&str, [&str; 2]); 3] = [
    (
        OVERWRITING,
        [
            "d779c86d85600de189d9f3b05ac95b9f5dbacab322ce3bd8f5dd760fd78c3ab1",
            "c31d33fdb3cf27143f47f57fa7f26d496ee0b57a0ff4596c2243d7f935c98f78",
        ],
    ),
    (
        ACCUMULATING,
        [
            "5af6a36ef185b13f4ab8badda018563559e0168e5df83af4e22b2e954340cc3d",
            "4d17e8c32fe0b8e10354d57b16e28670b163790b2fd50b7aa3095e6aa28426e2",
        ],
    ),
    (
        BOTH,
        [
            "5986cd4d38818db4e478aac36c36cccc203fa7d09cbdd268fb31f18bf43b6bdb",
            "6fa7215bb2255c90632e0a0cb608a72422f548163c6d5af9f7b360d99d16cf14",
        ],
    ),
];

fn with(optimizer: &str) -> String {
    edited(JOB, AVERAGES, optimizer)
}

fn folder_of(job: &str) -> Folder {
    let folder = Folder::with_table(job, "boston-relu-adam-mse", 100);
    let table = folder.read("train.csv");
    let rows: Vec<&str> = table.lines().collect();
    folder.write("test.csv", &[&rows[..1], &rows[60..90]].concat().join("\n"));
    folder
}

#[test]
fn workers_and_threads_do_not_matter() {
    for (optimizer, [plain, clipped]) in HASHES {
        let job = with(optimizer);
        folder_of(&job).expect_one_hash(plain);
        folder_of(&clipped_bf16(&job)).expect_one_hash(clipped);
    }
}

#[test]
fn chaos_does_not_matter() {
    let job = edited(&with(BOTH), "epochs = 10", "epochs = 200");
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
    let large = job.replace("units = 16", "units = 9000").replace("epochs = 200", "epochs = 2");
    let hashes =
        [(1, 1), (3, 2)].map(|(workers, threads)| folder_of(&large).train(workers, threads));
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn killed_and_resumed() {
    for optimizer in [OVERWRITING, BOTH] {
        let job = edited(&with(optimizer), "epochs = 10", "epochs = 150");
        let job = edited(&job, "keep = 1000", "keep = 5");
        killed_after(&[31, 500], || folder_of(&job));
    }
}

/// The hash of the weights after each step, from the first.
fn journaled(folder: &Folder) -> Vec<String> {
    let lines = metrics(&folder.read("run/journal.jsonl"));
    lines.iter().filter_map(|line| Some(line["weights_blake3"].as_str()?.to_string())).collect()
}

/// The averages are the model and what the test table is measured with; what comes after an epoch is of the weights.
#[test]
fn a_run_ends_with_the_averages() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    folder.run(&["verify", "run"]).expect(0);
    let hashes = journaled(&folder);
    assert_eq!(hashes.len(), 80);
    assert!(!hashes.contains(&folder.hash()), "no step has the averages");
    let plain = folder_of(&edited(JOB, AVERAGES, "use_ema = false"));
    plain.train_into("run");
    assert_eq!(journaled(&plain), hashes, "averaging changes no weights");
    assert_eq!(plain.hash(), hashes[79]);
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let evaluate = ["--log-format", "json", "evaluate", "run", "--data", "test.csv"];
    let measured: Value = serde_json::from_str(&folder.run(&evaluate).stdout).unwrap();
    let last = lines.last().unwrap();
    assert_eq!(last["test_loss"], measured["values"]["loss"], "{last}");
    let epochs = |folder: &Folder| -> Vec<Value> {
        let lines = metrics(&folder.read("run/metrics.jsonl"));
        of_kind(&lines, "epoch").iter().map(|epoch| epoch["validation_loss"].clone()).collect()
    };
    assert_eq!(epochs(&folder), epochs(&plain));
    // More epochs go on from the weights, not from the averages.
    let more =
        ["--quiet", "local", "job.toml", "--out", "run", "--resume", "--set", "train.epochs=12"];
    folder.run(&more).expect(0);
    let longer = folder_of(&edited(JOB, "epochs = 10", "epochs = 12"));
    longer.train_into("run");
    assert_eq!(folder.hash(), longer.hash());
}

/// As in Keras, the best epoch's weights are restored after everything else.
#[test]
fn averages_and_early_stopping() {
    let stopping = |restores: bool| {
        let rule = format!("{{ patience = 2, restore_best_weights = {restores} }}");
        let job = edited(JOB, "epochs = 10", &format!("epochs = 60\nearly_stopping = {rule}"));
        let folder = folder_of(&job);
        folder.train_into("run");
        folder.run(&["verify", "run"]).expect(0);
        folder
    };
    let restored = stopping(true);
    let manifest: Value = serde_json::from_str(&restored.read("run/manifest.json")).unwrap();
    let best = manifest["early_stopping"]["best_epoch"].as_u64().unwrap() as usize;
    assert_eq!(journaled(&restored)[8 * best - 1], restored.hash());
    let averaged = stopping(false);
    assert_eq!(journaled(&averaged), journaled(&restored));
    assert!(!journaled(&averaged).contains(&averaged.hash()));
}

#[test]
fn weights_change_in_every_third_step_alone() {
    let folder = folder_of(&with(ACCUMULATING));
    folder.train_into("run");
    folder.run(&["verify", "run"]).expect(0);
    let hashes = journaled(&folder);
    for (at, pair) in hashes.windows(2).enumerate() {
        // The hash at place `at` is that after step `at + 1`.
        let is_update = (at + 2).is_multiple_of(3);
        assert_eq!(pair[0] != pair[1], is_update, "step {}", at + 2);
    }
    folder.run(&["verify", "run", "--steps", "31..40"]).expect(0);
    let one = folder_of(&with("gradient_accumulation_steps = 1"));
    one.train_into("run");
    let plain = folder_of(&edited(JOB, &format!(", {AVERAGES}"), ""));
    plain.train_into("run");
    assert_eq!(one.hash(), plain.hash());
}

#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(&with(BOTH));
    folder.train_into("run");
    let line =
        "epsilon = 1e-7, use_ema = true, ema_momentum = 0.9, gradient_accumulation_steps = 3 }\n";
    let resolved = folder.read("run/job.toml");
    assert!(resolved.contains(line), "{resolved}");
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.hash_of("again"), folder.hash());
}

#[test]
fn jobs_that_cannot_be() {
    for (optimizer, message) in [
        (
            "ema_momentum = 0.9",
            "`train.optimizer.ema_momentum`: ema_momentum needs `use_ema = true`",
        ),
        (
            "use_ema = false, ema_overwrite_frequency = 3",
            "`train.optimizer.ema_overwrite_frequency`: ema_overwrite_frequency needs `use_ema = true`",
        ),
        (
            "use_ema = true, ema_momentum = 1.5",
            "`train.optimizer.ema_momentum`: found 1.5, wanted a share from 0 to 1",
        ),
        (
            "use_ema = true, ema_overwrite_frequency = 0",
            "`train.optimizer.ema_overwrite_frequency`: found 0, wanted a whole number from 1",
        ),
        (
            "use_ema = true, ema_overwrite_frequency = 3, gradient_accumulation_steps = 2",
            "`train.optimizer.ema_overwrite_frequency`: found it with updates of several steps",
        ),
        (
            "gradient_accumulation_steps = 0",
            "`train.optimizer.gradient_accumulation_steps`: found 0, wanted a whole number from 1",
        ),
        (
            "gradient_accumulation_steps = 81",
            "`train.optimizer.gradient_accumulation_steps`: found 81, but the run has 80 steps: no update would be made",
        ),
    ] {
        bad_job::refused(&folder_of(&with(optimizer)), message);
    }
}
