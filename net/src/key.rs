//! A coordinator's key, and the digest by which workers know it.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::crypto::ring as provider;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::SigningKey;

/// The SHA-256 digest of a coordinator's public key (its SubjectPublicKeyInfo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
