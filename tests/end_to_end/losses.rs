//! What is said of a peer that is not there, or no more: what happened and what to do, in words of neither HTTP/2 nor gRPC.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bad_job::small;
use crate::faults::JOB;
use crate::folder::Folder;
use crate::hostile_worker::Peer;
use crate::process::{Ended, Process};

/// Words that no user should need.
const JARGON: [&str; 8] =
    ["h2", "protocol error", "EOF", "tonic", "transport error", "os error", "GoAway", "hyper"];

#[track_caller]
fn is_plain(text: &str) {
    for word in JARGON {
        assert!(!text.contains(word), "{word:?} in\n{text}");
    }
}

/// A worker that looks here for no time at all says this.
#[track_caller]
fn worker_meets(address: &str, message: &str) -> Ended {
    let ended = small().worker(address, &["--wait", "0"]).end();
    ended.expect_with(5, &format!("error: no coordinator at {address} for "));
    assert!(ended.stderr.contains(message), "wanted {message:?} in\n{ended}");
    is_plain(&ended.stderr);
    ended
}

/// A server that does the same with whoever connects.
struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(mut serve: impl FnMut(TcpStream) -> Option<TcpStream> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                kept.extend(serve(stream.unwrap()));
            }
        });
        Server { address, is_over, thread: Some(thread) }
    }

    /// One that says this, once it was told something or at once, and hangs up or not.
    fn saying(answer: &'static [u8], listens: bool, hangs_up: bool) -> Server {
        Server::new(move |mut stream| {
            if listens {
                let _ = stream.read(&mut [0; 256]);
            }
            let _ = stream.write_all(answer);
            if hangs_up {
                // What is closed unread takes back what was said.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
                return None;
            }
            Some(stream)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn nothing_listens() {
    // Bound and let go.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    worker_meets(
        &free,
        "nothing listens there: is the coordinator started, and are address and port",
    );
}

#[test]
fn a_name_that_does_not_resolve() {
    worker_meets("no-such-host.invalid:7070", "the host's name does not resolve (");
}

/// A full queue of connections answers as a firewall does that drops packets: not at all.
#[test]
fn a_silent_firewall() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(0).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_secs(2);
    let mut taken = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, limit) {
        taken.push(stream);
        assert!(taken.len() < 100, "the queue is never full");
    }
    worker_meets(
        &address.to_string(),
        "no answer within 5.0 s: is that machine on, is the address right",
    );
}

#[test]
fn another_protocol() {
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let tls = &[0x15, 3, 3, 0, 2, 2, 70];
    let ssh = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
    let mail = b"220 mail.example.org ESMTP\r\n";
    for (answer, listens, message) in [
        (
            &http[..],
            true,
            "a web server (HTTP/1) listens there, not a coordinator: check the address",
        ),
        (&tls[..], true, "something behind TLS listens there: if that is a coordinator"),
        (&ssh[..], false, "an SSH server listens there, not a coordinator"),
        (
            &mail[..],
            false,
            "another program listens there (it says \"220 mail.example.org ESMTP\")",
        ),
    ] {
        for hangs_up in [true, false] {
            let server = Server::saying(answer, listens, hangs_up);
            worker_meets(&server.address.to_string(), message);
        }
    }
}

#[test]
fn something_that_hangs_up() {
    for listens in [true, false] {
        let server = Server::saying(b"", listens, true);
        let message =
            "something takes the connection and closes it at once: is it a coordinator, or a proxy";
        worker_meets(&server.address.to_string(), message);
    }
}

#[test]
fn something_that_says_nothing() {
    let server = Server::saying(b"", false, false);
    let message = "something takes the connection, but says nothing for ";
    worker_meets(&server.address.to_string(), message);
}

/// A run that does not end by itself.
fn endless() -> Folder {
    Folder::with_table(&JOB.replace("epochs = 3", "epochs = 1000000"), "boston-relu-adam-mse", 506)
}

#[track_caller]
fn stop(coordinator: Process) {
    coordinator.signal(Signal::SIGTERM);
    coordinator.end().expect(130);
}

/// A coordinator at work with two workers.
fn cluster(folder: &Folder) -> (Process, [Process; 2]) {
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let address = coordinator.address();
    let workers = [1, 2].map(|worker| {
        let process = folder.worker(&address, &["--wait", "60"]);
        coordinator.report("worker_joined", |joined| joined["worker"] == worker);
        process
    });
    coordinator.report("progress", |_| true);
    (coordinator, workers)
}

#[track_caller]
fn is_left(coordinator: &Process, cause: &str, reason: &str) -> Value {
    let left = coordinator.report("worker_left", |left| left["cause"] == cause);
    let told = left["reason"].as_str().unwrap();
    assert!(told.starts_with(reason), "{told:?}, wanted {reason:?}");
    is_plain(told);
    assert_eq!(left["address"], "127.0.0.1");
    left
}

const KILLED: &str = "its process ended or was killed, or its machine restarted: the connection was closed without a";

#[test]
fn a_worker_that_is_killed() {
    let folder = endless();
    let (coordinator, [first, second]) = cluster(&folder);
    first.signal(Signal::SIGKILL);
    let left = is_left(&coordinator, "vanished", KILLED);
    assert_eq!(left["workers"], 1);
    drop(second);
    coordinator.report("worker_left", |left| left["workers"] == 0);
    stop(coordinator);
}

#[test]
fn a_worker_that_is_stopped_on_purpose() {
    let folder = endless();
    let (coordinator, [first, second]) = cluster(&folder);
    first.signal(Signal::SIGTERM);
    is_left(&coordinator, "goodbye", "it was stopped and said goodbye");
    first.end().expect(130);
    stop(coordinator);
    drop(second);
}

/// A wait for one of them says where it is.
#[test]
fn a_worker_that_is_waited_for() {
    let folder = Folder::with_table(JOB, "boston-relu-adam-mse", 506);
    let coordinator = folder.coordinator(&[]);
    let mut peer = Peer::joined(&coordinator.address());
    // It is asked to fetch shards, and answers pings alone.
    let wait = coordinator.report("waiting", |wait| wait["stage"] == "rows");
    assert_eq!(wait["peer"], "worker 1: hostile, 127.0.0.1");
    let message = wait["message"].as_str().unwrap();
    let wanted = "it is fetching its shards (worker 1: hostile, 127.0.0.1); no limit; what helps: ";
    assert!(message.starts_with("warning: waiting for worker 1 for "), "{message}");
    assert!(message.contains(wanted), "{message}");
    peer.leave();
    folder.worker(&coordinator.address(), &[]).end().expect(0);
    coordinator.end().expect(0);
}

/// It is given up, and found again by the name that it had.
#[test]
fn a_worker_that_does_not_answer() {
    let folder = endless();
    let (coordinator, [first, second]) = cluster(&folder);
    // Both, so that the run waits for them.
    let both = [&first, &second];
    both.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
    let left = is_left(&coordinator, "silent", "no answer for ");
    assert!(
        left["reason"]
            .as_str()
            .unwrap()
            .ends_with(" s: its process is stopped, or its machine or the network between is down")
    );
    coordinator.report("worker_left", |left| left["workers"] == 0);
    both.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    for was in [1, 2] {
        let again = coordinator.report("worker_joined", |joined| joined["was"] == was);
        assert!(again["worker"].as_u64().unwrap() > 2, "{again}");
        assert_eq!(again["address"], "127.0.0.1");
    }
    stop(coordinator);
}

#[test]
fn a_coordinator_that_is_killed() {
    let folder = endless();
    let (coordinator, workers) = cluster(&folder);
    coordinator.signal(Signal::SIGKILL);
    coordinator.end();
    for worker in workers {
        let line = worker.line("warning: lost the coordinator (");
        assert!(line.contains(KILLED), "{line}");
        is_plain(&line);
        worker.signal(Signal::SIGTERM);
        worker.end().expect(130);
    }
}

#[test]
fn a_coordinator_that_does_not_answer() {
    let folder = endless();
    let (coordinator, workers) = cluster(&folder);
    coordinator.signal(Signal::SIGSTOP);
    for worker in &workers {
        let line = worker.line("warning: lost the coordinator (no answer for ");
        assert!(line.contains("its process is stopped, or its machine or the network"), "{line}");
        is_plain(&line);
    }
    // A stopped coordinator takes connections and says nothing.
    workers[0].line("something takes the connection, but says nothing for ");
    coordinator.signal(Signal::SIGCONT);
    coordinator.report("worker_joined", |joined| joined["was"] == 1);
    stop(coordinator);
}
