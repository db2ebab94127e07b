//! Time per step of whole clusters of real processes, beside the machine's own limit for matrix products.
//!
//! `cargo bench --bench cluster` runs every case; `cargo bench --bench cluster -- boston` those whose name holds the
//! word. Step times are differences of commit times in `metrics.jsonl`; the first tenth is left out. GFLOP/s counts
//! 6 x rows x parameters a step; the peak is a plain 1024 x 1024 x 1024 product on as many threads, in the same run.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ndarray::Array2;
use ndarray::linalg::general_mat_mul;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Case {
    name: &'static str,
    widths: &'static [usize],
    batch: usize,
    steps: usize,
}

const CASES: [Case; 4] = [
    Case { name: "boston 13-10-1", widths: &[13, 10, 1], batch: 10, steps: 4000 },
    Case { name: "mnist 784-512-512-10", widths: &[784, 512, 512, 10], batch: 256, steps: 60 },
    Case { name: "mnist 784-512-512-10", widths: &[784, 512, 512, 10], batch: 1024, steps: 30 },
    Case {
        name: "wide 784-2048x3-10",
        widths: &[784, 2048, 2048, 2048, 10],
        batch: 1024,
        steps: 8,
    },
];

/// Workers and threads of each.
const CLUSTERS: [(usize, usize); 3] = [(1, 1), (1, 2), (2, 1)];

fn main() -> Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "{:<22} {:>5} {:>7} {:>10} {:>10} {:>10} {:>8} {:>7}",
        "network", "batch", "cluster", "median ms", "p95 ms", "rows/s", "GFLOP/s", "of peak"
    );
    for case in CASES {
        if !wanted.iter().all(|word| case.name.contains(word.as_str())) {
            continue;
        }
        for (workers, threads) in CLUSTERS {
            let mut times = step_times(&case, workers, threads)?;
            times.sort_by(f64::total_cmp);
            let (median, p95) = (times[times.len() / 2], times[times.len() * 95 / 100]);
            let parameters: usize = case.widths.windows(2).map(|w| (w[0] + 1) * w[1]).sum();
            let gflops = 6.0 * (case.batch * parameters) as f64 / median / 1e9;
            let peak = matrix_product_gflops(workers * threads);
            println!(
                "{:<22} {:>5} {:>7} {:>10.3} {:>10.3} {:>10.0} {:>8.1} {:>6.0}%",
                case.name,
                case.batch,
                format!("{workers} x {threads}"),
                median * 1e3,
                p95 * 1e3,
                case.batch as f64 / median,
                gflops,
                100.0 * gflops / peak
            );
        }
    }
    Ok(())
}

fn step_times(case: &Case, workers: usize, threads: usize) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let batches = 4.min(case.steps);
    write_job(case, batches, folder.path())?;
    let out = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--quiet", "local"])
        .arg(folder.path().join("job.toml"))
        .arg("--out")
        .arg(&out)
        .args(["--workers", &workers.to_string(), "--threads", &threads.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl"))?;
    let mut seconds = Vec::new();
    for line in metrics.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if line["kind"] == "step" {
            seconds.push(line["seconds"].as_f64().ok_or("a step without seconds")?);
        }
    }
    let warm = &seconds[seconds.len() / 10..];
    Ok(warm.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

/// A job on made-up rows; their values do not matter to the time.
fn write_job(case: &Case, batches: usize, folder: &Path) -> Result<()> {
    let (inputs, outputs) = (case.widths[0], case.widths[case.widths.len() - 1]);
    let mut table = String::new();
    for column in 0..inputs {
        write!(table, "x{column},")?;
    }
    table += "y\n";
    for row in 0..case.batch * batches {
        for column in 0..inputs {
            write!(table, "{},", (row * 31 + column * 17) % 97)?;
        }
        writeln!(table, "{}", row % outputs.max(2))?;
    }
    std::fs::write(folder.join("train.csv"), table)?;
    let (hidden, last) = (&case.widths[1..case.widths.len() - 1], outputs);
    let mut layers = String::new();
    for units in hidden {
        writeln!(layers, "  {{ type = \"dense\", units = {units}, activation = \"relu\" }},")?;
    }
    let (loss, activation) =
        if last == 1 { ("mse", "linear") } else { ("cross_entropy", "softmax") };
    writeln!(layers, "  {{ type = \"dense\", units = {last}, activation = \"{activation}\" }},")?;
    let job = format!(
        "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nscale = \"standard\"\n[model]\nloss = \"{loss}\"\n\
         layers = [\n{layers}]\n[train]\noptimizer = \"adam\"\nepochs = {}\nbatch_size = {}\n",
        case.steps.div_ceil(batches),
        case.batch
    );
    std::fs::write(folder.join("job.toml"), job)?;
    Ok(())
}

/// GFLOP/s of plain products on that many threads at once.
fn matrix_product_gflops(threads: usize) -> f64 {
    const SIZE: usize = 1024;
    const TIMES: usize = 4;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let a = Array2::<f32>::from_elem((SIZE, SIZE), 0.5);
                let mut c = Array2::<f32>::zeros((SIZE, SIZE));
                for _ in 0..TIMES {
                    general_mat_mul(1.0, &a, &a, 0.0, &mut c);
                }
                std::hint::black_box(c);
            });
        }
    });
    let flops = 2.0 * (threads * TIMES) as f64 * (SIZE as f64).powi(3);
    flops / started.elapsed().as_secs_f64() / 1e9
}
