//! Knows a coordinator, or another worker, by the digest of its raw public key (RFC 7250): no certificates, names or dates, so
//! that neither clocks nor authorities can be wrong.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use subtle::ConstantTimeEq;

use crate::key::Pin;
use crate::peers::Admitted;

/// The key that was shown has another digest than was wanted.
#[derive(Debug)]
pub(crate) struct WrongKey;

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another key")
    }
}

impl std::error::Error for WrongKey {}

/// Knows whoever was dialed by the digest of its key.
#[derive(Debug)]
pub(crate) struct PinnedKey {
    pub(crate) pin: Pin,
    pub(crate) crypto: CryptoProvider,
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
        check(self.pin, pin(key))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.crypto, message, key, signature)
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

/// Knows whoever dials by the digest of its key, which has to be among those that are admitted at that moment.
#[derive(Debug)]
pub(crate) struct AdmittedKeys {
    pub(crate) admitted: Admitted,
    pub(crate) crypto: CryptoProvider,
}

impl ClientCertVerifier for AdmittedKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.admitted.has(&pin(key)) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(wrong_key()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.crypto, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Of a key in the place of a certificate.
pub(crate) fn pin(key: &CertificateDer<'_>) -> Pin {
    Pin::of_key(&SubjectPublicKeyInfoDer::from(key.as_ref()))
}

/// That whoever was dialed has the key that was wanted.
pub(crate) fn check(wanted: Pin, found: Pin) -> Result<ServerCertVerified, Error> {
    match bool::from(found.0.ct_eq(&wanted.0)) {
        true => Ok(ServerCertVerified::assertion()),
        false => Err(wrong_key()),
    }
}

fn wrong_key() -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongKey))))
}

pub(crate) fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken".to_string())
}

fn verify_signature(
    crypto: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(
        message,
        &key,
        signature,
        &crypto.signature_verification_algorithms,
    )
}
