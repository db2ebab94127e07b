//! What is said of a job file that cannot be used: where, what was found, what was wanted.

use std::fmt;
use std::path::PathBuf;

/// A job file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// The file.
    pub path: PathBuf,
    /// Where the complaint has a place.
    pub place: Option<Place>,
    /// What was found, what was wanted, what to do.
    pub problem: String,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    At {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// In this setting of the command line.
    Setting(String),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place::At { line, column }) => {
                write!(f, "{}:{line}:{column}: ", self.path.display())?;
            }
            Some(Place::Setting(setting)) => write!(f, "--set {setting}: ")?,
            None => write!(f, "{}: ", self.path.display())?,
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for JobError {}
