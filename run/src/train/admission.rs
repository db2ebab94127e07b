//! Whom a coordinator lets in, and what workers join with. Listens to nobody itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use lockstep_net::{Access, Authorities, Identity, JoinLine, OwnCertificate, Pin, Secret, Workers};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::report::{Report, SharedReporter, report};
use crate::run_folder::RunFolder;

/// Whom a coordinator lets in.
#[derive(Clone, Debug)]
pub enum Admission {
    /// On loopback anybody, unless an identity was made for the run. Elsewhere, encrypted, whoever has the join line.
    ByAddress {
        /// The file with the run's identity, made ahead of it; `None` for one that is made and kept in the run folder.
        identity: Option<PathBuf>,
        /// Where workers are told that it is.
        advertised: Advertised,
    },
    /// Wherever it listens, encrypted, with this certificate: whoever has one that these authorities have signed, or, where none
    /// are named, the join line.
    ByCertificate(OwnCertificate, Option<Authorities>, Advertised),
    /// Anybody, unencrypted, wherever they come from.
    Anybody,
    /// Whoever says this, unencrypted.
    Token(Secret),
    /// Wherever it listens, encrypted, whoever has the join line of this identity, which is told elsewhere.
    ByIdentity(Identity),
}

impl Admission {
    /// Where workers are told that the coordinator is, if they are told more than where it listens.
    pub(super) fn told(&self, address: SocketAddr) -> Vec<String> {
        match self {
            Admission::ByAddress { advertised, .. }
            | Admission::ByCertificate(_, _, advertised) => advertised.of(address),
            Admission::Anybody | Admission::Token(_) | Admission::ByIdentity(_) => Vec::new(),
        }
    }
}

/// What workers are told of where a coordinator is.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// From the address that is listened on to those that workers are told.
    pub found: fn(SocketAddr, &[String]) -> Vec<String>,
    /// Those that the user has given, in place of what can be found out.
    pub given: Vec<String>,
}

impl Advertised {
    fn of(&self, address: SocketAddr) -> Vec<String> {
        (self.found)(address, &self.given)
    }
}

/// What workers join with.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The join line; addresses alone, where a certificate of the worker's takes the place of the secret.
    pub line: Zeroizing<String>,
    /// The file where it is.
    pub file: PathBuf,
    /// What else a worker has to be given.
    pub needs: &'static str,
}

/// Whom to let in, and what to join with if that takes more than an address.
pub(super) fn admit(
    admission: Admission,
    address: SocketAddr,
    folder: Option<&RunFolder>,
    reporter: &SharedReporter,
) -> Result<(Access, Option<Invitation>)> {
    let folder = || {
        let missing = "a run without a folder has nothing to be known by";
        folder.ok_or_else(|| Error::Internal(missing.to_string()))
    };
    let mut warn = |message| report(reporter, &Report::Warning { message });
    let mut identity = |made: Option<PathBuf>| folder()?.identity(made.as_deref(), &mut warn);
    let line = |pin: Pin, secret: &Secret, advertised: &Advertised| {
        JoinLine { addresses: advertised.of(address), pin, secret: secret.clone() }.to_line()
    };
    let (access, line, needs) = match admission {
        Admission::Anybody => return Ok((Access::Open, None)),
        Admission::Token(secret) => return Ok((Access::Token(secret), None)),
        Admission::ByIdentity(identity) => return Ok((Access::Tls(identity), None)),
        Admission::ByAddress { identity: None, .. } if address.ip().is_loopback() => {
            return Ok((Access::Open, None));
        }
        Admission::ByAddress { identity: made, advertised } => {
            let identity = identity(made)?;
            let line = line(identity.pin(), identity.secret(), &advertised);
            (Access::Tls(identity), line, "")
        }
        Admission::ByCertificate(own, None, advertised) => {
            let secret = identity(None)?.secret().clone();
            let line = line(own.pin(), &secret, &advertised);
            (Access::Certificate(own, Workers::Secret(secret)), line, " --tls-ca FILE")
        }
        Admission::ByCertificate(own, Some(authorities), advertised) => {
            let line = Zeroizing::new(advertised.of(address).join(","));
            let workers = Workers::Certificates(authorities);
            let needs = " --tls-ca FILE --tls-cert FILE --tls-key FILE";
            (Access::Certificate(own, workers), line, needs)
        }
    };
    let file = folder()?.write_join_line(&line)?;
    Ok((access, Some(Invitation { line, file, needs })))
}
