//! What people are told of workers that come and go.

use lockstep_coordinator::RunEvent;

use super::Shared;
use crate::report::words::machine;
use crate::report::{Report, report};

impl Shared {
    pub(super) fn tell_of_members(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Joined { worker, peer } => self.tell(Report::WorkerJoined {
                worker: worker.0,
                host: peer.host.clone(),
                address: peer.ip(),
                was: peer.was.map(|worker| worker.0),
                pid: peer.pid,
                threads: peer.threads,
            }),
            RunEvent::Left { worker, peer, reason, workers } => self.tell(Report::WorkerLeft {
                worker: worker.0,
                host: peer.host.clone(),
                address: peer.ip(),
                was: peer.was.map(|worker| worker.0),
                cause: reason.name().to_string(),
                reason: reason.to_string(),
                workers: *workers,
            }),
            RunEvent::Refused { peer, reason } => {
                let machine = machine(&peer.host, peer.ip().as_deref());
                let message =
                    format!("refused a worker ({machine}, process {}): {reason}", peer.pid);
                // The status has it as what it is.
                report(&self.reporter, &Report::Warning { message });
            }
            _ => {}
        }
    }
}
