//! Completion scripts. They offer what the help shows: arguments that are hidden there are for children of a local cluster.

use std::io::Write as _;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::args::Arguments;
use crate::report::data_output;
use lockstep_run::error::{Error, Result};

/// Writes the script for a shell to standard output.
pub(super) fn write(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Arguments::command()), "lockstep", &mut script);
    let written = data_output().write_all(&script);
    written.map_err(|error| Error::file("standard output", "write", &error))
}

/// The command without what is hidden. (`clap_complete` offers hidden arguments in all shells but Elvish's.)
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    let mut shown = Command::new(command.get_name().to_string())
        .args(arguments.cloned())
        .subcommands(subcommands.map(self::shown));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    // The version's own option.
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_string()).propagate_version(true);
    }
    shown
}
