//! Frozen layers, and weights of another network to start from, on real clusters: one hash whatever computes, dies or goes on; what stays
//! as it was; and jobs that cannot be.

use safetensors::SafeTensors;

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited};
use crate::resume::killed_after;

/// Ten epochs of 8 steps. Weights of frozen layers are drawn, like any others.
const JOB: &str = r#"
name = "tuned"
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
  { type = "dense", units = 300, activation = "relu", kernel_l2 = 0.5, trainable = false },
  { type = "layer_norm", trainable = false },
  { type = "dense", units = 16, activation = "tanh" },
  { type = "residual", layers = [{ type = "dense", units = 16, trainable = false }, { type = "dropout", rate = 0.25 }] },
  { type = "dense", units = 1, kernel_l2 = 0.01 },
]
[train]
optimizer = { type = "adamw", learning_rate = 0.01, weight_decay = 0.1 }
epochs = 10
early_stopping = { patience = 100 }
batch_size = 10
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "7edfd8f9981515c029c290f90eb0bbbd53e62dd6707c6baf8e21744280517a9b";
const CLIPPED_BF16_HASH: &str = "e28008e740e0df33181458cbcb752017e4e236c26c8ca1816f7d35d7f75b018e";

const FROZEN: [&str; 6] = [
    "layers.0.kernel",
    "layers.0.bias",
    "layers.1.gamma",
    "layers.1.beta",
    "layers.3.layers.0.kernel",
    "layers.3.layers.0.bias",
];

fn folder_of(job: &str) -> Folder {
    let folder = Folder::with_table(job, "boston-relu-adam-mse", 100);
    let table = folder.read("train.csv");
    let rows: Vec<&str> = table.lines().collect();
    folder.write("test.csv", &[&rows[..1], &rows[60..90]].concat().join("\n"));
    folder
}

#[test]
fn workers_and_threads_do_not_matter() {
    let clipped = clipped_bf16(JOB);
    for (job, wanted) in [(JOB, HASH), (&clipped, CLIPPED_BF16_HASH)] {
        folder_of(job).expect_one_hash(wanted);
    }
}

#[test]
fn chaos_does_not_matter() {
    let job = edited(JOB, "epochs = 10", "epochs = 200");
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
}

#[test]
fn killed_and_resumed() {
    let averaging = "weight_decay = 0.1, use_ema = true, gradient_accumulation_steps = 2";
    let job = edited(&edited(JOB, "epochs = 10", "epochs = 150"), "keep = 1000", "keep = 5");
    let job = edited(&job, "weight_decay = 0.1", averaging);
    let job =
        edited(&job, "{ patience = 100 }", "{ patience = 100, restore_best_weights = false }");
    killed_after(&[31, 500], || folder_of(&job));
}

/// Names and bytes of the tensors of a file.
fn tensors(folder: &Folder, name: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(folder.path().join(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> =
        file.iter().map(|(name, tensor)| (name.to_string(), tensor.data().to_vec())).collect();
    tensors.sort();
    tensors
}

/// The same seed draws the same weights, so that a run of one epoch has them too.
#[test]
fn frozen_weights_stay_and_have_no_moments() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    folder.run(&["verify", "run"]).expect(0);
    let short = folder_of(&edited(JOB, "epochs = 10", "epochs = 1"));
    short.train_into("run");
    let [found, other] = [&folder, &short].map(|f| tensors(f, "run/model/weights.safetensors"));
    for ((name, found), (_, other)) in found.iter().zip(&other) {
        assert_eq!(found == other, FROZEN.contains(&&**name), "{name}");
    }
    let kept = tensors(&folder, "run/checkpoints/step-000000000080.safetensors");
    let len = |name: &str| kept.iter().find(|(found, _)| found == name).unwrap().1.len() / 4;
    let frozen = 13 * 300 + 300 + 2 * 300 + 16 * 16 + 16;
    assert_eq!((len("weights") - len("moments.0"), len("moments.0")), (frozen, len("moments.1")));
}

/// The layers of a run are the start of another with a head of its own.
#[test]
fn what_fits_is_taken_of_another_network() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let start = "loss = \"mse\"\ninitial_weights = \"run\"\nskip_mismatch = true\n";
    let job = edited(JOB, "loss = \"mse\"\n", start);
    let job = edited(
        &job,
        "{ type = \"dense\", units = 16, activation = \"tanh\" }",
        "{ type = \"dense\", units = 16, activation = \"tanh\", trainable = false }",
    );
    let head = "{ type = \"dense\", units = 7, activation = \"relu\" },\n  { type = \"dense\", units = 1 }";
    let job = edited(&job, "{ type = \"dense\", units = 1, kernel_l2 = 0.01 }", head);
    folder.write("next.toml", &job);
    let ended = folder.run(&["local", "next.toml", "--out", "next"]);
    ended.expect_with(0, "run: 8 of 12 tensors are taken\n");
    let skipped = "from the initializers start layers.4.kernel [16, 7] (is F32 [16, 1] there), layers.4.bias [7] (is F32 [1] there), \
                   layers.5.kernel [7, 1] (is not in the file), layers.5.bias [1] (is not in the file)\n";
    assert!(ended.stderr.contains(skipped), "{ended}");
    let [before, after] =
        ["run", "next"].map(|run| tensors(&folder, &format!("{run}/model/weights.safetensors")));
    for (name, values) in &before {
        let Some((_, found)) = after.iter().find(|(found, _)| found == name) else { continue };
        assert_eq!(found == values, !name.starts_with("layers.4"), "{name}");
    }
    folder.run(&["verify", "next"]).expect(0);
    folder.run(&["--quiet", "local", "next/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.hash_of("again"), folder.hash_of("next"));
    // Without being told to, nothing is left out.
    folder.write("strict.toml", &edited(&job, "skip_mismatch = true\n", ""));
    folder.run(&["local", "strict.toml", "--out", "strict"]).expect(3);
}

#[test]
fn check_shows_what_is_frozen() {
    let ended = folder_of(JOB).run(&["check", "job.toml"]);
    ended.expect(0);
    let lines: Vec<String> =
        ended.stdout.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for wanted in [
        "0 dense [rows, 300] 4,200 relu, l2 0.5, frozen",
        "1 layer_norm [rows, 300] 600 epsilon 0.001, frozen",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "no {wanted:?} in\n{ended}");
    }
}

#[test]
fn jobs_that_cannot_be() {
    let folder = bad_job::small();
    folder.write("other.safetensors", "");
    let first = "{ type = \"dense\", units = 4, activation = \"relu\" }";
    let all =
        bad_job::JOB.replace("units = 4, activation", "units = 4, trainable = false, activation");
    let all = all.replace("units = 1 }", "units = 1, trainable = false }");
    folder.write("job.toml", &all);
    bad_job::refused(&folder, "all layers with weights have `trainable = false`");
    let dropout =
        edited(bad_job::JOB, first, "{ type = \"dropout\", rate = 0.5, trainable = false }");
    folder.write("job.toml", &dropout);
    bad_job::refused(&folder, "`model.layers.0.trainable`");
    let skips = edited(bad_job::JOB, "loss = \"mse\"", "loss = \"mse\"\nskip_mismatch = true");
    folder.write("job.toml", &skips);
    bad_job::refused(&folder, "`model.skip_mismatch`: found true, but no `initial_weights`");
}
