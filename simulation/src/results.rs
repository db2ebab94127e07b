//! What becomes of a worker's results on their way out: cut into any parts in any order, which the contract allows, or made
//! a lie.

use std::time::Duration;

use lockstep_proto::frame::{
    Done, FromWorker, NodeSums, PeerContent, PeerMessage, PeerSlices, ResultPart, Slice,
};
use lockstep_proto::ids::{Pass, Span, WorkerId};
use lockstep_proto::random::Random;
use lockstep_worker::core::Said;

use crate::case::{Case, Lie, Visit};
use crate::draw::one_in;
use crate::lies;

/// A value on its own.
enum Piece {
    Slice(Slice),
    Sums(NodeSums),
}

/// The results of one deal, as this worker says them: to the coordinator, and to homes.
pub(crate) fn said(
    results: Vec<Said>,
    case: &Case,
    visit: &Visit,
    lie: Option<Lie>,
    random: &mut Random,
) -> (Vec<FromWorker>, Vec<(WorkerId, PeerMessage)>) {
    let (mut results, mut to_homes) = split(results);
    let Some((pass, span)) = results.last_mut().and_then(|last| slow(last, visit)) else {
        return (results, to_homes);
    };
    if lie == Some(Lie::Divergences) && one_in(random, 3) {
        return (vec![lies::divergence(case, (pass, span), random)], to_homes);
    }
    if !visit.recuts && lie.is_none() {
        return (results, to_homes);
    }
    random.shuffle(&mut to_homes);
    if matches!(lie, Some(Lie::HollowDone | Lie::Withholds | Lie::Exchange)) {
        to_homes.retain(|_| !one_in(random, 3));
    }
    let lie = lie.filter(|&lie| lie != Lie::Exchange);
    let mut pieces = Vec::new();
    let mut done = None;
    for result in results {
        let FromWorker::Part(part) = result else { continue };
        pieces.extend(part.slices.into_iter().map(Piece::Slice));
        pieces.extend(part.sums.into_iter().map(Piece::Sums));
        done = done.or(part.done);
    }
    random.shuffle(&mut pieces);
    (recut(pieces, pass, done, lie, random), to_homes)
}

/// What is for whom; of what is for homes, each node on its own.
fn split(results: Vec<Said>) -> (Vec<FromWorker>, Vec<(WorkerId, PeerMessage)>) {
    let (mut to_coordinator, mut to_homes) = (Vec::new(), Vec::new());
    for said in results {
        match said {
            Said::Coordinator(said) => to_coordinator.push(said),
            Said::Peer(home, PeerMessage { execution, content }) => {
                let PeerContent::Slices(PeerSlices { pass, route, slices }) = content else {
                    panic!("whoever computes passes nothing on");
                };
                for slice in slices {
                    let slices = PeerSlices { pass, route, slices: vec![slice] };
                    let content = PeerContent::Slices(slices);
                    to_homes.push((home, PeerMessage { execution, content }));
                }
            }
        }
    }
    (to_coordinator, to_homes)
}

/// As much time as the worker would take, instead of what this machine takes. Which deal is done with that.
fn slow(last: &mut FromWorker, visit: &Visit) -> Option<(Pass, Span)> {
    let FromWorker::Part(ResultPart { pass, done: Some(done), .. }) = last else {
        return None;
    };
    done.busy = Duration::from_millis(u64::from(visit.pause_ms_max * done.span.len()));
    Some((*pass, done.span))
}

fn recut(
    pieces: Vec<Piece>,
    pass: Pass,
    done: Option<Done>,
    lie: Option<Lie>,
    random: &mut Random,
) -> Vec<FromWorker> {
    let mut parts = Vec::new();
    let mut part = ResultPart { pass, slices: Vec::new(), sums: Vec::new(), done: None };
    for mut piece in pieces {
        match lie {
            Some(Lie::Values) if one_in(random, 3) => piece.spoil(random),
            Some(Lie::HollowDone | Lie::Withholds) if one_in(random, 3) => continue,
            _ => {}
        }
        match piece {
            Piece::Slice(slice) => part.slices.push(slice),
            Piece::Sums(sums) => part.sums.push(sums),
        }
        if one_in(random, 2) {
            parts.push(FromWorker::Part(part.clone()));
            part.slices.clear();
            part.sums.clear();
        }
    }
    let is_withheld = lie == Some(Lie::Withholds) && one_in(random, 3);
    part.done = done.filter(|_| !is_withheld);
    parts.push(FromWorker::Part(part));
    parts
}

impl Piece {
    /// Flips a bit somewhere: of the first value, or of the last one, which may be a row square.
    fn spoil(&mut self, random: &mut Random) {
        match self {
            Piece::Slice(slice) => {
                let mut bytes = slice.values.to_vec();
                let last = bytes.len() - 2;
                bytes[if one_in(random, 2) { 0 } else { last }] ^= 1;
                slice.values = bytes.into();
            }
            Piece::Sums(sums) => {
                sums.values[0] = f64::from_bits(sums.values[0].to_bits() ^ 1);
            }
        }
    }
}
