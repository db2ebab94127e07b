//! One run of `lockstep local`, watched from outside: step times from its `metrics.jsonl`, traffic, memory.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::cases::{BATCHES, Case, median};
use crate::processes::{Memory, loopback_bytes, watch};

/// Steps at the beginning that are not timed, as a share: one in so many.
const WARM_UP: usize = 10;

/// Steps more than an epoch's with which traffic is measured.
const TRAFFIC_STEPS_MAX: usize = 400;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lockstep");

/// Runs the job in a network that begins with nothing counted, and prints what has been counted.
const COUNTED: &str = "ip link set lo up && \
    \"$0\" --quiet local job.toml --out run --workers \"$1\" --threads \"$2\" && cat /proc/net/dev";

/// Equal parts of a run whose means are compared with the peer's repeats.
const PARTS: usize = 5;

pub(crate) struct Ours {
    /// Time from commit to commit, in order.
    steps: Vec<f64>,
    pub(crate) memory: Memory,
}

impl Ours {
    pub(crate) fn median(&self) -> f64 {
        median(&self.sorted())
    }

    pub(crate) fn p95(&self) -> f64 {
        let sorted = self.sorted();
        sorted[sorted.len() * 95 / 100]
    }

    /// The median of the mean step times of equal parts of the run, as the peer reports its own.
    pub(crate) fn typical_mean(&self) -> f64 {
        let part = self.steps.len().div_ceil(PARTS);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let mut means: Vec<f64> = self.steps.chunks(part).map(mean).collect();
        means.sort_by(f64::total_cmp);
        median(&means)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.steps.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

pub(crate) fn run(case: &Case, steps: usize, workers: usize, threads: usize) -> Result<Ours> {
    let folder = tempfile::tempdir()?;
    case.write_job(steps, folder.path())?;
    let memory = launch(case, folder.path(), workers, threads)?;
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl"))?;
    let mut seconds = Vec::new();
    for line in metrics.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if line["kind"] == "step" {
            seconds.push(line["seconds"].as_f64().ok_or("a step without seconds")?);
        }
    }
    let warm = &seconds[seconds.len() / WARM_UP..];
    let steps = warm.windows(2).map(|pair| pair[1] - pair[0]).collect();
    Ok(Ours { steps, memory })
}

/// Runs the job in the folder to its end.
fn launch(case: &Case, folder: &Path, workers: usize, threads: usize) -> Result<Memory> {
    let mut child = Command::new(PROGRAM)
        .args(["--quiet", "local", "job.toml", "--out", "run"])
        .args(["--workers", &workers.to_string(), "--threads", &threads.to_string()])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let memory = watch(&mut child, case.own_shared_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(memory)
}

/// What a step adds to the bytes that cross the loopback interface, packets' headers and acknowledgements included: the
/// difference of a short and a longer run over the same rows, each in a network of its own so that nothing else is counted.
/// `None` where the system has no such thing.
pub(crate) fn wire_bytes_per_step(
    case: &Case,
    workers: usize,
    threads: usize,
) -> Result<Option<f64>> {
    let bytes = |steps: usize| -> Result<Option<(f64, usize)>> {
        let folder = tempfile::tempdir()?;
        let steps = case.write_job(steps, folder.path())?;
        let output = Command::new("unshare")
            .args(["--net", "--map-root-user", "--", "sh", "-c", COUNTED, PROGRAM])
            .args([workers.to_string(), threads.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output();
        let Ok(output) = output else { return Ok(None) };
        if !output.status.success() {
            return Ok(None);
        }
        let bytes = loopback_bytes(&String::from_utf8_lossy(&output.stdout));
        Ok(bytes.map(|bytes| (bytes as f64, steps)))
    };
    let Some(short) = bytes(BATCHES)? else { return Ok(None) };
    let long = bytes(BATCHES + case.steps.min(TRAFFIC_STEPS_MAX))?;
    Ok(long.map(|long| (long.0 - short.0) / (long.1 - short.1) as f64))
}
