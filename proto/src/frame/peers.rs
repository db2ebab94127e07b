//! Messages for sums that workers add up: between workers, and what these and the coordinator tell each other about it.
//!
//! After the checks a sum names nodes inside its own, in the order of the shards and none twice, and a route a home for
//! each chunk or for none. Who may say it *now* is not known here.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::check::{COUNT_MAX, Checked, NAME_BYTES_MAX, broken};
use super::coded::Budget;
use super::{FromWorker, Limits, Slice, ToWorker};
use crate::ids::{Chunk, Pass, Span, Step, WorkerId};
use crate::tree::Node;
use crate::wire::{self, coordinator_message, worker_message};

/// Most addresses of a worker.
const ADDRESSES_MAX: usize = 8;

/// Most workers in a roster, and spans in one message about what was dealt.
const MEMBERS_MAX: usize = 1 << 14;

/// Where other workers find one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listens {
    /// SHA-256 of its public key.
    pub key: [u8; 32],
    /// On the address that the coordinator sees; 0: nobody can connect to it.
    pub port: u16,
    /// `HOST:PORT`, instead of that.
    pub addresses: Vec<String>,
}

/// A worker that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub worker: WorkerId,
    /// SHA-256 of its public key.
    pub key: [u8; 32],
    /// `HOST:PORT`; none: it cannot be connected to, but connects to others.
    pub addresses: Vec<String>,
}

/// Where the nodes of each chunk go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Of two the newer one has the greater number.
    pub number: u64,
    /// The first pass that it holds for.
    pub from: Pass,
    /// By chunk: the worker that is home to it; `None` for the coordinator, as for all chunks where there is no entry.
    pub homes: Vec<Option<WorkerId>>,
}

impl Route {
    /// The home of a chunk's nodes in a pass, if that is a worker.
    pub fn home(&self, pass: Pass, chunk: Chunk) -> Option<WorkerId> {
        self.homes.get(chunk.0 as usize).copied().flatten().filter(|_| pass >= self.from)
    }
}

/// What was dealt in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealt {
    /// Which.
    pub pass: Pass,
    /// Its batch.
    pub batch: u64,
    /// To whom. Replaces what was said of the same worker and span.
    pub spans: Vec<DealtSpan>,
}

/// A span in the hands of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DealtSpan {
    /// Whose.
    pub worker: WorkerId,
    /// Which.
    pub span: Span,
    /// Whether its nodes go to the coordinator, since it and the home cannot exchange messages.
    pub is_apart: bool,
}

/// What a home added up of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeSum {
    /// In which pass.
    pub pass: Pass,
    /// The root, or a node whose sibling does not come to this home; and its values.
    pub slice: Slice,
    /// The nodes that were added, in the order of the shards, and who sent them.
    pub of: Vec<(Node, WorkerId)>,
}

/// A chunk of the weights that another worker passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedWeights {
    /// Version of the weights.
    pub step: Step,
    /// The part of the flat vector.
    pub chunk: Chunk,
    /// Who passes them on.
    pub home: WorkerId,
    /// Of the values: see [`digest`].
    pub digest: [u8; 32],
}

/// What a worker says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// Of the coordinator that both follow.
    pub execution: u64,
    /// What it says.
    pub content: PeerContent,
}

/// What is said between workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerContent {
    /// Nodes of chunks that the receiver is home to.
    Slices(PeerSlices),
    /// A chunk of the weights, passed on.
    Weights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
        /// The chunk's values, in the run's precision.
        values: Bytes,
    },
    /// What changed in a chunk of the weights since the step before, passed on.
    CodedWeights {
        /// Version of the weights.
        step: Step,
        /// The part of the flat vector.
        chunk: Chunk,
        /// See [`coding`](crate::coding).
        coded: Bytes,
    },
}

/// Nodes of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSlices {
    /// Which.
    pub pass: Pass,
    /// The number of the route by which they are sent.
    pub route: u64,
    /// The nodes.
    pub slices: Vec<Slice>,
}

/// What tells a chunk's values from others (BLAKE3).
pub fn digest(values: &[u8]) -> [u8; 32] {
    *blake3::hash(values).as_bytes()
}

impl Limits {
    /// Checks a message of another worker.
    ///
    /// # Errors
    /// As [`from_worker`](Self::from_worker).
    pub fn from_peer(&self, message: wire::PeerMessage) -> Checked<PeerMessage> {
        use wire::peer_message::Kind;
        let execution = message.execution;
        let content = match message.kind {
            Some(Kind::Slices(wire::PeerSlices { pass, route, slices })) => {
                let slices = self.slices(slices)?;
                PeerContent::Slices(PeerSlices { pass: Pass(pass), route, slices })
            }
            Some(Kind::Weights(weights)) if weights.step > COUNT_MAX => {
                return broken(format!("weights of step {}", weights.step));
            }
            Some(Kind::Weights(weights)) if !weights.coded.is_empty() => {
                let (step, coded) = (Step(weights.step), weights.coded);
                let chunk = self.coded_weights(step, weights.chunk, &coded)?;
                PeerContent::CodedWeights { step, chunk, coded }
            }
            Some(Kind::Weights(weights)) => {
                let (chunk, range) = self.chunk(weights.chunk)?;
                self.check_len(chunk, &weights.values, range.range.len())?;
                PeerContent::Weights { step: Step(weights.step), chunk, values: weights.values }
            }
            None => return broken("no content"),
        };
        Ok(PeerMessage { execution, content })
    }

    pub(super) fn home_sum(&self, sum: wire::HomeSum) -> Checked<HomeSum> {
        let Some(slice) = sum.slice else { return broken("a sum of nothing") };
        let slice = self.slice(&mut Budget::new(), slice)?;
        let span = self.tree.span(slice.node).expect("it was checked");
        let mut start = span.start;
        let of = sum.of.into_iter().map(|wire::Addend { level, index, worker }| {
            let node = self.node(level, index)?;
            let inside = self.tree.span(node).expect("it was checked");
            if !span.contains(inside) || inside.start < start {
                return broken(format!("a sum of {} with {node} in it, or twice", slice.node));
            }
            start = inside.end;
            Ok((node, WorkerId(worker)))
        });
        let of = of.collect::<Checked<_>>()?;
        Ok(HomeSum { pass: Pass(sum.pass), slice, of })
    }

    pub(super) fn overflow(&self, overflow: &wire::Overflow) -> Checked<FromWorker> {
        let (chunk, _) = self.chunk(overflow.chunk)?;
        Ok(FromWorker::Overflow(Pass(overflow.pass), chunk))
    }

    pub(super) fn missing(&self, missing: &wire::Missing) -> Checked<FromWorker> {
        let (chunk, _) = self.chunk(missing.chunk)?;
        Ok(FromWorker::Missing(Step(missing.step), chunk))
    }

    pub(super) fn route(&self, route: wire::Route) -> Checked<Route> {
        let wire::Route { number, from_pass, homes, places } = route;
        let chunks = self.layout.chunks().len();
        if from_pass > COUNT_MAX || ![0, chunks].contains(&places.len()) {
            return broken(format!("a route of {} chunks of {chunks}", places.len()));
        }
        let home = |place: u32| match place.checked_sub(1) {
            None => Ok(None),
            Some(place) => match homes.get(place as usize) {
                Some(&home) => Ok(Some(WorkerId(home))),
                None => broken(format!("home {place} of {}", homes.len())),
            },
        };
        let homes = places.into_iter().map(home).collect::<Checked<_>>()?;
        Ok(Route { number, from: Pass(from_pass), homes })
    }

    pub(super) fn dealt(&self, dealt: wire::Dealt) -> Checked<Dealt> {
        let wire::Dealt { pass, batch, spans } = dealt;
        if pass > COUNT_MAX || batch >= self.batches.count() || spans.len() > MEMBERS_MAX {
            return broken(format!(
                "batch {batch} of {} dealt in pass {pass}",
                self.batches.count()
            ));
        }
        let spans = spans.into_iter().map(|wire::DealtSpan { worker, span, is_apart }| {
            let Some(span) = span else { return broken("dealt, but not which span") };
            Ok(DealtSpan { worker: WorkerId(worker), span: self.span(span)?, is_apart })
        });
        Ok(Dealt { pass: Pass(pass), batch, spans: spans.collect::<Checked<_>>()? })
    }

    /// Checks weights that another worker passes on.
    pub(super) fn named_weights(
        &self,
        (step, chunk): (Step, u32),
        home: WorkerId,
        digest: &[u8],
    ) -> Checked<ToWorker> {
        let (chunk, _) = self.chunk(chunk)?;
        let Ok(digest) = digest.try_into() else {
            return broken(format!("a digest of {} bytes, wanted 32", digest.len()));
        };
        Ok(ToWorker::NamedWeights(NamedWeights { step, chunk, home, digest }))
    }
}

impl Listens {
    pub(super) fn from_wire(listens: wire::Listens) -> Checked<FromWorker> {
        let wire::Listens { key, port, addresses } = listens;
        let Ok(port) = u16::try_from(port) else { return broken(format!("port {port}")) };
        let (key, addresses) = (key_of(&key)?, addresses_of(addresses)?);
        Ok(FromWorker::Listens(Listens { key, port, addresses }))
    }

    pub(super) fn into_kind(self) -> worker_message::Kind {
        worker_message::Kind::Listens(wire::Listens {
            key: self.key.to_vec().into(),
            port: self.port.into(),
            addresses: self.addresses,
        })
    }
}

pub(super) fn roster(roster: wire::Roster) -> Checked<ToWorker> {
    if roster.members.len() > MEMBERS_MAX {
        return broken(format!("a roster of {} workers", roster.members.len()));
    }
    let members = roster.members.into_iter().map(|wire::Member { worker, key, addresses }| {
        let (key, addresses) = (key_of(&key)?, addresses_of(addresses)?);
        Ok(Member { worker: WorkerId(worker), key, addresses })
    });
    Ok(ToWorker::Roster(members.collect::<Checked<_>>()?))
}

fn key_of(key: &[u8]) -> Checked<[u8; 32]> {
    key.try_into().or_else(|_| broken(format!("a key of {} bytes, wanted 32", key.len())))
}

fn addresses_of(addresses: Vec<String>) -> Checked<Vec<String>> {
    let is_fit = |address: &String| {
        (1..=NAME_BYTES_MAX).contains(&address.len()) && !address.chars().any(char::is_control)
    };
    if addresses.len() > ADDRESSES_MAX || !addresses.iter().all(is_fit) {
        return broken("an address that is none");
    }
    Ok(addresses)
}

impl HomeSum {
    pub(super) fn into_kind(self) -> worker_message::Kind {
        let addend =
            |(Node { level, index }, WorkerId(worker))| wire::Addend { level, index, worker };
        worker_message::Kind::Sum(wire::HomeSum {
            pass: self.pass.0,
            slice: Some(super::encode::slice_wire(self.slice)),
            of: self.of.into_iter().map(addend).collect(),
        })
    }
}

impl Route {
    pub(super) fn into_kind(self) -> coordinator_message::Kind {
        let (mut homes, mut known) = (Vec::new(), BTreeMap::new());
        let place = |home: Option<WorkerId>| {
            let Some(WorkerId(home)) = home else { return 0 };
            *known.entry(home).or_insert_with(|| {
                homes.push(home);
                homes.len() as u32
            })
        };
        let places = self.homes.into_iter().map(place).collect();
        let (number, from_pass) = (self.number, self.from.0);
        coordinator_message::Kind::Route(wire::Route { number, from_pass, homes, places })
    }
}

impl Dealt {
    pub(super) fn into_kind(self) -> coordinator_message::Kind {
        let spans = self.spans.into_iter().map(|DealtSpan { worker, span, is_apart }| {
            let span = Some(wire::Span { start: span.start, end: span.end });
            wire::DealtSpan { worker: worker.0, span, is_apart }
        });
        let (pass, batch, spans) = (self.pass.0, self.batch, spans.collect());
        coordinator_message::Kind::Dealt(wire::Dealt { pass, batch, spans })
    }
}

impl Member {
    pub(super) fn into_wire(self) -> wire::Member {
        let Member { worker, key, addresses } = self;
        wire::Member { worker: worker.0, key: key.to_vec().into(), addresses }
    }
}

impl NamedWeights {
    pub(super) fn into_kind(self) -> coordinator_message::Kind {
        coordinator_message::Kind::Weights(wire::Weights {
            step: self.step.0,
            chunk: self.chunk.0,
            home: Some(self.home.0),
            digest: self.digest.to_vec().into(),
            ..Default::default()
        })
    }
}

impl PeerMessage {
    /// As a message.
    pub fn into_wire(self) -> wire::PeerMessage {
        use wire::peer_message::Kind;
        let kind = match self.content {
            PeerContent::Slices(PeerSlices { pass, route, slices }) => {
                let slices = slices.into_iter().map(super::encode::slice_wire).collect();
                Kind::Slices(wire::PeerSlices { pass: pass.0, route, slices })
            }
            PeerContent::Weights { step, chunk, values } => {
                let (step, chunk) = (step.0, chunk.0);
                Kind::Weights(wire::Weights { step, chunk, values, ..Default::default() })
            }
            PeerContent::CodedWeights { step, chunk, coded } => {
                let (step, chunk) = (step.0, chunk.0);
                Kind::Weights(wire::Weights { step, chunk, coded, ..Default::default() })
            }
        };
        wire::PeerMessage { execution: self.execution, kind: Some(kind) }
    }
}
