//! Workers that know each other by a coordinator's roster: who gets through to a worker, and what it does with what it is told
//! there, as the table of SECURITY.md says it. The coordinator follows the test; workers are real processes.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::Duration;

use lockstep_net::{CREDENTIAL_KEY, Connector, PeerKey, Pin, SECRET_BYTES, Stream, Watched};
use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use lockstep_proto::wire::coordinator_message::Kind as FromCoordinator;
use lockstep_proto::wire::peer_message::Kind;
use lockstep_proto::wire::{
    CoordinatorMessage, Finish, Listens, Member, PeerMessage, PeerSlices, Roster, ShardPart,
    ShardRequest, Slice, Weights, Welcome, WorkerMessage, worker_message,
};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::BinaryMetadataValue;
use tonic::{Request, Response, Status, Streaming};

use crate::bad_job::small;
use crate::hostile_coordinator::{Act, Rows, Script, welcome};
use crate::hostile_states::holds;
use crate::process::{Process, poll};

/// Longest wait for something that is to come.
const WAIT_MAX: Duration = Duration::from_secs(60);

type Sender = mpsc::Sender<Result<CoordinatorMessage, Status>>;

/// A coordinator that lets workers in, hears where they listen, and tells them whom they can talk to. Gone when dropped.
struct Meeting {
    address: SocketAddr,
    listens: std_mpsc::Receiver<(u64, Listens)>,
    workers: Arc<Mutex<Vec<Sender>>>,
    runtime: Runtime,
}

struct Service {
    joins: AtomicU64,
    listens: std_mpsc::Sender<(u64, Listens)>,
    workers: Arc<Mutex<Vec<Sender>>>,
}

#[tonic::async_trait]
impl Cluster for Service {
    type TrainStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type FetchShardStream = ReceiverStream<Result<ShardPart, Status>>;

    async fn train(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        let worker = self.joins.fetch_add(1, Ordering::Relaxed);
        let (mut said, listens) = (request.into_inner(), self.listens.clone());
        let (say, hear) = mpsc::channel(16);
        let welcome = Welcome { worker, peers: true, execution: 7, ..welcome() };
        say.try_send(message(FromCoordinator::Welcome(welcome))).unwrap();
        self.workers.lock().unwrap().push(say);
        tokio::spawn(async move {
            while let Some(Ok(message)) = said.next().await {
                if let Some(worker_message::Kind::Listens(said)) = message.kind {
                    let _ = listens.send((worker, said));
                }
            }
        });
        let mut response = Response::new(ReceiverStream::new(hear));
        let credential = BinaryMetadataValue::from_bytes(&[7; SECRET_BYTES]);
        response.metadata_mut().insert_bin(CREDENTIAL_KEY, credential);
        Ok(response)
    }

    async fn fetch_shard(
        &self,
        _: Request<ShardRequest>,
    ) -> Result<Response<Self::FetchShardStream>, Status> {
        Err(Status::not_found("there are no rows"))
    }
}

fn message(kind: FromCoordinator) -> Result<CoordinatorMessage, Status> {
    Ok(CoordinatorMessage { kind: Some(kind) })
}

/// A worker that was let in.
struct Joined {
    process: Process,
    member: Member,
}

impl Joined {
    fn address(&self) -> SocketAddr {
        self.member.addresses[0].parse().unwrap()
    }

    fn pin(&self) -> Pin {
        Pin(self.member.key[..].try_into().unwrap())
    }
}

impl Meeting {
    fn new() -> Meeting {
        let runtime = Runtime::new().unwrap();
        let (listens_tx, listens) = std_mpsc::channel();
        let workers = Arc::new(Mutex::default());
        let service =
            Service { joins: AtomicU64::new(1), listens: listens_tx, workers: workers.clone() };
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tonic::transport::Server::builder().serve_with_incoming_shutdown(
                ClusterServer::new(service),
                TcpListenerStream::new(listener),
                std::future::pending(),
            );
            tokio::spawn(server);
            address
        });
        Meeting { address, listens, workers, runtime }
    }

    /// A worker, once it has said where it listens.
    fn worker(&self, arguments: &[&str]) -> Joined {
        let process = small().worker(&self.address.to_string(), arguments);
        let (worker, listens) = self.listens.recv_timeout(WAIT_MAX).unwrap();
        let Listens { key, addresses, .. } = listens;
        Joined { process, member: Member { worker, key, addresses } }
    }

    fn tell(&self, kind: FromCoordinator) {
        for worker in self.workers.lock().unwrap().iter() {
            worker.blocking_send(message(kind.clone())).unwrap();
        }
    }

    fn set_roster(&self, members: &[&Member]) {
        let members = members.iter().map(|&member| member.clone()).collect();
        self.tell(FromCoordinator::Roster(Roster { members }));
    }
}

/// A peer that the test plays.
struct Played {
    key: PeerKey,
    member: Member,
}

impl Played {
    fn new(worker: u64) -> Played {
        let key = PeerKey::generate().unwrap();
        let pin = key.pin().0.to_vec().into();
        Played { member: Member { worker, key: pin, addresses: Vec::new() }, key }
    }

    /// A connection to a worker, which has said its first words.
    async fn dial(&self, worker: &Joined) -> std::io::Result<Stream> {
        let stream = Watched::new(TcpStream::connect(worker.address()).await?);
        let connector = Connector::between_peers(&self.key, worker.pin()).unwrap();
        let failed = |error| std::io::Error::other(format!("{error:?}"));
        let mut stream = connector.connect(stream, "").await.map_err(failed)?;
        nothing(&mut stream).await?;
        Ok(stream)
    }

    /// The same, as soon as the worker has been told of this peer.
    async fn enter(&self, worker: &Joined) -> Stream {
        let entering = async {
            loop {
                match self.dial(worker).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, entering).await.expect("it is not let in")
    }
}

/// Reads a message that says nothing.
async fn nothing(stream: &mut Stream) -> std::io::Result<()> {
    let mut length = [1; 4];
    stream.read_exact(&mut length).await?;
    assert_eq!(length, [0; 4]);
    Ok(())
}

/// What a peer says, with its length before it.
fn framed(message: &str) -> Vec<u8> {
    let weights = |chunk: u32, bytes: usize| {
        Some(Kind::Weights(Weights { chunk, values: vec![0; bytes].into(), ..Weights::default() }))
    };
    let gradient = |level: u32, index: u32, values: &[f32]| {
        let values = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let slice = Slice { level, index, values: values.into(), ..Slice::default() };
        Some(Kind::Slices(PeerSlices { pass: 1, route: 1, slices: vec![slice] }))
    };
    // The network has 3 parameters, in one chunk, and there are 2 shards.
    let kind = match message {
        "a length of 0" => return vec![0; 4],
        "more than 4 MiB" => return vec![0x7f; 4],
        "what is no message" => return [&7u32.to_be_bytes()[..], &[0xff; 7]].concat(),
        "a message without content" => None,
        "weights of another length" => weights(0, 8),
        "weights of no chunk" => weights(1, 12),
        "a gradient of another length" => gradient(0, 0, &[1.0; 4]),
        "a gradient of no node" => gradient(0, 2, &[1.0; 3]),
        "a gradient that is not finite" => gradient(0, 0, &[1.0, f32::NAN, 1.0]),
        "a gradient of another execution" => gradient(0, 0, &[1.0; 3]),
        other => panic!("{other}"),
    };
    let bytes = PeerMessage { execution: 8, kind }.encode_to_vec();
    [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
}

/// What becomes of a peer that says something.
async fn fate(meeting: &Meeting, worker: &Joined, peer: &Played, message: &str) -> &'static str {
    let mut stream = peer.enter(worker).await;
    let sent = async {
        stream.write_all(&framed(message)).await?;
        stream.flush().await
    };
    // A connection that is closed at once may break under what is still written.
    let _ = sent.await;
    let said = async {
        // The worker says that it is there, and again.
        nothing(&mut stream).await?;
        nothing(&mut stream).await
    };
    let _ = meeting;
    match tokio::time::timeout(WAIT_MAX, said).await.expect("neither a word nor an end") {
        Ok(()) => "goes on",
        Err(_) => match peer.dial(worker).await {
            Err(_) => "let go",
            Ok(_) => "let in again",
        },
    }
}

#[test]
fn every_message_of_another_worker_gets_what_the_table_says() {
    let meeting = Meeting::new();
    let worker = meeting.worker(&[]);
    let mut name = 100;
    holds("What a worker does with another worker's words", 20, |state, message| {
        name += 1;
        let (peer, stranger) = (Played::new(name), Played::new(name));
        // Whoever is asked for first: the roster has been heard when it is let in.
        meeting.set_roster(&[&worker.member, &peer.member]);
        meeting.runtime.block_on(async {
            match state {
                "a member" => fate(&meeting, &worker, &peer, message).await.to_string(),
                "with another key" => {
                    let _heard = peer.enter(&worker).await;
                    let refused = stranger.dial(&worker).await.is_err();
                    if refused { "refused" } else { "let in" }.to_string()
                }
                other => panic!("{other}"),
            }
        })
    });
    meeting.tell(FromCoordinator::Finish(Finish::default()));
    worker.process.end().expect(0);
}

#[test]
fn whoever_leaves_the_roster_is_let_go_and_a_stranger_gets_no_word() {
    let meeting = Meeting::new();
    let worker = meeting.worker(&[]);
    let peer = Played::new(100);
    meeting.set_roster(&[&worker.member, &peer.member]);
    let plain = meeting.runtime.block_on(async {
        let mut stream = peer.enter(&worker).await;
        // Sent from here, it may not block.
        let workers = meeting.workers.lock().unwrap().clone();
        let roster = Roster { members: vec![worker.member.clone()] };
        workers[0].send(message(FromCoordinator::Roster(roster))).await.unwrap();
        while nothing(&mut stream).await.is_ok() {}
        assert!(peer.dial(&worker).await.is_err());
        // Nor does it answer whoever does not encrypt: nothing but an alert comes back.
        let mut plain = TcpStream::connect(worker.address()).await.unwrap();
        plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said).await;
        said
    });
    assert!(plain.len() <= 7 && plain.first().is_none_or(|&first| first == 0x15), "{plain:?}");
    meeting.tell(FromCoordinator::Finish(Finish::default()));
    worker.process.end().expect(0);
}

/// The TCP sockets of a process, in this state, with the ports of both ends.
fn sockets(process: &Process, state: &str) -> Vec<(u16, u16)> {
    let folder = format!("/proc/{}/fd", process.pid());
    let links = fs::read_dir(folder).into_iter().flatten().flatten();
    let links = links.filter_map(|link| fs::read_link(link.path()).ok());
    let inodes: BTreeSet<String> = links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.replace(']', "")))
        .collect();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")));
    let tables: String = tables.into_iter().flatten().collect();
    let port = |end: &str| u16::from_str_radix(end.rsplit_once(':')?.1, 16).ok();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_own = *fields.get(3)? == state && inodes.contains(*fields.get(9)?);
        is_own.then_some((port(fields[1])?, port(fields[2])?))
    };
    tables.lines().filter_map(row).collect()
}

const ESTABLISHED: &str = "01";
const LISTENING: &str = "0A";

#[test]
fn a_worker_listens_where_workers_talk_to_each_other_and_nowhere_else() {
    let meeting = Meeting::new();
    let worker = meeting.worker(&[]);
    let address = worker.address();
    assert!(address.ip().is_loopback());
    assert_eq!(sockets(&worker.process, LISTENING), [(address.port(), 0)]);
    let star =
        Script::new(vec![Act::Say(FromCoordinator::Welcome(welcome())), Act::Hold], Rows::Good);
    let alone = small().worker(&star.address.to_string(), &["--listen", "127.0.0.1:0"]);
    alone.line("joined");
    assert_eq!(sockets(&alone, LISTENING), []);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let failed = small().worker(&meeting.address.to_string(), &["--listen", &taken]);
    failed.end().expect_with(
        5,
        &format!("error: cannot listen for other workers at {taken}: Address already in use"),
    );
    let told = meeting.worker(&["--listen", "127.0.0.1:0", "--advertise", "head.example"]);
    assert!(told.member.addresses[0].starts_with("head.example:"), "{:?}", told.member);
}

#[test]
fn two_workers_keep_one_connection() {
    let meeting = Meeting::new();
    let (one, other) = (meeting.worker(&[]), meeting.worker(&[]));
    meeting.set_roster(&[&one.member, &other.member]);
    let ports = [one.address().port(), other.address().port()];
    let between = |process: &Process| {
        let all = sockets(process, ESTABLISHED).into_iter();
        all.filter(|(own, to)| ports.contains(own) || ports.contains(to)).count()
    };
    assert!(poll(|| between(&one.process) == 1 && between(&other.process) == 1));
    meeting.tell(FromCoordinator::Finish(Finish::default()));
    one.process.end().expect(0);
    other.process.end().expect(0);
}

#[test]
fn addresses_that_are_none_are_said_at_once() {
    for (arguments, wanted) in [
        (["--listen", "10.0.0.1"], "wanted HOST:PORT, the port from 0 to 65535"),
        (["--advertise", "head:0"], "wanted HOST or HOST:PORT, the port from 1 to 65535"),
        (["--advertise", "a b"], "found \"a b\", wanted HOST or HOST:PORT"),
    ] {
        let all = [&["worker", "--coordinator", "127.0.0.1:1"][..], &arguments].concat();
        small().run(&all).expect_with(2, wanted);
    }
}
