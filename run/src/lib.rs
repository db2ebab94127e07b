//! Runs: from a job file to a finished run folder, and all that can be done with one.
//!
//! Knows files and what is in them; a coordinator and its workers it only starts. Refuses to know arguments and terminals: what
//! there is to tell goes to a [`Reporter`](report::Reporter).

pub mod advertised;
pub mod certificates;
pub mod checkpoint;
pub mod cluster;
pub mod comparison;
pub mod constant_guess;
pub mod epoch_end;
pub mod error;
pub mod examination;
pub mod export;
pub mod failpoints;
pub mod format;
pub mod import;
pub mod inference;
pub mod init;
pub mod job;
mod job_keys;
pub mod journal;
mod line_file;
mod metric_lines;
pub mod plan;
mod read_file;
pub mod record;
pub mod report;
pub mod run_folder;
pub mod status_of;
mod tensor_file;
pub mod tensorboard;
pub mod train;
pub mod validated;
pub mod verify;
pub mod watch;
pub mod weights_file;
mod whole_file;

use std::time::{SystemTime, UNIX_EPOCH};

pub use error::{Error, Result};

/// This host's name, for people.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unnamed host".to_string())
}

/// A name that no other execution has: the job's, the time and the process.
pub(crate) fn new_run_id(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{:x}-{:x}", now.as_millis(), std::process::id())
}
