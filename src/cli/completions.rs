//! Completion scripts. They offer what the help shows: arguments that are hidden there are for children of a local cluster.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::args::Arguments;

/// The script for a shell.
pub(super) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Arguments::command()), "lockstep", &mut script);
    script
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
