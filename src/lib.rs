//! Lockstep trains neural networks data-parallel on ordinary CPU machines: the same model, bit for bit, on any number
//! of workers and threads, whatever fails.

mod allocator;
pub mod api;
pub mod checkpoint;
pub mod cli;
mod cluster;
pub mod error;
mod failpoints;
pub mod format;
pub mod inference;
pub mod job;
pub mod journal;
mod line_file;
pub mod plan;
mod read_file;
pub mod record;
pub mod report;
pub mod run_folder;
mod tensor_file;
pub mod train;
pub mod verify;
pub mod weights_file;
mod whole_file;

pub use api::prelude;
pub use error::{Error, Result};

/// This host's name, for people.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unnamed host".to_string())
}
