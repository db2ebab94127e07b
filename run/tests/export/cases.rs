//! Models of every kind of column, scale, activation and target, with the weights that training starts from, and tables that
//! they predict for.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_data::{OutputFormat, Sink, TableFile, Want};
use lockstep_model::Threshold;
use lockstep_run::export::{ExportFormat, GraphInputs, to_bytes};
use lockstep_run::inference::{Request, predict};
use lockstep_run::job::Job;
use lockstep_run::plan::Plan;
use lockstep_run::run_folder::Model;

/// A model and a table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    job: &'static str,
    /// The training table.
    train: fn() -> String,
    /// The table to predict for.
    table: fn() -> String,
    /// Columns that are dates.
    dates: &'static str,
    /// Predicted columns that are labels.
    labels: &'static str,
    /// Columns a missing cell of which has no prediction.
    refused: &'static str,
    threshold: Option<f64>,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "boston",
        job: "[data]\ntrain = \"train.csv\"\ntarget = \"medv\"\nscale = \"standard\"\n[model]\nloss = \"mse\"\n\
              layers = [{ type = \"dense\", units = 10, activation = \"relu\" }, { type = \"dense\", units = 1 }]\n",
        train: || root("examples/boston/train.csv"),
        table: || root("examples/boston/test.csv"),
        dates: "",
        labels: "",
        refused: "rm chas",
        threshold: None,
    },
    Case {
        name: "digits",
        job: "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nscale = { divide = 16 }\n[model]\nloss = \"cross_entropy\"\n\
              layers = [{ type = \"dense\", units = 48, activation = \"gelu\" }, { type = \"dropout\", rate = 0.2 }, \
              { type = \"dense\", units = 24, activation = \"relu\" }, { type = \"dense\", units = 10, activation = \"softmax\" }]\n",
        train: || root("tests/parity/digits-gelu-adam-clip/train.csv"),
        table: || root("tests/parity/digits-gelu-adam-clip/train.csv"),
        dates: "",
        labels: "y",
        refused: "x3",
        threshold: None,
    },
    Case {
        name: "diamonds",
        job: "[data]\ntrain = \"train.csv\"\ntarget = \"price\"\nscale = \"minmax\"\n[data.columns]\n\
              clarity = { encoder = \"embedding\", dimension = 3 }\nprice = { scale = \"log1p\" }\n[model]\nloss = \"mae\"\n\
              layers = [{ type = \"dense\", units = 16, activation = \"silu\" }, { type = \"dense\", units = 1 }]\n",
        train: || root("tests/end_to_end/diamonds.csv"),
        table: || {
            root("tests/end_to_end/diamonds.csv")
                .replace(",VS1,", ",UNSEEN,")
                .replacen(",E,", ",Q,", 9)
        },
        dates: "",
        labels: "",
        refused: "carat",
        threshold: None,
    },
    Case {
        name: "holes",
        job: HOLES,
        train: || numbers(0..160),
        table: || numbers(1000..1200),
        dates: "",
        labels: "",
        refused: "plain",
        threshold: None,
    },
    Case {
        name: "kinds",
        job: KINDS,
        train: || kinds(0..150),
        table: || kinds(1000..1200),
        dates: "day moment",
        labels: "sold",
        refused: "sure day",
        threshold: Some(0.25),
    },
    Case {
        name: "images",
        job: "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nimage = [8, 8, 1]\nscale = { divide = 16 }\n[model]\nloss = \"cross_entropy\"\n\
              layers = [{ type = \"random_translation\", height_factor = 0.2, width_factor = 0.2 }, { type = \"random_crop\", height = 7, width = 5 }, \
              { type = \"conv2d\", filters = 6, kernel_size = [3, 2], strides = [1, 2], padding = \"same\", activation = \"gelu\" }, \
              { type = \"residual\", layers = [{ type = \"conv2d\", filters = 6, kernel_size = 3, padding = \"same\", use_bias = false }] }, \
              { type = \"max_pool\", pool_size = [3, 2], strides = 2, padding = \"same\" }, { type = \"avg_pool\", strides = 1, padding = \"same\" }, \
              { type = \"conv2d\", filters = 9, kernel_size = 2, activation = \"relu\" }, { type = \"global_max_pool\" }, { type = \"flatten\" }, \
              { type = \"dense\", units = 10, activation = \"softmax\" }]\n",
        train: || root("tests/parity/digits-conv/train.csv"),
        table: || root("tests/parity/digits-conv/train.csv"),
        dates: "",
        labels: "y",
        refused: "x3",
        threshold: None,
    },
    Case {
        name: "pooled images",
        job: "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nimage = [4, 4, 4]\nscale = { divide = 16 }\n[model]\nloss = \"cross_entropy\"\n\
              layers = [{ type = \"avg_pool\" }, { type = \"batch_norm\", scale = false }, { type = \"conv2d\", filters = 9, kernel_size = 1, activation = \"tanh\" }, \
              { type = \"residual\", layers = [{ type = \"conv2d\", filters = 9, kernel_size = [1, 2], padding = \"same\" }] }, { type = \"global_avg_pool\" }, \
              { type = \"batch_norm\", momentum = 0.5 }, { type = \"dense\", units = 10, activation = \"softmax\" }]\n[train]\nshards = 2\n",
        train: || root("tests/parity/digits-conv/train.csv"),
        table: || root("tests/parity/digits-conv/train.csv"),
        dates: "",
        labels: "y",
        refused: "",
        threshold: None,
    },
    Case {
        name: "activations",
        job: "[data]\ntrain = \"train.csv\"\ntarget = [\"up\", \"down\"]\nmissing = \"mean\"\nscale = \"robust\"\n[model]\n\
              loss = \"binary_cross_entropy\"\nlayers = [{ type = \"dense\", units = 7, activation = \"elu\" }, \
              { type = \"dense\", units = 7, activation = { type = \"leaky_relu\", slope = 0.3 } }, \
              { type = \"dense\", units = 7, activation = \"tanh\" }, { type = \"dense\", units = 7, activation = \"softplus\" }, \
              { type = \"dense\", units = 7, activation = \"sigmoid\" }, { type = \"dense\", units = 7, activation = \"softmax\" }, \
              { type = \"residual\", layers = [{ type = \"layer_norm\" }, { type = \"residual\", layers = [{ type = \"dense\", units = 7 }, \
              { type = \"layer_norm\", scale = false }] }, { type = \"layer_norm\", center = false, epsilon = 1e-5 }] }, \
              { type = \"dense\", units = 2, activation = \"sigmoid\", use_bias = false }]\n",
        train: || labelled(0..60),
        table: || labelled(500..600),
        dates: "",
        labels: "up down",
        refused: "",
        threshold: None,
    },
];

/// Every scale and every rule for missing cells, and scaled targets.
const HOLES: &str = r#"
[data]
train = "train.csv"
target = ["price", "days"]
missing = "mean"
missing_values = ["-999"]
[data.columns]
robust = { scale = "robust", missing = "median", indicator = true }
logs = { scale = "log1p" }
quantiles = { scale = "quantile", missing = "median" }
ties = { scale = "quantile" }
divided = { scale = { divide = 50 }, missing = { constant = 0 } }
plain = { scale = "none", missing = "error" }
clock = { scale = "standard" }
price = { scale = "standard", missing = "error" }
days = { scale = "minmax", missing = "error" }
[model]
loss = "huber"
layers = [{ type = "dense", units = 8, activation = "relu" }, { type = "dense", units = 2 }]
"#;

/// Truth values, categories of texts and of numbers, dates, and one target with two classes.
const KINDS: &str = r#"
[data]
train = "train.csv"
target = "sold"
scale = "standard"
missing = "mean"
[data.columns]
code = { kind = "category", encoder = "embedding", dimension = 2 }
sure = { missing = "error" }
day = { missing = "error" }
[model]
loss = "binary_cross_entropy"
layers = [{ type = "dense", units = 8, activation = "tanh" }, { type = "dense", units = 1, activation = "sigmoid" }]
"#;

const TRAINING: &str = "[train]\noptimizer = \"adam\"\nepochs = 1\n";

fn root(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name);
    fs::read_to_string(path).unwrap()
}

/// A number that looks random.
fn noise(row: u32, column: u32) -> f64 {
    let mixed = (row * 2_654_435 + column * 40_503 + 12_345).wrapping_mul(2_246_822_519);
    f64::from(mixed ^ mixed >> 15) / f64::from(u32::MAX)
}

fn numbers(rows: std::ops::Range<u32>) -> String {
    let mut text = "robust,logs,quantiles,ties,divided,plain,clock,price,days\n".to_string();
    for row in rows {
        let n = |column| noise(row, column);
        let gap = |every: u32, value: String| match row % every {
            3 => String::new(),
            5 => "-999".to_string(),
            _ => value,
        };
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{}",
            gap(17, format!("{:.4}", 40.0 * n(0) - 10.0)),
            gap(13, format!("{:.6}", (20.0 * n(1)).exp() - 1.0)),
            gap(11, format!("{:.5}", 1.0 / (n(2) + 1e-3) - 2.0)),
            gap(19, format!("{}", (n(3) * 4.0).floor())),
            gap(23, format!("{}", (n(4) * 300.0).floor())),
            n(5) - 0.5,
            gap(29, format!("{}", 1.7e9 + (n(6) * 5000.0).floor())),
            100_000.0 + 50_000.0 * n(7),
            n(8),
        );
    }
    text
}

fn kinds(rows: std::ops::Range<u32>) -> String {
    let mut text = "member,color,code,mixed,sure,day,moment,sold\n".to_string();
    let later = rows.start > 0;
    for row in rows {
        let pick = |column, names: &[&str]| {
            names[(noise(row, column) * names.len() as f64) as usize].to_string()
        };
        let gap = |every: u32, value: String| {
            if row % every == 3 { String::new() } else { value }
        };
        let colors: &[&str] =
            if later { &["red", "blue", "Grün", "black"] } else { &["red", "blue", "Grün"] };
        let codes: &[&str] =
            if later { &["7", "-3", "12", "100", "99"] } else { &["7", "-3", "12", "100"] };
        let part = |column, from: u32, below: u32| {
            from + (noise(row, column) * f64::from(below - from)) as u32
        };
        let year = if later { part(10, 1890, 2150) } else { part(10, 1990, 2030) };
        let day = format!("{year:04}-{:02}-{:02}", part(11, 1, 13), part(12, 1, 29));
        let moment = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            part(13, 2019, 2024),
            part(14, 1, 13),
            part(15, 1, 29),
            part(16, 0, 24),
            part(17, 0, 60),
            part(18, 0, 60),
        );
        let _ = writeln!(
            text,
            "{},{},{},{},{},{day},{},{}",
            gap(9, pick(1, &["True", "False"])),
            gap(8, pick(2, colors)),
            gap(7, pick(3, codes)),
            pick(4, &["a", "b", "10"]),
            pick(5, &["yes", "no"]),
            gap(12, moment),
            pick(6, &["yes", "no", "no"]),
        );
    }
    text
}

fn labelled(rows: std::ops::Range<u32>) -> String {
    let mut text = "a,b,up,down\n".to_string();
    for row in rows {
        let n = |column| noise(row, column);
        let (a, b) = (6.0 * n(20) - 3.0, 200.0 * n(21));
        let (up, down) = (if n(22) < 0.5 { "x" } else { "y" }, u32::from(n(23) < 0.4));
        let _ = writeln!(text, "{a},{b},{up},{down}");
    }
    text
}

impl Case {
    /// The model as it is before training.
    pub(crate) fn model(&self, folder: &Path) -> (Model, PathBuf) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("train.csv"), (self.train)()).unwrap();
        let table = folder.join("table.csv");
        fs::write(&table, (self.table)()).unwrap();
        // Some say more of the training themselves.
        let has_begun = self.job.contains("[train]\n");
        let training = if has_begun { TRAINING.trim_start_matches("[train]\n") } else { TRAINING };
        let text = format!("{}{training}", self.job);
        let job = Job::parse(&folder.join("job.toml"), text, &[]).unwrap();
        let shards = job.train.shards;
        let Plan { network, schema, weights, .. } = Plan::new(job).unwrap();
        let threshold =
            self.threshold.map_or(Threshold::HALF, |at| Threshold::try_from(at).unwrap());
        let network = (*network).clone();
        (Model { network, schema, shards, weights, step: None, threshold }, table)
    }

    /// Writes all that is compared into a folder.
    pub(crate) fn write(&self, folder: &Path) {
        let (model, table) = self.model(folder);
        let table = TableFile::at(table);
        let output = folder.join("predictions.csv");
        let request =
            Request { data: &table, keep: &[], format: OutputFormat::CSV, output: &output };
        let to = Sink::File(fs::File::create(&output).unwrap());
        predict(&model, &request, to).unwrap();
        for (name, inputs) in
            [("columns.onnx", GraphInputs::Columns), ("encoded.onnx", GraphInputs::Encoded)]
        {
            fs::write(
                folder.join(name),
                to_bytes(&model.exported(), ExportFormat::Onnx, inputs).unwrap(),
            )
            .unwrap();
        }
        let (rows, _) = model.schema.read(&table, Want::Features).unwrap();
        let numbers = model.network.spec().inputs;
        let rows: Vec<&[f32]> = rows.values.chunks(rows.width()).collect();
        let bytes = rows.iter().flat_map(|row| &row[..numbers]).flat_map(|one| one.to_le_bytes());
        fs::write(folder.join("numbers.bin"), bytes.collect::<Vec<u8>>()).unwrap();
        let places = (numbers..model.network.inputs())
            .flat_map(|at| rows.iter().map(move |row| row[at] as i64));
        let bytes = places.flat_map(i64::to_le_bytes);
        fs::write(folder.join("places.bin"), bytes.collect::<Vec<u8>>()).unwrap();
        for (name, text) in
            [("dates", self.dates), ("labels", self.labels), ("refused", self.refused)]
        {
            fs::write(folder.join(name).with_extension("txt"), text).unwrap();
        }
    }
}
