//! What a worker does with others: who can be reached, what is passed on, and what it adds up as a home. What cannot be
//! exchanged with one of them goes through the coordinator.

use std::collections::BTreeSet;
use std::time::Instant;

use lockstep_proto::frame::{
    Dealt, FromWorker, Member, NamedWeights, PeerContent, PeerMessage, Route, Welcome,
};
use lockstep_proto::ids::{Chunk, Step, WorkerId};

use super::{Core, Output, Said};
use crate::WorkerError;
use crate::arrivals::Content;

/// What is known of other workers.
#[derive(Debug)]
pub(super) struct Peers {
    own: WorkerId,
    execution: u64,
    /// Whether the welcome says that there may be any.
    are_there: bool,
    up: BTreeSet<WorkerId>,
    route: Route,
}

impl Peers {
    pub(super) fn new(welcome: &Welcome) -> Peers {
        Peers {
            own: welcome.worker,
            execution: welcome.execution,
            are_there: welcome.peers,
            up: BTreeSet::new(),
            route: Route::default(),
        }
    }

    /// Whether there may be any.
    pub(super) fn are_there(&self) -> bool {
        self.are_there
    }

    fn check(&self, what: &str) -> Result<(), WorkerError> {
        match self.are_there {
            true => Ok(()),
            false => {
                let problem = format!("{what}, where workers exchange nothing");
                Err(WorkerError::Protocol(problem))
            }
        }
    }
}

impl Core {
    /// Another worker, or this one, says something.
    pub(super) fn peer(
        &mut self,
        now: Instant,
        sender: WorkerId,
        message: PeerMessage,
    ) -> Result<(), WorkerError> {
        if message.execution != self.peers.execution {
            return Ok(());
        }
        match message.content {
            PeerContent::Slices(slices) => {
                let said = self.home.slices(sender, slices);
                self.say_all(said);
            }
            PeerContent::Weights { step, chunk, values } => {
                self.passed_on(now, sender, (step, chunk), Content::Values(values))?;
            }
            PeerContent::CodedWeights { step, chunk, coded } => {
                self.passed_on(now, sender, (step, chunk), Content::Coded(coded, None))?;
            }
        }
        Ok(())
    }

    fn passed_on(
        &mut self,
        now: Instant,
        sender: WorkerId,
        place: (Step, Chunk),
        content: Content,
    ) -> Result<(), WorkerError> {
        let is_home = self.peers.route.homes.get(place.1.0 as usize) == Some(&Some(sender));
        if !self.arrivals.passed_on(now, sender, place, content, is_home) {
            // Altered: nothing of it is good for anything.
            self.peer_down(sender);
        }
        self.take_in(now)
    }

    pub(super) fn peer_up(&mut self, peer: WorkerId) {
        if peer == self.peers.own {
            return;
        }
        self.outlet.is_up(peer);
        if self.peers.up.insert(peer) {
            self.say(FromWorker::Reach { worker: peer, is_up: true });
        }
    }

    pub(super) fn peer_down(&mut self, peer: WorkerId) {
        if self.peers.up.remove(&peer) {
            // Before what goes to the coordinator instead.
            self.say(FromWorker::Reach { worker: peer, is_up: false });
        }
        let again = self.outlet.is_down(peer).unwrap_or_default();
        self.send_all(again);
        self.arrivals.lost(peer);
        self.ask();
    }

    pub(super) fn roster(&mut self, members: Vec<Member>) -> Result<(), WorkerError> {
        self.peers.check("a roster")?;
        let said = self.home.roster(&members);
        self.say_all(said);
        self.outputs.push_back(Output::Roster(members));
        Ok(())
    }

    pub(super) fn route(&mut self, route: Route) -> Result<(), WorkerError> {
        self.peers.check("a route")?;
        let number = route.number;
        if number <= self.peers.route.number {
            let problem = format!("route {number} after {}", self.peers.route.number);
            return Err(WorkerError::Protocol(problem));
        }
        let said = self.home.route(&route);
        self.say_all(said);
        self.peers.route = route.clone();
        let again = self.outlet.route(route);
        self.send_all(again);
        self.say(FromWorker::Routed(number));
        Ok(())
    }

    pub(super) fn dealt(&mut self, dealt: Dealt) -> Result<(), WorkerError> {
        self.peers.check("what others were dealt")?;
        let said = self.home.dealt(dealt);
        self.say_all(said);
        Ok(())
    }

    pub(super) fn named(&mut self, now: Instant, named: NamedWeights) -> Result<(), WorkerError> {
        self.peers.check("weights of another worker")?;
        self.outputs.push_back(Output::Answered(named.chunk));
        self.outlet.answered(named.step, named.chunk);
        self.arrivals.named(now, named);
        self.take_in(now)
    }

    /// Passes a chunk on to those who are to have it from here.
    pub(super) fn pass_on(
        &mut self,
        content: &PeerContent,
        to: Vec<WorkerId>,
    ) -> Result<(), WorkerError> {
        if to.is_empty() {
            return Ok(());
        }
        self.peers.check("weights to be passed on")?;
        let execution = self.peers.execution;
        let message = || PeerMessage { execution, content: content.clone() };
        self.outputs.extend(to.into_iter().map(|peer| Output::Tell(peer, message())));
        Ok(())
    }

    /// Asks the coordinator for what others did not pass on.
    pub(super) fn ask(&mut self) {
        for (step, chunk) in self.arrivals.asks() {
            self.say(FromWorker::Missing(step, chunk));
        }
    }

    fn say(&mut self, said: FromWorker) {
        self.outputs.push_back(Output::Say(said));
    }

    fn say_all(&mut self, said: Vec<FromWorker>) {
        self.outputs.extend(said.into_iter().map(Output::Say));
    }

    fn send_all(&mut self, said: Vec<Said>) {
        self.outputs.extend(said.into_iter().map(|said| match said {
            Said::Coordinator(said) => Output::Say(said),
            Said::Peer(peer, message) => Output::Tell(peer, message),
        }));
    }
}
