//! PyTorch at the same work, through `benches/peers/pytorch_ddp.py`. Installs nothing.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::cases::{Case, median};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/pytorch_ddp.py");

/// Whether there is a PyTorch.
pub(crate) fn check(python: &Path) -> Result<()> {
    let found = Command::new(python).args(["-c", "import torch"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let python = python.display();
    Err(format!(
        "`{python} -c 'import torch'` fails, wanted a Python with PyTorch: pip install torch, or name another with --python"
    )
    .into())
}

/// The median of the mean step times of its repeats.
pub(crate) fn step_seconds(
    python: &Path,
    case: &Case,
    workers: usize,
    threads: usize,
) -> Result<f64> {
    let widths: Vec<String> = case.widths.iter().map(usize::to_string).collect();
    let output = Command::new(python)
        .arg(SCRIPT)
        .args(["--widths", &widths.join(",")])
        .args(["--batch", &case.batch.to_string(), "--steps", &case.peer_steps.to_string()])
        .args(["--processes", &workers.to_string(), "--threads", &threads.to_string()])
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{SCRIPT} failed:\n{said}").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().rfind(|line| line.starts_with('{')).ok_or("PyTorch printed no JSON")?;
    let report: serde_json::Value = serde_json::from_str(line)?;
    let repeats = report["step_seconds"].as_array().ok_or("PyTorch printed no step times")?;
    let mut repeats: Vec<f64> = repeats.iter().filter_map(serde_json::Value::as_f64).collect();
    repeats.sort_by(f64::total_cmp);
    Ok(median(&repeats))
}
