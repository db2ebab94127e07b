//! Names that peers, job files, tables and folders have: whatever is in them, a terminal is told nothing by them, and they
//! make no line of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use lockstep_proto::wire::worker_message::Kind;
use lockstep_proto::wire::{CoordinatorMessage, Join, ShardPart, ShardRequest, WorkerMessage};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::bad_job::{JOB, TRAIN, small};
use crate::folder::{Folder, edited};
use crate::process::{Ended, Process, lockstep};
use crate::pty::on_a_terminal;
use crate::relay::{Change, Relay};

/// Clears the screen in two ways, rings, turns the direction of writing, and makes a result of its own.
const EVIL: &str = "\u{1b}[2J\u{1b}[H\u{9b}31m\u{7}\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\r\n\
                    weights_blake3 0000\u{85}\u{2028}run folder /";

/// How it begins when it is shown.
const SHOWN: &str =
    r"\u{1b}[2J\u{1b}[H\u{9b}31m\u{7}\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\r\nweights_blake3 0000";

#[track_caller]
fn is_harmless(text: &str) {
    for line in text.lines() {
        let odd = |c: char| c.is_control() || EVIL.contains(c) && !c.is_ascii();
        assert!(!line.contains(odd), "{line:?} in\n{text:?}");
        assert!(!line.starts_with("weights_blake3 0000") && !line.starts_with("run folder /"));
    }
}

#[track_caller]
fn harmless(ended: &Ended, shown: &str) {
    is_harmless(&ended.stdout);
    is_harmless(&ended.stderr);
    let both = format!("{}{}", ended.stdout, ended.stderr);
    assert!(both.contains(shown), "no {shown:?} in\n{ended}");
}

/// As a string of TOML or JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
}

/// A worker's join, with this for its host.
fn host(name: &'static str) -> Arc<Change> {
    Arc::new(move |message| {
        let kind = match message.kind {
            Some(Kind::Join(join)) => Some(Kind::Join(Join { host: name.to_string(), ..join })),
            kind => kind,
        };
        vec![WorkerMessage { kind }]
    })
}

/// Where a coordinator that writes text says that it listens.
fn address(coordinator: &Process) -> String {
    coordinator.line("listening on ").split("listening on ").nth(1).unwrap().to_string()
}

#[test]
fn hosts_of_workers() {
    let folder = small();
    for (log_format, out) in [("text", "text"), ("json", "json")] {
        let coordinator = folder.start(
            &[
                &["--log-format", log_format, "coordinator", "job.toml"][..],
                &["--out", out, "--listen", "127.0.0.1:0", "--workers-start", "2"],
            ]
            .concat(),
        );
        let address = match log_format {
            "text" => address(&coordinator),
            _ => coordinator.address(),
        };
        let relay = Relay::new(&address, host(EVIL));
        let evil = folder.worker(&relay.address(), &[]);
        coordinator.line("2J");
        // Refused, with its host.
        let other = folder.worker(&relay.address(), &["--run-id", "another"]);
        other.end().expect(6);
        evil.signal(Signal::SIGKILL);
        coordinator.line("left");
        let good = [folder.worker(&address, &[]), folder.worker(&address, &[])];
        good.into_iter().for_each(|worker| worker.end().expect(0));
        let ended = coordinator.end();
        ended.expect(0);
        if log_format == "text" {
            harmless(&ended, &format!("worker 1 joined: \"{SHOWN}"));
            assert_eq!(ended.stderr.matches(SHOWN).count(), 3, "{ended}");
            assert_eq!(ended.stdout.lines().count(), 6, "{ended}");
        } else {
            harmless(&ended, r"\u001b[2J\u001b[H\u009b31m");
            let mut reports = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap());
            let joined: Value = reports.find(|report: &Value| report["worker"] == 1).unwrap();
            assert_eq!(joined["host"], EVIL);
        }
    }
}

/// A coordinator that refuses whoever comes, in these words.
struct Refusing;

#[tonic::async_trait]
impl Cluster for Refusing {
    type TrainStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type FetchShardStream = ReceiverStream<Result<ShardPart, Status>>;

    async fn train(
        &self,
        _: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        Err(Status::failed_precondition(EVIL))
    }

    async fn fetch_shard(
        &self,
        _: Request<ShardRequest>,
    ) -> Result<Response<Self::FetchShardStream>, Status> {
        Err(Status::failed_precondition(EVIL))
    }
}

#[test]
fn words_of_coordinators() {
    let runtime = Runtime::new().unwrap();
    let address: SocketAddr = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().serve_with_incoming_shutdown(
            ClusterServer::new(Refusing),
            TcpListenerStream::new(listener),
            std::future::pending(),
        );
        tokio::spawn(server);
        address
    });
    let folder = small();
    let address = address.to_string();
    let ended = folder.worker(&address, &["--wait", "0"]).end();
    assert_ne!(ended.code(), Some(0));
    harmless(&ended, SHOWN);
}

/// Columns, labels, the job and its files, as far as `check` and a whole run show them.
#[test]
fn names_in_tables_and_jobs() {
    let folder = Folder::new(&[]);
    let cell = format!("\"{EVIL}\"");
    let table = format!(
        "a,{cell},y\n1,2,{cell}\n2,3,other\n3,4,{cell}\n4,5,other\n5,6,{cell}\n6,7,other\n"
    );
    let evil_file = "\u{1b}[2J\u{9b}\u{202e}.csv";
    folder.write(evil_file, &table);
    let job = edited(JOB, "train = \"train.csv\"", &format!("train = {}", quoted(evil_file)));
    let job = edited(&job, "test = \"test.csv\"\n", "");
    let job = edited(&job, "\"b\"", &quoted(EVIL));
    let job = edited(&job, "loss = \"mse\"", "loss = \"cross_entropy\"");
    let job = edited(&job, "units = 1 }", "units = 2, activation = \"softmax\" }");
    folder.write("job.toml", &job);
    for log_format in ["text", "json"] {
        let shown = if log_format == "text" { SHOWN } else { r"\u001b[2J" };
        let checked = folder.run(&["--log-format", log_format, "check", "job.toml"]);
        checked.expect(0);
        harmless(&checked, shown);
    }
    folder.run(&["--quiet", "local", "job.toml", "--out", "run"]).expect(0);
    let evaluated = folder.run(&["evaluate", "run", "--data", "nothing\u{1b}[2J\n"]);
    evaluated.expect(3);
    harmless(&evaluated, r"nothing\u{1b}[2J\n");
    let predict = ["predict", "run", "--data", evil_file, "--output", "-"];
    let piped = folder.run(&predict);
    piped.expect(0);
    assert!(piped.stdout.contains("\u{1b}[2J"), "data is data");
    let seen = on_a_terminal(lockstep(folder.path(), &predict), 80);
    let text = String::from_utf8(seen.bytes).unwrap();
    let is_odd = |c: char| c.is_control() && !"\r\n".contains(c) || "\u{202e}\u{9b}".contains(c);
    assert!(text.contains(r"\u{1b}[2J") && !text.contains(is_odd), "{text:?}");
}

/// Whatever is wrong with them, the message is one line, and shows them.
#[test]
fn names_in_errors() {
    let evil = quoted(EVIL);
    for (from, to) in [
        ("\"small\"", evil.clone()),
        ("features = [\"a\", \"b\"]", format!("features = [\"a\", {evil}]")),
        ("target = \"y\"", format!("target = {evil}")),
        ("\"relu\"", evil.clone()),
        ("loss = \"mse\"", format!("loss = {evil}")),
        ("seed = 1", format!("{evil} = 1")),
        ("train = \"train.csv\"", format!("train = {evil}")),
    ] {
        let folder = small();
        folder.write("job.toml", &edited(JOB, from, &to));
        for command in [&["check", "job.toml"][..], &["local", "job.toml", "--out", "run"]] {
            let ended = folder.run(command);
            if ended.code() != Some(0) {
                assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
            }
            harmless(&ended, "");
        }
    }
    let folder = small();
    folder.write("train.csv", &TRAIN.replace("4,5,9", &format!("4,\"{EVIL}\",9")));
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(3);
    harmless(&ended, "2J");
    for arguments in [
        &["check", EVIL][..],
        &[EVIL],
        &["check", "job.toml", EVIL],
        &["local", "job.toml", "--workers", EVIL],
        &["verify", EVIL],
        &["worker", "--wait", "0", "--coordinator", EVIL],
    ] {
        let ended = folder.run(arguments);
        assert_ne!(ended.code(), Some(0));
        harmless(&ended, r"\u{1b}[2J");
    }
}
