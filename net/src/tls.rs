//! TLS 1.3 of both sides, with pinned keys (see [`crate::pinned`]) or with certificates of somebody's own authority. With a
//! pinned key, and with certificates where no authority of workers' is named, only the coordinator proves itself here; the
//! worker does later, by what it says. Between workers both prove themselves, by keys (see [`crate::peers`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self as provider, cipher_suite};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::certificates::{Authorities, OwnCertificate};
use crate::connection::Watched;
use crate::handshake::HandshakeError;
use crate::identity::Identity;
use crate::key::{Pin, signing_key};
use crate::peers::{Admitted, PeerKey};
use crate::pinned::{AdmittedKeys, PinnedKey};
use crate::pinned_certificate::PinnedCertificate;
use crate::stream::Stream;

/// Longest wait for the other side to finish a handshake.
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest time that is heard whom a handshake failed with.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What is spoken inside with a coordinator: gRPC's.
const PROTOCOL: &[u8] = b"h2";

/// What is spoken inside between workers.
const PEER_PROTOCOL: &[u8] = b"lockstep-peer/1";

/// What browsers are spoken to in.
const PAGE_PROTOCOL: &[u8] = b"http/1.1";

/// The side that is dialed.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// The side that dials.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    /// Whether the name that was dialed is part of the proof.
    is_named: bool,
}

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
        let resolver = AlwaysResolvesServerRawPublicKeys::new(raw_key(&identity.private_key())?);
        Acceptor::of(Arc::new(resolver), Arc::new(NoClientAuth), PROTOCOL)
    }

    /// For a worker with this key; whoever dials has to have one of those that are admitted.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn between_peers(own: &PeerKey, admitted: Admitted) -> Result<Acceptor, String> {
        let resolver = AlwaysResolvesServerRawPublicKeys::new(raw_key(&own.private_key())?);
        let verifier = AdmittedKeys { admitted, crypto: crypto() };
        Acceptor::of(Arc::new(resolver), Arc::new(verifier), PEER_PROTOCOL)
    }

    /// For who has this certificate; workers show one that these authorities have signed, if any are named.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn certified(
        own: &OwnCertificate,
        workers: Option<&Authorities>,
    ) -> Result<Acceptor, String> {
        let verifier = match workers {
            None => Arc::new(NoClientAuth) as Arc<dyn ClientCertVerifier>,
            Some(workers) => {
                let crypto = Arc::new(crypto());
                let builder = WebPkiClientVerifier::builder_with_provider(workers.roots(), crypto);
                builder.build().map_err(|error| error.to_string())?
            }
        };
        let resolver = Arc::new(SingleCertAndKey::from(own.certified().clone()));
        Acceptor::of(resolver, verifier, PROTOCOL)
    }

    /// For a page in browsers, which know no raw keys: they are shown a certificate of this key, signed with itself, for these
    /// names and addresses.
    ///
    /// # Errors
    /// If there can be no such certificate.
    pub fn of_page(identity: &Identity, names: Vec<String>) -> Result<Acceptor, String> {
        let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
        let PrivateKeyDer::Pkcs8(key) = identity.private_key() else {
            return Err("the key cannot be used".to_string());
        };
        let key = rcgen::KeyPair::try_from(&key).map_err(failed)?;
        let params = rcgen::CertificateParams::new(names).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let signing = signing_key(&identity.private_key()).ok_or("the key cannot be used")?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing));
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        Acceptor::of(resolver, Arc::new(NoClientAuth), PAGE_PROTOCOL)
    }

    /// The same with a certificate of somebody's own authority.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn of_page_certified(own: &OwnCertificate) -> Result<Acceptor, String> {
        let resolver = Arc::new(SingleCertAndKey::from(own.certified().clone()));
        Acceptor::of(resolver, Arc::new(NoClientAuth), PAGE_PROTOCOL)
    }

    fn of(
        resolver: Arc<dyn ResolvesServerCert>,
        verifier: Arc<dyn ClientCertVerifier>,
        protocol: &[u8],
    ) -> Result<Acceptor, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![protocol.to_vec()];
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
                Err(HandshakeError::of(&error))
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
        let verifier = Arc::new(PinnedKey { pin, crypto: crypto() });
        Connector::pinned(verifier, PROTOCOL, |builder| builder.with_no_client_auth())
    }

    /// To the page of a coordinator with this pin and no other.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn to_page(pin: Pin) -> Result<Connector, String> {
        let verifier = Arc::new(PinnedCertificate { pin, crypto: crypto() });
        Connector::pinned(verifier, PAGE_PROTOCOL, |builder| builder.with_no_client_auth())
    }

    /// From a worker with this key to the worker with this pin and no other.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn between_peers(own: &PeerKey, pin: Pin) -> Result<Connector, String> {
        let resolver = AlwaysResolvesClientRawPublicKeys::new(raw_key(&own.private_key())?);
        let verifier = Arc::new(PinnedKey { pin, crypto: crypto() });
        Connector::pinned(verifier, PEER_PROTOCOL, |builder| {
            builder.with_client_cert_resolver(Arc::new(resolver))
        })
    }

    fn pinned(
        verifier: Arc<dyn ServerCertVerifier>,
        protocol: &[u8],
        proof: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Result<Connector, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = proof(builder);
        config.alpn_protocols = vec![protocol.to_vec()];
        // Keys are known by their pins, not by names.
        config.enable_sni = false;
        Ok(Connector { tls: TlsConnector::from(Arc::new(config)), is_named: false })
    }

    /// To a coordinator with a certificate that these authorities have signed, for the name that is dialed. Shows `own` if
    /// that is asked for.
    ///
    /// # Errors
    /// If the system cannot.
    pub fn certified(
        authorities: &Authorities,
        own: Option<&OwnCertificate>,
    ) -> Result<Connector, String> {
        let crypto = Arc::new(crypto());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(authorities.roots(), crypto.clone());
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let builder = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| error.to_string())?
            .with_webpki_verifier(verifier);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                own.certified().clone(),
            ))),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Connector { tls: TlsConnector::from(Arc::new(config)), is_named: true })
    }

    /// Makes sure who is there. `host` is the name or the IP address that was dialed.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(
        &self,
        stream: Watched<TcpStream>,
        host: &str,
    ) -> Result<Stream, HandshakeError> {
        let host = if self.is_named { host } else { "coordinator.invalid" };
        let name = ServerName::try_from(host.to_string()).map_err(|_| {
            HandshakeError::Failed(format!("{host:?} is no name that a certificate can be for"))
        })?;
        let handshake = tokio::time::timeout(HANDSHAKE_WAIT_MAX, self.tls.connect(name, stream));
        let stream = handshake.await.map_err(|_| HandshakeError::TimedOut(HANDSHAKE_WAIT_MAX))?;
        let stream = stream.map_err(|error| HandshakeError::of(&error))?;
        stream.get_ref().0.watch().note_encryption();
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// A key in the place of a certificate.
fn raw_key(key: &PrivateKeyDer<'_>) -> Result<Arc<CertifiedKey>, String> {
    let key = signing_key(key).ok_or("the key cannot be used")?;
    let public = key.public_key().ok_or("the key cannot be used")?;
    let public = CertificateDer::from(public.as_ref().to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![public], key)))
}

/// One set of algorithms, whatever else a process links. AES with keys of 128 bits comes first: gradients and weights are
/// encrypted a third faster with it than with 256, and it is as far out of reach.
fn crypto() -> CryptoProvider {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..provider::default_provider() }
}

/// Reads what still comes after a failed handshake. A connection closed over unread bytes is reset, and the other side then
/// may never see the alert that tells it what is spoken here.
async fn hear_out(mut stream: Watched<TcpStream>) {
    let _ = stream.shutdown().await;
    let mut unread = [0; 1024];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
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
            tokio::join!(connector.connect(worker, "127.0.0.1"), acceptor.accept(coordinator));
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
            tokio::join!(connector.connect(worker, "127.0.0.1"), acceptor.accept(coordinator));
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
        let (worker, ()) = tokio::join!(connector.connect(worker, "127.0.0.1"), says);
        assert_eq!(worker.unwrap_err(), HandshakeError::NotTls);
        let acceptor = Acceptor::new(&Identity::generate().unwrap()).unwrap();
        let (mut other, coordinator) = pair().await;
        other.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(acceptor.accept(coordinator).await.unwrap_err(), HandshakeError::NotTls);
        let (worker, other) = pair().await;
        drop(other);
        assert_eq!(
            connector.connect(worker, "127.0.0.1").await.unwrap_err(),
            HandshakeError::Closed
        );
    }
}
