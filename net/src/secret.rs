//! A secret of 16 random bytes: compared in constant time, wiped when it is dropped, never printed.

use std::fmt;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 16;

/// What a worker says to be let in, or a member to be served.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn random() -> Result<Secret, std::io::Error> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let failed = |_| std::io::Error::other("the system gives no random numbers");
        SystemRandom::new().fill(&mut bytes[..]).map_err(failed)?;
        Ok(Secret(bytes))
    }

    /// Of bytes that somebody said.
    pub fn from_bytes(bytes: &[u8]) -> Option<Secret> {
        Some(Secret(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, to be said to whoever has proved to be the right one.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// Another, for one purpose: who has this one has that as well, and not the other way round.
    pub fn derived(&self, purpose: &str) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]);
        let tag = hmac::sign(&key, purpose.as_bytes());
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        bytes.copy_from_slice(&tag.as_ref()[..SECRET_BYTES]);
        Secret(bytes)
    }

    /// Whether these bytes are the secret. How long that takes does not depend on what is in them.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.0[..].ct_eq(bytes).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_bytes_and_shown_to_nobody() {
        let secret = Secret::random().unwrap();
        let mut bytes = *secret.expose();
        assert!(secret.is(&bytes) && Secret::from_bytes(&bytes).unwrap().is(&bytes));
        bytes[15] ^= 1;
        assert!(!secret.is(&bytes) && !secret.is(&bytes[..15]) && !secret.is(&[]));
        assert!(Secret::from_bytes(&bytes[..15]).is_none());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(!secret.is(Secret::random().unwrap().expose()));
        let derived = secret.derived("one");
        assert!(derived.is(secret.derived("one").expose()) && !derived.is(secret.expose()));
        assert!(!derived.is(secret.derived("other").expose()));
    }
}
