//! Who a worker is, for people: where its process can be found, and what it was called before. Decides nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;

use lockstep_proto::frame::Join;
use lockstep_proto::ids::WorkerId;

/// Most processes that are recognised when they join again; of more, those that joined last.
const KNOWN_MAX: usize = 4096;

/// Who a worker is, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where its connection comes from.
    pub address: Option<SocketAddr>,
    /// Host name as the worker gives it; empty if it gave none.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// Compute threads.
    pub threads: u32,
    /// What the same process was called when it was a member before.
    pub was: Option<WorkerId>,
}

impl Peer {
    pub(crate) fn new(address: Option<SocketAddr>, join: &Join) -> Peer {
        let (host, pid, threads) = (join.host.clone(), join.pid, join.threads);
        Peer { address, host, pid, threads, was: None }
    }

    /// The address of its machine, if it is known.
    pub fn ip(&self) -> Option<String> {
        self.address.map(|address| address.ip().to_canonical().to_string())
    }
}

/// The processes that were members, by what they call themselves. Only names come from it: nobody is believed anything.
#[derive(Debug, Default)]
pub(crate) struct Known {
    last: VecDeque<([u8; 16], WorkerId)>,
}

impl Known {
    /// Notes that a process is a member by this name now. What it was called before.
    pub(crate) fn note(
        &mut self,
        identity: Option<[u8; 16]>,
        worker: WorkerId,
    ) -> Option<WorkerId> {
        let identity = identity?;
        let place = self.last.iter().position(|(known, _)| *known == identity);
        let before = place.and_then(|place| self.last.remove(place));
        if self.last.len() == KNOWN_MAX {
            self.last.pop_front();
        }
        self.last.push_back((identity, worker));
        before.map(|(_, worker)| worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_and_few_are_remembered() {
        let mut known = Known::default();
        let identity = |name: u64| Some((u128::from(name)).to_le_bytes());
        assert_eq!(known.note(None, WorkerId(1)), None);
        assert_eq!(known.note(identity(7), WorkerId(2)), None);
        assert_eq!(known.note(identity(8), WorkerId(3)), None);
        assert_eq!(known.note(identity(7), WorkerId(4)), Some(WorkerId(2)));
        assert_eq!(known.note(identity(7), WorkerId(5)), Some(WorkerId(4)));
        for name in 0..2 * KNOWN_MAX as u64 {
            known.note(identity(100 + name), WorkerId(100 + name));
        }
        assert_eq!(known.last.len(), KNOWN_MAX);
        assert_eq!(known.note(identity(7), WorkerId(9)), None);
    }
}
