//! A first job for a table: looks at its columns, decides what to predict, from what and how, and writes that as a commented job
//! file. Every decision returns its reason. Trains nothing, knows no terminal, and writes no file itself.
//!
//! The three steps are `look` (the data crate's [`Survey`]), `decide` (`target`, `features`,
//! `training`), which reads no file, and `write` (`toml`).

mod features;
mod target;
mod toml;
mod training;
mod words;

use std::path::PathBuf;

use lockstep_data::{Dialect, OpenedTable, SeenCells, SeenColumn, Survey, TableFile};

use crate::error::{Error, Result};
use crate::job::{Job, JobError};

pub use features::Feature;
pub use target::{Kind, Target, Task};
pub use training::Training;

/// What somebody wants a job for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The training table.
    pub table: TableFile,
    /// How it is written in the job: a path relative to the job file, or a table of two, as TOML.
    pub table_as_toml: String,
    /// A table to measure at the end, as TOML; without one a fraction is held back.
    pub test_as_toml: Option<String>,
    /// The targets; chosen by their names or places if there are none.
    pub targets: Vec<String>,
    /// What kind of target it is, where somebody says so.
    pub kind: Option<Kind>,
    /// The file that the job will stand in.
    pub job: PathBuf,
    /// The job's name; the job file's stem if there is none.
    pub name: Option<String>,
}

/// A job, and why it is as it is.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The job file.
    pub text: String,
    /// The job's name, which is that of its run folder.
    pub name: String,
    /// Rows of the table.
    pub rows: u64,
    /// What parts the whole of its numbers from their fractions.
    pub decimal: char,
    /// What is predicted.
    pub targets: Vec<Target>,
    /// Why these columns were taken for targets.
    pub why_targets: String,
    /// What they are taken for.
    pub task: Task,
    /// Why.
    pub why_task: String,
    /// Every other column, in the table's order; none of images.
    pub features: Vec<Feature>,
    /// How it is trained.
    pub training: Training,
    /// What somebody should know before they trust the job, one message each.
    pub notes: Vec<String>,
}

/// A text as TOML has it, in quotes.
pub fn toml_text(text: &str) -> String {
    crate::job::quoted(text)
}

/// Looks at a table and proposes a job for it.
///
/// # Errors
/// If the table cannot be read, or there is nothing in it that could be learned: what was found, and what to do.
pub fn propose(request: &Request) -> Result<Proposal> {
    let mut table = OpenedTable::open(&request.table, &Dialect::default())?;
    let path = table.path().to_path_buf();
    let refuse = |problem: String| Error::File { path: path.clone(), problem };
    let is_image = table.image_shape().is_some();
    if is_image && table.targets().is_empty() {
        let problem =
            "found images without labels, wanted these as well; name their file with `--labels`";
        return Err(refuse(problem.to_string()));
    }
    let chosen =
        target::choose(table.columns(), table.targets(), &request.targets).map_err(refuse)?;
    let mut survey = table.survey(&chosen.columns)?;
    let mut decimal = Dialect::default().decimal;
    if has_decimal_commas(&survey) {
        let dialect = Dialect { decimal: ',', ..Dialect::default() };
        let other = OpenedTable::open(&request.table, &dialect)?;
        let found = other.survey(&chosen.columns)?;
        if !loses_numbers(&survey, &found) {
            (decimal, table, survey) = (',', other, found);
        }
    }
    let labels = |column: usize| table.labels(column);
    let decided =
        target::decide(&survey, &chosen.columns, request.kind, labels)?.map_err(refuse)?;
    let features = match is_image {
        true => Vec::new(),
        false => features::decide(&survey, &chosen.columns, table.targets()),
    };
    let pixels = table.columns().len() - chosen.columns.len();
    let used = features.iter().filter(|feature| !feature.is_ignored()).count();
    if !is_image && used == 0 {
        let found = match features.len() {
            0 => "found no column besides the target".to_string(),
            _ => format!("none of its columns can teach anything ({})", words::reasons(&features)),
        };
        return Err(refuse(format!("{found}, wanted at least one to predict from")));
    }
    let inputs = match is_image {
        true => training::Inputs { numbers: pixels, embedded: 0 },
        false => features::inputs(&features),
    };
    let training = training::decide(&decided, inputs, request.test_as_toml.is_some());
    let mut notes = decided.notes.clone();
    notes.extend(features::notes(&features, &decided.targets));
    notes.extend(training.notes.iter().cloned());
    let target::Decided { task, why, targets, rows, .. } = decided;
    let mut proposal = Proposal {
        text: String::new(),
        name: String::new(),
        rows,
        decimal,
        targets,
        why_targets: chosen.why,
        task,
        why_task: why,
        features,
        training,
        notes,
    };
    proposal.text = toml::write(&proposal, request, is_image);
    // What is written can be read: a fault of this module is told here, and not by the next command.
    let job = Job::parse(&request.job, proposal.text.clone(), &[]).map_err(|error: JobError| {
        Error::Internal(format!("the job that was written is wrong ({error}); please report it"))
    })?;
    proposal.name = job.name;
    Ok(proposal)
}

/// Whether some columns have numbers with decimal commas, and none has any with a point.
fn has_decimal_commas(survey: &Survey) -> bool {
    let has_comma = |column: &SeenColumn| match &column.cells {
        SeenCells::Texts(texts) => texts.strays.as_ref().is_some_and(|strays| strays.has_comma),
        _ => false,
    };
    let has_point = |column: &SeenColumn| match &column.cells {
        SeenCells::Numbers(numbers) => !numbers.are_whole,
        _ => false,
    };
    survey.columns.iter().any(has_comma) && !survey.columns.iter().any(has_point)
}

/// Whether a column of numbers is none, read in another way: whole ones may have a point as well, such as `25.0`.
fn loses_numbers(survey: &Survey, other: &Survey) -> bool {
    let are_numbers = |column: &SeenColumn| matches!(column.cells, SeenCells::Numbers(_));
    let pairs = survey.columns.iter().zip(&other.columns);
    pairs.into_iter().any(|(one, other)| are_numbers(one) && !are_numbers(other))
}

#[cfg(test)]
mod tests;
