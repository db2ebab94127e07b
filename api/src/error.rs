//! What can go wrong, in the words of the Rust API: no key of a job file, no argument of the command line.

use std::fmt;

use lockstep_coordinator::RunError;
use lockstep_data::DataError;
use lockstep_run::Error as Cause;

use crate::words::in_rust;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong: where, what was found, what was wanted, and what to do.
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What a method was given does not go together, or was called too early.
    Arguments,
    /// A table cannot be used.
    Table,
    /// A file of a model cannot be read or written.
    File,
    /// The training diverged: a loss, a gradient or a weight is not finite.
    Diverged,
    /// A coordinator or a worker: the address, the connection, who was let in.
    Cluster,
    /// Something that should not happen.
    Internal,
}

impl Error {
    pub(crate) fn arguments(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Arguments, message: message.into() }
    }

    /// What kind it is, for a program that goes on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same, of something that is named.
    pub(crate) fn of(self, what: &str) -> Error {
        Error { message: format!("{what}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    /// As a program shows it that returns it from `main`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.message, self.kind)
    }
}

impl std::error::Error for Error {}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Error {
        let kind = match &cause {
            Cause::Job(_) | Cause::Arguments(_) => ErrorKind::Arguments,
            Cause::Data(DataError::Spec { .. } | DataError::Column { .. }) => ErrorKind::Arguments,
            Cause::Data(_) => ErrorKind::Table,
            Cause::Weights(_) | Cause::File { .. } => ErrorKind::File,
            Cause::Run(RunError::NonFinite { .. } | RunError::Unmeasurable { .. }) => {
                ErrorKind::Diverged
            }
            Cause::Run(RunError::Listen { .. } | RunError::Stopped)
            | Cause::Worker(_)
            | Cause::Stopped(_)
            | Cause::Child(..) => ErrorKind::Cluster,
            Cause::Run(_) | Cause::Differs(_) | Cause::Internal(_) => ErrorKind::Internal,
        };
        let message = match &cause {
            // It stands in no file.
            Cause::Job(error) => in_rust(&error.problem),
            Cause::Data(DataError::Column { name, problem }) => {
                format!("column {name:?}: {}", in_rust(problem))
            }
            Cause::Data(DataError::Spec { key, problem }) => {
                in_rust(&format!("`{key}`: {problem}")).replacen('`', "", 2)
            }
            cause => in_rust(&cause.to_string()),
        };
        Error { kind, message }
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Error {
        Cause::from(error).into()
    }
}
