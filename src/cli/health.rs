//! Whether a coordinator is there, for whoever watches over it: service managers, and people.

use std::io::Write as _;
use std::path::Path;

use lockstep_net::{Target, Trust};
use lockstep_run::error::{Error, Result};
use lockstep_worker::{Guide as _, GuideError, WorkerError};

use super::args::Health;
use super::joining::{JoinFile, target_of_environment};
use super::process;
use crate::report::data_output;

/// Asks, and says `serving` if that is so.
///
/// # Errors
/// If it is not, or nobody answers.
pub(super) fn run(health: &Health) -> Result<()> {
    process::refuse_core_dumps();
    let target = target(health)?;
    process::runtime()?.block_on(lockstep_worker::health(&target))?;
    let written = data_output().write_all(b"serving\n");
    written.map_err(|error| Error::file("standard output", "write", &error))
}

fn target(health: &Health) -> Result<Target> {
    let line = match &health.join_file {
        Some(path) => Some(of_file(path)?),
        None => target_of_environment()?,
    };
    match (line, &health.address) {
        (Some(line), None) => Ok(line),
        (Some(line), Some(address)) => Ok(Target { addresses: vec![address.clone()], ..line }),
        (None, Some(address)) => Ok(Target { addresses: vec![address.clone()], trust: Trust::Loopback(None) }),
        (None, None) => Err(Error::Arguments(
            "found no coordinator, wanted --join-file, or for one on this machine without encryption its HOST:PORT".to_string(),
        )),
    }
}

fn of_file(path: &Path) -> Result<Target> {
    let file = JoinFile::at(path);
    file.target().map_err(|error| match error {
        GuideError::NotYet(why) => WorkerError::NoAnswer { address: file.shown(), why }.into(),
        GuideError::Wrong(why) => Error::Arguments(why),
        GuideError::Over => WorkerError::Over.into(),
    })
}
