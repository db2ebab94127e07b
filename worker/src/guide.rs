//! Where a worker learns where its coordinator is, and how to convince it: asked anew before every try.

use std::fmt;

use lockstep_net::Target;

/// Knows where the coordinator is now.
pub trait Guide: fmt::Debug + Send + Sync {
    /// Where the next try goes.
    ///
    /// # Errors
    /// See [`GuideError`].
    fn target(&self) -> Result<Target, GuideError>;

    /// Where is looked, in words.
    fn shown(&self) -> String;
}

/// Why there is nowhere to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuideError {
    /// Nothing is known yet, for this reason.
    NotYet(String),
    /// What is known is wrong, and waiting does not help.
    Wrong(String),
    /// There is nothing to look for any more: the run is finished.
    Over,
}

impl Guide for Target {
    fn target(&self) -> Result<Target, GuideError> {
        Ok(self.clone())
    }

    fn shown(&self) -> String {
        self.addresses.join(", ")
    }
}
