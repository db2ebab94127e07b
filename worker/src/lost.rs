//! Why there is no connection to a coordinator, or none any more: made here alone, from what the connection's watch and
//! the status say, and put in words here alone.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use lockstep_net::{Break, HandshakeError, Watch, without_code};
use tonic::{Code, Status};

use crate::KEEPALIVE_TIMEOUT;

/// Longest text of somebody else that is passed on.
const TEXT_CHARS_MAX: usize = 200;

/// Why there is no connection, or none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Where it is has not been told yet, for this reason.
    Unknown(String),
    /// The host's name leads nowhere.
    Unresolved(String),
    /// At each of several addresses this.
    Everywhere(Vec<(String, String)>),
    /// Nothing listens at the port.
    Refused,
    /// The system knows no way there.
    NoRoute(String),
    /// Nothing came back from there, so long.
    NoAnswer(Duration),
    /// The connection was taken, and nothing said on it.
    Mute(Duration),
    /// The connection was taken and closed at once.
    HungUp,
    /// Something listens there that does not encrypt what it says.
    NotEncrypted,
    /// Somebody else listens there.
    Foreign(Foreign),
    /// A coordinator took the connection, but did not answer the request to join, so long.
    NoWelcome(Duration),
    /// The connection was closed without a word.
    Vanished,
    /// Nothing came, pings included, so long.
    Silent(Duration),
    /// A shard's rows did not come, so long.
    NoRows(String, Duration),
    /// The coordinator ended the membership and did not say why.
    Dismissed,
    /// The coordinator was stopped on purpose.
    Stopped,
    /// Anything else, as it was told.
    Broken(String),
}

/// What listens at an address that is no coordinator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A web server.
    Http1,
    /// Whatever is behind TLS.
    Tls,
    /// A remote shell.
    Ssh,
    /// Something that says this first.
    Says(String),
    /// Something else on gRPC or HTTP/2, which answers a join with this.
    Answers(String),
}

impl Lost {
    /// Of a try to connect.
    pub(crate) fn of_connecting(error: &Error, waited: Duration) -> Lost {
        match error.kind() {
            ErrorKind::ConnectionRefused => Lost::Refused,
            ErrorKind::TimedOut => Lost::NoAnswer(waited),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Lost::NoRoute(without_code(error))
            }
            _ => Lost::Broken(without_code(error)),
        }
    }

    /// Of a handshake that failed for another reason than the key.
    pub(crate) fn of_handshake(error: HandshakeError, watch: &Watch) -> Lost {
        match error {
            HandshakeError::NotTls => match Foreign::of(&watch.first()) {
                None | Some(Foreign::Tls) => Lost::NotEncrypted,
                Some(foreign) => Lost::Foreign(foreign),
            },
            HandshakeError::TimedOut(waited) if watch.first().is_empty() => Lost::Mute(waited),
            HandshakeError::TimedOut(waited) => Lost::NoWelcome(waited),
            HandshakeError::Closed => Lost::HungUp,
            HandshakeError::WrongKey => Lost::Broken("another key".to_string()),
            HandshakeError::Certificate(problem) => {
                Lost::Broken(format!("its certificate {problem}"))
            }
            HandshakeError::OtherProof => Lost::Broken("another kind of proof".to_string()),
            HandshakeError::Failed(why) => Lost::Broken(shown(&why)),
        }
    }

    /// Of a request's end.
    pub(crate) fn of_status(status: &Status) -> Lost {
        match status.code() {
            Code::Unimplemented | Code::NotFound | Code::PermissionDenied => {
                Lost::Foreign(Foreign::Answers(shown(status.message())))
            }
            _ => Lost::Broken(shown(status.message())),
        }
    }

    /// The same, where the watch of the connection knows better.
    pub(crate) fn explained(self, watch: &Watch) -> Lost {
        let (first, silence) = (watch.first(), watch.silence());
        match (self, watch.broke()) {
            // The watch knows nothing of these.
            (loss @ (Lost::NoRows(..) | Lost::Stopped), _) => loss,
            (_, _) if !watch.is_encrypted() && Foreign::of(&first).is_some() => {
                Foreign::of(&first).map_or(Lost::HungUp, Lost::Foreign)
            }
            (_, Some(Break::Closed | Break::Reset)) if first.is_empty() => Lost::HungUp,
            (_, Some(Break::Closed | Break::Reset)) => Lost::Vanished,
            (_, Some(Break::Unreachable)) => Lost::Silent(silence),
            (_, None) if silence >= KEEPALIVE_TIMEOUT && first.is_empty() => Lost::Mute(silence),
            (_, None) if silence >= KEEPALIVE_TIMEOUT => Lost::Silent(silence),
            (loss, None) => loss,
        }
    }
}

impl Foreign {
    /// What begins like this; `None` for HTTP/2, and as long as too little has come.
    fn of(first: &[u8]) -> Option<Foreign> {
        match first {
            [b'H', b'T', b'T', b'P', b'/', ..] => Some(Foreign::Http1),
            // An alert or a handshake.
            [0x15 | 0x16, 3, ..] => Some(Foreign::Tls),
            [b'S', b'S', b'H', b'-', ..] => Some(Foreign::Ssh),
            // A frame of settings comes first.
            [0, _, _, 4, ..] => None,
            [_, _, _, _, ..] => Some(Foreign::Says(shown(&String::from_utf8_lossy(first)))),
            _ => None,
        }
    }
}

/// The first line of somebody else's text, or the beginning of it.
pub(crate) fn shown(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect()
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        match self {
            Lost::Unknown(why) => f.write_str(why),
            Lost::Unresolved(why) => write!(
                f,
                "the host's name does not resolve ({why}): check its spelling, or give the IP address"
            ),
            Lost::Everywhere(met) => {
                let each: Vec<_> = met.iter().map(|(at, what)| format!("at {at}: {what}")).collect();
                f.write_str(&each.join("; "))
            }
            Lost::Refused => f.write_str(
                "nothing listens there: is the coordinator started, and are address and port right?",
            ),
            Lost::NoRoute(why) => {
                write!(f, "there is no way to it ({why}): check the address and this machine's network")
            }
            Lost::NoAnswer(waited) => write!(
                f,
                "no answer within {}: is that machine on, is the address right, and does a firewall let the port through?",
                seconds(waited)
            ),
            Lost::Mute(silence) => write!(
                f,
                "something takes the connection, but says nothing for {}: is it a coordinator, and is its process stopped?",
                seconds(silence)
            ),
            Lost::HungUp => f.write_str(
                "something takes the connection and closes it at once: is it a coordinator, or a proxy whose target is down?",
            ),
            Lost::NotEncrypted => f.write_str(
                "what listens there does not encrypt: a coordinator that was started with --insecure (then give \
                 --coordinator HOST:PORT --insecure), or another program",
            ),
            Lost::Foreign(foreign @ Foreign::Tls) => write!(
                f,
                "{foreign}: if that is a coordinator, join with the line that it wrote to `join` in its run folder"
            ),
            Lost::Foreign(foreign) => {
                write!(f, "{foreign}, not a coordinator: check the address and the port")
            }
            Lost::NoWelcome(waited) => {
                write!(f, "no answer to the request to join within {}: is it overloaded?", seconds(waited))
            }
            Lost::Vanished => f.write_str(
                "its process ended or was killed, or its machine restarted: the connection was closed without a word",
            ),
            Lost::Silent(silence) => write!(
                f,
                "no answer for {}: its process is stopped, or its machine or the network between is down",
                seconds(silence)
            ),
            Lost::NoRows(shard, waited) => {
                write!(f, "no more rows of {shard} came for {}", seconds(waited))
            }
            Lost::Dismissed => f.write_str("it ended this worker's membership without saying why"),
            Lost::Stopped => f.write_str("it was stopped and may come back"),
            Lost::Broken(what) => write!(f, "the connection broke: {what}"),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::Http1 => f.write_str("a web server (HTTP/1) listens there"),
            Foreign::Tls => f.write_str("something behind TLS listens there"),
            Foreign::Ssh => f.write_str("an SSH server listens there"),
            Foreign::Says(text) => write!(f, "another program listens there (it says {text:?})"),
            Foreign::Answers(text) => {
                write!(f, "another server of gRPC or HTTP/2 listens there (it says {text:?})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        for (first, wanted) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Some(Foreign::Http1)),
            (&[0x15, 3, 3, 0, 2, 2, 22], Some(Foreign::Tls)),
            (&[0x16, 3, 1, 0, 2], Some(Foreign::Tls)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Foreign::Ssh)),
            (b"220 mail ready\r\nmore", Some(Foreign::Says("220 mail ready".to_string()))),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], None),
            (&[], None),
            (&[0, 0], None),
        ] {
            assert_eq!(Foreign::of(first), wanted);
        }
    }
}
