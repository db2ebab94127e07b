//! Who may see the status of a run, and that nobody can change anything by it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::faults::folder;
use crate::folder::Folder;
use crate::process::poll;
use crate::status::{ask, page, status};

/// Another site's page must not be able to read it by having its own name lead here.
#[test]
fn the_page_is_for_this_machine_and_takes_no_orders() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let (head, body) = ask(&page, "/status.json", "Host: evil.example\r\n");
    assert!(head.starts_with("HTTP/1.1 421") && !body.contains("faults"), "{head}\n{body}");
    let (head, body) = ask(&page, "/", "Host: localhost\r\n");
    for wanted in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(head.to_lowercase().contains(wanted), "no {wanted} in {head}");
    }
    for inline in ["<script>", "style=", "onclick", "http:", "https:"] {
        assert!(!body.contains(inline), "{inline} in {body}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let mut stream = TcpStream::connect(&page).unwrap();
        let request = format!(
            "{method} /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{method}: {answer}");
    }
}

#[test]
fn beyond_this_machine_the_page_is_encrypted_and_wants_its_key() {
    let folder = folder();
    let listen = ["--listen", "0.0.0.0:0", "--advertise", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    let command = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let coordinator = folder.start(&[&command[..], &listen].concat());
    let listening = coordinator.report("listening", |_| true);
    let shown = listening["page"].as_str().unwrap();
    assert!(shown.starts_with("https://127.0.0.1:") && !shown.contains('#'), "{listening}");
    let whole = folder.read("run/http");
    let (address, key) = whole.trim().split_once('#').unwrap();
    assert_eq!((address, key.len()), (shown, 32));
    // By the folder it is found, and known by its key.
    once_by_folder(&folder, "waiting");
    for (asked, wanted) in [
        (shown, "its certificate is this run's own"),
        (&whole.trim().replace("https", "http"), "no page answers"),
    ] {
        folder.run(&["status", asked]).expect_with(5, wanted);
    }
    assert_eq!(plain(shown).as_deref(), None, "it answers without encryption");
    let join = folder.read("run/join");
    assert!(
        !join.contains(key) && !key.contains(join.trim()),
        "the key of the page lets nobody join"
    );
}

#[track_caller]
fn once_by_folder(folder: &Folder, state: &str) {
    let mut last = String::new();
    assert!(
        poll(|| {
            last = folder.run(&["status", "run", "--json"]).stdout;
            serde_json::from_str::<Value>(&last).is_ok_and(|status| status["run"]["state"] == state)
        }),
        "{last}"
    );
}

/// What is answered to plain HTTP, if anything is.
fn plain(shown: &str) -> Option<String> {
    let address = shown.strip_prefix("https://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP").then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// Whoever looks at nothing takes nobody's place: of a hundred connections that are held, more than may look at the status are served.
#[test]
fn connections_that_are_held_keep_nobody_out() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let page = page(&coordinator);
    let ask_again = |stream: &mut TcpStream| {
        stream.write_all(b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = [0; 2048];
        let read = stream.read(&mut answer).ok()?;
        answer[..read].starts_with(b"HTTP/1.1 200").then_some(())
    };
    let mut held: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&page).unwrap()).collect();
    assert!(held.iter_mut().all(|stream| ask_again(stream).is_some()));
    assert!(status(&page)["run"].is_object());
    let still = held.iter_mut().filter_map(ask_again).count();
    assert!(still > 64, "only {still} are still there");
}
