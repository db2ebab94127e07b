//! What goes wrong in a simulated network: processes that stop or end, links that are cut, strangers.

use std::time::Duration;

use lockstep_coordinator::Peer;
use lockstep_coordinator::core::Input;
use lockstep_proto::ids::WorkerId;
use lockstep_worker::core::Input as WorkerInput;
use lockstep_worker::{Lost, WorkerError};

use super::{Deed, Happening, Link, Network, SILENCE_MAX};
use crate::case::Leaving;
use crate::lies;

impl Network<'_> {
    pub(super) fn stops(&mut self, worker: WorkerId, pause: Duration) {
        let now = self.now;
        let link = self.link(worker);
        link.stopped_until = link.stopped_until.max(now + pause);
        let is_lost = pause > SILENCE_MAX && link.joined;
        if is_lost {
            link.worker = None;
            link.cut_at = link.cut_at.min(now);
            self.queue(now + SILENCE_MAX, Happening::Ends(worker));
            self.is_gone(worker);
        }
        self.queue(now + pause, Happening::At(worker, Deed::GoesOn));
    }

    /// Everything on its way is lost, and those who are still there join again.
    pub(super) fn restarts(&mut self) {
        use Happening::{BlacksOut, GoesOn, Intrudes, Joins, Leaves, Restarts, StandsStill, Stops};
        self.coordinator.restart(self.started + self.now);
        self.execution += 1;
        self.pairs.clear();
        let is_to_come = |happening: &Happening| match happening {
            Joins(_) | Leaves(..) | Stops(..) | BlacksOut | Restarts(_) | StandsStill(_) => true,
            _ => matches!(happening, Intrudes | GoesOn),
        };
        self.queue.retain(|_, happening| is_to_come(happening));
        self.held_back.retain(is_to_come);
        let (mut back, now) = (Vec::new(), self.started + self.now);
        for (&worker, link) in self.links.iter_mut().filter(|(_, link)| link.joined) {
            let Some(process) = &mut link.worker else { continue };
            let lost = WorkerInput::Ended(WorkerError::Lost(Lost::Vanished));
            let is_leaving = process.is_leaving();
            assert!(process.handle(now, lost).is_break(), "a membership outlived its coordinator");
            let sent = link.sent;
            *link = Link { sent, ..Link::new(link.visit, self.case.chunks()) };
            if is_leaving {
                (link.joined, link.seeks) = (true, false);
            } else {
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
        let stranger = WorkerId(u64::MAX);
        let said = lies::anything(self.case, self.coordinator.core.pass(), &mut self.random);
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
}
