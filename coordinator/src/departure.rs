//! Why a worker is gone: made here alone, from what the connection's watch and the status say or from what the run found
//! out, and put in words here alone.

use std::fmt;
use std::time::Duration;

use lockstep_net::{Break, Watch};
use tonic::{Code, Status};

/// A peer that leaves an HTTP/2 ping unanswered for this long is gone.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest text of somebody else that is passed on.
const TEXT_CHARS_MAX: usize = 200;

/// Why a worker is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It left on purpose.
    Goodbye,
    /// The connection was closed, and it did not say goodbye.
    Vanished,
    /// It gave its membership up while its process went on, and did not say goodbye.
    Resigned,
    /// Nothing came from it, pings included, so long.
    Silent(Duration),
    /// What it said breaks the contract, in this way.
    Expelled(String),
    /// Anything else, as it was told.
    Broken(String),
}

impl Departure {
    /// Of a stream that has ended, in peace or with a status.
    pub(crate) fn of(watch: &Watch, status: Option<&Status>) -> Departure {
        let silence = watch.silence();
        match (watch.broke(), status) {
            (Some(Break::Closed | Break::Reset), _) => Departure::Vanished,
            (Some(Break::Unreachable), _) => Departure::Silent(silence),
            (None, _) if silence >= KEEPALIVE_TIMEOUT => Departure::Silent(silence),
            (None, None) => Departure::Resigned,
            (None, Some(status)) if status.code() == Code::Cancelled => Departure::Resigned,
            (None, Some(status)) => {
                Departure::Broken(status.message().chars().take(TEXT_CHARS_MAX).collect())
            }
        }
    }

    /// One word, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Departure::Goodbye => "goodbye",
            Departure::Vanished => "vanished",
            Departure::Resigned => "resigned",
            Departure::Silent(_) => "silent",
            Departure::Expelled(_) => "expelled",
            Departure::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Departure::Goodbye => f.write_str("it was stopped and said goodbye"),
            Departure::Vanished => f.write_str(
                "its process ended or was killed, or its machine restarted: the connection was closed without a goodbye",
            ),
            Departure::Resigned => {
                f.write_str("it gave up without a goodbye: see what its process says")
            }
            Departure::Silent(silence) => write!(
                f,
                "no answer for {:.1} s: its process is stopped, or its machine or the network between is down",
                silence.as_secs_f64()
            ),
            Departure::Expelled(reason) => f.write_str(reason),
            Departure::Broken(what) => write!(f, "the connection broke: {what}"),
        }
    }
}
