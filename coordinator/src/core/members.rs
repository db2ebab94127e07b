//! Who is a member: joining, leaving, being shut out, what is known of each, and who gets to see what it says.

use std::collections::BTreeSet;

use lockstep_proto::frame::{FromWorker, ToWorker};
use lockstep_proto::ids::{Chunk, Step, WorkerId};

use super::{Core, Output};
use crate::departure::Departure;
use crate::engine::Event;
use crate::error::RunError;
use crate::observer::RunEvent;
use crate::peer::Peer;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) peer: Peer,
    /// It reads weights where they are published, if they can be.
    pub(super) shares: bool,
    /// Only members that have their first shards are sent weights: by then they have said whether they share memory.
    pub(super) gets_weights: bool,
    /// It is sent weights as they are made: it has a part in the pass in hand.
    pub(super) is_awake: bool,
    /// The first version of which something was made while it was not awake.
    pub(super) lacks: Option<Step>,
    /// It was told to code its gradients.
    pub(super) codes: bool,
    /// Chunks of weights that it may lack and did not ask for: others pass them on to it, or they are told as what changed.
    pub(super) may_lack: BTreeSet<(Step, Chunk)>,
}

impl Core {
    pub(super) fn join(&mut self, worker: WorkerId, peer: Peer) {
        self.observer.observe(RunEvent::Joined { worker, peer: &peer });
        let threads = peer.threads;
        let may_lack = BTreeSet::new();
        let member = Member {
            peer,
            shares: false,
            gets_weights: false,
            is_awake: true,
            lacks: None,
            codes: false,
            may_lack,
        };
        self.members.insert(worker, member);
        self.members_changed();
        self.engine.handle(self.now, Event::Joined { worker, threads });
    }

    pub(super) fn leave(&mut self, worker: WorkerId, reason: &Departure) {
        if self.part_with(worker, None, reason) {
            self.engine.handle(self.now, Event::Left(worker));
        }
    }

    /// Ends a membership because of what the worker said. Nothing of it that is to be compared counts any more, even if it is
    /// gone.
    pub(super) fn expel(&mut self, worker: WorkerId, reason: &str) {
        let disputes = self.audit_book.strike(worker);
        self.part_with(worker, Some(reason), &Departure::Expelled(reason.to_string()));
        self.engine.expelled(self.now, worker, &disputes);
    }

    /// Closes a member's stream and says that it is gone. Whether it was a member.
    pub(super) fn part_with(
        &mut self,
        worker: WorkerId,
        fault: Option<&str>,
        reason: &Departure,
    ) -> bool {
        let Some(Member { peer, .. }) = self.members.remove(&worker) else { return false };
        self.outputs.push_back(Output::Close(worker, fault.map(str::to_string)));
        self.members_changed();
        self.tally.leave(worker);
        let workers = self.members.len();
        self.observer.observe(RunEvent::Left { worker, peer: &peer, reason, workers });
        self.router.forget(worker);
        if self.roster.remove(worker) {
            self.tell_roster();
        }
        self.recall(|_, home| home == worker);
        true
    }

    /// A pass is open: those who have no part in it are sent nothing. Where workers add up, or pass weights on, all have one.
    pub(super) fn wake_crew(&mut self) {
        let all = !self.router.homes().is_empty();
        let takes_part = |worker: &WorkerId| all || self.engine.takes_part(*worker);
        for (worker, member) in &mut self.members {
            member.is_awake = takes_part(worker);
        }
        let lacks = |(&worker, member): (&WorkerId, &Member)| {
            (member.is_awake && member.lacks.is_some()).then_some(worker)
        };
        let lacking: Vec<WorkerId> = self.members.iter().filter_map(lacks).collect();
        lacking.into_iter().for_each(|worker| self.wake(worker));
    }

    /// A member has a part in the pass in hand: it is sent the weights that it was spared, and those that are still made.
    pub(super) fn wake(&mut self, worker: WorkerId) {
        let Some(member) = self.members.get_mut(&worker) else { return };
        member.is_awake = true;
        let Some(since) = member.lacks.take() else { return };
        for (step, chunk) in self.reducer.published() {
            if step >= since {
                self.send_weights(step, chunk, Some(worker));
            }
        }
    }

    /// What was tried does not hold for those that are there now.
    fn members_changed(&mut self) {
        self.coder.members_changed();
        self.home_turns.members_changed();
    }

    /// A member says something.
    pub(super) fn frame(&mut self, worker: WorkerId, frame: FromWorker) -> Result<(), RunError> {
        if !self.members.contains_key(&worker) {
            return Ok(());
        }
        match frame {
            FromWorker::Prepared(span) => {
                if !self.engine.prepared(self.now, worker, span) {
                    self.expel(worker, "it said that it has shards that it was not asked to fetch");
                } else if let Some(member) = self.members.get_mut(&worker)
                    && !std::mem::replace(&mut member.gets_weights, true)
                {
                    if self.router.route().number > 0 {
                        self.say(worker, ToWorker::Route(self.router.route().clone()));
                    }
                    for (step, chunk) in self.reducer.published() {
                        self.send_weights(step, chunk, Some(worker));
                    }
                }
            }
            FromWorker::Part(part) => self.part(worker, part)?,
            FromWorker::Divergence(divergence) => self.divergence(worker, divergence),
            FromWorker::Listens(listens) => self.listens(worker, listens),
            FromWorker::Routed(number) => self.routed(worker, number),
            FromWorker::Sum(sum) => self.sum(worker, sum)?,
            FromWorker::Overflow(pass, chunk) => self.overflow(worker, pass, chunk),
            FromWorker::Missing(step, chunk) => self.missing(worker, step, chunk),
            FromWorker::Reach { worker: other, is_up } => self.reach(worker, other, is_up),
            FromWorker::Goodbye => self.leave(worker, &Departure::Goodbye),
        }
        Ok(())
    }
}
