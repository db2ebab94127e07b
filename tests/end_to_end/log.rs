//! What is said, in which form and how much of it: reports for people, and the log for whoever looks into trouble.

use serde_json::Value;

use crate::faults::{HASH, folder};
use crate::process::Ended;

/// The lines of an ended process as JSON; each is an object.
#[track_caller]
fn lines(ended: &Ended) -> Vec<Value> {
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(value.is_object(), "{line}");
        // A name that comes twice would be dropped here: the text tells.
        for name in ["level", "worker", "host", "step", "message", "run"] {
            let depth_one = serde_json::to_string(&value).unwrap();
            let of = |text: &str| text.matches(&format!("\"{name}\":")).count();
            assert_eq!(of(line), of(&depth_one), "{name} twice in {line}");
        }
        value
    };
    ended.stderr.lines().map(parse).collect()
}

#[test]
fn every_line_of_json_says_when_how_grave_and_whose_it_is() {
    let folder = folder();
    let arguments = ["--log-format", "json", "--log-level", "debug", "local", "job.toml"];
    let ended = folder.run(&[&arguments[..], &["--workers", "3", "--out", "run"]].concat());
    ended.expect(0);
    assert_eq!(folder.hash(), HASH);
    let lines = lines(&ended);
    for line in &lines {
        assert!(line["time"].is_string() && line["host"].is_string(), "{line}");
        let level = line["level"].as_str().unwrap();
        assert!(["error", "warn", "info", "debug"].contains(&level), "{line}");
    }
    let run = lines.iter().find(|line| line["event"] == "listening").unwrap()["run_id"].clone();
    let ready: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("ready with")))
        .collect();
    assert_eq!(ready.len(), 3, "{ended}");
    for line in ready {
        assert!(line["worker"].is_u64() && line["run"] == run, "{line}");
    }
    let logged: Vec<&Value> = lines.iter().filter(|line| line["event"] == "log").collect();
    let passes = logged.iter().filter(|line| line["message"] == "a pass is over");
    let steps: Vec<u64> = passes.filter_map(|line| line["fields"]["step"].as_u64()).collect();
    assert!(steps.len() >= 78 && steps.is_sorted(), "{steps:?}");
    assert!(logged.iter().all(|line| line["target"].as_str().unwrap().starts_with("lockstep")));
}

#[test]
fn a_level_takes_in_those_before_it_and_the_result_is_always_there() {
    let folder = folder();
    let run = |level: &str, out: &str| {
        let ended = folder.run(&["--log-level", level, "local", "job.toml", "--out", out]);
        ended.expect(0);
        assert!(ended.stdout.contains(HASH), "{ended}");
        ended
    };
    assert_eq!(run("error", "a").stderr, "");
    let info = run("info", "b");
    assert!(info.stderr.contains("worker 1 joined"), "{info}");
    assert!(!info.stderr.contains("a pass is over"), "{info}");
    let debug = run("debug", "c");
    assert!(debug.stderr.contains("debug: a pass is over"), "{debug}");
    folder
        .run(&["--log-level", "loud", "check", "job.toml"])
        .expect_with(2, "[possible values: error, warn, info, debug, trace]");
}
