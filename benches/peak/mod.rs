//! The machine's own limit, measured in the same run: plain products of large matrices, nothing else.

use std::time::Instant;

use ndarray::Array2;

const SIZE: usize = 1024;
const TIMES: usize = 3;
const ROUNDS: usize = 4;

/// GFLOP/s of plain 1024 x 1024 x 1024 products on that many threads at once: the best of a few rounds, so that what
/// else the machine does cannot make it small.
pub(crate) fn matrix_product_gflops(threads: usize) -> f64 {
    (0..ROUNDS).map(|_| round(threads)).fold(0.0, f64::max)
}

fn round(threads: usize) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let a = Array2::<f32>::from_elem((SIZE, SIZE), 0.5);
                let mut c = Array2::<f32>::zeros((SIZE, SIZE));
                for _ in 0..TIMES {
                    lockstep_model::multiply(a.view(), a.view(), c.view_mut());
                }
                std::hint::black_box(c);
            });
        }
    });
    let flops = 2.0 * (threads * TIMES) as f64 * (SIZE as f64).powi(3);
    flops / started.elapsed().as_secs_f64() / 1e9
}
