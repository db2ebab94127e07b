//! Every message in every state, on either side, as the tables of SECURITY.md say it: the document is the data, and each of its
//! cells is played with real processes. What a message is and what a state is, is said here; what each gets, there.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use lockstep_net::{Connector, JoinLine, Stream, Watched};
use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::wire::coordinator_message::Kind as FromCoordinator;
use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{
    Addend, Dealt, Divergence, Done, Finish, Goodbye, HomeSum, Join, Listens, Missing, NodeSums,
    Overflow, Reach, ResultPart, Roster, Route, Routed, ShardRequest, Slice, Span, Spans, Ticket,
    Weights,
};
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::bad_job::small;
use crate::faults::{HASH, folder};
use crate::hostile_coordinator::{Act, Rows, Script, deal, prepare, weights, welcome};
use crate::hostile_worker::{Peer, join};
use crate::process::poll;

/// The cells below a heading of SECURITY.md: state, message, what it gets.
fn table(heading: &str) -> Vec<[String; 3]> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("### {heading}\n")).expect(heading);
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    let (states, rows) = (&rows[0], &rows[2..]);
    let of_row = |row: &Vec<String>| {
        assert_eq!(row.len(), states.len(), "{row:?}");
        let cell = |at: usize| [states[at].clone(), row[0].clone(), row[at].clone()];
        (1..row.len()).map(cell).collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

/// That every cell is as it is written; all that are not are told at once.
#[track_caller]
pub(crate) fn holds(heading: &str, cells_min: usize, mut play: impl FnMut(&str, &str) -> String) {
    let cells = table(heading);
    assert!(cells.len() >= cells_min, "{}", cells.len());
    let found = cells.into_iter().filter_map(|[state, message, wanted]| {
        let found = play(&state, &message);
        (found != wanted).then(|| format!("{state}, {message}: {found:?}, wanted {wanted:?}\n"))
    });
    let found: String = found.collect();
    assert!(found.is_empty(), "{found}");
}

/// What a peer says.
fn said(message: &str) -> Option<Kind> {
    let part = |slices: Vec<Slice>, sums: Vec<NodeSums>, done: Option<Done>| {
        Some(Kind::Part(ResultPart { pass: 1 << 40, slices, sums, done }))
    };
    // The network has 151 parameters, in one chunk.
    let slice =
        |bytes: usize| Slice { index: 11, values: vec![0; bytes].into(), ..Slice::default() };
    let sums =
        |values: usize| NodeSums { values: vec![1.0; values], rows: 1, ..NodeSums::default() };
    let sum = |of: Vec<Addend>| {
        let slice = Some(slice(604));
        Some(Kind::Sum(HomeSum { pass: 1 << 40, slice, of }))
    };
    let done = |span: Option<(u32, u32)>| {
        Some(Done { span: span.map(|(start, end)| Span { start, end }), busy_nanoseconds: 1 })
    };
    match message {
        "nothing" => None,
        "a join" => Some(Kind::Join(join())),
        "more than 4 MiB" => {
            let host = "x".repeat(MESSAGE_BYTES_MAX + 1);
            Some(Kind::Join(Join { host, ..Join::default() }))
        }
        "that it has rows nobody asked for" => Some(Kind::Prepared(Span { start: 11, end: 12 })),
        "that it has rows of no span" => Some(Kind::Prepared(Span { start: 9, end: 2 })),
        "a gradient that was not dealt" => part(vec![slice(604)], Vec::new(), None),
        "a gradient of another length" => part(vec![slice(600)], Vec::new(), None),
        "sums of another number" => part(Vec::new(), vec![sums(1000)], None),
        "that it is done with what was not dealt" => {
            part(Vec::new(), Vec::new(), done(Some((0, 1))))
        }
        "that it is done, but not with what" => part(Vec::new(), Vec::new(), done(None)),
        "an empty part" => part(Vec::new(), Vec::new(), None),
        "a divergence in a shard that is not there" => {
            Some(Kind::Divergence(Divergence { shard: 12, ..Divergence::default() }))
        }
        "shared memory without its secret" => {
            let secret = vec![1; 3].into();
            Some(Kind::Share(Ticket { pid: 1, descriptor: 1, secret, bytes: 4096 }))
        }
        "where it listens" => {
            let key = vec![7; 32].into();
            Some(Kind::Listens(Listens { key, port: 1, ..Listens::default() }))
        }
        "a sum that it is not home to" => sum(Vec::new()),
        "a sum of nodes outside of it" => {
            sum(vec![Addend { index: 3, worker: 1, ..Addend::default() }])
        }
        "that a sum overflows" => Some(Kind::Overflow(Overflow { pass: 1 << 40, chunk: 0 })),
        "that it follows a route that there is not" => Some(Kind::Routed(Routed { number: 1 })),
        "that weights are missing" => Some(Kind::Missing(Missing { step: 0, chunk: 0 })),
        "that it reaches another worker" => Some(Kind::Reach(Reach { worker: 1, is_up: true })),
        "goodbye" => Some(Kind::Goodbye(Goodbye {})),
        other => panic!("no message {other:?}"),
    }
}

/// How a member's stream ends after it said goodbye.
fn ending(peer: &mut Peer, otherwise: &str) -> String {
    match peer.end() {
        Ok(()) => otherwise.to_string(),
        Err(status) if status.code() == Code::InvalidArgument => "shut out".to_string(),
        Err(status) => status.to_string(),
    }
}

/// That a request for rows is refused as one of nobody's, once the membership is over.
fn rows_are_refused(peer: &mut Peer) -> String {
    let is_over =
        |peer: &mut Peer| fetch(peer).is_err_and(|status| status.code() == Code::Unauthenticated);
    assert!(poll(|| is_over(peer)));
    "refused untold".to_string()
}

/// What a member gets that stays when the run has ended, and says this. The run has ended well, whatever it says.
fn after_the_end(message: &str) -> String {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let mut peer = Peer::joined(&address);
    folder.worker(&address, &[]).end().expect(0);
    while !matches!(peer.hear().unwrap().unwrap(), FromCoordinator::Finish(_)) {}
    let found = match message {
        "a request for rows" => rows_are_refused(&mut peer),
        message => {
            peer.say(said(message));
            ending(&mut peer, "unheard")
        }
    };
    drop(peer);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
    found
}

fn fetch(peer: &mut Peer) -> Result<(), Status> {
    peer.fetch(ShardRequest { run_id: peer.run_id.clone(), table: 1, shard: 0 })
}

/// Gives a connection away, once.
struct Once(Option<Stream>);

impl Service<Uri> for Once {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(Ok(TokioIo::new(self.0.take().unwrap())))
    }
}

/// Encrypted, with the right coordinator, whose secret it never says.
async fn encrypted(line: &JoinLine, address: SocketAddr) -> Channel {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = Connector::new(line.pin).unwrap();
    let stream = connector.connect(Watched::new(stream), "127.0.0.1").await.unwrap();
    let endpoint = Endpoint::from_static("http://coordinator");
    endpoint.connect_with_connector(Once(Some(stream))).await.unwrap()
}

#[test]
fn what_a_coordinator_does() {
    let folder = folder();
    let open = folder.coordinator(&[]);
    let address = open.address();
    let other = crate::faults::folder();
    let all = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let closed = other.start(&[&all[..], &["--listen", "0.0.0.0:0"]].concat());
    let port = closed.address().rsplit_once(':').unwrap().1.to_string();
    closed.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    let line = JoinLine::parse(&other.read("run/join")).unwrap();
    let behind_tls: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let code = |result: Result<(), Status>| match result {
        Ok(()) => "rows".to_string(),
        Err(status) if status.code() == Code::Unauthenticated => "refused untold".to_string(),
        Err(status) => status.to_string(),
    };
    holds("What a coordinator does", 50, |state, message| match (state, message) {
        ("without the secret" | "before its join", "a request for rows") => {
            // As a member that has no credential.
            let mut peer = Peer::joined(&address);
            peer.credential = None;
            let answer = code(fetch(&mut peer));
            peer.leave();
            answer
        }
        ("without the secret", message) => {
            let secretless = encrypted(&line, behind_tls);
            match Peer::through(secretless, said(message)) {
                Ok(_) => "let in".to_string(),
                // A message that is too long for a stranger ends the connection, maybe before the answer.
                Err(status) => {
                    assert!(!status.to_string().contains("faults-"), "{status}");
                    "refused untold".to_string()
                }
            }
        }
        ("before its join", "a join") => {
            let mut peer = Peer::joined(&address);
            peer.leave();
            "let in".to_string()
        }
        ("before its join", message) => match Peer::new(&address, said(message)) {
            Ok(_) => "let in".to_string(),
            Err(_) => "refused".to_string(),
        },
        ("after its goodbye", message) => {
            let (mut peer, _) = Peer::dealt(&address);
            peer.say(Some(Kind::Goodbye(Goodbye {})));
            if message == "a request for rows" {
                peer.end().unwrap();
                return rows_are_refused(&mut peer);
            }
            peer.say(said(message));
            ending(&mut peer, "unheard")
        }
        ("after the end of the run", message) => after_the_end(message),
        (state, message) => {
            let mut peer = match state {
                "a member" => Peer::joined(&address),
                "dealt work" => Peer::dealt(&address).0,
                other => panic!("no state {other:?}"),
            };
            let answer = match message {
                "a request for rows" => code(fetch(&mut peer)),
                message => {
                    peer.say(said(message));
                    let fine = if message == "goodbye" { "leaves" } else { "goes on" };
                    peer.say(Some(Kind::Goodbye(Goodbye {})));
                    return ending(&mut peer, fine);
                }
            };
            peer.leave();
            answer
        }
    });
    // None of it has changed anything.
    folder.worker(&address, &[]).end().expect(0);
    open.end().expect(0);
    assert_eq!(folder.hash(), HASH);
    let line = JoinLine { addresses: vec![behind_tls.to_string()], ..line };
    other.start(&["worker", &line.to_line()]).end().expect(0);
    closed.end().expect(0);
    assert_eq!(other.hash(), HASH);
}

/// What a coordinator does next.
fn act(message: &str) -> Option<Act> {
    let spans = |start, end| Spans { spans: vec![Span { start, end }] };
    let kind = match message {
        "nothing" => return Some(Act::SayNothing),
        "a failed status" => return Some(Act::End(Status::unavailable("away"))),
        "a refusal" => return Some(Act::End(Status::failed_precondition("not today"))),
        "the end of the stream" => return None,
        "a welcome" => FromCoordinator::Welcome(welcome()),
        "more than 4 MiB" => FromCoordinator::Weights(weights(0, 0, 2 << 20)),
        "to fetch rows" => prepare(0, 2),
        "to fetch rows of no shard" => prepare(0, 9),
        "to let rows go" => FromCoordinator::Forget(spans(0, 2)),
        "to let go of rows of no shard" => FromCoordinator::Forget(spans(5, 9)),
        "weights" => FromCoordinator::Weights(weights(0, 0, 3)),
        "weights of another length" => FromCoordinator::Weights(weights(0, 0, 2)),
        "weights of no chunk" => FromCoordinator::Weights(weights(0, 7, 3)),
        "a deal" => FromCoordinator::Deal(deal(0, Some((0, 2)))),
        "a deal of no shard" => FromCoordinator::Deal(deal(0, Some((1, 3)))),
        "a deal of a table that is not there" => {
            let mut deal = deal(0, Some((0, 2)));
            deal.table = 2;
            FromCoordinator::Deal(deal)
        }
        "a route, where there is none" => {
            FromCoordinator::Route(Route { number: 1, ..Route::default() })
        }
        "what others were dealt" => FromCoordinator::Dealt(Dealt { pass: 1, ..Dealt::default() }),
        "a roster, where nobody listens" => FromCoordinator::Roster(Roster::default()),
        "weights that another passes on" => {
            let (home, digest) = (Some(2), vec![0; 32].into());
            FromCoordinator::Weights(Weights { home, digest, ..Weights::default() })
        }
        "weights to pass on" => {
            FromCoordinator::Weights(Weights { pass_on: vec![2], ..weights(0, 0, 3) })
        }
        "the end of the run" => FromCoordinator::Finish(Finish::default()),
        other => panic!("no message {other:?}"),
    };
    Some(Act::Say(kind))
}

#[test]
fn what_a_worker_does() {
    let folder = small();
    holds("What a worker does", 50, |state, message| {
        let before = match state {
            "before the welcome" => 0,
            "welcomed" => 1,
            "fetching rows" => 2,
            "at work" => 4,
            other => panic!("no state {other:?}"),
        };
        let before = ["a welcome", "to fetch rows", "weights", "a deal"].into_iter().take(before);
        let mut acts: Vec<Act> = before.filter_map(act).collect();
        if let Some(act) = act(message) {
            let end = Act::Say(FromCoordinator::Finish(Finish::default()));
            acts.extend([act, end, Act::Hold]);
        }
        let script = Script::once(acts, Rows::Good);
        let ended = folder.worker(&script.address.to_string(), &["--wait", "0"]).end();
        let told = |fragment: &str| ended.stderr.contains(fragment);
        let found = match ended.code() {
            Some(0) if message == "the end of the run" => "ends: 0",
            Some(0) => "goes on",
            Some(5) if told("the coordinator broke the protocol: ") => "gives up: 5",
            Some(5) if told("no coordinator at ") || told("let this worker in once") => {
                "looks again: 5"
            }
            Some(6) if told("the coordinator refused this worker: not today") => "refused: 6",
            _ => "something else",
        };
        ended.expect(ended.code().unwrap_or(-1));
        match found {
            "something else" => ended.to_string(),
            found => found.to_string(),
        }
    });
}
