//! The promise: one weights hash for any number of workers and threads. The hashes are frozen, so that a change of the
//! numbers from one version to the next is seen as well.

use crate::folder::Folder;

/// Workers and threads of each.
type Grid = &'static [(usize, usize)];

const SOME: Grid = &[(1, 1), (2, 4), (3, 2), (5, 1), (8, 2), (16, 4)];

/// Workers beyond the shards are spares.
const FEW_SHARDS: Grid = &[(1, 2), (2, 1), (3, 4), (5, 2), (8, 1)];

const LARGE: Grid = &[(1, 1), (1, 4), (2, 2), (3, 4), (5, 1), (16, 2)];

struct Case {
    /// A parity case, for its table, and how many of its rows.
    table: (&'static str, usize),
    data: &'static str,
    model: &'static str,
    train: &'static str,
    grid: Grid,
    hash: &'static str,
}

fn check(case: &Case) {
    let job = format!(
        "name = \"bits\"\nseed = 3\n[data]\ntrain = \"train.csv\"\ntarget = \"y\"\n{}\n\
         [model]\n{}\n[train]\n{}\n",
        case.data, case.model, case.train
    );
    let folder = Folder::with_table(&job, case.table.0, case.table.1);
    for &(workers, threads) in case.grid {
        let hash = folder.train(workers, threads);
        assert_eq!(hash, case.hash, "{workers} workers of {threads} threads\n{job}");
    }
}

const BOSTON: (&str, usize) = ("boston-relu-adam-mse", 506);
const DIGITS: (&str, usize) = ("digits-gelu-adam-clip", 320);
const CANCER: (&str, usize) = ("cancer-sigmoid-nesterov-binary", 300);

const REGRESSION: &str = r#"
loss = "mse"
metrics = ["mae"]
layers = [{ type = "dense", units = 10, activation = "relu" }, { type = "dense", units = 1 }]"#;

const CLASSES: &str = r#"
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [
  { type = "dense", units = 24, activation = "gelu" },
  { type = "dense", units = 12, activation = "tanh" },
  { type = "dense", units = 10, activation = "softmax" },
]"#;

const LARGE_CLASSES: &str = r#"
loss = "cross_entropy"
layers = [
  { type = "dense", units = 512, activation = "relu" },
  { type = "dense", units = 512, activation = "silu" },
  { type = "dense", units = 10, activation = "softmax" },
]"#;

/// The batch is smaller than the shards, and the epoch's last one smaller still; the whole grid.
#[test]
fn shuffled_regression() {
    check(&Case {
        table: BOSTON,
        data: "test = { fraction = 0.2 }\nscale = \"standard\"",
        model: REGRESSION,
        train: "optimizer = \"adam\"\nepochs = 1\nbatch_size = 10",
        grid: &[
            (1, 1),
            (1, 2),
            (1, 4),
            (2, 1),
            (2, 2),
            (2, 4),
            (3, 1),
            (3, 2),
            (3, 4),
            (5, 1),
            (5, 2),
            (5, 4),
            (8, 1),
            (8, 2),
            (8, 4),
            (16, 1),
            (16, 2),
            (16, 4),
        ],
        hash: "c0e90b0161ddd9aba9d4b68798f09081a24e741146b7d371dcbcf79942d7c702",
    });
}

/// Five shards: not a power of two.
#[test]
fn regression_in_file_order() {
    check(&Case {
        table: BOSTON,
        data: "validation = { fraction = 0.1 }\nscale = \"minmax\"",
        model: REGRESSION,
        train: "optimizer = { type = \"sgd\", learning_rate = 0.001, momentum = 0.9 }\n\
                epochs = 2\nbatch_size = 37\nshuffle = false\nshards = 5",
        grid: FEW_SHARDS,
        hash: "c2bbaf51712156c94f096637c6d14fbc198dfc65a76cf65ede2b19af3039a43c",
    });
}

#[test]
fn shuffled_classes_with_a_clipped_gradient() {
    check(&Case {
        table: DIGITS,
        data: "test = { fraction = 0.1 }",
        model: CLASSES,
        train: "optimizer = \"adamw\"\nepochs = 2\nbatch_size = 40\ngradient_clip_norm = 0.5",
        grid: SOME,
        hash: "85e489c83790399cba02a00532777bedf916103519578d5ea3a91dfebb598553",
    });
}

/// Rows drawn without regard to their classes, as they always were.
#[test]
fn classes_that_are_not_stratified() {
    check(&Case {
        table: DIGITS,
        data: "test = { fraction = 0.1 }\nstratify = false",
        model: CLASSES,
        train: "optimizer = \"adamw\"\nepochs = 2\nbatch_size = 40\ngradient_clip_norm = 0.5",
        grid: &[(2, 2)],
        hash: "fabdbd35037e3df3c83a8bf642eebf53388427a5e8a77dba322517f7af7e2114",
    });
}

#[test]
fn classes_in_file_order() {
    check(&Case {
        table: DIGITS,
        data: "validation = { fraction = 0.2 }\ntest = { fraction = 0.1 }",
        model: CLASSES,
        train: "optimizer = \"adagrad\"\nepochs = 3\nbatch_size = 33\nshuffle = false",
        grid: SOME,
        hash: "848b88fffacc10cf53c595cfa7b4dad8db0c248fd9dd5c6389fd531bb4cd3019",
    });
}

#[test]
fn two_classes_in_tiny_batches() {
    check(&Case {
        table: CANCER,
        data: "scale = \"standard\"",
        model: "loss = \"binary_cross_entropy\"\nmetrics = [\"accuracy\"]\nlayers = [\
                { type = \"dense\", units = 16, activation = \"elu\" },\
                { type = \"dense\", units = 1, activation = \"sigmoid\" }]",
        train: "optimizer = \"rmsprop\"\nepochs = 1\nbatch_size = 7",
        grid: SOME,
        hash: "4d9d77d3e8fa091edcf4e64f4b543f7a033da5210fcd8b496fc1f9536cbc9967",
    });
}

/// One step an epoch, and more shards than a batch of any worker has rows.
#[test]
fn whole_table_in_one_batch() {
    check(&Case {
        table: BOSTON,
        data: "scale = \"standard\"",
        model: "loss = \"huber\"\nlayers = [\
                { type = \"dense\", units = 8, activation = \"leaky_relu\", use_bias = false },\
                { type = \"dense\", units = 8, activation = \"softplus\" },\
                { type = \"dense\", units = 1 }]",
        train: "optimizer = \"adam\"\nepochs = 3\nbatch_size = 506\nshards = 200",
        grid: SOME,
        hash: "678565421a7ee9abccfc0885b6e0a6285ab0e1ddd2f21b8e4bbb12dc31b8336b",
    });
}

// Four rows, what each of 16 workers gets of a batch, are work for the whole pool.
const _: () =
    assert!(4 * 6 * (65 * 512 + 513 * 512 + 513 * 10) > lockstep_model::PARALLEL_FLOPS_MIN);

/// Steps heavy enough for the thread pool, weights of several chunks.
#[test]
fn large_network() {
    check(&Case {
        table: ("digits-gelu-adam-clip", 128),
        data: "",
        model: LARGE_CLASSES,
        train: "optimizer = \"adam\"\nepochs = 1\nbatch_size = 64",
        grid: LARGE,
        hash: "4c54e8a3cb89fb933b983cfe51db66de4a7671d0774fd91abc7e85580f3e94d2",
    });
}

/// The norm is taken over all chunks before any is updated.
#[test]
fn large_network_with_a_clipped_gradient() {
    check(&Case {
        table: ("digits-gelu-adam-clip", 128),
        data: "",
        model: LARGE_CLASSES,
        train: "optimizer = \"sgd\"\nepochs = 1\nbatch_size = 64\ngradient_clip_norm = 0.1",
        grid: LARGE,
        hash: "dc444dc258064b015c1347788ac97d0ca110c49aff9189541ea57f003c46ed6c",
    });
}

/// Messages of many mid-sized slices, each of them work for the coordinator's threads, of which there may be few.
#[test]
fn coordinator_threads() {
    let hidden = "  { type = \"dense\", units = 130, activation = \"relu\" },\n".repeat(7);
    let job = format!(
        "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nscale = \"minmax\"\n\
         [model]\nloss = \"cross_entropy\"\nlayers = [\n{hidden}\
         {{ type = \"dense\", units = 10, activation = \"softmax\" }} ]\n\
         [train]\noptimizer = \"adam\"\nepochs = 3\nbatch_size = 32\n"
    );
    for threads in ["1", "4"] {
        let folder = Folder::with_table(&job, DIGITS.0, 128);
        let coordinator = folder.coordinator(&["--threads", threads, "--workers-start", "3"]);
        let address = coordinator.address();
        let workers: Vec<_> = (0..3).map(|_| folder.worker(&address, &[])).collect();
        coordinator.end().expect(0);
        workers.into_iter().for_each(|worker| worker.end().expect(0));
        assert_eq!(folder.hash(), DEEP_HASH, "{threads} threads");
    }
}

const DEEP_HASH: &str = "8def558e70b1f765cfe27ddc10f1b931e85ce64cd6bcadca58e52780b0cfa8e9";
