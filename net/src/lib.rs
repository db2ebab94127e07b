//! Endpoints of both sides: who may connect, how they prove it, and what a connection may cost before they have.
//!
//! A coordinator has an [`Identity`]: a key, which it proves by TLS, and a secret, which workers prove by saying it. A
//! [`JoinLine`] holds what a worker needs of both. Or it has an [`OwnCertificate`], and workers may have one as well. Workers know
//! each other by keys of their own, a [`PeerKey`] each, of which the coordinator tells. Knows no message of the protocol, no file and no terminal.

mod access;
mod certificates;
mod connection;
mod handshake;
mod identity;
mod join_line;
mod key;
mod listener;
mod peers;
mod pinned;
mod pinned_certificate;
mod secret;
mod strangers;
mod stream;
mod system;
mod tls;

pub use access::{Access, CREDENTIAL_KEY, SECRET_KEY, Target, Trust, Workers};
pub use certificates::{Authorities, OwnCertificate, OwnCertificateError};
pub use connection::{Break, Watch, Watched};
pub use handshake::{Alert, CertificateProblem, HandshakeError, clock};
pub use identity::{Identity, IdentityError};
pub use join_line::{JoinLine, JoinLineError};
pub use key::Pin;
pub use listener::{Incoming, Trouble};
pub use peers::{Admitted, PeerKey};
pub use secret::{SECRET_BYTES, Secret};
pub use stream::Stream;
pub use system::without_code;
pub use tls::{Acceptor, Connector};
