//! What others may hold of a coordinator: nobody keeps a connection that is of no use to anybody, and when there are no
//! descriptors left it says so and goes on (Linux, where a process's descriptors can be counted).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use lockstep_proto::wire::ShardRequest;
use lockstep_proto::wire::worker_message::Kind;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::faults::{HASH, folder};
use crate::hostile_worker::{Peer, join};
use crate::process::{Process, poll, through};
use crate::status::{page, status};

/// Connections of each kind.
const MANY: usize = 20;

/// The sockets that a process has open.
fn sockets(process: &Process) -> usize {
    let opened = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    let links = opened.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Says something on a connection, as much of it as is taken.
fn say(mut stream: &TcpStream, text: &str) {
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = stream.write_all(text.as_bytes());
}

fn request(what: &str, path: &str, rest: &str) -> String {
    format!("{what} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{rest}\r\n")
}

/// Of one who may look at the page, and has.
fn visitor(page: &str) -> TcpStream {
    let mut stream = TcpStream::connect(page).unwrap();
    say(&stream, &request("GET", "/status.json", ""));
    assert!(stream.read(&mut [0; 8]).unwrap() > 0);
    stream
}

/// More is asked for than systems keep on the way, and nothing of it is read.
fn asks_and_never_reads(stream: &TcpStream) {
    say(stream, &request("GET", "/uplot.js", "").repeat(800));
}

#[test]
fn whoever_reads_or_says_nothing_holds_no_connection_to_the_page() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let before = sockets(&coordinator);
    let mut held = Vec::new();
    for _ in 0..MANY {
        let stranger = TcpStream::connect(&page).unwrap();
        asks_and_never_reads(&stranger);
        let unread = visitor(&page);
        asks_and_never_reads(&unread);
        let slow = visitor(&page);
        say(&slow, &request("POST", "/login", "Content-Length: 100\r\n"));
        held.extend([stranger, unread, slow, visitor(&page), TcpStream::connect(&page).unwrap()]);
    }
    assert!(sockets(&coordinator) > before, "nothing was held");
    assert!(poll(|| sockets(&coordinator) <= before), "{} are left", sockets(&coordinator));
    drop(held);
    assert!(status(&page)["run"].is_object());
    folder.worker(&coordinator.address(), &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

/// Whether it reads what it is told or not: an expelled one has no right any more at once, and no connection soon.
#[test]
fn whoever_is_a_member_no_more_holds_no_connection() {
    let folder = folder();
    let coordinator = folder.coordinator(&["--http", "off"]);
    let address = coordinator.address();
    let before = sockets(&coordinator);
    let mut held = Vec::new();
    for reads in [true, false] {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let endpoint = endpoint.initial_stream_window_size((!reads).then_some(0));
        let connect = async move { endpoint.connect().await.unwrap() };
        let mut peer = Peer::through(connect, Some(Kind::Join(join()))).unwrap();
        let request = || ShardRequest { table: 1, ..ShardRequest::default() };
        let rows = |peer: &mut Peer| peer.fetch(request()).unwrap_err().code();
        assert_eq!(rows(&mut peer), Code::FailedPrecondition, "a member asks for another run's");
        peer.say(None);
        assert!(poll(|| rows(&mut peer) == Code::Unauthenticated), "reads: {reads}");
        held.push(peer);
    }
    // They are there and answer whether they are.
    assert!(poll(|| sockets(&coordinator) <= before), "{} are left", sockets(&coordinator));
    drop(held);
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn without_descriptors_the_page_says_so_and_the_run_goes_on() {
    let folder = folder();
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_lockstep");
    shell.args(["-c", "ulimit -n 64 && exec \"$@\"", "sh", program, "--log-format", "json"]);
    let arguments = ["coordinator", "job.toml", "--out", "run", "--listen", "127.0.0.1:0"];
    let coordinator = Process::start(through(shell, folder.path(), &arguments));
    let page = page(&coordinator);
    let held: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&page).unwrap()).collect();
    coordinator.report("warning", |warning| {
        let message = warning["message"].as_str().unwrap();
        message.starts_with("the status page cannot take connections in (Too many open files): ")
    });
    drop(held);
    assert!(status(&page)["run"].is_object());
    folder.worker(&coordinator.address(), &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}
