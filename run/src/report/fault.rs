//! Kinds of faults that can be injected into a local cluster.

use serde::{Deserialize, Serialize};

/// Kinds of faults that can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Workers were killed.
    Kill,
    /// A worker was stopped for a while.
    Stop,
    /// A worker was slowed down for a while.
    Slow,
    /// The coordinator was killed.
    Coordinator,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 4] =
        [FaultKind::Kill, FaultKind::Stop, FaultKind::Slow, FaultKind::Coordinator];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Kill => "kill",
            FaultKind::Stop => "stop",
            FaultKind::Slow => "slow",
            FaultKind::Coordinator => "coordinator",
        }
    }
}
