//! What a member, or somebody who is none, can say against the contract. Not among it: wrong values for what it was dealt where
//! nobody audits, which nothing can find.

use bytes::Bytes;
use lockstep_proto::frame::{Divergence, FromWorker, PeerContent, PeerMessage};
use lockstep_proto::ids::{Pass, Shard, Span};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::random::Random;
use lockstep_proto::wire::{self, worker_message::Kind};

use crate::case::Case;
use crate::draw::one_in;

/// A divergence where there is none: in what was dealt, or anywhere in any pass.
pub(crate) fn divergence(case: &Case, dealt: (Pass, Span), random: &mut Random) -> FromWorker {
    let (now, span) = dealt;
    let own = Shard(span.start + random.below(span.len()));
    let any = Shard(random.below(case.tree().shards()));
    let pass = match random.below(16) {
        0 => Pass(u64::MAX),
        1 => Pass(now.0 + u64::from(random.below(20))),
        2 => Pass(u64::from(random.below(now.0 as u32 + 1))),
        _ => now,
    };
    let shard = if one_in(random, 8) { any } else { own };
    let layer = one_in(random, 2).then_some(0);
    FromWorker::Divergence(Divergence { pass, shard, layer, in_gradient: one_in(random, 2) })
}

/// What a home says of a sum that it keeps or alters; `None`: nothing.
pub(crate) fn sum(said: FromWorker, random: &mut Random) -> Option<FromWorker> {
    let mut sum = match said {
        FromWorker::Sum(sum) => sum,
        // What it is to send again.
        FromWorker::Part(part) if !part.slices.is_empty() => return None,
        said => return Some(said),
    };
    match random.below(8) {
        0 | 1 => return None,
        2 | 5 => sum.of.iter_mut().for_each(|(_, worker)| worker.0 += 1_000_000),
        3 => _ = sum.of.pop(),
        4 => return Some(FromWorker::Overflow(sum.pass, sum.slice.chunk)),
        _ => {}
    }
    Some(FromWorker::Sum(sum))
}

/// What a worker says to another, kept or altered where that can be noticed; `None`: nothing.
pub(crate) fn exchanged(mut said: PeerMessage, random: &mut Random) -> Option<PeerMessage> {
    match (&mut said.content, random.below(6)) {
        (_, 0) => return None,
        (_, 1) => said.execution += 1,
        (PeerContent::Slices(slices), 2) => slices.pass.0 += 1000,
        (PeerContent::Weights { values, .. }, 2 | 3) => {
            let mut altered = values.to_vec();
            altered[0] ^= 1;
            *values = altered.into();
        }
        (PeerContent::CodedWeights { coded, .. }, 2 | 3) => {
            let mut altered = coded.to_vec();
            let place = random.below(altered.len() as u32) as usize;
            altered[place] ^= 1 << random.below(8);
            *coded = altered.into();
        }
        (PeerContent::Weights { step, .. } | PeerContent::CodedWeights { step, .. }, 4) => {
            step.0 += u64::from(random.below(3))
        }
        _ => {}
    }
    Some(said)
}

/// Any message: what it says may be of the run or not, whole or not, and for any pass up to far beyond this one.
pub(crate) fn anything(case: &Case, now: Pass, random: &mut Random) -> wire::WorkerMessage {
    let kind = match random.below(14) {
        0 => Some(Kind::Prepared(span(case, random))),
        1 => Some(Kind::Divergence(wire::Divergence {
            pass: pass(now, random),
            shard: shard(case, random),
            layer: one_in(random, 2).then(|| random.below(8)),
            in_gradient: one_in(random, 2),
        })),
        2 => Some(Kind::Share(wire::Ticket::default())),
        3 => Some(Kind::Join(wire::Join::default())),
        4 => None,
        5 => Some(Kind::Routed(wire::Routed { number: u64::from(random.below(4)) })),
        6 => Some(Kind::Missing(wire::Missing {
            step: u64::from(random.below(20)),
            chunk: random.below(case.chunks() as u32 + 1),
        })),
        7 => Some(Kind::Reach(wire::Reach {
            worker: u64::from(random.below(30)),
            is_up: one_in(random, 2),
        })),
        // Of nothing.
        8 => Some(Kind::Sum(wire::HomeSum {
            pass: pass(now, random),
            slice: part(case, Pass(now.0 + 1000), random).slices.pop(),
            of: Vec::new(),
        })),
        9 => Some(Kind::Overflow(wire::Overflow {
            pass: pass(now, random),
            chunk: random.below(case.chunks() as u32 + 1),
        })),
        10 => Some(Kind::Listens(wire::Listens::default())),
        _ => Some(Kind::Part(part(case, now, random))),
    };
    wire::WorkerMessage { kind }
}

fn part(case: &Case, now: Pass, random: &mut Random) -> wire::ResultPart {
    let is_audited = case.audit_fraction == 1.0;
    // Where nobody audits: values for a pass that it cannot have been dealt, or rows that it cannot have counted.
    let pass = if is_audited || one_in(random, 2) { pass(now, random) } else { now.0 + 1000 };
    let may_name_values = is_audited || pass >= now.0 + 1000;
    let slices = if may_name_values { random.below(3) } else { 0 };
    let chunks = case.job.network.layout().chunks();
    let slice = |random: &mut Random| {
        let (level, index) = node(case, random);
        let chunk = random.below(chunks.len() as u32 + 1);
        let len = chunks.get(chunk as usize).map_or(0, ChunkRange::sums_len);
        let whole = len * case.job.precision.width();
        let bytes = if one_in(random, 2) { whole } else { 2 * random.below(9) as usize };
        let values = Bytes::from(vec![random.below(256) as u8; bytes]);
        wire::Slice { level, index, chunk, values, ..Default::default() }
    };
    let sum = |random: &mut Random| {
        let (level, index) = node(case, random);
        let rows = if may_name_values { u64::from(random.below(70)) } else { u64::MAX };
        let first = [0.5, -1e300, f64::NAN, f64::INFINITY][random.below(4) as usize];
        let network = &case.job.network;
        let lens = [network.sums_len(), network.sums_len() - 1, network.table_sums_len()];
        let mut values = vec![0.0; lens[random.below(3) as usize]];
        values.iter_mut().take(1).for_each(|value| *value = first);
        wire::NodeSums { level, index, rows, values }
    };
    wire::ResultPart {
        pass,
        slices: (0..slices).map(|_| slice(random)).collect(),
        sums: (0..random.below(3)).map(|_| sum(random)).collect(),
        done: one_in(random, 2).then(|| wire::Done {
            span: (!one_in(random, 8)).then(|| span(case, random)),
            busy_nanoseconds: if one_in(random, 2) { u64::MAX } else { 0 },
        }),
    }
}

fn pass(now: Pass, random: &mut Random) -> u64 {
    match random.below(8) {
        0 => u64::MAX,
        1 => now.0 + u64::from(random.below(20)),
        2 | 3 => u64::from(random.below(now.0 as u32 + 1)),
        _ => now.0,
    }
}

/// Mostly one of the run.
fn shard(case: &Case, random: &mut Random) -> u32 {
    let beyond = u32::from(one_in(random, 8));
    random.below(case.tree().shards() + beyond)
}

fn span(case: &Case, random: &mut Random) -> wire::Span {
    let (one, other) = (shard(case, random), shard(case, random));
    wire::Span { start: one.min(other), end: one.max(other) + u32::from(!one_in(random, 8)) }
}

fn node(case: &Case, random: &mut Random) -> (u32, u32) {
    let level = random.below(7);
    (level, shard(case, random) >> level)
}
