//! Command lines, addresses and peers that do not fit together, and trainings that diverge.

use std::net::TcpListener;

use lockstep_proto::PROTOCOL;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bad_job::{JOB, TEST, small};
use crate::folder::{Folder, edited};
use crate::proxy::Proxy;

#[test]
fn a_wrong_command_line() {
    let folder = small();
    let before = folder.files();
    for (arguments, message) in [
        (&[][..], "Usage: lockstep"),
        (&["tarin"], "unrecognized subcommand 'tarin'"),
        (&["local"], "required arguments were not provided"),
        (&["local", "job.toml", "--wokers", "2"], "unexpected argument '--wokers'"),
        (&["local", "job.toml", "--workers", "0"], "invalid value '0' for '--workers"),
        (&["local", "job.toml", "--workers", "257"], "257 is not in 1..=256"),
        (&["local", "job.toml", "--threads", "0"], "invalid value '0' for '--threads"),
        (&["coordinator", "job.toml", "--workers-start", "0"], "invalid value '0'"),
        (&["coordinator", "job.toml", "--listen", "nowhere"], "wanted HOST:PORT, the port from 0"),
        (
            &["coordinator", "job.toml", "--listen", "h:99999"],
            "invalid value 'h:99999' for '--listen",
        ),
        (&["worker"], "found no coordinator, wanted the join line that it printed"),
        (
            &["worker", "--coordinator", "nowhere"],
            "\"nowhere\" is not an address: wanted HOST:PORT",
        ),
        (&["worker", "--coordinator", "h:99999"], "\"h:99999\" is not an address"),
        (&["worker", "--coordinator", "h:1", "--wait", "soon"], "wanted a number of seconds"),
        (&["--log-format", "xml", "check", "job.toml"], "[possible values: text, json]"),
        (&["completions", "cmd"], "invalid value 'cmd'"),
        (&["predict", "run"], "--data <DATA>"),
    ] {
        let ended = folder.run(arguments);
        ended.expect_with(2, message);
        assert_eq!(ended.stdout, "", "{ended}");
        assert_eq!(folder.files(), before, "{ended}");
    }
}

#[test]
fn an_address_in_use() {
    let folder = small();
    let before = folder.files();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = folder.run(&["coordinator", "job.toml", "--listen", &address, "--out", "run"]);
    ended.expect_with(5, &format!("error: cannot listen on {address}: Address already in use"));
    assert_eq!(folder.files(), before, "{ended}");
}

#[test]
fn no_coordinator() {
    // Bound and let go: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ended = small().worker(&free, &["--wait", "1"]).end();
    ended.expect_with(5, &format!("error: no coordinator at {free} for 1."));
    let warning = format!("warning: no coordinator at {free} yet (nothing listens there");
    assert_eq!(ended.stderr.matches(&warning).count(), 1, "{ended}");
}

#[test]
fn a_worker_of_another_run() {
    let folder = small();
    let coordinator = folder.coordinator(&[]);
    let listening = coordinator.report("listening", |_| true);
    let (address, run) =
        (listening["address"].as_str().unwrap(), listening["run_id"].as_str().unwrap());
    let refused = folder.worker(address, &["--run-id", "other"]).end();
    refused.expect_with(6, &format!("this is run {run}, the worker is for run other"));
    // The coordinator waits for one that fits.
    folder.worker(address, &["--run-id", run]).end().expect(0);
    coordinator.end().expect(0);
}

/// The version is all digits and dots, and stands uncompressed in the worker's first message.
#[test]
fn a_worker_of_another_version() {
    let folder = small();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), "9".repeat(env!("CARGO_PKG_VERSION").len()));
    let proxy = Proxy::replacing(&address, ours, &theirs);
    let refused = folder.worker(&proxy.address(), &[]).end();
    refused.expect_with(
        6,
        &format!("led by lockstep {ours} (protocol {PROTOCOL}), the worker is lockstep {theirs}"),
    );
    assert!(refused.stderr.contains("install the same version on both"), "{refused}");
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
}

/// 300 rows, and 299: field 4 of the worker's sums.
const ROWS: ([u8; 3], [u8; 3]) = ([0x20, 0xac, 0x02], [0x20, 0xab, 0x02]);

/// Its loss and gradient look like any other's, but a row is missing in them.
#[test]
fn a_worker_that_left_out_a_row() {
    let job = edited(JOB, "batch_size = 4", "batch_size = 300");
    let rows: String = (0..300).map(|row| format!("{row},{},{}\n", row % 7, row % 3)).collect();
    let folder = Folder::new(&[
        ("job.toml", &edited(&job, "0.001", "1e-9")),
        ("train.csv", &format!("a,b,y\n{rows}")),
        ("test.csv", TEST),
    ]);
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let proxy = Proxy::replacing(&address, ROWS.0, ROWS.1);
    let wrong = folder.worker(&proxy.address(), &[]);
    let reason = "it counted 299 rows in node 2:0 of pass 0, which has 300 there: what it computes cannot be trusted";
    coordinator.report("worker_left", |left| left["reason"] == reason);
    wrong.line(reason);
    wrong.signal(Signal::SIGTERM);
    wrong.end();
    // Nothing of it was added: the run goes on with one that counts.
    folder.worker(&address, &[]).end().expect(0);
    coordinator.end().expect(0);
    let hash = folder.hash();
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    assert_eq!(hash, folder.train(2, 1));
}

/// A job whose weights grow without end.
pub(crate) fn diverging() -> Folder {
    let folder = small();
    folder.write("job.toml", &edited(JOB, "0.001", "1e20"));
    folder
}

#[test]
fn a_training_that_diverges() {
    let folder = diverging();
    let coordinator = folder.coordinator(&[]);
    let worker = folder.worker(&coordinator.address(), &[]).end();
    worker.expect_with(7, "error: the run failed: the ");
    let ended = coordinator.end();
    ended.expect_with(4, " is not finite at step 2 (shard 0, layer ");
    assert!(ended.stderr.contains("lower train.optimizer's learning_rate"), "{ended}");
    let manifest: Value = serde_json::from_str(&folder.read("run/manifest.json")).unwrap();
    assert_eq!(manifest["status"], "failed");
    // What was measured before is kept.
    assert!(
        folder.read("run/metrics.jsonl").starts_with("{\"kind\":\"step\",\"epoch\":1,\"step\":1,")
    );
}

#[test]
fn a_local_training_that_diverges_is_told_once() {
    let folder = diverging();
    let ended = folder.run(&["--quiet", "local", "job.toml", "--workers", "3", "--out", "run"]);
    ended.expect_with(4, "error: the ");
    assert!(ended.stderr.contains(" is not finite at step 2 (shard "), "{ended}");
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{ended}");
}

/// Any wait that gets long is told, again and again, and can be ended.
#[test]
fn a_coordinator_without_workers() {
    let folder = small();
    let coordinator = folder.coordinator(&["--workers-start", "2"]);
    let advice = format!(
        " s: 0 workers connected, 2 needed; no limit; what helps: start one with `lockstep worker --coordinator {}`",
        coordinator.address()
    );
    coordinator.report("waiting", |report| {
        let message = report["message"].as_str().unwrap();
        message.starts_with("warning: waiting for workers for ") && message.ends_with(&advice)
    });
    coordinator.signal(Signal::SIGTERM);
    let ended = coordinator.end();
    ended.expect_with(130, "stopped before the first step: nothing was kept");
}

#[test]
fn fewer_workers_than_the_job_needs() {
    let folder = small();
    folder.write("job.toml", &format!("{JOB}\n[cluster]\nworkers_min = 3\n"));
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect_with(2, "--workers 2 is less than the job's cluster.workers_min, 3");
    assert!(!folder.path().join("run").exists());
}

/// Whoever leads a run sees who was turned away.
#[test]
fn a_refusal_is_told_on_both_sides() {
    let folder = small();
    let coordinator = folder.coordinator(&[]);
    let worker = folder.worker(&coordinator.address(), &["--run-id", "another"]).end();
    worker.expect_with(6, "the worker is for run another");
    coordinator.report("warning", |report| {
        let message = report["message"].as_str().unwrap();
        message.starts_with("refused a worker (") && message.contains("is for run another")
    });
}

/// Something answers, but is no coordinator: that counts against the wait as well.
#[test]
fn something_else_at_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hangs_up = std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut first = [0];
            if stream.peek(&mut first).is_ok() && first == *b"x" {
                return;
            }
        }
    });
    let ended = small().worker(&address, &["--wait", "1"]).end();
    ended.expect_with(5, &format!("no coordinator at {address} for "));
    use std::io::Write as _;
    std::net::TcpStream::connect(&address).unwrap().write_all(b"x").unwrap();
    hangs_up.join().unwrap();
}

/// The weights are good: one extreme value in the test table does not throw them away.
#[test]
fn a_test_table_that_cannot_be_measured() {
    let folder = small();
    folder.write("test.csv", "a,b,y\n1,2,3e30\n");
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect_with(0, "warning: the loss of the test table is not finite on shard 0");
    assert!(ended.stdout.contains("weights_blake3 "), "{ended}");
    folder.hash();
}

/// JSON has no NaN: it is null in the records, and the result is shown all the same.
#[test]
fn a_metric_that_is_not_a_number() {
    let folder = Folder::new(&[
        ("train.csv", "x,y\n0,0\n0,0\n0,0\n0,0\n"),
        (
            "job.toml",
            "[data]\ntrain = \"train.csv\"\ntest = \"train.csv\"\ntarget = \"y\"\n[model]\nloss = \"mse\"\n\
             metrics = [\"r2\"]\nlayers = [{ type = \"dense\", units = 1 }]\n[train]\noptimizer = \"sgd\"\n\
             epochs = 2\nbatch_size = 2\n",
        ),
    ]);
    let ended = folder.run(&["local", "job.toml", "--workers", "2", "--out", "run"]);
    ended.expect(0);
    let test = ended.stdout.lines().find(|line| line.starts_with("test ")).unwrap();
    assert!(test.ends_with("NaN"), "{ended}");
    assert!(folder.read("run/metrics.jsonl").contains("\"test_r2\":null"));
}

/// One that was stopped before its first step leaves nothing, so the same command starts the run again.
#[test]
fn a_coordinator_that_was_stopped_at_once() {
    let folder = small();
    let before = folder.files();
    for (signal, resume) in
        [(Signal::SIGTERM, &[][..]), (Signal::SIGINT, &["--resume"]), (Signal::SIGTERM, &[])]
    {
        let coordinator = folder.coordinator(resume);
        coordinator.address();
        coordinator.signal(signal);
        let ended = coordinator.end();
        ended.expect_with(130, "stopped before the first step: nothing was kept");
        assert_eq!(folder.files(), before, "{ended}");
    }
    let coordinator = folder.coordinator(&[]);
    folder.worker(&coordinator.address(), &[]).end().expect(0);
    coordinator.end().expect(0);
}

/// A folder that was there before stays, and so does what somebody put into it meanwhile.
#[test]
fn nothing_of_others_is_removed() {
    let folder = small();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    let before = folder.files();
    let coordinator = folder.coordinator(&[]);
    coordinator.address();
    coordinator.signal(Signal::SIGTERM);
    coordinator.end().expect(130);
    assert_eq!(folder.files(), before);
    let coordinator = folder.coordinator(&[]);
    coordinator.address();
    folder.write("run/model/notes.txt", "mine");
    coordinator.signal(Signal::SIGTERM);
    coordinator.end().expect_with(3, "cannot remove it");
    assert_eq!(folder.read("run/model/notes.txt"), "mine");
}

/// Who listens where only this machine can come says so, and how others could.
#[test]
fn a_coordinator_that_others_cannot_reach() {
    let folder = small();
    for (listen, is_told) in [("127.0.0.1:0", true), ("[::1]:0", true), ("0.0.0.0:0", false)] {
        let coordinator =
            folder.start(&["coordinator", "job.toml", "--out", "run", "--listen", listen]);
        let line = coordinator.line(": listening on ");
        let port = line.rsplit(':').next().unwrap().to_string();
        coordinator.line("waiting for workers for ");
        coordinator.signal(Signal::SIGTERM);
        let ended = coordinator.end();
        let hint = format!("--listen 0.0.0.0:{port}");
        assert_eq!(ended.stderr.contains(&hint), is_told, "{ended}");
        assert_eq!(ended.stderr.contains("only this machine can reach "), is_told, "{ended}");
    }
    let ended = folder.run(&["local", "job.toml", "--out", "run"]);
    assert!(!ended.stderr.contains("only this machine"), "{ended}");
}
