//! Connections between simulated workers: found, never found, lost without a word, found again; and what goes over them.

use std::collections::BTreeSet;
use std::time::Duration;

use lockstep_proto::frame::{PeerMessage, code_peer_gradients};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::wire;
use lockstep_worker::core::Input as WorkerInput;

use super::{Deed, Happening, Network};
use crate::case::Lie;
use crate::draw::{one_in, up_to_ms};
use crate::lies;

/// Two workers, the one with the smaller name first.
pub(super) type Pair = (WorkerId, WorkerId);

/// What leads from one of a pair to the other.
#[derive(Debug, Default)]
pub(super) struct Connection {
    is_up: bool,
    /// It is looked for.
    is_sought: bool,
    /// Counts up.
    number: u64,
    /// When the last message comes, to the first and to the second.
    last_arrival: [Duration; 2],
}

fn pair(one: WorkerId, other: WorkerId) -> Pair {
    (one.min(other), one.max(other))
}

impl Network<'_> {
    /// A worker is told whom it is to be connected to.
    pub(super) fn is_to_connect(&mut self, worker: WorkerId, roster: BTreeSet<WorkerId>) {
        let gone: Vec<WorkerId> = self.link(worker).roster.difference(&roster).copied().collect();
        for other in gone {
            self.disconnect(worker, other, [5, 5]);
        }
        self.link(worker).roster = roster.clone();
        for other in roster {
            self.seek(pair(worker, other), 50);
        }
    }

    fn seek(&mut self, pair: Pair, within_ms: u32) {
        if pair.0 == pair.1 {
            return;
        }
        let connection = self.pairs.entry(pair).or_default();
        if !connection.is_up && !std::mem::replace(&mut connection.is_sought, true) {
            self.soon(within_ms, Happening::Connects(pair));
        }
    }

    fn wants(&self, worker: WorkerId, other: WorkerId) -> bool {
        let link = self.links.get(&worker);
        link.is_some_and(|link| link.worker.is_some() && link.roster.contains(&other))
    }

    pub(super) fn connects(&mut self, pair: Pair) {
        let (one, other) = pair;
        let is_wanted = self.wants(one, other) && self.wants(other, one);
        // Some pairs never find each other.
        let random = &mut Random::new(self.case.seed ^ (one.0 << 20), Purpose::Split, 5, other.0);
        let is_blocked = one_in(random, 8);
        let connection = self.pairs.entry(pair).or_default();
        connection.is_sought = false;
        if !is_wanted || connection.is_up {
            return;
        }
        if is_blocked {
            self.at_both(pair, Deed::Loses, [20, 20]);
            return;
        }
        connection.is_up = true;
        connection.number += 1;
        let number = connection.number;
        self.at_both(pair, Deed::Finds, [5, 5]);
        if one_in(&mut self.random, 3) {
            self.soon(2_000, Happening::Cuts(pair, number));
        }
    }

    /// The connection is lost, and both find that out, and each other again.
    pub(super) fn cuts(&mut self, pair: Pair, number: u64) {
        let is_it = |connection: &Connection| connection.is_up && connection.number == number;
        if !self.pairs.get(&pair).is_some_and(is_it) {
            return;
        }
        self.seen.cut += 1;
        let mut late = || if one_in(&mut self.random, 4) { 5_000 } else { 50 };
        let within = [late(), late()];
        let found_out = self.disconnect(pair.0, pair.1, within);
        let connection = self.pairs.entry(pair).or_default();
        connection.is_sought = true;
        let again = found_out + up_to_ms(&mut self.random, 500);
        self.queue(again, Happening::Connects(pair));
    }

    /// A process is gone: those connected to it find that out.
    pub(super) fn is_gone(&mut self, worker: WorkerId) {
        let roster = std::mem::take(&mut self.link(worker).roster);
        for other in roster {
            let within_ms = if one_in(&mut self.random, 4) { 5_000 } else { 20 };
            self.disconnect(worker, other, [within_ms; 2]);
        }
    }

    /// Ends a connection. When both have found that out.
    fn disconnect(&mut self, one: WorkerId, other: WorkerId, within_ms: [u32; 2]) -> Duration {
        let pair = pair(one, other);
        let connection = self.pairs.entry(pair).or_default();
        if !std::mem::replace(&mut connection.is_up, false) {
            return self.now;
        }
        self.at_both(pair, Deed::Loses, within_ms)
    }

    /// Something happens at both; when it did.
    fn at_both(
        &mut self,
        pair: Pair,
        deed: impl Fn(WorkerId) -> Deed,
        within_ms: [u32; 2],
    ) -> Duration {
        let (one, other) = pair;
        let mut last = self.now;
        for ((at, of), within_ms) in [(one, other), (other, one)].into_iter().zip(within_ms) {
            let when = self.now + up_to_ms(&mut self.random, within_ms);
            last = last.max(when);
            self.queue(when, Happening::At(at, deed(of)));
        }
        last
    }

    /// Puts on their way what a worker just said to others.
    pub(super) fn tell(&mut self, worker: WorkerId) {
        let link = self.links.get_mut(&worker).expect("every worker has a link");
        let Some(process) = &mut link.worker else { return };
        let is_lie = link.visit.lie == Some(Lie::Exchange);
        let codes = process.codes;
        for (other, message) in std::mem::take(&mut process.told) {
            let message = match is_lie && other != worker {
                true => lies::exchanged(message, &mut self.random),
                false => Some(message),
            };
            let Some(message) = message.map(PeerMessage::into_wire) else { continue };
            self.put_on_its_way(worker, other, message, codes);
        }
    }

    fn put_on_its_way(
        &mut self,
        from: WorkerId,
        to: WorkerId,
        mut message: wire::PeerMessage,
        codes: Option<lockstep_proto::values::Precision>,
    ) {
        let delay = up_to_ms(&mut self.random, 10);
        let arrival = self.now + delay;
        if from == to {
            let link = self.link(from);
            link.last_heard = link.last_heard.max(arrival);
            let at = link.last_heard;
            return self.queue(at, Happening::At(from, Deed::Hears(from, message)));
        }
        let Some(connection) = self.pairs.get_mut(&pair(from, to)).filter(|c| c.is_up) else {
            return;
        };
        if let Some(precision) = codes {
            code_peer_gradients(&mut message, precision);
        }
        let last = &mut connection.last_arrival[usize::from(to > from)];
        *last = (*last).max(arrival);
        let (at, connection) = (*last, connection.number);
        self.queue(at, Happening::Passes { from, to, connection, message });
    }

    pub(super) fn passes(
        &mut self,
        from: WorkerId,
        to: WorkerId,
        number: u64,
        message: wire::PeerMessage,
    ) {
        let is_it = |connection: &Connection| connection.is_up && connection.number == number;
        if self.pairs.get(&pair(from, to)).is_some_and(is_it) {
            self.does(to, Deed::Hears(from, message));
        }
    }

    /// What a worker's core is shown when it finds or loses another.
    pub(super) fn found(other: WorkerId, is_up: bool) -> WorkerInput {
        match is_up {
            true => WorkerInput::PeerUp(other),
            false => WorkerInput::PeerDown(other, "the connection is lost".to_string()),
        }
    }
}
