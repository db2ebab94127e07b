//! What a run waits for and what helps, for people. Decides nothing.

use std::time::Duration;

use lockstep_coordinator::Peer;
use lockstep_coordinator::engine::{Planned, Wait, WaitReason};
use lockstep_proto::ids::Task;
use lockstep_status::value;

use super::Shared;
use crate::report::Report;
use crate::report::words::machine;
use crate::watch;

impl Shared {
    /// What can be done about a wait, or will be.
    pub(super) fn remedy(&self, wait: &Wait) -> String {
        match wait.reason {
            WaitReason::Workers { .. } => {
                let host = match self.address.ip() {
                    ip if ip.is_unspecified() => "HOST".to_string(),
                    ip => ip.to_string(),
                };
                let port = self.address.port();
                format!("start one with `lockstep worker --coordinator {host}:{port}`")
            }
            WaitReason::Shards { .. } => {
                "nothing: it gets its rows, or is let go if its connection is silent".to_string()
            }
            WaitReason::Adding => "nothing: this machine adds the results".to_string(),
            WaitReason::Sum { .. } => {
                "nothing: where it is late the nodes are sent here, and it is let go if its connection is silent".to_string()
            }
            WaitReason::Results { .. } => {
                "nothing: others compute the same once they are idle, and it is let go if its connection is silent"
                    .to_string()
            }
            WaitReason::Audit { .. } => "start another worker; without one the value is taken as it is".to_string(),
            WaitReason::Dispute { .. } => "start another worker".to_string(),
        }
    }

    /// What is waited for, and what can be done about it.
    pub(super) fn waiting(&self, wait: &Wait, peer: Option<&Peer>) -> Report {
        let value::Wait { what, stage, peer: worker, seconds, limit_seconds, remedy } =
            watch::shown(wait, self.remedy(wait));
        let peer = worker.map(|worker| match peer {
            Some(peer) => format!("{worker}: {}", machine(&peer.host, peer.ip().as_deref())),
            None => worker,
        });
        Report::Waiting { what, stage, peer, seconds, limit_seconds, remedy }
    }
}

/// What to say of a run that is to stop and whose pass goes on.
pub(super) fn still_stopping(planned: &Planned, waited: Duration, wait: Option<&Wait>) -> String {
    let pass = match planned.task {
        Task::Train { .. } => format!("step {}", planned.step.0 + 1),
        Task::Evaluate { table } => format!("the evaluation of the {table} table"),
    };
    let wait = wait.map_or(String::new(), |wait| format!(" ({wait})"));
    format!(
        "stopping: {pass} is still running after {} s{wait}; a second signal ends the run at once, without it",
        waited.as_secs()
    )
}
