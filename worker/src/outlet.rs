//! Where results go: loss sums and all that is no gradient to the coordinator, nodes of chunks to their homes.
//!
//! What a home was sent stays here, without a copy, until the chunk's new weights are told of or a newer pass is dealt: a
//! route that gives the chunk to another, or a home that cannot be reached, has it sent again. Whoever computes and the core
//! share it, so that no node falls between two routes. Decides no route.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockstep_proto::frame::{
    FromWorker, PeerContent, PeerMessage, PeerSlices, ResultPart, Route, Slice,
};
use lockstep_proto::ids::{Chunk, Pass, Step, WorkerId};

/// Bytes of gradients in a message that sends some again.
const PART_BYTES: usize = 1 << 19;

/// Something that is said, and to whom.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// To the coordinator.
    Coordinator(FromWorker),
    /// To another worker, or to this one itself.
    Peer(WorkerId, PeerMessage),
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Outlet {
    own: WorkerId,
    execution: u64,
    // A std mutex: held to look up homes and to keep what is sent, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    route: Route,
    /// Who can be sent to.
    up: BTreeSet<WorkerId>,
    /// The newest pass that was dealt, and the step that it computes on.
    pass: Pass,
    step: Step,
    /// What was computed in it of chunks that have a home.
    kept: BTreeMap<Chunk, Vec<Slice>>,
}

impl Outlet {
    pub(crate) fn new(own: WorkerId, execution: u64) -> Outlet {
        Outlet { own, execution, state: Mutex::default() }
    }

    /// A training pass was dealt.
    pub(crate) fn begin(&self, pass: Pass, step: Step) {
        let mut state = self.lock();
        if pass > state.pass {
            (state.pass, state.step) = (pass, step);
            state.kept.clear();
        }
    }

    /// There are weights of a chunk.
    pub(crate) fn answered(&self, step: Step, chunk: Chunk) {
        let mut state = self.lock();
        if step > state.step {
            state.kept.remove(&chunk);
        }
    }

    /// Hands out a result to whom it is for.
    pub(crate) fn hand_out(&self, said: FromWorker, send: &mut dyn FnMut(Said)) {
        let FromWorker::Part(mut part) = said else { return send(Said::Coordinator(said)) };
        for said in self.sort(&mut part) {
            send(said);
        }
        if !part.slices.is_empty() || !part.sums.is_empty() || part.done.is_some() {
            send(Said::Coordinator(FromWorker::Part(part)));
        }
    }

    /// Takes out what is for homes.
    fn sort(&self, part: &mut ResultPart) -> Vec<Said> {
        let mut state = self.lock();
        if state.route.number == 0 {
            return Vec::new();
        }
        let pass = part.pass;
        if pass < state.route.from {
            // The pass is over: nobody wants them.
            part.slices.clear();
            return Vec::new();
        }
        let mut to_homes: BTreeMap<WorkerId, Vec<Slice>> = BTreeMap::new();
        for slice in std::mem::take(&mut part.slices) {
            let Some(home) = state.route.home(pass, slice.chunk) else {
                part.slices.push(slice);
                continue;
            };
            if pass == state.pass {
                state.kept.entry(slice.chunk).or_default().push(slice.clone());
            }
            match home == self.own || state.up.contains(&home) {
                true => to_homes.entry(home).or_default().push(slice),
                false => part.slices.push(slice),
            }
        }
        let route = state.route.number;
        let said = |(home, slices)| self.to_peer(home, PeerSlices { pass, route, slices });
        to_homes.into_iter().map(said).collect()
    }

    /// Takes in a route: what has another home by it is sent again.
    pub(crate) fn route(&self, route: Route) -> Vec<Said> {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.route, route);
        let pass = state.pass;
        let moved = |chunk: &Chunk| before.home(pass, *chunk) != state.route.home(pass, *chunk);
        let again: Vec<Chunk> = match pass < state.route.from {
            true => Vec::new(),
            false => state.kept.keys().copied().filter(moved).collect(),
        };
        self.again(&state, &again)
    }

    /// Another worker can be sent to.
    pub(crate) fn is_up(&self, peer: WorkerId) {
        self.lock().up.insert(peer);
    }

    /// Another worker cannot be sent to any more, if it could: what it may not have got goes to the coordinator.
    pub(crate) fn is_down(&self, peer: WorkerId) -> Option<Vec<Said>> {
        let mut state = self.lock();
        if !state.up.remove(&peer) {
            return None;
        }
        let of_it = |chunk: &Chunk| state.route.home(state.pass, *chunk) == Some(peer);
        let again: Vec<Chunk> = state.kept.keys().copied().filter(of_it).collect();
        Some(self.again(&state, &again))
    }

    /// Messages with what is kept of these chunks.
    fn again(&self, state: &State, chunks: &[Chunk]) -> Vec<Said> {
        let mut by_home: BTreeMap<Option<WorkerId>, Vec<Slice>> = BTreeMap::new();
        for chunk in chunks {
            let home = state.route.home(state.pass, *chunk);
            let home = home.filter(|home| *home == self.own || state.up.contains(home));
            let kept = state.kept.get(chunk).into_iter().flatten().cloned();
            by_home.entry(home).or_default().extend(kept);
        }
        let (pass, route, mut said) = (state.pass, state.route.number, Vec::new());
        for (home, slices) in by_home {
            let mut bytes = 0;
            let mut message = Vec::new();
            let mut parts = Vec::new();
            for slice in slices {
                bytes += slice.values.len();
                message.push(slice);
                if bytes >= PART_BYTES {
                    bytes = 0;
                    parts.push(std::mem::take(&mut message));
                }
            }
            parts.extend(Some(message).filter(|message| !message.is_empty()));
            said.extend(parts.into_iter().map(|slices| match home {
                Some(home) => self.to_peer(home, PeerSlices { pass, route, slices }),
                None => {
                    let (sums, done) = (Vec::new(), None);
                    Said::Coordinator(FromWorker::Part(ResultPart { pass, slices, sums, done }))
                }
            }));
        }
        said
    }

    fn to_peer(&self, home: WorkerId, slices: PeerSlices) -> Said {
        let (execution, content) = (self.execution, PeerContent::Slices(slices));
        Said::Peer(home, PeerMessage { execution, content })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::tree::Node;

    const HOME: WorkerId = WorkerId(2);
    const OTHER: WorkerId = WorkerId(3);

    fn slice(chunk: u32) -> Slice {
        Slice { node: Node::leaf(0), chunk: Chunk(chunk), values: vec![chunk as u8; 4].into() }
    }

    fn part(pass: u64, chunks: &[u32]) -> FromWorker {
        let slices = chunks.iter().copied().map(slice).collect();
        FromWorker::Part(ResultPart { pass: Pass(pass), slices, sums: Vec::new(), done: None })
    }

    fn to(home: WorkerId, route: u64, chunk: u32) -> Said {
        let slices = PeerSlices { pass: Pass(1), route, slices: vec![slice(chunk)] };
        let content = PeerContent::Slices(slices);
        Said::Peer(home, PeerMessage { execution: 7, content })
    }

    fn handed_out(outlet: &Outlet, result: FromWorker) -> Vec<Said> {
        let mut said = Vec::new();
        outlet.hand_out(result, &mut |what| said.push(what));
        said
    }

    /// Of three chunks one is the coordinator's, and one this worker's own.
    fn outlet() -> Outlet {
        let outlet = Outlet::new(WorkerId(1), 7);
        outlet.begin(Pass(1), Step(0));
        assert!(outlet.route(route(1, [None, Some(WorkerId(1)), Some(HOME)])).is_empty());
        outlet
    }

    fn route(number: u64, homes: [Option<WorkerId>; 3]) -> Route {
        Route { number, from: Pass(1), homes: homes.to_vec() }
    }

    #[test]
    fn without_a_route_results_go_on_as_they_are() {
        let outlet = Outlet::new(WorkerId(1), 7);
        let said = handed_out(&outlet, part(1, &[0, 1]));
        assert_eq!(said, [Said::Coordinator(part(1, &[0, 1]))]);
    }

    #[test]
    fn nodes_go_home_or_where_that_cannot_be_reached_to_the_coordinator() {
        let outlet = outlet();
        let rest = |chunks| Said::Coordinator(part(1, chunks));
        assert_eq!(
            handed_out(&outlet, part(1, &[0, 1, 2])),
            [to(WorkerId(1), 1, 1), rest(&[0, 2])]
        );
        outlet.is_up(HOME);
        assert_eq!(handed_out(&outlet, part(1, &[2])), [to(HOME, 1, 2)]);
        // Both times that it was computed.
        let again = outlet.is_down(HOME).expect("it was up");
        assert_eq!(again, [rest(&[2, 2])]);
        assert!(outlet.is_down(HOME).is_none());
        let over = outlet.route(Route { number: 2, from: Pass(2), homes: vec![None; 3] });
        assert!(over.is_empty());
        assert!(handed_out(&outlet, part(1, &[0])).is_empty(), "the pass is over");
    }

    #[test]
    fn another_home_is_sent_what_is_kept() {
        let outlet = outlet();
        outlet.is_up(HOME);
        outlet.is_up(OTHER);
        handed_out(&outlet, part(1, &[0, 1, 2]));
        outlet.answered(Step(0), Chunk(1));
        let moved = outlet.route(route(2, [None, None, Some(OTHER)]));
        assert_eq!(moved, [Said::Coordinator(part(1, &[1])), to(OTHER, 2, 2)]);
        outlet.answered(Step(1), Chunk(2));
        assert!(outlet.route(route(3, [None; 3])).is_empty(), "its weights are told of");
    }
}
