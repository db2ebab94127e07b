//! What coding makes of real gradients and weights: those of a network that has learned for a while, chunk by chunk as on
//! the wire. Its speed is in bytes of values, not of what they are coded to.

use std::hint::black_box;
use std::path::PathBuf;

use lockstep_data::{Detail, Scale, TableFile, TableSpec, TargetKind};
use lockstep_model::{
    Activation, Batch, Dense, Loss, Microbatch, Network, NetworkSpec, TrainingRows, Workspace,
};
use lockstep_proto::coding;
use lockstep_proto::ids::Span;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::values::Precision;
use ndarray::ArrayView2;

use crate::{least, timed};

const HIDDEN: usize = 512;
const BATCH: usize = 256;
const STEPS: usize = 300;
const RATE: f32 = 0.001;

/// Name, table, target, classes if it has such.
const TABLES: [(&str, &str, &str, Option<usize>); 2] = [
    ("digits", "examples/digits/digits.csv", "target", Some(10)),
    ("boston", "examples/boston/train.csv", "medv", None),
];

/// There once `examples/mnist/fetch.sh` was run.
const MNIST: [&str; 2] =
    ["examples/mnist/data/train-images-idx3-ubyte", "examples/mnist/data/train-labels-idx1-ubyte"];

pub(crate) fn measure(is_wanted: impl Fn(&str) -> bool) {
    println!(
        "\nvalues after {STEPS} steps of Adam, batch {BATCH}: bytes coded of bytes, GB/s coded and decoded"
    );
    let standard = Scale::named("standard").expect("a scale");
    for (name, path, target, classes) in TABLES {
        if is_wanted(&format!("coding {name}")) {
            let spec = TableSpec::new(TableFile::at(path.into()), vec![target.to_string()]);
            measure_table(name, TableSpec { scale: standard, ..spec }, classes);
        }
    }
    let [images, labels] = MNIST.map(PathBuf::from);
    if is_wanted("coding mnist") && images.exists() {
        let table = TableFile::pair(["images", "labels"], images, labels).expect("such pairs");
        let target = table.default_target().expect("labels").to_string();
        let scale = Scale::with_parameter("divide", 255.0).expect("a scale");
        measure_table(
            "mnist",
            TableSpec { scale, ..TableSpec::new(table, vec![target]) },
            Some(10),
        );
    }
}

fn measure_table(name: &str, spec: TableSpec, classes: Option<usize>) {
    let kind = classes.map_or(TargetKind::Numbers, |outputs| TargetKind::Classes { outputs });
    let table = lockstep_data::load(&spec, kind, 1, Detail::Usual).expect("a good table").train;
    let (loss, last) = match classes {
        Some(count) => (Loss::CROSS_ENTROPY, Dense::new(count).activation(Activation::Softmax)),
        None => (Loss::Mse, Dense::new(1)),
    };
    let hidden = || Dense::new(HIDDEN).activation(Activation::Relu);
    let network = NetworkSpec {
        inputs: table.features_of(0).len(),
        image: None,
        embeddings: Vec::new(),
        layers: vec![hidden().into(), hidden().into(), last.into()],
        loss,
        metrics: Vec::new(),
        units: Vec::new(),
    };
    let network = Network::new(network).expect("layers fit together");
    let Learned { gradient, before, after } = learn(&network, &table);
    for precision in [Precision::F32, Precision::Bf16] {
        let frames = |values: &[f32]| -> Vec<Vec<u8>> {
            let chunks = network.layout().chunks().iter();
            chunks.map(|chunk| precision.encode(&values[chunk.range.clone()]).to_vec()).collect()
        };
        let none = vec![None; network.layout().chunks().len()];
        let before: Vec<_> = frames(&before).into_iter().map(Some).collect();
        print(
            &format!("{name} {} gradients", precision.name()),
            precision,
            &frames(&gradient),
            &none,
        );
        print(&format!("{name} {} weights", precision.name()), precision, &frames(&after), &before);
    }
}

struct Learned {
    gradient: Vec<f32>,
    before: Vec<f32>,
    after: Vec<f32>,
}

/// Plain Adam, as Keras': only to have values like those of a run.
fn learn(network: &Network, table: &lockstep_data::Rows) -> Learned {
    let mut after = network.initial_parameters(1);
    let mut moments = [(); 2].map(|()| vec![0.0f32; after.len()]);
    let (mut gradient, mut before) = (vec![0.0f32; after.len()], Vec::new());
    let mut workspace = Workspace::new(network);
    let microbatches = [Microbatch { shard: 0, rows: 0..BATCH }];
    let nodes = ShardTree::new(1).nodes(Span { start: 0, end: 1 });
    for step in 0..STEPS {
        let rows = (0..BATCH).map(|row| (step * BATCH + row * 7) % table.len());
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for row in rows {
            x.extend_from_slice(table.features_of(row));
            y.extend_from_slice(table.targets_of(row));
        }
        let x = ArrayView2::from_shape((BATCH, network.inputs()), &x).expect("whole rows");
        let y = ArrayView2::from_shape((BATCH, network.target_width()), &y).expect("whole rows");
        let rows = TrainingRows { seed: 0, step: step as u64, microbatches: &microbatches };
        let precision = Precision::F32;
        let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
        let mut sink = |found: lockstep_model::NodeGradient<'_>| {
            let place = network.layout().layers()[found.layer].clone();
            gradient[place].copy_from_slice(found.values);
        };
        network.gradient(&after, &batch, &mut workspace, &mut sink).expect("finite values");
        before.clone_from(&after);
        let corrections = [0.9f32, 0.999].map(|decay| 1.0 - decay.powi(step as i32 + 1));
        for (place, sum) in gradient.iter().enumerate() {
            let mean = sum / BATCH as f32;
            let [first, second] = &mut moments;
            first[place] += 0.1 * (mean - first[place]);
            second[place] += 0.001 * (mean * mean - second[place]);
            let [first, second] = [first[place] / corrections[0], second[place] / corrections[1]];
            after[place] -= RATE * first / (second.sqrt() + 1e-7);
        }
    }
    Learned { gradient, before, after }
}

fn print(name: &str, precision: Precision, frames: &[Vec<u8>], bases: &[Option<Vec<u8>>]) {
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let code = || {
        let each = frames.iter().zip(bases);
        each.map(|(frame, base)| coding::code(precision, frame, base.as_deref())).collect()
    };
    let coded: Vec<Option<_>> = code();
    let mut out: Vec<Vec<u8>> = frames.to_vec();
    let [coding, decoding] = least(|| {
        let coding = timed(|| _ = black_box(code()));
        let decoding = timed(|| {
            for ((coded, base), out) in coded.iter().zip(bases).zip(&mut out) {
                let Some(coded) = coded else { continue };
                coding::decode(precision, coded, base.as_deref(), out).expect("coded here");
            }
        });
        [coding, decoding]
    });
    assert!(out == frames, "every bit comes back");
    let sent: usize = coded
        .iter()
        .zip(frames)
        .map(|(coded, frame)| coded.as_ref().map_or(frame.len(), |c| c.len()))
        .sum();
    let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
    let ratio = sent as f64 / bytes as f64;
    println!("{name:<28} {bytes:>12} {ratio:>7.2} {:>6.2} {:>6.2}", speed(coding), speed(decoding));
}
