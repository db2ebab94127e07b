//! Files with certificates and keys of somebody's own authority. Knows what is wrong with a file; what a certificate is good for
//! is `net`'s to say.

use std::path::{Path, PathBuf};

use lockstep_net::{Authorities, OwnCertificate, OwnCertificateError};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::job::plain;
use crate::read_file;

/// Longest file that is read: a bundle of all public authorities takes a tenth.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub struct OwnFiles {
    /// The certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl OwnFiles {
    /// What is in them. That others can read the key is told to `warn`.
    ///
    /// # Errors
    /// If one of them cannot be read, or they do not fit each other.
    pub fn load(&self, warn: &mut dyn FnMut(String)) -> Result<OwnCertificate> {
        let certificate = read(&self.certificate, "certificate")?;
        let key = Zeroizing::new(read(&self.key, "private key")?);
        if let Some(mode) = readable_by_others(&self.key) {
            warn(format!(
                "{}: others on this machine can read the private key (mode {mode:03o}), and so pass for this one: chmod 600 it",
                self.key.display()
            ));
        }
        OwnCertificate::from_pem(&certificate, &key).map_err(|error| match error {
            OwnCertificateError::Certificate(problem) => wrong(&self.certificate, problem),
            OwnCertificateError::Key(problem) => wrong(&self.key, problem),
        })
    }
}

/// The authorities whose certificates are in a file.
///
/// # Errors
/// If it cannot be read, or there are none.
pub fn authorities(path: &Path) -> Result<Authorities> {
    let text = read(path, "certificates of authorities")?;
    Authorities::from_pem(&text).map_err(|problem| wrong(path, problem))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let bytes = read_file::bytes(path, PEM_BYTES_MAX);
    bytes.map_err(|error| wrong(path, format!("cannot read the {what}: {}", plain(&error))))
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::File { path: path.to_path_buf(), problem }
}

/// The mode of a file that others than its owner may read, where the system has modes.
#[cfg(unix)]
pub(crate) fn readable_by_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
pub(crate) fn readable_by_others(_: &Path) -> Option<u32> {
    None
}
