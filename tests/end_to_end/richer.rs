//! Layers of other kinds than dense and dropout, penalties of weights, and the losses with parameters, on real clusters: one hash
//! whatever computes, dies or goes on; what a run writes down; and jobs that cannot be.

use serde_json::{Value, json};

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited, metrics, of_kind};
use crate::resume::killed_after;

/// Ten epochs of 8 steps.
const JOB: &str = r#"
name = "richer"
seed = 5
[data]
train = "train.csv"
target = "y"
validation = { fraction = 0.2 }
scale = "standard"
[model]
loss = { type = "quantile", quantile = 0.75 }
metrics = ["mae"]
layers = [
  { type = "layer_norm", epsilon = 0.01, center = false },
  { type = "dense", units = 16, activation = "relu", kernel_l1 = 0.001 },
  { type = "residual", layers = [{ type = "layer_norm" }, { type = "dropout", rate = 0.25 }, { type = "residual", layers = [{ type = "dense", units = 16, activation = "tanh" }] }] },
  { type = "dense", units = 1, kernel_l1 = 0.002, kernel_l2 = 0.01 },
]
[train]
optimizer = { type = "adamw", learning_rate = 0.01, exclude_from_weight_decay = ["bias", "gamma", "beta"] }
epochs = 10
batch_size = 10
early_stopping = { patience = 100 }
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "e9aa52ce88215692051eb57ec40912244fc60ccbb4f7a61d3b1aad795eea65ab";
const CLIPPED_BF16_HASH: &str = "90c84508e8cb3788adadc2ec7aa6c068b531ac05f18f6827b6dda712ecf2dc8a";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "boston-relu-adam-mse", 100)
}

#[test]
fn workers_and_threads_do_not_matter() {
    let clipped = clipped_bf16(JOB);
    for (job, wanted) in [(JOB, HASH), (&clipped, CLIPPED_BF16_HASH)] {
        folder_of(job).expect_one_hash(wanted);
    }
}

/// Steps heavy enough for threads, and layers of several chunks; steps are computed by others, ahead and again.
#[test]
fn chaos_does_not_matter() {
    let job = edited(JOB, "epochs = 10", "epochs = 200");
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
    let large = job.replace("units = 16", "units = 300").replace("epochs = 200", "epochs = 5");
    let hashes =
        [(1, 1), (3, 2)].map(|(workers, threads)| folder_of(&large).train(workers, threads));
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn killed_and_resumed() {
    let job = edited(&edited(JOB, "epochs = 10", "epochs = 150"), "keep = 1000", "keep = 5");
    killed_after(&[30, 500], || folder_of(&job));
}

/// What is shown of the weights that are kept has their penalty in it: in the run, and of the model later.
#[test]
fn losses_have_their_penalties() {
    let job = edited(JOB, "validation = { fraction = 0.2 }", "validation = \"train.csv\"");
    let folder = folder_of(&job);
    folder.train_into("run");
    let evaluate = ["--log-format", "json", "evaluate", "run", "--data", "train.csv"];
    let loss = || {
        let ended = folder.run(&evaluate);
        ended.expect(0);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()["values"]["loss"].as_f64().unwrap()
    };
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let measured = of_kind(&lines, "epoch").into_iter().map(|epoch| &epoch["validation_loss"]);
    let least = measured.map(|loss| loss.as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(loss(), least, "the best epoch's weights are kept");
    let weights = folder.weights();
    let sums = |name: &str| {
        let values = weights[name].iter().copied().map(f64::from);
        values.fold((0.0, 0.0), |(l1, l2), w| (l1 + w.abs(), l2 + w * w))
    };
    let (first, last) = (sums("layers.1.kernel"), sums("layers.3.kernel"));
    let penalty = 0.001 * first.0 + 0.002 * last.0 + 0.01 * last.1;
    let with = loss();
    assert!(penalty > 0.01 && with > penalty, "{with}, {penalty}");
}

#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let resolved = folder.read("run/job.toml");
    for line in [
        "\n  { type = \"layer_norm\", epsilon = 0.01, center = false, scale = true },\n",
        "{ type = \"residual\", layers = [{ type = \"layer_norm\", epsilon = 0.001, center = true, scale = true }, { type = \"dropout\", rate = 0.25 }, ",
        "loss = { type = \"quantile\", quantile = 0.75 }\n",
        "exclude_from_weight_decay = [\"bias\", \"gamma\", \"beta\"] }\n",
    ] {
        assert!(resolved.contains(line), "no {line:?} in\n{resolved}");
    }
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    assert_eq!(folder.hash_of("again"), folder.hash());
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = weights.names();
    names.sort();
    let wanted = [
        "layers.0.gamma",
        "layers.1.bias",
        "layers.1.kernel",
        "layers.2.layers.0.beta",
        "layers.2.layers.0.gamma",
        "layers.2.layers.2.layers.0.bias",
        "layers.2.layers.2.layers.0.kernel",
        "layers.3.bias",
        "layers.3.kernel",
    ];
    assert_eq!(names, wanted);
    // The weights are a start for the same network.
    let start = "metrics = [\"mae\"]\ninitial_weights = \"run\"\n";
    folder.write("next.toml", &edited(JOB, "metrics = [\"mae\"]\n", start));
    folder.run(&["--quiet", "local", "next.toml", "--out", "next"]).expect(0);
}

/// A block at the beginning has to fit the table, which is not read yet when a job is.
#[test]
fn a_block_may_come_first() {
    let first =
        "layers = [\n  { type = \"residual\", layers = [{ type = \"dense\", units = 13 }] },";
    let folder = folder_of(&edited(JOB, "layers = [\n", &format!("{first}\n")));
    folder.run(&["check", "job.toml"]).expect(0);
    let job = folder.read("job.toml");
    folder.write("job.toml", &job.replace("units = 13", "units = 12"));
    bad_job::refused(&folder, "layer 0: its layers make rows of 12 of rows of 13, to which");
}

#[test]
fn check_shows_layers_inside_others() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    let mut lines = ended.stdout.lines().skip_while(|line| !line.contains("0 layer_norm"));
    for wanted in [
        "0 layer_norm [rows, 13] 13 epsilon 0.01",
        "1 dense [rows, 16] 224 relu, l1 0.001",
        "2 residual [rows, 16] 0 plus its input",
        "2.0 layer_norm [rows, 16] 32 epsilon 0.001",
        "2.1 dropout [rows, 16] 0 rate 0.25",
        "2.2 residual [rows, 16] 0 plus its input",
        "2.2.0 dense [rows, 16] 272 tanh",
        "3 dense [rows, 1] 17 linear, l1 0.002, l2 0.01",
        "558 in all",
    ] {
        let words = lines.next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words, wanted, "{ended}");
    }
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    let wanted = json!({ "place": "2.0", "type": "layer_norm", "units": 16, "parameters": 32 });
    assert_eq!(checked["network"]["layers"][3], wanted);
}

/// A job with this in the place of another text is refused.
#[track_caller]
fn refused(from: &str, to: &str, message: &str) {
    let folder = bad_job::small();
    folder.write("job.toml", &edited(bad_job::JOB, from, to));
    bad_job::refused(&folder, message);
}

#[test]
fn jobs_that_cannot_be() {
    let first = "{ type = \"dense\", units = 4, activation = \"relu\" }";
    for (layer, message) in [
        (
            "{ type = \"layer_norm\", epsilon = 0 }",
            "`model.layers.0.epsilon`: found 0, wanted a number above 0, as a 32-bit float",
        ),
        ("{ type = \"residual\" }", "`model.layers.0.layers` is missing"),
        (
            "{ type = \"residual\", layers = [] }",
            "layer 0: `layers`: found none, wanted at least one",
        ),
        (
            "{ type = \"residual\", layers = [{ type = \"dense\", units = 7 }] }",
            "layer 0: its layers make rows of 7 of rows of ",
        ),
        (
            "{ type = \"residual\", layers = [{ type = \"dense\", units = 0 }] }",
            "`model.layers.0.layers.0.units`: found 0, wanted a whole number from 1",
        ),
        (
            "{ type = \"dense\", units = 4, kernel_l2 = -1 }",
            "`model.layers.0.kernel_l2`: found -1, wanted a number of at least 0, as a 32-bit float",
        ),
    ] {
        refused(first, layer, message);
    }
    for (loss, message) in [
        ("\"poisson\"", "loss poisson needs outputs of at least 0, of activation softplus, relu,"),
        (
            "{ type = \"quantile\", quantile = 1 }",
            "`model.loss.quantile`: found 1, wanted a number above 0 and below 1, as a 32-bit float",
        ),
        (
            "{ type = \"cross_entropy\", label_smoothing = 1 }",
            "`model.loss.label_smoothing`: found 1, wanted a number from 0 to below 1",
        ),
        (
            "{ type = \"mse\", label_smoothing = 0.1 }",
            "`model.loss.label_smoothing`: mse has no label_smoothing, only cross_entropy, binary_cross_entropy have",
        ),
    ] {
        refused("loss = \"mse\"", &format!("loss = {loss}"), message);
    }
    let folder = folder_of(&edited(JOB, "\"gamma\", \"beta\"]", "\"gama\"]"));
    bad_job::refused(
        &folder,
        "`train.optimizer.exclude_from_weight_decay`: found \"gama\", which is in no name of a tensor, wanted a part of one: \
         layers.0.gamma,",
    );
}
