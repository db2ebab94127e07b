//! What members prove themselves with after their join: each has a credential of its own, which ends with its membership; and so
//! does what its connection may cost.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_net::{SECRET_BYTES, Secret, Watch};

type Bytes = [u8; SECRET_BYTES];

/// The credentials of all members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    // A std mutex: held to look one up, never across a wait.
    valid: Arc<Mutex<HashSet<Bytes>>>,
}

/// A member's credential, valid until this is dropped.
#[derive(Debug)]
pub(crate) struct Credential {
    secret: Secret,
    all: Credentials,
}

/// What a member may, until this is dropped: it is known by its credential, and no stranger on its connection.
#[derive(Debug)]
pub(crate) struct Membership {
    _credential: Credential,
    watch: Arc<Watch>,
}

impl Credentials {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub(crate) fn issue(&self) -> std::io::Result<Credential> {
        let secret = Secret::random()?;
        self.lock().insert(*secret.expose());
        Ok(Credential { secret, all: self.clone() })
    }

    /// Whether a member has it. Found by hashing with a key that nobody knows: how long it takes tells nothing.
    pub(crate) fn are(&self, bytes: &[u8]) -> bool {
        Bytes::try_from(bytes).is_ok_and(|bytes| self.lock().contains(&bytes))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Bytes>> {
        self.valid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credential {
    /// To be told to the member.
    pub(crate) fn expose(&self) -> &Bytes {
        self.secret.expose()
    }
}

impl Membership {
    pub(crate) fn new(credential: Credential, watch: Arc<Watch>) -> Membership {
        watch.know();
        Membership { _credential: credential, watch }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.watch.part();
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.all.lock().remove(self.secret.expose());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_ends_with_its_membership() {
        let all = Credentials::default();
        let (one, other) = (all.issue().unwrap(), all.issue().unwrap());
        let bytes = *one.expose();
        assert!(all.are(&bytes) && all.are(other.expose()));
        assert!(!all.are(&bytes[..15]) && !all.are(&[]) && !all.are(&[0; SECRET_BYTES]));
        drop(one);
        assert!(!all.are(&bytes) && all.are(other.expose()));
    }
}
