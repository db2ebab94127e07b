//! Whose lines these are: what every line of JSON says beside its report, as far as it is known.

use lockstep_run::report::Report;
use serde::{Deserialize, Serialize};

/// See the file's text. A child's goes with its reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// The step in hand, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u64>,
}

impl Origin {
    /// Learns from what this process reports itself.
    pub(super) fn learn(&mut self, report: &Report) {
        match report {
            Report::Listening { run_id, .. } => self.run = Some(run_id.clone()),
            Report::Progress { step, .. } => self.step = Some(*step),
            _ => {}
        }
    }

    /// What a report does not say itself: no name comes twice in a line.
    pub(super) fn beside(&self, report: &Report) -> Origin {
        let mut beside = self.clone();
        match report {
            Report::WorkerJoined { .. } | Report::WorkerLeft { .. } => {
                (beside.worker, beside.host) = (None, None);
            }
            Report::Progress { .. } => beside.step = None,
            _ => {}
        }
        beside
    }
}
