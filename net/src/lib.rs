//! Endpoints of both sides: who may connect, how they prove it, and what a connection may cost before they have.
//!
//! A coordinator has an [`Identity`]: a key, which it proves by TLS, and a secret, which workers prove by saying it. A
//! [`JoinLine`] holds what a worker needs of both. Knows no message of the protocol, no file and no terminal.

mod access;
mod connection;
mod identity;
mod join_line;
mod key;
mod listener;
mod secret;
mod strangers;
mod tls;

pub use access::{Access, CREDENTIAL_KEY, SECRET_KEY, Target, Trust};
pub use connection::{Break, Watch, Watched};
pub use identity::{Identity, IdentityError};
pub use join_line::{JoinLine, JoinLineError};
pub use key::Pin;
pub use listener::Incoming;
pub use secret::{SECRET_BYTES, Secret};
pub use tls::{Acceptor, Connector, HandshakeError, Stream};
