//! A terminal of a given width, what the program writes to it, and what is seen on it in the end.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

/// More than any test writes: nothing scrolls away.
const ROWS: u16 = 200;

/// What a process left on its terminal.
pub(crate) struct Seen {
    /// Everything that was written.
    pub(crate) bytes: Vec<u8>,
    /// The lines that are there in the end.
    pub(crate) lines: Vec<String>,
}

/// Runs a process to its end on a terminal that is so many columns wide.
pub(crate) fn on_a_terminal(mut command: Command, columns: u16) -> Seen {
    let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color");
    let mut child = command.spawn().unwrap();
    // From here on only the process has its end of the terminal.
    drop((command, terminal.slave));
    let mut bytes = Vec::new();
    let mut master = File::from(terminal.master);
    let mut block = [0; 4096];
    // Linux says that the other end is closed with an error.
    while let Ok(length @ 1..) = master.read(&mut block) {
        bytes.extend_from_slice(&block[..length]);
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}:\n{}", String::from_utf8_lossy(&bytes));
    let size = [ROWS, columns].map(|size| NonZero::new(size).unwrap());
    let mut screen = vt100::Parser::new(size[0], size[1], 0);
    screen.process(&bytes);
    let text = screen.screen().contents();
    Seen { bytes, lines: text.lines().map(|line| line.trim_end().to_string()).collect() }
}
