//! Whom a coordinator lets in, and how a worker finds and convinces it.

use crate::certificates::{Authorities, OwnCertificate};
use crate::identity::Identity;
use crate::join_line::JoinLine;
use crate::key::Pin;
use crate::secret::Secret;
use crate::tls::{Acceptor, Connector};

/// Metadata of a request to join: the secret of the join line.
pub const SECRET_KEY: &str = "lockstep-secret-bin";

/// Metadata of the answer to a join, and of every later request: what a member was given, which ends with its membership.
pub const CREDENTIAL_KEY: &str = "lockstep-credential-bin";

/// Whom a coordinator lets in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Anybody who reaches it, unencrypted: for loopback, or where somebody has decided so.
    Open,
    /// Who says this, unencrypted: for the processes of one launcher on loopback.
    Token(Secret),
    /// Who says the identity's secret, encrypted.
    Tls(Identity),
    /// Who is known in this way, encrypted; the coordinator itself by its certificate.
    Certificate(OwnCertificate, Workers),
}

/// How workers are known where the coordinator has a certificate.
#[derive(Clone, Debug)]
pub enum Workers {
    /// By this secret.
    Secret(Secret),
    /// By certificates that these authorities have signed, and nothing else.
    Certificates(Authorities),
}

impl Access {
    /// What a worker has to say.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Access::Open => None,
            Access::Token(secret) => Some(secret),
            Access::Tls(identity) => Some(identity.secret()),
            Access::Certificate(_, Workers::Secret(secret)) => Some(secret),
            Access::Certificate(_, Workers::Certificates(_)) => None,
        }
    }

    /// What makes connections safe; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// If a key cannot be used.
    pub fn acceptor(&self) -> Result<Option<Acceptor>, String> {
        match self {
            Access::Open | Access::Token(_) => Ok(None),
            Access::Tls(identity) => Acceptor::new(identity).map(Some),
            Access::Certificate(own, Workers::Secret(_)) => {
                Acceptor::certified(own, None).map(Some)
            }
            Access::Certificate(own, Workers::Certificates(authorities)) => {
                Acceptor::certified(own, Some(authorities)).map(Some)
            }
        }
    }
}

/// Where a coordinator is, and how to convince it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `HOST:PORT`, tried in turn.
    pub addresses: Vec<String>,
    /// How it is known, and what it is told.
    pub trust: Trust,
}

/// How a coordinator is known, and what it is told.
#[derive(Clone, Debug)]
pub enum Trust {
    /// It is on this machine: unencrypted, and never beyond loopback.
    Loopback(Option<Secret>),
    /// Whoever answers, unencrypted: somebody has decided so.
    Insecure,
    /// By its key; it is told the secret once it has proved to have that.
    Pinned(Pin, Secret),
    /// By a certificate of these authorities for the name that is dialed.
    Certified {
        /// Whose signature is believed.
        authorities: Authorities,
        /// What is shown to a coordinator that asks for a certificate.
        own: Option<OwnCertificate>,
        /// What it is told once it is known.
        secret: Option<Secret>,
    },
}

impl Trust {
    /// What makes sure who is there; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn connector(&self) -> Result<Option<Connector>, String> {
        match self {
            Trust::Loopback(_) | Trust::Insecure => Ok(None),
            Trust::Pinned(pin, _) => Connector::new(*pin).map(Some),
            Trust::Certified { authorities, own, .. } => {
                Connector::certified(authorities, own.as_ref()).map(Some)
            }
        }
    }
}

impl Target {
    /// A coordinator on this machine.
    pub fn loopback(address: impl Into<String>, token: Option<Secret>) -> Target {
        Target { addresses: vec![address.into()], trust: Trust::Loopback(token) }
    }

    /// What is said to a coordinator that is known.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.trust {
            Trust::Loopback(token) => token.as_ref(),
            Trust::Insecure => None,
            Trust::Pinned(_, secret) => Some(secret),
            Trust::Certified { secret, .. } => secret.as_ref(),
        }
    }
}

impl From<JoinLine> for Target {
    fn from(line: JoinLine) -> Target {
        Target { addresses: line.addresses, trust: Trust::Pinned(line.pin, line.secret) }
    }
}
