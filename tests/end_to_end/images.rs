//! Images on real clusters: one hash whatever computes, dies or goes on, and whatever file they come from; what is shown of their
//! layers; and jobs that cannot be.

use lockstep::prelude::*;
use ndarray::Array2;
use serde_json::{Value, json};

use crate::bad_job;
use crate::chaos;
use crate::folder::{Folder, clipped_bf16, edited};
use crate::idx::idx;
use crate::resume::killed_after;

/// Five epochs of 6 steps.
const JOB: &str = r#"
name = "images"
seed = 5
[data]
train = "train.csv"
target = "y"
image = [8, 8, 1]
validation = { fraction = 0.2 }
scale = { divide = 16 }
[model]
loss = "cross_entropy"
metrics = ["accuracy"]
layers = [
  { type = "random_translation", height_factor = 0.15, width_factor = 0.25, fill_mode = "constant" },
  { type = "conv2d", filters = 6, kernel_size = [3, 2], activation = "relu", padding = "same" },
  { type = "random_flip", mode = "horizontal" },
  { type = "residual", layers = [{ type = "conv2d", filters = 6, kernel_size = 3, padding = "same", activation = "gelu", kernel_l2 = 0.001 }, { type = "dropout", rate = 0.1 }] },
  { type = "max_pool" },
  { type = "random_crop", height = 3, width = 4 },
  { type = "conv2d", filters = 9, kernel_size = 2, strides = [1, 2], use_bias = false, activation = "tanh" },
  { type = "avg_pool", pool_size = 2, strides = 1 },
  { type = "flatten" },
  { type = "dense", units = 10, activation = "softmax" },
]
[train]
optimizer = "adam"
epochs = 5
batch_size = 20
early_stopping = { patience = 100 }
[checkpoint]
every_steps = 7
keep = 1000
"#;

const HASH: &str = "dfa9662abff435db076e5b1763d08766172cf5330cea7e449967204fcf8d62d2";
const CLIPPED_BF16_HASH: &str = "4dc46b03a78842988d45fb5a5d1f25278381079fcf7e6df14ee5550bc414b0b2";

fn folder_of(job: &str) -> Folder {
    Folder::with_table(job, "digits-conv", 140)
}

#[test]
fn workers_and_threads_do_not_matter() {
    let clipped = clipped_bf16(JOB);
    for (job, wanted) in [(JOB, HASH), (&clipped, CLIPPED_BF16_HASH)] {
        folder_of(job).expect_one_hash(wanted);
    }
}

/// Steps are computed by others, ahead and again; and layers of several chunks, in steps heavy enough for threads.
#[test]
fn chaos_does_not_matter() {
    let job = edited(JOB, "epochs = 5", "epochs = 100");
    let job = edited(&job, "keep = 1000", "keep = 5");
    chaos::changes_nothing("5,kill=120,stop=60,slow=30,coordinator=120", || folder_of(&job));
    let large = job.replace("filters = 6,", "filters = 90,").replace("epochs = 100", "epochs = 2");
    let hashes =
        [(1, 1), (3, 2)].map(|(workers, threads)| folder_of(&large).train(workers, threads));
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn killed_and_resumed() {
    let job = edited(&edited(JOB, "epochs = 5", "epochs = 80"), "keep = 1000", "keep = 5");
    killed_after(&[30, 300], || folder_of(&job));
}

/// Images of an IDX file have the shape that it says; the same rows of a CSV file, that which the job says.
#[test]
fn the_file_or_the_job_says_the_shape() {
    let folder = folder_of(JOB);
    let wanted = folder.train(2, 1);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for row in folder.read("train.csv").lines().skip(1) {
        let mut cells: Vec<u8> = row.split(',').map(|cell| cell.parse().unwrap()).collect();
        labels.extend(cells.pop());
        pixels.extend(cells);
    }
    folder.write("images", &idx(&[140, 8, 8], &pixels));
    folder.write("labels", &idx(&[140], &labels));
    let job = edited(JOB, "\"train.csv\"", "{ images = \"images\", labels = \"labels\" }");
    let job = edited(&edited(&job, "target = \"y\"\n", ""), "image = [8, 8, 1]\n", "");
    folder.write("job.toml", &job);
    assert_eq!(folder.train(2, 1), wanted);
    folder.train_into("idx");
    let predict = ["predict", "idx", "--data", "images", "--output", "predicted.csv"];
    folder.run(&predict).expect(0);
    assert_eq!(folder.read("predicted.csv").lines().count(), 141);
    let evaluate = ["evaluate", "idx", "--data", "images", "--labels", "labels"];
    folder.run(&evaluate).expect(0);
}

#[test]
fn what_a_run_writes_down() {
    let folder = folder_of(JOB);
    folder.train_into("run");
    let resolved = folder.read("run/job.toml");
    for line in [
        "\nimage = [8, 8, 1]\n",
        "{ type = \"random_translation\", height_factor = 0.15, width_factor = 0.25, fill_mode = \"constant\", fill_value = 0.0 },\n",
        "\n  { type = \"conv2d\", filters = 6, kernel_size = [3, 2], strides = 1, padding = \"same\", activation = \"relu\", use_bias = true, \
         kernel_initializer = \"glorot_uniform\", bias_initializer = \"zeros\" },\n",
        "\n  { type = \"max_pool\", pool_size = 2, padding = \"valid\" },\n",
        "\n  \"flatten\",\n",
    ] {
        assert!(resolved.contains(line), "no {line:?} in\n{resolved}");
    }
    folder.run(&["--quiet", "local", "run/job.toml", "--out", "again"]).expect(0);
    assert_eq!(folder.read("again/job.toml"), resolved);
    assert_eq!(folder.hash_of("again"), folder.hash());
    let bytes = std::fs::read(folder.path().join("run/model/weights.safetensors")).unwrap();
    let weights = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shapes: Vec<(&str, Vec<usize>)> =
        weights.iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
    shapes.sort();
    let wanted = [
        ("layers.1.bias", vec![6]),
        ("layers.1.kernel", vec![3, 2, 1, 6]),
        ("layers.3.layers.0.bias", vec![6]),
        ("layers.3.layers.0.kernel", vec![3, 3, 6, 6]),
        ("layers.6.kernel", vec![2, 2, 6, 9]),
        ("layers.9.bias", vec![10]),
        ("layers.9.kernel", vec![9, 10]),
    ];
    assert_eq!(shapes, wanted);
    // The weights are a start for the same network.
    let start = "metrics = [\"accuracy\"]\ninitial_weights = \"run\"\n";
    folder.write("next.toml", &edited(JOB, "metrics = [\"accuracy\"]\n", start));
    folder.run(&["--quiet", "local", "next.toml", "--out", "next"]).expect(0);
}

#[test]
fn check_shows_what_comes_out_of_each_layer() {
    let folder = folder_of(JOB);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(0);
    for wanted in [
        "network: 64 inputs, an image of 8 x 8 x 1, loss cross_entropy",
        "1 conv2d [rows, 8, 8, 6] 42 3 x 2, same, relu",
        "3 residual [rows, 8, 8, 6] 0 plus its input",
        "4 max_pool [rows, 4, 4, 6] 0 2 x 2, valid",
        "5 random_crop [rows, 3, 4, 6] 0 3 x 4",
        "6 conv2d [rows, 2, 2, 9] 216 2 x 2, strides 1 x 2, valid, tanh",
        "7 avg_pool [rows, 1, 1, 9] 0 2 x 2, strides 1 x 1, valid",
        "8 flatten [rows, 9] 0",
    ] {
        let is_it = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") == wanted;
        assert!(ended.stdout.lines().any(is_it), "no {wanted:?} in {ended}");
    }
    let json = folder.run(&["--log-format", "json", "check", "job.toml"]);
    let checked: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(checked["network"]["image"], json!([8, 8, 1]));
    let wanted = json!({ "type": "max_pool", "units": 96, "shape": [4, 4, 6], "parameters": 0 });
    assert_eq!(checked["network"]["layers"][6], wanted);
}

/// A job with this in the place of another text is refused.
#[track_caller]
fn refused(from: &str, to: &str, message: &str) {
    let folder = folder_of(JOB);
    folder.write("job.toml", &edited(JOB, from, to));
    bad_job::refused(&folder, message);
}

#[test]
fn jobs_that_cannot_be() {
    let first = "{ type = \"random_translation\", height_factor = 0.15, width_factor = 0.25, fill_mode = \"constant\" }";
    for (layer, message) in [
        (
            "{ type = \"dense\", units = 4 }",
            "layer 0: found rows of shape [8, 8, 1], wanted one side: put a `flatten` layer before it",
        ),
        (
            "{ type = \"conv2d\", filters = 2, kernel_size = [9, 3] }",
            "layer 0: found images of 8 x 8, wanted at least the window's 9 x 3",
        ),
        (
            "{ type = \"conv2d\", filters = 2, kernel_size = [3, 3, 1] }",
            "`model.layers.0.kernel_size`: found 3 numbers, wanted one whole number, or two: height and width",
        ),
        (
            "{ type = \"conv2d\", filters = 2, kernel_size = 0 }",
            "`model.layers.0.kernel_size`: found 0, wanted a whole number from 1 to 1024",
        ),
        ("{ type = \"conv2d\", filters = 2 }", "`model.layers.0.kernel_size` is missing"),
        (
            "{ type = \"max_pool\", padding = \"full\" }",
            "`model.layers.0.padding`: found \"full\", wanted one of: valid, same",
        ),
        (
            "{ type = \"random_crop\", height = 9, width = 2 }",
            "layer 0: found images of 8 x 8, wanted at least the part's 9 x 2",
        ),
        (
            "{ type = \"random_translation\", height_factor = 1.5, width_factor = 0 }",
            "`model.layers.0.height_factor`: found 1.5, wanted a share from 0 to 1",
        ),
    ] {
        refused(first, layer, message);
    }
    for (image, message) in [
        (
            "image = [8, 8]\n",
            "`data.image`: found 2 numbers, wanted three: height, width and channels, such as",
        ),
        ("image = 64\n", "`data.image`: found 64, wanted three numbers: height, width and"),
        (
            "image = [8, 8, 3]\n",
            "`data.image`: found [8, 8, 3], which are 192 numbers, but rows have 64",
        ),
        (
            "",
            "layer 0: found rows of 64 values, wanted images, of shape [height, width, channels]: put it before what makes rows of \
             one side, and where the table does not say that rows are images, set `data.image`",
        ),
    ] {
        refused("image = [8, 8, 1]\n", image, message);
    }
    let last = "  { type = \"flatten\" },\n  { type = \"dense\", units = 10, activation = \"softmax\" },\n";
    refused(last, "", "layer 7: avg_pool cannot be the last layer: its outputs are images");
}

/// The Rust API, on any number of workers; and where it is not said that rows are images.
#[test]
fn images_in_the_rust_api() {
    let fit = |image: Option<[usize; 3]>, workers: usize| {
        let x = Array2::from_shape_fn((40, 50), |(row, pixel)| ((row * 7 + pixel) % 11) as f32);
        let y = Array2::from_shape_fn((40, 1), |(row, _)| (row % 3) as f32);
        let mut model = Sequential::new();
        if let Some(sides) = image {
            model.take_images(sides);
        }
        model.add(RandomFlip::new(FlipMode::Vertical));
        model.add(Conv2d::new(4, [2, 2]).activation(Activation::Relu).padding(Padding::Same));
        model.add(MaxPool::default());
        model.add(Flatten::new());
        model.add(Dense::new(3).activation(Activation::Softmax));
        model.compile(adam().learning_rate(0.01), Loss::CROSS_ENTROPY, &[Metric::Accuracy]);
        model.fit(x.view(), y.view(), &Fit::new().epochs(2).workers(workers))?;
        let rows = model.predict(x.view())?.nrows();
        Ok::<_, lockstep::Error>((rows, model.weights().unwrap().to_vec()))
    };
    let image = Some([5, 5, 2]);
    let (rows, weights) = fit(image, 1).unwrap();
    assert_eq!((rows, weights.len()), (40, 4 * 8 + 4 + 16 * 3 + 3));
    assert_eq!(fit(image, 3).unwrap().1, weights);
    let error = fit(None, 1).unwrap_err().to_string();
    assert!(error.contains("found rows of 50 values, wanted images"), "{error}");
}
