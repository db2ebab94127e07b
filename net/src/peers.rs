//! How workers know each other: by keys that live as long as the process, whose digests the coordinator tells its members.
//! Decides nothing about who is a member.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::key::{Pin, generate_key, signing_key};

/// A worker's key: made when its process starts, and never written anywhere.
#[derive(Clone)]
pub struct PeerKey {
    /// PKCS #8.
    key: Zeroizing<Vec<u8>>,
    pin: Pin,
}

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerKey").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl PeerKey {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<PeerKey, io::Error> {
        let failed = || io::Error::other("the system gives no random numbers");
        let key = generate_key().map_err(|_| failed())?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
        let public = signing_key(&private).and_then(|key| Some(Pin::of_key(&key.public_key()?)));
        Ok(PeerKey { key, pin: public.ok_or_else(failed)? })
    }

    /// By which others know it.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }
}

/// The keys of those who may dial this worker; at first nobody's.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    // A std lock: held to look one up or to put others in place, never across a wait.
    pins: Arc<RwLock<HashSet<Pin>>>,
}

impl Admitted {
    /// From now on these and no others. Whoever is connected stays so.
    pub fn set(&self, pins: impl IntoIterator<Item = Pin>) {
        *self.pins.write().unwrap_or_else(PoisonError::into_inner) = pins.into_iter().collect();
    }

    /// Found by hashing with a key that nobody knows: how long it takes tells nothing.
    pub(crate) fn has(&self, pin: &Pin) -> bool {
        self.pins.read().unwrap_or_else(PoisonError::into_inner).contains(pin)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::connection::Watched;
    use crate::handshake::HandshakeError;
    use crate::tls::{Acceptor, Connector};

    async fn pair() -> (Watched<TcpStream>, Watched<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap().0);
        (Watched::new(ours), Watched::new(theirs))
    }

    /// What becomes of a handshake between two keys: who knows whom, if both go on.
    async fn meet(
        dials: &PeerKey,
        wanted: Pin,
        dialed: &PeerKey,
        admitted: &[Pin],
    ) -> (Result<Pin, HandshakeError>, Result<Pin, HandshakeError>) {
        let all = Admitted::default();
        all.set(admitted.iter().copied());
        let acceptor = Acceptor::between_peers(dialed, all).unwrap();
        let connector = Connector::between_peers(dials, wanted).unwrap();
        let (ours, theirs) = pair().await;
        let dialing = async {
            let mut stream = connector.connect(ours, "").await?;
            stream.keep_unsent_small().unwrap();
            // Whether the other side goes on is known when it says something.
            match stream.read(&mut [0]).await {
                Ok(1) => Ok(stream.pin().unwrap()),
                _ => Err(HandshakeError::Closed),
            }
        };
        let accepting = async {
            let mut stream = acceptor.accept(theirs).await?;
            stream.write_all(&[7]).await.unwrap();
            stream.flush().await.unwrap();
            Ok(stream.pin().unwrap())
        };
        tokio::join!(dialing, accepting)
    }

    #[tokio::test]
    async fn both_sides_know_each_other_by_their_keys() {
        let (one, other) = (PeerKey::generate().unwrap(), PeerKey::generate().unwrap());
        let (dialing, accepting) = meet(&one, other.pin(), &other, &[one.pin()]).await;
        assert_eq!(dialing, Ok(other.pin()));
        assert_eq!(accepting, Ok(one.pin()));
        assert_ne!(one.pin(), other.pin());
        let shown = format!("{one:?}");
        assert!(!shown.contains("key:"), "{shown}");
    }

    #[tokio::test]
    async fn a_key_that_is_not_admitted_ends_at_the_handshake() {
        let (one, other) = (PeerKey::generate().unwrap(), PeerKey::generate().unwrap());
        for admitted in [vec![], vec![other.pin()]] {
            let (dialing, accepting) = meet(&one, other.pin(), &other, &admitted).await;
            assert_eq!(dialing, Err(HandshakeError::Closed));
            assert_eq!(accepting, Err(HandshakeError::WrongKey));
        }
    }

    #[tokio::test]
    async fn whoever_answers_with_another_key_is_told_nothing() {
        let (one, other) = (PeerKey::generate().unwrap(), PeerKey::generate().unwrap());
        let (dialing, accepting) = meet(&one, one.pin(), &other, &[one.pin()]).await;
        assert_eq!(dialing, Err(HandshakeError::WrongKey));
        assert!(accepting.is_err());
    }

    #[tokio::test]
    async fn who_shows_no_key_or_speaks_to_a_coordinator_gets_nowhere() {
        let (one, other) = (PeerKey::generate().unwrap(), PeerKey::generate().unwrap());
        let admitted = Admitted::default();
        admitted.set([one.pin()]);
        let acceptor = Acceptor::between_peers(&other, admitted).unwrap();
        let connector = Connector::new(other.pin()).unwrap();
        let (ours, theirs) = pair().await;
        let (_, accepting) = tokio::join!(connector.connect(ours, ""), acceptor.accept(theirs));
        assert!(accepting.is_err());
    }
}
