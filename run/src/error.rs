//! Every way in which a command can fail, and the exit code that goes with it.

use std::io::ErrorKind;
use std::path::PathBuf;

use lockstep_coordinator::RunError;
use lockstep_data::DataError;
use lockstep_worker::WorkerError;

use crate::job::JobError;
use crate::weights_file::WeightsError;

/// Shorthand.
pub type Result<T> = std::result::Result<T, Error>;

/// What is said of a run that was stopped, where nothing more is known.
pub const STOPPED: &str = "stopped by a signal before the end";

/// Exit codes, as the README documents them. 2 is clap's, for a wrong command line.
pub mod exit {
    /// Something that should not happen.
    pub const INTERNAL: u8 = 1;
    /// The job, its data or a file it names has to be mended.
    pub const FIX_THE_JOB: u8 = 3;
    /// The training diverged: a loss or gradient is not finite.
    pub const DIVERGED: u8 = 4;
    /// Nothing is wrong with the job: try again, or elsewhere.
    pub const TRY_AGAIN: u8 = 5;
    /// The coordinator refused this worker (another version, run or kind of CPU), or expelled it.
    pub const REFUSED: u8 = 6;
    /// A worker's run ended with an error, which its coordinator tells.
    pub const RUN_FAILED: u8 = 7;
    /// What was verified differs from what the run wrote down.
    pub const DIFFERS: u8 = 8;
    /// Stopped by Ctrl-C or SIGTERM.
    pub const STOPPED: u8 = 130;
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job file.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A table.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A weights file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The training.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A run folder, or another file of ours, cannot be used as it is.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was found and what to do.
        problem: String,
    },
    /// A process of a local cluster failed; it has said why.
    #[error("{0}")]
    Child(String, u8),
    /// Stopped by a signal; where it can go on.
    #[error("{0}")]
    Stopped(String),
    /// A run that was verified wrote down other weights than this machine makes.
    #[error("{0}")]
    Differs(String),
    /// A call of the Rust API with arguments that do not fit together.
    #[error("{0}")]
    Arguments(String),
    /// Something that should not happen.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The exit code of a command that fails like this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Job(_) | Error::Data(_) | Error::Weights(_) | Error::File { .. } => {
                exit::FIX_THE_JOB
            }
            Error::Run(RunError::NonFinite { .. } | RunError::Unmeasurable { .. }) => {
                exit::DIVERGED
            }
            Error::Run(RunError::Listen { source, .. })
            | Error::Worker(WorkerError::Listen { source, .. }) => match source.kind() {
                ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::TRY_AGAIN,
                _ => 2,
            },
            Error::Run(RunError::Arithmetic(_) | RunError::Threads(_)) => exit::TRY_AGAIN,
            Error::Run(RunError::Stopped) | Error::Stopped(_) => exit::STOPPED,
            Error::Run(
                RunError::Server(_) | RunError::Miscounted { .. } | RunError::Panicked(_),
            )
            | Error::Internal(_) => exit::INTERNAL,
            Error::Worker(
                WorkerError::NoCoordinator { .. }
                | WorkerError::NoAnswer { .. }
                | WorkerError::Lost(_)
                | WorkerError::Protocol(_)
                | WorkerError::Memory { .. },
            ) => exit::TRY_AGAIN,
            Error::Worker(
                WorkerError::Refused(_)
                | WorkerError::Expelled(_)
                | WorkerError::WrongKey(_)
                | WorkerError::Untrusted(..)
                | WorkerError::OtherProof { .. },
            ) => exit::REFUSED,
            Error::Worker(WorkerError::RunFailed(_)) => exit::RUN_FAILED,
            Error::Worker(
                WorkerError::Threads(_) | WorkerError::Panicked(_) | WorkerError::Over,
            ) => exit::INTERNAL,
            Error::Worker(
                WorkerError::Address(_) | WorkerError::NotLoopback(_) | WorkerError::Guide(_),
            )
            | Error::Arguments(_) => 2,
            Error::Differs(_) => exit::DIFFERS,
            Error::Child(_, code) => *code,
        }
    }

    /// A file of ours that cannot be used, because of what the system said.
    pub fn file(path: impl Into<PathBuf>, doing: &str, error: &std::io::Error) -> Error {
        let problem = format!("cannot {doing}: {}", crate::job::plain(error));
        Error::File { path: path.into(), problem }
    }
}
