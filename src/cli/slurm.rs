//! A batch script for Slurm, to be read, changed and submitted by people. Submits nothing.

use std::fmt::Write as _;
use std::io::Write as _;

use lockstep_run::error::{Error, Result};

use super::args::Slurm;
use super::default_out;
use super::process::shell_word;
use crate::report::data_output;

/// Seconds before the time limit at which a run is told to stop.
const WARNING_SECONDS: u32 = 120;

/// Writes the script to standard output.
///
/// # Errors
/// If the job is wrong, or standard output cannot be written.
pub(super) fn run(slurm: &Slurm) -> Result<()> {
    let job = slurm.job.load()?;
    let out = slurm.out.clone().unwrap_or_else(|| default_out(&job));
    let script = script(slurm, &job.name, &out.display().to_string());
    let written = data_output().write_all(script.as_bytes());
    written.map_err(|error| Error::file("standard output", "write", &error))
}

fn script(slurm: &Slurm, name: &str, out: &str) -> String {
    let mut text = String::from("#!/bin/bash\n");
    let mut line = |comment: &str, directive: &str| {
        if !comment.is_empty() {
            text.push_str(&format!("# {comment}\n"));
        }
        text.push_str(&format!("#SBATCH --{directive}\n"));
    };
    line("", &format!("job-name={name}"));
    line(
        "One worker on each machine; the first coordinates as well.",
        &format!("nodes={}", slurm.nodes),
    );
    line("", "ntasks-per-node=1");
    if let Some(cpus) = slurm.cpus_per_task {
        line("", &format!("cpus-per-task={cpus}"));
    }
    if let Some(partition) = &slurm.partition {
        line("", &format!("partition={partition}"));
    }
    line("", &format!("time={}", slurm.time));
    line(
        "A job that is preempted, or loses its first machine, is put back into the queue by Slurm.",
        "requeue",
    );
    line("Without one of the other machines it goes on.", "no-kill");
    line(
        "Before the time limit this script is told to stop the run, which then writes a checkpoint.",
        &format!("signal=B:USR1@{WARNING_SECONDS}"),
    );
    line("", &format!("output={name}-%j.log"));
    line("", "open-mode=append");
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", body(slurm, out));
    text
}

fn body(slurm: &Slurm, out: &str) -> String {
    let job = shell_word(&slurm.job.job.display().to_string());
    let mut launch = format!("lockstep launch {job} --out {} --resume", shell_word(out));
    for setting in &slurm.job.settings {
        launch.push_str(&format!(" --set {}", shell_word(&setting.to_string())));
    }
    if slurm.cpus_per_task.is_some() {
        launch.push_str(" --threads \"$SLURM_CPUS_PER_TASK\"");
    }
    format!(
        "
# The run folder has to be on a file system that all machines see.
trap 'kill -USR1 \"$run\"' USR1
# Before a preemption the tasks are told by Slurm.
trap : TERM

srun --no-kill --kill-on-bad-exit=0 \\
    {launch} &
run=$!
wait \"$run\"
code=$?
# The signal interrupts a wait.
while kill -0 \"$run\" 2>/dev/null; do
    wait \"$run\"
    code=$?
done

# 130: stopped, with a checkpoint. Back into the queue, to go on where it was. A job that was cancelled is not running any more.
if [ \"$code\" -eq 130 ] && [ \"$(squeue -h -j \"$SLURM_JOB_ID\" -o %T)\" = RUNNING ]; then
    scontrol requeue \"$SLURM_JOB_ID\"
fi
exit \"$code\"
"
    )
}
