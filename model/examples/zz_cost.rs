#![allow(clippy::print_stdout, missing_docs)]
use lockstep_model::*;
use lockstep_proto::tree::*;
use ndarray::Array2;
use std::time::Instant;
fn main() {
    let t = Instant::now();
    let p = numeric_profile();
    println!("{p} {:?}", t.elapsed());
    let threads: usize = std::env::args().nth(1).map_or(1, |s| s.parse().unwrap());
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    for (widths, rows, leaves, act, loss) in [
        (vec![13, 10, 1], 10, 10, Activation::Relu, Loss::Mse),
        (vec![784, 512, 512, 10], 256, 16, Activation::Relu, Loss::CrossEntropy),
        (vec![784, 512, 512, 10], 256, 1, Activation::Relu, Loss::CrossEntropy),
        (vec![784, 512, 512, 10], 1024, 16, Activation::Relu, Loss::CrossEntropy),
        (vec![784, 512, 512, 10], 1024, 16, Activation::Gelu, Loss::CrossEntropy),
        (vec![784, 512, 512, 10], 1024, 16, Activation::Tanh, Loss::CrossEntropy),
        (vec![784, 512, 512, 10], 1024, 1, Activation::Relu, Loss::CrossEntropy),
        (vec![784, 2048, 2048, 2048, 10], 1024, 16, Activation::Relu, Loss::CrossEntropy),
    ] {
        let n = widths.len();
        let layers = widths[1..]
            .iter()
            .enumerate()
            .map(|(i, &w)| {
                DenseSpec::new(
                    w,
                    if i + 2 == n {
                        if loss == Loss::Mse { Activation::Linear } else { Activation::Softmax }
                    } else {
                        act
                    },
                )
            })
            .collect();
        let net =
            Network::new(NetworkSpec { inputs: widths[0], layers, loss, metrics: vec![] }).unwrap();
        let params = net.initial_parameters(1);
        let x = Array2::from_shape_fn((rows, widths[0]), |(i, j)| {
            ((i * 31 + j * 17) % 29) as f32 / 29.0 - 0.3
        });
        let y = Array2::from_shape_fn((rows, 1), |(i, _)| (i % 10) as f32);
        let per = rows / leaves;
        let mbs: Vec<_> = (0..leaves)
            .map(|s| Microbatch { shard: s as u32, rows: s * per..(s + 1) * per })
            .collect();
        let nodes = [ShardTree::new(leaves as u32).root()];
        let mut ws = Workspace::new(&net);
        let mut best = f64::MAX;
        let mut acc = 0.0f32;
        let reps = if rows == 10 {
            20000
        } else if widths[1] == 2048 {
            4
        } else {
            60
        };
        for _ in 0..reps {
            let t = Instant::now();
            net.gradient(&params, x.view(), y.view(), &mbs, &nodes, &mut ws, &mut |g| {
                acc += g.values[0]
            })
            .unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        let fl = (net.flops_per_row() - 2 * (widths[0] * widths[1]) as u64) as f64 * rows as f64;
        println!(
            "{widths:?} rows {rows} leaves {leaves} {act}: {:.1} us, {:.1} GFLOP/s (6*params {:.1})",
            best * 1e6,
            fl / best / 1e9,
            net.flops_per_row() as f64 * rows as f64 / best / 1e9
        );
    }
}
