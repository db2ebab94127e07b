//! How much of what happens somebody wants to hear of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Report;

/// Of a report, or of a line of the log; each level takes in those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The command failed.
    Error,
    /// Something odd; things go on.
    Warn,
    /// What people follow a run by.
    #[default]
    Info,
    /// What the program does in itself, a few lines a step at most: for whoever looks into trouble.
    Debug,
    /// All of that, a line for each message or so.
    Trace,
}

impl Level {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Report {
    /// Its level.
    pub fn level(&self) -> Level {
        match self {
            Report::Error { .. } => Level::Error,
            Report::Warning { .. } | Report::Waiting { .. } | Report::WorkerLeft { .. } => {
                Level::Warn
            }
            Report::Log { level, .. } => *level,
            _ => Level::Info,
        }
    }
}
