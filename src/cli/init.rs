//! `init`: a first job for a table. What it says is decided in `lockstep_run::init`; this file names files and shows it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use lockstep_data::TableFile;
use lockstep_proto::words::count;
use lockstep_run::error::{Error, Result};
use lockstep_run::init::{self, Feature, Kind, Proposal, Request, Task};
use lockstep_run::report::figures::{side_by_side, thousands};
use serde::Serialize;

use super::args::{Init, TargetKind};
use crate::report::SharedConsole;

/// Columns that are listed before the rest is only counted.
const LISTED_MAX: usize = 60;

/// Longest text of what was seen, in characters.
const SEEN_CHARS_MAX: usize = 44;

/// Looks at a table and writes a job for it.
///
/// # Errors
/// If the table cannot be read, there is nothing to learn, or the job file is there already.
pub(super) fn run(options: Init, reporter: &SharedConsole) -> Result<()> {
    let Init { table, labels, target, kind, test, output, name } = options;
    let job = output.unwrap_or_else(|| job_beside(&table));
    refuse_existing(&job)?;
    let file = TableFile::guess(table.clone(), labels.clone());
    let folder = folder_of(&job);
    let (table_as_toml, test_as_toml) =
        (as_toml(&file, &folder)?, test.map(|test| path_as_toml(&test, &folder)).transpose()?);
    let kind = kind.map(|kind| match kind {
        TargetKind::Classification => Kind::Classification,
        TargetKind::Regression => Kind::Regression,
    });
    let request = Request {
        table: file,
        table_as_toml,
        test_as_toml,
        targets: target,
        kind,
        job: job.clone(),
        name,
    };
    let proposal = init::propose(&request)?;
    write_new(&job, &proposal.text)?;
    let lines = lines(&proposal, &table, &job);
    let facts = Facts::new(&proposal, &table, &job);
    let mut reporter = reporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let written = reporter.result(&lines, &facts);
    written.map_err(|error| Error::file("standard output", "write", &error))
}

/// Where the job goes unless somebody says: beside the table.
fn job_beside(table: &Path) -> PathBuf {
    // A pattern's folders may be patterns, too.
    let is_pattern = |path: &Path| path.to_string_lossy().contains(['*', '?', '[']);
    let mut folder = if table.is_dir() { Some(table) } else { table.parent() };
    while folder.is_some_and(is_pattern) {
        folder = folder.and_then(Path::parent);
    }
    // A folder's own files are the table's parts.
    let folder = if table.is_dir() { table.parent() } else { folder };
    folder.unwrap_or(Path::new("")).join("job.toml")
}

fn folder_of(job: &Path) -> PathBuf {
    match job.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn refuse_existing(job: &Path) -> Result<()> {
    match job.symlink_metadata() {
        Ok(_) => Err(there_already(job)),
        Err(_) => Ok(()),
    }
}

fn there_already(job: &Path) -> Error {
    let problem =
        "it is there already, and is not written over: name another job file with --output"
            .to_string();
    Error::File { path: job.to_path_buf(), problem }
}

/// Writes a file that is not there yet.
fn write_new(job: &Path, text: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(job);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => there_already(job),
        _ => Error::file(job, "write it", &error),
    })
}

/// A table as the job in this folder names it.
fn as_toml(table: &TableFile, folder: &Path) -> Result<String> {
    let files = table.files();
    let named: Result<Vec<String>> = files
        .iter()
        .map(|(key, file)| {
            let path = path_as_toml(file, folder)?;
            Ok(key.map_or(path.clone(), |key| format!("{key} = {path}")))
        })
        .collect();
    let named = named?;
    match &named[..] {
        [one] => Ok(one.clone()),
        many => Ok(format!("{{ {} }}", many.join(", "))),
    }
}

/// A path as the job in this folder names it: relative if it lies there, absolute otherwise.
fn path_as_toml(path: &Path, folder: &Path) -> Result<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| Error::file(path, "find it", &error))
    };
    let (path, folder) = (absolute(path)?, absolute(folder)?);
    let shown = path.strip_prefix(&folder).unwrap_or(&path);
    let Some(text) = shown.to_str() else {
        let problem = "its name is no UTF-8, which a job file cannot name: rename it".to_string();
        return Err(Error::File { path, problem });
    };
    Ok(init::toml_text(text))
}

fn lines(proposal: &Proposal, table: &Path, job: &Path) -> Vec<String> {
    let columns = (proposal.features.len() + proposal.targets.len()) as u64;
    let holds = match proposal.features.is_empty() {
        true => "images and their labels".to_string(),
        false => count(columns, "column"),
    };
    let mut lines = vec![format!("{}: {}, {holds}", table.display(), count(proposal.rows, "row"))];
    let title = ["column", "kind", "distinct", "missing", "holds", "becomes", "because"];
    let mut rows = vec![title.map(str::to_string).to_vec()];
    for target in &proposal.targets {
        let becomes = match (proposal.task, target.is_scaled) {
            (Task::Regression, true) => "target, standard",
            (Task::Regression, false) => "target",
            _ => "target, classes",
        };
        let kind = if proposal.task == Task::Regression { "number" } else { "class" };
        let (distinct, missing) = (target.distinct.to_string(), target.missing.to_string());
        let cells = [
            &target.name,
            kind,
            &distinct,
            &missing,
            &short(&target.seen),
            becomes,
            &proposal.why_targets,
        ];
        rows.push(cells.map(str::to_string).to_vec());
    }
    rows.extend(proposal.features.iter().take(LISTED_MAX).map(feature_row));
    let by_column: Vec<Vec<String>> =
        (0..title.len()).map(|at| rows.iter().map(|row| row[at].clone()).collect()).collect();
    let table = side_by_side(&by_column, &[0, 1, 4, 5, 6]);
    lines.extend(table.into_iter().map(|line| format!("  {line}")));
    if let Some(more @ 1..) = proposal.features.len().checked_sub(LISTED_MAX) {
        lines.push(format!("  and {more} more"));
    }
    lines.push(String::new());
    lines.push(what_is_learned(proposal));
    lines.extend(proposal.notes.iter().map(|note| format!("note: {note}")));
    let training = &proposal.training;
    lines.push(format!(
        "{} to learn from, in batches of {}; hidden layers of {}; at most {}",
        count(training.rows, "row"),
        thousands(training.batch_size as f64),
        training.hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        count(training.epochs, "epoch")
    ));
    lines.push(String::new());
    lines.push(format!("wrote {}; next:", job.display()));
    lines.extend(next_steps(job, proposal));
    lines
}

fn what_is_learned(proposal: &Proposal) -> String {
    let names: Vec<&str> = proposal.targets.iter().map(|target| target.name.as_str()).collect();
    let task = match proposal.task {
        Task::Regression => "as numbers".to_string(),
        Task::Binary => "as one of two classes".to_string(),
        Task::Classes(classes) => format!("as one of {classes} classes"),
    };
    format!(
        "predicts {} {task}: {}, {}; another target: --target, numbers or classes: --kind",
        names.join(", "),
        proposal.why_targets,
        proposal.why_task
    )
}

/// The commands that come next.
fn next_steps(job: &Path, proposal: &Proposal) -> Vec<String> {
    let job = job.display();
    let run = format!("runs/{}", proposal.name);
    vec![
        format!("  lockstep check {job}"),
        format!("  lockstep local {job} --workers 4"),
        format!("  lockstep predict {run} --data new.csv --output predictions.csv"),
    ]
}

fn feature_row(feature: &Feature) -> Vec<String> {
    let kind = feature.kind.map_or("-".to_string(), |kind| kind.to_string());
    vec![
        feature.name.clone(),
        kind,
        feature.distinct.to_string(),
        feature.missing.to_string(),
        short(&feature.seen),
        feature.becomes(),
        feature.why.clone().unwrap_or_default(),
    ]
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SEEN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// What was written, for programs: the names here are documented, and stay.
#[derive(Serialize)]
#[serde(tag = "event", rename = "initialized")]
struct Facts<'a> {
    table: String,
    job: String,
    rows: u64,
    task: &'static str,
    targets: Vec<Column<'a>>,
    features: Vec<Column<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    kind: Option<String>,
    distinct: u64,
    missing: u64,
    becomes: String,
    why: Option<&'a str>,
}

impl<'a> Facts<'a> {
    fn new(proposal: &'a Proposal, table: &Path, job: &Path) -> Facts<'a> {
        let task = match proposal.task {
            Task::Regression => "regression",
            Task::Binary => "binary_classification",
            Task::Classes(_) => "classification",
        };
        let targets = proposal.targets.iter().map(|target| Column {
            name: &target.name,
            kind: None,
            distinct: target.distinct,
            missing: target.missing,
            becomes: if target.is_scaled { "standard".to_string() } else { "as it is".to_string() },
            why: Some(&proposal.why_targets),
        });
        let features = proposal.features.iter().map(|feature| Column {
            name: &feature.name,
            kind: feature.kind.map(|kind| kind.to_string()),
            distinct: feature.distinct,
            missing: feature.missing,
            becomes: feature.becomes(),
            why: feature.why.as_deref(),
        });
        Facts {
            table: table.display().to_string(),
            job: job.display().to_string(),
            rows: proposal.rows,
            task,
            targets: targets.collect(),
            features: features.collect(),
            notes: &proposal.notes,
        }
    }
}
