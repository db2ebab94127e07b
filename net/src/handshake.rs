//! Why a handshake failed, told by whichever side found out: made here alone from what TLS says, and put in words here alone.

use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::pinned::WrongKey;

/// Longest list of names that is shown.
const NAMES_MAX: usize = 8;

/// Why there was no handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Somebody with another key is there.
    WrongKey,
    /// The certificate that was shown is not accepted.
    Certificate(CertificateProblem),
    /// One side shows a certificate and the other wants a pinned key, or the other way around.
    OtherProof,
    /// It does not speak TLS.
    NotTls,
    /// It closed the connection.
    Closed,
    /// It did not answer.
    TimedOut(Duration),
    /// Anything else, as it was told.
    Failed(String),
}

impl HandshakeError {
    pub(crate) fn of(error: &io::Error) -> HandshakeError {
        match tls_error(error) {
            Some(Error::InvalidCertificate(CertificateError::Other(other)))
                if other.0.downcast_ref::<WrongKey>().is_some() =>
            {
                HandshakeError::WrongKey
            }
            Some(Error::InvalidCertificate(problem)) => {
                HandshakeError::Certificate(CertificateProblem::of(problem))
            }
            Some(Error::NoCertificatesPresented) => {
                HandshakeError::Certificate(CertificateProblem::Missing)
            }
            Some(
                Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension)
                | Error::AlertReceived(AlertDescription::HandshakeFailure),
            ) => HandshakeError::OtherProof,
            Some(Error::InvalidMessage(_)) => HandshakeError::NotTls,
            Some(error) => HandshakeError::Failed(error.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
            None if error.kind() == io::ErrorKind::ConnectionReset => HandshakeError::Closed,
            None => HandshakeError::Failed(error.to_string()),
        }
    }
}

/// What is wrong with a certificate. The words go on after "its certificate".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// There is none.
    Missing,
    /// Its time is over, by the clock of whoever checks it. Both in seconds since 1970.
    Expired {
        /// Its last second.
        end: u64,
        /// What the clock says.
        now: u64,
    },
    /// Its time has not come, by the clock of whoever checks it. Both in seconds since 1970.
    NotYet {
        /// Its first second.
        start: u64,
        /// What the clock says.
        now: u64,
    },
    /// None of the authorities that are trusted has signed it.
    UnknownAuthority,
    /// It is for other names than that which was dialed.
    OtherName {
        /// What was dialed.
        wanted: String,
        /// What it is for.
        found: Vec<String>,
    },
    /// An authority's own certificate is used as that of a machine.
    Authority,
    /// Anything else, as it was told.
    Other(String),
}

impl CertificateProblem {
    fn of(problem: &CertificateError) -> CertificateProblem {
        let seconds = |time: &UnixTime| time.as_secs();
        match problem {
            CertificateError::ExpiredContext { time, not_after } => {
                CertificateProblem::Expired { end: seconds(not_after), now: seconds(time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                CertificateProblem::NotYet { start: seconds(not_before), now: seconds(time) }
            }
            // Signed by another authority of the same name: one that was made again.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                CertificateProblem::UnknownAuthority
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                CertificateProblem::OtherName {
                    wanted: expected.to_str().into_owned(),
                    found: presented.iter().take(NAMES_MAX).map(|name| plain_name(name)).collect(),
                }
            }
            CertificateError::Other(other)
                if format!("{other:?}").contains("CaUsedAsEndEntity") =>
            {
                CertificateProblem::Authority
            }
            other => CertificateProblem::Other(other.to_string()),
        }
    }
}

/// `DnsName("a.example")` as `a.example`.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_string()
}

fn shown_time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{seconds} s after 1970"), |time| time.to_string())
}

/// What this machine's clock says, for people who compare it with another's.
pub fn clock() -> String {
    shown_time(UnixTime::now().as_secs())
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateProblem::Missing => f.write_str("is missing: it showed none"),
            CertificateProblem::Expired { end, now } => write!(
                f,
                "expired at {}, and this machine's clock says {}: renew it, or set the clock",
                shown_time(*end),
                shown_time(*now)
            ),
            CertificateProblem::NotYet { start, now } => write!(
                f,
                "is valid from {} on, and this machine's clock says {}: set the clock of whichever machine is wrong, this one \
                 or the one that made the certificate",
                shown_time(*start),
                shown_time(*now)
            ),
            CertificateProblem::UnknownAuthority => f.write_str(
                "is not signed by an authority that is trusted here: give that authority's certificate, or have a certificate \
                 made by one that is trusted; certificates between the two belong in the file of the certificate",
            ),
            CertificateProblem::OtherName { wanted, found } => {
                let found = match found.is_empty() {
                    true => "no name at all".to_string(),
                    false => found.join(", "),
                };
                write!(
                    f,
                    "is for {found}, wanted {wanted}: dial a name that it is for, or have one made with this name \
                     (subjectAltName)"
                )
            }
            CertificateProblem::Authority => f.write_str(
                "is an authority's own (CA:TRUE): have one made for this machine, signed by that authority",
            ),
            CertificateProblem::Other(what) => write!(f, "is not accepted: {what}"),
        }
    }
}

/// Why the other side gave up a handshake that this side took for done. The words go on after "it says that".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// It wants a certificate, and was shown none.
    NoCertificate,
    /// By its clock, the certificate's time is over or has not come.
    Expired,
    /// No authority that it trusts has signed the certificate.
    UnknownAuthority,
    /// Anything else, as it was told.
    Other(String),
}

impl Alert {
    /// Of an error of a connection, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<Alert> {
        let Some(Error::AlertReceived(alert)) = tls_error(error) else { return None };
        Some(match alert {
            AlertDescription::CertificateRequired => Alert::NoCertificate,
            AlertDescription::CertificateExpired => Alert::Expired,
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Alert::UnknownAuthority,
            other => Alert::Other(format!("{other:?}")),
        })
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alert::NoCertificate => {
                f.write_str("workers need a certificate: give --tls-cert and --tls-key")
            }
            Alert::Expired => write!(
                f,
                "this worker's certificate has expired or is not valid yet by its clock: renew the certificate, or set the \
                 clocks; this machine's says {}",
                clock()
            ),
            Alert::UnknownAuthority => f.write_str(
                "no authority that it trusts has signed this worker's certificate: take one that the authority of its \
                 --tls-client-ca has signed",
            ),
            Alert::Other(what) => {
                write!(f, "this worker's certificate is not accepted ({what}): see what it reports")
            }
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}
