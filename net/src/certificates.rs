//! Certificates of somebody's own authority, in place of a pinned key: read from PEM, and checked as far as that goes without
//! the other side. Knows no file.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::key::{Pin, signing_key};

/// A certificate, those between it and its authority, and the key that fits it.
#[derive(Clone)]
pub struct OwnCertificate {
    certified: Arc<CertifiedKey>,
    pin: Pin,
}

/// Those whose signature on a certificate is believed.
#[derive(Clone)]
pub struct Authorities(Arc<RootCertStore>);

/// What is wrong with what was to be an own certificate, and in which of the two files. Shows nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnCertificateError {
    /// That of the certificate.
    Certificate(String),
    /// That of the key.
    Key(String),
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

impl OwnCertificate {
    /// Of two PEM texts: the certificate, followed by those between it and its authority; and its private key.
    ///
    /// # Errors
    /// If either cannot be read, or the key does not fit.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<OwnCertificate, OwnCertificateError> {
        let chain = certificates(certificate).map_err(OwnCertificateError::Certificate)?;
        let wrong = |problem: &str| OwnCertificateError::Key(problem.to_string());
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => wrong(
                "found no private key, wanted PEM with `BEGIN PRIVATE KEY`; one with a passphrase is not read: `openssl pkey` \
                 takes it away",
            ),
            error => OwnCertificateError::Key(pem_problem(&error)),
        })?;
        let key = signing_key(&key).ok_or_else(|| {
            wrong("the key is of a kind that is not used here, wanted ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more")
        })?;
        let public = key.public_key().ok_or_else(|| wrong("the key cannot be used"))?;
        let pin = Pin::of_key(&public);
        let certified = Arc::new(CertifiedKey::new(chain, key));
        match certified.keys_match() {
            Ok(()) => Ok(OwnCertificate { certified, pin }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(wrong(
                "it does not fit the certificate, wanted the key that the first certificate of that file was made for",
            )),
            Err(error) => Err(OwnCertificateError::Certificate(unreadable(&error))),
        }
    }

    /// The digest of its public key.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl Authorities {
    /// Of a PEM text with their certificates.
    ///
    /// # Errors
    /// If it has none, or one that cannot be read.
    pub fn from_pem(text: &[u8]) -> Result<Authorities, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(text)? {
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        Ok(Authorities(Arc::new(roots)))
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.0.clone()
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(
            "found no certificate, wanted PEM with `BEGIN CERTIFICATE`; `openssl x509 -inform der` makes it of DER".to_string(),
        ),
        Ok(found) => Ok(found),
        Err(error) => Err(pem_problem(&error)),
    }
}

/// Never shows a line of the text.
fn pem_problem(error: &pem::Error) -> String {
    let found = match error {
        pem::Error::MissingSectionEnd { .. } => "a part without its `END` line: it was cut short",
        pem::Error::IllegalSectionStart { .. } => "a damaged `BEGIN` line",
        pem::Error::Base64Decode(_) => "letters that are not base64: it is damaged",
        _ => "something that is not PEM",
    };
    format!("found {found}; take the file again from where it was made")
}

fn unreadable(error: &rustls::Error) -> String {
    format!("a certificate in it cannot be read ({error}), wanted X.509 of version 3")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["head.example".to_string()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn each_way_to_spoil_a_certificate_has_its_words_and_none_shows_a_key() {
        let ((certificate, key), (_, other)) = (made(), made());
        let own = OwnCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        // Others may stand in the same file.
        let both = format!("{key}{certificate}{certificate}");
        let again = OwnCertificate::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
        assert_eq!(own.pin(), again.pin());
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (certificate, key, is_key, wanted) in [
            ("", &*key, false, "found no certificate, wanted PEM with `BEGIN CERTIFICATE`"),
            (&*key, &key, false, "found no certificate"),
            (&certificate[..certificate.len() - 40], &key, false, "it was cut short"),
            (&certificate.replacen("\nM", "\n!", 1), &key, false, "letters that are not base64"),
            (&certificate.replacen("\nMII", "\nMIA", 1), &key, false, "cannot be read"),
            (&*certificate, "", true, "found no private key"),
            (&*certificate, &*encrypted, true, "one with a passphrase is not read"),
            (&*certificate, &key[..key.len() - 30], true, "it was cut short"),
            (&*certificate, &other, true, "it does not fit the certificate"),
        ] {
            let error =
                OwnCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
            let (OwnCertificateError::Certificate(told) | OwnCertificateError::Key(told)) = &error;
            assert!(told.contains(wanted), "{told}, wanted {wanted}");
            assert_eq!(matches!(error, OwnCertificateError::Key(_)), is_key, "{told}");
            let lines = key.lines().filter(|line| line.len() > 20 && !line.contains("---"));
            assert!(lines.into_iter().all(|line| !told.contains(line)), "{told}");
        }
        assert!(Authorities::from_pem(both.as_bytes()).is_ok());
        assert!(Authorities::from_pem(b"-----").unwrap_err().contains("found no certificate"));
    }
}
