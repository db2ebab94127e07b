//! Joining by line: encrypted, with a coordinator whose key is known, by whoever knows its secret and nobody else. What is
//! said of everything that can be wrong with it, and that the secret is nowhere where others can read.

use std::os::unix::fs::PermissionsExt as _;

use lockstep_net::{JoinLine, Secret};
use nix::sys::signal::Signal;

use crate::faults::{HASH, JOB, folder, long_folder};
use crate::folder::Folder;
use crate::process::{Process, lockstep, poll, run};
use crate::proxy::Proxy;

/// A coordinator that other machines can reach, and its line with an address of this one.
pub(crate) fn coordinator(folder: &Folder, arguments: &[&str]) -> (Process, JoinLine) {
    let all = ["--log-format", "json", "coordinator", "job.toml", "--out", "run", "--resume"];
    let coordinator = folder.start(&[&all[..], &["--listen", "0.0.0.0:0"], arguments].concat());
    let port = coordinator.address().rsplit_once(':').unwrap().1.to_string();
    coordinator.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    let mut line = JoinLine::parse(&folder.read("run/join")).unwrap();
    assert!(
        line.addresses.iter().all(|address| address.ends_with(&format!(":{port}"))),
        "{line:?}"
    );
    line.addresses = vec![format!("127.0.0.1:{port}")];
    (coordinator, line)
}

fn code(line: &JoinLine) -> String {
    line.to_line().split_once("#lk1-").unwrap().1.to_string()
}

pub(crate) fn join(folder: &Folder, line: &str) -> Process {
    folder.start(&["worker", line, "--threads", "1", "--wait", "0.5"])
}

#[test]
fn workers_join_by_the_line_and_the_model_is_the_same() {
    let folder = folder();
    let (coordinator, line) = coordinator(&folder, &["--workers-start", "3"]);
    for file in ["run/join", "run/identity"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let text = line.to_line().to_string();
    folder.write("line", &format!("\n  {text}\n\n"));
    let by_argument = join(&folder, &text);
    let by_file = folder.start(&["worker", "--join-file", "line", "--threads", "1"]);
    // Where others can read what a process was started with, the secret is soon gone.
    let arguments = format!("/proc/{}/cmdline", by_argument.pid());
    assert!(poll(|| !std::fs::read_to_string(&arguments)
        .unwrap_or_default()
        .contains(&code(&line))));
    let mut by_variable = lockstep(folder.path(), &["worker", "--threads", "1"]);
    by_variable.env("LOCKSTEP_JOIN", &text);
    let by_variable = Process::start(by_variable);
    for worker in [by_argument, by_file, by_variable] {
        let ended = worker.end();
        ended.expect(0);
        assert!(!ended.to_string().contains(&code(&line)), "{ended}");
    }
    let ended = coordinator.end();
    ended.expect(0);
    assert!(!ended.to_string().contains(&code(&line)), "{ended}");
    assert_eq!(folder.hash(), HASH);
    for file in ["manifest.json", "job.toml", "metrics.jsonl", "model/model.json"] {
        assert!(!folder.read(&format!("run/{file}")).contains(&code(&line)), "{file}");
    }
}

#[test]
fn whatever_is_wrong_with_a_line_has_its_words() {
    let folder = folder();
    let (coordinator, line) = coordinator(&folder, &[]);
    let text = line.to_line().to_string();
    let address = &line.addresses[0];
    let other = JoinLine { secret: Secret::random().unwrap(), ..line.clone() };
    let stranger = lockstep_net::Identity::generate().unwrap();
    let elsewhere = JoinLine { pin: stranger.pin(), ..line.clone() };
    let first = JoinLine { addresses: vec!["127.0.0.1:1".into()], ..line.clone() };
    for (line, exit, wanted) in [
        (&text[..text.len() - 3], 2, "its code has 81 letters, wanted 84: it was cut short"),
        (&text.replacen("#lk1-", "#lk1-a", 1)[..text.len()], 2, "its checksum is wrong"),
        (address, 2, "found no `#lk1-...` in it, wanted the whole line"),
        (&other.to_line(), 6, "the join line's secret is not this run's, or not any more"),
        (&elsewhere.to_line(), 6, "another key than the join line's is at 127.0.0.1:"),
        (&first.to_line(), 5, "nothing listens there: is the coordinator started"),
    ] {
        join(&folder, line).end().expect_with(exit, wanted);
    }
    let plain = ["worker", "--coordinator", address, "--wait", "0.5"];
    folder
        .run(&plain)
        .expect_with(5, "something behind TLS listens there: if that is a coordinator");
    let insecure = [&plain[..], &["--insecure"]].concat();
    folder.run(&insecure).expect_with(5, "something behind TLS listens there");
    folder.run(&["worker"]).expect_with(2, "found no coordinator, wanted the join line");
    // Nothing is said to another machine in the clear, unless somebody wants that.
    let far = ["worker", "--coordinator", "192.0.2.1:7070", "--wait", "0.5"];
    folder.run(&far).expect_with(2, "192.0.2.1:7070 is another machine, and nothing is sent there");
    coordinator.report("warning", |warning| {
        warning["message"].as_str().unwrap().contains("it does not know the join line's secret")
    });
    // The first address that leads there is taken.
    let both = JoinLine { addresses: [&first.addresses[..], &line.addresses].concat(), ..line };
    join(&folder, &both.to_line()).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn a_coordinator_without_encryption_is_told_apart() {
    let folder = folder();
    let open = ["coordinator", "job.toml", "--out", "run", "--listen", "0.0.0.0:0", "--insecure"];
    let coordinator = folder.start(&[&["--log-format", "json"][..], &open].concat());
    let port = coordinator.address().rsplit_once(':').unwrap().1.to_string();
    coordinator
        .report("note", |note| note["message"].as_str().unwrap().contains("nothing is encrypted"));
    let identity = lockstep_net::Identity::generate().unwrap();
    let (pin, secret) = (identity.pin(), identity.secret().clone());
    let line = JoinLine { addresses: vec![format!("127.0.0.1:{port}")], pin, secret };
    join(&folder, &line.to_line()).end().expect_with(5, "what listens there does not encrypt");
    folder.worker(&format!("127.0.0.1:{port}"), &[]).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
    assert!(
        !folder.path().join("run/join").exists() && !folder.path().join("run/identity").exists()
    );
}

/// How many of a table's rows are in what passed, as the network takes them in; and whether the run's name is.
fn readable(folder: &Folder, passed: &[Vec<u8>; 2]) -> (usize, bool) {
    let contains = |wanted: &[u8]| {
        passed.iter().any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    };
    let table = folder.read("train.csv");
    let rows = table.lines().skip(1).take(20).map(|line| {
        let cells = line.split(',').map(|cell| cell.parse::<f64>().unwrap() as f32);
        cells.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
    });
    (rows.filter(|row| contains(row)).count(), contains(b"faults-"))
}

/// Read on the way: everything without encryption, which shows that the reader can read, and nothing with it.
#[test]
fn nothing_of_a_run_is_readable_on_the_way() {
    let folder = folder();
    folder.write("job.toml", &JOB.replace("scale = \"standard\"\n", ""));
    let open = ["coordinator", "job.toml", "--out", "open", "--listen", "0.0.0.0:0", "--insecure"];
    let open = folder.start(&[&["--log-format", "json"][..], &open].concat());
    let port = open.address().rsplit_once(':').unwrap().1.to_string();
    let proxy = Proxy::listening(&format!("127.0.0.1:{port}"));
    folder.worker(&proxy.address(), &[]).end().expect(0);
    open.end().expect(0);
    let (rows, name) = readable(&folder, &proxy.passed());
    assert!(rows >= 10 && name, "{rows} rows");

    let (coordinator, line) = coordinator(&folder, &[]);
    let proxy = Proxy::listening(&line.addresses[0]);
    let line = JoinLine { addresses: vec![proxy.address()], ..line };
    join(&folder, &line.to_line()).end().expect(0);
    coordinator.end().expect(0);
    let passed = proxy.passed();
    assert!(passed.iter().all(|bytes| bytes.len() > 5_000), "all went through the proxy");
    assert_eq!(readable(&folder, &passed), (0, false));
    let secret = line.secret.expose();
    let says = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(!passed.iter().any(says));
    assert_eq!(folder.hash_of("open"), folder.hash());
}

#[test]
fn a_line_is_good_for_resumed_runs_until_its_secret_is_renewed() {
    let folder = long_folder();
    let (first, line) = coordinator(&folder, &[]);
    let text = code(&line);
    let refused = folder.run(&["token", "run", "--rotate"]);
    refused.expect_with(3, "the run folder is in use by process ");
    let worker = join(&folder, &line.to_line());
    first.report("progress", |_| true);
    first.signal(Signal::SIGTERM);
    first.end().expect(130);
    worker.end();
    let (second, line) = coordinator(&folder, &[]);
    assert_eq!(code(&line), text);
    second.signal(Signal::SIGTERM);
    second.end().expect(130);
    folder.run(&["token", "run", "--rotate"]).expect_with(0, "the run has a new secret");
    assert!(!folder.path().join("run/join").exists());
    std::fs::set_permissions(
        folder.path().join("run/identity"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let (third, renewed) = coordinator(&folder, &[]);
    third.report("warning", |warning| {
        warning["message"]
            .as_str()
            .unwrap()
            .contains("others on this machine can read it (mode 644)")
    });
    assert_ne!(code(&renewed), text);
    let stale = JoinLine { addresses: renewed.addresses.clone(), ..line };
    join(&folder, &stale.to_line())
        .end()
        .expect_with(6, "the join line's secret is not this run's");
    third.signal(Signal::SIGTERM);
    third.end().expect(130);
    folder.run(&["token", "nowhere", "--rotate"]).expect_with(3, "the run has no identity yet");
}

/// Not even on the same machine.
#[test]
fn nobody_else_joins_a_local_cluster() {
    let folder = long_folder();
    let local = ["--log-format", "json", "local", "job.toml", "--out", "run", "--workers", "1"];
    let local = folder.start(&local);
    let address = local.address();
    let stranger = folder.worker(&address, &["--wait", "0.5"]).end();
    stranger.expect_with(6, "nobody joins this run without its join line");
    let ended = local.end();
    ended.expect(0);
    assert_eq!(ended.stderr.matches("\"event\":\"worker_joined\"").count(), 1, "{ended}");
}

/// Whoever does not know the secret learns nothing of the run, not even its name.
#[test]
fn a_run_folder_is_needed_for_an_identity_and_nothing_is_made_on_loopback() {
    let folder = folder();
    run(lockstep(folder.path(), &["--quiet", "local", "job.toml", "--out", "run"])).expect(0);
    assert!(
        !folder.path().join("run/join").exists() && !folder.path().join("run/identity").exists()
    );
}

#[test]
fn whoever_asks_after_a_coordinator_learns_whether_it_is_there() {
    let folder = folder();
    folder.run(&["health"]).expect_with(2, "found no coordinator, wanted --join-file");
    let asks = ["health", "--join-file", "run/join"];
    folder.run(&asks).expect_with(5, "there is no file run/join: the coordinator writes it when");
    folder.run(&["health", "192.0.2.1:7070"]).expect_with(2, "is another machine, and nothing is");
    let (coordinator, line) = coordinator(&folder, &[]);
    let address = &line.addresses[0];
    let ended = folder.run(&[&asks[..], &[address]].concat());
    ended.expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("serving\n", ""));
    folder.run(&["health", address]).expect_with(5, "something behind TLS listens there");
    let stranger = lockstep_net::Identity::generate().unwrap();
    let elsewhere = JoinLine { pin: stranger.pin(), ..line.clone() };
    folder.write("elsewhere", &*elsewhere.to_line());
    folder
        .run(&["health", "--join-file", "elsewhere"])
        .expect_with(6, "another key than the join line's is at");
    coordinator.signal(Signal::SIGTERM);
    let ended = coordinator.end();
    ended.expect(130);
    // Asking is no joining.
    assert!(!ended.stderr.contains("refused") && !ended.stderr.contains("joined"), "{ended}");
    folder.write("line", &*line.to_line());
    let asks = ["health", "--join-file", "line"];
    folder.run(&asks).expect_with(5, "no coordinator answers at 127.0.0.1:");
    let open = folder.coordinator(&[]);
    folder.run(&["health", &open.address()]).expect(0);
}

#[test]
fn an_identity_made_ahead_is_what_a_coordinator_is_known_by() {
    let folder = folder();
    for (wrong, exit, wanted) in [
        (&["token", "made"][..], 2, "--rotate"),
        (&["token", "made", "--new"], 2, "--address"),
        (&["token", "made", "--new", "--rotate", "--address", "a:1"], 2, "cannot be used with"),
        (&["token", "made", "--new", "--address", "a:0"], 2, "\"a:0\" is not an address"),
    ] {
        folder.run(wrong).expect_with(exit, wanted);
    }
    let new = ["token", "made", "--new", "--address", "head.example:7070"];
    folder.run(&new).expect(0);
    for file in ["made/identity", "made/join"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let made = JoinLine::parse(&folder.read("made/join")).unwrap();
    assert_eq!(made.addresses, ["head.example:7070"]);
    // Whoever has the line would be left outside.
    folder.run(&new).expect_with(3, "made/identity: it is there already");
    let with = |identity: &str, out: &str| {
        let all = ["--log-format", "json", "coordinator", "job.toml", "--listen", "127.0.0.1:0"];
        folder.start(&[&all[..], &["--identity", identity, "--out", out]].concat())
    };
    folder.write("damaged", "lockstep identity 1\nkey x\n");
    with("damaged", "no").end().expect_with(3, "damaged: not an identity that lockstep wrote");
    let others = std::fs::Permissions::from_mode(0o604);
    std::fs::set_permissions(folder.path().join("made/identity"), others).unwrap();
    let coordinator = with("made/identity", "run");
    coordinator.report("warning", |warning| {
        warning["message"]
            .as_str()
            .unwrap()
            .contains("others on this machine can read it (mode 604)")
    });
    let line = JoinLine { addresses: vec![coordinator.address()], ..made };
    join(&folder, &line.to_line()).end().expect(0);
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), HASH);
    assert!(!folder.path().join("run/identity").exists());
}
