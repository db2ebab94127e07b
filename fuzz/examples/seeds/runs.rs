//! Seeds of jobs and of the files of run folders.

use std::fs;
use std::path::PathBuf;

use lockstep_coordinator::Snapshot;
use lockstep_data::{Detail, Missing, Scale, TableFile, TableSpec, TargetKind, load};
use lockstep_model::{Activation, Dense, Embedding, Loss, Metric, NetworkSpec};
use lockstep_proto::ids::{Pass, Step};
use lockstep_proto::layout::{Layout, TensorShape};
use lockstep_run::checkpoint::{Checkpoint, Origin, RecordState};
use lockstep_run::journal::Line;
use lockstep_run::run_folder::{Cadence, Files, Manifest, ModelDescription, Status};
use lockstep_run::weights_file::{Stamp, to_bytes, weights_hash};

use crate::{below, root, write};

/// The jobs of the examples and of the tests against Keras, and two with all the rest.
pub(crate) fn jobs() {
    let folders = ["examples", "tests/parity"];
    let entries = folders
        .into_iter()
        .flat_map(|folder| fs::read_dir(root().join("..").join(folder)).expect("a folder of jobs"));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry").path().join("job.toml")).collect();
    paths.retain(|path| path.exists());
    paths.sort();
    let found = paths.into_iter().map(|path| fs::read(path).expect("a job"));
    let all = "#set train.epochs=7\n#set model.layers.0.units=9\nname = \"x\"\nseed = 7\n[data]\n\
               train = { features = \"x.npy\", target = \"y.npy\" }\ntest = { fraction = 0.25 }\nvalidation = \"v.csv\"\n\
               target = [\"target\"]\nfeatures = [\"a\"]\nscale = { divide = 255 }\nmissing = \"mean\"\n\
               missing_values = [\"-\"]\nstratify = false\ndelimiter = \"\\t\"\nquote = \"\"\nheader = false\n[model]\n\
               loss = { type = \"huber\", delta = 2.0 }\nmetrics = [\"mae\", \"r2\"]\ninitial_weights = \"w.safetensors\"\n\
               layers = [{ type = \"dense\", units = 3, activation = { type = \"elu\", alpha = 0.5 }, use_bias = false },\n\
               { type = \"dense\", units = 2, kernel_initializer = \"he_normal\" }]\n[train]\n\
               optimizer = { type = \"adamw\", weight_decay = 0.01, learning_rate = { schedule = \"cosine\", \
               initial_learning_rate = 0.1, decay_steps = 9, alpha = 0.5, warmup_target = 0.2, warmup_steps = 4 } }\n\
               epochs = 3\nbatch_size = 5\nshuffle = false\nshards = 4\ngradient_clip_norm = 0.5\nprecision = \"bf16\"\n\
               [cluster]\nworkers_min = 2\naudit_fraction = 0.5\n[checkpoint]\nevery_steps = 7\nkeep = 2\n[journal]\n\
               every_steps = 3\n";
    let schedules = "#set train.optimizer.learning_rate=0.5\n[data]\ntrain = { images = \"a.gz\", labels = \"b\" }\n\
                     [model]\nloss = \"mse\"\nlayers = [{ type = \"dense\", units = 1 }]\n[train]\nepochs = 1\noptimizer = \
                     { type = \"sgd\", momentum = 0.9, learning_rate = { schedule = \"piecewise\", boundaries = [3, 7], \
                     values = [1, 0.1, 1e-7] } }\n[checkpoint]\nevery_seconds = 1.5\n";
    write("job", found.chain([all, schedules].map(|text| text.as_bytes().to_vec())));
}

fn dense(
    inputs: usize,
    layers: &[(usize, Activation)],
    loss: Loss,
    metrics: &[Metric],
) -> NetworkSpec {
    let layers =
        layers.iter().map(|&(units, activation)| Dense { activation, ..Dense::new(units) }.into());
    NetworkSpec {
        inputs,
        image: None,
        embeddings: Vec::new(),
        layers: layers.collect(),
        loss,
        metrics: metrics.to_vec(),
        units: Vec::new(),
    }
}

/// The schema of a table, as a run fits it.
fn description(
    text: &str,
    kind: TargetKind,
    network: NetworkSpec,
    missing: Missing,
    scale: Scale,
) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a writable folder");
    fs::write(file.path(), text).expect("a writable folder");
    let file = TableFile::at(file.path().to_path_buf());
    let spec = TableSpec { scale, missing, ..TableSpec::new(file, vec!["y".to_owned()]) };
    let schema = load(&spec, kind, 1, Detail::Usual).expect("a table").schema;
    let description = ModelDescription { format: 1, network, schema, shards: 16, threshold: None };
    serde_json::to_vec(&description).expect("JSON")
}

pub(crate) fn models() {
    use Activation::{Linear, Relu, Sigmoid, Softmax};
    let numbers = dense(2, &[(3, Relu), (1, Linear)], Loss::Mse, &[Metric::Mae, Metric::R2]);
    let classes = dense(1, &[(2, Softmax)], Loss::CROSS_ENTROPY, &[Metric::Accuracy]);
    let binary = dense(1, &[(1, Sigmoid)], Loss::BINARY_CROSS_ENTROPY, &[Metric::Accuracy]);
    let embeddings =
        vec![Embedding { column: "c".to_owned(), rows: 4, dimension: 2, trainable: None }];
    let embedded = NetworkSpec { embeddings, ..numbers.clone() };
    let two_classes = TargetKind::Classes { outputs: 2 };
    let one = TargetKind::Binary { outputs: 1 };
    let (mean, drop, error) = (Missing::Mean, Missing::Drop, Missing::Error);
    write(
        "model",
        [
            description(
                "a,b,y\n1,2,3\n4,,6\n",
                TargetKind::Numbers,
                numbers.clone(),
                mean,
                Scale::named("standard").expect("a scale"),
            ),
            description("a,y\n1,no\n2,yes\n", two_classes, classes.clone(), error, Scale::NONE),
            description(
                "a,y\n1,0\n2,1\n,\n",
                one,
                binary,
                drop,
                Scale::with_parameter("divide", 255.0).expect("a scale"),
            ),
            serde_json::to_vec(&numbers).expect("JSON"),
            serde_json::to_vec(&classes).expect("JSON"),
            serde_json::to_vec(&embedded).expect("JSON"),
        ],
    );
}

/// As the targets for weights and checkpoints have it.
fn layout() -> Layout {
    let shape = |inputs: usize, units: usize, bias: bool| {
        let mut tensors = vec![TensorShape::new("kernel", [inputs, units])];
        if bias {
            tensors.push(TensorShape::new("bias", [units]));
        }
        tensors
    };
    Layout::new(&[shape(2, 2, true), shape(2, 1, false)])
}

pub(crate) fn weights() {
    let layout = layout();
    let weights: Vec<f32> = (0..layout.len()).map(|at| at as f32 - 0.5).collect();
    let stamp = |origin_blake3| Stamp {
        format: 1,
        step: 3,
        weights_blake3: weights_hash(&weights),
        origin_blake3,
    };
    let file = |stamp| to_bytes(&layout, &weights, &stamp).expect("a layout's tensors");
    let foreign =
        [&b"PK\x03\x04..archive/data.pkl"[..], b"\x89HDF\r\n\x1a\n", b"\x80\x02ctorch._utils"];
    let ours = [file(stamp(None)), file(stamp(Some("ab".repeat(32))))];
    let files = ours.into_iter().chain(foreign.map(<[u8]>::to_vec));
    write("weights", files.map(|file| below("0", file)));
}

pub(crate) fn checkpoints() {
    let layout = layout();
    let origin = Origin::new("one", &layout);
    let checkpoint = |moments: usize, pass, epoch, epoch_rows, rows| {
        let weights = vec![0.5; layout.len()];
        let moments = vec![vec![0.25; layout.len()]; moments];
        let snapshot = Snapshot {
            pass: Pass(pass),
            step: Step(4),
            weights,
            moments,
            average: None,
            accumulated: None,
            plateau: None,
            watch: None,
            best_weights: None,
        };
        let epoch_sums = vec![0.5];
        let records = RecordState { epoch_sums, epoch_rows, rows, epoch, ..Default::default() };
        Checkpoint { snapshot, records }.to_bytes(&origin).expect("flat vectors")
    };
    write(
        "checkpoint",
        [
            below("00", checkpoint(2, 5, 2, 10, 35)),
            below("01", checkpoint(2, 4, 2, 10, 35)),
            below("11", checkpoint(0, 4, 2, 10, 35)),
        ],
    );
}

pub(crate) fn journals() {
    let line = |step: u64, plan: &[(u64, u32, u32)]| {
        let line = Line {
            step,
            epoch: 1,
            rows: step * 10,
            rows_total: step * 10,
            weights_blake3: "ab".repeat(32),
            plan: plan.to_vec(),
            recomputed: 0,
        };
        serde_json::to_string(&line).expect("JSON") + "\n"
    };
    let two = line(10, &[(1, 0, 8), (2, 8, 16)]) + &line(20, &[(1, 0, 16)]);
    write("journal", [two.clone().into_bytes(), (two + "{\"step\":31,\"ep").into_bytes()]);
}

pub(crate) fn manifests() {
    let files = Files {
        job_blake3: "ab".repeat(32),
        origin_blake3: "cd".repeat(32),
        epochs: 3,
        model_blake3: "ef".repeat(32),
        journal: vec![Cadence { after_step: 0, every_steps: 10 }],
    };
    let manifest = |status, files| Manifest {
        format: 1,
        lockstep: lockstep_proto::VERSION.to_owned(),
        run_id: "one".to_owned(),
        name: "job".to_owned(),
        numeric_profile: "fma".to_owned(),
        shards: 16,
        train_rows: 404,
        parameters: 151,
        data_blake3: "ab".repeat(32),
        initial_weights_blake3: "cd".repeat(32),
        started_unix: 1,
        status,
        early_stopping: None,
        onnx_blake3: None,
        imported: false,
        threshold: None,
        weights_blake3: (status == Status::Finished).then(|| "ef".repeat(32)),
        files,
        manifest_blake3: None,
    };
    let json = |manifest: Manifest| serde_json::to_vec_pretty(&manifest).expect("JSON");
    write(
        "manifest",
        [json(manifest(Status::Finished, Some(files))), json(manifest(Status::Running, None))],
    );
}
