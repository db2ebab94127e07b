//! `--trace`: when which part of a step was done, by whom, as the JSON that Perfetto and Chrome show. Looks on: nothing of what it
//! notes reaches the training.

mod file;
mod recorder;

pub(crate) use file::{Joined, TraceFile};
pub(crate) use recorder::{Recorder, Timeline};

/// Steps that are left out at the start of a process: rows come, memory is taken.
pub(crate) const WARM_UP_STEPS: u64 = 3;
