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
