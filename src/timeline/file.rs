//! The file of a timeline: Chrome's trace events, which Perfetto shows as well. Each process writes its own; those of one machine are
//! joined by its launcher. Knows no spans but those that are over.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_run::error::{Error, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::recorder::{Notes, Timeline};

/// Longest file of a process that is joined.
const PART_BYTES_MAX: u64 = 1 << 28;

/// Where a timeline goes: a file that was made when the program started, so that a wrong place is known before the training.
#[derive(Debug)]
pub(crate) struct TraceFile {
    path: PathBuf,
    file: File,
}

impl TraceFile {
    /// Makes it.
    ///
    /// # Errors
    /// If it is there already, or cannot be made.
    pub(crate) fn create(path: &Path) -> Result<TraceFile> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let file = made.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::File {
                path: path.to_path_buf(),
                problem: "it is there already: remove it, or name another file after --trace"
                    .to_string(),
            },
            _ => Error::file(path, "write", &error),
        })?;
        Ok(TraceFile { path: path.to_path_buf(), file })
    }

    /// Writes what was noted of a process that people know by this name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(self, process: &str, timeline: &Arc<Timeline>) -> Result<()> {
        let (notes, clock) = (timeline.take(), timeline.clock());
        // A difference that may be none is taken for none.
        let ahead =
            clock.filter(|clock| clock.ahead.abs() > clock.error).map_or(0, |clock| clock.ahead);
        let begin = (timeline.begin_unix.as_nanos() as i128 + ahead).max(0) as u128;
        let mut trace = trace(events(process, std::process::id(), &notes), begin, notes.left_out);
        if let Some(clock) = clock {
            trace["otherData"]["clock"] = COORDINATORS.into();
            trace["otherData"]["clock_ahead_nanos"] = ahead.to_string().into();
            trace["otherData"]["clock_error_nanos"] = clock.error.to_string().into();
        }
        self.put(&trace)
    }

    fn put(self, trace: &Value) -> Result<()> {
        let mut out = BufWriter::new(self.file);
        let written = serde_json::to_writer(&mut out, trace).map_err(std::io::Error::from);
        written.and_then(|()| out.flush()).map_err(|error| Error::file(&self.path, "write", &error))
    }
}

/// What is said of times that a worker has corrected by what it knows of the coordinator's clock.
const COORDINATORS: &str = "the coordinator's; ts 0 is begin_unix_nanos on it, clock_ahead_nanos more than on this machine's, \
                            give or take clock_error_nanos";

/// Times are of the machine's own clock.
fn trace(events: Vec<Value>, begin_unix_nanos: u128, left_out: u64) -> Value {
    json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "program": format!("lockstep {}", lockstep_proto::VERSION),
            "clock": "the machine's own; ts 0 is begin_unix_nanos on it",
            "begin_unix_nanos": begin_unix_nanos.to_string(),
            "spans_left_out": left_out,
        },
    })
}

fn events(process: &str, pid: u32, notes: &Notes) -> Vec<Value> {
    let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
    let name = |kind: &str, tid: u32, name: &str| json!({ "ph": "M", "name": kind, "pid": pid, "tid": tid, "args": { "name": name } });
    let mut events = vec![name("process_name", 0, process)];
    events.extend(notes.tracks.iter().map(|(&track, text)| name("thread_name", track, text)));
    events.extend(notes.spans.iter().map(|span| {
        let numbers = span.numbers().map(|(name, value)| (name.to_string(), value.into()));
        let args: serde_json::Map<String, Value> = numbers.collect();
        json!({
            "ph": "X", "cat": "step", "name": span.name, "pid": pid, "tid": span.track,
            "ts": micros(span.start), "dur": micros(span.took), "args": args,
        })
    }));
    events
}

/// The files of a cluster's processes on this machine, which become one.
pub(crate) struct Joined {
    file: TraceFile,
    parts: TempDir,
    count: usize,
}

impl Joined {
    /// To become this file.
    ///
    /// # Errors
    /// If it is there already, or its folder cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Joined> {
        let file = TraceFile::create(path)?;
        let parts = tempfile::tempdir().map_err(|error| Error::file(path, "write", &error))?;
        Ok(Joined { file, parts, count: 0 })
    }

    /// Where the next process writes its own.
    pub(crate) fn next_part(&mut self) -> PathBuf {
        self.count += 1;
        self.parts.path().join(format!("{}.json", self.count))
    }

    /// Joins what they wrote: those of them that did, and how many did not.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn finish(self) -> Result<usize> {
        let paths = (1..=self.count).map(|part| self.parts.path().join(format!("{part}.json")));
        let parts: Vec<Value> = paths.filter_map(|path| read(&path)).collect();
        let missing = self.count - parts.len();
        self.file.put(&join(parts))?;
        Ok(missing)
    }
}

/// A part, if it is whole: who wrote it may have been killed.
fn read(path: &Path) -> Option<Value> {
    let file = File::open(path).ok()?;
    let is_short = file.metadata().ok()?.len() <= PART_BYTES_MAX;
    is_short.then(|| serde_json::from_reader(std::io::BufReader::new(file)).ok()).flatten()
}

fn join(parts: Vec<Value>) -> Value {
    let begin = |part: &Value| -> Option<u128> {
        part["otherData"]["begin_unix_nanos"].as_str()?.parse().ok()
    };
    let first = parts.iter().filter_map(begin).min().unwrap_or_default();
    let (mut events, mut left_out) = (Vec::new(), 0);
    for mut part in parts {
        let later = begin(&part).map_or(0.0, |begin| (begin - first) as f64 / 1e3);
        left_out += part["otherData"]["spans_left_out"].as_u64().unwrap_or_default();
        let Value::Array(own) = part["traceEvents"].take() else { continue };
        events.extend(own.into_iter().map(|mut event| {
            if let Some(ts) = event["ts"].as_f64() {
                event["ts"] = (ts + later).into();
            }
            event
        }));
    }
    trace(events, first, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_on_one_time() {
        let event = |ts: f64| json!({ "ph": "X", "name": "send", "ts": ts, "dur": 1.0 });
        let joined = join(vec![
            trace(vec![event(7.0)], 2_000, 1),
            trace(vec![json!({ "ph": "M" }), event(7.0)], 1_000, 0),
        ]);
        let events = joined["traceEvents"].as_array().unwrap();
        let times: Vec<_> = events.iter().filter_map(|event| event["ts"].as_f64()).collect();
        assert_eq!(times, [8.0, 7.0]);
        assert!(events.iter().any(|event| event["ph"] == "M" && event.get("ts").is_none()));
        assert_eq!(joined["otherData"]["begin_unix_nanos"], "1000");
        assert_eq!(joined["otherData"]["spans_left_out"], 1);
    }

    #[test]
    fn a_file_that_is_there_is_kept_and_a_part_that_is_not_whole_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let mut joined = Joined::create(&path).unwrap();
        let refused = TraceFile::create(&path).unwrap_err().to_string();
        assert!(refused.contains("it is there already"), "{refused}");
        let whole = joined.next_part();
        let timeline = Timeline::of_steps(1);
        TraceFile::create(&whole).unwrap().write("worker 1", &timeline).unwrap();
        std::fs::write(joined.next_part(), "{\"traceEv").unwrap();
        joined.next_part();
        assert_eq!(joined.finish().unwrap(), 2);
        let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(written["traceEvents"][0]["args"]["name"], "worker 1");
    }
}
