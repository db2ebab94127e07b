//! What people and programs see of a run: over HTTP while it goes on, in a terminal, and from its folder afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::faults::{JOB, folder, long_folder};
use crate::folder::Folder;
use crate::process::{Process, poll};

/// Where a coordinator says that its page is: `HOST:PORT`.
pub(crate) fn page(coordinator: &Process) -> String {
    let page = coordinator.report("listening", |_| true)["page"].as_str().unwrap().to_string();
    page.strip_prefix("http://").unwrap().trim_end_matches('/').to_string()
}

/// Asks a page for a path; the head of the answer, and its body.
pub(crate) fn ask(page: &str, path: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(page).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_string(), body.to_string())
}

pub(crate) fn get(page: &str, path: &str) -> String {
    let (head, body) = ask(page, path, "Host: 127.0.0.1\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    body
}

pub(crate) fn status(page: &str) -> Value {
    serde_json::from_str(&get(page, "/status.json")).unwrap()
}

/// The status once it fits.
#[track_caller]
pub(crate) fn once(page: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    assert!(
        poll(|| {
            last = status(page);
            fits(&last)
        }),
        "{last:#}"
    );
    last
}

/// A job that goes on until it is stopped.
pub(crate) fn endless() -> Folder {
    let job = JOB.replace("epochs = 3", "epochs = 1000000");
    Folder::with_table(&job, "boston-relu-adam-mse", 506)
}

#[test]
fn a_run_is_seen_before_it_begins_while_it_goes_on_and_when_it_is_over() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    // Nobody is there: it says so, and what to do.
    let waiting = once(&page, |status| status["waits"][0]["stage"] == "workers");
    let wait = &waiting["waits"][0];
    assert!(wait["what"].as_str().unwrap().starts_with("waiting for workers for "), "{wait}");
    assert!(wait["remedy"].as_str().unwrap().contains("lockstep worker --coordinator"), "{wait}");
    assert_eq!(waiting["run"]["state"], "waiting");
    let shown = folder.run(&["status", "run"]);
    shown.expect(0);
    for part in ["faults: waiting\n", "WAITING (workers): waiting for workers for ", "epoch 0 of 3"]
    {
        assert!(shown.stdout.contains(part), "no {part:?} in\n{shown}");
    }
    let asked = folder.run(&["status", &page, "--json"]);
    asked.expect(0);
    let asked: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!((&asked["format"], &asked["position"]["steps"]), (&1.into(), &78.into()));
    assert_eq!(asked["adds"], "the coordinator: `cluster.homes` is off");
    let watching = folder.start(&["status", "run", "--watch", "--json"]);
    let worker = folder.worker(&coordinator.address(), &[]);
    coordinator.end().expect(0);
    worker.end().expect(0);
    watching.end().expect(0);
    // The page is gone, and what it showed is in the folder.
    assert!(TcpStream::connect(&page).is_err());
    assert!(!folder.path().join("run/http").exists());
    let shown = folder.run(&["status", "run", "--json"]);
    shown.expect(0);
    let over: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(over["run"]["state"], "finished");
    assert_eq!(over["position"]["step"], 78);
    assert_eq!(over["result"]["weights_blake3"], folder.hash());
    assert_eq!(over["epochs"].as_array().unwrap().len(), 3);
    assert_eq!((&over["counts"]["joined"], &over["counts"]["lost"]), (&1.into(), &0.into()));
    let runs = folder.run(&["runs", "."]);
    runs.expect(0);
    assert!(runs.stdout.contains("./run") && runs.stdout.contains("finished"), "{runs}");
    assert!(runs.stdout.contains("test_loss "), "{runs}");
}

/// What was seen follows from the lines of the run where nothing else is there.
#[test]
fn a_run_is_seen_from_its_lines_alone() {
    let folder = folder();
    folder.train_into("run");
    let seen = || -> Value {
        let shown = folder.run(&["status", "run", "--json"]);
        shown.expect(0);
        serde_json::from_str(&shown.stdout).unwrap()
    };
    let first = seen();
    std::fs::remove_file(folder.path().join("run/status.json")).unwrap();
    let again = seen();
    for name in ["position", "epochs"] {
        assert_eq!(first[name], again[name], "{name}");
    }
    for name in ["step", "loss", "learning_rate"] {
        assert_eq!(first["curve"][name], again["curve"][name], "{name}");
    }
    assert_eq!(again["result"]["weights_blake3"], folder.hash());
    assert_eq!(again["run"]["state"], "finished");
}

#[test]
fn a_run_that_goes_on_after_a_kill_remembers_its_curves() {
    let folder = long_folder();
    let coordinator = folder.coordinator(&["--checkpoint-seconds", "0.05"]);
    let page = page(&coordinator);
    let worker = folder.worker(&coordinator.address(), &["--wait", "120"]);
    let checkpoint = |status: &Value| {
        let mut events = status["events"].as_array().unwrap().iter();
        events.any(|event| event["kind"] == "checkpoint")
    };
    once(&page, checkpoint);
    coordinator.signal(Signal::SIGKILL);
    coordinator.end();
    let lost = folder.run(&["status", "run"]);
    lost.expect(0);
    assert!(lost.stdout.starts_with("faults: lost (its coordinator is gone"), "{lost}");
    drop(worker);
    let coordinator = folder.coordinator(&["--resume"]);
    let again = self::page(&coordinator);
    let worker = folder.worker(&coordinator.address(), &[]);
    let status = once(&again, |status| !status["curve"]["step"].as_array().unwrap().is_empty());
    let mut events = status["events"].as_array().unwrap().iter();
    assert!(events.any(|event| event["kind"] == "resumed"), "{}", status["events"]);
    coordinator.end().expect(0);
    worker.end().expect(0);
    let shown = folder.run(&["status", "run", "--json"]);
    let over: Value = serde_json::from_str(&shown.stdout).unwrap();
    let first = over["curve"]["step"][0].as_u64().unwrap();
    assert_eq!(first, over["curve"]["steps_a_place"].as_u64().unwrap(), "from the first step on");
}

#[test]
fn a_worker_that_is_killed_and_one_that_stops_are_named_with_their_reasons() {
    let folder = endless();
    let coordinator = folder.coordinator(&["--workers-start", "3"]);
    let (page, address) = (page(&coordinator), coordinator.address());
    let workers = [(); 3].map(|()| folder.worker(&address, &[]));
    let training = once(&page, |status| {
        status["run"]["state"] == "training"
            && !status["strip"]["rows"].as_array().unwrap().is_empty()
    });
    let of = |status: &Value, pid: u32| {
        let mut members = status["members"].as_array().unwrap().iter();
        members.find(|member| member["pid"] == pid).cloned()
    };
    let killed = of(&training, workers[0].pid()).unwrap()["worker"].clone();
    workers[0].signal(Signal::SIGKILL);
    let status = once(&page, |status| !status["gone"].as_array().unwrap().is_empty());
    let gone = &status["gone"][0];
    assert_eq!((&gone["worker"], &gone["cause"]), (&killed, &"vanished".into()), "{gone}");
    workers[1].signal(Signal::SIGSTOP);
    // First it is late, or waited for; then its silence is found.
    once(&page, |status| {
        of(status, workers[1].pid()).is_none_or(|member| member["state"] == "late")
    });
    let status = once(&page, |status| status["gone"].as_array().unwrap().len() == 2);
    assert_eq!(status["gone"][1]["cause"], "silent", "{status:#}");
    assert!(status["events"].as_array().unwrap().iter().any(|event| event["kind"] == "left"));
    workers[1].signal(Signal::SIGCONT);
}

#[test]
fn who_is_not_let_in_is_shown_with_what_is_wrong() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let worker = folder.worker(&coordinator.address(), &["--run-id", "another"]);
    let status = once(&page, |status| status["counts"]["refused"] == 1);
    let mut waits = status["waits"].as_array().unwrap().iter();
    let wait = waits.find(|wait| wait["stage"] == "joining").unwrap();
    assert!(
        wait["peer"].as_str().unwrap().contains(&format!("process {}", worker.pid())),
        "{wait}"
    );
    assert!(wait["what"].as_str().unwrap().starts_with("refused a worker ("), "{wait}");
    worker.end();
}

#[test]
fn a_disk_that_is_full_is_among_the_waits_and_the_run_goes_on() {
    let folder = endless();
    let coordinator = folder.coordinator_with("metrics.jsonl:line=return(full)", &[]);
    let page = page(&coordinator);
    let _worker = folder.worker(&coordinator.address(), &[]);
    let status = once(&page, |status| {
        !status["waits"].as_array().unwrap().is_empty() && status["waits"][0]["stage"] == "disk"
    });
    let wait = &status["waits"][0];
    assert!(
        wait["what"]
            .as_str()
            .unwrap()
            .contains("metrics.jsonl: cannot write it (No space left on device)"),
        "{wait}"
    );
    assert!(wait["remedy"].as_str().unwrap().starts_with("make room on the disk"), "{wait}");
    let step = status["position"]["step"].as_u64();
    once(&page, |status| status["position"]["step"].as_u64() > step);
}

#[test]
fn a_report_is_one_file_and_goes_over_no_other() {
    let folder = folder();
    folder.train_into("run");
    folder.run(&["report", "run", "--output", "run/report.html"]).expect_with(3, "run folder");
    folder.run(&["report", "run"]).expect(0);
    let html = folder.read("report.html");
    assert!(html.contains("\"finished\"") && html.contains("default-src 'none'"));
    for other in ["src=\"", "href=\"", "@import", "url("] {
        assert!(!html.contains(other), "{other}");
    }
    folder.run(&["report", "run"]).expect_with(3, "it is there already");
    folder.run(&["report", "run", "--force"]).expect(0);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let none = ["report", "empty", "--output", "empty.html"];
    folder.run(&none).expect_with(3, "is this a run folder?");
}

#[test]
fn what_can_be_asked_and_what_cannot() {
    let folder = folder();
    folder.run(&["status"]).expect_with(2, "found no run in the folder runs");
    folder
        .run(&["status", "nowhere"])
        .expect_with(2, "there is no such run folder, and found \"nowhere\"");
    folder.run(&["status", "127.0.0.1:1"]).expect_with(5, "no page answers at http://127.0.0.1:1/");
    folder.run(&["runs", "nowhere"]).expect_with(3, "nowhere: cannot read it");
    let none = folder.run(&["runs", "."]);
    none.expect(0);
    assert_eq!(none.stdout, "no run in .\n");
    folder.run(&["local", "job.toml", "--http", "x"]).expect_with(2, "wanted HOST:PORT");
    let off = folder.run(&[
        "--log-format",
        "json",
        "local",
        "job.toml",
        "--http",
        "off",
        "--out",
        "runs/off",
    ]);
    off.expect(0);
    assert!(!off.stderr.contains("\"page\""), "{off}");
    let newest = folder.run(&["status"]);
    newest.expect(0);
    assert!(newest.stdout.starts_with("faults: finished\n"), "{newest}");
}
