//! Each kernel of the network beside the plain matrix product of its size, by turns in the same run, on one thread.
//!
//! `cargo bench --bench kernels` measures the layers of the benchmark networks; `-- 2048x2048` those whose name holds the
//! word. Times are the thread's own, the least of several rounds, so that what else the machine does counts little. Only
//! the public passes are called: dW is a one-layer gradient less its forward pass, dX what the layer adds behind another
//! of few inputs. With them go bias, loss and that other layer's gradient, so both look a little dearer than they are.

#![allow(clippy::print_stdout)]

mod coding;
mod images;

use std::hint::black_box;
use std::time::Duration;

use lockstep_model::{
    Batch, Dense, Embedding, Loss, Microbatch, Network, NetworkSpec, TrainingRows, Workspace,
    multiply,
};
use lockstep_proto::ids::Span;
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use ndarray::{Array2, ArrayView2};
use nix::time::{ClockId, clock_gettime};

/// Inputs, outputs and rows.
const LAYERS: [(usize, usize, usize); 9] = [
    (784, 512, 256),
    (512, 512, 256),
    (512, 10, 256),
    (784, 512, 1024),
    (512, 512, 1024),
    (512, 10, 1024),
    (784, 2048, 1024),
    (2048, 2048, 1024),
    (2048, 10, 1024),
];

const NETWORKS: [(&[usize], usize); 4] = [
    (&[13, 10, 1], 10),
    (&[784, 512, 512, 10], 256),
    (&[784, 512, 512, 10], 1024),
    (&[784, 2048, 2048, 2048, 10], 1024),
];

/// Rows and dimension of a table, and rows.
const EMBEDDINGS: [(usize, usize, usize); 3] = [(300, 8, 256), (300, 8, 4096), (100_000, 50, 256)];

/// Units of the layer behind an embedding.
const BEHIND: usize = 64;

/// The last is for one leaf of all rows: what a sum in any order costs.
const ROWS_PER_LEAF: [usize; 3] = [16, 64, usize::MAX];

/// Inputs of the layer before the one whose dX is measured: few, so that it costs little itself.
const FEW: usize = 8;

/// Layers of fewer outputs have a dX too small to be told by difference.
const OUTPUTS_MIN: usize = 64;

const ROUNDS: usize = 9;

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    println!("least of {ROUNDS} rounds, one thread; time as a multiple of the plain product's");
    println!(
        "{:<28} {:>5} {:>7} {:>13} {:>8}",
        "kernel", "rows", "a leaf", "plain GFLOP/s", "time"
    );
    pool.install(|| {
        for (inputs, outputs, rows) in LAYERS {
            if is_wanted(&format!("{inputs}x{outputs}")) {
                layer(inputs, outputs, rows);
            }
        }
        for (widths, rows) in NETWORKS {
            let name = widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
            if is_wanted(&name) {
                whole(&name, widths, rows);
            }
        }
        for (table_rows, dimension, rows) in EMBEDDINGS {
            let name = format!("embedding {table_rows}x{dimension}");
            if is_wanted(&name) {
                embedding(&name, table_rows, dimension, rows);
            }
        }
        images::measure(is_wanted);
        coding::measure(is_wanted);
    });
}

fn layer(inputs: usize, outputs: usize, rows: usize) {
    let shape = format!("{inputs}x{outputs}");
    let flops = 2.0 * (inputs * outputs * rows) as f64;
    let mut subject = Subject::new(&[inputs, outputs], rows);
    let mut few = Subject::new(&[FEW, inputs], rows);
    let mut both = Subject::new(&[FEW, inputs, outputs], rows);
    let mut plain = Plain::new(inputs, outputs, rows);

    let [forward, ours] = least(|| [plain.forward(), subject.forward()]);
    print("forward", &shape, rows, None, flops, [forward, ours]);
    if outputs >= OUTPUTS_MIN {
        let [dx, both, rest, few] =
            least(|| [plain.dx(), both.gradient(rows), subject.gradient(rows), few.forward()]);
        print("dX (by difference)", &shape, rows, None, flops, [dx, both - rest - few]);
    }
    for leaf in ROWS_PER_LEAF {
        let [dw, both, forward] = least(|| [plain.dw(), subject.gradient(leaf), subject.forward()]);
        print("dW (by difference)", &shape, rows, Some(leaf), flops, [dw, both - forward]);
    }
}

/// The whole gradient beside the plain products that it cannot do without.
fn whole(name: &str, widths: &[usize], rows: usize) {
    let mut subject = Subject::new(widths, rows);
    let mut plain: Vec<Plain> =
        widths.windows(2).map(|pair| Plain::new(pair[0], pair[1], rows)).collect();
    let products: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let flops = 2.0 * (rows * (3 * products - widths[0] * widths[1])) as f64;
    let [plain, gradients @ ..] = least(|| {
        let mut seconds = 0.0;
        for (place, layer) in plain.iter_mut().enumerate() {
            seconds += layer.forward() + layer.dw();
            // Nothing asks for the first layer's.
            seconds += if place > 0 { layer.dx() } else { 0.0 };
        }
        let [first, second, all] = ROWS_PER_LEAF.map(|leaf| subject.gradient(leaf));
        [seconds, first, second, all]
    });
    let [.., free] = gradients;
    for (leaf, seconds) in ROWS_PER_LEAF.into_iter().zip(gradients) {
        print("gradient", name, rows, Some(leaf), flops, [plain, seconds]);
        println!("{:<28} {:>48.2}", "  as a multiple of one leaf's", seconds / free);
    }
}

/// What an embedding adds to the gradient of the layer behind it, whose slopes it needs, beside filling its table once.
fn embedding(name: &str, table_rows: usize, dimension: usize, rows: usize) {
    let column = "c".to_string();
    let embeddings = vec![Embedding { column, rows: table_rows, dimension, trainable: None }];
    let mut with = Subject::of(0, embeddings, &[BEHIND], rows);
    with.x.mapv_inplace(|value| ((value + 0.5) * table_rows as f32).floor());
    let mut without = Subject::new(&[dimension, BEHIND], rows);
    let mut table = vec![0.0f32; table_rows * dimension];
    for leaf in ROWS_PER_LEAF {
        let mut zeros = || {
            timed(|| {
                black_box(&mut table).fill(0.0);
            })
        };
        let [zeros, with, without] =
            least(|| [zeros(), with.gradient(leaf), without.gradient(leaf)]);
        let leaf = leaf.min(rows);
        let [all, zeros] = [with - without, zeros].map(|seconds| seconds * 1e6);
        println!("{name:<28} {rows:>5} {leaf:>7} {all:>10.1} us, zeros {zeros:.1} us");
    }
}

/// The least seconds of each, by turns; one round before is not counted.
fn least<const N: usize>(mut round: impl FnMut() -> [f64; N]) -> [f64; N] {
    round();
    let mut least = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        let seconds = round();
        least = std::array::from_fn(|place| least[place].min(seconds[place]));
    }
    least
}

fn print(
    kernel: &str,
    of: &str,
    rows: usize,
    leaf: Option<usize>,
    flops: f64,
    [plain, ours]: [f64; 2],
) {
    let leaf = leaf.map_or_else(|| "-".to_string(), |leaf| leaf.min(rows).to_string());
    let (gflops, ratio) = (flops / plain / 1e9, ours / plain);
    println!("{:<28} {rows:>5} {leaf:>7} {gflops:>13.1} {ratio:>8.2}", format!("{kernel} {of}"));
}

/// The products of one layer, and nothing else.
struct Plain {
    x: Array2<f32>,
    kernel: Array2<f32>,
    slopes: Array2<f32>,
    by_x: Array2<f32>,
    by_kernel: Array2<f32>,
    sums: Array2<f32>,
}

impl Plain {
    fn new(inputs: usize, outputs: usize, rows: usize) -> Plain {
        Plain {
            x: values(rows, inputs),
            kernel: values(inputs, outputs),
            slopes: values(rows, outputs),
            by_x: Array2::zeros((rows, inputs)),
            by_kernel: Array2::zeros((inputs, outputs)),
            sums: Array2::zeros((rows, outputs)),
        }
    }

    fn forward(&mut self) -> f64 {
        timed(|| multiply(self.x.view(), self.kernel.view(), self.sums.view_mut()))
    }

    fn dx(&mut self) -> f64 {
        timed(|| multiply(self.slopes.view(), self.kernel.t(), self.by_x.view_mut()))
    }

    fn dw(&mut self) -> f64 {
        timed(|| multiply(self.x.t(), self.slopes.view(), self.by_kernel.view_mut()))
    }
}

/// A network of linear layers with rows to learn from.
struct Subject {
    network: Network,
    parameters: Vec<f32>,
    x: Array2<f32>,
    y: Array2<f32>,
    workspace: Workspace,
}

impl Subject {
    fn new(widths: &[usize], rows: usize) -> Subject {
        Subject::of(widths[0], Vec::new(), &widths[1..], rows)
    }

    fn of(inputs: usize, embeddings: Vec<Embedding>, units: &[usize], rows: usize) -> Subject {
        let layers = units.iter().map(|&units| Dense::new(units).into()).collect();
        let (loss, metrics, units) = (Loss::Mse, Vec::new(), Vec::new());
        Subject::new_of(
            NetworkSpec { inputs, image: None, embeddings, layers, loss, metrics, units },
            rows,
        )
    }

    fn new_of(spec: NetworkSpec, rows: usize) -> Subject {
        let network = Network::new(spec).expect("layers fit together");
        Subject {
            parameters: network.initial_parameters(1),
            x: values(rows, network.inputs()),
            y: values(rows, network.target_width()),
            workspace: Workspace::new(&network),
            network,
        }
    }

    fn forward(&mut self) -> f64 {
        let Subject { network, parameters, x, workspace, .. } = self;
        timed(|| {
            black_box(network.predict(parameters, x.view(), workspace));
        })
    }

    /// The gradient sum of all rows, in leaves of so many.
    fn gradient(&mut self, leaf: usize) -> f64 {
        let rows = self.x.nrows();
        let leaf = leaf.min(rows);
        let bounds: Vec<usize> = (0..rows).step_by(leaf).chain([rows]).collect();
        let microbatches: Vec<Microbatch> = bounds
            .windows(2)
            .zip(0..)
            .map(|(pair, shard)| Microbatch { shard, rows: pair[0]..pair[1] })
            .collect();
        let shards = microbatches.len() as u32;
        let nodes: Vec<Node> = ShardTree::new(shards).nodes(Span { start: 0, end: shards });
        let Subject { network, parameters, x, y, workspace } = self;
        let (x, y): (ArrayView2<'_, f32>, ArrayView2<'_, f32>) = (x.view(), y.view());
        let precision = Precision::F32;
        timed(|| {
            let mut sink = |gradient: lockstep_model::NodeGradient<'_>| {
                black_box(gradient.values);
            };
            let rows = TrainingRows { seed: 0, step: 0, microbatches: &microbatches };
            let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
            let sums = network.gradient(parameters, &batch, workspace, &mut sink);
            black_box(sums.expect("finite values"));
        })
    }
}

/// Seconds that this thread computed.
fn timed(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of the thread");
        Duration::from(time).as_secs_f64()
    };
    let started = now();
    work();
    now() - started
}

/// Small values without a pattern that the products could profit from.
fn values(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 31 + j * 17) % 97) as f32 / 97.0 - 0.5)
}
