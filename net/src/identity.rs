//! Who a coordinator is: a key, by which workers know it, and the secret that it lets them in by. Both outlive the process,
//! so that a join line stays valid when a run is resumed.

use data_encoding::BASE64;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::key::{Pin, generate_key, signing_key};
use crate::secret::Secret;

/// First line of the text form.
const TITLE: &str = "lockstep identity 1";

/// A coordinator's key and secret.
#[derive(Clone)]
pub struct Identity {
    /// PKCS #8.
    key: Zeroizing<Vec<u8>>,
    pin: Pin,
    secret: Secret,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text is not one.
    #[error("not an identity that lockstep wrote ({0})")]
    Text(&'static str),
    /// The system could not make one.
    #[error("cannot make a key: the system gives no random numbers")]
    Random,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Identity, IdentityError> {
        let key = generate_key().map_err(|_| IdentityError::Random)?;
        let secret = Secret::random().map_err(|_| IdentityError::Random)?;
        Identity::of(key, secret)
    }

    /// The same key with a new secret: whoever has the old join line is not let in any more.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn with_new_secret(&self) -> Result<Identity, IdentityError> {
        let secret = Secret::random().map_err(|_| IdentityError::Random)?;
        Ok(Identity { secret, ..self.clone() })
    }

    fn of(key: Zeroizing<Vec<u8>>, secret: Secret) -> Result<Identity, IdentityError> {
        let wrong = || IdentityError::Text("its key is damaged");
        let private = PrivatePkcs8KeyDer::from(key.to_vec());
        let signing = signing_key(&PrivateKeyDer::from(private)).ok_or_else(wrong)?;
        let pin = Pin::of_key(&signing.public_key().ok_or_else(wrong)?);
        Ok(Identity { key, pin, secret })
    }

    /// To be kept where nobody else can read it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(BASE64.encode(&self.key));
        let secret = Zeroizing::new(BASE64.encode(self.secret.expose()));
        Zeroizing::new(format!("{TITLE}\nkey {}\nsecret {}\n", *key, *secret))
    }

    /// What [`Identity::to_text`] wrote.
    ///
    /// # Errors
    /// If it did not.
    pub fn from_text(text: &str) -> Result<Identity, IdentityError> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(IdentityError::Text("its first line is another"));
        }
        let mut field = |name: &str, wrong: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let bytes = value.and_then(|value| BASE64.decode(value.as_bytes()).ok());
            bytes.map(Zeroizing::new).ok_or(IdentityError::Text(wrong))
        };
        let key = field("key", "its key is damaged")?;
        let secret = field("secret", "its secret is damaged")?;
        let secret =
            Secret::from_bytes(&secret).ok_or(IdentityError::Text("its secret is damaged"))?;
        Identity::of(key, secret)
    }

    /// By which its key is known.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// What it lets workers in by.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_and_two_are_not_alike() {
        let identity = Identity::generate().unwrap();
        let text = identity.to_text();
        let again = Identity::from_text(&text).unwrap();
        assert_eq!(again.pin(), identity.pin());
        assert!(again.secret().is(identity.secret().expose()));
        assert_ne!(Identity::generate().unwrap().pin(), identity.pin());
        let rotated = identity.with_new_secret().unwrap();
        assert_eq!(rotated.pin(), identity.pin());
        assert!(!rotated.secret().is(identity.secret().expose()));
        let shown = format!("{identity:?}");
        assert!(text.lines().skip(1).all(|line| !shown.contains(&line[8..20])), "{shown}");
    }

    #[test]
    fn a_damaged_identity_is_none() {
        let text = Identity::generate().unwrap().to_text().to_string();
        for (spoilt, wanted) in [
            (String::new(), "first line"),
            (text.replacen("identity 1", "identity 2", 1), "first line"),
            (text.replacen("key M", "key A", 1), "key is damaged"),
            (text.replacen("key ", "key !", 1), "key is damaged"),
            (text[..text.find("secret").unwrap()].to_string(), "secret is damaged"),
            (text[..text.len() - 6].to_string(), "secret is damaged"),
        ] {
            let error = Identity::from_text(&spoilt).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}: {spoilt}");
        }
    }
}
