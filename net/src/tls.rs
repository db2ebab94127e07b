//! TLS 1.3 with pinned keys (RFC 7250's raw public keys): no certificates, names or dates, so that neither clocks nor
//! authorities can be wrong. The coordinator proves to have the key whose digest the worker was given; the worker proves
//! itself later, by what it says.

use std::fmt;
use std::io;
use std::pin::Pin as StdPin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::connection::Watched;
use crate::identity::Identity;
use crate::key::{Pin, signing_key};

/// Longest wait for the other side to finish a handshake.
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest time that is heard whom a handshake failed with.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What is spoken inside: gRPC's.
const PROTOCOL: &[u8] = b"h2";

/// Why there was no handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Somebody with another key is there.
    WrongKey,
    /// It does not speak TLS.
    NotTls,
    /// It closed the connection.
    Closed,
    /// It did not answer.
    TimedOut(Duration),
    /// Anything else, as it was told.
    Failed(String),
}

/// A coordinator's side.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// A worker's side.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Acceptor {
    /// For who has this identity.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn new(identity: &Identity) -> Result<Acceptor, String> {
        let key = signing_key(&identity.private_key()).ok_or("the key cannot be used")?;
        let public = key.public_key().ok_or("the key cannot be used")?;
        let public = CertificateDer::from(public.as_ref().to_vec());
        let certified = CertifiedKey::new(vec![public], key);
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
                certified,
            ))));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A worker joins seldom: nothing is kept for a shorter handshake.
        config.send_tls13_tickets = 0;
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// Waits for the other side to finish a handshake.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn accept(&self, stream: Watched<TcpStream>) -> Result<Stream, HandshakeError> {
        let accepted = self.0.accept(stream).into_fallible();
        let handshake = tokio::time::timeout(HANDSHAKE_WAIT_MAX, accepted).await;
        match handshake.map_err(|_| HandshakeError::TimedOut(HANDSHAKE_WAIT_MAX))? {
            Ok(stream) => {
                stream.get_ref().0.watch().note_encryption();
                Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
            }
            Err((error, stream)) => {
                let _ = tokio::time::timeout(LINGER_MAX, hear_out(stream)).await;
                Err(explained(&error))
            }
        }
    }
}

impl Connector {
    /// To a coordinator with this pin and no other.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn new(pin: Pin) -> Result<Connector, String> {
        let crypto = crypto();
        let verifier = Arc::new(PinnedKey { pin, crypto: crypto.clone() });
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // Keys are known by their pins, not by names.
        config.enable_sni = false;
        Ok(Connector(TlsConnector::from(Arc::new(config))))
    }

    /// Makes sure who is there.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(&self, stream: Watched<TcpStream>) -> Result<Stream, HandshakeError> {
        let name = ServerName::try_from("coordinator.invalid");
        let name = name.map_err(|error| HandshakeError::Failed(error.to_string()))?;
        let handshake = tokio::time::timeout(HANDSHAKE_WAIT_MAX, self.0.connect(name, stream));
        let stream = handshake.await.map_err(|_| HandshakeError::TimedOut(HANDSHAKE_WAIT_MAX))?;
        let stream = stream.map_err(|error| explained(&error))?;
        stream.get_ref().0.watch().note_encryption();
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// One set of algorithms, whatever else a process links.
fn crypto() -> CryptoProvider {
    provider::default_provider()
}

/// Reads what still comes after a failed handshake. A connection closed over unread bytes is reset, and the other side then
/// may never see the alert that tells it what is spoken here.
async fn hear_out(mut stream: Watched<TcpStream>) {
    let _ = stream.shutdown().await;
    let mut unread = [0; 1024];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}

fn explained(error: &io::Error) -> HandshakeError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if other.0.downcast_ref::<WrongKey>().is_some() =>
        {
            HandshakeError::WrongKey
        }
        Some(Error::InvalidMessage(_)) => HandshakeError::NotTls,
        Some(error) => HandshakeError::Failed(error.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        None if error.kind() == io::ErrorKind::ConnectionReset => HandshakeError::Closed,
        None => HandshakeError::Failed(error.to_string()),
    }
}

/// The key that was shown has another digest than the pin.
#[derive(Debug)]
struct WrongKey;

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another key")
    }
}

impl std::error::Error for WrongKey {}

/// Knows a coordinator by the digest of its key.
#[derive(Debug)]
struct PinnedKey {
    pin: Pin,
    crypto: CryptoProvider,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Pin::of_key(&SubjectPublicKeyInfoDer::from(key.as_ref()));
        match bool::from(found.0.ct_eq(&self.pin.0)) {
            true => Ok(ServerCertVerified::assertion()),
            false => {
                let other = OtherError(Arc::new(WrongKey));
                Err(Error::InvalidCertificate(CertificateError::Other(other)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_string()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.crypto.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// A connection, encrypted or not.
pub enum Stream {
    /// On loopback, or where somebody has said that it may be.
    Plain(Watched<TcpStream>),
    /// Encrypted, with a coordinator whose key is known.
    Tls(Box<TlsStream<Watched<TcpStream>>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stream::Plain(_) => "Plain",
            Stream::Tls(_) => "Tls",
        })
    }
}

impl Stream {
    fn watched(&self) -> &Watched<TcpStream> {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Hands a call on to whichever stream there is.
macro_rules! on {
    ($self:ident, $call:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Plain(stream) => StdPin::new(stream).$call($($argument),*),
            Stream::Tls(stream) => StdPin::new(&mut **stream).$call($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: StdPin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: StdPin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: StdPin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: StdPin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_flush(context))
    }

    fn poll_shutdown(self: StdPin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_shutdown(context))
    }
}

impl Connected for Stream {
    type ConnectInfo = (TcpConnectInfo, Arc<crate::connection::Watch>);

    fn connect_info(&self) -> Self::ConnectInfo {
        self.watched().connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Watched<TcpStream>, Watched<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Watched::new(ours.unwrap()), Watched::new(theirs.unwrap().0))
    }

    #[tokio::test]
    async fn whoever_has_the_key_is_known_and_what_is_said_is_not_readable() {
        let identity = Identity::generate().unwrap();
        let acceptor = Acceptor::new(&identity).unwrap();
        let connector = Connector::new(identity.pin()).unwrap();
        let (worker, coordinator) = pair().await;
        let watch = coordinator.watch();
        let (worker, coordinator) =
            tokio::join!(connector.connect(worker), acceptor.accept(coordinator));
        let (mut worker, mut coordinator) = (worker.unwrap(), coordinator.unwrap());
        worker.write_all(b"a secret").await.unwrap();
        worker.flush().await.unwrap();
        let mut heard = [0; 8];
        coordinator.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"a secret");
        assert!(watch.first().starts_with(&[0x16, 3]));
    }

    #[tokio::test]
    async fn whoever_has_another_key_is_told_nothing() {
        let acceptor = Acceptor::new(&Identity::generate().unwrap()).unwrap();
        let connector = Connector::new(Identity::generate().unwrap().pin()).unwrap();
        let (worker, coordinator) = pair().await;
        let (worker, coordinator) =
            tokio::join!(connector.connect(worker), acceptor.accept(coordinator));
        assert_eq!(worker.unwrap_err(), HandshakeError::WrongKey);
        assert!(coordinator.is_err());
    }

    #[tokio::test]
    async fn who_does_not_speak_tls_is_told_apart() {
        let connector = Connector::new(Identity::generate().unwrap().pin()).unwrap();
        let (worker, mut other) = pair().await;
        let says = async {
            other.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut rest = Vec::new();
            let _ = other.read_to_end(&mut rest).await;
        };
        let (worker, ()) = tokio::join!(connector.connect(worker), says);
        assert_eq!(worker.unwrap_err(), HandshakeError::NotTls);
        let acceptor = Acceptor::new(&Identity::generate().unwrap()).unwrap();
        let (mut other, coordinator) = pair().await;
        other.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(acceptor.accept(coordinator).await.unwrap_err(), HandshakeError::NotTls);
        let (worker, other) = pair().await;
        drop(other);
        assert_eq!(connector.connect(worker).await.unwrap_err(), HandshakeError::Closed);
    }
}
