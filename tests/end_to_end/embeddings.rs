//! Embedded category columns on real clusters: one hash whatever computes, dies or goes on, and what a run writes down of them.

use serde_json::{Value, json};

use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited};
use crate::resume::killed_after;

/// Ten epochs of 13 steps: three numbers and two embedded columns, a dropout on their vectors.
const JOB: &str = r#"
name = "embedded"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
[data.columns]
cut = { kind = "category", encoder = "embedding", dimension = 2 }
color = { kind = "category", encoder = "embedding", dimension = 3 }
[model]
loss = "mse"
metrics = ["mae"]
layers = [
  { type = "dropout", rate = 0.1 },
  { type = "dense", units = 16, activation = "relu" },
  { type = "dense", units = 1 },
]
[train]
optimizer = "adam"
epochs = 10
batch_size = 25
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "a686fb90d8e94383e3892d92ffe302e7d3b0d55ad8a922cf491c62de9bc24200";
const CLIPPED_BF16_HASH: &str = "d6b3e7e9e4c50e407fe30d29c780a8c59186e42e92d548e0218d3049842f1177";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "diamonds-embedding", 400)
}

#[test]
fn one_hash() {
    folder_of(JOB).expect_one_hash(HASH);
    folder_of(&clipped_bf16(JOB)).expect_one_hash(CLIPPED_BF16_HASH);
}

#[test]
fn audits_agree() {
    let folder = folder_of(&format!("{JOB}[cluster]\naudit_fraction = 1\n"));
    assert_eq!(folder.train(3, 1), HASH);
}

#[test]
fn chaos_does_not_matter() {
    let job = clipped_bf16(&edited(JOB, "epochs = 10", "epochs = 150"));
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
}

#[test]
fn killed_and_resumed() {
    let job = edited(&edited(JOB, "epochs = 10", "epochs = 150"), "keep = 1000", "keep = 5");
    killed_after(&[30, 700], || folder_of(&job));
}

#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let model: Value = serde_json::from_str(&folder.read("run/model/model.json")).unwrap();
    let embeddings = json!([
        { "column": "cut", "rows": 6, "dimension": 2 },
        { "column": "color", "rows": 8, "dimension": 3 },
    ]);
    assert_eq!(model["network"]["embeddings"], embeddings);
    assert_eq!(model["network"]["inputs"], 3);
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = weights.names();
    names.sort();
    assert_eq!(names[..2], ["inputs.color.embedding", "inputs.cut.embedding"]);
    assert_eq!(weights.tensor(names[0]).unwrap().shape(), [8, 3]);
    // What training never saw is row 0, and no error.
    folder
        .write("new.csv", "carat,depth,table,cut,color\n0,0,0,Ideal,Z\n0,0,0,,H\n0,0,0,Ideal,H\n");
    let predicted = folder.run(&["predict", "run", "--data", "new.csv", "--output", "-"]);
    predicted.expect(0);
    assert_eq!(predicted.stdout.lines().count(), 4, "{predicted}");
    // The weights are a start for the same network.
    let job = edited(JOB, "loss = \"mse\"\n", "loss = \"mse\"\ninitial_weights = \"run\"\n");
    folder.write("next.toml", &job);
    folder.run(&["--quiet", "local", "next.toml", "--out", "next"]).expect(0);
}

#[test]
fn check_shows_every_embedding() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    for line in [
        "network: 3 inputs and 2 embeddings, loss mse\n",
        "  embedding of cut     [rows, 2]          12\n",
        "  embedding of color   [rows, 3]          24\n",
        "  0 dropout            [rows, 8]           0  rate 0.1\n",
        "  1 dense             [rows, 16]         144  relu\n",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{ended}");
    }
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    let wanted = json!({ "column": "cut", "rows": 6, "dimension": 2, "parameters": 12 });
    assert_eq!(checked["network"]["embeddings"][0], wanted);
}

/// Row squares are sent where they are used: of the tables' 36 values.
#[test]
fn check_counts_row_squares() {
    let clip = |job: &str| edited(job, "[train]\n", "[train]\ngradient_clip_norm = 1.0\n");
    let sgd = edited(JOB, "optimizer = \"adam\"", "optimizer = \"sgd\"");
    for (job, squared) in [(JOB, 36), (&sgd, 0), (&clip(&sgd), 36), (&clip(JOB), 36)] {
        let json = folder_of(job).run(&["--log-format", "json", "check", "job.toml"]);
        let checked: Value = serde_json::from_str(&json.stdout).unwrap();
        let parameters = checked["network"]["parameters"].as_u64().unwrap();
        let traffic = &checked["traffic"];
        let [up, down] =
            ["step_bytes_up", "step_bytes_down"].map(|key| traffic[key].as_u64().unwrap());
        let nodes = traffic["tree_nodes"].as_u64().unwrap();
        assert_eq!((up, down), (4 * (parameters + squared) * nodes, 4 * parameters), "{job}");
    }
}

/// Vectors that are drawn, and stay so.
fn frozen() -> String {
    let job = edited(JOB, "dimension = 2 }", "dimension = 2, trainable = false }");
    edited(&job, "dimension = 3 }", "dimension = 3, trainable = false }")
}

#[test]
fn frozen_embeddings_stay_whoever_computes() {
    for job in [frozen(), clipped_bf16(&frozen())] {
        let folder = folder_of(&job);
        let wanted = folder.train(1, 1);
        assert_eq!((folder.train(3, 2), folder.train(8, 1)), (wanted.clone(), wanted.clone()));
        folder.train_into("run");
        assert_eq!(folder.hash_of("run"), wanted);
        folder.run(&["verify", "run"]).expect(0);
        folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
        assert_eq!(folder.hash_of("again"), wanted);
        // The same seed draws the same vectors.
        let short = folder_of(&edited(&job, "epochs = 10", "epochs = 1"));
        short.train_into("run");
        let [long, short] = [&folder, &short].map(|folder| {
            let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let tensor = |name: &str| file.tensor(name).unwrap().data().to_vec();
            ["inputs.cut.embedding", "inputs.color.embedding", "layers.1.kernel"].map(tensor)
        });
        assert_eq!(long[..2], short[..2]);
        assert_ne!(long[2], short[2]);
    }
}

#[test]
fn frozen_embeddings_killed_and_resumed() {
    let job = edited(&frozen(), "epochs = 10", "epochs = 150");
    let job = edited(&job, "keep = 1000", "keep = 5");
    killed_after(&[31, 500], || folder_of(&job));
}

#[test]
fn embeddings_are_frozen_together() {
    let refused =
        |job: &str, wanted: &str| folder_of(job).run(&["check", "job.toml"]).expect_with(3, wanted);
    let one = edited(JOB, "dimension = 2 }", "dimension = 2, trainable = false }");
    refused(
        &one,
        "the embedding of column \"color\": found `trainable = true` for it and another for \"cut\", wanted the same for all embeddings",
    );
    let one_hot = edited(
        JOB,
        "encoder = \"embedding\", dimension = 2 }",
        "encoder = \"one_hot\", trainable = false }",
    );
    refused(
        &one_hot,
        "found `trainable` for a column of kind category, wanted it for an embedding",
    );
}
