//! Which members can talk to each other, and what they are told of that: names, keys and addresses. Only what a worker says of
//! itself and where its connection comes from goes in; nobody is dialed from here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lockstep_proto::frame::{Listens, Member, ToWorker};
use lockstep_proto::ids::WorkerId;

use crate::peer::Peer;

/// Most members that are listed: with the longest addresses these fit into one message. More exchange everything with the
/// coordinator.
pub(crate) const LISTED_MAX: usize = 1024;

/// The members that take part in exchanges between workers.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<WorkerId, Member>,
}

impl Roster {
    /// Lists a member, or what it says now. False if nothing follows from it: there are too many, or its key is another member's,
    /// whom it would be mistaken for.
    pub(crate) fn listens(&mut self, worker: WorkerId, peer: &Peer, listens: Listens) -> bool {
        let is_taken =
            self.members.values().any(|other| other.worker != worker && other.key == listens.key);
        let has_room = self.members.len() < LISTED_MAX || self.members.contains_key(&worker);
        if is_taken || !has_room {
            return false;
        }
        let Listens { key, port, mut addresses } = listens;
        if port == 0 {
            addresses.clear();
        } else if addresses.is_empty() {
            let seen = peer.address.map(|from| SocketAddr::new(from.ip().to_canonical(), port));
            addresses.extend(seen.map(|address| address.to_string()));
        }
        self.members.insert(worker, Member { worker, key, addresses });
        true
    }

    /// A member is gone. Whether it was listed.
    pub(crate) fn remove(&mut self, worker: WorkerId) -> bool {
        self.members.remove(&worker).is_some()
    }

    /// All that are listed.
    pub(crate) fn members(&self) -> impl Iterator<Item = WorkerId> {
        self.members.keys().copied()
    }

    /// What they are told.
    pub(crate) fn message(&self) -> ToWorker {
        ToWorker::Roster(self.members.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { address: Some(address.parse().unwrap()), ..Peer::default() }
    }

    fn listens(key: u8, port: u16, addresses: &[&str]) -> Listens {
        let addresses = addresses.iter().map(|address| address.to_string()).collect();
        Listens { key: [key; 32], port, addresses }
    }

    fn told(roster: &Roster) -> Vec<(u64, Vec<String>)> {
        let ToWorker::Roster(members) = roster.message() else { panic!("another message") };
        members.into_iter().map(|member| (member.worker.0, member.addresses)).collect()
    }

    #[test]
    fn a_member_is_where_it_says_or_where_it_comes_from() {
        let mut roster = Roster::default();
        let (one, two, three) = (WorkerId(1), WorkerId(2), WorkerId(3));
        assert!(roster.listens(two, &peer("10.0.0.2:99"), listens(2, 7, &[])));
        assert!(roster.listens(one, &peer("[::ffff:10.0.0.1]:99"), listens(1, 7, &[])));
        assert!(roster.listens(three, &peer("[fd00::3]:99"), listens(3, 0, &["a.example:7"])));
        let seen = |ip: &str| vec![format!("{ip}:7")];
        assert_eq!(told(&roster), [(1, seen("10.0.0.1")), (2, seen("10.0.0.2")), (3, Vec::new())]);
        assert!(roster.listens(three, &peer("[fd00::3]:99"), listens(3, 7, &["a.example:9"])));
        assert_eq!(told(&roster)[2], (3, vec!["a.example:9".to_string()]));
        assert!(roster.remove(two) && !roster.remove(two));
        assert_eq!(roster.members().collect::<Vec<_>>(), [one, three]);
    }

    #[test]
    fn nobody_is_listed_with_the_key_of_another_or_when_there_are_too_many() {
        let mut roster = Roster::default();
        let from = peer("10.0.0.1:99");
        assert!(roster.listens(WorkerId(1), &from, listens(1, 7, &[])));
        assert!(!roster.listens(WorkerId(2), &from, listens(1, 7, &[])));
        for worker in 2..=LISTED_MAX as u64 {
            let mut other = listens(0, 7, &[]);
            other.key[..8].copy_from_slice(&worker.to_le_bytes());
            assert!(roster.listens(WorkerId(worker), &from, other));
        }
        assert!(!roster.listens(WorkerId(0), &from, listens(99, 7, &[])));
        assert!(roster.listens(WorkerId(1), &from, listens(1, 8, &[])));
    }
}
