//! The status of a run that nobody leads, from what is in its folder: what was written when it last ended, or else its lines.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use lockstep_status::book::{Book, Point};
use lockstep_status::value::{Job as Asked, Outcome, State, Status, Values, finite};
use serde::Serialize;

use crate::error::Result;
use crate::job::Job;
use crate::metric_lines::{Line, Lines, of_test_table};
use crate::read_file;
use crate::run_folder::{Manifest, Status as HowFar, last_status, led_by, read_job};
use crate::watch::{now, run_of};

/// What is read of the end of a run's lines for a list.
const TAIL_BYTES: u64 = 64 << 10;

/// What the records of a run say, whether it goes on or not.
///
/// # Errors
/// If the folder is that of no run.
pub fn status_of(run: &Path) -> Result<Status> {
    let manifest = Manifest::read(run)?;
    let (state, reason) = state_of(run, &manifest);
    let last = last_status(run).filter(|last| last.run.id == manifest.run_id);
    if let Some(mut last) =
        last.filter(|last| manifest.status != HowFar::Running && last.run.state == state)
    {
        // The folder may have been moved since.
        last.run.folder = Some(run.display().to_string());
        last.run.verify = Some(format!("lockstep verify {}", run.display()));
        return Ok(last);
    }
    let text = read_job(run)?;
    let job = Job::parse(&run.join("job.toml"), text.clone(), &[]).ok();
    let (epochs, steps_per_epoch) = job.map_or((0, 0), |job| {
        (job.train.epochs, manifest.train_rows.div_ceil(job.train.batch_size))
    });
    let facts = [
        ("training rows", manifest.train_rows.to_string()),
        ("parameters", manifest.parameters.to_string()),
        ("shards", manifest.shards.to_string()),
    ];
    let facts = facts.map(|(name, value)| (name.to_string(), value)).into();
    let asked = Asked { facts, toml: text, ..Asked::default() };
    let started = Some(manifest.started_unix as f64);
    let mut described = run_of(&manifest.name, &manifest.run_id, Some(run), started);
    described.host.clear();
    let mut book = Book::new(described, asked, epochs, steps_per_epoch);
    replay(run, &mut book);
    book.state(state, reason);
    Ok(book.status(now()))
}

/// How a run is, as far as its folder says.
fn state_of(run: &Path, manifest: &Manifest) -> (State, Option<String>) {
    let led = led_by(run);
    match manifest.status {
        HowFar::Finished => (State::Finished, None),
        HowFar::Failed => (State::Failed, None),
        HowFar::Stopped => (State::Stopped, Some("continue with --resume".to_string())),
        HowFar::Running => match led {
            Some(who) => (State::Training, Some(format!("{who} leads it, and shows no page"))),
            None => {
                let why = "its coordinator is gone, and did not end it: continue with --resume";
                (State::Lost, Some(why.to_string()))
            }
        },
    }
}

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    /// Its folder.
    pub folder: String,
    /// The job's name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The step of the newest of its lines that has values, if there is one.
    pub step: Option<u64>,
    /// Loss and metrics as they were last written down.
    pub values: Values,
}

/// A run for a list: of its lines only the end is read.
///
/// # Errors
/// If the folder is that of no run.
pub fn run_line(run: &Path) -> Result<RunLine> {
    let manifest = Manifest::read(run)?;
    let (step, values) = last_values(run);
    Ok(RunLine {
        folder: run.display().to_string(),
        name: manifest.name.clone(),
        state: state_of(run, &manifest).0,
        started: manifest.started_unix,
        step,
        values,
    })
}

/// The newest values that a run has written down, and the newest step.
fn last_values(run: &Path) -> (Option<u64>, Values) {
    let (mut last_step, mut last) = (None, Values::new());
    let Ok((mut file, bytes)) = read_file::open(&run.join("metrics.jsonl")) else {
        return (last_step, last);
    };
    let start = bytes.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    if file.seek(SeekFrom::Start(start)).is_err()
        || file.take(TAIL_BYTES).read_to_end(&mut tail).is_err()
    {
        return (last_step, last);
    }
    for line in tail.split(|&byte| byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Step { step, .. }) => last_step = Some(step),
            Ok(Line::Epoch { values, .. }) => last = values,
            Ok(Line::Final { values, .. }) => last.extend(of_test_table(values)),
            Ok(Line::Gradient { .. }) | Err(_) => {}
        }
    }
    (last_step, last)
}

/// Tells a book what the lines of a run say that there are so far.
pub(crate) fn replay(run: &Path, book: &mut Book) {
    let Ok((file, _)) = read_file::open(&run.join("metrics.jsonl")) else { return };
    let mut lines = Lines::of(file);
    while let Ok(Some(line)) = lines.next() {
        tell(book, line);
    }
}

fn tell(book: &mut Book, line: Line) {
    match line {
        Line::Step { epoch, step, rows, loss, learning_rate, seconds } => {
            let loss = loss.unwrap_or(f64::NAN);
            let learning_rate = learning_rate.unwrap_or(f64::NAN);
            book.step(epoch, Point { step, loss, learning_rate, rows, seconds });
        }
        Line::Gradient { step, norms } => drop(book.gradient(step, norms)),
        // What there was to warn of was said then.
        Line::Epoch { epoch, seconds, values } => drop(book.epoch(epoch, seconds, values)),
        Line::Final { best_epoch, threshold, weights_blake3, mut values } => {
            // Not of the model, but of the run.
            values.retain(|name, _| !matches!(name.as_str(), "steps" | "seconds"));
            let values = values.into_iter().map(|(name, value)| (name, value.and_then(finite)));
            book.result(Outcome {
                values: values.collect(),
                best_epoch,
                threshold,
                weights_blake3: Some(weights_blake3),
                confusion: Vec::new(),
            });
        }
    }
}
