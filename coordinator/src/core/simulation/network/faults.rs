//! What goes wrong in a simulated network: processes that stop or end, links that are cut, strangers.

use std::time::Duration;

use lockstep_proto::ids::WorkerId;

use super::super::super::Input;
use super::super::case::{Leaving, one_in, up_to_ms};
use super::super::lies;
use super::{Happening, Link, Network, SILENCE_MAX};
use crate::peer::Peer;

impl Network<'_> {
    pub(super) fn stops(&mut self, worker: WorkerId, pause: Duration) {
        let now = self.now;
        let link = self.link(worker);
        link.stopped_until = now + pause;
        if pause > SILENCE_MAX && link.joined {
            link.worker = None;
            link.cut_at = link.cut_at.min(now);
            self.queue(now + SILENCE_MAX, Happening::Ends(worker));
        }
    }

    /// Everything on its way is lost, and those who are still there join again.
    pub(super) fn restarts(&mut self) {
        use Happening::{BlacksOut, GoesOn, Intrudes, Joins, Leaves, Restarts, StandsStill, Stops};
        self.coordinator.restart(self.started + self.now);
        let is_to_come = |happening: &Happening| match happening {
            Joins(_) | Leaves(..) | Stops(..) | BlacksOut | Restarts(_) | StandsStill(_) => true,
            _ => matches!(happening, Intrudes | GoesOn),
        };
        self.queue.retain(|_, happening| is_to_come(happening));
        self.held_back.retain(is_to_come);
        let mut back = Vec::new();
        for (&worker, link) in self.links.iter_mut().filter(|(_, link)| link.joined) {
            if link.worker.is_some() {
                let sent = link.sent;
                *link = Link { sent, ..Link::new(link.visit, self.case) };
                back.push(worker);
            }
        }
        for worker in back {
            self.soon(1_000, Happening::Joins(worker));
        }
    }

    /// Somebody says anything in the name of a worker that is no member, or that never was.
    pub(super) fn intrudes(&mut self) {
        let now = self.started + self.now;
        let stranger = WorkerId(1 + self.case.visits.len() as u64);
        let said = lies::anything(self.case, self.coordinator.core.pass, &mut self.random);
        self.coordinator.message(now, stranger, said);
        for input in [
            Input::Unread(stranger),
            Input::Broken(stranger, "nonsense".to_string()),
            Input::Refused(Peer::default(), "another version".to_string()),
        ] {
            self.coordinator.handle(now, input);
        }
        self.coordinator.ended(now, stranger);
    }

    pub(super) fn black_out(&mut self) {
        let passing = |link: &Link| link.joined && link.visit.leaves.is_some();
        let lost: Vec<WorkerId> = self
            .links
            .iter()
            .filter(|(_, link)| passing(link))
            .map(|(&worker, _)| worker)
            .collect();
        for worker in lost {
            self.leaves(worker, Leaving::ConnectionLost);
        }
    }

    pub(super) fn leaves(&mut self, worker: WorkerId, leaving: Leaving) {
        let now = self.now;
        let cut_at = now + up_to_ms(&mut self.random, 10);
        let link = self.link(worker);
        if !link.joined {
            // It was looking for the coordinator.
            link.worker = None;
            return;
        }
        match leaving {
            Leaving::Goodbye => {
                if let Some(worker) = &mut link.worker {
                    worker.leave();
                }
                self.wake(worker);
            }
            Leaving::ConnectionLost => {
                link.worker = None;
                link.cut_at = link.cut_at.min(cut_at);
                let noticed_within_ms = if one_in(&mut self.random, 4) { 2_000 } else { 20 };
                let noticed = cut_at + up_to_ms(&mut self.random, noticed_within_ms);
                self.queue(noticed, Happening::Ends(worker));
            }
        }
    }
}
