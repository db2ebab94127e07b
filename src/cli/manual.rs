//! Manual pages, made from the definition of the arguments, so that they say what `--help` says.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use lockstep_run::error::{Error, Result};

use super::args::Arguments;

/// Writes `lockstep.1`, and a page for each command, into a folder, which is made.
///
/// # Errors
/// If they cannot be written.
pub(super) fn write(folder: &Path) -> Result<()> {
    let failed = |error| Error::file(folder, "write manual pages", &error);
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(failed)
}
