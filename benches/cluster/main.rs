//! Whole clusters of real processes on this machine, beside the machine's own limit and, on demand, beside PyTorch.
//!
//! `cargo bench --bench cluster` runs every case, `cargo bench --bench cluster -- boston` those whose name holds the
//! word; `--help` lists the rest. docs/performance.md says how each figure is made. Judges nothing: it prints.

#![allow(clippy::print_stdout)]

mod cases;
mod ours;
#[path = "../peak/mod.rs"]
mod peak;
mod peer;
mod processes;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use cases::{CASES, Case};
use ours::Ours;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Step time, throughput, traffic and memory of local clusters.
#[derive(Parser)]
struct Options {
    /// Only networks whose name holds one of these words.
    words: Vec<String>,
    /// Run this as well, by turns with Lockstep, and print the ratio.
    #[arg(long, value_parser = ["pytorch"])]
    peer: Option<String>,
    /// Turns of each case [default: 3 with a peer, else 1].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    pairs: Option<u16>,
    /// Clusters to run, as WORKERSxTHREADS.
    #[arg(long, value_delimiter = ',', default_value = "1x1,1x2,2x1", value_parser = cluster)]
    clusters: Vec<(usize, usize)>,
    /// Only this batch size.
    #[arg(long)]
    batch: Option<usize>,
    /// The Python that has torch.
    #[arg(long, default_value = "python3", env = "PYTHON")]
    python: PathBuf,
    /// Write everything here as JSON as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn cluster(text: &str) -> std::result::Result<(usize, usize), String> {
    let number = |text: &str| text.parse().ok().filter(|number| (1..=256).contains(number));
    let pair = text
        .split_once('x')
        .and_then(|(workers, threads)| Some((number(workers)?, number(threads)?)));
    pair.ok_or_else(|| "wanted WORKERSxTHREADS, each from 1 to 256".to_string())
}

fn main() {
    let options = Options::parse();
    if let Err(error) = run(&options) {
        println!("error: {error}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Result<()> {
    if options.peer.is_some() {
        peer::check(&options.python)?;
    }
    let fits = |case: &&Case| {
        let named = options.words.iter().any(|word| case.name.contains(word.as_str()));
        (named || options.words.is_empty()) && options.batch.is_none_or(|batch| batch == case.batch)
    };
    let cases: Vec<&Case> = CASES.iter().filter(fits).collect();
    if cases.is_empty() {
        return Err("no network has such a name and batch".into());
    }
    let mut results = Vec::new();
    println!("{HEADER}");
    for case in cases {
        for &(workers, threads) in &options.clusters {
            results.push(measure(options, case, workers, threads)?);
            // After each, so that a run that is stopped has its results.
            if let Some(path) = &options.json {
                write_json(path, &results)?;
            }
        }
    }
    Ok(())
}

fn write_json(path: &Path, results: &[Value]) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = serde_json::to_string_pretty(&json!({ "cores": cores, "results": results }))?;
    let written = std::fs::write(path, text + "\n");
    Ok(written.map_err(|error| format!("{}: {error}", path.display()))?)
}

const HEADER: &str = "network               batch cluster  median ms    p95 ms     rows/s  GFLOP/s  of peak \
                      kB/step (layout) coordinator (limit)  worker (limit) MiB";

/// One case on one cluster, as often as wanted, each time beside the peer.
fn measure(options: &Options, case: &Case, workers: usize, threads: usize) -> Result<Value> {
    let pairs = options.pairs.unwrap_or(if options.peer.is_some() { 3 } else { 1 });
    let traffic = ours::wire_bytes_per_step(case, workers, threads)?;
    let mut measured = Vec::new();
    let mut ratios = Vec::new();
    for _ in 0..pairs {
        let peak = peak::matrix_product_gflops(workers * threads);
        let ours = ours::run(case, case.steps, workers, threads)?;
        print_ours(case, (workers, threads), &ours, peak, traffic);
        let mut entry = json!({
            "median_ms": 1e3 * ours.median(),
            "p95_ms": 1e3 * ours.p95(),
            "mean_ms": 1e3 * ours.typical_mean(),
            "rows_per_second": case.batch as f64 / ours.median(),
            "gflops": gflops(case, ours.median()),
            "peak_gflops": peak,
            "coordinator_bytes_max": ours.memory.coordinator,
            "worker_bytes_max": ours.memory.worker,
        });
        if options.peer.is_some() {
            let theirs = peer::step_seconds(&options.python, case, workers, threads)?;
            let ratio = theirs / ours.typical_mean();
            println!(
                "{:<21} {:>5} {:>7} {:>10.3}    PyTorch; Lockstep's mean {:.3}: {ratio:.2} times as fast",
                "",
                "",
                "",
                1e3 * theirs,
                1e3 * ours.typical_mean()
            );
            entry["pytorch_ms"] = json!(1e3 * theirs);
            entry["ratio"] = json!(ratio);
            ratios.push(ratio);
        }
        measured.push(entry);
    }
    let mut result = json!({
        "network": case.name,
        "parameters": case.parameters(),
        "batch": case.batch,
        "workers": workers,
        "threads": threads,
        "wire_bytes_per_step": traffic,
        "layout_bytes_per_step": case.layout_bytes(workers),
        "coordinator_bytes_limit": case.memory_limits(workers)[0],
        "worker_bytes_limit": case.memory_limits(workers)[1],
        "pairs": measured,
    });
    if !ratios.is_empty() {
        ratios.sort_by(f64::total_cmp);
        let median = cases::median(&ratios);
        println!("{:<21} {:>5} {:>7} median ratio {median:.2} of {pairs}", "", "", "");
        result["median_ratio"] = json!(median);
    }
    Ok(result)
}

fn print_ours(
    case: &Case,
    (workers, threads): (usize, usize),
    ours: &Ours,
    peak: f64,
    traffic: Option<f64>,
) {
    let gflops = gflops(case, ours.median());
    let number = |value: Option<f64>, unit: f64| {
        value.map_or_else(|| "?".to_string(), |value| format!("{:.1}", value / unit))
    };
    let mebibytes = |bytes| number(bytes, 1_048_576.0);
    let [coordinator_limit, worker_limit] = case.memory_limits(workers);
    println!(
        "{:<21} {:>5} {:>7} {:>10.3} {:>9.3} {:>10.0} {:>8.1} {:>7.0}% {:>8} ({:>7}) {:>11} ({:>5}) {:>7} ({:>5})",
        case.name,
        case.batch,
        format!("{workers}x{threads}"),
        1e3 * ours.median(),
        1e3 * ours.p95(),
        case.batch as f64 / ours.median(),
        gflops,
        100.0 * gflops / peak,
        number(traffic, 1e3),
        number(Some(case.layout_bytes(workers)), 1e3),
        mebibytes(ours.memory.coordinator.map(|bytes| bytes as f64)),
        mebibytes(Some(coordinator_limit)),
        mebibytes(ours.memory.worker.map(|bytes| bytes as f64)),
        mebibytes(Some(worker_limit)),
    );
}

/// By the usual count: 2 flops for each parameter and row forward, 4 backward.
fn gflops(case: &Case, seconds: f64) -> f64 {
    6.0 * (case.batch * case.parameters()) as f64 / seconds / 1e9
}
