//! A key of a coordinator or a worker, and the digest by which others know it.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::crypto::ring as provider;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

/// The SHA-256 digest of a public key (its SubjectPublicKeyInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    pub(crate) fn of_key(key: &SubjectPublicKeyInfoDer<'_>) -> Pin {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, key.as_ref()).as_ref());
        Pin(pin)
    }
}

pub(crate) fn signing_key(key: &PrivateKeyDer<'_>) -> Option<Arc<dyn SigningKey>> {
    provider::sign::any_supported_type(key).ok()
}

/// A new one, as PKCS #8.
///
/// # Errors
/// If the system has no randomness to give.
pub(crate) fn generate_key() -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())?;
    Ok(Zeroizing::new(key.as_ref().to_vec()))
}
