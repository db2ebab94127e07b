//! Batch normalization on real clusters: one hash whatever computes, dies or goes on; what a run keeps of it; and jobs that cannot be.

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited};
use crate::resume::killed_after;

/// Ten epochs of 5 steps. Some shards have 8 rows of a batch, others 9.
const JOB: &str = r#"
name = "batch-norm"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = "mse"
layers = [
  { type = "batch_norm", scale = false },
  { type = "dense", units = 16, activation = "relu" },
  { type = "residual", layers = [{ type = "batch_norm", momentum = 0.9 }, { type = "dense", units = 16 }] },
  { type = "batch_norm", epsilon = 0.01, center = false },
  { type = "dense", units = 1 },
]
[train]
optimizer = { type = "adamw", learning_rate = 0.01 }
epochs = 10
batch_size = 34
shards = 4
early_stopping = { patience = 100 }
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "31675beb59c2ade6f70ffcccbae859717a08dbb4be0a7e08127f3d1f701e2afd";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "boston-relu-adam-mse", 200)
}

/// As it is; clipped, in bf16; with workers that add up and that are checked; with averages of weights and updates of three steps.
fn variants() -> [String; 4] {
    let homes = format!("{JOB}[cluster]\nhomes = \"on\"\naudit_fraction = 0.3\n");
    let averaged = "learning_rate = 0.01, use_ema = true, gradient_accumulation_steps = 3 }";
    let averaged = edited(JOB, "learning_rate = 0.01 }", averaged);
    [JOB.to_string(), clipped_bf16(JOB), homes, averaged]
}

#[test]
fn workers_and_threads_do_not_matter() {
    let mut hashes = Vec::new();
    for job in variants() {
        let folder = folder_of(&job);
        let wanted = folder.train(1, 1);
        folder.expect_one_hash(&wanted);
        folder.run(&["--quiet", "local", "job.toml", "--workers", "3", "--out", "kept"]).expect(0);
        assert_eq!(folder.hash_of("kept"), wanted);
        folder.run(&["verify", "kept"]).expect(0);
        hashes.push(wanted);
    }
    assert_eq!(hashes[0], HASH);
    assert_eq!(hashes[0], hashes[2], "who adds up changes nothing");
}

#[test]
fn chaos_does_not_matter() {
    let job = edited(JOB, "epochs = 10", "epochs = 200");
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
}

#[test]
fn killed_and_resumed() {
    let job = edited(&edited(JOB, "epochs = 10", "epochs = 150"), "keep = 1000", "keep = 5");
    killed_after(&[30, 500], || folder_of(&job));
}

#[test]
fn what_a_run_keeps() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let weights = folder.weights();
    let names = weights.keys().map(String::as_str);
    let names: Vec<&str> =
        names.filter(|name| !name.ends_with("kernel") && !name.ends_with("bias")).collect();
    let wanted = [
        "layers.0.beta",
        "layers.0.moving_mean",
        "layers.0.moving_variance",
        "layers.2.layers.0.beta",
        "layers.2.layers.0.gamma",
        "layers.2.layers.0.moving_mean",
        "layers.2.layers.0.moving_variance",
        "layers.3.gamma",
        "layers.3.moving_mean",
        "layers.3.moving_variance",
    ];
    assert_eq!(names, wanted);
    // Of columns that are scaled to a mean of 0 and a variance of 1, after 50 updates from 0 and 1.
    let values = |name: &str| &weights[name];
    assert!(values("layers.0.moving_mean").iter().all(|mean| mean.abs() < 0.1));
    assert!(values("layers.0.moving_variance").iter().all(|v| (0.5..1.5).contains(v)));
    assert!(values("layers.3.moving_mean").iter().any(|&mean| mean != 0.0));
}

#[test]
fn microbatches_of_few_rows_are_refused() {
    let folder = folder_of(&edited(JOB, "shards = 4", "shards = 5"));
    bad_job::refused(
        &folder,
        "`train.batch_size`: found 34, which leaves 6 rows of a batch to some of the 5 shards, wanted at least 8, since `batch_norm` \
         measures those of each shard by themselves: set `batch_size` to at least 40, or `shards` to at most 4",
    );
    let folder = folder_of(&edited(JOB, "momentum = 0.9", "momentum = 1"));
    let message = "`model.layers.2.layers.0.momentum`: found 1, wanted a number from 0 to below 1";
    bad_job::refused(&folder, message);
}
