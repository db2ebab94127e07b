//! `--trace`: what each process did when, in a file that Perfetto takes, and no other bits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::faults::{JOB, LONG_HASH, long_folder};
use crate::folder::Folder;
use crate::process::Process;
use crate::relay::Relay;

/// A span: from when to when, in microseconds.
struct Span {
    name: String,
    start: f64,
    end: f64,
    args: Value,
}

/// A trace, whose structure holds: by process, named, the spans of each track.
struct Trace(BTreeMap<String, Vec<Vec<Span>>>);

impl Trace {
    #[track_caller]
    fn read(folder: &Folder, name: &str) -> Trace {
        let trace: Value = serde_json::from_str(&folder.read(name)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let mut names = BTreeMap::new();
        let mut threads = BTreeSet::new();
        let mut tracks: BTreeMap<(u64, u64), Vec<Span>> = BTreeMap::new();
        for event in events {
            let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{event}"));
            let (pid, tid) = (number("pid"), number("tid"));
            match event["ph"].as_str().unwrap() {
                "M" if event["name"] == "process_name" => {
                    let name = event["args"]["name"].as_str().unwrap().to_string();
                    assert!(names.insert(pid, name).is_none(), "two processes are {pid}");
                }
                "M" => assert!(threads.insert((pid, tid)), "two threads are {tid} of {pid}"),
                "X" => {
                    let (start, took) = (event["ts"].as_f64(), event["dur"].as_f64());
                    let (start, took) = (start.unwrap(), took.unwrap());
                    assert!(start >= 0.0 && took >= 0.0, "{event}");
                    let name = event["name"].as_str().unwrap().to_string();
                    let args = event["args"].clone();
                    let span = Span { name, start, end: start + took, args };
                    tracks.entry((pid, tid)).or_default().push(span);
                }
                other => panic!("an event of the kind {other:?}"),
            }
        }
        let mut all: BTreeMap<String, Vec<Vec<Span>>> = BTreeMap::new();
        for (track, mut spans) in tracks {
            assert!(threads.contains(&track), "a track without a name");
            nests(&mut spans);
            all.entry(names[&track.0].clone()).or_default().push(spans);
        }
        Trace(all)
    }

    fn processes(&self, kind: &str) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with(kind)).collect()
    }

    fn spans(&self, process: &str) -> impl Iterator<Item = &Span> {
        self.0[process].iter().flatten()
    }

    #[track_caller]
    fn expect(&self, process: &str, names: &[&str]) {
        let found: BTreeSet<&str> = self.spans(process).map(|span| &*span.name).collect();
        for name in names {
            assert!(found.contains(name), "no {name} of {process}, only {found:?}");
        }
    }
}

/// That of two spans of a track that overlap one is inside the other.
#[track_caller]
fn nests(spans: &mut [Span]) {
    /// What times lose by being written in microseconds.
    const SLACK: f64 = 0.01;
    spans.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.end.total_cmp(&a.end)));
    let mut open: Vec<&Span> = Vec::new();
    for span in &*spans {
        open.retain(|outer| outer.end > span.start + SLACK);
        if let Some(outer) = open.last() {
            assert!(span.end <= outer.end + SLACK, "{} ends after {}", span.name, outer.name);
        }
        open.push(span);
    }
}

#[test]
fn a_local_cluster_is_one_timeline_and_the_bits_are_the_same() {
    // Long enough for every worker to be dealt something in those steps, whatever else this machine does.
    let folder = long_folder();
    let local = ["--quiet", "local", "job.toml", "--workers", "3", "--out", "run"];
    folder
        .run(&[&local[..], &["--trace", "trace.json", "--trace-steps", "1000"]].concat())
        .expect(0);
    assert_eq!(folder.hash(), LONG_HASH);
    let trace = Trace::read(&folder, "trace.json");
    let workers = trace.processes("worker ");
    assert_eq!(workers.len(), 3, "{:?}", trace.0.keys());
    for worker in workers {
        trace.expect(worker, &["deal", "gather", "forward", "backward", "send", "wait"]);
        let layers = trace.spans(worker).filter(|span| span.name == "backward");
        let layers: BTreeSet<_> = layers.map(|span| span.args["layer"].as_u64()).collect();
        assert_eq!(layers, BTreeSet::from([Some(0), Some(1)]), "every layer of the network");
    }
    let coordinator = trace.processes("coordinator ");
    let [coordinator] = &coordinator[..] else { panic!("{coordinator:?}") };
    trace.expect(coordinator, &["fold", "update", "commit", "wait"]);
    let of = |name: &'static str| trace.spans(coordinator).filter(move |span| span.name == name);
    let steps: BTreeSet<u64> = of("update").filter_map(|span| span.args["step"].as_u64()).collect();
    let (first, last) = (steps.first().unwrap(), steps.last().unwrap());
    assert!(*first >= 3 && last - first < 1000, "from step {first} to {last}");
    assert!(of("fold").all(|span| span.args["chunk"].is_u64()));
    // What is there is kept.
    folder
        .run(&["local", "job.toml", "--out", "again", "--trace", "trace.json"])
        .expect_with(3, "trace.json: it is there already");
    let without = ["local", "job.toml", "--trace-steps", "5"];
    folder.run(&without).expect_with(2, "--trace");
}

/// Over machines each process writes its own.
#[test]
fn a_worker_that_is_a_home_says_what_it_adds() {
    let job = JOB.replace("epochs = 3", "epochs = 250");
    let job = format!("{job}[cluster]\nhomes = \"on\"\n");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
    let steps = ["--trace-steps", "5000"];
    let arguments = ["--workers-start", "3", "--trace", "coordinator.json"];
    let coordinator = folder.coordinator(&[&arguments[..], &steps].concat());
    let address = coordinator.address();
    let worker = |name: &str| {
        let file = format!("{name}.json");
        let arguments = ["--no-shared-memory", "--trace", &file];
        folder.worker(&address, &[&arguments[..], &steps].concat())
    };
    let workers: [Process; 3] = ["0", "1", "2"].map(worker);
    for process in workers {
        process.end().expect(0);
    }
    coordinator.end().expect(0);
    assert_eq!(folder.hash(), LONG_HASH);
    let traces = ["0", "1", "2"].map(|name| Trace::read(&folder, &format!("{name}.json")));
    let folds = traces.iter().flat_map(|trace| trace.0.values().flatten().flatten());
    assert!(folds.filter(|span| span.name == "fold").count() > 0, "no worker adds anything");
    let coordinator = Trace::read(&folder, "coordinator.json");
    let name = coordinator.processes("coordinator ")[0].to_string();
    coordinator.expect(&name, &["update", "commit"]);
}

/// A worker whose clock is behind the coordinator's has its spans where the coordinator has its own.
#[test]
fn times_are_the_coordinators_whatever_a_workers_clock_says() {
    let folder = long_folder();
    let coordinator = folder.coordinator(&["--trace", "coordinator.json"]);
    let hour = Duration::from_secs(3600);
    let relay = Relay::with_clock_ahead(&coordinator.address(), hour);
    let worker = folder.worker(&relay.address(), &["--trace", "worker.json"]);
    worker.end().expect(0);
    coordinator.end().expect(0);
    let trace = |name: &str| -> Value { serde_json::from_str(&folder.read(name)).unwrap() };
    let (ours, theirs) = (trace("coordinator.json"), trace("worker.json"));
    let nanos = |trace: &Value, name: &str| -> i128 {
        trace["otherData"][name].as_str().unwrap().parse().unwrap()
    };
    // As its clock is really the same.
    let hour = hour.as_nanos() as i128;
    let (ahead, error) = (nanos(&theirs, "clock_ahead_nanos"), nanos(&theirs, "clock_error_nanos"));
    assert!((ahead - hour).abs() <= error, "{ahead} ahead, give or take {error}");
    assert!(theirs["otherData"]["clock"].as_str().unwrap().starts_with("the coordinator's"));
    assert!(ours["otherData"]["clock"].as_str().unwrap().starts_with("the machine's own"));
    // What it sends of a step is added after that, on one time.
    let began = |trace: &Value, name: &str, begin: i128| -> BTreeMap<u64, f64> {
        let mut found = BTreeMap::new();
        for event in trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["name"] == name) {
            let at = begin as f64 / 1e3 + event["ts"].as_f64().unwrap();
            found.entry(event["args"]["step"].as_u64().unwrap()).or_insert(at);
        }
        found
    };
    let begin = nanos(&ours, "begin_unix_nanos");
    let deals = began(&theirs, "deal", nanos(&theirs, "begin_unix_nanos") - begin - ahead);
    let folds = began(&ours, "fold", 0);
    let both = deals.iter().filter_map(|(step, deal)| Some((step, deal, folds.get(step)?)));
    let both: Vec<_> = both.collect();
    assert!(both.len() > 10, "{} steps of both", both.len());
    assert!(both.iter().all(|(_, deal, fold)| deal < fold), "{both:?}");
}
