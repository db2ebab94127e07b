//! What a connection may cost before its peer has joined: time, bytes, and a place among others; and how long it may take after that. When there are too many, the
//! oldest goes, of the address that has most of its own: whoever really joins does so in milliseconds, and so gets in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::connection::{Watch, Watched};

/// Time to join, from the connection on; to go, from the end of what was joined on; and to take something of what is said.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(15);

/// Most bytes that are read of a peer that has not joined. A handshake and a join take less than a tenth.
const STRANGER_BYTES_MAX: usize = 1 << 16;

/// Most connections that have not joined, in all and from one address.
const STRANGERS_MAX: usize = 512;
const STRANGERS_OF_ADDRESS_MAX: usize = 128;

/// The connections whose peers have not joined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers {
    // A std mutex: held to look at some hundred entries at most, never across a wait.
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    /// Oldest first.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    origin: IpAddr,
    watch: Weak<Watch>,
}

/// A place among the strangers, until it is dropped.
#[derive(Debug)]
struct Place {
    number: u64,
    list: Arc<Mutex<List>>,
}

impl Strangers {
    /// Watches a connection that has just come; another goes if there are too many.
    pub(crate) fn watch(&self, stream: TcpStream, address: IpAddr) -> Watched<TcpStream> {
        let origin = origin(address);
        let mut list = lock(&self.list);
        let number = list.next;
        list.next += 1;
        list.make_room(origin);
        let place = Place { number, list: self.list.clone() };
        let watched =
            Watched::of_stranger(stream, JOIN_WAIT_MAX, STRANGER_BYTES_MAX, Box::new(place));
        let watch = Arc::downgrade(&watched.watch());
        list.entries.push_back(Entry { number, origin, watch });
        watched
    }
}

impl List {
    fn make_room(&mut self, origin: IpAddr) {
        let of_origin = self.entries.iter().filter(|entry| entry.origin == origin).count();
        let crowded = if of_origin >= STRANGERS_OF_ADDRESS_MAX {
            Some(origin)
        } else if self.entries.len() >= STRANGERS_MAX {
            self.most_crowded()
        } else {
            None
        };
        let Some(crowded) = crowded else { return };
        let oldest = self.entries.iter().position(|entry| entry.origin == crowded);
        if let Some(entry) = oldest.and_then(|place| self.entries.remove(place))
            && let Some(watch) = entry.watch.upgrade()
        {
            watch.dismiss();
        }
    }

    fn most_crowded(&self) -> Option<IpAddr> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in &self.entries {
            *counts.entry(entry.origin).or_default() += 1;
        }
        counts.into_iter().max_by_key(|&(_, count)| count).map(|(origin, _)| origin)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut list = lock(&self.list);
        if let Ok(place) = list.entries.binary_search_by_key(&self.number, |entry| entry.number) {
            list.entries.remove(place);
        }
    }
}

/// Whom an address stands for: one that has an IPv6 address has 2^64 of them.
fn origin(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => std::net::Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        },
        address => address,
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn the_oldest_of_the_crowd_goes_and_others_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strangers = Strangers::default();
        let (crowd, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut kept = Vec::new();
        let (peer, stream) = connected(&listener).await;
        let mut alone = strangers.watch(stream, other);
        kept.push(peer);
        let mut crowded = Vec::new();
        for _ in 0..STRANGERS_OF_ADDRESS_MAX + 1 {
            let (peer, stream) = connected(&listener).await;
            crowded.push(strangers.watch(stream, crowd));
            kept.push(peer);
        }
        let mut byte = [0];
        assert!(crowded[0].read(&mut byte).await.is_err(), "the oldest was sent away");
        for stream in [&mut crowded[1], &mut alone] {
            let waiting = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut byte));
            assert!(waiting.await.is_err(), "it may still join");
        }
        // Whoever has joined or gone counts no more.
        crowded[5].watch().know();
        let waiting = tokio::time::timeout(Duration::from_millis(20), crowded[5].read(&mut byte));
        assert!(waiting.await.is_err());
        crowded.truncate(6);
        assert_eq!(lock(&strangers.list).entries.len(), 1 + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_has_so_much_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strangers = Strangers::default();
        let origin = [127, 0, 0, 1].into();
        let (_peer, stream) = connected(&listener).await;
        let mut silent = strangers.watch(stream, origin);
        let begun = tokio::time::Instant::now();
        assert!(silent.read(&mut [0]).await.is_err());
        assert!(begun.elapsed() >= JOIN_WAIT_MAX);
    }

    /// Whoever reads nothing is not waited for by writing, either: a stranger as long as one that says nothing, a member as long
    /// after it took something.
    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_has_so_much_time() {
        use tokio::io::AsyncWriteExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strangers = Strangers::default();
        for is_member in [false, true] {
            let (_peer, stream) = connected(&listener).await;
            let mut unread = strangers.watch(stream, [127, 0, 0, 1].into());
            let begun = tokio::time::Instant::now();
            tokio::time::sleep(JOIN_WAIT_MAX / 3).await;
            if is_member {
                unread.watch().know();
            }
            let ended = loop {
                if let Err(error) = unread.write_all(&[7; 1 << 16]).await {
                    break error;
                }
            };
            assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut, "{is_member}");
            let wanted = if is_member { JOIN_WAIT_MAX * 4 / 3 } else { JOIN_WAIT_MAX };
            assert!(begun.elapsed() >= wanted && begun.elapsed() < wanted * 5 / 4, "{is_member}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_a_member_no_more_has_so_much_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strangers = Strangers::default();
        let (_peer, stream) = connected(&listener).await;
        let mut parted = strangers.watch(stream, [127, 0, 0, 1].into());
        let watch = parted.watch();
        // By one of its two memberships it stays.
        watch.know();
        watch.know();
        let hours = Duration::from_secs(7200);
        assert!(tokio::time::timeout(hours, parted.read(&mut [0])).await.is_err());
        watch.part();
        assert!(tokio::time::timeout(hours, parted.read(&mut [0])).await.is_err());
        let begun = tokio::time::Instant::now();
        let parting = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            watch.part();
        };
        let mut byte = [0];
        let (ended, ()) = tokio::join!(parted.read(&mut byte), parting);
        assert!(ended.is_err() && begun.elapsed() >= JOIN_WAIT_MAX, "{ended:?}");
        assert!(begun.elapsed() < JOIN_WAIT_MAX * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_stranger_has_so_many_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strangers = Strangers::default();
        let origin = [127, 0, 0, 1].into();
        let (mut peer, stream) = connected(&listener).await;
        let mut loud = strangers.watch(stream, origin);
        let flood = async {
            use tokio::io::AsyncWriteExt;
            let _ = peer.write_all(&vec![7; 4 * STRANGER_BYTES_MAX]).await;
        };
        let reading = async {
            let mut all = Vec::new();
            let ended = loud.read_to_end(&mut all).await;
            drop(loud);
            (ended, all.len())
        };
        let (_, (ended, read)) = tokio::join!(flood, reading);
        assert!(ended.is_err() && read <= 2 * STRANGER_BYTES_MAX, "{ended:?} after {read}");
    }

    #[test]
    fn addresses_of_one_network_are_one_origin() {
        let origin = |text: &str| origin(text.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
    }
}
