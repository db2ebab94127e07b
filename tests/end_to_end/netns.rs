//! Networks as they are, played by network namespaces: both families of addresses, names with several addresses, cables that are
//! pulled, hosts that come back elsewhere, firewalls that say nothing. One weights hash in every case, its own words for
//! each failure, and nothing readable on the cable.

use lockstep_net::JoinLine;
use nix::sys::signal::Signal;

use crate::faults::{HASH, JOB, LONG_HASH, folder, long_folder};
use crate::folder::Folder;
use crate::hosts::{Hosts, NOBODY, SILENT, V4, V6};
use crate::process::Process;
use crate::tools::skip;

const TWO: [&str; 4] = ["--out", "run", "--workers-start", "2"];

fn line(folder: &Folder, coordinator: &Process) -> JoinLine {
    coordinator.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    JoinLine::parse(&folder.read("run/join")).unwrap()
}

fn port(coordinator: &Process) -> String {
    coordinator.address().rsplit_once(':').unwrap().1.to_string()
}

#[test]
fn a_cable_is_pulled_and_put_back() {
    let Some(hosts) = Hosts::new() else { return };
    let folder = long_folder();
    let coordinator = hosts.coordinator(&folder, &format!("{}:0", V4[0]), &TWO);
    assert!(coordinator.address().starts_with(V4[0]));
    let worker = || hosts.worker(&folder, &["--join-file", "run/join"]);
    let workers = [worker(), worker()];
    coordinator.report("progress", |_| true);
    // Nothing ends while the cable is being pulled.
    coordinator.signal(Signal::SIGSTOP);
    hosts.cable("down");
    coordinator.signal(Signal::SIGCONT);
    let left = coordinator.report("worker_left", |left| left["workers"] == 0);
    assert_eq!((&left["cause"], &left["address"]), (&"silent".into(), &V4[1].into()));
    assert!(
        left["reason"].as_str().unwrap().ends_with("or its machine or the network between is down")
    );
    for worker in &workers {
        worker.line("lost the coordinator (no answer for ");
    }
    hosts.cable("up");
    let ended = coordinator.end();
    ended.expect(0);
    assert_eq!(ended.stderr.matches("\"event\":\"worker_joined\"").count(), 4, "{ended}");
    for worker in workers {
        worker.end().expect(0);
    }
    assert_eq!(folder.hash(), LONG_HASH);
}

/// Half-open, seen from either side: who was there is gone, and its system cannot say so. Then the coordinator is again where
/// it was, or somewhere else, as the file with the join line says.
#[test]
fn a_host_dies_without_a_word_and_the_coordinator_comes_back() {
    for elsewhere in [None, Some("10.231.7.9")] {
        let Some(hosts) = Hosts::new() else { return };
        let folder = long_folder();
        let listen = format!("{}:0", V4[0]);
        let first = hosts.coordinator(&folder, &listen, &TWO);
        let port = port(&first);
        let code = line(&folder, &first).to_line().split_once('#').unwrap().1.to_string();
        let worker = || hosts.worker(&folder, &["--join-file", "run/join"]);
        let [dying, staying] = [worker(), worker()];
        first.report("progress", |_| true);
        first.signal(Signal::SIGSTOP);
        hosts.cable("down");
        dying.signal(Signal::SIGKILL);
        dying.end();
        first.signal(Signal::SIGCONT);
        let left = first.report("worker_left", |left| left["workers"] == 0);
        assert_eq!(left["cause"], "silent");
        first.signal(Signal::SIGKILL);
        first.end();
        staying.line("lost the coordinator (no answer for ");
        if let Some(address) = elsewhere {
            hosts.renumber(address);
        }
        let listen = format!("{}:{port}", elsewhere.unwrap_or(V4[0]));
        let second = hosts.coordinator(&folder, &listen, &["--out", "run", "--resume"]);
        assert_eq!(line(&folder, &second).to_line().split_once('#').unwrap().1, code);
        hosts.cable("up");
        let ended = second.end();
        ended.expect(0);
        staying.end().expect(0);
        assert_eq!(folder.hash(), LONG_HASH, "{elsewhere:?}: {ended}");
    }
}

/// A worker by either family, and by a name of which one address leads nowhere.
#[test]
fn both_families_and_names_with_several_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.names(1, &format!("{SILENT} head.test\n{} head.test\n{} six.test\n", V4[0], V6[0]));
    let folder = folder();
    let five = ["--out", "run", "--workers-start", "5"];
    let coordinator = hosts.coordinator(&folder, "[::]:0", &five);
    let port = port(&coordinator);
    let line = line(&folder, &coordinator);
    assert_eq!(line.addresses, [format!("{}:{port}", V4[0]), format!("[{}]:{port}", V6[0])]);
    let workers: Vec<_> = [
        vec![format!("{}:{port}", V4[0])],
        vec![format!("[{}]:{port}", V6[0])],
        vec![format!("head.test:{port}")],
        vec![format!("six.test:{port}")],
        // Nothing listens at the first, nobody is at the second.
        vec![format!("{}:1", V4[0]), format!("{NOBODY}:{port}"), format!("[{}]:{port}", V6[0])],
    ]
    .into_iter()
    .map(|addresses| JoinLine { addresses, ..line.clone() }.to_line().to_string())
    .map(|line| hosts.worker(&folder, &[&line]))
    .collect();
    for worker in workers {
        worker.end().expect(0);
    }
    let ended = coordinator.end();
    ended.expect(0);
    for address in [V4[1], V6[1]] {
        assert!(ended.stderr.contains(&format!("\"address\":\"{address}\"")), "{ended}");
    }
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn each_way_not_to_reach_a_coordinator_has_its_words() {
    let Some(hosts) = Hosts::new() else { return };
    hosts.names(1, "127.0.0.1 localhost\n");
    let folder = folder();
    let coordinator = hosts.coordinator(&folder, &format!("{}:0", V4[0]), &TWO);
    let line = line(&folder, &coordinator);
    let refused =
        "nothing listens there: is the coordinator started, and are address and port right?";
    let silent = "no answer within 5.0 s: is that machine on, is the address right, and does a firewall let the port through?";
    let nobody =
        "there is no way to it (No route to host): check the address and this machine's network";
    let outside = "there is no way to it (Network is unreachable): check the address and";
    let (at, silent_at) =
        (format!("at {}:1: {refused}", V4[0]), format!("; at {SILENT}:7070: {silent}"));
    for (addresses, wanted) in [
        (vec![format!("{}:1", V4[0])], vec![refused]),
        (vec![format!("[{}]:1", V6[0])], vec![refused]),
        (vec![format!("{SILENT}:7070")], vec![silent]),
        (vec![format!("{NOBODY}:7070")], vec![nobody]),
        (vec!["192.0.2.1:7070".to_string()], vec![outside]),
        (vec!["[2001:db8::1]:7070".to_string()], vec![outside]),
        (vec!["head.invalid:7070".to_string()], vec!["the host's name does not resolve ("]),
        // What was met at each of several is told.
        (vec![format!("{}:1", V4[0]), format!("{SILENT}:7070")], vec![&*at, &*silent_at]),
    ] {
        let line = JoinLine { addresses, ..line.clone() }.to_line().to_string();
        let ended = hosts.worker(&folder, &[&line, "--wait", "0.5"]).end();
        for wanted in wanted {
            ended.expect_with(5, wanted);
        }
    }
}

/// How many windows of these values are in what passed on the cable.
pub(crate) fn readable(capture: &[u8], windows: &[Vec<u8>]) -> usize {
    let contains = |wanted: &[u8]| capture.windows(wanted.len()).any(|window| window == wanted);
    windows.iter().filter(|window| contains(window)).count()
}

/// Rows of the table as the network takes them in.
fn rows(folder: &Folder) -> Vec<Vec<u8>> {
    let row = |line: &str| {
        let cells = line.split(',').map(|cell| cell.parse::<f64>().unwrap() as f32);
        cells.flat_map(f32::to_le_bytes).collect()
    };
    folder.read("train.csv").lines().skip(1).take(20).map(row).collect()
}

/// Pieces of the weights that a run ended with, which all workers were sent for the last evaluation.
pub(crate) fn weights(folder: &Folder, run: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(folder.path().join(run).join("model/weights.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let pieces = tensors.tensors().into_iter().filter(|(_, tensor)| tensor.data().len() >= 32);
    pieces.map(|(_, tensor)| tensor.data()[..32].to_vec()).collect()
}

/// Everything on the cable without encryption, which shows that the reader can read, and nothing with it.
#[test]
fn nothing_of_a_run_is_readable_on_the_cable() {
    if std::process::Command::new("tcpdump").arg("--version").output().is_err() {
        return skip("tcpdump");
    }
    let Some(hosts) = Hosts::new() else { return };
    let folder = folder();
    folder.write("job.toml", &JOB.replace("scale = \"standard\"\n", ""));
    let mut found = Vec::new();
    for (run, arguments) in [("open", &["--insecure"][..]), ("run", &[])] {
        let file = format!("{run}.pcap");
        let capture = ["-i", "va", "-Z", "root", "-U", "--immediate-mode", "-w", &file];
        let capture = hosts.start_other(0, &folder, "tcpdump", &capture);
        capture.line("listening on va");
        let all = [&["--out", run][..], arguments].concat();
        let coordinator = hosts.coordinator(&folder, &format!("{}:0", V4[0]), &all);
        let address = coordinator.address();
        let (worker, secret) = match run {
            "open" => {
                let open = ["--coordinator", &address, "--insecure"];
                (hosts.worker(&folder, &open), None)
            }
            _ => {
                let secret = line(&folder, &coordinator).secret;
                (hosts.worker(&folder, &["--join-file", "run/join"]), Some(secret))
            }
        };
        worker.end().expect(0);
        coordinator.end().expect(0);
        capture.signal(Signal::SIGINT);
        capture.end();
        let captured = std::fs::read(folder.path().join(&file)).unwrap();
        assert!(captured.len() > 10_000, "{run}: {} bytes", captured.len());
        let secret: Vec<_> = secret.iter().map(|secret| secret.expose().to_vec()).collect();
        found.push((
            readable(&captured, &rows(&folder)),
            readable(&captured, &weights(&folder, run)),
            readable(&captured, &secret),
            readable(&captured, &[b"faults-".to_vec()]),
        ));
    }
    let (rows, weights, _, name) = found[0];
    assert!(rows >= 10 && weights >= 1 && name == 1, "{found:?}");
    assert_eq!(found[1], (0, 0, 0, 0));
    assert_eq!(folder.hash_of("open"), folder.hash());
}
